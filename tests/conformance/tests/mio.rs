//! The suite on drywire-driver-mio; CI runs it on poll(2) too.

#[path = "subjects/workers.rs"]
#[expect(dead_code, reason = "the other drivers are in here too")]
mod subject;

drywire_conformance::suite!(subject::Mio);
