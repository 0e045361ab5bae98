//! One mark for each row: a bar for bytes, a sign for what happened.

use super::drawing::Drawing;
use super::html::{Html, px};
use super::shapes::{dot, glyph, rect};
use super::waits::Kind;
use crate::record::story::{End, FileStep, Lane, Mark, Row};
use crate::record::words::{bytes_in_words, duration_in_words};
use std::fmt::Write;

impl Drawing<'_> {
    pub(super) fn draw_mark(&self, i: usize, row: &Row, out: &mut String) {
        let x = self.axis.entry(i);
        let n = row.number;
        let _ = write!(
            out,
            r##"<a id="mark-{n}" href="#entry-{n}" tabindex="-1" data-x="{}" class="{}"><title>{}</title>"##,
            px(x),
            class(row.mark),
            Html(&title(row))
        );
        let thin = (self.axis.step() - 1.0).clamp(2.0, 8.0);
        match row.mark {
            Mark::Received { bytes } => {
                let band = self.band("from-peer");
                let height = bar(bytes, band.height);
                rect(x - thin / 2.0, band.bottom() - height, thin, height, "bar", out);
            }
            Mark::Offered { bytes, taken } => {
                let band = self.band("to-peer");
                rect(x - thin / 2.0, band.top, thin, bar(bytes, band.height), "offered", out);
                rect(x - thin / 2.0, band.top, thin, bar(taken, band.height), "bar", out);
            }
            Mark::FilePart { bytes, taken } => {
                let band = self.band("files");
                rect(x - thin / 2.0, band.top, thin, bar(bytes, band.height), "offered", out);
                rect(x - thin / 2.0, band.top, thin, bar(taken, band.height), "bar", out);
            }
            Mark::Read(End::OfInput) => glyph(x, self.band("from-peer").bottom() - 6.0, "M-4 -5V5L4 0Z", out),
            Mark::Read(End::WouldBlock | End::NotWanted) => dot(x, self.band("from-peer").bottom() - 4.0, out),
            Mark::Writable => dot(x, self.band("to-peer").top + 5.0, out),
            Mark::HalfClose => glyph(x, self.band("to-peer").top + 7.0, "M4 -5V5L-4 0Z", out),
            Mark::Failed(lane) => {
                let y = self.band(lane_id(lane)).middle();
                glyph(x, y, "M-4 -4L4 4M4 -4L-4 4", out);
            }
            Mark::File(_, step) => {
                let y = self.band("files").middle();
                glyph(x, y, if step == FileStep::Answered { "M0 -4L4 0L0 4L-4 0Z" } else { "M0 -7V7" }, out);
            }
            Mark::Event => glyph(x, self.band("application").middle(), "M0 -5L4.5 4H-4.5Z", out),
            Mark::Command => glyph(x, self.band("application").middle(), "M0 5L4.5 -4H-4.5Z", out),
            Mark::Layer => dot(x, self.band("layer").middle(), out),
            Mark::Reading { .. } => {
                let band = self.band("reading");
                rect(x - 1.0, band.top - 2.0, 2.0, band.height + 4.0, "edge", out);
            }
            Mark::Wait(waiting) => {
                let band = self.band("waits");
                let (from, to) = self.wait_span(i);
                let kind = Kind::of(waiting.why).class();
                rect(from, band.top, (to - from - 0.5).max(1.5), band.height, kind, out);
            }
            Mark::Closed { .. } => {
                let band = self.band("waits");
                glyph(x, band.middle(), "M-5 -5H5V5H-5Z", out);
            }
            Mark::Recorder => dot(x, self.band("waits").middle(), out),
        }
        *out += "</a>";
    }
}

/// Height of a bar for so many bytes: twice the bytes, one step more. 1 MiB is full.
fn bar(bytes: u64, full: f64) -> f64 {
    match bytes {
        0 => 0.0,
        n => (full * ((n as f64 + 1.0).log2() + 2.0) / 22.0).clamp(4.0, full),
    }
}

fn lane_id(lane: Lane) -> &'static str {
    match lane {
        Lane::FromPeer => "from-peer",
        Lane::ToPeer => "to-peer",
        Lane::Files => "files",
        Lane::Application => "application",
        Lane::Layer => "layer",
        Lane::Reading => "reading",
        Lane::Waits => "waits",
    }
}

fn class(mark: Mark) -> &'static str {
    match mark {
        Mark::Failed(_) => "m failed",
        Mark::Closed { cut: true } => "m closed failed",
        Mark::Closed { cut: false } => "m closed",
        Mark::Recorder => "m recorder",
        Mark::Wait(_) => "m wait",
        Mark::Received { .. }
        | Mark::Read(_)
        | Mark::Offered { .. }
        | Mark::Writable
        | Mark::HalfClose
        | Mark::FilePart { .. }
        | Mark::File(..)
        | Mark::Event
        | Mark::Command
        | Mark::Layer
        | Mark::Reading { .. } => match mark.lane() {
            Lane::FromPeer => "m in",
            Lane::ToPeer => "m out",
            Lane::Files => "m file",
            Lane::Application => "m app",
            Lane::Layer => "m layer",
            Lane::Reading => "m read",
            Lane::Waits => "m",
        },
    }
}

fn title(row: &Row) -> String {
    let bytes = row.bytes.map(|n| format!(", {}", bytes_in_words(n))).unwrap_or_default();
    format!("entry {}, {}: {} {}{bytes}", row.number, duration_in_words(row.at), row.who, row.words)
}
