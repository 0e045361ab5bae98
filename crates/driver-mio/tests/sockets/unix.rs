//! Unix sockets: listening, connecting, and the file that stands for them.

use crate::harness::{PATIENCE, Recorder, pump};
use crate::peer::{assert_same, pattern, read_end};
use drywire_core::{Connection, Reason};
use drywire_driver_mio::{Address, AddressError, Config, ConnectError, Driver};
use drywire_protocols::{ByteEcho, LineEcho};
use std::fs;
use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use tempfile::TempDir;

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    (dir, path)
}

fn listening(path: &Path) -> (Driver<ByteEcho>, Recorder<ByteEcho>) {
    let mut driver = Driver::new(Config::default()).unwrap();
    driver.listen(&Address::Unix(Some(path.to_owned()))).unwrap();
    (driver, Recorder::new(|| Connection::new(ByteEcho)))
}

#[test]
fn unix_socket_is_served_like_any_other_and_its_path_goes_with_it() {
    let (_dir, path) = place();
    let (mut driver, mut app) = listening(&path);
    assert!(path.exists());
    let mut peer = UnixStream::connect(&path).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let bytes = pattern(3 << 20);
    let sent = bytes.clone();
    let mut writer = peer.try_clone().unwrap();
    let writing = thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let reading = thread::spawn(move || read_end(&mut peer));
    pump(&mut driver, &mut app, "the close", |_, app| !app.closed.is_empty());
    writing.join().unwrap();
    assert_same(&reading.join().unwrap(), &bytes);
    assert_eq!(app.report().reason, Reason::Finished);
    drop(driver);
    assert!(!path.exists(), "the path is removed at the end");
}

#[test]
fn path_is_removed_when_listening_stops() {
    let (_dir, path) = place();
    let mut driver = Driver::<LineEcho>::new(Config::default()).unwrap();
    let id = driver.listen(&Address::Unix(Some(path.clone()))).unwrap();
    assert_eq!(driver.local_address(id), Some(Address::Unix(Some(path.clone()))));
    driver.stop_listening(id);
    assert!(!path.exists());
}

#[test]
fn stale_socket_file_is_replaced() {
    let (_dir, path) = place();
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "what a killed server leaves");
    let (driver, _) = listening(&path);
    UnixStream::connect(&path).unwrap();
    drop(driver);
}

#[test]
fn socket_of_a_server_that_lives_is_left_alone() {
    let (_dir, path) = place();
    let (_alive, _) = listening(&path);
    let mut second = Driver::<LineEcho>::new(Config::default()).unwrap();
    let error = second.listen(&Address::Unix(Some(path.clone()))).unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    drop(second);
    UnixStream::connect(&path).expect("the first one still listens");
}

#[test]
fn file_that_is_no_socket_is_never_removed() {
    let (dir, path) = place();
    fs::write(&path, "precious").unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let mut driver = Driver::<LineEcho>::new(Config::default()).unwrap();
    for path in [&path, &link] {
        let error = driver.listen(&Address::Unix(Some(path.clone()))).unwrap_err();
        assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    assert!(link.is_symlink());
}

#[test]
fn both_ends_in_one_driver_over_a_unix_socket() {
    let (_dir, path) = place();
    let (mut driver, mut app) = listening(&path);
    let id = driver.connect(Address::Unix(Some(path)), Connection::new(ByteEcho)).unwrap();
    pump(&mut driver, &mut app, "both ends", |_, app| app.opened.len() == 2);
    driver.close(id);
    pump(&mut driver, &mut app, "both ends", |_, app| app.closed.len() == 2);
    assert!(driver.is_empty());
}

#[test]
fn connecting_to_nothing_is_told_at_once_and_names_the_path() {
    let (_dir, path) = place();
    let mut driver = Driver::<LineEcho>::new(Config::default()).unwrap();
    let error = driver.connect(Address::Unix(Some(path.clone())), Connection::new(LineEcho)).unwrap_err();
    assert!(matches!(&error, ConnectError::Address(error) if error.source.kind() == ErrorKind::NotFound), "{error}");
    drop(UnixListener::bind(&path).unwrap());
    let error = driver.connect(Address::Unix(Some(path)), Connection::new(LineEcho)).unwrap_err();
    let refused = |error: &AddressError| error.source.kind() == ErrorKind::ConnectionRefused;
    assert!(matches!(&error, ConnectError::Address(error) if refused(error)), "{error}");
    for nowhere in [Address::Unix(None), Address::Pair] {
        assert!(driver.connect(&nowhere, Connection::new(LineEcho)).is_err());
        assert!(driver.listen(&nowhere).is_err());
    }
    assert!(driver.is_done());
}

/// A server whose backlog is full is alive, and the probe does not wait for it.
#[test]
fn e10_socket_of_a_busy_server_is_in_use_at_once() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
    let (_dir, path) = place();
    let busy = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&busy, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&busy, 0).unwrap();
    let _waiting = UnixStream::connect(&path).unwrap();
    let mut driver = Driver::<LineEcho>::new(Config::default()).unwrap();
    let error = driver.listen(&Address::Unix(Some(path.clone()))).unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
    assert!(path.exists());
}

#[test]
fn socket_of_a_successor_stays_when_the_first_server_ends() {
    let (_dir, path) = place();
    let (first, _) = listening(&path);
    fs::remove_file(&path).unwrap();
    let (_second, _) = listening(&path);
    drop(first);
    assert!(UnixStream::connect(&path).is_ok(), "the second still listens there");
}
