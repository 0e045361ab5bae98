//! An application that sends messages back, and what its peers say.

use drywire_core::{CloseReport, Connection};
use drywire_protocols::{BadMessage, Hub, HubCommand, HubEvent};
use drywire_server::{Address, Application, Config, Id, Net, Notice, Worker};
use drywire_sim::stage::{Setup, Stage};

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
        if let Notice::ConnectFailed { error, .. } = &notice {
            self.notices.push(error.to_string());
        } else {
            self.notices.push(format!("{notice:?}"));
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

/// A stage on which a hub listens, and its listener.
pub(crate) fn listening(seed: u64, config: Config, setup: Setup) -> (Stage<Hub>, Id) {
    let mut stage = Stage::set_up(seed, config, setup);
    let listener = stage.worker().listen(&here()).expect("nobody listens there");
    (stage, listener)
}

pub(crate) fn here() -> Address {
    "127.0.0.1:4711".parse().expect("it is an address")
}

/// The reason in the report of the only connection that has ended.
#[track_caller]
pub(crate) fn only_reason(echo: &Echo) -> String {
    let [(_, report)] = &echo.reports[..] else { panic!("{} connections have ended", echo.reports.len()) };
    report.reason.to_string()
}
