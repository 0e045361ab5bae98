//! A loop of someone else's owns the driver (row A2). On epoll: poll(2) has no
//! descriptor of its own that another loop could wait for.
#![cfg(not(mio_unsupported_force_poll_poll))]

use crate::harness::{PATIENCE, Recorder, listening, quick};
use crate::peer::{connect, read_line};
use crate::talk::Talk;
use drywire_core::{Connection, Limits};
use drywire_driver_mio::Config;
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

fn timespec(timeout: Duration) -> Timespec {
    Timespec { tv_sec: timeout.as_secs().try_into().unwrap(), tv_nsec: timeout.subsec_nanos().into() }
}

#[test]
fn a2_foreign_epoll_loop_runs_the_driver_beside_its_own_descriptors() {
    let limits = Limits { idle_ms: 300, ..quick(Limits::DEFAULT) };
    let (mut driver, _, address) = listening::<Talk>(Config::default());
    let mut app = Recorder::new(move || Connection::new(Talk).with_limits(limits));

    // The host: it knows nothing of the driver but a descriptor and a timeout.
    let host = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let own = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    epoll::add(&host, &driver, epoll::EventData::new_u64(1), epoll::EventFlags::IN).unwrap();
    epoll::add(&host, &own, epoll::EventData::new_u64(2), epoll::EventFlags::IN).unwrap();

    let asking = std::thread::spawn(move || {
        let mut peer = connect(address);
        for n in 0..100 {
            peer.write_all(format!("{n}\n").as_bytes()).unwrap();
            assert_eq!(read_line(&mut peer), format!("heard {n}\n"));
        }
        // From now on it is silent, and only the timeout can end it.
        assert_eq!(crate::peer::read_end(&mut peer), b"");
    });
    let (mut own_events, mut answered, mut rounds) = (0, 0, 0);
    let give_up = Instant::now() + PATIENCE;
    while app.closed.is_empty() {
        assert!(Instant::now() < give_up, "the host's loop hangs");
        rounds += 1;
        let timeout = driver.next_timeout().unwrap_or(PATIENCE) + Duration::from_millis(1);
        let mut events = Vec::with_capacity(4);
        epoll::wait(&host, spare_capacity(&mut events), Some(&timespec(timeout))).unwrap();
        if events.iter().any(|event| event.data.u64() == 2) {
            rustix::io::read(&own, &mut [0_u8; 8]).unwrap();
            own_events += 1;
        }
        driver.wait(Some(Duration::ZERO)).unwrap();
        driver.dispatch(&mut app);
        for (id, line) in std::mem::take(&mut app.events) {
            driver.send(id, format!("heard {line}\n").into_bytes()).unwrap();
            answered += 1;
            rustix::io::write(&own, &1_u64.to_ne_bytes()).unwrap();
        }
    }
    asking.join().unwrap();
    assert_eq!(answered, 100);
    assert!(own_events > 0);
    assert!(rounds < 2000, "I3: {rounds} rounds for a hundred lines");
}

#[test]
fn a2_handle_makes_the_descriptor_readable_for_a_foreign_poll() {
    let (mut driver, _, address) = listening::<Talk>(Config::default());
    let mut app = Recorder::new(|| Connection::new(Talk));
    let mut peer = connect(address);
    crate::harness::pump(&mut driver, &mut app, "the accept", |_, app| app.opened.len() == 1);
    crate::harness::pump_for(&mut driver, &mut app, Duration::from_millis(20));
    let ready = |driver: &drywire_driver_mio::Driver<Talk>, timeout| {
        let mut fds = [PollFd::from_borrowed_fd(driver.as_fd(), PollFlags::IN)];
        poll(&mut fds, Some(&timespec(timeout))).unwrap() == 1
    };
    assert!(!ready(&driver, Duration::ZERO), "idle");
    let handle = driver.handle(app.opened[0]).unwrap();
    std::thread::spawn(move || handle.send(b"from outside\n".to_vec()).unwrap()).join().unwrap();
    assert!(ready(&driver, PATIENCE), "the wake-up shows");
    driver.wait(Some(Duration::ZERO)).unwrap();
    driver.dispatch(&mut app);
    assert_eq!(read_line(&mut peer), "from outside\n");
}
