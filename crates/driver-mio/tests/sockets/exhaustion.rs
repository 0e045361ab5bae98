//! No descriptor left: the server waits for better times, quietly (FAULTS 18, 19).

use crate::child::isolated;
use crate::harness::{Recorder, listening, pump, pump_for, quick};
use crate::peer::{connect, read_line};
use drywire_core::{Connection, Limits};
use drywire_protocols::{Dialog, LineEcho};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tracing::span::{Attributes, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Counts warnings, which is all a log is for here.
struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> tracing::Id {
        tracing::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::Id, _: &tracing::Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &tracing::Id) {}

    fn exit(&self, _: &tracing::Id) {}
}

/// Sets the limit so that this many more descriptors fit. It is one on their
/// numbers, and those that are open need not be the lowest.
fn leave(room: usize) {
    let open = |number: &u64| std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok();
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = (0..).filter(|number| !open(number)).nth(room);
    setrlimit(Resource::Nofile, limit).unwrap();
}

isolated!(fault_18_server_without_descriptors_backs_off_and_resumes, {
    let warnings = Arc::new(AtomicUsize::new(0));
    let _guard = tracing::subscriber::set_default(Warnings(warnings.clone()));
    let (mut driver, _, address) = listening::<LineEcho>(drywire_driver_mio::Config::default());
    let mut app = Recorder::new(|| Connection::new(LineEcho).with_limits(quick(Limits::DEFAULT)));
    let mut peers: Vec<_> = (0..20).map(|_| connect(address)).collect();
    leave(5);
    pump(&mut driver, &mut app, "those who fit", |_, app| app.opened.len() == 5);

    // The first pause is a tenth of a second, and they grow.
    let rounds = pump_for(&mut driver, &mut app, Duration::from_secs(2));
    assert!(rounds <= 20, "I3: {rounds} rounds in two seconds while nobody can be let in");
    assert_eq!(app.opened.len(), 5);
    assert_eq!(warnings.load(Ordering::Relaxed), 1, "one line in the log");

    // Those who are in are served as ever.
    let mut served = Vec::new();
    for mut peer in peers.drain(..5) {
        peer.write_all(b"hello\n").unwrap();
        pump_for(&mut driver, &mut app, Duration::from_millis(5));
        assert_eq!(read_line(&mut peer), "hello\n");
        served.push(peer);
    }
    // They leave, and others come in, without any new connection to give an edge.
    drop(served);
    let next = driver.next_timeout().expect("it tries again by itself");
    assert!(next <= Duration::from_secs(1), "{next:?}");
    pump(&mut driver, &mut app, "the next five and more", |_, app| app.opened.len() >= 10);
    leave(100);
    pump(&mut driver, &mut app, "everybody", |_, app| app.opened.len() == 20);
    for peer in &mut peers {
        peer.write_all(b"at last\n").unwrap();
        pump_for(&mut driver, &mut app, Duration::from_millis(5));
        assert_eq!(read_line(peer), "at last\n");
    }
    assert_eq!(app.failed, [], "FAULTS 19: the listener lives");
});

isolated!(fault_18_file_that_finds_no_descriptor_is_refused_and_the_dialog_goes_on, {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "contents").unwrap();
    let mut app = Recorder::new(|| Connection::new(Dialog::new()));
    let (mut driver, _, mut peer) = crate::harness::connected(crate::files::config(dir.path()), &mut app);
    leave(0);
    peer.write_all(b"GET file\nNOOP\n").unwrap();
    pump_for(&mut driver, &mut app, Duration::from_millis(30));
    assert_eq!(read_line(&mut peer), "-550 too many open files\n");
    assert_eq!(read_line(&mut peer), "OK\n");
    leave(5);
    peer.write_all(b"GET file\n").unwrap();
    pump_for(&mut driver, &mut app, Duration::from_millis(30));
    assert_eq!(read_line(&mut peer), "OK 8\n");
});
