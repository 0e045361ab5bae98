//! The line echo: every line comes back as it came; `quit` comes back too, and
//! is the last (rows E5 to E7).
//!
//! ```text
//! → hello⏎
//! ← hello⏎
//! → quit⏎never seen⏎
//! ← quit⏎ (end)
//! ```
//!
//! A line ends with LF or CRLF and may hold any other byte, NUL and bare CR
//! included. What stands unterminated at the end of input is echoed as it stands.
//! A line that is too long gets `error: line too long`, and the connection is
//! closed (FAULTS 27); the seed's servers, which have no bound there, have no
//! such answer.

use core::convert::Infallible;
use drywire_core::{Context, Failure, Limit, Limits, Protocol, Reply, Stop};
use memchr::memchr;

/// Sends back each line when it is whole.
///
/// Bound: 10 KiB for a line, its end included, and 256 KiB of output; with
/// [`LineEcho::SMALL`], 4096 bytes each.
#[derive(Clone, Copy, Debug, Default)]
pub struct LineEcho;

impl LineEcho {
    /// The bounds of row E7: reading pauses while 4096 bytes of output wait.
    /// A line is bounded by the same, or its echo could never fit.
    pub const SMALL: Limits = Limits { input_bytes: 4096, output_bytes: 4096, ..Limits::DEFAULT };
}

impl Protocol for LineEcho {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;

    // Not `framing::Lines`: that costs 1 to 2 ns more on a line of 32 bytes that takes 8,
    // for the CR, which matters to `quit` alone, and for not looking at a byte twice.
    // Measured: looking again costs 40 ns a byte when a line of 10 kB comes byte by
    // byte, a fraction of the read that brings it.
    #[inline]
    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        let Some(end) = memchr(b'\n', input) else { return Ok(0) };
        let line = &input[..=end];
        cx.write(line)?;
        if matches!(line, b"quit\n" | b"quit\r\n") {
            cx.close();
        }
        Ok(line.len())
    }

    /// Echoes the unterminated line; the close is the same whether it says `quit`.
    fn end_of_input(&mut self, rest: &[u8], cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.write(rest)?;
        cx.close();
        Ok(())
    }

    fn error_reply(&self, why: &Failure<Infallible>, reply: &mut Reply<'_>) {
        match why {
            Failure::Limit(Limit::Input(_) | Limit::Frame(_)) => reply.write(b"error: line too long\n"),
            Failure::Limit(
                Limit::Output(_)
                | Limit::Events(_)
                | Limit::Opens
                | Limit::Leftovers
                | Limit::Parts(_)
                | Limit::Idle(_)
                | Limit::FirstByte(_)
                | Limit::Handshake(_)
                | Limit::Message(_)
                | Limit::Rate(_),
            )
            | Failure::Misuse(_) => {
                writeln!(reply, "error: {why}");
            }
            Failure::Peer(never) => match *never {},
        }
    }
}
