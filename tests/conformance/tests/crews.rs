//! What is asked from other threads of connections that several workers of one server own: groups
//! (W7), and receipts whose connections end in a panic or for want of memory (W2, FAULTS 59, 66).

use drywire_core::{Connection, Context, Protocol, Stop};
use drywire_server::{
    Address, Application, Commons, Config, Dropped, Group, Handle, Id, Net, Outcome, PortReuse, Sent, Slow, Worker,
    Workers, least_memory_bytes,
};
use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const WORKERS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);

/// Says what it is told to.
struct Mouth;

#[derive(Clone)]
enum Command {
    Say(Arc<[u8]>),
    Panic,
}

impl Command {
    fn say(words: impl AsRef<[u8]>) -> Command {
        Command::Say(words.as_ref().into())
    }
}

impl Protocol for Mouth {
    type Event = Infallible;
    type Command = Command;
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], _: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        Ok(input.len())
    }

    fn command(&mut self, command: &Command, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        match command {
            Command::Say(words) => cx.write(words),
            Command::Panic => panic!("on purpose"),
        }
    }

    fn weigh(command: &Command) -> usize {
        match command {
            Command::Say(words) => words.len(),
            Command::Panic => 0,
        }
    }
}

/// One worker's application: tells who comes, and to which worker.
struct Door {
    worker: usize,
    tell: Sender<(usize, Handle<Command>)>,
}

impl<N: Net> Application<N, Mouth> for Door {
    fn accept(&mut self, _: &mut Worker<Mouth, (), N>, _: Id, _: &Address) -> Option<Connection<Mouth>> {
        Some(Connection::new(Mouth))
    }

    fn opened(&mut self, worker: &mut Worker<Mouth, (), N>, id: Id) {
        let handle = worker.handle(id).expect("it is open");
        // Who comes at the very end is of no interest.
        let _ = self.tell.send((self.worker, handle));
    }
}

struct Told {
    addresses: Vec<Address>,
    workers: Workers<Command>,
    commons: Commons,
}

/// How a server is run on one driver, to its end.
type Run = fn(Config, Sender<Told>, Sender<(usize, Handle<Command>)>);

macro_rules! told {
    ($server:ident, $tell:ident) => {
        let (addresses, workers) = ($server.addresses(), $server.workers());
        $tell.send(Told { addresses, workers, commons: $server.commons().clone() }).unwrap();
    };
}

fn mio(config: Config, tell: Sender<Told>, door: Sender<(usize, Handle<Command>)>) {
    let server = drywire_driver_mio::Server::bind(config).unwrap();
    told!(server, tell);
    server.run(|worker| Door { worker, tell: door.clone() }).unwrap();
}

fn tokio(config: Config, tell: Sender<Told>, door: Sender<(usize, Handle<Command>)>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().unwrap();
    runtime.block_on(async {
        let server = drywire_driver_tokio::Server::bind(config).unwrap();
        told!(server, tell);
        let workers = server.into_workers().into_iter().enumerate();
        let door = |worker| Door { worker, tell: door.clone() };
        let tasks: Vec<_> = workers.map(|(n, worker)| tokio::spawn(worker.run(door(n)))).collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
    });
}

fn smol(config: Config, tell: Sender<Told>, door: Sender<(usize, Handle<Command>)>) {
    let server = drywire_driver_smol::Server::bind(config).unwrap();
    told!(server, tell);
    let workers = server.into_workers().into_iter().enumerate();
    let door = |worker| Door { worker, tell: door.clone() };
    let threads: Vec<_> = workers
        .map(|(n, worker)| (worker, door(n)))
        .map(|(worker, door)| thread::spawn(move || async_io::block_on(worker.run(door))))
        .collect();
    for thread in threads {
        thread.join().unwrap().unwrap();
    }
}

/// A server that runs on threads of its own.
struct Started {
    told: Told,
    opened: Receiver<(usize, Handle<Command>)>,
    thread: JoinHandle<()>,
}

/// A connection as both sides see it.
struct Member {
    worker: usize,
    handle: Handle<Command>,
    peer: TcpStream,
}

impl Started {
    /// Connections are dealt out in turns, so that every worker has as many.
    fn on(run: Run, memory_bytes: usize) -> Started {
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let config = Config {
            listen,
            workers: WORKERS,
            port_reuse: PortReuse::Off,
            memory_bytes,
            commands_per_connection: 1024,
            ..Config::default()
        };
        let (tell, told) = channel();
        let (door, opened) = channel();
        let thread = thread::spawn(move || run(config, tell, door));
        Started { told: told.recv_timeout(PATIENCE).unwrap(), opened, thread }
    }

    #[track_caller]
    fn member(&self) -> Member {
        let Address::Tcp(address) = self.told.addresses[0] else { panic!("{:?}", self.told.addresses) };
        let peer = TcpStream::connect(address).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let (worker, handle) = self.opened.recv_timeout(PATIENCE).unwrap();
        Member { worker, handle, peer }
    }

    #[track_caller]
    fn ends(self) {
        self.told.workers.shutdown();
        let deadline = Instant::now() + PATIENCE;
        while !self.thread.is_finished() {
            assert!(Instant::now() < deadline, "the server does not end");
            thread::sleep(Duration::from_millis(1));
        }
        self.thread.join().unwrap();
    }
}

const ALL_THERE_IS: usize = 1 << 30;

/// Threads send to all members at once; each member gets all of it, in the same order as all others.
fn w7_group_reaches_the_connections_of_every_worker_in_one_order(run: Run) {
    const MEMBERS: usize = 8 * WORKERS;
    const THREADS: usize = 4;
    const EACH: usize = 100;
    let server = Started::on(run, ALL_THERE_IS);
    let members: Vec<Member> = (0..MEMBERS).map(|_| server.member()).collect();
    for worker in 0..WORKERS {
        assert_eq!(members.iter().filter(|member| member.worker == worker).count(), MEMBERS / WORKERS);
    }
    let group = Group::new(1 << 20, Slow::Skip);
    assert!(members.iter().all(|member| group.join(&member.handle)));
    let reading: Vec<JoinHandle<Vec<String>>> = members
        .iter()
        .map(|member| {
            let lines = BufReader::new(member.peer.try_clone().unwrap()).lines();
            thread::spawn(move || lines.take(THREADS * EACH).map(Result::unwrap).collect())
        })
        .collect();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let group = &group;
            scope.spawn(move || {
                for n in 0..EACH {
                    let sent = group.send(Command::say(format!("{thread} {n}\n"))).unwrap_or_default();
                    assert_eq!(sent, Sent { sent: MEMBERS, ..Sent::default() });
                }
            });
        }
    });
    let heard: Vec<Vec<String>> = reading.into_iter().map(|reading| reading.join().unwrap()).collect();
    assert!(heard.iter().all(|lines| *lines == heard[0]), "all hear the same");
    for thread in 0..THREADS {
        let front = format!("{thread} ");
        let numbers: Vec<usize> =
            heard[0].iter().filter_map(|line| line.strip_prefix(&front)).map(|n| n.parse().unwrap()).collect();
        assert_eq!(numbers, (0..EACH).collect::<Vec<_>>());
    }

    // One leaves, one is closed: the others notice nothing.
    assert!(group.leave(&members[0].handle));
    members[1].handle.close();
    let sent = group.send(Command::say("the last\n")).unwrap_or_default();
    assert_eq!(sent, Sent { sent: MEMBERS - 2, gone: 1, ..Sent::default() });
    assert_eq!(group.len(), MEMBERS - 2);
    for member in &members[2..] {
        let mut last = [0; 9];
        { &member.peer }.read_exact(&mut last).unwrap();
        assert_eq!(&last, b"the last\n");
    }
    server.told.workers.shutdown();
    for Member { mut peer, .. } in members {
        assert_eq!(peer.read(&mut [0]).unwrap(), 0, "and nothing more");
    }
    server.ends();
}

/// What the protocol has handled, and the peer's system has not taken yet, is not written.
fn w2_receipts_wait_for_the_transport(run: Run) {
    const SIZE: usize = 8192;
    let server = Started::on(run, ALL_THERE_IS);
    let Member { handle, mut peer, .. } = server.member();
    let words = Command::say([b'x'; SIZE]);
    let (mut receipts, give_up) = (Vec::new(), Instant::now() + PATIENCE);
    loop {
        match handle.send_tracked(words.clone()) {
            Ok(receipt) => receipts.push(receipt),
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
        // In this order: one that is handled and written in between makes fewer of the rest.
        let waiting = handle.inspect().waiting_commands as usize;
        let pending = receipts.iter().filter(|receipt| receipt.try_get().is_none()).count();
        if pending > waiting + 1 {
            break;
        }
        assert!(Instant::now() < give_up, "{pending} of {} are pending, {waiting} wait", receipts.len());
    }
    peer.read_exact(&mut vec![0; receipts.len() * SIZE]).unwrap();
    for receipt in receipts {
        assert_eq!(receipt.wait(PATIENCE), Some(Outcome::Written));
    }
    drop(peer);
    server.ends();
}

/// The command that panics, and those behind it: none is lost, and the reason is told. Others, of the
/// same worker too, are served on.
fn fault_59_66_receipts_say_that_the_connection_panicked(run: Run) {
    let server = Started::on(run, ALL_THERE_IS);
    let members: Vec<Member> = (0..2 * WORKERS).map(|_| server.member()).collect();
    for victim in &members[..WORKERS] {
        let before = victim.handle.send_tracked(Command::say("before\n")).unwrap_or_else(|_| panic!("there is room"));
        assert_eq!(before.wait(PATIENCE), Some(Outcome::Written));
        let panics = victim.handle.send_tracked(Command::Panic).unwrap_or_else(|_| panic!("there is room"));
        // It may have ended by now.
        let behind: Vec<_> =
            (0..20).filter_map(|_| victim.handle.send_tracked(Command::say("behind\n")).ok()).collect();
        assert_eq!(panics.wait(PATIENCE), Some(Outcome::Dropped(Dropped::Panicked)));
        for receipt in behind {
            assert_eq!(receipt.wait(PATIENCE), Some(Outcome::Dropped(Dropped::Panicked)));
        }
        assert!(victim.handle.send(Command::say("late")).is_err());
    }
    for other in &members[WORKERS..] {
        let receipt = other.handle.send_tracked(Command::say("on we go\n")).unwrap_or_else(|_| panic!("there is room"));
        assert_eq!(receipt.wait(PATIENCE), Some(Outcome::Written));
    }
    drop(members);
    server.ends();
}

/// Peers that read nothing have words waiting for them until memory is short: whoever is cut for it,
/// its receipts say so, and every one of them is completed.
fn i2_fault_66_receipts_say_that_the_connection_was_cut_for_its_memory(run: Run) {
    let budget = least_memory_bytes(WORKERS, Connection::new(Mouth).most_heap_bytes());
    let server = Started::on(run, budget);
    let commons = server.told.commons.clone();
    let deaf: Vec<Member> = (0..8 * WORKERS).map(|_| server.member()).collect();
    let words = Command::say([b'x'; 8192]);
    let (mut receipts, mut full) = (Vec::new(), 0);
    let give_up = Instant::now() + PATIENCE;
    while commons.stats().ended.shed < 3 {
        assert!(Instant::now() < give_up, "nobody is cut with {} of {budget} bytes held", commons.held_bytes());
        for member in &deaf {
            match member.handle.send_tracked(words.clone()) {
                Ok(receipt) => receipts.push(receipt),
                Err(_) => full += 1,
            }
        }
        assert!(commons.held_bytes() <= budget, "I2");
    }
    server.told.workers.abort();
    server.ends();
    let ends: Vec<Outcome> = receipts.iter().map(|receipt| receipt.try_get().expect("all is over")).collect();
    let count = |outcome| ends.iter().filter(|end| **end == outcome).count();
    let [written, shed, aborted] =
        [Outcome::Written, Outcome::Dropped(Dropped::Shed), Outcome::Dropped(Dropped::Aborted)].map(count);
    assert!(written > 0 && shed > 0 && full > 0, "{written} written, {shed} cut, {full} refused");
    let gone = count(Outcome::Dropped(Dropped::WorkerGone));
    assert_eq!(written + shed + aborted + gone, ends.len(), "{ends:?}");
    assert!(commons.most_held_bytes() <= budget, "I2");
    assert_eq!(commons.held_bytes(), 0, "I6");
}

macro_rules! on_every_driver {
    ($($test:ident),* $(,)?) => {
        $(mod $test {
            #[test]
            fn on_mio() {
                super::$test(super::mio);
            }

            #[test]
            fn on_tokio() {
                super::$test(super::tokio);
            }

            #[test]
            fn on_smol() {
                super::$test(super::smol);
            }
        })*
    };
}

on_every_driver!(
    w7_group_reaches_the_connections_of_every_worker_in_one_order,
    w2_receipts_wait_for_the_transport,
    fault_59_66_receipts_say_that_the_connection_panicked,
    i2_fault_66_receipts_say_that_the_connection_was_cut_for_its_memory,
);
