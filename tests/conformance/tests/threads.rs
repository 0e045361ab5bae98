//! The suite on the example with a thread for each client: what it declares, it does.

#[path = "subjects/threads.rs"]
mod subject;

drywire_conformance::suite!(subject::Threads);
