//! What a peer and an application see of one run, and where two of them differ.

use std::fmt;

/// One run, from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) output: Vec<u8>,
    /// As their `Debug` says.
    pub(super) events: Vec<String>,
    pub(super) end: Option<End>,
    /// Bytes the protocol took: received and not discarded.
    pub(super) taken: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// As its `Debug` says.
    pub(super) reason: String,
    /// Output may have been dropped.
    pub(super) is_abort: bool,
    /// A bound on what waits was met, that of [`Manner::tight`] perhaps.
    ///
    /// [`Manner::tight`]: super::manner::Manner::tight
    pub(super) is_of_tightness: bool,
}

impl Seen {
    /// The first difference, in words. How much is sent before an abort depends on
    /// the transport, so there one output is a prefix of the other.
    pub(super) fn differs_from(&self, other: &Seen) -> Option<String> {
        let same = self.output.iter().zip(&other.output).take_while(|(a, b)| a == b).count();
        let is_abort = |seen: &Seen| seen.end.as_ref().is_some_and(|end| end.is_abort);
        let is_prefix = same == self.output.len().min(other.output.len());
        if self.output != other.output && !(is_prefix && is_abort(self) && is_abort(other)) {
            return Some(format!("the output, from byte {same} on"));
        }
        if self.events != other.events {
            let same = self.events.iter().zip(&other.events).take_while(|(a, b)| a == b).count();
            return Some(format!("the events, from number {} on", same + 1));
        }
        if self.end != other.end {
            return Some("how it ended".to_owned());
        }
        (self.taken != other.taken).then(|| "how many bytes of input were taken".to_owned())
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "output {}", Quoted(&self.output))?;
        if !self.events.is_empty() {
            write!(f, ", events {}", cut(&self.events.join(" "), 300))?;
        }
        write!(f, ", {} byte{} taken", self.taken, if self.taken == 1 { "" } else { "s" })?;
        match &self.end {
            Some(end) => write!(f, ", closed: {}", end.reason),
            None => f.write_str(", still open"),
        }
    }
}

/// Bytes as they stand in Rust source, and how many there are when some are left out.
pub(super) struct Quoted<'a>(pub(super) &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 200;
        let shown = &self.0[..self.0.len().min(SHOWN)];
        write!(f, "b\"{}\"", shown.escape_ascii())?;
        if shown.len() < self.0.len() { write!(f, "… ({} bytes)", self.0.len()) } else { Ok(()) }
    }
}

/// At most `chars` characters of it.
pub(super) fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
