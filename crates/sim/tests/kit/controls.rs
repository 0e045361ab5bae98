//! Known-bad controls: a line echo with one thing broken, found by the check that is
//! there for it, and told in a way that helps.

use drywire_core::{Context, Opened, Protocol, Stop, Time, Timer};
use drywire_sim::kit::{Check, Kit};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Nothing,
    ChangesBeforeItWrites,
    ChangesBeforeItEmits,
    ChangesInACommand,
    CountsCalls,
    LooksBeyondTheLine,
    TellsWhatIsOwed,
    Hoards,
    StopsReading,
    Spins,
    NeverCloses,
    ClosesOnlyAfterLines,
    PanicsOnNul,
    CountsInAStatic,
    TakesMoreThanThereIs,
}

struct Bad {
    broken: Broken,
    count: u32,
    hoard: Vec<u8>,
}

static CALLS: AtomicU32 = AtomicU32::new(0);

impl Protocol for Bad {
    type Event = u32;
    type Command = ();
    type Error = Infallible;

    fn open(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        if self.broken == Broken::Spins {
            cx.set_timer(Timer::new(0), Time::ZERO);
        }
        if self.broken == Broken::TellsWhatIsOwed {
            self.count = u32::try_from(cx.available()).expect("a bound of a u32");
        }
        Ok(())
    }

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        if self.broken == Broken::CountsCalls {
            self.count += 1;
        }
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
        let line = &input[..=end];
        match self.broken {
            Broken::ChangesBeforeItWrites => {
                self.count += 1;
                writeln!(cx, "{}", self.count)?;
            }
            Broken::ChangesBeforeItEmits => {
                self.count += 1;
                cx.emit(self.count)?;
            }
            Broken::CountsCalls => writeln!(cx, "{}", self.count)?,
            Broken::LooksBeyondTheLine if end + 1 < input.len() => cx.write(b"more\n")?,
            Broken::TellsWhatIsOwed => {
                cx.write(line)?;
                cx.open_file(b"any")?;
            }
            Broken::Hoards => self.hoard.extend_from_slice(line),
            Broken::StopsReading if line == b"stop\n" => cx.disable_read(),
            Broken::PanicsOnNul => assert!(!line.contains(&0), "a NUL in a line"),
            Broken::CountsInAStatic => writeln!(cx, "{}", CALLS.fetch_add(1, Ordering::Relaxed))?,
            Broken::TakesMoreThanThereIs if line == b"x\n" => return Ok(end + 2),
            Broken::Nothing
            | Broken::ChangesInACommand
            | Broken::LooksBeyondTheLine
            | Broken::StopsReading
            | Broken::Spins
            | Broken::NeverCloses
            | Broken::ClosesOnlyAfterLines
            | Broken::TakesMoreThanThereIs => {}
        }
        cx.write(line)?;
        Ok(end + 1)
    }

    fn file(&mut self, _: Opened, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        let room = u32::try_from(cx.available()).expect("a bound of a u32");
        if self.count > 0 {
            cx.emit(self.count - room)?;
        }
        self.count = 0;
        Ok(())
    }

    fn timer(&mut self, timer: Timer, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.set_timer(timer, cx.now() + Duration::from_nanos(1));
        Ok(())
    }

    fn command(&mut self, (): &(), cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        if self.broken != Broken::ChangesInACommand {
            return cx.write(b"told\n");
        }
        self.count += 1;
        writeln!(cx, "{}", self.count)
    }

    fn end_of_input(&mut self, rest: &[u8], cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        let stays =
            self.broken == Broken::NeverCloses || (self.broken == Broken::ClosesOnlyAfterLines && !rest.is_empty());
        if !stays {
            cx.close();
        }
        Ok(())
    }
}

fn kit(broken: Broken) -> Kit<Bad> {
    Kit::new(move || Bad { broken, count: 0, hoard: Vec::new() }).weigh(4096, |bad| bad.hoard.len()).command(|| ())
}

/// What the kit finds, and its words.
#[track_caller]
fn found(broken: Broken, input: &[u8]) -> (Check, String) {
    let Err(finding) = kit(broken).find(input) else { panic!("{broken:?} was not found") };
    (finding.check(), finding.to_string())
}

#[test]
fn sound_protocol_is_left_alone() {
    kit(Broken::Nothing).check(b"one\ntwo\n\0\nthr");
    kit(Broken::Nothing).check([]);
    kit(Broken::Nothing).check_in(b"\x09\x8a\x01\x00\x05ab\ncd\x80\x02\nx\xc0\xe0");
}

#[test]
fn each_broken_promise_is_found_by_its_check() {
    for (broken, input, check) in [
        (Broken::ChangesBeforeItWrites, &b"one\ntwo\n"[..], Check::Full),
        (Broken::ChangesBeforeItEmits, b"one\ntwo\n", Check::Full),
        (Broken::ChangesInACommand, b"", Check::Full),
        (Broken::CountsCalls, b"one\n", Check::Split),
        (Broken::LooksBeyondTheLine, b"one\n", Check::Trailing),
        (Broken::LooksBeyondTheLine, b"one\ntwo\n", Check::Split),
        (Broken::TellsWhatIsOwed, b"one\n", Check::SlowPeer),
        (Broken::Hoards, b"one\n", Check::Memory),
        (Broken::StopsReading, b"one\nstop\ntwo\n", Check::Wake),
        (Broken::Spins, b"one\n", Check::Wake),
        (Broken::NeverCloses, b"one\n", Check::Close),
        (Broken::ClosesOnlyAfterLines, b"one\n", Check::Close),
        (Broken::PanicsOnNul, b"one\ntwo\0\n", Check::Panic),
        (Broken::CountsInAStatic, b"one\n", Check::Determinism),
        (Broken::TakesMoreThanThereIs, b"one\nx\n", Check::Misuse),
    ] {
        let (got, words) = found(broken, input);
        assert_eq!(got, check, "{broken:?}: {words}");
    }
}

#[test]
fn fuzzers_choices_find_them_too() {
    for (broken, choices, check) in [
        (Broken::ChangesBeforeItWrites, &b"\0\0\x01\0\x03one\n"[..], Check::Full),
        (Broken::ChangesInACommand, b"\0\0\x01\0\x80", Check::Full),
        (Broken::CountsCalls, b"\x01\0\0\0\x03one\n", Check::Split),
        (Broken::TellsWhatIsOwed, b"\0\0\0\x01\x03one\n", Check::SlowPeer),
        (Broken::StopsReading, b"\0\0\0\0\x04stop\n", Check::Close),
        (Broken::Spins, b"\0\0\0\0\xdf", Check::Wake),
        (Broken::NeverCloses, b"", Check::Close),
        (Broken::PanicsOnNul, b"\0\0\0\0\x01\0\n", Check::Panic),
    ] {
        let finding = kit(broken).find_in(choices).expect_err("it is broken");
        assert_eq!(finding.check(), check, "{broken:?}: {finding}");
        kit(Broken::Nothing).check_in(choices);
    }
}

#[test]
fn finding_says_what_where_and_how_to_repeat_it() {
    let (_, words) = found(Broken::PanicsOnNul, b"first line\nsecond \0 line\nthird line\n");
    for part in ["no panic", "a NUL in a line", "controls.rs:", "kit.check(b\"\\x00\");"] {
        assert!(words.contains(part), "{part} is missing in\n{words}");
    }
    let (_, words) = found(Broken::ChangesBeforeItWrites, b"first line\nsecond line\n");
    for part in ["write first, then change yourself", "write 1 refused", "b\"1\\n", "b\"2\\n"] {
        assert!(words.contains(part), "{part} is missing in\n{words}");
    }
}

#[test]
#[should_panic(expected = "clean close: a promise is broken")]
fn check_panics_with_the_finding() {
    kit(Broken::NeverCloses).check(b"one\n");
}
