//! The poller a driver waits on is the one it was built for (row A7).

use crate::child::isolated;
use crate::harness::POLL2;
use drywire_driver_mio::{Config, Driver};
use drywire_protocols::LineEcho;

/// epoll descriptors this process has open.
fn epolls() -> usize {
    let fds = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let targets = fds.filter_map(|fd| std::fs::read_link(fd.path()).ok());
    targets.filter(|target| target.to_string_lossy().contains("[eventpoll]")).count()
}

isolated!(a7_driver_waits_on_the_poller_it_was_built_for, {
    let before = epolls();
    let driver: Driver<LineEcho> = Driver::new(Config::default()).unwrap();
    assert_eq!(epolls() - before, if POLL2 { 0 } else { 1 });
    drop(driver);
    assert_eq!(epolls(), before);
});
