//! What handles cost: memory, allocations, and what they ask of commands.

use crate::worker::Worker;
use drywire_core::Time;
use drywire_server::{Handle, Inbox, Link, Posted, Room, ServerHandle, Table};
use std::cell::Cell;

#[test]
fn nothing_is_allocated_per_command_after_warm_up() {
    let mut worker = Worker::new(64);
    let (_, handle) = worker.connect(64);
    let mut orders = Vec::new();
    let mut turn = || {
        (0..64).for_each(|n| handle.send(n).unwrap());
        worker.inbox.take(&mut orders);
        orders.drain(..).for_each(drop);
    };
    // Two buffers take turns, so two turns warm them up.
    turn();
    turn();
    let allocated = allocation_counter::measure(|| (0..10).for_each(|_| turn()));
    assert_eq!(allocated.count_total, 0);
}

#[test]
fn handles_go_to_any_thread_when_commands_can_be_sent() {
    fn any_thread<T: Send + Sync>() {}
    any_thread::<Handle<Cell<u8>>>();
    any_thread::<ServerHandle<Cell<u8>>>();
    any_thread::<Inbox<Cell<u8>>>();
    any_thread::<Link<Cell<u8>>>();
    fn with_its_worker<T: Send>() {}
    with_its_worker::<Posted<Cell<u8>>>();
}

#[test]
fn idle_connection_pays_one_pointer() {
    assert_eq!(size_of::<Option<Link<u64>>>(), size_of::<usize>());
}

#[test]
fn send_without_a_receipt_allocates_for_none() {
    let mut worker = Worker::new(64);
    let (_, handle) = worker.connect(64);
    let mut orders = Vec::new();
    for _ in 0..2 {
        (0..8).for_each(|n| handle.send(n).unwrap());
        worker.inbox.take(&mut orders);
        orders.clear();
    }
    let plain = allocation_counter::measure(|| handle.send(1).unwrap());
    let tracked = allocation_counter::measure(|| drop(handle.send_tracked(1).unwrap()));
    assert_eq!((plain.count_total, tracked.count_total), (0, 1));
}

/// Beside its entry in the table: what an idle connection with a handle costs.
#[test]
#[expect(clippy::print_stdout, reason = "the number is what is asked for")]
fn w2_handle_of_an_idle_connection_costs_at_most_128_bytes() {
    let mut worker: Worker<Vec<u8>> = Worker::new(64);
    worker.connect(64);
    let inbox = &worker.inbox;
    let id = Table::new().insert_with(|id| id).unwrap();
    let mut kept = None;
    let peer = || "[::1]:25".parse().ok();
    let held = allocation_counter::measure(|| {
        let link = inbox.introduce(id, Room { commands: 64, bytes: 1 << 20 }, peer(), Time::ZERO);
        kept = Some((link.handle(), link));
    });
    println!("an idle connection with a handle holds {} bytes for it", held.bytes_current);
    assert!(held.count_current == 1 && held.bytes_current <= 128, "{held:?}");
}
