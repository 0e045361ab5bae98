//! A driver that runs for a check, and what every check ends with.
//!
//! Whatever a check is about, its stage goes out of scope at the end; that is where
//! the driver is stopped and I4 is checked.

use crate::hands::Hook;
use crate::measure::ports_with_unread_bytes;
use crate::peer::{self, Peer};
use crate::subject::{Options, Running, Scene, Seen, Subject, Testable};
use drywire_core::{CloseReport, Connection};
use drywire_server::{Address, Commons, Target};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) struct Stage<S: Subject, P: Testable> {
    pub(crate) scene: Scene<P>,
    pub(crate) address: Address,
    running: Option<S::Running<P>>,
}

impl<S: Subject, P: Testable> Stage<S, P> {
    /// A server on a free port of this machine.
    #[track_caller]
    pub(crate) fn serve(make: impl FnMut() -> Connection<P> + Send + 'static) -> Stage<S, P> {
        Stage::serve_with(Options::default(), make)
    }

    /// A server with other options.
    #[track_caller]
    pub(crate) fn serve_with(options: Options, make: impl FnMut() -> Connection<P> + Send + 'static) -> Stage<S, P> {
        Stage::serve_on(&"127.0.0.1:0".parse().expect("an address"), options, make)
    }

    /// A server with something to do in its callbacks.
    #[track_caller]
    pub(crate) fn serve_heard(
        options: Options,
        make: impl FnMut() -> Connection<P> + Send + 'static,
        hook: Hook<P>,
    ) -> Stage<S, P> {
        let scene = Scene::new(make);
        scene.set_hook(hook);
        Stage::serve_scene(&"127.0.0.1:0".parse().expect("an address"), options, scene)
    }

    #[track_caller]
    pub(crate) fn serve_on(
        address: &Address,
        options: Options,
        make: impl FnMut() -> Connection<P> + Send + 'static,
    ) -> Stage<S, P> {
        Stage::serve_scene(address, options, Scene::new(make))
    }

    #[track_caller]
    fn serve_scene(address: &Address, options: Options, scene: Scene<P>) -> Stage<S, P> {
        let running = S::serve(address, options, scene.clone())
            .unwrap_or_else(|error| panic!("{} cannot serve on {address}: {error}", S::NAME));
        Stage { scene, address: running.address(), running: Some(running) }
    }

    /// A client.
    #[track_caller]
    pub(crate) fn connect_to(
        to: impl Into<Target>,
        make: impl FnMut() -> Connection<P> + Send + 'static,
    ) -> Stage<S, P> {
        let (scene, target) = (Scene::new(make), to.into());
        let running = S::connect(&target, Options::default(), scene.clone())
            .unwrap_or_else(|error| panic!("{} cannot begin to connect to {target}: {error}", S::NAME));
        Stage { scene, address: running.address(), running: Some(running) }
    }

    #[track_caller]
    pub(crate) fn tcp(&self) -> SocketAddr {
        match self.address {
            Address::Tcp(address) => address,
            Address::Unix(_) | Address::Pair => panic!("{} is at {}, not at a port", S::NAME, self.address),
        }
    }

    #[track_caller]
    pub(crate) fn peer(&self) -> Peer {
        peer::connect::<S>(self.tcp()).introduced()
    }

    /// A peer whose socket holds little.
    #[track_caller]
    pub(crate) fn narrow_peer(&self) -> Peer {
        peer::connect_narrow::<S>(self.tcp()).introduced()
    }

    /// A peer, let in, and the number it has; nobody else may connect meanwhile.
    #[track_caller]
    pub(crate) fn known_peer(&self) -> (usize, Peer) {
        let number = self.scene.look(<[_]>::len);
        let peer = self.peer();
        self.wait("the accept", |seen| seen.len() > number);
        (number, peer)
    }

    /// As [`Stage::known_peer`], and its handshake is not made.
    #[track_caller]
    pub(crate) fn known_stranger(&self) -> (usize, Peer) {
        let number = self.scene.look(<[_]>::len);
        let peer = peer::connect::<S>(self.tcp());
        self.wait("the accept", |seen| seen.len() > number);
        (number, peer)
    }

    /// As [`Stage::known_peer`], with a socket that holds little.
    #[track_caller]
    pub(crate) fn known_narrow_peer(&self) -> (usize, Peer) {
        let number = self.scene.look(<[_]>::len);
        let peer = self.narrow_peer();
        self.wait("the accept", |seen| seen.len() > number);
        (number, peer)
    }

    /// I1: every byte is accounted for. Reports count those of the wire: so many, or more where
    /// TLS has its own.
    #[track_caller]
    pub(crate) fn assert_counted(counted: u64, bytes: u64) {
        if S::IS_TLS {
            assert!(counted > bytes, "{counted} bytes of the wire for {bytes} in it");
        } else {
            assert_eq!(counted, bytes);
        }
    }

    /// Waits until `done`.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, mut done: impl FnMut(&[Seen<P>]) -> bool) {
        let give_up = Instant::now() + S::PATIENCE;
        while !self.scene.look(&mut done) {
            assert!(Instant::now() < give_up, "{}: waited {:?} for: {what}", S::NAME, S::PATIENCE);
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until bytes of these peers, by their ports, stand in the sockets of a server that does
    /// not read. Looks at nothing else: the server may be stopped in the middle of an accept.
    #[track_caller]
    pub(crate) fn wait_for_delivery(&self, ports: &[u16]) {
        let give_up = Instant::now() + S::PATIENCE;
        loop {
            let unread = ports_with_unread_bytes(self.tcp().port());
            if ports.iter().all(|port| unread.contains(port)) {
                return;
            }
            assert!(Instant::now() < give_up, "the kernel did not deliver within {:?}", S::PATIENCE);
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the end of everybody.
    #[track_caller]
    pub(crate) fn wait_for_ends(&self, count: usize) {
        self.wait("the close reports", |seen| seen.iter().filter(|seen| !seen.reports.is_empty()).count() >= count);
    }

    /// Waits for the report of a connection.
    #[track_caller]
    pub(crate) fn report(&self, number: usize) -> CloseReport<P::Error>
    where
        P::Error: Clone,
    {
        self.wait("the close report", |seen| !seen[number].reports.is_empty());
        self.scene.look(|seen| seen[number].reports[0].clone())
    }

    /// What is counted of the connections.
    #[track_caller]
    pub(crate) fn commons(&self) -> Commons {
        let running = self.running.as_ref().expect("it runs until the stage is gone");
        running.commons().expect("a driver that declares admission has them")
    }

    /// Begins to shut down.
    pub(crate) fn shutdown(&self) {
        self.running.as_ref().expect("it runs until the stage is gone").shutdown();
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn join(&mut self) {
        self.end("it did not end by itself", Running::join);
    }

    #[track_caller]
    fn end(&mut self, or: &str, how: fn(S::Running<P>)) {
        let Some(running) = self.running.take() else { return };
        let ending = thread::spawn(move || how(running));
        let give_up = Instant::now() + S::PATIENCE;
        while !ending.is_finished() {
            assert!(Instant::now() < give_up, "{}: {or} within {:?}", S::NAME, S::PATIENCE);
            thread::sleep(Duration::from_millis(1));
        }
        assert!(ending.join().is_ok(), "{}: it panicked", S::NAME);
        if let Err(how) = self.scene.one_report_each() {
            panic!("{}: {how}", S::NAME);
        }
    }
}

impl<S: Subject, P: Testable> Drop for Stage<S, P> {
    fn drop(&mut self) {
        if !thread::panicking() {
            return self.end("it did not stop", Running::stop);
        }
        // The check has failed, and the driver may hang: nobody waits for it.
        if let Some(running) = self.running.take() {
            thread::spawn(move || running.stop());
        }
    }
}
