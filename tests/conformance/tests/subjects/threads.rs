//! The example with a thread for each client, as a subject: the driver is the
//! example's own file.

#[expect(dead_code, unreachable_pub, reason = "a program, of which its driver is used")]
#[path = "../../../../examples/src/bin/thread_per_connection.rs"]
mod thread_per_connection;

use drywire_conformance::{Capability, Options, Running, Scene, Subject, Testable, narrow_listener};
use drywire_core::{CloseReport, Live};
use drywire_server::{Address, AddressError};
use drywire_unix::files::Root;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub(crate) struct Threads;

impl Subject for Threads {
    const NAME: &'static str = "thread per connection";
    const CAN: &'static [Capability] = &[
        Capability::Echo,
        Capability::HalfClose,
        Capability::Backpressure,
        Capability::Files,
        Capability::Limits,
        Capability::Resets,
    ];
    type Running<P: Testable> = Server;

    fn serve<P: Testable>(address: &Address, options: Options, scene: Scene<P>) -> io::Result<Server> {
        let heard = scene.clone();
        let closed = scene.clone();
        serve(
            address,
            options,
            scene,
            move |number, event| heard.event(number, event),
            move |number, report| closed.closed(number, report),
        )
    }
}

/// A server whose news come to these two, with the scene's numbers.
pub(crate) fn serve<P: Testable>(
    address: &Address,
    options: Options,
    scene: Scene<P>,
    event: impl Fn(usize, P::Event) + Send + Sync + 'static,
    closed: impl Fn(usize, CloseReport<P::Error>) + Send + Sync + 'static,
) -> io::Result<Server> {
    let Address::Tcp(at) = address else { return Err(io::ErrorKind::Unsupported.into()) };
    let listener = if options.narrow { narrow_listener(*at) } else { TcpListener::bind(at) };
    let listener = listener.map_err(|error| io::Error::other(AddressError::listening(address.clone(), error)))?;
    let address = listener.local_addr()?;
    let root = options.root.as_deref().map(Root::open).transpose()?;
    let orders = Arc::new(Orders::default());
    let told = orders.clone();
    let thread = thread::spawn(move || {
        thread_per_connection::serve(&listener, &told.shut, |stream| {
            let (number, connection) = scene.accept();
            let mut draining = false;
            let obey = |live: &mut Live<'_, P>| told.obey(live, &mut draining);
            let report =
                thread_per_connection::talk(stream, root.as_ref(), connection, obey, |said| event(number, said));
            closed(number, report);
        });
    });
    Ok(Server { address, orders, thread, drain_timeout: options.drain_timeout })
}

/// What all threads are told; each looks before every turn.
#[derive(Default)]
struct Orders {
    /// Nobody new, and everybody else is drained.
    shut: AtomicBool,
    /// Everybody ends now.
    stop: AtomicBool,
}

impl Orders {
    fn obey<P: Testable>(&self, live: &mut Live<'_, P>, draining: &mut bool) {
        if self.shut.load(Ordering::Relaxed) && !std::mem::replace(draining, true) {
            live.drain();
        }
        if self.stop.load(Ordering::Relaxed) {
            live.abort();
        }
    }
}

pub(crate) struct Server {
    address: SocketAddr,
    orders: Arc<Orders>,
    thread: JoinHandle<()>,
    drain_timeout: Duration,
}

impl Running for Server {
    fn address(&self) -> Address {
        Address::Tcp(self.address)
    }

    fn shutdown(&self) {
        self.orders.shut.store(true, Ordering::Relaxed);
        // The listener looks when somebody connects.
        let _ = TcpStream::connect(self.address);
    }

    fn join(self) {
        let deadline = Instant::now() + self.drain_timeout;
        while !self.thread.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        self.orders.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no connection panicked");
    }

    fn stop(self) {
        self.orders.stop.store(true, Ordering::Relaxed);
        self.shutdown();
        self.thread.join().expect("no connection panicked");
    }
}
