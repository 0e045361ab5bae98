//! The driver connects: by a name, and by a deadline (row W6).

use super::client::{Batch, accept, crowded, listen};
use crate::noise::assert_same;
use crate::peer::read_end;
use crate::stage::Stage;
use crate::subject::{Seen, Subject};
use drywire_core::{Connection, Reason, TransportError};
use drywire_server::Target;
use std::time::{Duration, Instant};

/// Longer than any loopback takes, shorter than the second after which Linux asks a
/// full queue again.
const SHORT: Duration = Duration::from_millis(300);

/// A listener whose queue is full says neither yes nor no.
pub fn w6_connection_that_does_not_stand_by_its_deadline_is_told_once<S: Subject>() {
    let (_listener, address, _others) = crowded();
    let began = Instant::now();
    let target = Target::from(&address).within(SHORT);
    let mut stage = Stage::<S, Batch>::connect_to(target, || Connection::new(Batch(b"hello\n".into())));
    assert_eq!(stage.report(0).reason, Reason::Transport(TransportError::TimedOut));
    assert!(began.elapsed() >= SHORT, "it gave up after {:?}", began.elapsed());
    stage.join();
    assert_eq!(stage.scene.look(|seen| (seen.len(), seen[0].reports.len(), seen[0].events.len())), (1, 1, 0));
}

/// The listener is at 127.0.0.1 alone; where `localhost` is `::1` first, that one
/// refuses, and the second address is taken.
pub fn w6_name_is_looked_up_and_its_addresses_are_tried_in_turn<S: Subject>() {
    let (listener, address) = listen();
    let target = Target::name("localhost", listener.local_addr().expect("bound").port()).within(S::PATIENCE);
    let mut stage = Stage::<S, Batch>::connect_to(target, || Connection::new(Batch(b"hello\n".into())));
    let mut stream = accept::<S>(&listener);
    assert_same(&read_end(&mut stream), b"hello\n");
    drop(stream);
    assert_eq!(stage.report(0).reason, Reason::Finished, "of {address} by name");
    stage.join();
}

/// `.invalid` is nobody's (RFC 6761 §6.4).
pub fn w6_name_without_an_address_is_told_once<S: Subject>() {
    let target = Target::name("name.invalid", 25).within(S::PATIENCE);
    let mut stage = Stage::<S, Batch>::connect_to(target, || Connection::new(Batch(b"hello\n".into())));
    assert_eq!(stage.report(0).reason, Reason::Transport(TransportError::Unresolved));
    assert!(stage.scene.look(|seen| seen.iter().all(|seen| !Seen::is_opened(seen))), "it was said to stand");
    stage.join();
}

/// Every address of the name was tried, and refused.
pub fn w6_name_of_this_machine_where_nobody_listens_is_told_refused_once<S: Subject>() {
    let (listener, _) = listen();
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let target = Target::name("localhost", port).within(S::PATIENCE);
    let mut stage = Stage::<S, Batch>::connect_to(target, || Connection::new(Batch(b"hello\n".into())));
    assert_eq!(stage.report(0).reason, Reason::Transport(TransportError::Refused));
    stage.join();
}
