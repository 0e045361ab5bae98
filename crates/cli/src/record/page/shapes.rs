//! Shapes and labels of a drawing, as SVG.

use super::html::px;
use std::fmt::Write;
use std::time::Duration;

/// In the unit that fits the whole.
pub(super) fn time_label(at: Duration, whole: Duration) -> String {
    match whole {
        whole if whole >= Duration::from_secs(1) => format!("{:.3} s", at.as_secs_f64()),
        whole if whole >= Duration::from_millis(1) => format!("{:.3} ms", at.as_secs_f64() * 1e3),
        _ => format!("{:.1} µs", at.as_secs_f64() * 1e6),
    }
}

/// `10 KiB`, short enough for the margin.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        n if n >= 1 << 20 && n % (1 << 20) == 0 => format!("{} MiB", n >> 20),
        n if n >= 1 << 10 && n % (1 << 10) == 0 => format!("{} KiB", n >> 10),
        n => format!("{n} B"),
    }
}

pub(super) fn line(from: f64, to: f64, y: f64, class: &str, out: &mut String) {
    let _ = write!(out, r#"<path class="{class}" d="M{} {}H{}"/>"#, px(from), px(y), px(to));
}

pub(super) fn rect(x: f64, y: f64, width: f64, height: f64, class: &str, out: &mut String) {
    let (x, y, width, height) = (px(x), px(y), px(width), px(height));
    let _ = write!(out, r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}"/>"#);
}

pub(super) fn dot(x: f64, y: f64, out: &mut String) {
    let _ = write!(out, r#"<circle class="dot" cx="{}" cy="{}" r="2"/>"#, px(x), px(y));
}

pub(super) fn glyph(x: f64, y: f64, path: &str, out: &mut String) {
    let _ = write!(out, r#"<path class="glyph" transform="translate({} {})" d="{path}"/>"#, px(x), px(y));
}
