//! The application of a subject, for drivers that run a
//! [`Worker`](drywire_server::Worker).

use crate::hands::{Heard, Hook, OnWire};
use crate::subject::{Scene, Testable};
use crate::wire::{Plain, Wire};
use drywire_core::{CloseReport, Connection};
use drywire_server::{Address, Application, ConnectError, Id, Net, Notice, SendError, Target, Worker};
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

/// Lets everybody in, and passes on to a [`Scene`] what it hears.
pub struct Staged<P: Testable, W: Wire = Plain> {
    scene: Scene<P>,
    numbers: HashMap<Id, usize>,
    /// Accepted, but not opened yet.
    next: Option<usize>,
    hook: Option<Hook<P>>,
    wire: PhantomData<fn() -> W>,
}

impl<P: Testable, W: Wire> Staged<P, W> {
    /// An application for this scene.
    #[must_use]
    pub fn new(scene: Scene<P>) -> Staged<P, W> {
        let hook = scene.take_hook();
        Staged { scene, numbers: HashMap::new(), next: None, hook, wire: PhantomData }
    }

    /// Tells the check, which may do anything then, panic too.
    fn tell<N: Net>(&mut self, worker: &mut Worker<P, W::Layer, N>, heard: &Heard<'_, P>) {
        if let Some(hook) = &mut self.hook {
            hook(&mut OnWire::<P, W, N>(worker), heard);
        }
    }

    /// Makes the scene's connection to `target`.
    ///
    /// # Errors
    /// What is known at once.
    pub fn connect<N: Net>(
        &mut self,
        worker: &mut Worker<P, W::Layer, N>,
        target: &Target,
    ) -> Result<(), ConnectError> {
        let (number, connection) = self.scene.accept();
        self.numbers.insert(worker.connect(target, connection.on_layer(W::connects()))?, number);
        Ok(())
    }
}

/// What a connection is told goes to the scene first, so that it is there whatever the
/// check does. A connection that the check has made in a callback is not the scene's.
impl<P: Testable, W: Wire, N: Net> Application<N, P, W::Layer> for Staged<P, W> {
    fn started(&mut self, worker: &mut Worker<P, W::Layer, N>) {
        self.tell(worker, &Heard::Started);
    }

    fn stopped(&mut self, worker: &mut Worker<P, W::Layer, N>) {
        self.tell(worker, &Heard::Stopped);
    }

    fn accept(&mut self, worker: &mut Worker<P, W::Layer, N>, _: Id, _: &Address) -> Option<Connection<P, W::Layer>> {
        self.tell(worker, &Heard::Accept);
        let (number, connection) = self.scene.accept();
        self.next = Some(number);
        Some(connection.on_layer(W::accepts()))
    }

    fn opened(&mut self, worker: &mut Worker<P, W::Layer, N>, id: Id) {
        if let Some(number) = self.next.take() {
            self.numbers.insert(id, number);
        }
        if let (Some(number), Some(handle)) = (self.numbers.get(&id), worker.handle(id)) {
            let sender = move |command| handle.send(command).map_err(SendError::into_command);
            self.scene.opened(*number, Box::new(sender));
        }
        self.tell(worker, &Heard::Opened(id));
    }

    fn event(&mut self, worker: &mut Worker<P, W::Layer, N>, id: Id, event: P::Event) {
        self.tell(worker, &Heard::Event(id, &event));
        if let Some(number) = self.numbers.get(&id) {
            self.scene.event(*number, event);
        }
    }

    fn written_out(&mut self, worker: &mut Worker<P, W::Layer, N>, id: Id) {
        self.tell(worker, &Heard::WrittenOut(id));
    }

    fn closed(&mut self, worker: &mut Worker<P, W::Layer, N>, id: Id, report: CloseReport<P::Error>) {
        // Kept for ever, a number would be a leak; asked for twice, it is a second report.
        let number = self.numbers.remove(&id);
        assert!(number.is_some() || self.hook.is_some(), "each connection ends once");
        let reason = if self.hook.is_some() { format!("{:?}", report.reason) } else { String::new() };
        if let Some(number) = number {
            self.scene.closed(number, report);
        }
        self.tell(worker, &Heard::Closed(id, &reason));
    }

    fn notice(&mut self, worker: &mut Worker<P, W::Layer, N>, notice: Notice<'_>) {
        self.tell(worker, &Heard::Notice(&format!("{notice:?}")));
    }

    fn tick(&mut self, worker: &mut Worker<P, W::Layer, N>) {
        self.tell(worker, &Heard::Tick);
    }

    fn timer(&mut self, worker: &mut Worker<P, W::Layer, N>, name: &'static str) {
        self.tell(worker, &Heard::Timer(name));
    }
}

impl<P: Testable, W: Wire> fmt::Debug for Staged<P, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staged").field("connections", &self.numbers.len()).finish_non_exhaustive()
    }
}
