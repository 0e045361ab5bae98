//! A recording as lines of text. What is on a row is in `story`.

use super::story::{End, Mark, Row, Waiting, Who};
use super::words::bytes_in_words;
use std::io::{self, Write};
use std::mem::{Discriminant, discriminant};
use std::time::Duration;

/// How the rows are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Bytes of each excerpt.
    pub(super) excerpt: usize,
    pub(super) paint: Paint,
}

/// Whether there are colours: only for a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    Colours,
}

impl Paint {
    fn who(self, who: Who) -> &'static str {
        if self == Paint::Plain {
            return "";
        }
        match who {
            Who::Peer => "\x1b[34m",
            Who::Protocol => "\x1b[32m",
            Who::Transport | Who::Driver | Who::Recorder => "\x1b[2m",
            Who::Application => "\x1b[35m",
            Who::Layer => "\x1b[36m",
        }
    }

    fn dim(self) -> &'static str {
        if self == Paint::Plain { "" } else { "\x1b[2m" }
    }

    fn end(self) -> &'static str {
        if self == Paint::Plain { "" } else { "\x1b[0m" }
    }
}

/// Writes a line for each row, and one for many where they repeat.
pub(super) fn write_rows(out: &mut (impl Write + ?Sized), rows: &[Row], style: Style) -> io::Result<()> {
    let (dim, end) = (style.paint.dim(), style.paint.end());
    writeln!(
        out,
        "{dim}{:>7} {:>13}  {:<11} {:>9} {:>9} {:>9}  what{end}",
        "entry", "seconds", "who", "bytes", "held in", "held out"
    )?;
    let mut turn = 0;
    for line in lines(rows) {
        match line {
            Line::Row(row) => {
                write_row(out, row, row.turn != turn, style)?;
                turn = row.turn;
            }
            Line::More { rows, turns: true } => {
                let turns = rows[rows.len() - 1].turn - rows[0].turn + 1;
                writeln!(out, "{dim}{:>21}  … {turns} turns more like this one{}{end}", "", moved(rows))?;
            }
            Line::More { rows, turns: false } => {
                writeln!(out, "{dim}{:>21}  … {} more like this one{}{end}", "", rows.len(), moved(rows))?;
            }
        }
    }
    Ok(())
}

/// `, 4096 bytes taken`.
fn moved(rows: &[Row]) -> String {
    let taken = rows.iter().map(|row| match row.mark {
        Mark::Offered { taken, .. } | Mark::FilePart { taken, .. } => taken,
        Mark::Received { .. } | Mark::Read(_) | Mark::Writable | Mark::HalfClose | Mark::Failed(_) => 0,
        Mark::File(..) | Mark::Event | Mark::Command | Mark::Layer | Mark::Reading { .. } => 0,
        Mark::Wait(_) | Mark::Closed { .. } | Mark::Recorder => 0,
    });
    match taken.fold(0, u64::saturating_add) {
        0 => String::new(),
        taken => format!(", {} taken", bytes_in_words(taken)),
    }
}

fn write_row(out: &mut (impl Write + ?Sized), row: &Row, begins: bool, style: Style) -> io::Result<()> {
    let (who, dim, end) = (style.paint.who(row.who), style.paint.dim(), style.paint.end());
    let time = if begins { seconds(row.at) } else { String::new() };
    let bytes = row.bytes.map_or_else(String::new, |n| n.to_string());
    let held = row.held.map(|held| (held.input.to_string(), held.output.to_string()));
    let (held_in, held_out) = held.unwrap_or_default();
    let mut until = String::new();
    if let Mark::Wait(Waiting { deadline: Some(deadline), .. }) = row.mark {
        until = format!(", until {}", seconds(deadline));
    }
    write!(out, "{dim}{:>7}{end} {time:>13}  {who}{:<11}{end} {bytes:>9} ", row.number, row.who)?;
    write!(out, "{held_in:>9} {held_out:>9}  {}{until}", row.words)?;
    if row.excerpt.len > 0 {
        let shown = &row.excerpt.front[..row.excerpt.front.len().min(style.excerpt)];
        write!(out, " \"{}\"", shown.escape_ascii())?;
        match row.excerpt.len - shown.len() as u64 {
            0 => {}
            more => write!(out, "{dim} and {} more{end}", bytes_in_words(more))?,
        }
    }
    writeln!(out)
}

/// To the microsecond.
pub(super) fn seconds(at: Duration) -> String {
    format!("{}.{:06}", at.as_secs(), at.subsec_micros())
}

enum Line<'a> {
    Row(&'a Row),
    /// Left out: they are like those before.
    More {
        rows: &'a [Row],
        turns: bool,
    },
}

/// As many of a kind are shown at the front; what follows them is counted.
const SHOWN: usize = 1;
/// Fewer are not worth a line of their own.
const WORTH: usize = 3;

fn lines(rows: &[Row]) -> Vec<Line<'_>> {
    let turns: Vec<&[Row]> = rows.chunk_by(|a, b| a.turn == b.turn).collect();
    let (mut lines, mut rest) = (Vec::new(), rows);
    for alike in turns.chunk_by(|a, b| is_dull(a) && is_alike(a, b)) {
        let shown = if alike.len() < SHOWN + WORTH { alike.len() } else { SHOWN };
        for turn in &alike[..shown] {
            push_turn(turn, &mut lines);
            rest = &rest[turn.len()..];
        }
        let (more, behind) = rest.split_at(alike[shown..].iter().map(|turn| turn.len()).sum());
        if !more.is_empty() {
            lines.push(Line::More { rows: more, turns: true });
        }
        rest = behind;
    }
    lines
}

/// The rows of a turn; where one is like the one before again and again, the number.
fn push_turn<'a>(turn: &'a [Row], lines: &mut Vec<Line<'a>>) {
    for alike in turn.chunk_by(|a, b| is_dull(std::slice::from_ref(a)) && shape(a) == shape(b)) {
        if alike.len() < SHOWN + WORTH {
            lines.extend(alike.iter().map(Line::Row));
        } else {
            lines.extend(alike[..SHOWN].iter().map(Line::Row));
            lines.push(Line::More { rows: &alike[SHOWN..], turns: false });
        }
    }
}

/// Nothing in it that somebody would look for: output goes on, or nothing happens.
fn is_dull(turn: &[Row]) -> bool {
    turn.iter().all(|row| match row.mark {
        Mark::Offered { .. } | Mark::FilePart { .. } | Mark::Writable | Mark::Wait(_) => true,
        Mark::Read(End::WouldBlock | End::NotWanted) | Mark::Layer => true,
        Mark::Read(End::OfInput) | Mark::Received { .. } | Mark::HalfClose | Mark::Failed(_) => false,
        Mark::File(..) | Mark::Event | Mark::Command | Mark::Reading { .. } => false,
        Mark::Closed { .. } | Mark::Recorder => false,
    })
}

fn is_alike(a: &[Row], b: &[Row]) -> bool {
    a.iter().map(shape).eq(b.iter().map(shape))
}

fn shape(row: &Row) -> (Who, Discriminant<Mark>) {
    (row.who, discriminant(&row.mark))
}
