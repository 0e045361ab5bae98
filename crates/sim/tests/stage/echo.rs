//! An application that sends messages back, and what its peers say.

use drywire_core::{CloseReport, Connection};
use drywire_protocols::{BadMessage, Hub, HubCommand, HubEvent};
use drywire_server::{Address, Application, Id, Net, Notice, Worker};

/// Sends each message back. `stop` shuts the server down, `close` and `abort` end their own
/// connection, `all` goes to everybody.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    pub(crate) open: Vec<Id>,
    pub(crate) reports: Vec<(Id, CloseReport<BadMessage>)>,
    pub(crate) notices: Vec<String>,
    pub(crate) started: usize,
    pub(crate) stopped: usize,
    pub(crate) ticks: usize,
}

impl<N: Net> Application<N, Hub> for Echo {
    fn started(&mut self, _: &mut Worker<Hub, (), N>) {
        self.started += 1;
    }

    fn stopped(&mut self, _: &mut Worker<Hub, (), N>) {
        self.stopped += 1;
    }

    fn accept(&mut self, _: &mut Worker<Hub, (), N>, _: Id, peer: &Address) -> Option<Connection<Hub>> {
        (*peer != stranger()).then(hub)
    }

    fn opened(&mut self, _: &mut Worker<Hub, (), N>, id: Id) {
        self.open.push(id);
    }

    fn event(&mut self, worker: &mut Worker<Hub, (), N>, id: Id, event: HubEvent) {
        let HubEvent::Message(message) = event else { return worker.close(id) };
        match &message[..] {
            b"stop" => worker.shutdown(),
            b"close" => worker.close(id),
            b"abort" => worker.abort(id),
            b"all" => {
                for id in &self.open {
                    worker.send(*id, HubCommand::Send(message.clone())).expect("there is room");
                }
            }
            _ => worker.send(id, HubCommand::Send(message)).expect("there is room"),
        }
    }

    fn closed(&mut self, _: &mut Worker<Hub, (), N>, id: Id, report: CloseReport<BadMessage>) {
        self.open.retain(|open| *open != id);
        self.reports.push((id, report));
    }

    fn notice(&mut self, _: &mut Worker<Hub, (), N>, notice: Notice<'_>) {
        match notice {
            Notice::ConnectFailed { error, .. } => self.notices.push(error.to_string()),
            notice => self.notices.push(format!("{notice:?}")),
        }
    }

    fn tick(&mut self, _: &mut Worker<Hub, (), N>) {
        self.ticks += 1;
    }
}

/// Whom nobody lets in.
pub(crate) fn stranger() -> Address {
    "192.0.2.1:1".parse().expect("it is an address")
}

pub(crate) fn hub() -> Connection<Hub> {
    Connection::new(Hub::with_longest(1 << 20)).with_limits(Hub::limits(1 << 20))
}

/// As it goes over the wire.
pub(crate) fn framed(message: impl AsRef<[u8]>) -> Vec<u8> {
    let message = message.as_ref();
    [&(message.len() as u64).to_le_bytes()[..], message].concat()
}
