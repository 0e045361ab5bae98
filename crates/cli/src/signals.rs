//! SIGINT, SIGTERM and SIGHUP, heard on a thread of their own: an event loop that is stuck hears nothing. What a
//! server does about them is in `control`.

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// What signals ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// To end gracefully.
    Stop,
    /// To end at once.
    StopNow,
    /// To read again what may have changed.
    Reload,
}

/// From now on the three signals are requests, and nothing else; a SIGHUP that is ignored, as nohup(1) leaves it,
/// stays ignored.
pub(crate) fn hear(mut on: impl FnMut(Request) + Send + 'static) -> io::Result<()> {
    let terminal = Terminal::now();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    if !is_ignored(SIGHUP) {
        signals.add_signal(SIGHUP)?;
    }
    let run = move || {
        let mut stops = Stops::default();
        for signal in signals.forever() {
            let now = Instant::now();
            let request = match signal {
                SIGHUP if !terminal.is_gone() => Some(Request::Reload),
                _ => stops.on_signal(now),
            };
            if let Some(request) = request {
                on(request);
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(run)?;
    Ok(())
}

/// How a wish to stop becomes urgent.
///
/// ```text
///        signal           signal, AGAIN later or more
///  None ────────▶ first ──────────────────────────────▶ StopNow
/// ```
#[derive(Default)]
struct Stops {
    first: Option<Instant>,
}

/// What comes sooner is the same wish: a wrapper that passes on what the terminal has sent to both of them,
/// `timeout`, which signals its group as well, or `kill` twice.
const AGAIN: Duration = Duration::from_secs(1);

impl Stops {
    fn on_signal(&mut self, now: Instant) -> Option<Request> {
        match self.first {
            None => {
                self.first = Some(now);
                Some(Request::Stop)
            }
            Some(first) if now.duration_since(first) >= AGAIN => Some(Request::StopNow),
            Some(_) => None,
        }
    }
}

/// The controlling terminal, if there was one.
struct Terminal {
    was_there: bool,
}

/// The kernel signals the foreground before it takes the terminal away, and some shells hang up their jobs just
/// before they go.
const MOMENT: Duration = Duration::from_millis(100);

impl Terminal {
    fn now() -> Terminal {
        Terminal { was_there: Terminal::open().is_ok() }
    }

    /// Whether this was the hang-up of a terminal, and no message of an operator: it was there, and is not now.
    fn is_gone(&self) -> bool {
        if !self.was_there {
            return false;
        }
        thread::sleep(MOMENT);
        matches!(Terminal::open(), Err(Errno::NXIO | Errno::IO))
    }

    fn open() -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        open("/dev/tty", flags, Mode::empty()).map(drop)
    }
}

/// As the process was started. Without procfs it is taken not to be: to ask the system otherwise needs unsafe code.
fn is_ignored(signal: i32) -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, signal))
}

fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_signal_is_urgent_when_it_comes_a_second_after_the_first_or_later() {
        let start = Instant::now();
        let mut stops = Stops::default();
        let mut at = |ms| stops.on_signal(start + Duration::from_millis(ms));
        assert_eq!(at(0), Some(Request::Stop));
        for ms in [0, 1, 500, 999] {
            assert_eq!(at(ms), None, "{ms} ms");
        }
        for ms in [1000, 1001, 60_000] {
            assert_eq!(at(ms), Some(Request::StopNow), "{ms} ms");
        }
    }

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        let status = |mask| format!("Name:\tdrywire\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\nSigCgt:\t0\n");
        assert!(ignores(&status("0000000000001001"), SIGHUP));
        assert!(!ignores(&status("0000000000001000"), SIGHUP));
        assert!(!ignores("Name:\tdrywire\n", SIGHUP));
        assert!(!ignores(&status("?"), SIGHUP));
    }
}
