//! `drywire trace`: a recording as a timeline, in lines or on a page.

use super::masking::{self, MaskError};
use super::story::{Mark, Row, Rows};
use super::text::{Paint, Style, write_rows};
use super::words::{bytes_in_words, duration_in_words, reason_in_words};
use super::{DIFFERENT, RecordError, damage_in_words, is_foreign, page, read_file};
use crate::args::Trace as Args;
use crate::path_in_words;
use drywire_core::Limits;
use drywire_core::escape::printable;
use drywire_core::record::{Ended, Entry, ReadError, Reader};
use std::fs;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// A recording, ready to be shown.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) protocol: String,
    pub(super) note: String,
    pub(super) limits: Limits,
    pub(super) rows: Vec<Row>,
    /// Why the connection ended, as far as that was recorded.
    pub(super) ended: String,
    /// It was cut: output may have been dropped.
    pub(super) is_cut: bool,
    pub(super) received: u64,
    pub(super) sent: u64,
    /// Input and output, in bytes.
    pub(super) most_held: (u64, u64),
    /// What cannot be read, in words.
    pub(super) damage: Vec<String>,
    pub(super) entries: u64,
    masked: bool,
    layered: bool,
    /// The number of the first entry.
    first: u64,
    end: Option<Ended>,
}

/// Damage that is told one by one.
const DAMAGE: usize = 20;

/// Prints the timeline, or writes the page.
pub(crate) fn run(args: &Args) -> Result<ExitCode, RecordError> {
    let mut file = read_file(&args.file)?;
    if !args.mask.is_empty() {
        match masking::copy(&file, &args.mask) {
            Ok(copy) => {
                if !copy.has_blanked {
                    crate::say(format_args!(
                        "{}: nothing begins with that, no input was blanked",
                        path_in_words(&args.file)
                    ));
                }
                file = copy.file;
            }
            Err(error) => {
                crate::say(format_args!("{}: {error}", path_in_words(&args.file)));
                return Ok(match error {
                    MaskError::Damaged(_) => ExitCode::from(DIFFERENT),
                    MaskError::Foreign(_) | MaskError::NoFront => ExitCode::FAILURE,
                });
            }
        }
    }
    if let Some(path) = &args.copy {
        if path == Path::new("-") {
            to_stdout(|out, _| out.write_all(&file))?;
        } else {
            masking::write(path, &file).map_err(|source| RecordError::Page { path: path.into(), source })?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut trace = match Trace::read(&file) {
        Ok(trace) => trace,
        Err(error) => {
            crate::say(format_args!("{}: {}", path_in_words(&args.file), damage_in_words(error)));
            return Ok(if is_foreign(error) { ExitCode::FAILURE } else { ExitCode::from(DIFFERENT) });
        }
    };
    let (from, to) = (args.from.unwrap_or(Duration::ZERO), args.to.unwrap_or(Duration::MAX));
    trace.rows.retain(|row| from <= row.at && row.at <= to);
    match args.html.as_deref() {
        None => to_stdout(|out, terminal| {
            let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let paint = if terminal && !no_color { Paint::Colours } else { Paint::Plain };
            trace.write(out, Style { excerpt: args.bytes.unwrap_or(64), paint })
        }),
        Some(path) => {
            let page = page::page(&trace, args.bytes.unwrap_or(120));
            if path == Path::new("-") {
                to_stdout(|out, _| out.write_all(page.as_bytes()))
            } else {
                fs::write(path, page).map_err(|source| RecordError::Page { path: path.into(), source })?;
                Ok(())
            }
        }
    }?;
    for damage in &trace.damage {
        crate::say(format_args!("{}: {damage}", path_in_words(&args.file)));
    }
    Ok(if trace.damage.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

/// Whoever closed standard output does not want to know.
fn to_stdout(write: impl FnOnce(&mut dyn Write, bool) -> io::Result<()>) -> Result<(), RecordError> {
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    let mut out = BufWriter::new(stdout.lock());
    match write(&mut out, terminal).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(RecordError::Output),
    }
}

impl Trace {
    /// Reads all that can be read; what cannot is in `damage`.
    ///
    /// # Errors
    /// When nothing can.
    pub(super) fn read(file: &[u8]) -> Result<Trace, ReadError> {
        let reader = Reader::new(file)?;
        let header = reader.header();
        let mut trace = Trace {
            protocol: printable(header.protocol),
            note: printable(header.note),
            limits: header.limits,
            rows: Vec::new(),
            ended: "not in this recording".into(),
            is_cut: false,
            received: 0,
            sent: 0,
            most_held: (0, 0),
            damage: Vec::new(),
            entries: 0,
            masked: header.masked,
            layered: header.layered,
            first: header.first,
            end: None,
        };
        let mut rows = Rows::default();
        let mut more = 0;
        for located in reader.entries() {
            match located {
                Ok(located) => {
                    trace.entries += 1;
                    if let Entry::End(end) = located.entry {
                        trace.end = Some(end);
                    }
                    if let Entry::Report { kind, text, .. } = &located.entry {
                        trace.ended = printable(&reason_in_words(*kind, text));
                    }
                    rows.push(&located);
                }
                Err(error) if trace.damage.len() < DAMAGE => trace.damage.push(damage_in_words(error)),
                Err(_) => more += 1,
            }
        }
        if more > 0 {
            trace.damage.push(format!("and {more} more places that cannot be read"));
        }
        trace.rows = rows.finish();
        trace.count();
        Ok(trace)
    }

    fn count(&mut self) {
        for row in &self.rows {
            if let Some(held) = row.held {
                self.most_held.0 = self.most_held.0.max(held.input);
                self.most_held.1 = self.most_held.1.max(held.output);
            }
            match row.mark {
                Mark::Received { bytes } => self.received = self.received.saturating_add(bytes),
                Mark::Offered { taken, .. } | Mark::FilePart { taken, .. } => {
                    self.sent = self.sent.saturating_add(taken);
                }
                Mark::Closed { cut } => self.is_cut = cut,
                Mark::Read(_) | Mark::Writable | Mark::HalfClose | Mark::Failed(_) | Mark::File(..) => {}
                Mark::Event | Mark::Command | Mark::Layer | Mark::Reading { .. } => {}
                Mark::Wait(_) | Mark::Recorder => {}
            }
        }
    }

    /// From the first turn that is shown to the last.
    pub(super) fn lasted(&self) -> Duration {
        match (self.rows.first(), self.rows.last()) {
            (Some(first), Some(last)) => last.at.saturating_sub(first.at),
            _ => Duration::ZERO,
        }
    }

    /// What has to be known to read it right.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.first > 0 {
            remarks.push(format!(
                "The beginning was not kept: this starts with entry {}. It can be traced, not replayed.",
                self.first
            ));
        }
        if self.masked {
            remarks.push("Recorded with a mask: what it found is blanked, names and texts are left out.".into());
        }
        if self.layered {
            remarks.push("Recorded above a layer: what went over the wire is counted, not shown.".into());
        }
        match self.end {
            None | Some(Ended::Closed) => {}
            Some(Ended::Dropped) => remarks.push("The connection was dropped without a close.".into()),
            Some(Ended::Full) => {
                remarks.push("The recording stopped at its bound, the connection went on.".into());
            }
        }
        remarks
    }

    pub(super) fn limits_in_words(&self) -> String {
        let Limits {
            input_bytes,
            output_bytes,
            linger_bytes,
            linger_ms,
            stall_ms,
            idle_ms,
            first_byte_ms,
            message_ms,
            min_rate,
            rate_ms,
            events,
            files,
        } = self.limits;
        let ms = |ms: u32| match ms {
            0 | Limits::NEVER => "none".into(),
            ms => duration_in_words(Duration::from_millis(ms.into())),
        };
        let rate = match min_rate {
            0 | Limits::NEVER => "none".into(),
            rate => format!("{rate} bytes/s within {}", ms(rate_ms)),
        };
        format!(
            "limits: input {input_bytes}, output {output_bytes}, linger {linger_bytes} within {}, stall {}, idle {}, \
             first byte {}, message {}, rate {rate}, events {events}, files {files}",
            ms(linger_ms),
            ms(stall_ms),
            ms(idle_ms),
            ms(first_byte_ms),
            ms(message_ms)
        )
    }

    fn write(&self, out: &mut (impl Write + ?Sized), style: Style) -> io::Result<()> {
        writeln!(out, "{}: {}", self.protocol, self.ended)?;
        if !self.note.is_empty() {
            writeln!(out, "{}", self.note)?;
        }
        writeln!(out, "{}", self.limits_in_words())?;
        writeln!(
            out,
            "{} entries in {}; from the peer {}, to the peer {}",
            self.entries,
            duration_in_words(self.lasted()),
            bytes_in_words(self.received),
            bytes_in_words(self.sent)
        )?;
        for line in self.remarks().iter().chain(&self.damage) {
            writeln!(out, "{line}")?;
        }
        writeln!(out)?;
        write_rows(out, &self.rows, style)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drywire_core::record::Tape;
    use drywire_core::{Action, Connection, Time, Workspace};
    use drywire_protocols::LineEcho;
    use drywire_sim::Random;
    use std::sync::mpsc;

    /// A few turns of a line echo whose peer takes a byte at a time.
    fn recording() -> Vec<u8> {
        let (send, file) = mpsc::channel();
        let mut connection =
            Connection::new(LineEcho).recorded(Tape::new("line-echo", move |file| drop(send.send(file))));
        let mut workspace = Workspace::new();
        for turn in 0..30 {
            let mut live = connection.lend(&mut workspace, Time::from_nanos(turn * 1_000_000));
            live.handle_writable();
            live.read_with(|slot| {
                slot[..6].copy_from_slice(b"hello\n");
                Ok(if turn == 29 { 0 } else { 6 })
            });
            let mut taken = 0;
            loop {
                match live.poll() {
                    Action::Write(write) if taken < 2 => {
                        taken += 1;
                        write.wrote(1);
                    }
                    Action::Wait(_) | Action::Again | Action::Close(_) => break,
                    // A token that is dropped was blocked.
                    Action::Write(_) | Action::DisableRead | Action::EnableRead | Action::HalfClose => {}
                    Action::StreamFile(_) | Action::ReadFile(_) | Action::OpenFile(_) | Action::CloseFile(_) => {
                        unreachable!("a line echo has no files")
                    }
                    Action::Event(never) => match never {},
                }
            }
        }
        drop(connection);
        file.recv().unwrap()
    }

    /// CRC-32 as everybody knows it, a bit at a time.
    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
        })
    }

    /// Makes every checksum right again.
    fn seal(file: &mut [u8]) {
        let mut at = 8;
        while at + 12 <= file.len() {
            let len = usize::from(u16::from_le_bytes([file[at + 2], file[at + 3]]));
            let Some(payload) = file.get(at + 12..at + 12 + len) else { return };
            let check = crc(payload).to_le_bytes();
            file[at + 4..at + 8].copy_from_slice(&check);
            let check = crc(&file[at..at + 8]).to_le_bytes();
            file[at + 8..at + 12].copy_from_slice(&check);
            at += 12 + len;
        }
    }

    /// What no recorder writes, though its checksums are right: nothing panics, and it
    /// can still be shown.
    #[test]
    fn recordings_of_nonsense_are_shown_as_well_as_it_goes() {
        let whole = recording();
        let (mut random, mut shown) = (Random::new(1), 0);
        for _ in 0..1500 {
            let mut file = whole.clone();
            for _ in 0..=random.between(0, 2) {
                // Behind the header, and no head of a block.
                let at = random.between(80, file.len() - 1);
                file[at] = random.word() as u8;
            }
            seal(&mut file);
            let Ok(trace) = Trace::read(&file) else { continue };
            let mut text = Vec::new();
            trace.write(&mut text, Style { excerpt: 64, paint: Paint::Plain }).unwrap();
            assert!(page::page(&trace, 64).ends_with("</html>\n"));
            shown += usize::from(trace.damage.is_empty());
        }
        assert!(shown > 300, "only {shown} got as far as that");
    }
}
