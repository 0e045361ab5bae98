//! The recording, read in step with what the connection does now, and compared.

use super::ReplayError;
use super::verdict::{Difference, OutputByte};
use drywire_core::record::one_byte;
use drywire_core::record::{Entries, Entry, LayerCallKind, Located, Mask, ReadAnswer, ReadError, Reader, Record, Tape};
use drywire_core::{Protocol, Time, Wait};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

/// Why playing ends before the recording does.
pub(super) enum Stop {
    Different(Box<Difference>),
    Error(ReplayError),
}

/// A recording, and how far the connection has followed it.
pub(super) struct Script<'a> {
    /// From the first entry on that was not compared yet.
    entries: Entries<'a>,
    /// What the connection's own tape has told and nobody has compared.
    heard: Arc<Mutex<VecDeque<Entry<'static>>>>,
    is_masked: bool,
    is_what_if: bool,
    /// The deadline of the last wait, where other bounds have made it an earlier one.
    sooner: Option<Time>,
    /// The last plain bytes that left the protocol, and how many did before them.
    sent_plain: Rc<RefCell<Vec<u8>>>,
    sent_before: u64,
    pub(super) compared: u64,
    pub(super) turns: u64,
    pub(super) received: u64,
    pub(super) sent: u64,
}

impl<'a> Script<'a> {
    pub(super) fn new(reader: &Reader<'a>, is_what_if: bool) -> Script<'a> {
        Script {
            entries: reader.entries(),
            heard: Arc::default(),
            is_masked: reader.header().masked,
            is_what_if,
            sooner: None,
            sent_plain: Rc::default(),
            sent_before: 0,
            compared: 0,
            turns: 0,
            received: 0,
            sent: 0,
        }
    }

    /// Where whoever sees plain output leaves it, before its entry is compared.
    pub(super) fn sent_plain(&self) -> Rc<RefCell<Vec<u8>>> {
        Rc::clone(&self.sent_plain)
    }

    pub(super) fn is_masked(&self) -> bool {
        self.is_masked
    }

    /// The tape of the connection that is played.
    pub(super) fn tape<P>(&self) -> Tape<P>
    where
        P: Protocol<Event: Debug, Command: Record, Error: Debug>,
    {
        let heard = Arc::clone(&self.heard);
        let tape = Tape::listening(move |entry| {
            // Our own end is not the recording's, which may end before.
            if !matches!(entry, Entry::End(_)) {
                heard.lock().unwrap_or_else(PoisonError::into_inner).push_back(entry.into_owned());
            }
        });
        if self.is_masked { tape.masked_by(Mask::nothing()) } else { tape }
    }

    /// The next entry that is not compared yet.
    pub(super) fn peek(&self) -> Result<Located<'a>, Stop> {
        located(&mut self.entries.clone())
    }

    /// The next call or answer. Calls of layers and contents come with one.
    pub(super) fn next_step(&self) -> Result<Step<'a>, Stop> {
        let mut ahead = self.entries.clone();
        loop {
            let step = located(&mut ahead)?;
            if matches!(step.entry, Entry::Layer(_) | Entry::Bytes(_) | Entry::Cut { .. }) {
                continue;
            }
            let mut len = 0;
            if let Entry::Read { answer: ReadAnswer::Bytes(n), .. } | Entry::Command { len: n, .. } = step.entry {
                len = n as usize;
            }
            let contents = contents(&mut ahead, len, step.offset)?;
            return Ok(Step { located: step, contents });
        }
    }

    /// How many messages bounded the turn that begins; `None` when there were no more. That is
    /// recorded behind those that were consumed.
    pub(super) fn messages_of_turn(&self) -> Option<u32> {
        let steps = self.entries.clone().map_while(Result::ok).map(|located| located.entry).skip(1);
        let mut turn = steps.take_while(|entry| !matches!(entry, Entry::Lend { .. } | Entry::End(_)));
        turn.find_map(|entry| if let Entry::Cut { messages } = entry { Some(messages) } else { None })
    }

    /// The turn that is under way was forgotten rather than ended.
    pub(super) fn forgets_turn(&self) -> bool {
        let mut steps = self.entries.clone().map_while(Result::ok).map(|located| located.entry);
        let next = steps.find(|entry| {
            !matches!(entry, Entry::InjectFull(_) | Entry::Layer(_) | Entry::Bytes(_) | Entry::Cut { .. })
        });
        matches!(next, Some(Entry::Lend { forgotten: true, .. }))
    }

    /// Before the `turn` that was recorded next: with the bounds there are now, a driver
    /// would have made one of its own. Only a deadline that other bounds have moved says
    /// so; to one that was recorded, a driver may have come late.
    pub(super) fn compare_deadline(&mut self, turn: &Located<'_>) -> Result<(), Stop> {
        match self.sooner.take() {
            Some(deadline) if deadline < turn.time => {
                Err(different(turn, format!("turn at {deadline:?}, which is a deadline")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Compares all that was heard, which has to go as far as `step`.
    pub(super) fn compare_up_to(&mut self, step: &Located<'_>) -> Result<(), Stop> {
        self.compare()?;
        let next = self.peek()?;
        if next.number <= step.number {
            return Err(different(&next, "nothing".to_owned()));
        }
        Ok(())
    }

    /// Compares all that happened before the `end` of the recording: calls of layers may
    /// be the last thing. What happens now beyond it, nobody knows of.
    pub(super) fn compare_up_to_end(&mut self, end: &Located<'_>) -> Result<(), Stop> {
        loop {
            let next = self.peek()?;
            if next.number >= end.number {
                return Ok(());
            }
            if !self.compare_next()? {
                return Err(different(&next, "nothing".to_owned()));
            }
        }
    }

    /// Compares what was heard with what was recorded.
    pub(super) fn compare(&mut self) -> Result<(), Stop> {
        while self.compare_next()? {}
        Ok(())
    }

    /// The same for one entry; false when nothing was heard.
    fn compare_next(&mut self) -> Result<bool, Stop> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(now) = heard else { return Ok(false) };
        if let Entry::Bytes(bytes) = &now {
            self.compare_contents(bytes)?;
            return Ok(true);
        }
        let recorded = located(&mut self.entries)?;
        if !self.is_same(&recorded.entry, &now) {
            let byte = self.differing_byte(&recorded.entry, &now);
            let mut difference = difference(&recorded, now.to_string());
            difference.byte = byte;
            return Err(Stop::Different(difference));
        }
        if let (Entry::Wait { wait: then, .. }, Entry::Wait { wait, .. }) = (&recorded.entry, &now) {
            let is_sooner = |now: &Time| then.deadline.is_none_or(|then| *now < then);
            self.sooner = wait.deadline.filter(is_sooner);
        }
        self.count(&now);
        Ok(true)
    }

    /// Contents are heard in one piece and recorded in several.
    fn compare_contents(&mut self, mut now: &[u8]) -> Result<(), Stop> {
        while !now.is_empty() {
            let recorded = located(&mut self.entries)?;
            if let Entry::Bytes(piece) = &recorded.entry
                && !piece.is_empty()
                && now.starts_with(piece)
            {
                now = &now[piece.len()..];
                self.compared += 1;
            } else {
                return Err(different(&recorded, Entry::Bytes(now.into()).to_string()));
            }
        }
        Ok(())
    }

    fn is_same(&self, recorded: &Entry<'_>, now: &Entry<'_>) -> bool {
        if !self.is_what_if {
            return recorded == now;
        }
        match (recorded, now) {
            // What the bounds say themselves would differ always.
            (Entry::Read { answer, .. }, Entry::Read { answer: now, .. }) => answer == now,
            (Entry::Wait { wait, levels, why }, Entry::Wait { wait: now, levels: levels_now, why: why_now }) => {
                let without = |wait: &Wait| Wait { deadline: None, ..*wait };
                (without(wait), levels, why) == (without(now), levels_now, why_now)
            }
            _ => recorded == now,
        }
    }

    fn count(&mut self, now: &Entry<'_>) {
        self.compared += 1;
        if let Entry::Lend { .. } = now {
            self.turns += 1;
        } else if let Entry::Read { answer, .. } = now {
            self.received += u64::from(answer.bytes());
        } else if let Entry::Wrote { n, crc } = now {
            self.sent += n;
            // With layers those are not the protocol's bytes.
            self.sent_before += if crc.is_some() { *n } else { 0 };
        } else if let Entry::Sent { n } = now {
            self.sent += n;
            self.sent_before += n;
        } else if let Entry::Layer(call) = now
            && call.kind == LayerCallKind::Send
        {
            self.sent_before += u64::from(call.taken);
        }
    }

    /// Checksums of equally many bytes differ: which byte would do that?
    fn differing_byte(&self, recorded: &Entry<'_>, now: &Entry<'_>) -> Option<OutputByte> {
        let syndrome = match (recorded, now) {
            (Entry::Wrote { n, crc: Some(crc) }, Entry::Wrote { n: n_now, crc: Some(now) }) if n == n_now => crc ^ now,
            (Entry::Layer(call), Entry::Layer(now)) if call.crc != now.crc && call.taken == now.taken => {
                call.crc ^ now.crc
            }
            _ => return None,
        };
        let sent = self.sent_plain.borrow();
        let one = one_byte(syndrome, sent.len())?;
        let now = *sent.get(one.at)?;
        Some(OutputByte { at: self.sent_before + one.at as u64, recorded: now ^ one.bits, now })
    }
}

/// A call into the connection or an answer out of it.
pub(super) struct Step<'a> {
    pub(super) located: Located<'a>,
    /// The bytes of a read, or of a command.
    pub(super) contents: Vec<u8>,
}

/// Something else came than was recorded.
pub(super) fn different(recorded: &Located<'_>, now: String) -> Stop {
    Stop::Different(difference(recorded, now))
}

pub(super) fn malformed(at: usize) -> Stop {
    Stop::Error(ReadError::Malformed { at }.into())
}

fn difference(recorded: &Located<'_>, now: String) -> Box<Difference> {
    Box::new(Difference {
        number: recorded.number,
        offset: recorded.offset,
        time: recorded.time,
        recorded: recorded.entry.to_string(),
        now,
        byte: None,
    })
}

fn located<'a>(entries: &mut Entries<'a>) -> Result<Located<'a>, Stop> {
    match entries.next() {
        Some(Ok(located)) => Ok(located),
        Some(Err(error)) => Err(Stop::Error(error.into())),
        None => unreachable!("a recording that was checked has an end, and nobody goes beyond"),
    }
}

/// `len` bytes, in pieces, which the entry at `at` announced.
fn contents(entries: &mut Entries<'_>, len: usize, at: usize) -> Result<Vec<u8>, Stop> {
    let mut all = Vec::new();
    while all.len() < len {
        let Entry::Bytes(piece) = located(entries)?.entry else { return Err(malformed(at)) };
        all.extend_from_slice(&piece);
    }
    if all.len() > len { Err(malformed(at)) } else { Ok(all) }
}
