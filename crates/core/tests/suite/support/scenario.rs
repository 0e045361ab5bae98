//! Jumps to a phase of a connection's life.

use super::rig::Rig;
use super::script::Hooks;
use super::{ms, net::Net};
use drywire_core::{FileId, Limits, Protocol, Timer};

/// Where a connection can stand when an input comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    New,
    Active,
    /// An unfinished message is held.
    MidMessage,
    /// A call was undone for want of output room.
    BlockedOnBytes,
    /// A call was undone because files fill the queue.
    BlockedOnFiles,
    FileInFlight,
    /// The file is answered, but its call finds no room.
    FileAnswered,
    Streaming,
    Paused,
    HalfClosed,
    PeerEnded,
    Flushing,
    Lingering,
    /// The report is due; a connection stands there only within a turn.
    Closed,
}

impl At {
    pub(crate) const ALL: [At; 14] = [
        At::New,
        At::Active,
        At::MidMessage,
        At::BlockedOnBytes,
        At::BlockedOnFiles,
        At::FileInFlight,
        At::FileAnswered,
        At::Streaming,
        At::Paused,
        At::HalfClosed,
        At::PeerEnded,
        At::Flushing,
        At::Lingering,
        At::Closed,
    ];
}

/// The protocol of the scenarios: lines of one letter.
pub(crate) fn letters() -> Hooks {
    Hooks::new()
        .on_consume(|input, cx| {
            let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
            match input[0] {
                b'f' => drop(cx.open_file(b"file")?),
                b'p' => cx.disable_read(),
                b'h' => {
                    cx.write(b"half\n")?;
                    cx.half_close();
                }
                b'q' => {
                    cx.write(b"bye\n")?;
                    cx.close();
                }
                b'w' => cx.write(&[b'w'; 3000])?,
                _ => cx.write(&input[..=end])?,
            }
            Ok(end + 1)
        })
        .on_end(|_, cx| {
            cx.set_timer(Timer::new(1), ms(1_000_000));
            Ok(())
        })
        .on_command(|n, cx| writeln!(cx, "command {n}"))
        .on_timer(|_, cx| cx.write(b"timer\n"))
        .on_file(|opened, cx| {
            if let Ok(len) = opened.result {
                cx.write(&[b'f'; 2000])?;
                cx.stream_file(opened.id, 0, len)?;
            }
            Ok(())
        })
}

pub(crate) struct Scenario {
    limits: Limits,
    protocol: Hooks,
}

impl Scenario {
    pub(crate) fn new() -> Scenario {
        Scenario { limits: Limits { files: 1, ..Hooks::LIMITS }, protocol: letters() }
    }

    pub(crate) fn limits(mut self, limits: Limits) -> Scenario {
        self.limits = limits;
        self
    }

    /// A connection that stands there, on a transport that goes on where it stopped.
    #[track_caller]
    pub(crate) fn at(self, at: At) -> Rig<Hooks> {
        let mut rig = Rig::on(drywire_core::Connection::new(self.protocol).with_limits(self.limits));
        rig.net.put_file(b"file", vec![b'F'; 1000]);
        if at == At::New {
            return rig;
        }
        rig.settle();
        match at {
            At::New | At::Active => {}
            At::MidMessage => drop(rig.feed("unfin")),
            At::BlockedOnBytes => {
                stop_taking(&mut rig.net, 0);
                rig.feed("w\nw\n");
            }
            At::BlockedOnFiles => {
                stop_taking(&mut rig.net, 2000);
                rig.feed("f\nf\n");
                assert_eq!(rig.net.asked.len(), 1);
            }
            At::FileInFlight => {
                rig.net.answer_later = true;
                rig.feed("f\n");
            }
            At::FileAnswered => {
                rig.net.answer_later = true;
                stop_taking(&mut rig.net, 0);
                rig.feed("w\nf\n");
                answer(&mut rig);
            }
            At::Streaming => {
                stop_taking(&mut rig.net, 2500);
                rig.feed("f\n");
            }
            At::Paused => drop(rig.feed("p\n")),
            At::HalfClosed => drop(rig.feed("h\n")),
            At::PeerEnded => drop(rig.feed_end()),
            At::Flushing => {
                stop_taking(&mut rig.net, 0);
                rig.feed("q\n");
            }
            At::Lingering => {
                rig.feed("q\n");
                assert!(rig.net.half_closed);
            }
            At::Closed => {
                rig.feed("q\n").feed_end();
                assert!(rig.close.is_some());
            }
        }
        assert_eq!(rig.close.is_some(), at == At::Closed);
        rig
    }
}

/// The transport takes `room` more bytes, then blocks.
pub(crate) fn stop_taking(net: &mut Net, room: usize) {
    net.room = room;
}

/// Answers the last open as the disk says.
#[track_caller]
pub(crate) fn answer(rig: &mut Rig<Hooks>) -> FileId {
    let (id, name) = rig.net.asked.last().cloned().expect("a file was asked for");
    let result = rig.net.answer(id, &name);
    rig.turn_with(|live| live.handle_file(id, result).expect("it is waited for"));
    id
}
