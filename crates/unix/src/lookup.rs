//! Looking up names with the system's resolver, which waits: so this runs on a thread
//! for such work.

use rustix::io::Errno;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// A name to be looked up, and who is told.
///
/// *Guaranteed*: they are told exactly once. One that is dropped instead of run, by a
/// runtime that shuts down or for want of a thread, or that panics, tells
/// `ECANCELED`.
pub struct Lookup<T: FnOnce(io::Result<Vec<SocketAddr>>)> {
    host: String,
    port: u16,
    tell: Option<T>,
}

impl<T: FnOnce(io::Result<Vec<SocketAddr>>)> Lookup<T> {
    /// The addresses of `host`, with this port, are to be told to `tell`.
    pub fn new(host: &str, port: u16, tell: T) -> Lookup<T> {
        Lookup { host: host.into(), port, tell: Some(tell) }
    }

    /// Looks it up. Returns when the resolver does, which may take half a minute.
    pub fn run(mut self) {
        let result = (self.host.as_str(), self.port).to_socket_addrs().map(Iterator::collect);
        if let Some(tell) = self.tell.take() {
            tell(result);
        }
    }
}

impl<T: FnOnce(io::Result<Vec<SocketAddr>>)> Drop for Lookup<T> {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            tell(Err(Errno::CANCELED.into()));
        }
    }
}

impl<T: FnOnce(io::Result<Vec<SocketAddr>>)> fmt::Debug for Lookup<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn told(
        run: impl FnOnce(Lookup<Box<dyn FnOnce(io::Result<Vec<SocketAddr>>)>>),
        host: &str,
    ) -> io::Result<Vec<SocketAddr>> {
        let (tell, told) = mpsc::channel();
        run(Lookup::new(host, 25, Box::new(move |result| tell.send(result).unwrap())));
        let result = told.recv().unwrap();
        assert!(told.recv().is_err(), "told twice");
        result
    }

    #[test]
    fn w6_localhost_is_this_machine() {
        let found = told(Lookup::run, "localhost").unwrap();
        assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback() && address.port() == 25));
    }

    #[test]
    fn w6_what_is_no_name_is_an_error_and_no_panic() {
        for host in ["nowhere.invalid", "", "a\0b"] {
            assert!(told(Lookup::run, host).is_err(), "{host:?}");
        }
    }

    #[test]
    fn w6_look_up_that_is_never_made_is_told_all_the_same() {
        let error = told(drop, "localhost").unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::CANCELED));
    }
}
