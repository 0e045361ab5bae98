//! Files are opened where waiting is allowed.

use crate::runtime::{Runtime, TURN, Watched, on_every_runtime, set_gate};
use crate::scene::{Recorder, connect, listening, pump, pump_for};
use drywire_core::{Connection, Reason};
use drywire_protocols::Dialog;
use drywire_server::Config;
use drywire_unix::futures::Driver;
use std::io::{Read, Write};
use std::sync::PoisonError;
use std::time::Duration;

on_every_runtime!(
    disk_that_is_slow_to_open_holds_up_nobody_else,
    file_that_arrives_after_its_connection_has_gone_is_closed,
    no_root_means_no_file_at_once,
);

fn disk_that_is_slow_to_open_holds_up_nobody_else<R: Runtime>() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("notes"), "hello").unwrap();
    let mut recorder = Recorder::<Dialog>::new(|| Connection::new(Dialog::new()));
    Watched::<R>::block_on(async {
        let config = Config { root: Some(dir.path().into()), ..Config::default() };
        let (mut driver, address): (Driver<Dialog, (), Watched<R>>, _) = listening(config);
        let (mut slow, mut quick) = (connect(address), connect(address));
        set_gate(false);
        slow.write_all(b"GET notes\nNOOP\n").unwrap();
        quick.write_all(b"NOOP\nNOOP\n").unwrap();
        pump(&mut driver, &mut recorder, "both", |_, r| r.opened.len() == 2).await;
        pump_for(&mut driver, &mut recorder, Duration::from_millis(50)).await;
        quick.read_exact(&mut [0; 6]).expect("answered while the other waits");
        slow.set_nonblocking(true).unwrap();
        assert!(slow.read(&mut [0]).is_err(), "the file comes first");
        set_gate(true);
        pump_for(&mut driver, &mut recorder, Duration::from_millis(100)).await;
        slow.set_nonblocking(false).unwrap();
        let mut reply = [0; 13];
        slow.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"OK 5\nhelloOK\n");
        pump(&mut driver, &mut recorder, "the file to be closed", |d, _| d.open_files() == 0).await;
    });
}

fn file_that_arrives_after_its_connection_has_gone_is_closed<R: Runtime>() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("notes"), "hello").unwrap();
    let mut recorder = Recorder::<Dialog>::new(|| Connection::new(Dialog::new()));
    Watched::<R>::block_on(async {
        let config = Config { root: Some(dir.path().into()), ..Config::default() };
        let (mut driver, address): (Driver<Dialog, (), Watched<R>>, _) = listening(config);
        let mut peer = connect(address);
        set_gate(false);
        peer.write_all(b"GET notes\n").unwrap();
        pump(&mut driver, &mut recorder, "the accept", |_, r| !r.opened.is_empty()).await;
        pump_for(&mut driver, &mut recorder, Duration::from_millis(30)).await;
        driver.abort(recorder.opened[0]);
        pump(&mut driver, &mut recorder, "the abort", |_, r| !r.closed.is_empty()).await;
        assert_eq!(recorder.closed[0].1.reason, Reason::Aborted);
        set_gate(true);
        let rounds = pump_for(&mut driver, &mut recorder, Duration::from_millis(100)).await;
        assert!(rounds > 0, "the answer came");
        assert_eq!(driver.open_files(), 0);
    });
}

fn no_root_means_no_file_at_once<R: Runtime>() {
    let mut recorder = Recorder::<Dialog>::new(|| Connection::new(Dialog::new()));
    R::block_on(async {
        let (mut driver, address): (Driver<Dialog, (), R>, _) = listening(Config::default());
        let mut peer = connect(address);
        peer.write_all(b"GET notes\n").unwrap();
        pump(&mut driver, &mut recorder, "the accept", |_, r| !r.opened.is_empty()).await;
        pump_for(&mut driver, &mut recorder, Duration::from_millis(50)).await;
        let mut reply = [0; 15];
        peer.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"-550 forbidden\n");
    });
}
