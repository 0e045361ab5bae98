//! Descriptors of others beside the connections (rows A10, B1).

use crate::runtime::{Runtime, on_every_runtime};
use crate::scene::{Recorder, pump, pump_for};
use drywire_core::Connection;
use drywire_protocols::LineEcho;
use drywire_server::{Config, Interest, SourceEvent};
use drywire_unix::futures::Driver;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{read, write};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

on_every_runtime!(
    a10_descriptor_is_told_readable_writable_and_timed_out,
    a10_last_bytes_are_told_before_the_failure,
    a10_interest_changes_and_removal_gives_the_descriptor_back,
    a10_what_may_block_is_refused_and_a_file_is_always_ready,
    a10_readiness_that_is_there_counts_as_news_when_the_interest_changes,
    a10_end_of_input_is_told_once_and_goes_round_no_further,
    a10_device_that_never_blocks_is_always_ready,
);

fn recorder() -> Recorder<LineEcho> {
    Recorder::new(|| Connection::new(LineEcho))
}

fn driver<R: Runtime>() -> Driver<LineEcho, (), R> {
    Driver::new(Config::default()).unwrap()
}

fn event(count: u32) -> OwnedFd {
    eventfd(count, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap()
}

fn a10_descriptor_is_told_readable_writable_and_timed_out<R: Runtime>() {
    R::block_on(async {
        let (mut driver, mut recorder): (Driver<LineEcho, (), R>, _) = (driver(), recorder());
        let fd = event(0);
        let signal = fd.try_clone().unwrap();
        let id = driver.register(fd, Interest::READABLE, Some(Duration::from_millis(40))).unwrap();
        pump(&mut driver, &mut recorder, "the timeout", |_, r| !r.sources.is_empty()).await;
        assert_eq!(recorder.sources, [(id, SourceEvent::TimedOut)]);
        driver.set_source_timeout(id, None);
        for _ in 0..3 {
            recorder.sources.clear();
            write(&signal, &1u64.to_ne_bytes()).unwrap();
            pump(&mut driver, &mut recorder, "news", |_, r| !r.sources.is_empty()).await;
            assert_eq!(recorder.sources, [(id, SourceEvent::Readable)]);
            read(driver.source(id).unwrap(), &mut [0; 8]).unwrap();
            let rounds = pump_for(&mut driver, &mut recorder, Duration::from_millis(30)).await;
            assert!(rounds <= 3, "{rounds} rounds about nothing");
        }
        recorder.sources.clear();
        driver.set_source_interest(id, Interest::READABLE | Interest::WRITABLE).unwrap();
        pump(&mut driver, &mut recorder, "news", |_, r| !r.sources.is_empty()).await;
        assert!(recorder.sources.contains(&(id, SourceEvent::Writable)), "{:?}", recorder.sources);
        assert!(!recorder.sources.contains(&(id, SourceEvent::Readable)), "{:?}", recorder.sources);
    });
}

fn a10_last_bytes_are_told_before_the_failure<R: Runtime>() {
    R::block_on(async {
        let (mut driver, mut recorder): (Driver<LineEcho, (), R>, _) = (driver(), recorder());
        let (peer, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let id = driver.register(ours.into(), Interest::READABLE, None).unwrap();
        write(&peer, b"last").unwrap();
        drop(peer);
        pump(&mut driver, &mut recorder, "the failure", |_, r| r.sources.contains(&(id, SourceEvent::Failed))).await;
        assert_eq!(recorder.sources, [(id, SourceEvent::Readable), (id, SourceEvent::Failed)]);
        assert!(driver.source(id).is_none(), "forgotten (row B2)");
    });
}

fn a10_interest_changes_and_removal_gives_the_descriptor_back<R: Runtime>() {
    R::block_on(async {
        let (mut driver, mut recorder): (Driver<LineEcho, (), R>, _) = (driver(), recorder());
        let id = driver.register(event(1), Interest::READABLE, None).unwrap();
        pump(&mut driver, &mut recorder, "news", |_, r| !r.sources.is_empty()).await;
        let fd = driver.unregister(id).expect("it was there");
        assert_eq!(read(&fd, &mut [0; 8]), Ok(8));
        assert!(driver.unregister(id).is_none());
        recorder.sources.clear();
        write(&fd, &1u64.to_ne_bytes()).unwrap();
        pump_for(&mut driver, &mut recorder, Duration::from_millis(30)).await;
        assert!(recorder.sources.is_empty(), "{:?}", recorder.sources);
        // And in again, on the same number.
        let again = driver.register(fd, Interest::READABLE, None).unwrap();
        pump(&mut driver, &mut recorder, "news", |_, r| !r.sources.is_empty()).await;
        assert_eq!(recorder.sources[0], (again, SourceEvent::Readable));
    });
}

fn a10_what_may_block_is_refused_and_a_file_is_always_ready<R: Runtime>() {
    R::block_on(async {
        let (mut driver, mut recorder): (Driver<LineEcho, (), R>, _) = (driver(), recorder());
        let blocking = event(0);
        fcntl_setfl(&blocking, fcntl_getfl(&blocking).unwrap() - OFlags::NONBLOCK).unwrap();
        let refused = driver.register(blocking, Interest::READABLE, None).expect_err("it may block");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        let file = tempfile::tempfile().unwrap();
        let id = driver.register(file.into(), Interest::READABLE, None).unwrap();
        pump(&mut driver, &mut recorder, "twice", |_, r| r.sources.len() >= 2).await;
        assert!(recorder.sources.iter().all(|told| *told == (id, SourceEvent::Readable)));
        assert!(driver.source(id).unwrap().as_fd().try_clone_to_owned().is_ok());
    });
}

fn a10_readiness_that_is_there_counts_as_news_when_the_interest_changes<R: Runtime>() {
    R::block_on(async {
        let (mut driver, mut recorder): (Driver<LineEcho, (), R>, _) = (driver(), recorder());
        let (peer, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let id = driver.register(ours.into(), Interest::WRITABLE, None).unwrap();
        pump(&mut driver, &mut recorder, "writable", |_, r| !r.sources.is_empty()).await;
        write(&peer, b"x").unwrap();
        for _ in 0..2 {
            driver.set_source_interest(id, Interest::WRITABLE).unwrap();
            pump_for(&mut driver, &mut recorder, Duration::from_millis(30)).await;
            recorder.sources.clear();
            driver.set_source_interest(id, Interest::READABLE).unwrap();
            pump(&mut driver, &mut recorder, "the byte", |_, r| r.sources.contains(&(id, SourceEvent::Readable))).await;
        }
    });
}

fn a10_end_of_input_is_told_once_and_goes_round_no_further<R: Runtime>() {
    R::block_on(async {
        let (mut driver, mut recorder): (Driver<LineEcho, (), R>, _) = (driver(), recorder());
        let (peer, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let id = driver.register(ours.into(), Interest::READABLE, None).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let rounds = pump_for(&mut driver, &mut recorder, Duration::from_millis(200)).await;
        assert_eq!(recorder.sources, [(id, SourceEvent::Readable)]);
        assert!(rounds <= 5, "{rounds} rounds about one end");
    });
}

fn a10_device_that_never_blocks_is_always_ready<R: Runtime>() {
    R::block_on(async {
        let (mut driver, mut recorder): (Driver<LineEcho, (), R>, _) = (driver(), recorder());
        let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
        fcntl_setfl(&null, OFlags::NONBLOCK).unwrap();
        driver.register(null.into(), Interest::READABLE, None).unwrap();
        pump(&mut driver, &mut recorder, "twice", |_, r| r.sources.len() >= 2).await;
    });
}
