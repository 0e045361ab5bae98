//! The application of a subject, for drivers that run a
//! [`Worker`](drywire_server::Worker).

use crate::hands::{Heard, Hook};
use crate::subject::{Scene, Testable};
use drywire_core::{CloseReport, Connection};
use drywire_server::{Address, Application, ConnectError, Id, Net, Notice, SendError, Target, Worker};
use std::collections::HashMap;
use std::fmt;

/// Lets everybody in, and passes on to a [`Scene`] what it hears.
pub struct Staged<P: Testable> {
    scene: Scene<P>,
    numbers: HashMap<Id, usize>,
    /// Accepted, but not opened yet.
    next: Option<usize>,
    hook: Option<Hook<P>>,
}

impl<P: Testable> Staged<P> {
    /// An application for this scene.
    #[must_use]
    pub fn new(scene: Scene<P>) -> Staged<P> {
        let hook = scene.take_hook();
        Staged { scene, numbers: HashMap::new(), next: None, hook }
    }

    /// Tells the check, which may do anything then, panic too.
    fn tell<N: Net>(&mut self, worker: &mut Worker<P, (), N>, heard: &Heard<'_, P>) {
        if let Some(hook) = &mut self.hook {
            hook(worker, heard);
        }
    }

    /// Makes the scene's connection to `target`.
    ///
    /// # Errors
    /// What is known at once.
    pub fn connect<N: Net>(&mut self, worker: &mut Worker<P, (), N>, target: &Target) -> Result<(), ConnectError> {
        let (number, connection) = self.scene.accept();
        self.numbers.insert(worker.connect(target, connection)?, number);
        Ok(())
    }
}

/// What a connection is told goes to the scene first, so that it is there whatever the
/// check does. A connection that the check has made in a callback is not the scene's.
impl<P: Testable, N: Net> Application<N, P> for Staged<P> {
    fn started(&mut self, worker: &mut Worker<P, (), N>) {
        self.tell(worker, &Heard::Started);
    }

    fn stopped(&mut self, worker: &mut Worker<P, (), N>) {
        self.tell(worker, &Heard::Stopped);
    }

    fn accept(&mut self, worker: &mut Worker<P, (), N>, _: Id, _: &Address) -> Option<Connection<P>> {
        self.tell(worker, &Heard::Accept);
        let (number, connection) = self.scene.accept();
        self.next = Some(number);
        Some(connection)
    }

    fn opened(&mut self, worker: &mut Worker<P, (), N>, id: Id) {
        if let Some(number) = self.next.take() {
            self.numbers.insert(id, number);
        }
        if let (Some(number), Some(handle)) = (self.numbers.get(&id), worker.handle(id)) {
            let sender = move |command| handle.send(command).map_err(SendError::into_command);
            self.scene.opened(*number, Box::new(sender));
        }
        self.tell(worker, &Heard::Opened(id));
    }

    fn event(&mut self, worker: &mut Worker<P, (), N>, id: Id, event: P::Event) {
        self.tell(worker, &Heard::Event(id, &event));
        if let Some(number) = self.numbers.get(&id) {
            self.scene.event(*number, event);
        }
    }

    fn written_out(&mut self, worker: &mut Worker<P, (), N>, id: Id) {
        self.tell(worker, &Heard::WrittenOut(id));
    }

    fn closed(&mut self, worker: &mut Worker<P, (), N>, id: Id, report: CloseReport<P::Error>) {
        // Kept for ever, a number would be a leak; asked for twice, it is a second report.
        let number = self.numbers.remove(&id);
        assert!(number.is_some() || self.hook.is_some(), "each connection ends once");
        let reason = if self.hook.is_some() { format!("{:?}", report.reason) } else { String::new() };
        if let Some(number) = number {
            self.scene.closed(number, report);
        }
        self.tell(worker, &Heard::Closed(id, &reason));
    }

    fn notice(&mut self, worker: &mut Worker<P, (), N>, notice: Notice<'_>) {
        self.tell(worker, &Heard::Notice(&format!("{notice:?}")));
    }

    fn tick(&mut self, worker: &mut Worker<P, (), N>) {
        self.tell(worker, &Heard::Tick);
    }

    fn timer(&mut self, worker: &mut Worker<P, (), N>, name: &'static str) {
        self.tell(worker, &Heard::Timer(name));
    }
}

impl<P: Testable> fmt::Debug for Staged<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staged").field("connections", &self.numbers.len()).finish_non_exhaustive()
    }
}
