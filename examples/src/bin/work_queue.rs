//! A work queue in typed messages, on a hub (rows H13, W3): producers put tasks, workers pull
//! them, and a task whose worker goes before it is done is given to somebody else.
//!
//! ```text
//! cargo run -p drywire-examples --bin work_queue                        all of it, in threads
//! cargo run -p drywire-examples --bin work_queue serve 127.0.0.1:7008   the queue alone
//! ```
//!
//! ```text
//! producer → Put { n }                   worker → Pull
//!          ← Done { n, steps }                  ← Task { task, n }, when there is one
//!                                               → Done { task, steps }
//! anybody  → Finish                      the queue ends, and everybody is sent home
//! ```
//!
//! The messages are two enums; serde and postcard make bytes of them. A task is a number, and
//! to do it is to count how many steps of Collatz's lead from there to 1.
//!
//! The queue counts each task as done once. Whoever has done one and goes before it could say
//! so has done it in vain: somebody does it again. What must not happen twice needs a mark of
//! its own, where it happens.

use drywire_hub::{Address, Block, Hub, Input, Number, Reason, Target};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::thread;

type Error = Box<dyn std::error::Error + Send + Sync>;

// The messages. Postcard counts the variants from 0 on: new ones come last.

/// What producers and workers say.
#[derive(Debug, Serialize, Deserialize)]
enum ToQueue {
    /// A task.
    Put { n: u64 },
    /// Give me a task as soon as there is one.
    Pull,
    /// The task is done.
    Done { task: u64, steps: u32 },
    /// No more will come.
    Finish,
}

/// What the queue says.
#[derive(Debug, Serialize, Deserialize)]
enum FromQueue {
    /// To a worker: yours until you have done it, or go.
    Task { task: u64, n: u64 },
    /// To a producer: what came of a task of yours.
    Done { n: u64, steps: u32 },
}

fn encode(message: &impl Serialize) -> Result<Vec<u8>, Error> {
    Ok(postcard::to_allocvec(message)?)
}

/// A message, and nothing behind it.
fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(format!("{} bytes too many", rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

// The queue.

/// Tasks that may be in the queue at once. A producer that puts more is cut off.
const MOST_TASKS: usize = 100_000;

/// A task that is not done.
struct Task {
    n: u64,
    producer: Number,
    /// Who has it.
    worker: Option<Number>,
}

/// What became of the tasks.
#[derive(Default)]
struct Tally {
    put: u64,
    done: u64,
    /// Of a worker that went: another is to have it.
    left: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tasks put, {} done, {} left by a worker and given to another", self.put, self.done, self.left)
    }
}

#[derive(Default)]
struct Queue {
    tasks: BTreeMap<u64, Task>,
    /// Those that nobody has, the next one first.
    waiting: VecDeque<u64>,
    /// Workers that want a task, each once.
    idle: VecDeque<Number>,
    tally: Tally,
}

/// Serves until somebody says `Finish`.
fn serve(hub: &mut Hub) -> Result<Tally, Error> {
    let mut queue = Queue::default();
    loop {
        hub.do_io(Block::Yes)?;
        while let Some((number, input)) = hub.take_input()? {
            match input {
                Input::Opened => {}
                Input::Message(message) => match decode(&message) {
                    Ok(ToQueue::Finish) => {
                        hub.shutdown()?;
                        return Ok(queue.tally);
                    }
                    Ok(message) => queue.handle(hub, number, message)?,
                    Err(bad) => queue.refuse(hub, number, &bad)?,
                },
                // It can put and do nothing more, so here that is to be gone.
                Input::Ended => {
                    queue.leave(number);
                    hub.close(number)?;
                }
                // Without an end when it was cut off.
                Input::Closed(report) => {
                    queue.leave(number);
                    if !matches!(report.reason, Reason::Finished | Reason::Requested | Reason::Aborted) {
                        warn(&format!("connection {number}: {}", report.reason));
                    }
                }
            }
            queue.give(hub)?;
        }
    }
}

impl Queue {
    fn handle(&mut self, hub: &mut Hub, number: Number, message: ToQueue) -> Result<(), Error> {
        match message {
            ToQueue::Put { .. } if self.tasks.len() == MOST_TASKS => self.refuse(hub, number, "too many tasks")?,
            ToQueue::Put { n } => {
                self.tally.put += 1;
                self.tasks.insert(self.tally.put, Task { n, producer: number, worker: None });
                self.waiting.push_back(self.tally.put);
            }
            ToQueue::Pull if self.idle.contains(&number) => self.refuse(hub, number, "it waits for a task already")?,
            ToQueue::Pull => self.idle.push_back(number),
            ToQueue::Done { task, steps } => match self.tasks.remove(&task) {
                Some(Task { n, producer, worker: Some(worker) }) if worker == number => {
                    self.tally.done += 1;
                    if hub.submit(producer, encode(&FromQueue::Done { n, steps })?).is_err() {
                        // Gone, or it never reads: then it is not to think that it has all.
                        let _ = hub.abort(producer);
                    }
                }
                Some(other) => {
                    self.tasks.insert(task, other);
                    self.refuse(hub, number, "a task of somebody else")?;
                }
                None => self.refuse(hub, number, "a task that is not there")?,
            },
            ToQueue::Finish => unreachable!("ends the queue before it comes here"),
        }
        Ok(())
    }

    /// Gives what nobody has to who has nothing.
    fn give(&mut self, hub: &mut Hub) -> Result<(), Error> {
        while let (Some(&task), Some(&worker)) = (self.waiting.front(), self.idle.front()) {
            self.idle.pop_front();
            let given = self.tasks.get_mut(&task).expect("what waits is not done");
            let message = encode(&FromQueue::Task { task, n: given.n })?;
            match hub.submit(worker, message) {
                Ok(()) => {
                    given.worker = Some(worker);
                    self.waiting.pop_front();
                }
                // It was cut off before it asked: the next one is to have it.
                Err(error) if error.is_gone() => {}
                Err(_) => self.refuse(hub, worker, "it asks and never reads")?,
            }
        }
        Ok(())
    }

    /// What it had was there before all that waits, and goes in front of it.
    fn leave(&mut self, number: Number) {
        self.idle.retain(|idle| *idle != number);
        for (id, task) in self.tasks.iter_mut().rev() {
            if task.worker == Some(number) {
                task.worker = None;
                self.waiting.push_front(*id);
                self.tally.left += 1;
            }
        }
    }

    /// Cuts somebody off who does not keep to the rules.
    fn refuse(&mut self, hub: &mut Hub, number: Number, why: &str) -> Result<(), Error> {
        warn(&format!("connection {number}: {why}"));
        self.leave(number);
        Ok(hub.abort(number)?)
    }
}

// Who talks to it.

/// One connection to the queue.
struct Link {
    hub: Hub,
    queue: Number,
}

impl Link {
    fn new(queue: &Address) -> Result<Link, Error> {
        let mut hub = Hub::new()?;
        let queue = hub.connect(queue)?;
        Ok(Link { hub, queue })
    }

    /// Goes out with whatever calls `do_io` next.
    fn tell(&mut self, message: &ToQueue) -> Result<(), Error> {
        Ok(self.hub.submit(self.queue, encode(message)?)?)
    }

    /// Waits for the next message; `None` when the queue has ended.
    fn hear(&mut self) -> Result<Option<FromQueue>, Error> {
        loop {
            self.hub.do_io(Block::Yes)?;
            match self.hub.take_input_of(self.queue)? {
                Some(Input::Message(message)) => return Ok(Some(decode(&message)?)),
                Some(Input::Ended | Input::Closed(_)) => return Ok(None),
                Some(Input::Opened) | None => {}
            }
        }
    }
}

/// Puts all its tasks, then waits for all that comes of them. The steps of all.
fn produce(mut link: Link, tasks: Range<u64>) -> Result<u64, Error> {
    for n in tasks.clone() {
        link.tell(&ToQueue::Put { n })?;
    }
    let (mut open, mut sum): (HashSet<u64>, u64) = (tasks.collect(), 0);
    while !open.is_empty() {
        let Some(FromQueue::Done { n, steps }) = link.hear()? else { return Err("the queue ended too soon".into()) };
        if !open.remove(&n) {
            return Err("done twice, or never put".into());
        }
        sum += u64::from(steps);
    }
    Ok(sum)
}

/// A worker that has asked for its first task.
fn hire(queue: &Address) -> Result<Link, Error> {
    let mut link = Link::new(queue)?;
    link.tell(&ToQueue::Pull)?;
    link.hub.do_io(Block::No)?;
    Ok(link)
}

/// Does what there is to do until the queue ends.
fn work(mut link: Link) -> Result<(), Error> {
    while let Some(FromQueue::Task { task, n }) = link.hear()? {
        link.tell(&ToQueue::Done { task, steps: collatz(n) })?;
        link.tell(&ToQueue::Pull)?;
    }
    Ok(())
}

/// Takes a task and is never seen again: a hub that is dropped drops its connections.
fn break_off(mut link: Link) -> Result<(), Error> {
    match link.hear()? {
        Some(FromQueue::Task { .. }) => Ok(()),
        Some(FromQueue::Done { .. }) | None => Err("no task".into()),
    }
}

/// Ends the queue, and waits until it has.
fn finish(queue: &Address) -> Result<(), Error> {
    let mut link = Link::new(queue)?;
    link.tell(&ToQueue::Finish)?;
    link.hear().map(drop)
}

fn collatz(n: u64) -> u32 {
    let next = |n: &u64| match *n {
        0 | 1 => None,
        n if n.is_multiple_of(2) => Some(n / 2),
        // A peer's number may lead beyond what there is.
        n => n.checked_mul(3)?.checked_add(1),
    };
    std::iter::successors(Some(n), next).skip(1).count() as u32
}

// The program.

fn main() -> Result<(), Error> {
    let mut hub = Hub::new()?;
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => everything(hub),
        (Some("serve"), Some(address)) => {
            for address in hub.listen(address.parse::<Target>()?)? {
                say(&format!("listening on {address}"));
            }
            say(&serve(&mut hub)?.to_string());
            Ok(())
        }
        _ => Err("usage: work_queue [serve ADDRESS]".into()),
    }
}

/// A queue, two producers and four workers, each on a thread of its own.
fn everything(mut hub: Hub) -> Result<(), Error> {
    let address = hub.listen("127.0.0.1:0".parse::<Target>()?)?.remove(0);
    let serving = thread::spawn(move || serve(&mut hub));

    // The workers come first, and wait. So one of the first tasks is the one that is left.
    let mut workers = Vec::new();
    for work in [work, work, break_off, work] {
        let link = hire(&address)?;
        workers.push(thread::spawn(move || work(link)));
    }
    let mut producers = Vec::new();
    for (name, tasks) in [("north", 1..21), ("south", 21..51)] {
        let (link, wanted) = (Link::new(&address)?, tasks.clone());
        producers.push((name, tasks, thread::spawn(move || produce(link, wanted))));
    }
    for (name, tasks, producer) in producers {
        let steps = producer.join().map_err(|_| "a producer panicked")??;
        say(&format!("{name}: {} tasks, all done: {steps} steps", tasks.count()));
    }
    finish(&address)?;
    for worker in workers {
        worker.join().map_err(|_| "a worker panicked")??;
    }
    say(&format!("queue: {}", serving.join().map_err(|_| "the queue panicked")??));
    Ok(())
}

fn say(line: &str) {
    // A closed standard output is no reason to fail.
    let _ = writeln!(io::stdout(), "{line}");
}

fn warn(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
