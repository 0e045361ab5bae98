//! The drawing: lanes over time, as an SVG without scripts. Here: which lanes there
//! are, and what lies behind the marks. The marks are in `marks`, bytes that are held
//! in `levels`; where a time is in `axis`; colours in `page.css`.

use super::axis::Axis;
use super::html::{Html, px};
use super::levels::{Level, Scale};
use super::shapes::{line, rect, size, time_label};
use super::waits::Kind;
use crate::record::story::{FileStep, Lane, Mark, Row, Waiting};
use crate::record::words::duration_in_words;
use drywire_core::{FileId, Limits};
use std::fmt::Write;
use std::time::Duration;

/// The least width, in CSS pixels: what is left of a page of 1240 beside the names.
const WIDTH: f64 = 1052.0;
const NAMES: f64 = 116.0;
/// Free at both ends.
const PAD: f64 = 10.0;

/// Something drawn from top to bottom.
pub(super) struct Band {
    id: &'static str,
    name: &'static str,
    /// Smaller, below the name.
    note: String,
    pub(super) top: f64,
    pub(super) height: f64,
}

impl Band {
    pub(super) fn bottom(&self) -> f64 {
        self.top + self.height
    }

    pub(super) fn middle(&self) -> f64 {
        self.top + self.height / 2.0
    }
}

/// The drawing of a recording.
pub(super) struct Drawing<'a> {
    pub(super) rows: &'a [Row],
    limits: Limits,
    pub(super) axis: Axis,
    bands: Vec<Band>,
    height: f64,
    pub(super) levels: [Scale; 2],
    /// Where the connection closed, and whether that cut it.
    pub(super) closed: Option<(f64, bool)>,
    /// Why, in words.
    reason: &'a str,
}

impl<'a> Drawing<'a> {
    pub(super) fn new(rows: &'a [Row], limits: Limits, reason: &'a str) -> Drawing<'a> {
        let times: Vec<Duration> = rows.iter().map(|row| row.at).collect();
        let axis = Axis::new(&times, WIDTH - 2.0 * PAD);
        let levels = [(Level::Input, limits.input_bytes), (Level::Output, limits.output_bytes)].map(|(level, cap)| {
            Scale::new(rows.iter().filter_map(|row| row.held).map(|held| level.of(held)).max(), cap.into())
        });
        let closed =
            rows.iter().enumerate().rev().find_map(|(i, row)| {
                if let Mark::Closed { cut } = row.mark { Some((axis.entry(i), cut)) } else { None }
            });
        let mut drawing = Drawing { rows, limits, axis, bands: Vec::new(), height: 0.0, levels, closed, reason };
        drawing.lay_out();
        drawing
    }

    fn lay_out(&mut self) {
        let layered = self.rows.iter().any(|row| row.mark.lane() == Lane::Layer);
        let cap = |n: u32, scale: &Scale| format!("{}{}", size(n.into()), scale.note());
        let input = cap(self.limits.input_bytes, &self.levels[0]);
        let output = cap(self.limits.output_bytes, &self.levels[1]);
        let lanes = [
            ("from-peer", "peer → us", String::new(), 40.0, 6.0),
            ("to-peer", "us → peer", String::new(), 40.0, 0.0),
            ("files", "files", String::new(), 22.0, 12.0),
            ("application", "application", String::new(), 22.0, 4.0),
            ("layer", "layers", String::new(), 22.0, 4.0),
            ("reading", "reading", String::new(), 12.0, 8.0),
            ("input", "input held", input, 44.0, 14.0),
            ("output", "output held", output, 44.0, 14.0),
            ("waits", "waits for", String::new(), 22.0, 14.0),
            ("deadlines", "deadlines", String::new(), 14.0, 4.0),
        ];
        let mut y = 30.0;
        for (id, name, note, height, before) in lanes {
            if id == "layer" && !layered {
                continue;
            }
            y += before;
            self.bands.push(Band { id, name, note, top: y, height });
            y += height;
        }
        self.height = y + 24.0;
    }

    pub(super) fn band(&self, id: &str) -> &Band {
        self.bands.iter().find(|band| band.id == id).expect("a lane that was laid out")
    }

    /// What stands left of the drawing.
    pub(super) fn names(&self) -> String {
        let mut out = String::new();
        let _ = write!(
            out,
            r#"<svg class="names" width="{NAMES}" height="{0}" viewBox="0 0 {NAMES} {0}" aria-hidden="true">"#,
            px(self.height)
        );
        for band in &self.bands {
            let noted = !band.note.is_empty();
            let y = band.middle() + if noted { -3.0 } else { 4.0 };
            let x = NAMES - 12.0;
            let _ = write!(out, r#"<text x="{x}" y="{}">{}</text>"#, px(y), Html(band.name));
            if noted {
                let _ = write!(out, r#"<text class="note" x="{x}" y="{}">{}</text>"#, px(y + 14.0), Html(&band.note));
            }
        }
        out + "</svg>"
    }

    /// The drawing itself; `label` is for those who do not see it.
    pub(super) fn svg(&self, label: &str) -> String {
        let (width, height) = (self.axis.width() + 2.0 * PAD, self.height);
        let mut out = String::new();
        let _ = write!(
            out,
            "<svg id=\"drawing\" class=\"marks\" width=\"{0}\" height=\"{1}\" viewBox=\"{2} 0 {0} {1}\" \
             role=\"img\" aria-label=\"{3}\">",
            px(width),
            px(height),
            px(-PAD),
            Html(label)
        );
        // Hatches, for what a colour alone would say.
        out += "<defs><pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
                patternTransform=\"rotate(45)\"><rect class=\"hatch\" width=\"2\" height=\"6\"/></pattern></defs>";
        self.draw_ground(&mut out);
        self.draw_axis(&mut out);
        self.draw_shades(&mut out);
        self.draw_reading(&mut out);
        self.draw_level(Level::Input, &mut out);
        self.draw_level(Level::Output, &mut out);
        self.draw_files(&mut out);
        self.draw_deadlines(&mut out);
        self.draw_close(&mut out);
        out += r#"<g id="marks">"#;
        for (i, row) in self.rows.iter().enumerate() {
            self.draw_mark(i, row, &mut out);
        }
        let _ = write!(out, r#"</g><line id="cursor" y1="22" y2="{}" hidden=""/></svg>"#, px(height - 4.0));
        out
    }

    fn draw_ground(&self, out: &mut String) {
        let end = self.axis.width();
        for band in &self.bands {
            let _ = write!(out, r#"<g class="lane" id="lane-{}">"#, band.id);
            match band.id {
                "from-peer" => line(0.0, end, band.bottom(), "rule", out),
                "to-peer" => {}
                "input" | "output" => {
                    line(0.0, end, band.bottom(), "rule", out);
                    line(0.0, end, band.top, "cap", out);
                }
                "waits" | "reading" => rect(0.0, band.top, end, band.height, "trough", out),
                _ => line(0.0, end, band.middle(), "rule", out),
            }
            *out += "</g>";
        }
    }

    fn draw_axis(&self, out: &mut String) {
        let last = self.rows.last().map_or(Duration::ZERO, |row| row.at);
        let bottom = self.height - 20.0;
        *out += r#"<g class="axis" id="axis">"#;
        for cut in self.axis.cuts() {
            let middle = f64::midpoint(cut.from, cut.to);
            rect(cut.from, 22.0, cut.to - cut.from, bottom - 22.0, "cut", out);
            let _ = write!(out, r#"<path class="break" d="M{} 34"#, px(middle));
            let mut y = 34.0;
            let mut side = 3.0;
            while y < bottom {
                y = (y + 6.0).min(bottom);
                let _ = write!(out, "L{} {}", px(middle + side), px(y));
                side = -side;
            }
            let _ = write!(
                out,
                r#""/><text class="gap" x="{}" y="29"><title>nothing happened for {1}</title>{1}</text>"#,
                px(middle),
                Html(&duration_in_words(cut.lasted))
            );
        }
        let mut said = String::new();
        for tick in self.axis.ticks() {
            let label = time_label(tick.at, last);
            if !tick.labelled || label == said {
                let _ = write!(out, r#"<path class="tick" d="M{} 18v4"/>"#, px(tick.x));
                continue;
            }
            // Words go to the left where the drawing ends.
            let anchor = if tick.x + 60.0 > self.axis.width() { r#" class="left""# } else { "" };
            let (x, bottom) = (px(tick.x), px(bottom));
            let _ =
                write!(out, r#"<text{anchor} x="{x}" y="12">{label}</text><path class="tick" d="M{x} 16V{bottom}"/>"#);
            said = label;
        }
        *out += "</g>";
    }

    /// What is waited for, behind everything; not the usual.
    fn draw_shades(&self, out: &mut String) {
        *out += r#"<g class="shades">"#;
        let (top, bottom) = (22.0, self.band("waits").top);
        for (i, waiting) in waits(self.rows) {
            let kind = Kind::of(waiting.why);
            if kind != Kind::Input && kind != Kind::Nothing {
                let (from, to) = self.wait_span(i);
                rect(from, top, to - from, bottom - top, kind.class(), out);
            }
        }
        *out += "</g>";
    }

    /// From the entry of a wait to the turn after it.
    pub(super) fn wait_span(&self, i: usize) -> (f64, f64) {
        let from = self.axis.entry(i) - self.axis.step() / 2.0;
        let to = match i + 1 < self.rows.len() {
            true => self.axis.entry(i + 1) - self.axis.step() / 2.0,
            false => self.axis.end(),
        };
        (from, to)
    }

    fn draw_reading(&self, out: &mut String) {
        let band = self.band("reading");
        let changes = self.rows.iter().enumerate().filter_map(|(i, row)| {
            if let Mark::Reading { enabled } = row.mark { Some((self.axis.entry(i), enabled)) } else { None }
        });
        let end = self.closed.map_or(self.axis.end(), |(x, _)| x);
        *out += r#"<g class="reading">"#;
        let (mut from, mut enabled) = (0.0, true);
        let mut first = true;
        let span = |from: f64, to: f64, enabled: bool, out: &mut String| {
            let class = if enabled { "on" } else { "off" };
            rect(from, band.top, (to - from).max(0.0), band.height, class, out);
            if !enabled {
                rect(from, band.top, (to - from).max(0.0), band.height, "hatched", out);
            }
        };
        for (x, next) in changes {
            // It changes: what begins with "reads again" was disabled before.
            let before = if std::mem::take(&mut first) { !next } else { enabled };
            span(from, x, before, out);
            (from, enabled) = (x, next);
        }
        span(from, end, enabled, out);
        *out += "</g>";
    }

    /// A bar for as long as a file is held.
    fn draw_files(&self, out: &mut String) {
        let middle = self.band("files").middle();
        let mut held: Vec<(FileId, f64)> = Vec::new();
        for (i, row) in self.rows.iter().enumerate() {
            let Mark::File(id, step) = row.mark else { continue };
            let x = self.axis.entry(i);
            match step {
                FileStep::Asked => held.push((id, x)),
                FileStep::Answered => {}
                FileStep::Closed => {
                    let from = held.iter().position(|(other, _)| *other == id).map_or(0.0, |n| held.swap_remove(n).1);
                    rect(from, middle - 2.0, x - from, 4.0, "held", out);
                }
            }
        }
    }

    /// Each deadline that is told, where its time is on the drawing.
    fn draw_deadlines(&self, out: &mut String) {
        let band = self.band("deadlines");
        *out += r#"<g class="deadlines">"#;
        let told: Vec<(usize, Duration)> =
            waits(self.rows).filter_map(|(i, waiting)| Some((i, waiting.deadline?))).collect();
        for (n, (i, deadline)) in told.iter().copied().enumerate() {
            if told.get(n + 1).is_some_and(|(_, next)| *next == deadline) {
                continue;
            }
            let Some(x) = self.axis.time(deadline) else { continue };
            let next = self.rows.get(i + 1).map(|row| row.at);
            let (class, words) = match next.is_some_and(|next| next >= deadline) {
                true => ("due", "a deadline came due"),
                false => ("moved", "a deadline was put off before it came due"),
            };
            let _ = write!(
                out,
                r#"<path class="{class}" d="M{} {}v9l-3.5 -4h7l-3.5 4"><title>{words}: {}</title></path>"#,
                px(x),
                px(band.top + 1.0),
                Html(&duration_in_words(deadline))
            );
        }
        *out += "</g>";
    }

    fn draw_close(&self, out: &mut String) {
        let Some((x, cut)) = self.closed else { return };
        let class = if cut { "close cut-off" } else { "close" };
        let (anchor, side) = if x > 320.0 { ("left", -6.0) } else { ("right", 6.0) };
        let _ = write!(
            out,
            "<path id=\"close\" class=\"{class}\" d=\"M{} 22V{}\"/>\
             <text id=\"reason\" class=\"{anchor}\" x=\"{}\" y=\"{}\">{}</text>",
            px(x),
            px(self.height - 4.0),
            px(x + side),
            px(self.height - 7.0),
            Html(self.reason)
        );
    }
}

fn waits(rows: &[Row]) -> impl Iterator<Item = (usize, Waiting)> + '_ {
    rows.iter().enumerate().filter_map(
        |(i, row)| {
            if let Mark::Wait(waiting) = row.mark { Some((i, waiting)) } else { None }
        },
    )
}
