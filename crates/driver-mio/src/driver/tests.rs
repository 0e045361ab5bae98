//! What cannot be seen from outside; everything else is in `tests/sockets`.

use super::*;
use crate::Quiet;
use drywire_core::Limits;
use drywire_protocols::LineEcho;
use std::os::unix::net::UnixStream;

#[test]
fn fault_83_alarms_of_connections_that_ended_do_not_pile_up() {
    let limits = Limits { idle_ms: 3_600_000, ..Limits::DEFAULT };
    let mut driver: Driver<LineEcho> = Driver::new(Config::default()).unwrap();
    let (_peer, lasting) = UnixStream::pair().unwrap();
    driver.add(lasting, Connection::new(LineEcho).with_limits(limits)).unwrap();
    for _ in 0..5000 {
        let (peer, ours) = UnixStream::pair().unwrap();
        driver.add(ours, Connection::new(LineEcho).with_limits(limits)).unwrap();
        // One round with an idle deadline, one to end.
        for _ in 0..2 {
            driver.wait(Some(Duration::ZERO)).unwrap();
            driver.dispatch(&mut Quiet).unwrap();
        }
        drop(peer);
        for _ in 0..1000 {
            if driver.len() == 1 {
                break;
            }
            driver.wait(Some(Duration::from_millis(10))).unwrap();
            driver.dispatch(&mut Quiet).unwrap();
        }
        assert_eq!(driver.len(), 1);
    }
    assert!(driver.alarms.len() <= 2 * driver.table.len() + STALE_ALARMS + 1, "{} alarms", driver.alarms.len());
    assert!(driver.alarms.iter().any(|Reverse((_, id))| driver.table.contains(*id)), "the lasting one's is kept");
}
