//! What a driver, an application and a peer know of one connection: they perform each
//! step, and see that each action is one that may come.

use super::{Answer, Reading, Step, file_error, transport_error};
use crate::shared::rich::{self, Bad, Rich};
use drywire_core::{
    Action, Blocked, Budget, CloseReport, Connection, ERROR_REPLY_BYTES, FileError, FileId, Live, Misuse, OpenFile,
    Opening, Read, Ready, SendFileError, Time, Transport, Turn as TurnOf, Wait, turn,
};
use std::collections::BTreeMap;
use std::mem;

/// More actions than any input leads to between two inputs (I3).
const ACTIONS: usize = 100_000;

/// See the module.
#[derive(Default)]
pub(super) struct Outside {
    pub(super) fed: u64,
    pub(super) taken: Vec<u8>,
    pub(super) events: Vec<u32>,
    /// Files that are open, and the name of the one that is being opened.
    pub(super) open: BTreeMap<FileId, u8>,
    pub(super) asked: Option<(FileId, u8)>,
    pub(super) close: Option<CloseReport<Bad>>,
    pub(super) reading: Option<bool>,
    pub(super) half_closed: bool,
    /// A turn was forgotten: input is lost, and told as such.
    pub(super) forgotten: bool,
    /// What the transport takes and sends in a turn of the real loop.
    pub(super) takes: usize,
}

impl Outside {
    fn is_reading(&self) -> bool {
        self.reading.unwrap_or(true)
    }

    /// Everything but time and tokens, which are answered where they are polled.
    fn closes(&mut self, report: CloseReport<Bad>) {
        assert!(self.close.replace(report).is_none(), "I4: closed twice");
    }

    fn tells(&mut self, event: u32) {
        assert!(self.close.is_none(), "I4: an event after the close");
        self.events.push(event);
    }

    fn asks(&mut self, request: &OpenFile<'_>) {
        assert!(self.close.is_none(), "I4: a file is asked for after the close");
        let [name] = request.name() else { panic!("a name of {} bytes", request.name().len()) };
        assert!(self.asked.replace((request.id(), *name)).is_none(), "two files at a time");
    }

    fn forgets(&mut self, id: FileId) {
        assert!(self.open.remove(&id).is_some(), "{id:?} was closed twice, or never open");
    }

    fn ends_output(&mut self) {
        assert!(!mem::replace(&mut self.half_closed, true), "two half-closes");
    }

    fn announces(&mut self, reading: bool) {
        assert_ne!(self.is_reading(), reading, "the announced level did not change");
        self.reading = Some(reading);
    }

    fn takes(&mut self, slices: &[&[u8]], n: usize) {
        assert!(!self.half_closed, "a write after the half-close");
        assert!((1..=16).contains(&slices.len()), "{} slices", slices.len());
        assert!(slices.iter().all(|slice| !slice.is_empty()), "an empty slice");
        self.taken.extend_from_slice(&slices.concat()[..n]);
    }

    fn streams(&mut self, id: FileId, offset: u64, n: u64) {
        assert!(!self.half_closed, "a file after the half-close");
        let name = *self.open.get(&id).expect("only an open file is sent");
        assert!(offset + n <= rich::file_len(name), "beyond the end of the file");
        self.taken.extend((offset..offset + n).map(|at| rich::file_byte(name, at)));
    }

    fn waits(&self, wait: Wait, now: Time) {
        if self.close.is_some() {
            assert_eq!(wait, Wait::default(), "I4: nothing follows the close");
        }
        assert!(wait.deadline.is_none_or(|deadline| deadline > now), "the deadline has passed: {wait:?} at {now:?}");
        if self.close.is_none() {
            assert_eq!(wait.read, self.is_reading(), "announced and waited for");
        }
    }
}

impl Outside {
    pub(super) fn step(&mut self, live: &mut Live<'_, Rich>, now: Time, step: &Step) {
        match step {
            Step::Read(reading) => self.read(live, reading),
            Step::Poll(answer) => {
                self.poll(live, now, *answer);
            }
            Step::Turn { budget, takes } => self.real_turn(live, now, *budget, *takes),
            Step::Writable => live.handle_writable(),
            Step::Command(command) => self.command(live, command),
            Step::File { right, result } => match self.asked {
                Some((id, name)) if *right => self.answers(live, id, result.map(|()| name).map_err(file_error)),
                // Ids are made by connections only, so a wrong one is one that is used up.
                Some(_) | None => {
                    if let Some(id) = self.open.keys().next().copied() {
                        let misuse = if live.connection().is_closed() { Misuse::Closed } else { Misuse::UnknownFile };
                        assert_eq!(live.handle_file(id, Ok(1)), Err(misuse));
                    }
                }
            },
            Step::Failed(error) => live.handle_transport_error(transport_error(*error)),
            Step::Drain => live.drain(),
            Step::Close => live.close(),
            Step::Abort => live.abort(),
        }
    }

    fn read(&mut self, live: &mut Live<'_, Rich>, reading: &Reading) {
        let mut called = false;
        let read = live.read_with(|slot| {
            assert!(!slot.is_empty(), "an empty slot would read as the end");
            called = true;
            match reading {
                Reading::Bytes(bytes) if !bytes.is_empty() => {
                    let n = bytes.len().min(slot.len());
                    slot[..n].copy_from_slice(&bytes[..n]);
                    self.fed += n as u64;
                    Ok(n)
                }
                Reading::Bytes(_) | Reading::WouldBlock => Err(Blocked::WouldBlock),
                Reading::End => Ok(0),
                Reading::Failed(error) => Err(Blocked::Failed(transport_error(*error))),
            }
        });
        assert_eq!(called, read != Read::NotWanted, "the transport is asked if and only if input is wanted");
    }

    fn command(&mut self, live: &mut Live<'_, Rich>, command: &[u8]) {
        let can = live.can_take_command();
        match live.handle_command(command.to_vec()) {
            Ok(()) => {
                assert!(can);
                // It was handled, or is kept, and then the next has to wait.
                assert!(!live.can_take_command() || !live.connection().holds_command());
            }
            Err((back, misuse)) => {
                assert!(!can);
                assert_eq!(back, command, "it comes back");
                assert!(matches!(misuse, Misuse::Closed | Misuse::CommandWaiting), "{misuse:?}");
                assert!(!live.connection().is_closed() || misuse == Misuse::Closed);
            }
        }
    }

    /// Tells how the opening went. The driver keeps, and closes, what is not wanted.
    pub(super) fn answers(&mut self, live: &mut Live<'_, Rich>, id: FileId, result: Result<u8, FileError>) {
        self.asked = None;
        let closed = live.connection().is_closed();
        match live.handle_file(id, result.map(rich::file_len)) {
            Ok(()) => {
                assert!(!closed);
                if let Ok(name) = result {
                    assert!(self.open.insert(id, name).is_none(), "{id:?} was opened twice");
                }
            }
            Err(misuse) => assert!(closed && misuse == Misuse::Closed, "{misuse:?} though it was asked for"),
        }
    }

    /// One action. `None` once it waits for nothing more than this.
    fn poll(&mut self, live: &mut Live<'_, Rich>, now: Time, answer: Answer) -> Option<Wait> {
        match live.poll() {
            Action::Write(write) => {
                let offered = write.with_slices(|slices, _| slices.iter().map(|slice| slice.len()).sum::<usize>());
                let n = match answer {
                    Answer::Moved(n) => offered.min(usize::from(n)),
                    Answer::All => offered,
                    Answer::Blocked => {
                        write.blocked();
                        return None;
                    }
                    Answer::Dropped => return None,
                    Answer::Failed(error) | Answer::FileFailed(error) => {
                        write.failed(transport_error(error));
                        return None;
                    }
                };
                write.with_slices(|slices, _| self.takes(slices, n));
                write.wrote(n);
            }
            Action::StreamFile(part) => {
                assert!(!part.is_empty());
                let n = match answer {
                    Answer::Moved(n) => part.len().min(u64::from(n)),
                    Answer::All => part.len(),
                    Answer::Blocked => {
                        part.blocked();
                        return None;
                    }
                    Answer::Dropped => return None,
                    Answer::Failed(error) => {
                        part.failed(transport_error(error));
                        return None;
                    }
                    Answer::FileFailed(error) => {
                        part.file_failed(file_error(error));
                        return None;
                    }
                };
                self.streams(part.id(), part.offset(), n);
                part.sent(n);
            }
            Action::ReadFile(part) => panic!("no layer has to see {part:?}"),
            Action::OpenFile(request) => self.asks(&request),
            Action::CloseFile(id) => self.forgets(id),
            Action::Event(event) => self.tells(event),
            Action::DisableRead => self.announces(false),
            Action::EnableRead => self.announces(true),
            Action::HalfClose => self.ends_output(),
            Action::Again => panic!("no bound of messages was said"),
            Action::Close(report) => self.closes(report),
            Action::Wait(wait) => {
                self.waits(wait, now);
                return Some(wait);
            }
        }
        None
    }

    /// Polls until it waits; everything is taken.
    pub(super) fn settle(&mut self, live: &mut Live<'_, Rich>, now: Time) -> Wait {
        for _ in 0..ACTIONS {
            if let Some(wait) = self.poll(live, now, Answer::All) {
                let wanted = live.read_with(|_| Err(Blocked::WouldBlock)) != Read::NotWanted;
                assert_eq!(wanted, wait.read, "what is waited for is what is wanted");
                return wait;
            }
        }
        panic!("I3: it never waits");
    }

    fn real_turn(&mut self, live: &mut Live<'_, Rich>, now: Time, budget: u16, takes: u8) {
        self.takes = usize::from(takes);
        let mut ready = Ready { read: false, ..Ready::UNKNOWN };
        let mut budget = Budget::bytes(usize::from(budget));
        for _ in 0..ACTIONS {
            match turn(live, self, &mut ready, &mut budget) {
                TurnOf::Event(event) => self.tells(event),
                TurnOf::Wait(wait) => return self.waits(wait, now),
                TurnOf::Again => return,
                TurnOf::Closed(report) => return self.closes(report),
            }
        }
        panic!("I3: the turn does not end");
    }

    /// What holds after every step.
    pub(super) fn check(&self, connection: &Connection<Rich>) {
        let limits = connection.limits();
        let bound = (limits.input_bytes + limits.output_bytes) as usize + ERROR_REPLY_BYTES;
        assert!(connection.held_bytes() <= bound, "I2: {} bytes held, {bound} allowed", connection.held_bytes());
        let counters = connection.counters();
        assert_eq!(counters.sent, self.taken.len() as u64, "sent bytes are counted");
        assert_eq!(counters.received, self.fed, "received bytes are counted");
        assert!(counters.discarded <= counters.received);
        assert_eq!(connection.is_closed(), self.close.is_some(), "closed is closed");
        let rich = connection.protocol();
        let known = rich.said.len().min(self.taken.len());
        assert_eq!(self.taken[..known], rich.said[..known], "I1: not what was said");
        assert!(self.taken.len() <= rich.said.len() + ERROR_REPLY_BYTES, "I1: more than was said");
        assert!(rich.told.starts_with(&self.events), "events nobody told");
    }
}

impl Transport for Outside {
    fn short_read_exhausts(&self) -> bool {
        true
    }

    fn try_read(&mut self, _: &mut [u8]) -> Result<usize, Blocked> {
        Err(Blocked::WouldBlock)
    }

    fn try_write_vectored(&mut self, slices: &[&[u8]], _more: bool) -> Result<usize, Blocked> {
        let n = slices.iter().map(|slice| slice.len()).sum::<usize>().min(self.takes);
        if n == 0 {
            return Err(Blocked::WouldBlock);
        }
        self.takes -= n;
        self.takes(slices, n);
        Ok(n)
    }

    fn try_send_file(&mut self, id: FileId, offset: u64, len: u64) -> Result<u64, SendFileError> {
        let n = len.min(self.takes as u64);
        if n == 0 {
            return Err(SendFileError::Output(Blocked::WouldBlock));
        }
        self.takes -= n as usize;
        self.streams(id, offset, n);
        Ok(n)
    }

    fn read_file(&mut self, id: FileId, _: u64, _: &mut [u8]) -> Result<usize, FileError> {
        panic!("no layer has to see {id:?}")
    }

    fn open_file(&mut self, request: &OpenFile<'_>) -> Opening {
        self.asks(request);
        Opening::Later
    }

    fn close_file(&mut self, id: FileId) {
        self.forgets(id);
    }

    fn half_close(&mut self) {
        self.ends_output();
    }

    fn on_reading(&mut self, enabled: bool) {
        self.announces(enabled);
    }
}
