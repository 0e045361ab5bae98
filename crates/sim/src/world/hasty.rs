//! A control: a line echo that changes itself before it writes, as no protocol may.

use core::convert::Infallible;
use drywire_core::{Context, Protocol, Stop};

/// Believes a line echoed before it is.
#[derive(Debug, Default)]
pub(crate) struct Hasty {
    echoed: bool,
}

impl Protocol for Hasty {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
        let line = &input[..=end];
        if !std::mem::replace(&mut self.echoed, true) {
            cx.write(line)?;
        }
        self.echoed = false;
        if matches!(line, b"quit\n" | b"quit\r\n") {
            cx.close();
        }
        Ok(line.len())
    }

    fn end_of_input(&mut self, rest: &[u8], cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.write(rest)?;
        cx.close();
        Ok(())
    }
}
