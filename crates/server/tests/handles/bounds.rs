//! Bounds by number and by bytes, from the send on until the command is handed over.

use crate::worker::{Worker, names, weight_of};
use drywire_server::{Order, Room, SendError};

#[test]
fn fault_64_place_is_held_until_the_command_is_handed_over() {
    let mut worker = Worker::new(100);
    let (_, handle) = worker.connect(2);
    handle.send(1).unwrap();
    handle.send(2).unwrap();
    assert_eq!(handle.send(3), Err(SendError::Full(3)));

    // Taken by the driver, but the connection has no room yet.
    let mut orders = worker.take();
    assert_eq!(handle.send(3), Err(SendError::Full(3)));

    let Some(Order::Command(second)) = orders.pop() else { panic!("{orders:?}") };
    assert_eq!(second.into_command(), 2);
    handle.send(3).unwrap();
    assert_eq!(handle.send(4), Err(SendError::Full(4)));

    drop(orders);
    handle.send(4).unwrap();
    assert_eq!(worker.inbox.dropped(), 1, "the first one was dropped");
}

#[test]
fn fault_64_flood_for_one_connection_leaves_room_for_others() {
    let mut worker = Worker::new(100);
    let (_, flooded) = worker.connect(10);
    let (_, other) = worker.connect(10);
    assert_eq!((0..1000).filter(|n| flooded.send(*n).is_ok()).count(), 10);
    assert_eq!(other.send(1), Ok(()));
}

#[test]
fn fault_64_flood_for_many_connections_is_full_at_the_inbox() {
    let mut worker = Worker::new(4);
    let handles: Vec<_> = (0..3).map(|_| worker.connect(2).1).collect();
    let taken = handles.iter().flat_map(|h| [h.send(1), h.send(2)]).filter(Result::is_ok).count();
    assert_eq!(taken, 4);
    assert_eq!(handles[2].send(3), Err(SendError::Full(3)));
    drop(worker.take());
    assert_eq!(handles[2].send(3), Ok(()));
}

#[test]
fn fault_64_worker_posts_within_the_same_bound_and_wakes_nobody() {
    let mut worker = Worker::new(1);
    let (id, handle) = worker.connect(2);
    handle.send(1).unwrap();
    let wakes = worker.wakes();
    let link = worker.links.get(id).unwrap();
    let posted = link.post(2).unwrap();
    assert_eq!(link.post(3).unwrap_err(), SendError::Full(3));
    assert_eq!(posted.into_command(), 2);
    drop(link.post(4).unwrap());
    handle.close();
    assert_eq!(worker.links.get(id).unwrap().post(5).unwrap_err(), SendError::Closed(5));
    assert_eq!((worker.wakes(), worker.inbox.dropped()), (wakes, 1));
    assert_eq!(names(worker.take()), ["1".to_owned(), format!("close {id}")]);
}

#[test]
fn fault_64_bytes_are_bounded_from_the_send_on_and_their_overhead_counts() {
    let mut worker: Worker<Vec<u8>> = Worker::weighing(100, Vec::len);
    let one = weight_of(&mut worker, vec![0; 100]);
    assert!((100..300).contains(&one), "{one}");

    let (_, handle) = worker.connect_with(Room { commands: 100, bytes: 3 * one });
    for _ in 0..3 {
        handle.send(vec![0; 100]).unwrap();
    }
    assert_eq!(handle.send(Vec::new()), Err(SendError::Full(Vec::new())), "its overhead does not fit");
    assert_eq!(worker.inbox.waiting_bytes(), 3 * one as usize);
    assert_eq!(worker.inbox.server_handle().inspect().commands, 3);

    // Taken is not handled yet.
    let mut orders = worker.take();
    assert_eq!(handle.send(vec![0; 100]).map_err(SendError::into_command), Err(vec![0; 100]));
    let Some(Order::Command(posted)) = orders.pop() else { panic!("{orders:?}") };
    assert_eq!(posted.into_command().len(), 100);
    handle.send(vec![0; 100]).unwrap();
    drop(orders);
    assert_eq!(worker.inbox.waiting_bytes(), one as usize);
}

#[test]
fn fault_64_command_larger_than_the_bound_is_told_so() {
    let mut worker: Worker<Vec<u8>> = Worker::weighing(100, Vec::len);
    let one = weight_of(&mut worker, vec![0; 100]);
    let (id, handle) = worker.connect_with(Room { commands: 100, bytes: one });
    assert_eq!(handle.send(vec![0; 101]), Err(SendError::TooLarge(vec![0; 101])));
    let link = worker.links.get(id).unwrap();
    assert_eq!(link.post(vec![0; 101]).unwrap_err(), SendError::TooLarge(vec![0; 101]));
    assert_eq!(handle.send(vec![0; 100]), Ok(()));
    assert_eq!(handle.send(vec![0; 101]), Err(SendError::TooLarge(vec![0; 101])), "also when it is full");
    handle.close();
    assert_eq!(handle.send(vec![0; 101]), Err(SendError::Closed(vec![0; 101])), "the end is the better reason");
}
