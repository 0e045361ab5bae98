//! The layer changes under a protocol that goes on: what goes out before and after, what may
//! not come in between, and when (FAULTS 32, 33; RFC 3207).

use crate::support::layers::{Escapes, HELLO, Later};
use crate::support::net::Chops;
use crate::support::pair::Pair;
use crate::support::rig::Rig;
use crate::support::script::{Bad, Cx, Done, Hooks};
use crate::support::{cases, ms};
use drywire_core::layer::{Layer, Stack};
use drywire_core::{Connection, Context, Leftovers, Limit, Limits, Misuse, Protocol, Reason, Stop, Timer};
use proptest::prelude::*;
use std::convert::Infallible;

/// Echoes lines; `start` is answered with `OK` and begins the upgrade.
fn server(leftovers: Leftovers) -> Hooks {
    Hooks::new().on_consume(move |input, cx| answer(input, cx, leftovers)).on_upgraded(|cx| cx.write(b"hello\n"))
}

fn answer(input: &[u8], cx: &mut Cx<'_>, leftovers: Leftovers) -> Done<usize> {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
    match &input[..end] {
        b"start" => {
            cx.write(b"OK\n")?;
            cx.upgrade(leftovers)?;
        }
        _ => cx.write(&input[..=end])?,
    }
    Ok(end + 1)
}

fn on_later(protocol: Hooks) -> Rig<Hooks, Later> {
    Rig::on(Connection::with_layer(protocol, Later::default()))
}

/// As the peer's layer makes it.
fn record(payload: &[u8]) -> Vec<u8> {
    let masked = payload.iter().map(|byte| byte ^ 0x55);
    [u8::try_from(payload.len()).expect("short")].into_iter().chain(masked).collect()
}

#[test]
fn output_before_the_barrier_stays_plain_and_none_behind_it_does() {
    let mut rig = on_later(server(Leftovers::Refuse));
    rig.feed("before\nstart\n");
    assert_eq!(rig.net.taken, b"before\nOK\n\xff", "the answer, then the handshake's first word");
    assert!(rig.wait.read);
    rig.feed([HELLO]).feed(record(b"after\n"));
    assert_eq!(rig.net.taken[11..], [record(b"hello\n"), record(b"after\n")].concat());
}

#[test]
fn fault_32_what_comes_with_the_request_is_refused() {
    let check = |feed: &dyn Fn(&mut Rig<Hooks, Later>)| {
        let mut rig = on_later(server(Leftovers::Refuse));
        feed(&mut rig);
        rig.feed_end();
        assert_eq!(rig.sent(), "-500 bytes were sent ahead of the upgrade\r\n", "and no OK: the call was undone");
        assert_eq!(rig.report().reason, Reason::Limit(Limit::Leftovers));
    };
    check(&|rig| {
        rig.feed("start\nevil\n");
    });
    check(&|rig| {
        rig.feed(b"start\n\xff");
    });
    check(&|rig| {
        rig.feed("sta").feed("rt\nevil");
    });
}

#[test]
fn fault_32_what_comes_behind_the_request_is_the_layers_and_never_the_protocols() {
    let mut rig = on_later(server(Leftovers::Refuse));
    rig.feed("start\n").feed("evil\n").feed_end();
    assert_eq!(rig.net.taken, b"OK\n\xff");
    assert!(matches!(rig.report().reason, Reason::Layer(error) if error.reason == "no hello"));
}

#[test]
fn fault_32_request_of_our_own_is_refused_when_input_waits() {
    let asks = || {
        Hooks::new().on_consume(|_, _| Ok(0)).on_command(|_, cx| {
            cx.write(b"start\n")?;
            cx.upgrade(Leftovers::Refuse)
        })
    };
    let mut rig = on_later(asks());
    rig.turn_with(|live| live.handle_command(1).expect("nothing waits"));
    rig.settle();
    assert_eq!(rig.net.taken, b"start\n\xff");
    let mut rig = on_later(asks());
    rig.feed("half a li");
    rig.turn_with(|live| live.handle_command(1).expect("nothing waits"));
    rig.settle().feed_end();
    assert_eq!(rig.report().reason, Reason::Limit(Limit::Leftovers));
}

#[test]
fn leftovers_may_be_the_layers() {
    let wire = [&b"start\n"[..], &[HELLO], &record(b"after\n"), &record(b"")].concat();
    for cut in 0..wire.len() {
        let mut rig = on_later(server(Leftovers::Receive));
        rig.feed(&wire[..cut]).feed(&wire[cut..]).feed_end();
        let sent = [&b"OK\n\xff"[..], &record(b"hello\n"), &record(b"after\n"), &record(b"")].concat();
        // What is encoded together may go into one record.
        assert_eq!(rig.net.taken[..4], sent[..4], "cut at {cut}");
        let plain = |wire: &[u8]| wire.iter().map(|byte| byte ^ 0x55).filter(u8::is_ascii).collect::<Vec<u8>>();
        let text = String::from_utf8(plain(&rig.net.taken[4..])).expect("ASCII");
        assert!(text.contains("hello\n") && text.contains("after\n"), "cut at {cut}: {text:?}");
        assert_eq!(rig.report().reason, Reason::Finished, "cut at {cut}");
    }
    // Plain words there are no hello.
    let mut rig = on_later(server(Leftovers::Receive));
    rig.feed("start\nevil\n").feed_end();
    assert_eq!(rig.net.taken, b"OK\n\xff");
    assert!(matches!(rig.report().reason, Reason::Layer(error) if error.reason == "no hello"));
}

/// More is owed than layers encode ahead: the barrier stands, and nobody writes over it.
#[test]
fn nothing_is_read_and_nobody_is_called_until_all_that_was_written_is_encoded() {
    let protocol = Hooks::new()
        .on_open(|cx| {
            cx.set_timer(Timer::new(0), ms(10));
            Ok(())
        })
        .on_consume(|input, cx| {
            cx.write(&[b'.'; 100_000])?;
            answer(input, cx, Leftovers::Refuse)
        })
        .on_upgraded(|cx| cx.write(b"hello\n"))
        .on_timer(|_, cx| cx.write(b"late\n"))
        .on_command(|_, cx| cx.write(b"told\n"));
    let limits = Limits { output_bytes: 200_000, ..Hooks::LIMITS };
    let mut rig = Rig::on(Connection::with_layer(protocol, Later::default()).with_limits(limits));
    rig.settle();
    rig.net.room = 0;
    rig.feed("start\n");
    // `check` of the rig would see a deadline that has passed.
    rig.at(ms(50)).feed("evil\n");
    assert!(!rig.wait.read && rig.net.incoming.len() == 5);
    rig.turn_with(|live| assert_eq!(live.handle_command(1).expect_err("it has to wait").1, Misuse::CommandWaiting));
    assert_eq!(rig.conn.protocol().calls, 2, "open and consume");
    rig.net.incoming.clear();
    rig.net.room = usize::MAX;
    rig.settle().feed([HELLO]);
    let (plain, masked) = rig.net.taken.split_at(100_004);
    assert!(plain.ends_with(b".OK\n\xff"));
    let said: String = masked.iter().map(|byte| char::from(byte ^ 0x55)).collect();
    assert!(said.contains("hello\n") && said.contains("late\n"), "{said:?}");
}

#[test]
fn call_that_fails_upgrades_nothing() {
    let fails = |refuse: bool| {
        let protocol = Hooks::new().on_consume(move |input, cx| {
            cx.write(b"OK\n")?;
            cx.upgrade(Leftovers::Refuse)?;
            if refuse { Err(Bad("after all").into()) } else { Ok(input.len()) }
        });
        let mut rig = on_later(protocol);
        rig.feed("go");
        rig.net.taken
    };
    assert_eq!(fails(true), b"-500 after all\r\n");
    assert_eq!(fails(false), b"OK\n\xff");
}

/// Every write refused once, in the upgrade and around it.
#[test]
fn calls_that_are_made_again_change_nothing() {
    let whole = {
        let mut rig = on_later(server(Leftovers::Refuse));
        rig.feed("before\nstart\n").feed([HELLO]).feed(record(b"after\n"));
        rig.net.taken
    };
    for nth in 1..20 {
        let mut rig = on_later(server(Leftovers::Refuse));
        rig.conn.inject_full(nth);
        rig.feed("before\nstart\n").feed([HELLO]).feed(record(b"after\n"));
        assert_eq!(rig.net.taken, whole, "the {nth}th write");
        if rig.conn.full_in() > 0 {
            assert_eq!(nth, 5, "four writes");
            return;
        }
    }
    panic!("it never ends");
}

#[test]
fn two_things_to_wait_for_are_a_misuse() {
    let reason = |does: fn(&mut Cx<'_>) -> Done| {
        let mut rig = on_later(Hooks::new().on_consume(move |input, cx| does(cx).map(|()| input.len())));
        rig.feed("go").feed_end();
        rig.report().reason.clone()
    };
    assert_eq!(
        reason(|cx| {
            cx.upgrade(Leftovers::Refuse)?;
            cx.upgrade(Leftovers::Refuse)
        }),
        Reason::Misuse(Misuse::Upgrade)
    );
    assert_eq!(
        reason(|cx| {
            cx.open_file(b"file")?;
            cx.upgrade(Leftovers::Refuse)
        }),
        Reason::Misuse(Misuse::Upgrade)
    );
    assert_eq!(
        reason(|cx| {
            cx.upgrade(Leftovers::Refuse)?;
            cx.open_file(b"file").map(|_| ())
        }),
        Reason::Limit(Limit::Opens)
    );
    assert_eq!(
        reason(|cx| {
            cx.half_close();
            cx.upgrade(Leftovers::Refuse)
        }),
        Reason::Misuse(Misuse::WriteAfterEnd)
    );
}

#[test]
fn layer_that_cannot_be_upgraded_ends_the_connection() {
    let mut rig = Rig::new(server(Leftovers::Refuse));
    rig.feed("start\n").feed_end();
    assert_eq!(rig.sent(), "OK\n");
    assert!(matches!(rig.report().reason, Reason::Layer(error) if error.layer == "upgrade"));
    // Nor twice.
    let mut rig = on_later(server(Leftovers::Refuse));
    rig.feed("start\n").feed([HELLO]).feed(record(b"start\n")).feed_end();
    assert!(matches!(rig.report().reason, Reason::Layer(error) if error.layer == "later"), "{:?}", rig.report());
}

#[test]
fn end_that_came_with_the_request_cuts_the_handshake() {
    let mut rig = on_later(server(Leftovers::Refuse));
    rig.net.incoming.extend(b"start\n");
    rig.net.incoming_end = true;
    rig.settle();
    assert_eq!(rig.net.taken, b"OK\n\xff");
    assert!(
        matches!(rig.report().reason, Reason::Layer(error) if error.reason == "cut in the handshake"),
        "{:?}",
        rig.report()
    );
}

#[test]
fn close_beside_an_upgrade_stays_plain() {
    let protocol = Hooks::new().on_consume(|input, cx| {
        cx.write(b"bye\n")?;
        cx.upgrade(Leftovers::Refuse)?;
        cx.close();
        Ok(input.len())
    });
    let mut rig = on_later(protocol);
    rig.feed("go").feed_end();
    assert_eq!(rig.net.taken, b"bye\n");
    assert_eq!(rig.report().reason, Reason::Finished);
}

#[test]
fn fault_1_handshake_that_does_not_come_has_the_time_of_a_first_byte() {
    let limits = Limits { first_byte_ms: 100, ..Hooks::LIMITS };
    let protocol = server(Leftovers::Refuse);
    let mut rig = Rig::on(Connection::with_layer(protocol, Later::default()).with_limits(limits));
    rig.feed("before\n").at(ms(1000)).feed("start\n");
    rig.at(ms(1099));
    assert!(!rig.conn.is_ending());
    rig.at(ms(1100));
    assert!(rig.conn.is_ending());
}

/// The other side of it: says what it has to say before, asks, upgrades, and says the rest.
#[derive(Debug)]
struct Asker {
    before: Vec<u8>,
    after: Vec<u8>,
    got: Vec<u8>,
}

impl Protocol for Asker {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Bad;

    fn open(&mut self, cx: &mut Context<'_, Asker>) -> Result<(), Stop<Bad>> {
        cx.write(&self.before)?;
        cx.write(b"start\n")
    }

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Asker>) -> Result<usize, Stop<Bad>> {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
        if &input[..end] == b"OK" {
            // The other side's layer speaks first, and need not wait.
            cx.upgrade(Leftovers::Receive)?;
        }
        self.got.extend_from_slice(&input[..=end]);
        Ok(end + 1)
    }

    fn upgraded(&mut self, cx: &mut Context<'_, Asker>) -> Result<(), Stop<Bad>> {
        cx.write(&self.after)?;
        cx.half_close();
        Ok(())
    }
}

/// Both sides upgrade, whatever is cut and refused on the way.
fn check_talk<L: Layer>(layer: fn() -> L, before: &[u8], after: &[u8], chops: [&[usize]; 2], capacity: usize) {
    let server = Connection::with_layer(server(Leftovers::Refuse), layer());
    let asker = Asker { before: before.to_vec(), after: after.to_vec(), got: Vec::new() };
    let mut pair = Pair::new(server, Connection::with_layer(asker, layer()), capacity);
    for (net, chops) in [&mut pair.a.net, &mut pair.b.net].into_iter().zip(chops) {
        (net.reads, net.writes) = (Chops::of(chops), Chops::of(chops));
    }
    pair.run();
    let expected = [before, b"OK\nhello\n", after].concat();
    let got = &pair.b.conn.protocol().got;
    assert!(*got == expected, "{}", got.escape_ascii());
    assert_eq!(pair.a.report().reason, Reason::Finished);
    assert_eq!(pair.b.report().reason, Reason::Finished);
}

#[test]
fn upgrade_is_the_inner_layers_in_a_stack() {
    check_talk(|| Stack::new(Escapes::default(), Later::default()), b"a\nb\n", b"c\n", [&[1], &[1]], 100);
    check_talk(|| Stack::new(Later::default(), ()), b"a\nb\n", b"c\n", [&[1], &[1]], 100);
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn both_sides_upgrade_whatever_is_cut(
        before in prop::collection::vec(0usize..200, 0..5),
        after in prop::collection::vec(0usize..200, 0..5),
        server in prop::collection::vec(0usize..30, 0..6),
        asker in prop::collection::vec(0usize..30, 0..6),
        capacity in 1usize..300,
    ) {
        let lines = |lens: &[usize]| lens.iter().flat_map(|n| [vec![b'x'; *n], vec![b'\n']].concat()).collect::<Vec<u8>>();
        let chops = |mut sizes: Vec<usize>| { sizes.push(7); sizes };
        check_talk(Later::default, &lines(&before), &lines(&after), [&chops(server), &chops(asker)], capacity);
    }
}
