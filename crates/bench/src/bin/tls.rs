//! Server CPU for TLS, beside tokio-rustls doing the same work: handshakes, and bytes echoed.
//!
//! ```text
//! tls [runs=7] [handshakes=300] [mib=64]
//! ```
//!
//! Each server runs in a thread of its own, with the same certificate, the same engine and tickets for
//! resumption; the client is one and the same for all, and its sessions are not resumed. The CPU
//! time is the server thread's, user and system. Servers take turns within a run, and the figure is
//! the median of the ratios of the runs: above 1, drywire takes less than tokio-rustls.

use drywire_core::Connection;
use drywire_protocols::ByteEcho;
use drywire_server::{Address, Application, Config, Id, Net, Worker};
use drywire_tls::{Identity, Server, Tls};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// One read or write of client and servers, in bytes.
const PIECE: usize = 64 * 1024;

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
    let reference = Subject::start(&cert, &key, tokio_rustls)?;
    let subjects = [("tokio", Subject::start(&cert, &key, on_tokio)?), ("mio", Subject::start(&cert, &key, on_mio)?)];
    let mut out = io::stdout();
    for (what, work) in [("handshakes", Work::Handshakes(handshakes)), ("echo", Work::Echo(mib << 20))] {
        // Once for nothing, so that caches are warm.
        reference.cost(&client, work)?;
        let mut ratios = [const { Vec::new() }; 2];
        for _ in 0..runs {
            let base = reference.cost(&client, work)?;
            for ((_, subject), ratios) in subjects.iter().zip(&mut ratios) {
                ratios.push(base.as_secs_f64() / subject.cost(&client, work)?.as_secs_f64());
            }
        }
        for ((name, _), ratios) in subjects.iter().zip(&mut ratios) {
            ratios.sort_by(f64::total_cmp);
            let (low, middle, high) = (ratios[0], ratios[runs / 2], ratios[runs - 1]);
            writeln!(
                out,
                "{what:<10} drywire on {name:<5} {middle:.3} of tokio-rustls per CPU second ({low:.3} to {high:.3})"
            )?;
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Work {
    Handshakes(usize),
    Echo(usize),
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

    /// What the server takes for this work.
    fn cost(&self, client: &Arc<ClientConfig>, work: Work) -> Result<Duration> {
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
        }
        // Until the last connection is through.
        thread::sleep(Duration::from_millis(20));
        Ok(self.used()? - before)
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

fn tokio_rustls(cert: &str, key: &str, tell: &dyn Fn(SocketAddr)) -> Result<Infallible> {
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
            tokio::task::spawn_local(async move {
                let mut stream = acceptor.accept(stream).await?;
                let mut slot = vec![0; PIECE];
                loop {
                    let n = stream.read(&mut slot).await?;
                    if n == 0 {
                        return stream.shutdown().await;
                    }
                    stream.write_all(&slot[..n]).await?;
                    stream.flush().await?;
                }
            });
        }
    })
}

/// Every byte comes back, over TLS.
struct Echo(Server);

impl<N: Net> Application<N, ByteEcho, Tls> for Echo {
    fn accept(&mut self, _: &mut Worker<ByteEcho, Tls, N>, _: Id, _: &Address) -> Option<Connection<ByteEcho, Tls>> {
        Some(Connection::with_layer(ByteEcho, self.0.accept().ok()?))
    }
}

fn echo(cert: &str, key: &str) -> Result<Echo> {
    Ok(Echo(Server::new(Identity::from_pem(cert.as_bytes(), key.as_bytes())?)?))
}

fn on_tokio(cert: &str, key: &str, tell: &dyn Fn(SocketAddr)) -> Result<Infallible> {
    let mut echo = echo(cert, key)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut driver: drywire_driver_tokio::Driver<ByteEcho, Tls> =
            drywire_driver_tokio::Driver::new(Config::default())?;
        let listener = driver.listen(&"127.0.0.1:0".parse()?)?;
        tell(driver.local_address(listener).ok_or("it listens")?.to_string().parse()?);
        driver.run(&mut echo).await;
        Err("it has ended".into())
    })
}

fn on_mio(cert: &str, key: &str, tell: &dyn Fn(SocketAddr)) -> Result<Infallible> {
    let mut echo = echo(cert, key)?;
    let mut driver: drywire_driver_mio::Driver<ByteEcho, Tls> = drywire_driver_mio::Driver::new(Config::default())?;
    let listener = driver.listen(&"127.0.0.1:0".parse()?)?;
    tell(driver.local_address(listener).ok_or("it listens")?.to_string().parse()?);
    driver.run(&mut echo)?;
    Err("it has ended".into())
}
