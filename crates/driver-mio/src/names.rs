//! Names are looked up on threads of their own, one for each: the system's resolver
//! waits. A worker asks for four at a time at most.

use drywire_server::Id;
use drywire_unix::Lookup;
use mio::Waker;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// An answer, and who asked.
type Resolved = (Id, io::Result<Vec<SocketAddr>>);

/// Look-ups under way, and those that are done.
///
/// Dropping it waits for none: a thread that is still asking ends when the resolver has
/// answered, and tells nobody.
pub(crate) struct Names {
    tell: Sender<Resolved>,
    told: Receiver<Resolved>,
    waker: Arc<Waker>,
}

impl Names {
    pub(crate) fn new(waker: Arc<Waker>) -> Names {
        let (tell, told) = channel();
        Names { tell, told, waker }
    }

    pub(crate) fn look_up(&self, id: Id, host: &str, port: u16) {
        let (tell, waker) = (self.tell.clone(), self.waker.clone());
        let lookup = Lookup::new(host, port, move |result| {
            // Fails only when the driver is gone, and with it whoever would wake up.
            if tell.send((id, result)).is_ok() {
                let _ = waker.wake();
            }
        });
        // Without a thread for it the closure is dropped, and that tells too.
        let _ = thread::Builder::new().name("drywire-name".into()).spawn(move || lookup.run());
    }

    /// The next answer there is.
    pub(crate) fn take(&self) -> Option<Resolved> {
        self.told.try_recv().ok()
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}
