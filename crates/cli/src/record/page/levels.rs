//! Bytes that are held, as a filled line below their cap.

use super::drawing::Drawing;
use super::html::px;
use crate::record::story::Held;
use std::fmt::Write;

/// One of the two lines of bytes that are held.
#[derive(Clone, Copy)]
pub(super) enum Level {
    Input,
    Output,
}

impl Level {
    pub(super) fn of(self, held: Held) -> u64 {
        match self {
            Level::Input => held.input,
            Level::Output => held.output,
        }
    }
}

impl Drawing<'_> {
    pub(super) fn draw_level(&self, level: Level, out: &mut String) {
        let (id, scale) = match level {
            Level::Input => ("input", &self.levels[0]),
            Level::Output => ("output", &self.levels[1]),
        };
        let band = self.band(id);
        let mut steps = String::new();
        let mut last = band.bottom();
        for (i, row) in self.rows.iter().enumerate() {
            let Some(held) = row.held else { continue };
            let y = band.bottom() - scale.share(level.of(held)) * band.height;
            if y != last {
                let _ = write!(steps, "H{}V{}", px(self.axis.entry(i)), px(y));
                last = y;
            }
        }
        let end = self.closed.map_or(self.axis.end(), |(x, _)| x);
        let base = px(band.bottom());
        let _ = write!(
            out,
            "<g class=\"level {id}\" id=\"level-{id}\"><path class=\"area\" d=\"M0 {base}{steps}H{end}V{base}Z\"/>\
             <path class=\"line\" d=\"M0 {base}{steps}H{end}\"/></g>",
            end = px(end),
        );
    }
}

/// How bytes that are held become a height.
pub(super) struct Scale {
    cap: u64,
    by: By,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Share,
    /// So far below the cap that a share would be nothing.
    Logarithm,
}

impl Scale {
    pub(super) fn new(highest: Option<u64>, cap: u64) -> Scale {
        let highest = highest.unwrap_or(0);
        let by = if highest.saturating_mul(20) >= cap { By::Share } else { By::Logarithm };
        // A layer's own bytes come on top of the cap.
        Scale { cap: cap.max(highest).max(1), by }
    }

    fn share(&self, bytes: u64) -> f64 {
        match self.by {
            By::Share => bytes as f64 / self.cap as f64,
            By::Logarithm => (bytes as f64).ln_1p() / (self.cap as f64).ln_1p(),
        }
    }

    pub(super) fn note(&self) -> &'static str {
        match self.by {
            By::Share => "",
            By::Logarithm => ", log scale",
        }
    }
}
