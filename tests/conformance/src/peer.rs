//! The other end: blocking sockets with timeouts, and TLS on them where the driver speaks it.

use crate::session::{Session, Socket};
use crate::subject::Subject;
use crate::wire;
use drywire_server::Address;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, sockopt};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// What narrow sockets are asked to hold. Linux doubles it: that is below its
/// smallest send buffer, so that one is what comes, and a receive buffer of 4096
/// bytes. Still smaller ones make loopback wait for timers, four times a second.
const NARROW: usize = 2048;

/// A listener whose connections hold as little as they can: accepted sockets inherit
/// the sizes of their buffers.
///
/// # Errors
/// The port is taken.
pub fn narrow_listener(address: SocketAddr) -> io::Result<TcpListener> {
    let fd = tcp_socket(address)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    narrow(&fd)?;
    rustix::net::bind(&fd, &address)?;
    rustix::net::listen(&fd, 128)?;
    Ok(TcpListener::from(fd))
}

/// Connects, and never waits for ever afterwards. A handshake is made with the first bytes.
#[track_caller]
pub(crate) fn connect<S: Subject>(address: SocketAddr) -> Peer {
    let stream = TcpStream::connect_timeout(&address, S::PATIENCE).expect("the server listens");
    Peer::connected::<S>(patient(stream, S::PATIENCE))
}

/// Connects a socket that holds little.
#[track_caller]
pub(crate) fn connect_narrow<S: Subject>(address: SocketAddr) -> Peer {
    let fd = tcp_socket(address).expect("a socket");
    narrow(&fd).expect("a size");
    connect_socket::<S>(fd, address)
}

/// Connects a socket that holds the least the kernel allows; slow as that is.
#[track_caller]
pub(crate) fn connect_narrowest<S: Subject>(address: SocketAddr) -> Peer {
    let fd = tcp_socket(address).expect("a socket");
    sockopt::set_socket_recv_buffer_size(&fd, 1).expect("a size, raised to the smallest");
    sockopt::set_socket_send_buffer_size(&fd, 1).expect("a size, raised to the smallest");
    connect_socket::<S>(fd, address)
}

/// Connects from another address of this machine.
#[track_caller]
pub(crate) fn connect_from<S: Subject>(from: Ipv4Addr, address: SocketAddr) -> Peer {
    let fd = tcp_socket(address).expect("a socket");
    rustix::net::bind(&fd, &SocketAddr::from((from, 0))).expect("an address of this machine");
    connect_socket::<S>(fd, address)
}

/// A socket that is connected later, when there are no descriptors any more.
#[track_caller]
pub(crate) fn unconnected(address: SocketAddr) -> OwnedFd {
    tcp_socket(address).expect("a socket")
}

#[track_caller]
pub(crate) fn connect_socket<S: Subject>(fd: OwnedFd, address: SocketAddr) -> Peer {
    rustix::net::connect(&fd, &address).expect("the server listens");
    Peer::connected::<S>(patient(TcpStream::from(fd), S::PATIENCE))
}

/// Begins to connect, for as long as that may take; says from which address.
#[track_caller]
pub(crate) fn begin_to_connect(address: SocketAddr) -> (OwnedFd, SocketAddr) {
    let fd = tcp_socket(address).expect("a socket");
    rustix::io::ioctl_fionbio(&fd, true).expect("a socket");
    match rustix::net::connect(&fd, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => panic!("nobody said no: {error}"),
    }
    let from = rustix::net::getsockname(&fd).expect("connecting").try_into().expect("an address of the internet");
    (fd, from)
}

#[track_caller]
pub(crate) fn connect_unix<S: Subject>(path: &Path) -> Peer {
    let stream = UnixStream::connect(path).expect("the server listens");
    stream.set_read_timeout(Some(S::PATIENCE)).expect("not zero");
    stream.set_write_timeout(Some(S::PATIENCE)).expect("not zero");
    Peer::connected::<S>(stream).introduced()
}

fn tcp_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    Ok(rustix::net::socket_with(family, SocketType::STREAM, rustix::net::SocketFlags::CLOEXEC, None)?)
}

fn narrow(fd: impl AsFd) -> io::Result<()> {
    sockopt::set_socket_recv_buffer_size(&fd, NARROW)?;
    sockopt::set_socket_send_buffer_size(&fd, NARROW)?;
    Ok(())
}

/// The other end of a connection.
///
/// Dropped, it ends as its protocols want it: a peer that speaks TLS says goodbye.
pub(crate) struct Peer {
    socket: Arc<Stream>,
    tls: Option<Arc<Session>>,
}

pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Stream {
        Stream::Tcp(stream)
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Stream {
        Stream::Unix(stream)
    }
}

impl Socket for Stream {
    fn read(&self, slot: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).read(slot),
            Stream::Unix(stream) => (&*stream).read(slot),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write(bytes),
            Stream::Unix(stream) => (&*stream).write(bytes),
        }
    }
}

macro_rules! on_stream {
    ($peer:ident, $stream:ident => $call:expr) => {
        match &*$peer.socket {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
        }
    };
}

impl Peer {
    /// It has connected to the driver, and speaks what that speaks.
    pub(crate) fn connected<S: Subject>(stream: impl Into<Stream>) -> Peer {
        let tls = S::IS_TLS.then(|| Arc::new(Session::new(wire::peer_that_connects())));
        Peer { socket: Arc::new(stream.into()), tls }
    }

    /// The driver has connected to it.
    pub(crate) fn accepted<S: Subject>(stream: TcpStream) -> Peer {
        let tls = S::IS_TLS.then(|| Arc::new(Session::new(wire::peer_that_accepts())));
        Peer { socket: Arc::new(patient(stream, S::PATIENCE).into()), tls }
    }

    /// Makes its handshake now; if that fails, whatever is tried next says so.
    pub(crate) fn introduced(self) -> Peer {
        if let Some(tls) = &self.tls {
            let _ = tls.shake(&*self.socket);
        }
        self
    }

    /// The same, for another thread.
    pub(crate) fn second(&self) -> Peer {
        Peer { socket: self.socket.clone(), tls: self.tls.clone() }
    }

    /// Says all of it but the last byte of the wire.
    ///
    /// # Errors
    /// The connection has ended.
    pub(crate) fn say_all_but_a_byte(&self, bytes: &[u8]) -> io::Result<()> {
        match &self.tls {
            None => self.socket.write(&bytes[..bytes.len() - 1]).map(|_| ()),
            Some(tls) => tls.begin_record(&*self.socket, bytes),
        }
    }

    /// What comes on the wire until its clean end, whatever it says.
    pub(crate) fn read_wire_to_end(&self) -> io::Result<Vec<u8>> {
        let (mut all, mut slot) = (Vec::new(), [0; 4096]);
        loop {
            match self.socket.read(&mut slot)? {
                0 => return Ok(all),
                n => all.extend_from_slice(&slot[..n]),
            }
        }
    }

    /// Ends our direction, behind what was written. Nobody waits for that, as nobody does with a
    /// socket alone: of TLS there may be bytes that it does not take now.
    ///
    /// # Errors
    /// The connection has ended.
    pub(crate) fn end(&self) -> io::Result<()> {
        let end = Peer::end_transport;
        let Some(tls) = &self.tls else { return end(self) };
        tls.shake(&*self.socket)?;
        if tls.is_flushed() {
            tls.say_goodbye(&*self.socket)?;
            return end(self);
        }
        let second = self.second();
        thread::spawn(move || {
            // If it fails, the other side has ended it.
            let said = second.tls.as_ref().map(|tls| tls.say_goodbye(&*second.socket));
            said.map(|said| said.and_then(|()| end(&second)))
        });
        Ok(())
    }

    /// Sends a byte beside the stream, with a mark in the stream where it belongs; false where the
    /// system has no such thing for this socket.
    #[track_caller]
    pub(crate) fn send_urgent(&self) -> bool {
        match on_stream!(self, stream => rustix::net::send(stream, b"!", SendFlags::OOB)) {
            Ok(n) => n == 1,
            Err(Errno::OPNOTSUPP) => false,
            Err(error) => panic!("the urgent byte was to be taken: {error}"),
        }
    }

    /// Ends our direction of the socket alone, as one does that goes without a goodbye.
    pub(crate) fn end_transport(&self) -> io::Result<()> {
        on_stream!(self, stream => stream.shutdown(Shutdown::Write))
    }

    /// Writes to the socket itself, past TLS.
    pub(crate) fn write_raw(&self, bytes: &[u8]) -> io::Result<()> {
        on_stream!(self, stream => (&*stream).write_all(bytes))
    }

    /// Ends both, whoever works on it. Nothing is left to cut when the other side was first.
    pub(crate) fn cut(&self) {
        let _ = on_stream!(self, stream => stream.shutdown(Shutdown::Both));
    }

    /// Takes nothing any more.
    pub(crate) fn stop_reading(&self) {
        on_stream!(self, stream => stream.shutdown(Shutdown::Read)).expect("connected");
    }

    /// The close to come is a reset.
    pub(crate) fn will_reset(&mut self) {
        let Stream::Tcp(stream) = &*self.socket else { panic!("only TCP resets") };
        sockopt::set_socket_linger(stream, Some(Duration::ZERO)).expect("a TCP socket");
        self.tls = None;
    }

    /// Bytes of the wire that have come, one at most, which are left there.
    pub(crate) fn peek(&self) -> io::Result<usize> {
        let mut slot = [0; 1];
        let (_, n) = on_stream!(self, stream => rustix::net::recv(stream, &mut slot, RecvFlags::PEEK))?;
        Ok(n)
    }

    /// Takes bytes of the wire, whatever they say. Linux does not even copy them.
    pub(crate) fn throw_away(&self, slot: &mut [u8]) -> io::Result<usize> {
        let (_, n) = on_stream!(self, stream => rustix::net::recv(stream, slot, RecvFlags::TRUNC))?;
        Ok(n)
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) {
        on_stream!(self, stream => stream.set_nonblocking(nonblocking)).expect("a socket");
    }

    pub(crate) fn set_read_timeout(&self, timeout: Duration) {
        on_stream!(self, stream => stream.set_read_timeout(Some(timeout))).expect("not zero");
    }

    pub(crate) fn local_address(&self) -> Option<Address> {
        match &*self.socket {
            Stream::Tcp(stream) => stream.local_addr().ok().map(Address::Tcp),
            Stream::Unix(_) => None,
        }
    }

    #[track_caller]
    pub(crate) fn local_port(&self) -> u16 {
        let Some(Address::Tcp(address)) = self.local_address() else { panic!("only TCP has ports") };
        address.port()
    }
}

impl Read for &Peer {
    fn read(&mut self, slot: &mut [u8]) -> io::Result<usize> {
        match &self.tls {
            None => self.socket.read(slot),
            Some(tls) => tls.read(&*self.socket, slot),
        }
    }
}

impl Write for &Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.tls {
            None => self.socket.write(bytes),
            Some(tls) => tls.write(&*self.socket, bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Peer {
    fn read(&mut self, slot: &mut [u8]) -> io::Result<usize> {
        (&*self).read(slot)
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The last of them. Who does not listen any more is not waited for.
        if let (Some(tls), 1) = (&self.tls, Arc::strong_count(&self.socket)) {
            self.set_nonblocking(true);
            let _ = tls.say_goodbye(&*self.socket);
        }
    }
}

#[track_caller]
fn patient(stream: TcpStream, patience: Duration) -> TcpStream {
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_read_timeout(Some(patience)).expect("not zero");
    stream.set_write_timeout(Some(patience)).expect("not zero");
    stream
}

/// Writes all of it.
#[track_caller]
pub(crate) fn send(stream: &mut impl Write, bytes: &[u8]) {
    stream.write_all(bytes).unwrap_or_else(|error| panic!("{} bytes were to be taken: {error}", bytes.len()));
}

/// Writes on a thread of its own while this one reads. When the reading fails, the
/// writing is cut short.
pub(crate) fn while_writing<T>(
    stream: &mut Peer,
    write: impl FnOnce(&mut Peer) + Send,
    read: impl FnOnce(&mut Peer) -> T,
) -> T {
    let (mut writer, cut) = (stream.second(), CutOnPanic(stream.second()));
    thread::scope(|scope| {
        let writing = scope.spawn(move || write(&mut writer));
        let _cut = cut;
        let result = read(stream);
        if let Err(panic) = writing.join() {
            resume_unwind(panic);
        }
        result
    })
}

struct CutOnPanic(Peer);

impl Drop for CutOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.cut();
        }
    }
}

/// Writes all of it while the answer is read, ends our direction, and reads to a
/// clean end.
#[track_caller]
pub(crate) fn ask(mut stream: Peer, bytes: &[u8]) -> Vec<u8> {
    let write = |writer: &mut Peer| {
        send(writer, bytes);
        writer.end().expect("connected");
    };
    while_writing(&mut stream, write, read_end)
}

/// Reads exactly this many bytes.
#[track_caller]
pub(crate) fn read_n(stream: &mut impl Read, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    stream.read_exact(&mut bytes).unwrap_or_else(|error| panic!("{n} bytes were to come: {error}"));
    bytes
}

/// Reads up to and with a line feed, byte by byte: nothing behind it is taken.
#[track_caller]
pub(crate) fn read_line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        assert!(line.len() < 1000, "no line end in {line:?}");
        line.extend(read_n(stream, 1));
    }
    String::from_utf8(line).expect("text")
}

/// Reads to a clean end.
#[track_caller]
pub(crate) fn read_end(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let result = stream.read_to_end(&mut bytes);
    result.unwrap_or_else(|error| panic!("a clean end was to come after {} bytes: {error}", bytes.len()));
    bytes
}

/// Reads until a reset; says what came before it.
#[track_caller]
pub(crate) fn read_reset(stream: &mut impl Read) -> Vec<u8> {
    let (bytes, error) = read_rest(stream);
    match error {
        Some(error) if error.kind() == io::ErrorKind::ConnectionReset => bytes,
        Some(error) => panic!("not a reset after {} bytes: {error}", bytes.len()),
        None => panic!("a clean end after {} bytes, not a reset", bytes.len()),
    }
}

/// Reads whatever comes, and how it ends: `None` for a clean end.
pub(crate) fn read_rest(stream: &mut impl Read) -> (Vec<u8>, Option<io::Error>) {
    let mut bytes = Vec::new();
    let error = stream.read_to_end(&mut bytes).err();
    (bytes, error)
}

/// Reads until the end, whichever it is; false when nothing came for too long.
pub(crate) fn is_over(stream: &mut impl Read) -> bool {
    let timeout = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
    read_rest(stream).1.is_none_or(|error| !timeout.contains(&error.kind()))
}

/// Closes without a goodbye.
pub(crate) fn vanish(mut peer: Peer) {
    peer.tls = None;
}

/// Makes the coming close a reset, and closes.
pub(crate) fn reset(mut peer: Peer) {
    peer.will_reset();
}

/// Writes until the connection has ended, which `is_over` says too; nothing is read. Says whether a
/// write was told of the end.
#[track_caller]
pub(crate) fn flood_to_the_end(stream: &mut Peer, cap: u64, is_over: impl Fn() -> bool) -> bool {
    stream.set_nonblocking(true);
    let piece = [0; 16 * 1024];
    let mut sent = 0;
    while !is_over() {
        match stream.write(&piece) {
            Ok(n) => sent += n as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(1)),
            Err(_) => return true,
        }
        assert!(sent < cap, "{sent} bytes were taken from a peer that reads nothing");
    }
    stream.set_nonblocking(false);
    false
}

/// Writes what `fill` gives until nothing more was taken for half a second, `cap`
/// bytes at most; says how many bytes were.
#[track_caller]
pub(crate) fn flood(stream: &mut Peer, cap: u64, mut fill: impl FnMut(u64, &mut [u8])) -> u64 {
    stream.set_nonblocking(true);
    let mut piece = [0; 16 * 1024];
    let (mut sent, mut last) = (0, Instant::now());
    while sent < cap && last.elapsed() < Duration::from_millis(500) {
        fill(sent, &mut piece);
        match stream.write(&piece) {
            Ok(n) => {
                sent += n as u64;
                last = Instant::now();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("the connection was to live on after {sent} bytes: {error}"),
        }
    }
    stream.set_nonblocking(false);
    sent
}
