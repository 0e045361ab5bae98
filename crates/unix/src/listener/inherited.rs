//! Sockets that whoever started us has opened: systemd's protocol of socket activation
//! (`LISTEN_PID`, `LISTEN_FDS`, `LISTEN_FDNAMES`; descriptors from 3 on).
//!
//! Source: sd_listen_fds(3).

use super::{Acceptor, ListenError, Listener, SocketOptions};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::SocketType;
use rustix::net::sockopt::{socket_acceptconn, socket_type};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, OnceLock, PoisonError};

/// What was handed over and nobody has taken yet, in its order. It is ours once in a process.
static INHERITED: OnceLock<Mutex<Vec<(String, OwnedFd)>>> = OnceLock::new();

/// The name systemd itself gives a socket without one.
const NAMELESS: &str = "unknown";

/// All listening sockets of a name. Our descriptors are closed with what is made of them; the sockets
/// and their files are their unit's, and so is what waits there when we stop: `shutdown(2)` or a last
/// round of `accept` would take it away from the next server.
pub(super) fn take(name: &str, options: &SocketOptions) -> Result<Vec<Listener>, ListenError> {
    let inherited = INHERITED.get_or_init(|| Mutex::new(handed_over()));
    let mut waiting = inherited.lock().unwrap_or_else(PoisonError::into_inner);
    let (taken, left): (Vec<_>, Vec<_>) = waiting.drain(..).partition(|(of, _)| of == name);
    *waiting = left;
    if taken.is_empty() {
        let mut there: Vec<String> = waiting.iter().map(|(name, _)| name.clone()).collect();
        there.dedup();
        return Err(ListenError::NotInherited { name: name.into(), there });
    }
    taken.into_iter().map(|(name, fd)| listener(fd, options).ok_or(ListenError::NoListener { name })).collect()
}

fn handed_over() -> Vec<(String, OwnedFd)> {
    // A broken environment hands nothing over, which is said to whoever asks for a name.
    let handed = sd_listen_fds::get().unwrap_or_default();
    let named = handed.into_iter().map(|(name, fd)| (name.unwrap_or_else(|| NAMELESS.into()), fd.into_std()));
    named.collect()
}

fn listener(fd: OwnedFd, options: &SocketOptions) -> Option<Listener> {
    let listens = socket_type(&fd) == Ok(SocketType::STREAM) && socket_acceptconn(&fd) == Ok(true);
    // They come blocking, and open for our children too.
    fcntl_setfd(&fd, FdFlags::CLOEXEC).ok()?;
    fcntl_setfl(&fd, fcntl_getfl(&fd).ok()? | OFlags::NONBLOCK).ok()?;
    options.apply(fd.as_fd());
    listens.then(|| Listener { fd, acceptor: Acceptor::own(None) }.held_elsewhere())
}
