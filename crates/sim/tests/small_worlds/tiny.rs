//! The protocol of the small worlds: a line echo with a command and a timer.

use drywire_core::{Context, Failure, Limit, Limits, Protocol, Reply, Stop, Timer};
use std::convert::Infallible;
use std::time::Duration;

/// Echoes lines; `q` is the last. A command writes `c`, and `t` comes five
/// milliseconds after it. A shutdown writes `d`.
#[derive(Debug, Default)]
pub(crate) struct Tiny;

/// So small that every second line finds the queue full.
pub(crate) const LIMITS: Limits = Limits {
    input_bytes: 4,
    output_bytes: 4,
    linger_bytes: 3,
    linger_ms: 10,
    stall_ms: 20,
    idle_ms: 50,
    ..Limits::DEFAULT
};

impl Protocol for Tiny {
    type Event = Infallible;
    type Command = ();
    type Error = Infallible;

    const LIMITS: Limits = LIMITS;

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
        cx.write(&input[..=end])?;
        if &input[..end] == b"q" {
            cx.close();
        }
        Ok(end + 1)
    }

    fn end_of_input(&mut self, rest: &[u8], cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.write(rest)?;
        cx.close();
        Ok(())
    }

    fn command(&mut self, (): &(), cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.write(b"c")?;
        cx.set_timer(Timer::new(0), cx.now() + Duration::from_millis(5));
        Ok(())
    }

    fn timer(&mut self, _: Timer, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.write(b"t")
    }

    fn drain(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.write(b"d")?;
        cx.close();
        Ok(())
    }

    fn error_reply(&self, why: &Failure<Infallible>, reply: &mut Reply<'_>) {
        if let Failure::Limit(Limit::Input(_)) = why {
            reply.write(b"!");
        }
    }
}
