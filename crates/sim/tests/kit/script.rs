//! The kit over a protocol that does as its input says: everything a context offers,
//! in any order. Where it finds something, the core is to blame, or the kit.

use drywire_core::{Context, Failure, Limits, Opened, Protocol, Reply, Stop, Time, Timer};
use drywire_sim::kit::Kit;
use proptest::prelude::*;
use std::time::Duration;

/// One letter is one message, except `l`, which is whole with the byte behind it.
#[derive(Debug, Default)]
struct Script {
    /// Messages that were handled; changed last.
    count: u32,
    /// It has half-closed.
    ended: bool,
    /// From timers and commands; `w` waits for one and uses it up.
    tokens: u32,
}

const LETTERS: &[u8] = b"15emtuprsfgzhlwxcA.";

const LIMITS: Limits = Limits { input_bytes: 16, output_bytes: 60, events: 3, files: 2, ..Limits::DEFAULT };

impl Script {
    fn say(&self, text: &str, cx: &mut Context<'_, Self>) -> Result<(), Stop<u8>> {
        if self.ended {
            return Ok(());
        }
        cx.write(text.as_bytes())?;
        cx.decimal(self.count)
    }
}

fn in_ms(ms: u64, cx: &Context<'_, Script>) -> Time {
    cx.now() + Duration::from_millis(ms)
}

impl Protocol for Script {
    type Event = u32;
    type Command = ();
    type Error = u8;

    const LIMITS: Limits = LIMITS;

    fn open(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<u8>> {
        self.say("hello", cx)
    }

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<u8>> {
        let mut taken = 1;
        match input[0] {
            b'1' => self.say("one", cx)?,
            b'5' => self.say(&"five".repeat(10), cx)?,
            b'e' => cx.emit(self.count)?,
            b'm' => {
                self.say("m", cx)?;
                for more in 0..3 {
                    cx.emit(self.count * 10 + more)?;
                }
                self.say("mm", cx)?;
            }
            b't' => cx.set_timer(Timer::new(0), in_ms(3, cx)),
            b'u' => cx.set_timer(Timer::new(1), in_ms(1, cx)),
            b'p' => {
                self.say("p", cx)?;
                cx.disable_read();
                cx.set_timer(Timer::new(2), in_ms(2, cx));
            }
            b'r' | b's' => {
                cx.disable_read();
                cx.request_room((input[0] == b's').then_some(50));
                self.say("r", cx)?;
            }
            b'f' | b'g' | b'z' => {
                self.say("ask", cx)?;
                cx.open_file(&input[..1])?;
            }
            b'h' => {
                self.say("h", cx)?;
                cx.half_close();
            }
            b'l' if input.len() == 1 => return Ok(0),
            b'w' if self.tokens == 0 => return Ok(0),
            b'l' => {
                taken = 2;
                self.say("l", cx)?;
            }
            b'x' => {
                self.say("never", cx)?;
                return Err(b'x'.into());
            }
            b'c' => cx.close(),
            b'A' => cx.abort(),
            _ => {}
        }
        self.ended |= input[0] == b'h';
        self.tokens -= u32::from(input[0] == b'w');
        self.count += 1;
        Ok(taken)
    }

    fn file(&mut self, opened: Opened, cx: &mut Context<'_, Self>) -> Result<(), Stop<u8>> {
        match opened.result {
            Ok(len) if !self.ended => {
                self.say("file", cx)?;
                cx.stream_file(opened.id, 0, len / 2)?;
                cx.stream_file(opened.id, len / 2, len - len / 2)?;
                self.say("/file", cx)?;
            }
            Ok(_) | Err(_) => self.say("none", cx)?,
        }
        self.count += 1;
        Ok(())
    }

    fn room(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<u8>> {
        self.say("room", cx)?;
        cx.enable_read();
        self.count += 1;
        Ok(())
    }

    fn timer(&mut self, timer: Timer, cx: &mut Context<'_, Self>) -> Result<(), Stop<u8>> {
        self.say("timer", cx)?;
        if timer == Timer::new(2) {
            cx.enable_read();
        }
        cx.emit(self.count)?;
        self.count += 1;
        self.tokens += 1;
        Ok(())
    }

    fn command(&mut self, (): &(), cx: &mut Context<'_, Self>) -> Result<(), Stop<u8>> {
        self.say("command", cx)?;
        self.say("command", cx)?;
        self.count += 1;
        self.tokens += 1;
        Ok(())
    }

    fn error_reply(&self, why: &Failure<u8>, reply: &mut Reply<'_>) {
        writeln!(reply, "error: {why}");
    }
}

fn kit() -> Kit<Script> {
    Kit::new(Script::default).command(|| ()).file("f", "a file of some bytes").file("z", [])
}

proptest! {
    #![proptest_config(super::ours::cases(150))]

    #[test]
    fn whatever_a_protocol_does_the_promises_hold(
        letters in prop::collection::vec(prop::sample::select(LETTERS), 0..14),
        choices in prop::collection::vec(any::<u8>(), 0..9), cut in 0_usize..14,
    ) {
        let kit = kit();
        kit.find(&letters).map_err(|finding| TestCaseError::fail(finding.to_string()))?;
        let cut = cut.min(letters.len());
        let pieces = [&choices[..], &[0x0f], &letters[..cut], &[0x80, 0xc1, 0x0f], &letters[cut..]].concat();
        kit.find_in(pieces).map_err(|finding| TestCaseError::fail(finding.to_string()))?;
    }
}
