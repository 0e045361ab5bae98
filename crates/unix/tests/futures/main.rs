//! What drivers on futures promise beyond what every driver does: dropping their
//! futures, waiting without polling, and living among other tasks. On tokio and on
//! async-io; what both share with driver-mio is in `tests/conformance`.

mod allocations;
mod cancel;
mod connecting;
mod ends;
mod files;
mod runtime;
mod scene;
mod sources;
mod tokio_only;
mod waiting;
