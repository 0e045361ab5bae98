//! The driver connects, to a plain blocking server (row E9).

use crate::noise::{Noise, assert_same};
use crate::peer::{read_end, reset, send};
use crate::stage::Stage;
use crate::subject::Subject;
use drywire_core::{Connection, Context, Protocol, Reason, Stop, TransportError};
use drywire_server::Address;
use std::convert::Infallible;
use std::net::TcpListener;
use std::thread;

/// The batch client: says all it has to say, ends, and tells of what it hears.
struct Batch(Vec<u8>);

impl Protocol for Batch {
    type Event = Vec<u8>;
    type Command = Infallible;
    type Error = Infallible;

    fn open(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.write(&self.0)?;
        cx.half_close();
        Ok(())
    }

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        cx.emit(input.to_vec())?;
        Ok(input.len())
    }
}

/// Sends, half-closes, and reads megabytes on until the server closes; then the
/// driver's client has ended by itself.
pub fn e9_client_sends_ends_and_reads_on_until_the_server_closes<S: Subject>() {
    let (listener, address) = listen();
    let (asked, answer) = (Noise::new(1).bytes(100_000), Noise::new(2).bytes(3 << 20));
    let text = asked.clone();
    let mut stage = Stage::<S, Batch>::connect_to(&address, move || Connection::new(Batch(text.clone())));
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("a client");
            stream.set_read_timeout(Some(S::PATIENCE)).expect("not zero");
            stream.set_write_timeout(Some(S::PATIENCE)).expect("not zero");
            assert_same(&read_end(&mut stream), &asked);
            send(&mut stream, &answer);
        });
        assert_eq!(stage.report(0).reason, Reason::Finished);
        stage.join();
    });
    stage.scene.look(|seen| {
        let [only] = seen else { panic!("{} connections instead of one", seen.len()) };
        assert_same(&only.events.concat(), &answer);
    });
}

/// That nobody answers is no error of the call but the reason in the report.
pub fn e9_client_to_an_address_nobody_listens_on_is_told_refused_once<S: Subject>() {
    // Its port was free a moment ago.
    let (listener, address) = listen();
    drop(listener);
    let mut stage = Stage::<S, Batch>::connect_to(&address, || Connection::new(Batch(b"hello\n".into())));
    assert_eq!(stage.report(0).reason, Reason::Transport(TransportError::Refused));
    stage.join();
    assert_eq!(stage.scene.look(|seen| (seen.len(), seen[0].reports.len(), seen[0].events.len())), (1, 1, 0));
}

/// A reset in the middle is told from an end.
pub fn e9_client_of_a_server_that_resets_is_told_so_once<S: Subject>() {
    let (listener, address) = listen();
    let mut stage = Stage::<S, Batch>::connect_to(&address, || Connection::new(Batch(b"hello\n".into())));
    let (mut stream, _) = listener.accept().expect("a client");
    stream.set_read_timeout(Some(S::PATIENCE)).expect("not zero");
    assert_same(&read_end(&mut stream), b"hello\n");
    reset(stream);
    assert_eq!(stage.report(0).reason, Reason::Transport(TransportError::Reset));
    stage.join();
}

#[track_caller]
fn listen() -> (TcpListener, Address) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = Address::Tcp(listener.local_addr().expect("bound"));
    (listener, address)
}
