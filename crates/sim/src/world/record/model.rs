//! What the echoes and the dialog must say to their input, from their descriptions
//! alone.

use super::{Record, Stop};
use crate::world::plan::Speech;
use drywire_core::Limit;

impl Record {
    /// Answers the input that came in, as far as that can be.
    pub(super) fn advance(&mut self) {
        match self.speech {
            Speech::Actor => {}
            Speech::Bytes => {
                self.expected.extend_from_slice(&self.fed[self.scan..]);
                self.scan = self.fed.len();
            }
            Speech::Lines | Speech::Dialog => while self.advance_line() {},
        }
        if self.stop.is_some() {
            self.ended_at.get_or_insert(self.turn_at);
        }
    }

    fn advance_line(&mut self) -> bool {
        if self.stop.is_some() || self.waiting.is_some() {
            return false;
        }
        let rest = &self.fed[self.scan..];
        let cap = self.limits.input_bytes as usize;
        let Some(end) = rest.iter().position(|byte| *byte == b'\n').filter(|end| *end < cap) else {
            if rest.len() >= cap {
                self.stop = Some(Stop::Limit(Limit::Input(cap)));
            } else if self.fed_end {
                self.on_rest();
            }
            return false;
        };
        let line = rest[..=end].to_vec();
        match self.speech {
            Speech::Lines => self.on_line(&line),
            Speech::Dialog => self.on_request(&line),
            Speech::Bytes | Speech::Actor => unreachable!("they have no lines"),
        }
        true
    }

    fn on_rest(&mut self) {
        self.stop = Some(Stop::End);
        let cap = self.limits.output_bytes as usize;
        let rest = self.fed[self.scan..].to_vec();
        if self.speech == Speech::Lines && rest.len() > cap {
            self.stop = Some(Stop::Limit(Limit::Output(cap)));
        } else if self.speech == Speech::Lines {
            self.expected.extend_from_slice(&rest);
            self.scan = self.fed.len();
        }
    }

    fn on_line(&mut self, line: &[u8]) {
        let cap = self.limits.output_bytes as usize;
        if line.len() > cap {
            self.stop = Some(Stop::Limit(Limit::Output(cap)));
            return;
        }
        self.expected.extend_from_slice(line);
        self.scan += line.len();
        if line == b"quit\n" || line == b"quit\r\n" {
            self.stop = Some(Stop::Quit);
        }
    }

    fn on_request(&mut self, line: &[u8]) {
        let text = &line[..line.len() - 1];
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let name = |verb: &[u8]| text.strip_prefix(verb).filter(|name| !name.is_empty()).map(<[u8]>::to_vec);
        if let Some(name) = name(b"GET ") {
            self.waiting = Some((true, name));
        } else if let Some(name) = name(b"SIZE ") {
            self.waiting = Some((false, name));
        } else if text == b"NOOP" {
            self.expected.extend_from_slice(b"OK\n");
        } else if text == b"QUIT" {
            self.expected.extend_from_slice(b"OK\n");
            self.stop = Some(Stop::Quit);
        } else {
            self.stop = Some(Stop::Bad);
            return;
        }
        self.scan += line.len();
        self.marks.push((self.scan, self.expected.len()));
    }
}
