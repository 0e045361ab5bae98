//! A worker without a loop.

use drywire_server::{Handle, Id, Inbox, Link, Order, Room, Table};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A worker without a loop: the test takes its turns by hand.
pub(crate) struct Worker<C> {
    pub(crate) inbox: Inbox<C>,
    pub(crate) links: Table<Link<C>>,
    pub(crate) wakes: Arc<AtomicUsize>,
}

impl<C> Worker<C> {
    pub(crate) fn new(capacity: usize) -> Worker<C> {
        Worker::weighing(capacity, |_| size_of::<C>())
    }

    pub(crate) fn weighing(capacity: usize, weigh: fn(&C) -> usize) -> Worker<C> {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counter = wakes.clone();
        let inbox = Inbox::weighing(capacity, weigh, move || _ = counter.fetch_add(1, Ordering::SeqCst));
        Worker { inbox, links: Table::new(), wakes }
    }

    pub(crate) fn connect(&mut self, capacity: u32) -> (Id, Handle<C>) {
        self.connect_with(Room::commands(capacity))
    }

    pub(crate) fn connect_with(&mut self, room: Room) -> (Id, Handle<C>) {
        let id = self.links.insert_with(|id| self.inbox.link(id, room)).unwrap();
        (id, self.links.get(id).unwrap().handle())
    }

    pub(crate) fn take(&mut self) -> Vec<Order<C>> {
        let mut orders = Vec::new();
        self.inbox.take(&mut orders);
        orders
    }

    pub(crate) fn wakes(&self) -> usize {
        self.wakes.load(Ordering::SeqCst)
    }
}

/// What an order is, without the machinery in it.
pub(crate) fn names<C>(orders: Vec<Order<C>>) -> Vec<String>
where
    C: ToString,
{
    let name = |order: Order<C>| match order {
        Order::Command(posted) => posted.into_command().to_string(),
        Order::Group(share) => format!("group {}", share.id()),
        Order::Close(id) => format!("close {id}"),
        Order::Abort(id) => format!("abort {id}"),
        Order::Connect(target) => format!("connect {target}"),
        Order::Shutdown => "shutdown".to_owned(),
        Order::Stop => "stop".to_owned(),
    };
    orders.into_iter().map(name).collect()
}

/// What a command of this size takes of the bounds by bytes.
pub(crate) fn weight_of<C>(worker: &mut Worker<C>, command: C) -> u32 {
    let (_, handle) = worker.connect(1);
    handle.send(command).unwrap();
    let weight = handle.inspect().waiting_bytes;
    drop(worker.take());
    weight
}
