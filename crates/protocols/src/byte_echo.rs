//! The byte echo: every byte comes back, in order and at once (row E8).
//!
//! ```text
//! → 00 ff 0d 0a 68
//! ← 00 ff 0d 0a 68
//! → (end)
//! ← (what is still owed, then the end)
//! ```
//!
//! There are no messages, so there is nothing to wait for and nothing to refuse.

use core::convert::Infallible;
use drywire_core::{Context, Limits, Protocol, Stop};

/// Sends back what it receives.
///
/// Bound: 16384 bytes of output. While the peer takes none of it, one more
/// buffer of 16384 bytes waits as input, and then nothing is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByteEcho;

impl Protocol for ByteEcho {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;

    const LIMITS: Limits = Limits { input_bytes: 16 * 1024, output_bytes: 16 * 1024, ..Limits::DEFAULT };

    #[inline]
    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        // What fits goes now. When nothing does, it is the refusal of one byte that waits for room.
        let n = input.len().min(cx.available().max(1));
        cx.write(&input[..n])?;
        Ok(n)
    }
}
