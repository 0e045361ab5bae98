//! What a signal means to a server: to let connections finish, to end at once, to read the certificate again. All
//! of it is done outside of the event loops.

use crate::log::{self, say, say_last};
use crate::signals::Request;
use drywire_server::{Commons, Workers};
use drywire_tls::TlsError;
use std::io;
use std::process;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Reads the certificate again, and shows it from then on.
pub(crate) type Reload = Box<dyn Fn() -> Result<(), TlsError> + Send + Sync>;

/// After the second signal, how long the workers may take to end, and the disk to take recordings.
const LAST_MOMENT: Duration = Duration::from_secs(1);

pub(crate) struct Control<C> {
    workers: Workers<C>,
    commons: Commons,
    drain_timeout: Duration,
    /// Asks the thread that reads the certificate.
    reload: Option<SyncSender<()>>,
}

impl<C> Control<C> {
    pub(crate) fn new(
        workers: Workers<C>,
        commons: Commons,
        drain_timeout: Duration,
        reload: Option<Reload>,
    ) -> io::Result<Control<C>> {
        let reload = reload.map(reloader).transpose()?;
        Ok(Control { workers, commons, drain_timeout, reload })
    }

    pub(crate) fn on(&self, request: Request) {
        match request {
            Request::Stop => self.stop(),
            Request::StopNow => self.stop_now(),
            Request::Reload => self.reload(),
        }
    }

    /// Drains what is open (FAULTS 57).
    fn stop(&self) {
        let open = self.commons.connections();
        if open > 0 && !self.drain_timeout.is_zero() {
            let within = match self.drain_timeout {
                Duration::MAX => String::new(),
                timeout => format!(" within {}", humantime::format_duration(timeout)),
            };
            let open = connections(open);
            say(format_args!("stopping; {open} may finish{within}, a second signal, in 1s or later, stops now"));
        }
        self.workers.shutdown();
    }

    /// The process ends in the meantime; if it does not, a worker is stuck, or the disk for recordings is.
    fn stop_now(&self) {
        self.workers.abort();
        thread::sleep(LAST_MOMENT);
        say_last(format_args!(
            "ended by force: {}s after the second signal something was still stuck, a worker or the disk for recordings",
            LAST_MOMENT.as_secs()
        ));
        log::finish();
        process::exit(1);
    }

    fn reload(&self) {
        match &self.reload {
            // When one is being read, the next waits; one that waits does for all that are asked for until then.
            Some(reload) => drop(reload.try_send(())),
            None => say(format_args!("hang-up: nothing to read again, no certificate was given")),
        }
    }
}

/// On a thread of its own: while a file system does not answer, the next signal is still heard.
fn reloader(reload: Reload) -> io::Result<SyncSender<()>> {
    let (ask, asked) = sync_channel(1);
    let run = move || {
        for () in asked {
            match reload() {
                Ok(()) => say(format_args!("the certificate was read again")),
                Err(error) => say(format_args!("the certificate stays as it was: {error}")),
            }
        }
    };
    thread::Builder::new().name("certificate".into()).spawn(run)?;
    Ok(ask)
}

pub(crate) fn connections(n: usize) -> String {
    format!("{n} connection{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use drywire_server::Config;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn signals_are_heard_while_a_certificate_cannot_be_read_and_the_last_request_is_not_lost() {
        let (tell, reads) = mpsc::channel();
        let (go_on, may_end) = sync_channel(0);
        let may_end = std::sync::Mutex::new(may_end);
        let reload: Reload = Box::new(move || {
            tell.send(()).unwrap();
            may_end.lock().unwrap().recv().unwrap();
            Ok(())
        });
        let commons = Commons::new(&Config::default());
        let workers = Workers::<()>::new([]);
        let control = Control::new(workers, commons, Duration::ZERO, Some(reload)).unwrap();
        let (done, is_done) = mpsc::channel();
        let hear = move || {
            control.on(Request::Reload);
            reads.recv_timeout(LONG).unwrap();
            (0..9).for_each(|_| control.on(Request::Reload));
            control.on(Request::Stop);
            done.send((control, reads)).unwrap();
        };
        thread::spawn(hear);
        let (control, reads) = is_done.recv_timeout(LONG).expect("no request waits for the file");
        go_on.send(()).unwrap();
        reads.recv_timeout(LONG).expect("what was asked meanwhile is one more reading");
        drop(control);
        go_on.send(()).unwrap();
        assert!(reads.recv_timeout(LONG).is_err(), "and no more");
    }
}
