//! A layer that does what another one did: it answers from the record.

use drywire_core::layer::{Layer, LayerError, Sink};
use drywire_core::record::{Entries, Entry, LayerCall, LayerCallKind};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

/// Stands in for the layer of a recorded connection. What it does to the bytes of
/// the wire was not recorded and does not matter: they are zeros.
pub(super) struct StandIn<'a> {
    entries: Entries<'a>,
    is_holding: bool,
    is_owing: bool,
    has_ended: bool,
    is_opening: bool,
    is_partial: bool,
    /// The plain bytes that were taken last, to find out which of them differ.
    sent: Rc<RefCell<Vec<u8>>>,
}

/// One call, as it was then.
struct Recorded<'a> {
    call: LayerCall<'a>,
    plain: Vec<u8>,
}

impl<'a> StandIn<'a> {
    pub(super) fn new(entries: Entries<'a>, sent: Rc<RefCell<Vec<u8>>>) -> StandIn<'a> {
        let (is_holding, is_owing, has_ended, is_opening, is_partial) = (false, false, false, false, false);
        StandIn { entries, is_holding, is_owing, has_ended, is_opening, is_partial, sent }
    }

    /// The next call, if it is of this kind. When it is not, the two recordings
    /// differ, and whoever compares them says so.
    fn call(&mut self, kind: LayerCallKind) -> Result<Recorded<'a>, LayerError> {
        let call = loop {
            if let Entry::Layer(call) = self.next()? {
                break call;
            }
        };
        if call.kind != kind {
            return Err(UNEXPECTED);
        }
        (self.is_holding, self.is_owing) = (call.holding, call.owing);
        (self.has_ended, self.is_opening, self.is_partial) = (call.ended, call.opening, call.partial);
        let mut plain = Vec::new();
        while plain.len() < call.plain as usize {
            let Entry::Bytes(piece) = self.next()? else { return Err(UNEXPECTED) };
            plain.extend_from_slice(&piece);
        }
        Ok(Recorded { call, plain })
    }

    fn next(&mut self) -> Result<Entry<'a>, LayerError> {
        match self.entries.next() {
            Some(Ok(located)) => Ok(located.entry),
            Some(Err(_)) | None => Err(UNEXPECTED),
        }
    }
}

const UNEXPECTED: LayerError = LayerError { layer: "replay", reason: "this call was not recorded" };

impl Recorded<'_> {
    fn put_wire(&self, wire: &mut Sink<'_>) {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut left = self.call.wire as usize;
        while left > 0 {
            let n = left.min(ZEROS.len());
            wire.push(&ZEROS[..n]);
            left -= n;
        }
    }

    fn result(&self) -> Result<(), LayerError> {
        match &self.call.error {
            None => Ok(()),
            Some((layer, reason)) => Err(LayerError { layer: named(layer), reason: named(reason) }),
        }
    }
}

impl Layer for StandIn<'_> {
    fn open(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        let recorded = self.call(LayerCallKind::Open)?;
        recorded.put_wire(wire);
        recorded.result()
    }

    fn receive(&mut self, _: &[u8], plain: &mut Sink<'_>, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        let recorded = self.call(LayerCallKind::Receive)?;
        let fits = recorded.plain.len().min(plain.room());
        plain.push(&recorded.plain[..fits]);
        recorded.put_wire(wire);
        recorded.result()
    }

    fn is_holding(&self) -> bool {
        self.is_holding
    }

    fn is_partial(&self) -> bool {
        self.is_partial
    }

    fn send(&mut self, plain: &[u8], wire: &mut Sink<'_>) -> Result<usize, LayerError> {
        let recorded = self.call(LayerCallKind::Send)?;
        recorded.put_wire(wire);
        let taken = plain.len().min(recorded.call.taken as usize);
        let mut sent = self.sent.borrow_mut();
        sent.clear();
        sent.extend_from_slice(&plain[..taken]);
        recorded.result().map(|()| taken)
    }

    fn is_owing(&self) -> bool {
        self.is_owing
    }

    fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn is_opening(&self) -> bool {
        self.is_opening
    }

    fn flush(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        let recorded = self.call(LayerCallKind::Flush)?;
        recorded.put_wire(wire);
        recorded.result()
    }

    fn upgrade(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        let recorded = self.call(LayerCallKind::Upgrade)?;
        recorded.put_wire(wire);
        recorded.result()
    }

    fn receive_end(&mut self) -> Result<(), LayerError> {
        self.call(LayerCallKind::ReceiveEnd)?.result()
    }

    fn send_end(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        let recorded = self.call(LayerCallKind::SendEnd)?;
        recorded.put_wire(wire);
        recorded.result()
    }
}

/// Names of layers and their reasons that were met; a [`LayerError`] wants them for ever.
static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// Most names that are kept. Layers have a few dozen; only a forged recording has more.
const MOST_NAMES: usize = 1024;

fn named(name: &str) -> &'static str {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    if names.len() >= MOST_NAMES {
        return "a name too many";
    }
    let known: &'static str = Box::leak(name.into());
    names.insert(known);
    known
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn names_are_kept_once_and_not_without_bound() {
        let tls = named("tls");
        assert!(std::ptr::eq(tls, named("tls")));
        for number in 0..2000 {
            named(&number.to_string());
        }
        assert_eq!(named("one more"), "a name too many");
        assert_eq!(named("tls"), "tls");
    }
}
