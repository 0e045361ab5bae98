//! Where a time is on the drawing.
//!
//! All entries of a turn have the same time, so a turn is given a width of its own,
//! a step for each entry. Between two turns the time that passed is drawn to one
//! scale, except that long gaps are cut short and say so. Nothing here draws.

use std::time::Duration;

/// Units of the drawing are CSS pixels.
pub(super) struct Axis {
    /// Where each entry is: its middle.
    entries: Vec<f64>,
    turns: Vec<Turn>,
    step: f64,
    width: f64,
}

/// Entries of one time.
struct Turn {
    at: Duration,
    start: f64,
    end: f64,
    /// The gap before it is not to scale.
    cut: bool,
}

/// A place on the axis that says its time.
#[derive(Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) x: f64,
    pub(super) at: Duration,
    /// There is room for the words.
    pub(super) labelled: bool,
}

/// A gap that was cut short.
#[derive(Debug, PartialEq)]
pub(super) struct Cut {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) lasted: Duration,
}

/// What an entry takes at least: less and a mark cannot be hit.
const MIN_STEP: f64 = 2.0;
/// What it takes at most: more looks like time that passed.
const MAX_STEP: f64 = 14.0;
/// What every gap takes at least, so that two turns are two.
const MIN_GAP: f64 = 6.0;
/// What a cut gap takes at least: room for the break and its words.
const CUT: f64 = 46.0;
/// Room for the words of a tick.
const LABEL: f64 = 74.0;
/// The drawing is not wider, so that a browser can paint it. Entries come closer then.
const WIDEST: f64 = 16_000.0;

impl Axis {
    /// For entries at these times, which do not go back, on `width` pixels; it is wider when that is
    /// too narrow for so many.
    pub(super) fn new(times: &[Duration], width: f64) -> Axis {
        let mut ends = Vec::new();
        for (i, at) in times.iter().enumerate() {
            if i + 1 == times.len() || times[i + 1] != *at {
                ends.push(i + 1);
            }
        }
        let gaps: Vec<f64> = ends[..ends.len().saturating_sub(1)]
            .iter()
            .map(|end| times[*end].saturating_sub(times[end - 1]).as_secs_f64())
            .collect();
        let count = times.len().max(1) as f64;
        let step = (width * 0.6 / count).clamp(MIN_STEP, MAX_STEP).min(WIDEST / 4.0 / count);
        let least = MIN_GAP.min(WIDEST / 4.0 / count);
        let room = (width - step * count).max(least * 3.0 * gaps.len() as f64);
        let scale = Scale::fit(&gaps, room, least);

        let mut axis = Axis { entries: Vec::with_capacity(times.len()), turns: Vec::new(), step, width: 0.0 };
        let (mut x, mut first) = (0.0, 0);
        for (turn, end) in ends.into_iter().enumerate() {
            let mut cut = false;
            if turn > 0 {
                let gap = gaps[turn - 1];
                cut = scale.is_cut(gap);
                x += scale.width(gap);
            }
            let start = x;
            for _ in first..end {
                axis.entries.push(x + step / 2.0);
                x += step;
            }
            axis.turns.push(Turn { at: times[first], start, end: x, cut });
            first = end;
        }
        axis.width = x.max(width);
        axis
    }

    /// The middle of this entry.
    pub(super) fn entry(&self, index: usize) -> f64 {
        self.entries[index]
    }

    /// What an entry takes.
    pub(super) fn step(&self) -> f64 {
        self.step
    }

    pub(super) fn width(&self) -> f64 {
        self.width
    }

    /// Where the last entry ends.
    pub(super) fn end(&self) -> f64 {
        self.turns.last().map_or(0.0, |turn| turn.end)
    }

    /// Where this time is; `None` behind the last entry. Inside of a turn: its start.
    pub(super) fn time(&self, at: Duration) -> Option<f64> {
        let next = self.turns.partition_point(|turn| turn.at < at);
        let after = self.turns.get(next)?;
        if after.at == at || next == 0 {
            return Some(after.start);
        }
        let before = &self.turns[next - 1];
        let share = (at - before.at).as_secs_f64() / (after.at - before.at).as_secs_f64();
        Some(before.end + share * (after.start - before.end))
    }

    /// One at the start of each turn; labelled where there is room.
    pub(super) fn ticks(&self) -> Vec<Tick> {
        let mut free = f64::NEG_INFINITY;
        let tick = |turn: &Turn| {
            let labelled = turn.start >= free;
            if labelled {
                free = turn.start + LABEL;
            }
            Tick { x: turn.start, at: turn.at, labelled }
        };
        self.turns.iter().map(tick).collect()
    }

    /// The gaps that are not to scale.
    pub(super) fn cuts(&self) -> Vec<Cut> {
        let pairs = self.turns.windows(2).filter(|pair| pair[1].cut);
        pairs.map(|pair| Cut { from: pair[0].end, to: pair[1].start, lasted: pair[1].at - pair[0].at }).collect()
    }
}

/// How wide a gap is drawn.
struct Scale {
    pixels_per_second: f64,
    /// Wider gaps are cut to this.
    cut: f64,
    /// Narrower ones are as wide as this.
    least: f64,
}

impl Scale {
    /// The scale on which these gaps, in seconds, fill `room` pixels, or stay a little below. A gap is cut
    /// when it would take two and a half times its share.
    fn fit(gaps: &[f64], room: f64, least: f64) -> Scale {
        let count = gaps.len() as f64;
        let cut = match gaps.len() {
            0 | 1 => room.max(CUT),
            2 | 3 => (room / count).max(CUT),
            _ => (2.5 * room / count).min(room * 0.45).max(CUT),
        };
        let longest = gaps.iter().copied().fold(0.0, f64::max);
        if longest <= 0.0 {
            return Scale { pixels_per_second: 0.0, cut, least };
        }
        // Between nothing and what makes a microsecond as wide as a cut.
        let (mut low, mut high) = (0.0, cut * 1e9);
        for _ in 0..100 {
            let middle = f64::midpoint(low, high);
            let scale = Scale { pixels_per_second: middle, cut, least };
            match gaps.iter().map(|gap| scale.width(*gap)).sum::<f64>() <= room {
                true => low = middle,
                false => high = middle,
            }
        }
        Scale { pixels_per_second: low, cut, least }
    }

    fn is_cut(&self, gap: f64) -> bool {
        gap * self.pixels_per_second > self.cut * 1.001
    }

    fn width(&self, gap: f64) -> f64 {
        (gap * self.pixels_per_second).min(self.cut).max(self.least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(times: &[u64]) -> Vec<Duration> {
        times.iter().map(|ms| Duration::from_millis(*ms)).collect()
    }

    fn axis(times: &[u64]) -> Axis {
        Axis::new(&ms(times), 1000.0)
    }

    #[test]
    fn entries_stand_in_their_order_and_inside_of_the_drawing() {
        for times in [&[][..], &[7], &[0, 0, 0], &[0, 1, 1, 2, 900_000, 900_000], &[5; 400]] {
            let axis = axis(times);
            let places: Vec<f64> = (0..times.len()).map(|i| axis.entry(i)).collect();
            assert!(places.is_sorted_by(|a, b| b - a >= MIN_STEP - 0.001), "{times:?}: {places:?}");
            assert!(places.iter().all(|x| (0.0..=axis.width()).contains(x)), "{times:?}: {places:?}");
            assert!(axis.end() <= axis.width());
        }
    }

    #[test]
    fn long_gap_is_cut_and_says_how_long_it_was() {
        let axis = axis(&[0, 10, 20, 30, 40, 50, 60, 100_000, 100_010]);
        let cuts = axis.cuts();
        assert_eq!(cuts.len(), 1, "{cuts:?}");
        assert_eq!(cuts[0].lasted, Duration::from_millis(99_940));
        assert!(cuts[0].to - cuts[0].from >= CUT);
    }

    #[test]
    fn gaps_that_are_not_cut_are_to_one_scale() {
        let axis = axis(&[0, 100, 300, 600, 700, 900]);
        assert_eq!(axis.cuts(), []);
        let gap = |i: usize| axis.turns[i].start - axis.turns[i - 1].end;
        for (i, hundreds) in [(2, 2.0), (3, 3.0), (4, 1.0), (5, 2.0)] {
            assert!((gap(i) / gap(1) - hundreds).abs() < 0.01, "{} {}", gap(i), gap(1));
        }
    }

    #[test]
    fn labels_of_ticks_do_not_overlap_and_the_first_has_one() {
        let axis = axis(&(0..200).collect::<Vec<_>>());
        let labelled: Vec<Tick> = axis.ticks().into_iter().filter(|tick| tick.labelled).collect();
        assert_eq!(labelled[0].at, Duration::ZERO);
        assert!(labelled.len() > 3);
        assert!(labelled.is_sorted_by(|a, b| b.x - a.x >= LABEL));
    }

    #[test]
    fn times_between_turns_lie_between_them_and_behind_the_last_is_nowhere() {
        let axis = axis(&[0, 0, 1000, 3000]);
        assert_eq!(axis.time(Duration::ZERO), Some(0.0));
        let half = axis.time(Duration::from_millis(500)).unwrap();
        assert!(axis.entry(1) < half && half < axis.entry(2));
        assert_eq!(axis.time(Duration::from_millis(3001)), None);
    }

    #[test]
    fn drawing_of_very_many_entries_stays_paintable() {
        let axis = axis(&(0..20_000).map(|i| i / 3 * 7).collect::<Vec<_>>());
        assert!(axis.width() <= WIDEST * 1.01, "{}", axis.width());
    }
}
