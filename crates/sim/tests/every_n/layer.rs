//! The simplest layer that changes lengths: every byte is sent twice.

use drywire_core::layer::{Layer, LayerError, Sink};

#[derive(Debug, Default)]
pub(crate) struct Doubling {
    /// The first of a pair.
    half: Option<u8>,
}

impl Doubling {
    /// What `plain` looks like on the wire.
    pub(crate) fn encode(plain: &[u8]) -> Vec<u8> {
        plain.iter().flat_map(|byte| [*byte, *byte]).collect()
    }
}

impl Layer for Doubling {
    fn receive(&mut self, received: &[u8], plain: &mut Sink<'_>, _: &mut Sink<'_>) -> Result<(), LayerError> {
        for byte in received {
            match self.half.take() {
                None => self.half = Some(*byte),
                Some(half) if half == *byte => plain.push(&[half]),
                Some(_) => return Err(LayerError { layer: "doubling", reason: "a pair of two" }),
            }
        }
        Ok(())
    }

    fn is_partial(&self) -> bool {
        self.half.is_some()
    }

    fn send(&mut self, plain: &[u8], wire: &mut Sink<'_>) -> Result<usize, LayerError> {
        wire.push(&Doubling::encode(plain));
        Ok(plain.len())
    }

    fn receive_end(&mut self) -> Result<(), LayerError> {
        match self.half {
            None => Ok(()),
            Some(_) => Err(LayerError { layer: "doubling", reason: "half a pair" }),
        }
    }
}
