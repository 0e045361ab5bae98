//! The suite on drywire-driver-tokio, with threads that share tasks.

#[path = "subjects/workers.rs"]
#[expect(dead_code, reason = "the other drivers are in here too")]
mod subject;

drywire_conformance::suite!(subject::TokioThreads);
