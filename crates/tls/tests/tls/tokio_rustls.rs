//! tokio-rustls at the other end of real sockets: what others use understands us, and we them
//! (W8; FAULTS 75).

use crate::support::{Authority, pattern};
use ::tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use drywire_core::{CloseReport, Connection, Reason};
use drywire_driver_tokio::{Address, Application, Config, Driver, Id, Net, Quiet, ServerHandle, Worker, connect};
use drywire_protocols::ByteEcho;
use drywire_tls::{CUT, CertificateDer, Client, ProtocolVersion, RootCertStore, Server, Tls, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use std::convert::Infallible;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// A stream of theirs, either side.
type Theirs = TlsStream<TcpStream>;

const MEGABYTE: usize = 1_000_000;

/// Nothing here takes a second.
const LONGEST: Duration = Duration::from_secs(60);

/// Both that rustls speaks.
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// One of ours, which echoes until its end, and one of theirs, which does what a test says. What came
/// of both.
struct Met<T> {
    ours: Reason<Infallible>,
    theirs: T,
}

/// Lets one in and echoes until that has ended.
struct Echo {
    tls: Server,
    ended: Option<Reason<Infallible>>,
}

impl Application<Net, ByteEcho, Tls> for Echo {
    fn accept(&mut self, _: &mut Worker<ByteEcho, Tls>, _: Id, _: &Address) -> Option<Connection<ByteEcho, Tls>> {
        Some(Connection::with_layer(ByteEcho, self.tls.accept().unwrap()))
    }

    fn closed(&mut self, worker: &mut Worker<ByteEcho, Tls>, _: Id, report: CloseReport<Infallible>) {
        self.ended = Some(report.reason);
        worker.shutdown();
    }
}

/// Our server, and a client of theirs, which may end our worker.
fn with_our_server<T, F>(
    version: &'static SupportedProtocolVersion,
    does: fn(Theirs, ServerHandle<Infallible>) -> F,
) -> Met<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let authority = Authority::new();
    let connector = TlsConnector::from(Arc::new(their_client(version, authority.roots())));
    run(async {
        let tls = Server::new(authority.identity("localhost")).unwrap();
        let mut echo = Echo { tls, ended: None };
        let mut driver: Driver<ByteEcho, Tls> = Driver::new(Config::default()).unwrap();
        let listener = driver.listen(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let address: SocketAddr = driver.local_address(listener).unwrap().to_string().parse().unwrap();
        let ours = driver.server_handle();
        let theirs = tokio::spawn(async move {
            let name = ServerName::try_from("localhost").unwrap();
            let stream = TcpStream::connect(address).await.unwrap();
            does(connector.connect(name, stream).await.unwrap().into(), ours).await
        });
        driver.run(&mut echo).await.unwrap();
        Met { ours: echo.ended.unwrap(), theirs: theirs.await.unwrap() }
    })
}

/// A server of theirs, and our client.
fn with_our_client<T, F>(version: &'static SupportedProtocolVersion, does: fn(Theirs) -> F) -> Met<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let authority = Authority::new();
    let acceptor = TlsAcceptor::from(Arc::new(their_server(version, &authority)));
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let theirs = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            does(acceptor.accept(stream).await.unwrap().into()).await
        });
        let tls = Client::new(authority.roots()).unwrap().connect("localhost").unwrap();
        let connection = Connection::with_layer(ByteEcho, tls);
        let report = connect(address, connection, Config::default(), &mut Quiet).await.unwrap();
        Met { ours: report.reason, theirs: theirs.await.unwrap() }
    })
}

fn run<T>(both: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(LONGEST, both).await.expect("it ends") })
}

fn their_client(version: &'static SupportedProtocolVersion, roots: RootCertStore) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn their_server(version: &'static SupportedProtocolVersion, authority: &Authority) -> ServerConfig {
    let (certificate, key) = authority.pem_for("localhost");
    let certificates = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
        .unwrap()
}

/// A megabyte each way at the same time, then the ends, theirs first. What they heard up to ours, and
/// which version they spoke.
async fn talks(stream: Theirs) -> (Vec<u8>, Option<ProtocolVersion>) {
    let version = stream.get_ref().1.protocol_version();
    let (mut from_us, mut to_us) = tokio::io::split(stream);
    let writer = tokio::spawn(async move {
        to_us.write_all(&pattern(MEGABYTE)).await.unwrap();
        // close_notify, and the end of the transport's direction.
        to_us.shutdown().await.unwrap();
    });
    let mut heard = Vec::new();
    // An error unless close_notify comes.
    from_us.read_to_end(&mut heard).await.unwrap();
    writer.await.unwrap();
    (heard, version)
}

/// Says a word and hears it.
async fn says_a_word(stream: &mut Theirs) -> [u8; 4] {
    let mut heard = [0; 4];
    stream.write_all(b"word").await.unwrap();
    stream.flush().await.unwrap();
    stream.read_exact(&mut heard).await.unwrap();
    heard
}

/// What comes when nothing more does: close_notify, or an error.
async fn is_ended(mut stream: Theirs) -> Result<usize, ErrorKind> {
    stream.read(&mut [0; 4]).await.map_err(|error| error.kind())
}

#[test]
fn w8_megabyte_each_way_and_both_ends_with_a_client_of_theirs() {
    for version in VERSIONS {
        let Met { ours, theirs: (heard, spoken) } = with_our_server(version, |theirs, _| talks(theirs));
        assert!(heard == pattern(MEGABYTE), "{} bytes over {version:?}", heard.len());
        assert_eq!((ours, spoken), (Reason::Finished, Some(version.version)));
    }
}

#[test]
fn w8_megabyte_each_way_and_both_ends_with_a_server_of_theirs() {
    for version in VERSIONS {
        let Met { ours, theirs: (heard, spoken) } = with_our_client(version, talks);
        assert!(heard == pattern(MEGABYTE), "{} bytes over {version:?}", heard.len());
        assert_eq!((ours, spoken), (Reason::Finished, Some(version.version)));
    }
}

#[test]
fn fault_75_transport_that_they_end_without_goodbye_is_a_cut() {
    /// Ends the direction of the transport, but not that of TLS.
    async fn cuts(mut stream: Theirs) {
        assert_eq!(&says_a_word(&mut stream).await, b"word");
        stream.get_mut().0.shutdown().await.unwrap();
    }
    for version in VERSIONS {
        for Met { ours, theirs: () } in
            [with_our_server(version, |theirs, _| cuts(theirs)), with_our_client(version, cuts)]
        {
            let Reason::Layer(error) = ours else { panic!("over {version:?}: {ours:?}") };
            assert_eq!(error.reason, CUT, "over {version:?}");
        }
    }
}

#[test]
fn fault_75_our_end_is_an_end_to_them_and_our_abort_is_none() {
    for version in VERSIONS {
        let ended = with_our_server(version, |mut theirs, ours| async move {
            assert_eq!(&says_a_word(&mut theirs).await, b"word");
            ours.shutdown();
            is_ended(theirs).await
        });
        assert_eq!((ended.ours, ended.theirs), (Reason::Finished, Ok(0)), "over {version:?}");
        let aborted = with_our_server(version, |mut theirs, ours| async move {
            assert_eq!(&says_a_word(&mut theirs).await, b"word");
            ours.abort();
            is_ended(theirs).await
        });
        assert_eq!(aborted.ours, Reason::Aborted, "over {version:?}");
        assert!(aborted.theirs.is_err(), "over {version:?}: {:?}", aborted.theirs);
    }
}
