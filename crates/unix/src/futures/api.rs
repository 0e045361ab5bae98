//! What a driver's crate offers, the same for every runtime.

/// Makes the public part of a driver's crate from its [`Reactor`](crate::futures::Reactor):
/// the types `Stream`, `Net`, `Worker`, `Driver` and `Server`, the functions `serve`, `connect`
/// and `drive`, and the names of drywire-server that go with them. `Stream` is to be the reactor's
/// [`Open`](crate::futures::Reactor::Open); conversions from the runtime's own streams
/// are the crate's to add.
#[macro_export]
macro_rules! driver_on {
    ($reactor:ty) => {
        pub use $crate::futures::api::{
            Accept, Address, AddressError, Application, Commons, Config, ConfigError, ConfigErrors, ConnectError, Cut,
            DrainReport, Dropped, Ended, Group, Handle, Id, Inspection, Interest, Listen, ListenError, Notice, OnPanic,
            Outcome, ParseAddressError, ParseListenError, PortReuse, Quiet, Receipt, Refusal, SendError, Sent,
            ServerHandle, Slow, SourceEvent, Standing, StartError, Stats, SystemCalls, Target, Timeouts, TlsFiles,
            WorkerGuard, WorkerInspection, Workers, least_memory_bytes,
        };

        /// Sockets, descriptors and files on this runtime: what an application for this
        /// driver alone is written for.
        pub type Net = $crate::futures::Sockets<$reactor>;

        /// What callbacks get: connections, listeners and descriptors.
        pub type Worker<P, L = ()> = $crate::futures::api::Worker<P, L, Net>;

        /// Runs connections of one protocol in one task.
        pub type Driver<P, L = ()> = $crate::futures::Driver<P, L, $reactor>;

        /// Runs several workers, a task each.
        pub type Server<P, L = ()> = $crate::futures::Server<P, L, $reactor>;

        /// One worker of a [`Server`], to run in a task of its own.
        pub type ServerWorker<P, L = ()> = $crate::futures::ServerWorker<P, L, $reactor>;

        /// Listens on `address` and serves whoever connects, until the worker is shut down.
        ///
        /// For a free port, a handle to shut it down, or more than one listener, make a
        /// [`Driver`].
        ///
        /// # Errors
        /// The address cannot be listened on, as [`Driver::new`], or as [`Driver::wait`].
        pub async fn serve<P, L, A>(
            address: &Address,
            config: Config,
            application: &mut A,
        ) -> $crate::futures::api::io::Result<()>
        where
            P: $crate::futures::api::Protocol<Error: $crate::futures::api::fmt::Display>,
            L: $crate::futures::api::layer::Layer,
            A: Application<Net, P, L>,
        {
            $crate::futures::serve::<P, L, $reactor, A>(address, config, application).await
        }

        /// Connects to an address, or to a name and a port ([`Target`]), and runs the
        /// connection to its end. That end is what is returned; the application's `closed` is
        /// not called for it, unless the future is dropped before, or ends with an error.
        ///
        /// # Errors
        /// As [`serve`]. That nobody answers, or that there is no such name, is not an error
        /// here but the reason in the report; [`Notice::ConnectFailed`] has the words.
        pub async fn connect<P, L, A>(
            to: impl Into<Target>,
            connection: $crate::futures::api::Connection<P, L>,
            config: Config,
            application: &mut A,
        ) -> $crate::futures::api::io::Result<$crate::futures::api::CloseReport<P::Error>>
        where
            P: $crate::futures::api::Protocol<Error: $crate::futures::api::fmt::Display>,
            L: $crate::futures::api::layer::Layer,
            A: Application<Net, P, L>,
        {
            $crate::futures::connect::<P, L, $reactor, A>(to, connection, config, application).await
        }

        /// Runs one connection on a stream that is open already, to its end, which is what
        /// is returned, as in [`connect`]. Who opened the stream makes no difference.
        ///
        /// Each call has a worker of its own, 20 KB once it has read (measured on tokio).
        /// For many connections one [`Driver`] and its [`add`]($crate::futures::api::Worker::add)
        /// cost less than a twentieth of that.
        ///
        /// # Errors
        /// The poller's, or as [`serve`].
        pub async fn drive<P, L, A>(
            stream: impl Into<Stream>,
            connection: $crate::futures::api::Connection<P, L>,
            config: Config,
            application: &mut A,
        ) -> $crate::futures::api::io::Result<$crate::futures::api::CloseReport<P::Error>>
        where
            P: $crate::futures::api::Protocol<Error: $crate::futures::api::fmt::Display>,
            L: $crate::futures::api::layer::Layer,
            A: Application<Net, P, L>,
        {
            $crate::futures::drive::<P, L, $reactor, A>(stream, connection, config, application).await
        }

        /// A byte stream that the driver can serve, whoever opened it.
        #[derive(Debug)]
        pub struct Stream($crate::futures::api::OwnedFd);

        /// A non-blocking stream socket.
        impl From<$crate::futures::api::OwnedFd> for Stream {
            fn from(fd: $crate::futures::api::OwnedFd) -> Stream {
                Stream(fd)
            }
        }

        impl From<Stream> for $crate::futures::api::OwnedFd {
            fn from(stream: Stream) -> $crate::futures::api::OwnedFd {
                stream.0
            }
        }

        /// The stream is made non-blocking.
        impl From<$crate::futures::api::std_net::TcpStream> for Stream {
            fn from(stream: $crate::futures::api::std_net::TcpStream) -> Stream {
                // A descriptor that cannot be made non-blocking is no open socket; its
                // first use says so.
                let _ = stream.set_nonblocking(true);
                Stream(stream.into())
            }
        }

        /// The stream is made non-blocking.
        impl From<$crate::futures::api::std_unix::UnixStream> for Stream {
            fn from(stream: $crate::futures::api::std_unix::UnixStream) -> Stream {
                let _ = stream.set_nonblocking(true);
                Stream(stream.into())
            }
        }
    };
}

pub use crate::{ListenError, StartError};
pub use drywire_core::{CloseReport, Connection, Protocol, layer};
pub use drywire_server::{
    Accept, Address, AddressError, Application, Commons, Config, ConfigError, ConfigErrors, ConnectError, Cut,
    DrainReport, Dropped, Ended, Group, Handle, Id, Inspection, Interest, Listen, Notice, OnPanic, Outcome,
    ParseAddressError, ParseListenError, PortReuse, Quiet, Receipt, Refusal, SendError, Sent, ServerHandle, Slow,
    SourceEvent, Standing, Stats, SystemCalls, Target, Timeouts, TlsFiles, Worker, WorkerGuard, WorkerInspection,
    Workers, least_memory_bytes,
};
pub use std::os::fd::OwnedFd;
pub use std::os::unix::net as std_unix;
pub use std::{fmt, io, net as std_net};
