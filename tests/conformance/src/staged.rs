//! The application of a subject, for drivers that run a
//! [`Worker`](drywire_server::Worker).

use crate::subject::{Scene, Testable};
use drywire_core::{CloseReport, Connection};
use drywire_server::{Address, AddressError, Application, Id, Net, SendError, Worker};
use std::collections::HashMap;
use std::fmt;

/// Lets everybody in, and passes on to a [`Scene`] what it hears.
pub struct Staged<P: Testable> {
    scene: Scene<P>,
    numbers: HashMap<Id, usize>,
    /// Accepted, but not opened yet.
    next: Option<usize>,
}

impl<P: Testable> Staged<P> {
    /// An application for this scene.
    #[must_use]
    pub fn new(scene: Scene<P>) -> Staged<P> {
        Staged { scene, numbers: HashMap::new(), next: None }
    }

    /// Makes the scene's connection to `address`.
    ///
    /// # Errors
    /// What is known at once.
    pub fn connect<N: Net>(&mut self, worker: &mut Worker<P, (), N>, address: &Address) -> Result<(), AddressError> {
        let (number, connection) = self.scene.accept();
        self.numbers.insert(worker.connect(address, connection)?, number);
        Ok(())
    }
}

impl<P: Testable, N: Net> Application<N, P> for Staged<P> {
    fn accept(&mut self, _: &mut Worker<P, (), N>, _: Id, _: &Address) -> Option<Connection<P>> {
        let (number, connection) = self.scene.accept();
        self.next = Some(number);
        Some(connection)
    }

    fn opened(&mut self, worker: &mut Worker<P, (), N>, id: Id) {
        if let Some(number) = self.next.take() {
            self.numbers.insert(id, number);
        }
        if let Some(handle) = worker.handle(id) {
            let sender = move |command| handle.send(command).map_err(SendError::into_command);
            self.scene.opened(self.numbers[&id], Box::new(sender));
        }
    }

    fn event(&mut self, _: &mut Worker<P, (), N>, id: Id, event: P::Event) {
        self.scene.event(self.numbers[&id], event);
    }

    fn closed(&mut self, _: &mut Worker<P, (), N>, id: Id, report: CloseReport<P::Error>) {
        // Kept for ever, a number would be a leak; asked for twice, it is a second report.
        let number = self.numbers.remove(&id).expect("each connection ends once");
        self.scene.closed(number, report);
    }
}

impl<P: Testable> fmt::Debug for Staged<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staged").field("connections", &self.numbers.len()).finish_non_exhaustive()
    }
}
