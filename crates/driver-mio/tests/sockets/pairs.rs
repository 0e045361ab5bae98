//! Two descriptors as one stream: pipes, files, a socket twice, what others share
//! (rows H2, E9).

use crate::child::isolated;
use crate::harness::{PATIENCE, Recorder, pump, pump_for, quick};
use crate::peer::{assert_same, pattern, read_end, read_n};
use drywire_core::{Connection, Limits, Protocol, Reason, TransportError};
use drywire_driver_mio::{Config, Descriptor, Driver, Stream};
use drywire_protocols::{ByteEcho, Dialog, LineEcho};
use rustix::fs::{OFlags, fcntl_getfl};
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

fn start<P: Protocol<Error: Display>>(
    stream: Stream,
    connection: Connection<P>,
    config: Config,
) -> (Driver<P>, Recorder<P>) {
    let mut driver = Driver::new(config).unwrap();
    driver.add(stream, connection).unwrap();
    (driver, Recorder::new(|| unreachable!("nobody listens")))
}

/// Runs it to its end.
#[track_caller]
fn run<P: Protocol<Error: Display> + 'static>(stream: Stream, connection: Connection<P>) -> Reason<P::Error> {
    let (mut driver, mut app) = start(stream, connection, Config::default());
    pump(&mut driver, &mut app, "the end", |_, app| !app.closed.is_empty());
    let (_, report) = app.closed.remove(0);
    report.reason
}

fn line_echo() -> Connection<LineEcho> {
    Connection::new(LineEcho).with_limits(quick(Limits::DEFAULT))
}

fn owned(fd: impl Into<OwnedFd>) -> Option<Descriptor> {
    Some(Descriptor::owned(fd.into()))
}

fn shared(fd: impl AsFd) -> Option<Descriptor> {
    Some(Descriptor::shared(fd).unwrap())
}

fn is_blocking(fd: impl AsFd) -> bool {
    !fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK)
}

#[test]
fn pipes_carry_every_byte_both_ways() {
    let ((input, mut to), (mut from, output)) = (io::pipe().unwrap(), io::pipe().unwrap());
    let bytes = pattern(2 << 20);
    let sent = bytes.clone();
    let writing = thread::spawn(move || to.write_all(&sent).unwrap());
    let reading = thread::spawn(move || read_end(&mut from));
    let stream = Stream::pair(owned(input), owned(output)).unwrap();
    assert_eq!(run(stream, Connection::new(ByteEcho)), Reason::Finished);
    writing.join().unwrap();
    assert_same(&reading.join().unwrap(), &bytes);
}

#[test]
fn shared_pipes_carry_every_byte_and_stay_blocking_for_the_others() {
    let ((input, mut to), (mut from, output)) = (io::pipe().unwrap(), io::pipe().unwrap());
    let bytes = pattern(1 << 20);
    let sent = bytes.clone();
    let writing = thread::spawn(move || to.write_all(&sent).unwrap());
    let reading = thread::spawn(move || read_n(&mut from, 1 << 20));
    let stream = Stream::pair(shared(&input), shared(&output)).unwrap();
    assert_eq!(run(stream, Connection::new(ByteEcho)), Reason::Finished);
    writing.join().unwrap();
    assert_same(&reading.join().unwrap(), &bytes);
    assert!(is_blocking(&input) && is_blocking(&output), "row H2: the flag belongs to everybody who has it open");
}

// In a process that can be ended: what it looks for is a call that waits for ever.
isolated!(shared_outputs_that_are_full_do_not_block_the_driver, {
    let dir = tempfile::tempdir().unwrap();
    let bytes = pattern(1 << 20);
    std::fs::write(dir.path().join("big"), &bytes).unwrap();
    let (pipe_reader, pipe) = io::pipe().unwrap();
    let (socket_reader, socket) = UnixStream::pair().unwrap();
    let outputs: [(Box<dyn Read + Send>, OwnedFd); 2] =
        [(Box::new(pipe_reader), pipe.into()), (Box::new(socket_reader), socket.into())];
    for (mut from, output) in outputs {
        let (input, mut to) = io::pipe().unwrap();
        to.write_all(b"GET big\nNOOP\n").unwrap();
        drop(to);
        let stream = Stream::pair(owned(input), shared(&output)).unwrap();
        let (mut driver, mut app) = start(stream, Connection::new(Dialog::new()), crate::files::config(dir.path()));
        // A round that waits for the reader waits for ever.
        pump_for(&mut driver, &mut app, Duration::from_millis(100));
        assert_eq!(driver.open_files(), 1, "nobody has read yet");
        let reading = thread::spawn(move || read_n(&mut from, 11 + (1 << 20) + 3));
        pump(&mut driver, &mut app, "the end", |_, app| !app.closed.is_empty());
        assert_same(&reading.join().unwrap(), &[b"OK 1048576\n", &bytes[..], b"OK\n"].concat());
        assert!(is_blocking(&output));
    }
});

#[test]
fn shared_socket_twice_is_an_inetd_service() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(PATIENCE)).unwrap();
    let bytes = pattern(1 << 20);
    let sent = bytes.clone();
    let mut writer = theirs.try_clone().unwrap();
    let writing = thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let reading = thread::spawn(move || read_n(&mut theirs, 1 << 20));
    let stream = Stream::pair(shared(&ours), shared(&ours)).unwrap();
    assert_eq!(run(stream, Connection::new(ByteEcho)), Reason::Finished);
    writing.join().unwrap();
    assert_same(&reading.join().unwrap(), &bytes);
    assert!(is_blocking(&ours));
}

#[test]
fn owned_socket_twice_ends_its_direction_though_the_input_is_still_open() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(PATIENCE)).unwrap();
    theirs.write_all(b"quit\n").unwrap();
    // The peer waits for our end before it ends; without it both would wait.
    let reading = thread::spawn(move || read_end(&mut theirs));
    let limits = Limits { linger_ms: 4 * PATIENCE.as_millis() as u32, ..Limits::DEFAULT };
    let stream = Stream::pair(owned(ours.try_clone().unwrap()), owned(ours)).unwrap();
    assert_eq!(run(stream, Connection::new(LineEcho).with_limits(limits)), Reason::Finished);
    assert_eq!(reading.join().unwrap(), b"quit\n");
}

#[test]
fn regular_files_are_input_and_output() {
    let (mut input, mut output) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let bytes = pattern(3 << 20);
    input.write_all(&bytes).unwrap();
    input.rewind().unwrap();
    let stream = Stream::pair(owned(input), owned(output.try_clone().unwrap())).unwrap();
    assert_eq!(run(stream, Connection::new(ByteEcho)), Reason::Finished);
    output.rewind().unwrap();
    assert_same(&read_end(&mut output), &bytes);
}

#[test]
fn regular_file_into_a_slow_pipe_waits_for_it() {
    let mut input = tempfile::tempfile().unwrap();
    let bytes = pattern(1 << 20);
    input.write_all(&bytes).unwrap();
    input.rewind().unwrap();
    let (mut from, output) = io::pipe().unwrap();
    let stream = Stream::pair(shared(&input), owned(output)).unwrap();
    let (mut driver, mut app) = start(stream, Connection::new(ByteEcho), Config::default());
    pump_for(&mut driver, &mut app, Duration::from_millis(50));
    assert_eq!(pump_for(&mut driver, &mut app, Duration::from_millis(100)), 0, "I3: nobody reads, nothing to do");
    let reading = thread::spawn(move || read_end(&mut from));
    pump(&mut driver, &mut app, "the end", |_, app| !app.closed.is_empty());
    assert_same(&reading.join().unwrap(), &bytes);
}

#[test]
fn absent_input_has_ended_and_absent_output_is_a_broken_pipe() {
    let (mut from, output) = io::pipe().unwrap();
    let stream = Stream::pair(None, owned(output)).unwrap();
    assert_eq!(run(stream, line_echo()), Reason::Finished);
    assert_eq!(read_end(&mut from), b"");

    let (input, mut to) = io::pipe().unwrap();
    to.write_all(b"to nobody\n").unwrap();
    let stream = Stream::pair(owned(input), None).unwrap();
    assert_eq!(run(stream, line_echo()), Reason::Transport(TransportError::BrokenPipe));
}

#[test]
fn fault_11_pipe_whose_reader_is_gone_is_a_broken_pipe() {
    for make in [|fd: OwnedFd| owned(fd), |fd: OwnedFd| shared(fd)] {
        let ((input, mut to), (from, output)) = (io::pipe().unwrap(), io::pipe().unwrap());
        drop(from);
        to.write_all(b"to nobody\n").unwrap();
        let stream = Stream::pair(owned(input), make(output.into())).unwrap();
        assert_eq!(run(stream, line_echo()), Reason::Transport(TransportError::BrokenPipe));
    }
}

#[test]
fn fifo_is_a_pipe_with_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let writer_path = path.clone();
    let writing = thread::spawn(move || {
        let mut fifo = File::options().write(true).open(writer_path).unwrap();
        fifo.write_all(b"through a name\n").unwrap();
        thread::sleep(Duration::from_millis(30));
        fifo.write_all(b"and more").unwrap();
    });
    let input = File::open(&path).unwrap();
    let (mut from, output) = io::pipe().unwrap();
    let stream = Stream::pair(owned(input), owned(output)).unwrap();
    assert_eq!(run(stream, line_echo()), Reason::Finished);
    writing.join().unwrap();
    assert_eq!(read_end(&mut from), b"through a name\nand more");
}

#[test]
fn null_device_is_input_and_output() {
    let null = || File::options().read(true).write(true).open("/dev/null").unwrap();
    let stream = Stream::pair(owned(null()), owned(null())).unwrap();
    assert_eq!(run(stream, line_echo()), Reason::Finished);
}

#[test]
fn slow_byte_wise_pipe_gets_its_lines() {
    let ((input, mut to), (mut from, output)) = (io::pipe().unwrap(), io::pipe().unwrap());
    let stream = Stream::pair(shared(&input), shared(&output)).unwrap();
    let (mut driver, mut app) = start(stream, line_echo(), Config::default());
    for byte in b"slow\n" {
        to.write_all(&[*byte]).unwrap();
        pump_for(&mut driver, &mut app, Duration::from_millis(5));
    }
    assert_eq!(read_n(&mut from, 5), b"slow\n");
    assert_eq!(pump_for(&mut driver, &mut app, Duration::from_millis(50)), 0, "B5");
}
