//! A listening socket for each worker of a server.

use super::{Listener, Port, SocketOptions, inherited, local_address};
use drywire_server::escape::printable;
use drywire_server::{Address, AddressError, Config, Listen, PortReuse};
use rustix::io::Errno;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use thiserror::Error;

/// Somewhere to listen that there is not, and the way out (row E10).
#[derive(Debug, Error)]
pub enum ListenError {
    /// An address the system does not give us.
    #[error("{0}")]
    Address(#[from] AddressError),
    /// Workers cannot each have a socket there, and `PortReuse::On` says they must.
    #[error("the workers cannot each listen on {place} by themselves; turn port-reuse to auto")]
    NoReuse {
        /// Where.
        place: Listen,
    },
    /// Nobody has opened a socket of this name for us.
    #[error("no socket with the name {} was handed over; {}", printable(name), handed_over(there))]
    NotInherited {
        /// The name that was asked for.
        name: String,
        /// Those that were, and are not in use yet.
        there: Vec<String>,
    },
    /// What was handed over cannot be accepted on.
    #[error(
        "what was handed over as {} is no listening stream socket; set ListenStream= and Accept=no there",
        printable(name)
    )]
    NoListener {
        /// Its name.
        name: String,
    },
    /// The system has no more of something.
    #[error("cannot share {place} out: {source}")]
    System {
        /// Where.
        place: Listen,
        /// What it said.
        source: io::Error,
    },
}

fn handed_over(names: &[String]) -> String {
    match names {
        [] => "none was at all, so start this from a systemd socket unit, or listen on an address".into(),
        names => format!("there are {}; FileDescriptorName= gives a name", names.join(", ")),
    }
}

impl Listener {
    /// Listens where `config` says, once for each of its workers: for each worker its listeners, in the
    /// order of [`Config::listen`]. All have the same port where port 0 was asked for.
    ///
    /// # Errors
    /// The first that fails; those before it are closed again.
    pub fn for_workers(config: &Config) -> Result<Vec<Vec<Listener>>, ListenError> {
        let mut workers: Vec<Vec<Listener>> = (0..config.workers.max(1)).map(|_| Vec::new()).collect();
        for place in &config.listen {
            for listeners in open(place, config)? {
                for (worker, listener) in workers.iter_mut().zip(listeners) {
                    worker.push(listener);
                }
            }
        }
        Ok(workers)
    }
}

/// The sockets at one place, and for each of them a listener for each worker.
fn open(place: &Listen, config: &Config) -> Result<Vec<Vec<Listener>>, ListenError> {
    let options = SocketOptions::of(config);
    let shared = |listener| share(listener, place, config);
    match place {
        Listen::Tcp(address) => {
            let failed = |source| AddressError::listening(Address::Tcp(*address), source);
            if config.workers > 1 && config.port_reuse != PortReuse::Off {
                match reuse(address, config.workers, &options) {
                    Ok(listeners) => return Ok(vec![listeners]),
                    // It has no such thing as reusing a port.
                    Err(error)
                        if [Some(Errno::NOPROTOOPT), Some(Errno::OPNOTSUPP)]
                            .contains(&Errno::from_io_error(&error)) => {}
                    Err(error) => return Err(failed(error).into()),
                }
            }
            Ok(vec![shared(Listener::tcp(address, Port::Alone, &options).map_err(failed)?)?])
        }
        Listen::Unix { path, mode } => {
            let failed = |source| AddressError::listening(Address::Unix(Some(path.clone())), source);
            Ok(vec![shared(Listener::unix(path, *mode, &options).map_err(failed)?)?])
        }
        Listen::Systemd(name) => inherited::take(name, &options)?.into_iter().map(shared).collect(),
    }
}

/// Each of them with the same port, and connections of its own.
fn reuse(address: &SocketAddr, workers: usize, options: &SocketOptions) -> io::Result<Vec<Listener>> {
    let first = Listener::tcp(address, Port::First, options)?;
    let Some(Address::Tcp(address)) = local_address(first.fd.as_fd()) else {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    };
    let mut listeners = vec![first];
    for _ in 1..workers {
        listeners.push(Listener::tcp(&address, Port::Again, options)?);
    }
    Ok(listeners)
}

/// One socket for all: the first worker deals out.
fn share(listener: Listener, place: &Listen, config: &Config) -> Result<Vec<Listener>, ListenError> {
    if config.workers <= 1 {
        return Ok(vec![listener]);
    }
    if config.port_reuse == PortReuse::On {
        return Err(ListenError::NoReuse { place: place.clone() });
    }
    let Listener { fd, acceptor } = listener;
    let dealt = acceptor.dealing(fd.as_fd(), config.workers - 1);
    let (acceptor, others) = dealt.map_err(|source| ListenError::System { place: place.clone(), source })?;
    let others = others.into_iter().map(|(fd, acceptor)| Listener { fd, acceptor });
    Ok([Listener { fd, acceptor }].into_iter().chain(others).collect())
}
