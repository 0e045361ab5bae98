//! One connection's stream as the core's transport, and its files.

use super::Sabotage;
use super::disk::OpenFile;
use super::net::close_file;
use super::plan::Poller;
use super::state::{Shared, State};
use super::swarm::Fault;
use super::veil::veiled;
use super::violation::Invariant;
use drywire_core::{
    Blocked, FileError, FileId, OpenFile as Request, Opening, SendFileError, Time, Transport, TransportError,
};
use drywire_server::{Connecting, News};
use std::time::Duration;

pub(crate) struct Wire<'a> {
    state: &'a Shared,
    line: usize,
}

impl Wire<'_> {
    pub(crate) fn new(state: &Shared, line: usize) -> Wire<'_> {
        Wire { state, line }
    }
}

impl Transport for Wire<'_> {
    fn short_read_exhausts(&self) -> bool {
        self.state.borrow().plan.poller == Poller::Edges { short: true }
    }

    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        let exhausts = self.short_read_exhausts();
        let line = self.line;
        let state = &mut *self.state.borrow_mut();
        state.call(line);
        let (_, in_flight) = state.disk.count(line);
        state.lines[line].record.borrow_mut().on_read(in_flight);
        if !state.lines[line].is_readable() {
            state.event(20, line, 0, || "read: would block".into());
            return Err(Blocked::WouldBlock);
        }
        if state.strikes(Fault::ReadBlocks, line) {
            state.event(20, line, 1, || "read: would block, for no reason".into());
            again(state, line, News { read: true, ..News::default() });
            return Err(Blocked::WouldBlock);
        }
        let there = state.lines[line].arrived - state.lines[line].read;
        if there == 0 {
            state.progress += 1;
            if let Some(error) = state.lines[line].fault {
                state.event(20, line, 2, || format!("read: {error}"));
                return Err(Blocked::Failed(error));
            }
            state.event(20, line, 3, || "read: the end".into());
            state.lines[line].end_read = true;
            state.lines[line].record.borrow_mut().on_fed_end();
            return Ok(0);
        }
        let mut n = there.min(slot.len());
        if !exhausts && state.strikes(Fault::ReadsLittle, line) {
            n = state.lines[line].script.random.between(1, n);
        }
        state.event(20, line, n as u64 + 9, || format!("read: {n} of {there} bytes"));
        let now = state.now;
        let this = &mut state.lines[line];
        let bytes = &this.script.says[this.read..this.read + n];
        if state.plan.is_veiled {
            slot[..n].copy_from_slice(&veiled(bytes, this.read));
        } else {
            slot[..n].copy_from_slice(bytes);
        }
        this.record.borrow_mut().on_fed(bytes, now);
        this.read += n;
        state.on_read(line);
        state.spend(line, n);
        Ok(n)
    }

    fn try_write_vectored(&mut self, slices: &[&[u8]], _: bool) -> Result<usize, Blocked> {
        let line = self.line;
        let state = &mut *self.state.borrow_mut();
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        if offered == 0 || slices.len() > 16 {
            state.violate(Invariant::Progress, line, format!("{offered} bytes offered in {} pieces", slices.len()));
        }
        let n = admit(state, line, offered)?;
        let now = state.now;
        let mut left = n;
        for slice in slices {
            let piece = &slice[..slice.len().min(left)];
            left -= piece.len();
            take(state, line, piece, now);
        }
        took(state, line, n);
        Ok(n)
    }

    fn try_send_file(&mut self, id: FileId, offset: u64, len: u64) -> Result<u64, SendFileError> {
        let line = self.line;
        let state = &mut *self.state.borrow_mut();
        let part = part(state, line, id, offset, len).map_err(SendFileError::File)?;
        let Some((contents, end)) = part else { return Ok(0) };
        let n = admit(state, line, end - offset as usize).map_err(SendFileError::Output)?;
        let (now, contents, offset) = (state.now, state.contents[contents].clone(), offset as usize);
        take(state, line, &contents[offset..offset + n], now);
        took(state, line, n);
        Ok(n as u64)
    }

    fn read_file(&mut self, id: FileId, offset: u64, slot: &mut [u8]) -> Result<usize, FileError> {
        let line = self.line;
        let state = &mut *self.state.borrow_mut();
        state.call(line);
        state.progress += 1;
        if !state.plan.is_veiled {
            state.violate(Invariant::Output, line, "a file is read for a layer, and there is none");
        }
        let Some((contents, end)) = part(state, line, id, offset, slot.len() as u64)? else { return Ok(0) };
        let mut n = end - offset as usize;
        if state.strikes(Fault::ReadsLittle, line) {
            n = state.lines[line].script.random.between(1, n);
        }
        state.event(27, line, n as u64, || format!("{n} bytes of {id:?} are read"));
        slot[..n].copy_from_slice(&state.contents[contents][offset as usize..][..n]);
        Ok(n)
    }

    fn open_file(&mut self, request: &Request<'_>) -> Opening {
        let line = self.line;
        let state = &mut *self.state.borrow_mut();
        state.call(line);
        state.spend(line, 0);
        state.lines[line].record.borrow_mut().on_open(request.id(), request.name());
        let found = match state.disk.find(request.name()) {
            Ok(_) if state.strikes(Fault::NoFile, line) => Err(state.lines[line].script.random.pick(&[
                FileError::Forbidden,
                FileError::TooMany,
                FileError::NotRegular,
            ])),
            found => found,
        };
        let contents = found.unwrap_or(0);
        let len = state.contents[contents].len() as u64;
        let somewhere = |state: &mut State| state.lines[line].script.random.between(0, len as usize) as u64;
        let cut = (len > 0 && state.strikes(Fault::FileCut, line)).then(|| somewhere(state));
        let broken = (len > 0 && state.strikes(Fault::FileBroken, line)).then(|| somewhere(state));
        let result = found.map(|_| len);
        let id = request.id();
        if state.disk.position(line, id).is_some() {
            state.violate(Invariant::Baseline, line, format!("{id:?} was opened twice"));
        }
        let mut file = OpenFile { line, id, contents, answer: None, result, cut, broken };
        if state.strikes(Fault::LateFile, line) {
            let wait = Duration::from_micros(state.lines[line].script.random.between(0, 9000) as u64);
            let at = state.now + wait;
            state.event(23, line, u64::from(id.as_u32()), || format!("{id:?} is being opened"));
            state.agenda.add(at, super::agenda::Coming::File(line, id));
            state.disk.open.push(file);
            return Opening::Later;
        }
        state.event(24, line, u64::from(id.as_u32()), || format!("{id:?} is opened: {result:?}"));
        file.answer = Some(result);
        if result.is_ok() {
            state.disk.open.push(file);
        }
        state.lines[line].record.borrow_mut().on_answer(found.ok(), result);
        check_files(state, line);
        Opening::Done(result)
    }

    fn close_file(&mut self, id: FileId) {
        let state = &mut *self.state.borrow_mut();
        state.call(self.line);
        if state.sabotage == Some(Sabotage::LeaksFile) && id.as_u32() % 2 == 1 {
            return;
        }
        close_file(state, self.line, id);
    }

    fn half_close(&mut self) {
        let line = self.line;
        let state = &mut *self.state.borrow_mut();
        state.event(25, line, 0, || "our end".into());
        if state.sabotage == Some(Sabotage::Panics) {
            panic!("on purpose");
        }
        state.progress += 1;
        if state.sabotage == Some(Sabotage::ForgetsEnd) {
            return;
        }
        let now = state.now;
        state.lines[line].record.borrow_mut().on_half_close(now);
        if state.lines[line].connecting == Connecting::Pending {
            state.lines[line].ends_later = true;
        } else {
            state.announce_end(line);
        }
    }

    fn on_reading(&mut self, enabled: bool) {
        let state = &mut *self.state.borrow_mut();
        state.event(26, self.line, u64::from(enabled), || format!("reading is {}", if enabled { "on" } else { "off" }));
        if state.plan.house.memory.is_some() {
            // It may be memory that is waited for, and that is no peer's fault.
            let now = state.now;
            state.lines[self.line].record.borrow_mut().reads_since = if enabled { now } else { Time::NEVER };
        }
    }
}

/// What there is of a part of a file: which contents, and up to where; `None` at an end that came
/// too early.
fn part(
    state: &mut State,
    line: usize,
    id: FileId,
    offset: u64,
    len: u64,
) -> Result<Option<(usize, usize)>, FileError> {
    let file = state.disk.position(line, id).map(|at| state.disk.open[at].clone());
    let Some(OpenFile { answer: Some(Ok(whole)), contents, cut, broken, .. }) = file else {
        state.violate(Invariant::Output, line, format!("{id:?} is sent, and not open"));
        return Err(FileError::Io(9));
    };
    if offset + len > whole {
        state.violate(Invariant::Output, line, format!("{id:?} is sent beyond its {whole} bytes"));
    }
    let end = (offset + len).min(cut.unwrap_or(u64::MAX)).min(broken.unwrap_or(u64::MAX));
    if end > offset {
        return Ok(Some((contents, end as usize)));
    }
    state.call(line);
    state.progress += 1;
    state.lines[line].record.borrow_mut().facts.file_failed = true;
    let fails = broken.is_some_and(|at| at <= offset);
    state.event(22, line, u64::from(fails), || format!("{id:?} {}", if fails { "fails" } else { "is shorter" }));
    if fails { Err(FileError::Io(5)) } else { Ok(None) }
}

/// The bytes that a write may take now.
fn admit(state: &mut State, line: usize, offered: usize) -> Result<usize, Blocked> {
    state.call(line);
    let now = state.now;
    if state.lines[line].connecting == Connecting::Pending {
        state.lines[line].record.borrow_mut().on_blocked(now);
        return Err(Blocked::WouldBlock);
    }
    if let Some(error) = state.lines[line].fault {
        state.progress += 1;
        let error = match error {
            TransportError::Reset => {
                state.lines[line].script.random.pick(&[TransportError::Reset, TransportError::BrokenPipe])
            }
            error @ (TransportError::BrokenPipe
            | TransportError::TimedOut
            | TransportError::Refused
            | TransportError::Unresolved
            | TransportError::Other(_)) => error,
        };
        state.event(21, line, 1, || format!("write: {error}"));
        return Err(Blocked::Failed(error));
    }
    let room = state.lines[line].room();
    if room == 0 {
        state.event(21, line, 2, || "write: would block".into());
        state.lines[line].write_blocked = true;
        state.lines[line].record.borrow_mut().on_blocked(now);
        return Err(Blocked::WouldBlock);
    }
    if state.strikes(Fault::WriteBlocks, line) {
        state.event(21, line, 3, || "write: would block, for no reason".into());
        state.lines[line].write_spurious = true;
        state.lines[line].record.borrow_mut().on_blocked(now);
        again(state, line, News { write: true, ..News::default() });
        return Err(Blocked::WouldBlock);
    }
    let mut n = offered.min(room);
    if state.strikes(Fault::WritesLittle, line) {
        n = state.lines[line].script.random.between(1, n);
    }
    state.event(21, line, n as u64 + 9, || format!("write: {n} of {offered} bytes"));
    Ok(n)
}

/// The network has these bytes; whether they are the right ones is known at once.
fn take(state: &mut State, line: usize, bytes: &[u8], now: Time) {
    let record = state.lines[line].record.clone();
    let record = &mut *record.borrow_mut();
    let lifted = state.plan.is_veiled.then(|| veiled(bytes, record.output.len()));
    let bytes = lifted.as_deref().unwrap_or(bytes);
    match state.sabotage {
        Some(Sabotage::DropsByte) if bytes.len() > 2 => record.on_taken(&bytes[1..], now),
        Some(Sabotage::DoublesByte) if bytes.len() > 2 => {
            record.on_taken(&bytes[..1], now);
            record.on_taken(bytes, now);
        }
        Some(_) | None => record.on_taken(bytes, now),
    }
}

fn took(state: &mut State, line: usize, n: usize) {
    state.lines[line].taken += n;
    state.lines[line].write_spurious = false;
    state.on_written(line);
    state.spend(line, n);
}

/// Readiness that was there all the time is told a little later.
fn again(state: &mut State, line: usize, news: News) {
    // What was done to it is not its idleness.
    state.progress += 1;
    let this = &mut state.lines[line];
    let at = state.now + Duration::from_micros(this.script.random.between(1, 300) as u64);
    if state.plan.poller == Poller::Asked {
        // It is there when it is asked for, at the end of the turn.
        return;
    }
    if !this.has_news() {
        this.due = at;
        state.agenda.add(at, super::agenda::Coming::News(line));
    }
    this.pending.read |= news.read;
    this.pending.write |= news.write;
}

/// Files that a connection may have open (I2).
fn check_files(state: &mut State, line: usize) {
    let (open, in_flight) = state.disk.count(line);
    let most = 2 * usize::from(state.lines[line].script.limits.files) + 1;
    if open + in_flight > most {
        state.violate(Invariant::Bounds, line, format!("{open} files are open, {most} may be"));
    }
}
