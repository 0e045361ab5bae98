//! The queue against a model of it: any order of calls, any partial writes.

use super::{BLOCK, Buffers, FilePart, Output};
use crate::file::FileId;
use crate::output::{MAX_SLICES, Refusal, Resource, Writer};
use crate::workspace::{Pool, Workspace};
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;
use proptest::test_runner::Config;

const CAP: usize = 100_000;

fn cases(cases: u32) -> Config {
    let cases = match (cfg!(miri), std::env::var_os("PROPTEST_CASES").is_some()) {
        (_, true) => Config::default().cases,
        (true, false) => 4,
        (false, false) => cases,
    };
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// One thing a handler does, or a transport.
#[derive(Clone, Debug)]
enum Op {
    Write(usize),
    Shared(usize),
    /// Reserve, write so much, fill.
    Frame(usize),
    File(u32, u64),
    Commit,
    RollBack,
    /// The transport took so much of what was offered.
    Take(usize),
    /// The turn ends.
    Settle,
    Discard,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => size().prop_map(Op::Write),
        3 => size().prop_map(Op::Shared),
        3 => size().prop_map(Op::Frame),
        2 => (0u32..3, 0u64..5000).prop_map(|(id, len)| Op::File(id, len)),
        4 => Just(Op::Commit),
        3 => Just(Op::RollBack),
        6 => size().prop_map(Op::Take),
        2 => Just(Op::Settle),
        1 => Just(Op::Discard),
    ]
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![0usize..20, 400usize..700, 3000usize..5000, BLOCK - 9..BLOCK + 9, 0usize..40_000]
}

/// A byte that is owed, or the rest of a file.
#[derive(Clone, Debug, PartialEq)]
enum Owed {
    Byte(u8),
    File(FilePart),
}

/// The simplest queue that could be right.
#[derive(Clone, Debug, Default)]
struct Model {
    owed: VecDeque<Owed>,
    next: u8,
}

impl Model {
    fn data(&mut self, n: usize) -> Vec<u8> {
        (0..n)
            .map(|_| {
                self.next = self.next.wrapping_add(1);
                self.next
            })
            .collect()
    }

    fn bytes(&self) -> usize {
        self.owed.iter().filter(|owed| matches!(owed, Owed::Byte(_))).count()
    }

    fn files(&self) -> usize {
        self.owed.len() - self.bytes()
    }

    fn holds(&self, id: FileId) -> bool {
        self.owed.iter().any(|owed| matches!(owed, Owed::File(part) if part.id == id))
    }

    fn push(&mut self, data: &[u8]) {
        self.owed.extend(data.iter().map(|byte| Owed::Byte(*byte)));
    }

    fn leading_bytes(&self) -> Vec<u8> {
        self.owed
            .iter()
            .map_while(|owed| match owed {
                Owed::Byte(byte) => Some(*byte),
                Owed::File(_) => None,
            })
            .collect()
    }
}

struct Test {
    output: Output,
    pool: Pool,
    model: Model,
    /// Refused, so that nothing more goes in before the roll-back.
    refused: bool,
    files: VecDeque<FileId>,
}

impl Test {
    fn new() -> Test {
        Test {
            output: Output::default(),
            pool: Pool::default(),
            model: Model::default(),
            refused: false,
            files: VecDeque::new(),
        }
    }

    /// A whole call: `ops` between here and a commit or a roll-back.
    fn call(&mut self, ops: &[Op], roll_back: bool) {
        let mut fuse = 0;
        let before = self.model.clone();
        let mut writer = Writer::new(&mut self.output, &mut self.pool, CAP, usize::MAX, false, &mut fuse);
        let model = &mut self.model;
        for op in ops {
            let room = CAP - model.bytes();
            let fits = |n: usize| n <= room;
            let result = match op {
                Op::Write(n) => {
                    let data = model.data(*n);
                    writer.write(&data).map(|()| data)
                }
                Op::Shared(n) => {
                    let data = model.data(*n);
                    writer.write_shared(data.clone().into()).map(|()| data)
                }
                Op::Frame(n) => {
                    let data = model.data(*n);
                    let head = model.data(8);
                    let framed = writer.reserve(8).and_then(|place| {
                        let (front, back) = data.split_at(n / 2);
                        writer.write(front)?;
                        writer.write_shared(back.to_vec().into())?;
                        assert_eq!(writer.since(&place), *n);
                        writer.fill(place, &head);
                        Ok(())
                    });
                    framed.map(|()| [head, data].concat())
                }
                Op::File(id, len) => {
                    let part = FilePart { id: FileId(*id), offset: 7, len: *len };
                    let result = writer.push_file(part.id, part.offset, part.len);
                    if result.is_ok() && *len > 0 {
                        model.owed.push_back(Owed::File(part));
                    }
                    result.map(|()| Vec::new())
                }
                Op::Commit | Op::RollBack | Op::Take(_) | Op::Settle | Op::Discard => unreachable!("between calls"),
            };
            match result {
                Ok(data) => {
                    assert!(!self.refused && fits(data.len()));
                    model.push(&data);
                }
                Err(refused) => {
                    self.refused = true;
                    let full = Refusal::Full(Resource::Bytes);
                    assert!(refused.0 == full || matches!(refused.0, Refusal::Limit(_)), "{refused:?}");
                }
            }
        }
        if roll_back || self.refused {
            writer.roll_back();
            self.model = Model { next: self.model.next, ..before };
            self.refused = false;
        }
    }

    /// The transport takes up to `n` of what is due.
    fn take(&mut self, n: usize) {
        if let Some(part) = self.output.front_file() {
            assert_eq!(Some(&Owed::File(part)), self.model.owed.front());
            let n = (n as u64).min(part.len);
            let done = self.output.sent(n);
            self.model.owed.pop_front();
            if n < part.len {
                let rest = FilePart { offset: part.offset + n, len: part.len - n, ..part };
                self.model.owed.push_front(Owed::File(rest));
            }
            let gone = n == part.len && !self.model.holds(part.id);
            assert_eq!(done, gone.then_some(part.id));
            return;
        }
        let due = self.model.leading_bytes();
        let offered: Vec<u8> = {
            let mut slices: [&[u8]; MAX_SLICES] = [&[]; MAX_SLICES];
            let (count, more) = self.output.gather(&mut slices);
            let offered = slices[..count].concat();
            assert!(slices[..count].iter().all(|slice| !slice.is_empty()));
            assert_eq!(more, offered.len() < self.model.bytes() || self.model.files() > 0);
            offered
        };
        assert!(due.starts_with(&offered));
        assert!(!offered.is_empty() || due.is_empty());
        let n = n.min(offered.len());
        self.output.wrote(n, &mut self.pool);
        self.model.owed.drain(..n);
    }

    fn discard(&mut self) {
        let files = self.model.owed.iter().filter_map(|owed| match owed {
            Owed::File(part) => Some(*part),
            Owed::Byte(_) => None,
        });
        let unsent = self.model.bytes() as u64 + files.clone().map(|part| part.len).sum::<u64>();
        let mut ids: Vec<_> = files.map(|part| part.id).collect();
        ids.sort_unstable();
        ids.dedup();
        self.files.clear();
        assert_eq!(self.output.discard(&mut self.files, &mut self.pool), unsent);
        let mut closed: Vec<_> = self.files.iter().copied().collect();
        closed.sort_unstable();
        assert_eq!(closed, ids, "every file once");
        self.model.owed.clear();
    }

    fn check(&self) {
        assert_eq!(self.output.bytes(), self.model.bytes());
        assert_eq!(self.output.files(), self.model.files());
        assert_eq!(self.output.is_empty(), self.model.owed.is_empty());
    }

    fn run(&mut self, ops: &[Op]) {
        let mut pending = Vec::new();
        for op in ops {
            match op {
                Op::Write(_) | Op::Shared(_) | Op::Frame(_) | Op::File(..) => pending.push(op.clone()),
                Op::Commit | Op::RollBack => {
                    self.call(&pending, matches!(op, Op::RollBack));
                    pending.clear();
                }
                Op::Take(n) => self.take(*n),
                Op::Settle => self.output.settle(&mut self.pool),
                Op::Discard => self.discard(),
            }
            self.check();
        }
        // Everything leaves in order, and every block comes home.
        while !self.model.owed.is_empty() {
            self.take(10_000);
        }
        self.check();
        self.output.settle(&mut self.pool);
        assert_eq!(self.output.tail.capacity(), 0);
        assert!(self.output.sealed.is_empty() && self.output.front_sent == 0);
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn queue_does_what_its_model_does(ops in prop::collection::vec(op(), 0..if cfg!(miri) { 12 } else { 60 })) {
        Test::new().run(&ops);
    }
}

/// Known-bad control: a model that forgets one byte is told apart.
#[test]
#[should_panic(expected = "left == right")]
fn model_that_differs_is_told_apart() {
    let mut test = Test::new();
    test.call(&[Op::Write(10)], false);
    test.model.owed.pop_back();
    test.check();
}

#[test]
#[cfg_attr(miri, ignore = "the model is slow there")]
fn bound_is_exact_for_copied_and_shared_bytes() {
    for shared in [false, true] {
        let mut test = Test::new();
        test.call(&[Op::Write(CAP - 600)], false);
        let op = |n| if shared { Op::Shared(n) } else { Op::Write(n) };
        test.call(&[op(601)], false);
        assert_eq!(test.output.bytes(), CAP - 600, "refused");
        test.call(&[op(600)], false);
        assert_eq!(test.output.bytes(), CAP);
    }
}

#[test]
#[cfg_attr(miri, ignore = "the model is slow there")]
fn blocks_come_home_after_a_flush_a_roll_back_and_a_discard() {
    let mut test = Test::new();
    let mut homes = Vec::new();
    let ops = [Op::Write(50_000), Op::Shared(600), Op::Write(3), Op::File(1, 10), Op::Frame(900)];
    for round in 0..9 {
        test.call(&ops, round % 3 == 0);
        match round % 3 {
            1 => test.discard(),
            _ => {
                while !test.model.owed.is_empty() {
                    test.take(999);
                }
            }
        }
        test.output.settle(&mut test.pool);
        homes.push(test.pool.bytes());
    }
    assert!(homes[3..].windows(2).all(|pair| pair[0] == pair[1]), "{homes:?}");
    assert!(homes[8] > 0);
}

#[test]
fn small_rest_does_not_pin_a_block_between_turns() {
    let mut test = Test::new();
    test.call(&[Op::Write(BLOCK)], false);
    test.take(BLOCK - 10);
    test.output.settle(&mut test.pool);
    assert!(test.output.tail.capacity() <= 256);
    test.take(10);
    test.output.settle(&mut test.pool);
    assert!(test.output.is_empty());
}

#[test]
fn idle_buffers_hold_nothing() {
    let (mut buffers, mut pool) = (Buffers::default(), Pool::default());
    let mut fuse = 0;
    let mut writer = Writer::new(&mut buffers.output, &mut pool, CAP, usize::MAX, false, &mut fuse);
    writer.write(&vec![1; 5000]).expect("it fits");
    buffers.output.wrote(5000, &mut pool);
    buffers.settle(&mut pool);
    assert!(buffers.is_empty());
    assert!(Workspace::POOL_BYTES >= pool.bytes() && pool.bytes() > 0);
}
