//! What the driver logs of strangers. How one close line reads is tested where a
//! program prints it, in the command line's tests.

use crate::child::isolated;
use drywire_driver_mio::{Accept, Address, Config, Driver, Quiet};
use drywire_protocols::LineEcho;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

/// What is logged at debug level while `work` runs.
fn logged(work: impl FnOnce()) -> String {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_span_events(FmtSpan::NONE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let bytes = log.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

/// Connects from a socket whose own name holds a forged line.
fn forger(dir: &std::path::Path, server: &std::path::Path) -> UnixStream {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, connect, socket};
    let fd = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&fd, &SocketAddrUnix::new(dir.join("x\n2026-01-01 ERROR forged \x1b[31m")).unwrap()).unwrap();
    connect(&fd, &SocketAddrUnix::new(server).unwrap()).unwrap();
    fd.into()
}

// Alone: loggers that come and go on other threads make tracing forget, for a moment, that
// anybody listens.
isolated!(fault_71_name_of_a_peer_forges_no_line, {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server");
    let mut driver = Driver::<LineEcho>::new(Config::default()).unwrap();
    driver.listen(&Address::Unix(Some(path.clone()))).unwrap();
    let text = logged(|| {
        // One is turned away, one is served and closed.
        let first = forger(dir.path(), &path);
        driver.wait(Some(Duration::ZERO)).unwrap();
        driver.dispatch(&mut Quiet);
        drop(first);
        std::fs::remove_file(dir.path().join("x\n2026-01-01 ERROR forged \x1b[31m")).unwrap();
        let second = forger(dir.path(), &path);
        driver.wait(Some(Duration::ZERO)).unwrap();
        driver.dispatch(&mut Accept(|| LineEcho));
        drop(second);
        for _ in 0..10 {
            driver.wait(Some(Duration::from_millis(10))).unwrap();
            driver.dispatch(&mut Quiet);
        }
        assert!(driver.is_empty());
    });
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("turned away") && lines[1].contains("closed"), "{text}");
    for line in lines {
        assert!(line.contains(r"x\n2026-01-01 ERROR forged \x1b[31m") && !line.contains('\x1b'), "{line}");
    }
});
