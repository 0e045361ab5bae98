//! A connection against a model of it: the same inputs in any order, and after each
//! of them the same to be seen by peer, application and driver.
//!
//! The model is in [`reference`], `calls` and `slow`; the protocol that both play is in
//! [`rich`]. Here: which inputs there are, and the comparison.

mod calls;
mod reference;
mod rich;
mod slow;
mod state;

use crate::support::net::File;
use crate::support::rig::Rig;
use crate::support::{cases, ms};
use drywire_core::{Connection, FileError, Misuse, Protocol, TransportError};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use reference::Reference;
use rich::{Op, Rich, file_byte, file_len};
use state::{Input, Seen};
use std::marker::PhantomData;

/// Pairs of an operation and its argument, for a message or a command. What ends the
/// connection comes seldom, or there would be nothing else.
fn pairs() -> impl Strategy<Value = Vec<u8>> {
    let small = prop_oneof![3 => 0u8..12, 1 => any::<u8>()];
    let op = prop_oneof![
        30 => (prop_oneof![Just(0u8), Just(1), Just(2), Just(3), Just(5), Just(6), Just(13), Just(14)], any::<u8>()),
        10 => (prop_oneof![Just(2u8), Just(4), Just(7), Just(8), Just(18), Just(20), Just(21)], small),
        2 => (0..Op::COUNT, any::<u8>()),
    ];
    prop::collection::vec(op, 0..4).prop_map(|ops| ops.into_iter().flat_map(|(op, arg)| [op, arg]).collect())
}

/// Whole messages, then possibly a piece of one.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let message = pairs().prop_map(|pairs| [vec![u8::try_from(pairs.len()).expect("few")], pairs].concat());
    let rest = prop_oneof![6 => Just(vec![]), 1 => prop::collection::vec(any::<u8>(), 1..160)];
    (prop::collection::vec(message, 0..6), rest).prop_map(|(messages, rest)| [messages.concat(), rest].concat())
}

fn file_answer() -> impl Strategy<Value = Result<(), FileError>> {
    prop_oneof![
        4 => Just(Ok(())),
        1 => prop_oneof![Just(FileError::NotFound), Just(FileError::TooMany), Just(FileError::Io(5))].prop_map(Err),
    ]
}

impl ReferenceStateMachine for Reference {
    type State = Reference;
    type Transition = Input;

    fn init_state() -> BoxedStrategy<Reference> {
        Just(Reference::new(Rich::LIMITS)).boxed()
    }

    fn transitions(state: &Reference) -> BoxedStrategy<Input> {
        let answers = if state.is_opening() { 12 } else { 1 };
        prop_oneof![
            24 => input().prop_map(Input::Feed),
            12 => prop_oneof![0usize..40, 0usize..2000, Just(100_000)].prop_map(Input::Room),
            8 => pairs().prop_map(Input::Command),
            answers => file_answer().prop_map(Input::FileAnswer),
            8 => prop_oneof![0u64..8, 0u64..80, 150u64..600].prop_map(Input::Later),
            3 => (1u32..5).prop_map(Input::FullAt),
            1 => Just(Input::PeerEnds),
            1 => Just(Input::PeerResets),
            1 => Just(Input::TransportFails(TransportError::TimedOut)),
            1 => Just(Input::Drain),
            1 => Just(Input::Close),
            1 => Just(Input::Abort),
        ]
        .boxed()
    }

    fn apply(mut state: Reference, input: &Input) -> Reference {
        Reference::apply(&mut state, input);
        state
    }
}

/// What is wrong with the connection, for the control.
trait Flaw {
    fn spoil(seen: &mut Seen) {
        let _ = seen;
    }
}

struct Subject<F> {
    rig: Rig<Rich>,
    flaw: PhantomData<F>,
}

/// Answers for the file that was asked for last, wanted or not. One that is not
/// wanted stays the driver's.
fn answer_file(rig: &mut Rig<Rich>, result: Result<(), FileError>) {
    let Some((id, name)) = rig.net.asked.last().cloned() else { return };
    let len = file_len(name[0]);
    let mut live = rig.conn.lend(&mut rig.workspace, rig.now);
    match live.handle_file(id, result.map(|()| len)) {
        Ok(()) if result.is_ok() => {
            let bytes = (0..len).map(|at| file_byte(name[0], at)).collect();
            rig.net.open.insert(id, File { bytes, announced: len });
        }
        Ok(()) => {}
        Err(misuse) => {
            let expected = if live.connection().is_closed() { Misuse::Closed } else { Misuse::UnknownFile };
            assert_eq!(misuse, expected);
        }
    }
}

impl<F: Flaw> Subject<F> {
    fn apply(&mut self, input: Input) {
        let rig = &mut self.rig;
        let mut command = None;
        match &input {
            Input::Feed(bytes) => rig.net.incoming.extend(bytes),
            Input::PeerEnds => rig.net.incoming_end = true,
            Input::PeerResets => rig.net.read_fault = Some(TransportError::Reset),
            Input::Room(n) => rig.net.room += n,
            Input::Later(n) => rig.now = rig.now + std::time::Duration::from_millis(*n),
            Input::FullAt(n) => rig.conn.inject_full(*n),
            Input::Command(pairs) => command = Some(pairs.clone()),
            Input::FileAnswer(result) => answer_file(rig, *result),
            Input::TransportFails(_) | Input::Drain | Input::Close | Input::Abort => {}
        }
        rig.turn_with(|live| match input {
            Input::TransportFails(error) => live.handle_transport_error(error),
            Input::Drain => live.drain(),
            Input::Close => live.close(),
            Input::Abort => live.abort(),
            Input::Command(_) => {
                let can = live.can_take_command();
                assert_eq!(live.handle_command(command.expect("it is one")).is_ok(), can);
            }
            Input::Feed(_)
            | Input::PeerEnds
            | Input::PeerResets
            | Input::Room(_)
            | Input::FileAnswer(_)
            | Input::Later(_)
            | Input::FullAt(_) => {}
        });
    }

    fn seen(&mut self) -> Seen {
        let rig = &mut self.rig;
        let takes_command = rig.conn.lend(&mut rig.workspace, rig.now).can_take_command();
        let wait = rig.wait;
        let mut seen = Seen {
            got: rig.net.taken.escape_ascii().to_string(),
            told: rig.events.clone(),
            files_open: rig.net.open.keys().map(|id| id.as_u32()).collect(),
            files_asked: u32::try_from(rig.net.asked.len()).expect("few"),
            half_closed: rig.net.half_closed,
            closes: rig.close.iter().map(|report| report.reason.clone()).collect(),
            counters: rig.conn.counters(),
            wait: (wait.read, wait.write, wait.deadline.map(|at| at.as_nanos())),
            takes_command,
        };
        F::spoil(&mut seen);
        seen
    }
}

impl<F: Flaw> StateMachineTest for Subject<F> {
    type SystemUnderTest = Subject<F>;
    type Reference = Reference;

    fn init_test(_: &Reference) -> Subject<F> {
        let mut rig = Rig::on(Connection::new(Rich::default()));
        rig.net.room = 0;
        rig.net.answer_later = true;
        Subject { rig, flaw: PhantomData }
    }

    fn apply(mut subject: Subject<F>, model: &Reference, input: Input) -> Subject<F> {
        subject.apply(input);
        assert_eq!(subject.rig.now, ms(0) + std::time::Duration::from_nanos(model.now));
        assert_eq!(subject.seen(), model.seen());
        subject
    }

    fn check_invariants(subject: &Subject<F>, model: &Reference) {
        assert_eq!(subject.rig.conn.is_closed(), model.is_closed());
        let rich = subject.rig.conn.protocol();
        assert!(rich.told.starts_with(&subject.rig.events), "events nobody told");
    }
}

/// A sound one.
struct Sound;

impl Flaw for Sound {}

prop_state_machine! {
    #![proptest_config(cases(3000))]

    #[test]
    fn connection_does_what_the_model_does(sequential 1..60 => Subject<Sound>);
}

/// Loses one byte that was written.
struct LosesAByte;

impl Flaw for LosesAByte {
    fn spoil(seen: &mut Seen) {
        if seen.got.len() > 40 {
            seen.got.remove(20);
        }
    }
}

/// Reports a close twice.
struct ClosesTwice;

impl Flaw for ClosesTwice {
    fn spoil(seen: &mut Seen) {
        seen.closes.extend(seen.closes.clone());
    }
}

/// Forgets to close a file when another one is open, or asked for.
struct KeepsAFile;

impl Flaw for KeepsAFile {
    fn spoil(seen: &mut Seen) {
        if seen.files_asked > 1 && seen.files_open.is_empty() {
            seen.files_open.push(0);
        }
    }
}

/// Rings a millisecond too late.
struct RingsLate;

impl Flaw for RingsLate {
    fn spoil(seen: &mut Seen) {
        seen.wait.2 = seen.wait.2.map(|at| at + 1_000_000);
    }
}

fn is_found<F: Flaw>() -> bool {
    let inputs = Reference::sequential_strategy(1..60);
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let result = TestRunner::new_with_rng(config, random).run(&inputs, |(state, inputs, seen)| {
        Subject::<F>::test_sequential(ProptestConfig::default(), state, inputs, seen);
        Ok(())
    });
    matches!(result, Err(TestError::Fail(..)))
}

/// Known-bad controls: a connection that is not as it should be is told apart.
#[test]
fn model_would_find_a_broken_connection() {
    assert!(!is_found::<Sound>());
    assert!(is_found::<LosesAByte>());
    assert!(is_found::<ClosesTwice>());
    assert!(is_found::<KeepsAFile>());
    assert!(is_found::<RingsLate>());
}
