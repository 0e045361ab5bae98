//! Entries as bytes, and back.

use super::*;
use proptest::prelude::*;
use std::vec;

fn text(front: &str) -> Text<'_> {
    Text { front: front.into(), len: 1000, crc: 0xfedc_ba98 }
}

/// Each kind, with each variant of what it holds, and extreme numbers.
fn all() -> Vec<Entry<'static>> {
    let (id, far) = (FileId(u32::MAX), Time::from_nanos(u64::MAX / 3));
    let waits = Wait { read: true, write: true, deadline: Some(Time::ZERO) };
    let levels = Levels { input: u64::MAX, output: 1, files: u32::MAX, wire: 2 };
    let counters = Counters { received: u64::MAX, sent: 1, discarded: 2, unsent: 3 };
    let name: Cow<'static, [u8]> = Cow::Borrowed(b"\0name\xff");
    let mut all = vec![
        Entry::Lend { now: far, forgotten: true },
        Entry::Lend { now: Time::ZERO, forgotten: false },
        Entry::Lend { now: Time::NEVER, forgotten: false },
        Entry::Writable,
        Entry::NotWanted,
        Entry::Command { len: u32::MAX, refused: None },
        Entry::File { id, result: Ok(u64::MAX), refused: Some(Misuse::Closed) },
        Entry::Drain,
        Entry::FlushOnly,
        Entry::QueueAtMost(u32::MAX),
        Entry::Close,
        Entry::Abort,
        Entry::InjectFull(u32::MAX),
        Entry::Bytes(name.clone()),
        Entry::Write { offered: u64::MAX },
        Entry::Wrote { n: 5, crc: Some(u32::MAX) },
        Entry::Wrote { n: u64::MAX, crc: None },
        Entry::StreamFile { id, offset: u64::MAX, len: 1 },
        Entry::Sent { n: u64::MAX },
        Entry::ReadFile { id, offset: 3, len: u64::MAX },
        Entry::FileRead { n: u32::MAX },
        Entry::OpenFile { id, name: name.clone(), len: 7, crc: Some(1) },
        Entry::OpenFile { id, name, len: 7, crc: None },
        Entry::CloseFile { id },
        Entry::Event(text("event")),
        Entry::Event(Text::default()),
        Entry::EnableRead,
        Entry::DisableRead,
        Entry::HalfClose,
        Entry::Again,
        Entry::Cut { messages: u32::MAX },
        Entry::Wait { wait: waits, levels, why: Why::INPUT.and(Why::READING_DISABLED) },
        Entry::Wait { wait: Wait::default(), levels: Levels::default(), why: Why::NOTHING },
    ];
    for n in [ReadAnswer::Bytes(u32::MAX), ReadAnswer::Wire(0), ReadAnswer::Discarded(1)] {
        all.push(Entry::Read { slot: u32::MAX, answer: n });
    }
    for answer in [ReadAnswer::End, ReadAnswer::WouldBlock, ReadAnswer::Failed(TransportError::Refused)] {
        all.push(Entry::Read { slot: 1, answer });
    }
    use {FileError as F, TransportError as T};
    for error in [T::Reset, T::BrokenPipe, T::TimedOut, T::Refused, T::Unresolved, T::Other(i32::MIN)] {
        all.extend([Entry::TransportError(error), Entry::OutputFailed(error)]);
    }
    for error in [F::NotFound, F::Forbidden, F::NotRegular, F::TooMany, F::Truncated, F::Io(i32::MAX)] {
        all.extend([Entry::FileFailed(error), Entry::File { id, result: Err(error), refused: None }]);
    }
    all.extend(MISUSES.map(|misuse| Entry::Command { len: 0, refused: Some(misuse) }));
    all.extend(KINDS.map(|kind| Entry::Report { kind, text: text("reason"), counters }));
    all.extend(ENDS.map(Entry::End));
    for (kind, error) in CALLS
        .map(|kind| (kind, None))
        .into_iter()
        .chain([(LayerCallKind::Send, Some((Cow::Borrowed("tls"), Cow::Borrowed("bad record"))))])
    {
        let (holding, owing, ended) = (error.is_some(), error.is_none(), kind == LayerCallKind::Receive);
        let (opening, partial) = (kind == LayerCallKind::Open, kind == LayerCallKind::Flush);
        let (taken, crc, plain, wire) = (1, 2, 3, 4);
        let call = LayerCall { kind, taken, crc, plain, wire, error, holding, owing, ended, opening, partial };
        all.push(Entry::Layer(call));
    }
    all
}

#[test]
fn every_entry_comes_back_as_it_was_and_is_not_taken_for_one_when_cut() {
    for entry in all() {
        for now in [Time::ZERO, Time::from_nanos(u64::MAX / 2), Time::NEVER] {
            let mut bytes = Vec::new();
            put(&entry, now, &mut bytes);
            assert!(bytes.len() <= LONGEST);
            let mut from = &bytes[..];
            assert_eq!(take(&mut from, now).as_ref(), Some(&entry));
            assert!(from.is_empty());
            for cut in 0..bytes.len() {
                assert_eq!(take(&mut &bytes[..cut], now), None, "{entry:?} cut at {cut}");
            }
            assert_eq!(entry.clone().into_owned(), entry);
        }
    }
}

/// Room is kept for this much.
#[test]
fn no_entry_is_longer_than_the_longest() {
    let long = "x".repeat(Text::MAX);
    let most = Text { front: long.as_str().into(), len: u32::MAX, crc: 0 };
    let counters = Counters { received: u64::MAX, sent: u64::MAX, discarded: u64::MAX, unsent: u64::MAX };
    let error = Some((long.as_str().into(), long.as_str().into()));
    let (yes, m) = (true, u32::MAX);
    let call = LayerCall {
        kind: LayerCallKind::Open,
        taken: m,
        crc: m,
        plain: m,
        wire: m,
        error,
        holding: yes,
        owing: yes,
        ended: yes,
        opening: yes,
        partial: yes,
    };
    let report = Entry::Report { kind: ReasonKind::Peer, text: most, counters };
    for entry in [Entry::Layer(call), report] {
        let mut bytes = Vec::new();
        put(&entry, Time::ZERO, &mut bytes);
        assert!(bytes.len() <= LONGEST, "{} bytes", bytes.len());
    }
}

proptest! {
    /// What reads as an entry is written as one that reads the same.
    #[test]
    fn any_bytes_are_an_entry_or_none(bytes in prop::collection::vec(any::<u8>(), 0..60), tag in 0..33u8, now in any::<u64>()) {
        let now = Time::from_nanos(now);
        let mut from = &[&[tag], &bytes[..]].concat()[..];
        if let Some(entry) = take(&mut from, now) {
            let mut again = Vec::new();
            put(&entry, now, &mut again);
            prop_assert_eq!(take(&mut &again[..], now), Some(entry));
        }
    }
}
