//! The other end: plain blocking sockets with timeouts.

use rustix::net::{AddressFamily, SocketType, sockopt};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::resume_unwind;
use std::path::Path;
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

/// Connects, and never waits for ever afterwards.
#[track_caller]
pub(crate) fn connect(address: SocketAddr, patience: Duration) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, patience).expect("the server listens");
    patient(stream, patience)
}

/// Connects a socket that holds little.
#[track_caller]
pub(crate) fn connect_narrow(address: SocketAddr, patience: Duration) -> TcpStream {
    let fd = tcp_socket(address).expect("a socket");
    narrow(&fd).expect("a size");
    connect_socket(fd, address, patience)
}

/// Connects a socket that holds the least the kernel allows; slow as that is.
#[track_caller]
pub(crate) fn connect_narrowest(address: SocketAddr, patience: Duration) -> TcpStream {
    let fd = tcp_socket(address).expect("a socket");
    sockopt::set_socket_recv_buffer_size(&fd, 1).expect("a size, raised to the smallest");
    sockopt::set_socket_send_buffer_size(&fd, 1).expect("a size, raised to the smallest");
    connect_socket(fd, address, patience)
}

/// Connects from another address of this machine.
#[track_caller]
pub(crate) fn connect_from(from: Ipv4Addr, address: SocketAddr, patience: Duration) -> TcpStream {
    let fd = tcp_socket(address).expect("a socket");
    rustix::net::bind(&fd, &SocketAddr::from((from, 0))).expect("an address of this machine");
    connect_socket(fd, address, patience)
}

/// A socket that is connected later, when there are no descriptors any more.
#[track_caller]
pub(crate) fn unconnected(address: SocketAddr) -> OwnedFd {
    tcp_socket(address).expect("a socket")
}

#[track_caller]
pub(crate) fn connect_socket(fd: OwnedFd, address: SocketAddr, patience: Duration) -> TcpStream {
    rustix::net::connect(&fd, &address).expect("the server listens");
    patient(TcpStream::from(fd), patience)
}

/// Begins to connect, for as long as that may take; says from which address.
#[track_caller]
pub(crate) fn begin_to_connect(address: SocketAddr) -> (OwnedFd, SocketAddr) {
    let fd = tcp_socket(address).expect("a socket");
    rustix::io::ioctl_fionbio(&fd, true).expect("a socket");
    match rustix::net::connect(&fd, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(error) => panic!("nobody said no: {error}"),
    }
    let from = rustix::net::getsockname(&fd).expect("connecting").try_into().expect("an address of the internet");
    (fd, from)
}

#[track_caller]
pub(crate) fn connect_unix(path: &Path, patience: Duration) -> UnixStream {
    let stream = UnixStream::connect(path).expect("the server listens");
    stream.set_read_timeout(Some(patience)).expect("not zero");
    stream.set_write_timeout(Some(patience)).expect("not zero");
    stream
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

#[track_caller]
fn patient(stream: TcpStream, patience: Duration) -> TcpStream {
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_read_timeout(Some(patience)).expect("not zero");
    stream.set_write_timeout(Some(patience)).expect("not zero");
    stream
}

/// A stream with two directions, TCP or Unix.
pub(crate) trait Duplex: Read + Write + Send + Sized {
    /// The same stream, for another thread.
    fn second(&self) -> Self;
    /// Ends our direction.
    fn end(&self);
    /// Ends both, whoever works on it.
    fn cut(&self);
}

macro_rules! duplex {
    ($stream:ty) => {
        impl Duplex for $stream {
            fn second(&self) -> $stream {
                self.try_clone().expect("a descriptor")
            }

            fn end(&self) {
                self.shutdown(Shutdown::Write).expect("connected");
            }

            fn cut(&self) {
                // Nothing is left to cut when the peer was first.
                let _ = self.shutdown(Shutdown::Both);
            }
        }
    };
}
duplex!(TcpStream);
duplex!(UnixStream);

/// Writes all of it.
#[track_caller]
pub(crate) fn send(stream: &mut impl Write, bytes: &[u8]) {
    stream.write_all(bytes).unwrap_or_else(|error| panic!("{} bytes were to be taken: {error}", bytes.len()));
}

/// Writes on a thread of its own while this one reads. When the reading fails, the
/// writing is cut short.
pub(crate) fn while_writing<D: Duplex, T>(
    stream: &mut D,
    write: impl FnOnce(&mut D) + Send,
    read: impl FnOnce(&mut D) -> T,
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

struct CutOnPanic<D: Duplex>(D);

impl<D: Duplex> Drop for CutOnPanic<D> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.cut();
        }
    }
}

/// Writes all of it while the answer is read, ends our direction, and reads to a
/// clean end.
#[track_caller]
pub(crate) fn ask<D: Duplex>(mut stream: D, bytes: &[u8]) -> Vec<u8> {
    let write = |writer: &mut D| {
        send(writer, bytes);
        writer.end();
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

/// Makes the coming close a reset, and closes.
pub(crate) fn reset(stream: TcpStream) {
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("a TCP socket");
    drop(stream);
}

/// Writes what `fill` gives until nothing more was taken for half a second, `cap`
/// bytes at most; says how many bytes were.
#[track_caller]
pub(crate) fn flood(stream: &mut TcpStream, cap: u64, mut fill: impl FnMut(u64, &mut [u8])) -> u64 {
    stream.set_nonblocking(true).expect("a TCP socket");
    let mut piece = [0; 16 * 1024];
    let (mut sent, mut last) = (0, Instant::now());
    while sent < cap && last.elapsed() < Duration::from_millis(500) {
        fill(sent, &mut piece);
        match stream.write(&piece) {
            Ok(n) => {
                sent += n as u64;
                last = Instant::now();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(5)),
            Err(error) => panic!("the connection was to live on after {sent} bytes: {error}"),
        }
    }
    stream.set_nonblocking(false).expect("a TCP socket");
    sent
}
