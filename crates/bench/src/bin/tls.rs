//! Server CPU for TLS, beside tokio-rustls doing the same work: handshakes, bytes echoed, and bytes
//! sent to a client that only reads.
//!
//! ```text
//! tls [runs=7] [handshakes=300] [mib=64]
//! ```
//!
//! Each server runs in a thread of its own, with the same certificate, the same engine and tickets for
//! resumption; the client is one and the same for all, and its sessions are not resumed. The CPU
//! time is the server thread's, user and system. Servers take turns within a run, and the figure is
//! the median of the ratios of the runs: above 1, drywire takes less than tokio-rustls. Behind it stand
//! the medians of both in absolute numbers, which say more of the machine.
//!
//! What is sent is one piece again and again that neither server copies: both hand it to the engine
//! where it lies, which makes four full records of it.

use ::tokio_rustls::server::TlsStream;
use bytes::Bytes;
use drywire_core::{Connection, Context, Limits, Protocol, Stop};
use drywire_protocols::ByteEcho;
use drywire_server::{Address, Application, Config, Id, Net, Worker};
use drywire_tls::{Identity, Server, Tls};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use std::convert::Infallible;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// One read or write of client and servers, in bytes.
const PIECE: usize = 64 * 1024;

/// What is sent.
static FILL: [u8; PIECE] = [7; PIECE];

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "tls: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    let (mut runs, mut handshakes, mut mib) = (7_usize, 300_usize, 64_usize);
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("runs", n)) => runs = n.parse()?,
            Some(("handshakes", n)) => handshakes = n.parse()?,
            Some(("mib", n)) => mib = n.parse()?,
            _ => return Err("usage: tls [runs=7] [handshakes=300] [mib=64]".into()),
        }
    }
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let client = client(&cert)?;
    let start = |run| Subject::start(&cert, &key, run);
    let echoes = Subjects {
        reference: start(tokio_rustls_echo)?,
        ours: [("tokio", start(on_tokio::<ByteEcho>)?), ("mio", start(on_mio::<ByteEcho>)?)],
    };
    let senders = Subjects {
        reference: start(tokio_rustls_bulk)?,
        ours: [("tokio", start(on_tokio::<Bulk>)?), ("mio", start(on_mio::<Bulk>)?)],
    };
    echoes.compare("handshakes", Work::Handshakes(handshakes), runs, &client)?;
    echoes.compare("echo", Work::Echo(mib << 20), runs, &client)?;
    senders.compare("bulk", Work::Bulk(mib << 20), runs, &client)
}

/// Servers that do the same.
struct Subjects {
    reference: Subject,
    ours: [(&'static str, Subject); 2],
}

impl Subjects {
    fn compare(&self, what: &str, work: Work, runs: usize, client: &Arc<ClientConfig>) -> Result<()> {
        // Once for nothing, so that caches are warm.
        self.reference.cost(client, work)?;
        let mut theirs = Vec::new();
        let mut ours = [const { Vec::new() }; 2];
        for _ in 0..runs {
            theirs.push(self.reference.cost(client, work)?);
            for ((_, subject), ours) in self.ours.iter().zip(&mut ours) {
                ours.push(subject.cost(client, work)?);
            }
        }
        for ((name, _), ours) in self.ours.iter().zip(&ours) {
            let mut ratios: Vec<f64> = theirs.iter().zip(ours).map(|(theirs, ours)| theirs / ours).collect();
            ratios.sort_by(f64::total_cmp);
            let (low, middle, high) = (ratios[0], ratios[runs / 2], ratios[runs - 1]);
            let (unit, ours, theirs) = (work.unit(), median(ours), median(&theirs));
            writeln!(
                io::stdout(),
                "{what:<10} drywire on {name:<5} {middle:.3} of tokio-rustls per CPU second ({low:.3} to {high:.3}): \
                 {ours:.3} and {theirs:.3} {unit}"
            )?;
        }
        Ok(())
    }
}

fn median(of: &[f64]) -> f64 {
    let mut of = of.to_vec();
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

#[derive(Clone, Copy)]
enum Work {
    Handshakes(usize),
    Echo(usize),
    /// Bytes that the server sends; the client asks for them.
    Bulk(usize),
}

impl Work {
    /// CPU time of a server for one of what there is to do, in its unit.
    fn cost(self, used: Duration) -> f64 {
        let (Work::Handshakes(n) | Work::Echo(n) | Work::Bulk(n)) = self;
        let seconds = used.as_secs_f64() / n as f64;
        match self {
            Work::Handshakes(_) => seconds * 1e6,
            Work::Echo(_) | Work::Bulk(_) => seconds * 1e9,
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Work::Handshakes(_) => "µs a handshake",
            Work::Echo(_) | Work::Bulk(_) => "ns a byte",
        }
    }
}

/// A server on a thread of its own.
struct Subject {
    address: SocketAddr,
    /// Asks what it has used so far.
    ask: Sender<()>,
    answer: Receiver<Duration>,
}

/// What runs a server: certificate and key, and whom to tell the address. Never returns.
type Run = fn(&str, &str, &dyn Fn(SocketAddr)) -> Result<Infallible>;

impl Subject {
    fn start(cert: &str, key: &str, run: Run) -> Result<Subject> {
        let (tell, told) = channel();
        let (cert, key) = (cert.to_owned(), key.to_owned());
        let thread = thread::Builder::new().name("server".into());
        let (clock_told, clock) = channel();
        thread.spawn(move || {
            let _ = clock_told.send(rustix::thread::gettid());
            let Err(error) = run(&cert, &key, &|address| _ = tell.send(address));
            let _ = writeln!(io::stderr(), "tls: {error}");
        })?;
        let (address, tid) = (told.recv()?, clock.recv()?);
        let (ask, asked) = channel();
        let (answers, answer) = channel();
        thread::spawn(move || {
            while asked.recv().is_ok() {
                let used = std::fs::read_to_string(format!("/proc/self/task/{}/schedstat", tid.as_raw_nonzero()));
                let nanos = used.ok().and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0);
                let _ = answers.send(Duration::from_nanos(nanos));
            }
        });
        Ok(Subject { address, ask, answer })
    }

    fn used(&self) -> Result<Duration> {
        self.ask.send(())?;
        Ok(self.answer.recv()?)
    }

    /// What the server takes for this work, by [`Work::cost`].
    fn cost(&self, client: &Arc<ClientConfig>, work: Work) -> Result<f64> {
        let before = self.used()?;
        match work {
            Work::Handshakes(n) => {
                for _ in 0..n {
                    let mut peer = connect(self.address, client)?;
                    peer.write_all(b"!")?;
                    peer.read_exact(&mut [0])?;
                    peer.conn.send_close_notify();
                    peer.flush()?;
                }
            }
            Work::Echo(bytes) => {
                let mut peer = connect(self.address, client)?;
                let (piece, mut heard) = (vec![7; PIECE], vec![0; PIECE]);
                for _ in 0..bytes / PIECE {
                    peer.write_all(&piece)?;
                    peer.read_exact(&mut heard)?;
                }
                peer.conn.send_close_notify();
                peer.flush()?;
            }
            Work::Bulk(bytes) => {
                let mut peer = connect(self.address, client)?;
                let mut heard = vec![0; PIECE];
                peer.write_all(&(bytes as u64).to_be_bytes())?;
                for _ in 0..bytes / PIECE {
                    peer.read_exact(&mut heard)?;
                }
                peer.conn.send_close_notify();
                peer.flush()?;
            }
        }
        // Until the last connection is through.
        thread::sleep(Duration::from_millis(20));
        Ok(work.cost(self.used()? - before))
    }
}

fn client(cert: &str) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(cert.as_bytes())?)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn connect(address: SocketAddr, client: &Arc<ClientConfig>) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(StreamOwned::new(ClientConnection::new(client.clone(), ServerName::try_from("localhost")?)?, stream))
}

fn tokio_rustls_echo(cert: &str, key: &str, tell: &dyn Fn(SocketAddr)) -> Result<Infallible> {
    tokio_rustls(cert, key, tell, async |stream| {
        let mut slot = vec![0; PIECE];
        loop {
            let n = stream.read(&mut slot).await?;
            if n == 0 {
                return stream.shutdown().await;
            }
            stream.write_all(&slot[..n]).await?;
            stream.flush().await?;
        }
    })
}

fn tokio_rustls_bulk(cert: &str, key: &str, tell: &dyn Fn(SocketAddr)) -> Result<Infallible> {
    tokio_rustls(cert, key, tell, async |stream| {
        let mut left = stream.read_u64().await?;
        while left > 0 {
            let n = left.min(PIECE as u64);
            stream.write_all(&FILL[..n as usize]).await?;
            left -= n;
        }
        stream.flush().await?;
        // The client's end.
        stream.read_to_end(&mut Vec::new()).await?;
        stream.shutdown().await
    })
}

fn tokio_rustls(
    cert: &str,
    key: &str,
    tell: &dyn Fn(SocketAddr),
    serve: impl AsyncFn(&mut TlsStream<tokio::net::TcpStream>) -> io::Result<()> + Copy + 'static,
) -> Result<Infallible> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(cert.as_bytes())?],
            PrivateKeyDer::from_pem_slice(key.as_bytes())?,
        )?;
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    let acceptor = ::tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        tell(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let acceptor = acceptor.clone();
            tokio::task::spawn_local(async move { serve(&mut acceptor.accept(stream).await?).await });
        }
    })
}

/// Sends as many bytes as the client asks for, eight bytes of length.
#[derive(Default)]
struct Bulk {
    left: u64,
}

impl Bulk {
    fn send(&mut self, cx: &mut Context<'_, Bulk>) -> Result<(), Stop<Infallible>> {
        while self.left > 0 && cx.available() >= PIECE {
            let n = self.left.min(PIECE as u64);
            cx.write_shared(Bytes::from_static(&FILL[..n as usize]))?;
            self.left -= n;
        }
        if self.left > 0 {
            cx.request_room(Some(PIECE));
        }
        Ok(())
    }
}

impl Protocol for Bulk {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;

    const LIMITS: Limits = Limits { output_bytes: PIECE as u32, ..Limits::DEFAULT };

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Bulk>) -> Result<usize, Stop<Infallible>> {
        let Some(asked) = input.first_chunk() else { return Ok(0) };
        self.left = u64::from_be_bytes(*asked);
        self.send(cx)?;
        Ok(asked.len())
    }

    fn room(&mut self, cx: &mut Context<'_, Bulk>) -> Result<(), Stop<Infallible>> {
        self.send(cx)
    }
}

/// A protocol over TLS.
struct Over<P> {
    tls: Server,
    protocol: fn() -> P,
}

impl<P: Protocol, N: Net> Application<N, P, Tls> for Over<P> {
    fn accept(&mut self, _: &mut Worker<P, Tls, N>, _: Id, _: &Address) -> Option<Connection<P, Tls>> {
        // As much at a time as the others have room for.
        let limits = Limits { input_bytes: PIECE as u32, output_bytes: PIECE as u32, ..P::LIMITS };
        Some(Connection::with_layer((self.protocol)(), self.tls.accept().ok()?).with_limits(limits))
    }
}

fn over<P: Default>(cert: &str, key: &str) -> Result<Over<P>> {
    Ok(Over { tls: Server::new(Identity::from_pem(cert.as_bytes(), key.as_bytes())?)?, protocol: P::default })
}

fn on_tokio<P>(cert: &str, key: &str, tell: &dyn Fn(SocketAddr)) -> Result<Infallible>
where
    P: Protocol<Error: fmt::Display> + Default,
{
    let mut over = over::<P>(cert, key)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut driver: drywire_driver_tokio::Driver<P, Tls> = drywire_driver_tokio::Driver::new(Config::default())?;
        let listener = driver.listen(&"127.0.0.1:0".parse()?)?;
        tell(driver.local_address(listener).ok_or("it listens")?.to_string().parse()?);
        driver.run(&mut over).await?;
        Err("it has ended".into())
    })
}

fn on_mio<P>(cert: &str, key: &str, tell: &dyn Fn(SocketAddr)) -> Result<Infallible>
where
    P: Protocol<Error: fmt::Display> + Default,
{
    let mut over = over::<P>(cert, key)?;
    let mut driver: drywire_driver_mio::Driver<P, Tls> = drywire_driver_mio::Driver::new(Config::default())?;
    let listener = driver.listen(&"127.0.0.1:0".parse()?)?;
    tell(driver.local_address(listener).ok_or("it listens")?.to_string().parse()?);
    driver.run(&mut over)?;
    Err("it has ended".into())
}
