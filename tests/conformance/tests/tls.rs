//! The suite over TLS on each driver: the same checks, of protocols that know nothing of it, by peers
//! that speak it themselves (W8).

#[path = "subjects/workers.rs"]
#[expect(dead_code, reason = "the same without TLS are in here too")]
mod subject;

use drywire_conformance::On;
use drywire_conformance::wire::Tls;

mod mio {
    drywire_conformance::suite!(super::On<super::subject::MioLoop, super::Tls>);
}

mod tokio_task {
    drywire_conformance::suite!(super::On<super::subject::TokioTask, super::Tls>);
}

mod smol {
    drywire_conformance::suite!(super::On<super::subject::SmolTask, super::Tls>);
}
