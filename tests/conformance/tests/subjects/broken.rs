//! Drivers with one flaw each, to see that transcripts catch it: the driver with
//! threads, and something between it and the scene, or between it and the peer.

use super::threads;
use drywire_conformance::{Capability, Options, Running, Scene, Subject, Testable};
use drywire_core::Reason;
use drywire_server::Address;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What is wrong with a driver.
pub(crate) trait Flaw: 'static {
    const NAME: &'static str;

    /// Between the driver and the peer stands a relay.
    const RELAYED: bool = false;

    /// What becomes of bytes for the peer, the first of which is number `at`.
    fn output(at: usize, bytes: &mut Vec<u8>) {
        let _ = (at, bytes);
    }

    /// What becomes of a connection's events.
    fn events<E>(events: &mut Vec<E>) {
        let _ = events;
    }

    /// What becomes of the reason for its end.
    fn reason<E>(reason: Reason<E>) -> Reason<E> {
        reason
    }
}

/// A driver with this flaw.
pub(crate) struct Broken<F>(PhantomData<F>);

impl<F: Flaw> Subject for Broken<F> {
    const NAME: &'static str = F::NAME;
    const CAN: &'static [Capability] = threads::Threads::CAN;
    const PATIENCE: Duration = Duration::from_secs(3);
    type Running<P: Testable> = Server;

    fn serve<P: Testable>(address: &Address, options: Options, scene: Scene<P>) -> io::Result<Server> {
        let heard = Arc::new(Mutex::new(HashMap::<usize, Vec<P::Event>>::new()));
        let (hearing, telling) = (heard.clone(), scene.clone());
        let server = threads::serve(
            address,
            options,
            scene,
            move |number, event| hearing.lock().unwrap().entry(number).or_default().push(event),
            move |number, mut report| {
                let mut events = heard.lock().unwrap().remove(&number).unwrap_or_default();
                F::events(&mut events);
                events.into_iter().for_each(|event| telling.event(number, event));
                report.reason = F::reason(report.reason);
                telling.closed(number, report);
            },
        )?;
        let relay = if F::RELAYED { Some(Relay::start::<F>(server.address())?) } else { None };
        Ok(Server { server, relay })
    }
}

pub(crate) struct Server {
    server: threads::Server,
    relay: Option<Relay>,
}

impl Running for Server {
    fn address(&self) -> Address {
        self.relay.as_ref().map_or_else(|| self.server.address(), |relay| Address::Tcp(relay.address))
    }

    fn shutdown(&self) {
        self.server.shutdown();
    }

    fn join(self) {
        self.server.join();
        self.relay.into_iter().for_each(Relay::stop);
    }

    fn stop(self) {
        self.server.stop();
        self.relay.into_iter().for_each(Relay::stop);
    }
}

/// Passes bytes on, and ends for resets.
struct Relay {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Relay {
    fn start<F: Flaw>(to: Address) -> io::Result<Relay> {
        let Address::Tcp(to) = to else { return Err(io::ErrorKind::Unsupported.into()) };
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, stopped) = (listener.local_addr()?, Arc::new(AtomicBool::new(false)));
        let stop = stopped.clone();
        let thread = thread::spawn(move || {
            thread::scope(|scope| {
                for peer in listener.incoming().take_while(|_| !stop.load(Ordering::Relaxed)) {
                    let Ok(peer) = peer else { continue };
                    scope.spawn(move || {
                        let Ok(server) = TcpStream::connect(to) else { return };
                        thread::scope(|both| {
                            both.spawn(|| pass_on(&peer, &server, |_, _| {}));
                            pass_on(&server, &peer, F::output);
                        });
                    });
                }
            });
        });
        Ok(Relay { address, stopped, thread })
    }

    fn stop(self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        self.thread.join().expect("the relay does not panic");
    }
}

fn pass_on(mut from: &TcpStream, mut to: &TcpStream, change: impl Fn(usize, &mut Vec<u8>)) {
    let (mut slot, mut at) = (vec![0; 16 * 1024], 0);
    while let Ok(n @ 1..) = from.read(&mut slot) {
        let mut bytes = slot[..n].to_vec();
        change(at, &mut bytes);
        at += n;
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Loses a byte of each connection's output.
pub(crate) struct LosesByte;

impl Flaw for LosesByte {
    const NAME: &'static str = "loses a byte";
    const RELAYED: bool = true;

    fn output(at: usize, bytes: &mut Vec<u8>) {
        if at == 0 && bytes.len() > 3 {
            bytes.remove(3);
        }
    }
}

/// Swaps two neighbouring bytes of the output.
pub(crate) struct SwapsBytes;

impl Flaw for SwapsBytes {
    const NAME: &'static str = "swaps two bytes";
    const RELAYED: bool = true;

    fn output(at: usize, bytes: &mut Vec<u8>) {
        if at == 0 && bytes.len() > 3 {
            bytes.swap(1, 2);
        }
    }
}

/// Ends where it should reset, and takes a peer's reset for an end.
pub(crate) struct EndsForResets;

impl Flaw for EndsForResets {
    const NAME: &'static str = "ends for resets";
    const RELAYED: bool = true;
}

/// Delivers two events in the wrong order.
pub(crate) struct SwapsEvents;

impl Flaw for SwapsEvents {
    const NAME: &'static str = "swaps two events";

    fn events<E>(events: &mut Vec<E>) {
        if events.len() > 2 {
            events.swap(1, 2);
        }
    }
}

/// Does not deliver the last event.
pub(crate) struct LosesEvent;

impl Flaw for LosesEvent {
    const NAME: &'static str = "loses the last event";

    fn events<E>(events: &mut Vec<E>) {
        events.pop();
    }
}

/// Says that the application asked for an end that was the protocol's.
pub(crate) struct WrongReason;

impl Flaw for WrongReason {
    const NAME: &'static str = "gives a wrong reason";

    fn reason<E>(reason: Reason<E>) -> Reason<E> {
        if matches!(reason, Reason::Finished) { Reason::Requested } else { reason }
    }
}
