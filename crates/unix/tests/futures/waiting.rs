//! Waiting costs nothing: no poll, no spin, no timer while nothing waits; and others
//! on the same thread have their turns.

use crate::runtime::{Runtime, TIMERS, TURN, Watched, on_every_runtime};
use crate::scene::{PATIENCE, Recorder, connect, listening, pump, pump_for, within};
use drywire_core::{Connection, Limits};
use drywire_protocols::{ByteEcho, LineEcho};
use drywire_server::Config;
use drywire_unix::futures::Driver;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

on_every_runtime!(
    idle_driver_is_not_polled_and_sets_no_timer,
    deadline_is_one_timer_and_one_round,
    flood_leaves_other_tasks_of_the_thread_their_turns,
    handles_wake_the_task_from_other_threads,
    many_wakes_before_a_round_are_one_round,
    news_that_was_waited_for_and_not_looked_at_stays_news,
);

fn idle_driver_is_not_polled_and_sets_no_timer<R: Runtime>() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut recorder = Recorder::<LineEcho>::new(|| {
        Connection::new(LineEcho).with_limits(Limits { idle_ms: 0, stall_ms: 0, ..Limits::DEFAULT })
    });
    Watched::<R>::block_on(async {
        let (mut driver, address): (Driver<LineEcho, (), Watched<R>>, _) = listening(Config::default());
        let mut peer = connect(address);
        peer.write_all(b"hello\n").unwrap();
        pump(&mut driver, &mut recorder, "the accept", |_, r| !r.opened.is_empty()).await;
        pump_for(&mut driver, &mut recorder, Duration::from_millis(50)).await;
        peer.read_exact(&mut [0; 6]).unwrap();

        TIMERS.store(0, Ordering::Relaxed);
        let mut polls = 0;
        {
            let mut run = pin!(driver.run(&mut recorder));
            let counted = poll_fn(|cx| {
                polls += 1;
                run.as_mut().poll(cx)
            });
            let mut timer = pin!(async_io::Timer::after(Duration::from_millis(300)));
            let mut counted = pin!(counted);
            let mut first = true;
            // The test's own timer polls both once more, at the end.
            poll_fn(|cx| {
                if std::mem::take(&mut first) {
                    assert!(counted.as_mut().poll(cx).is_pending());
                }
                timer.as_mut().poll(cx).map(drop)
            })
            .await;
        }
        assert_eq!(polls, 1, "once to begin, and then nothing happened");
        assert_eq!(TIMERS.load(Ordering::Relaxed), 0, "nothing has a deadline");
        assert_eq!(pump_for(&mut driver, &mut recorder, Duration::from_millis(200)).await, 0, "rounds about nothing");
    });
}

fn deadline_is_one_timer_and_one_round<R: Runtime>() {
    let mut recorder = Recorder::<LineEcho>::new(|| {
        Connection::new(LineEcho).with_limits(Limits { idle_ms: 150, linger_ms: 50, ..Limits::DEFAULT })
    });
    R::block_on(async {
        let (mut driver, address): (Driver<LineEcho, (), R>, _) = listening(Config::default());
        let mut peer = connect(address);
        pump(&mut driver, &mut recorder, "the accept", |_, r| !r.opened.is_empty()).await;
        let rounds = pump_for(&mut driver, &mut recorder, Duration::from_millis(100)).await;
        assert!(rounds <= 2, "{rounds} rounds before the deadline");
        pump(&mut driver, &mut recorder, "the idle deadline", |_, r| !r.closed.is_empty()).await;
        let mut last_words = String::new();
        let _ = peer.read_to_string(&mut last_words);
        assert!(driver.is_empty());
        let rounds = pump_for(&mut driver, &mut recorder, Duration::from_millis(100)).await;
        assert!(rounds <= 2, "{rounds} rounds after the end");
    });
}

fn flood_leaves_other_tasks_of_the_thread_their_turns<R: Runtime>() {
    let mut recorder = Recorder::<ByteEcho>::new(|| Connection::new(ByteEcho));
    let stop = Arc::new(AtomicBool::new(false));
    R::block_on(async {
        let (mut driver, address): (Driver<ByteEcho, (), R>, _) = listening(Config::default());
        let mut peer = connect(address);
        let (mut reader, stopped) = (peer.try_clone().unwrap(), stop.clone());
        let flood = thread::spawn(move || {
            let block = vec![7; 256 << 10];
            while !stopped.load(Ordering::Relaxed) && peer.write_all(&block).is_ok() {}
            peer.shutdown(std::net::Shutdown::Both).unwrap();
        });
        let drain = thread::spawn(move || while matches!(reader.read(&mut vec![0; 256 << 10]), Ok(1..)) {});
        // A second task on this thread: ten short naps, each of which needs a turn.
        let mut turns = 0;
        let mut naps = pin!(async {
            for _ in 0..10 {
                async_io::Timer::after(Duration::from_millis(5)).await;
            }
        });
        let mut run = pin!(driver.run(&mut recorder));
        let both = poll_fn(|cx| {
            turns += 1;
            assert!(run.as_mut().poll(cx).is_pending());
            naps.as_mut().poll(cx)
        });
        assert!(within(PATIENCE, both).await.is_some(), "starved after {turns} turns");
        stop.store(true, Ordering::Relaxed);
        assert!(within(Duration::from_millis(200), run.as_mut()).await.is_none());
        flood.join().unwrap();
        drain.join().unwrap();
    });
}

fn handles_wake_the_task_from_other_threads<R: Runtime>() {
    let mut recorder = Recorder::<LineEcho>::new(|| Connection::new(LineEcho));
    R::block_on(async {
        let (mut driver, address): (Driver<LineEcho, (), R>, _) = listening(Config::default());
        let _peer = connect(address);
        pump(&mut driver, &mut recorder, "the accept", |_, r| !r.opened.is_empty()).await;
        let handle = driver.handle(recorder.opened[0]).unwrap();
        let closer = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            handle.abort();
        });
        pump(&mut driver, &mut recorder, "the abort", |_, r| !r.closed.is_empty()).await;
        closer.join().unwrap();
        let server = driver.server_handle();
        let stopper = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            server.shutdown();
        });
        within(PATIENCE, driver.run(&mut recorder)).await.expect("the shutdown");
        stopper.join().unwrap();
    });
}

fn many_wakes_before_a_round_are_one_round<R: Runtime>() {
    let mut recorder = Recorder::<LineEcho>::new(|| Connection::new(LineEcho));
    R::block_on(async {
        let (mut driver, address): (Driver<LineEcho, (), R>, _) = listening(Config::default());
        let mut peers: Vec<_> = (0..50).map(|_| connect(address)).collect();
        pump(&mut driver, &mut recorder, "fifty", |_, r| r.opened.len() == 50).await;
        pump_for(&mut driver, &mut recorder, Duration::from_millis(50)).await;
        for peer in &mut peers {
            peer.write_all(b"x\n").unwrap();
        }
        let rounds = pump_for(&mut driver, &mut recorder, Duration::from_millis(100)).await;
        assert!(rounds <= 10, "{rounds} rounds for what was there at once");
        for peer in &mut peers {
            peer.read_exact(&mut [0; 2]).unwrap();
        }
    });
}

fn news_that_was_waited_for_and_not_looked_at_stays_news<R: Runtime>() {
    R::block_on(async {
        let (mut driver, address): (Driver<LineEcho, (), R>, _) = listening(Config::default());
        let _peer = connect(address);
        for _ in 0..3 {
            assert!(within(PATIENCE, driver.wait()).await.is_some());
        }
        let mut recorder = Recorder::<LineEcho>::new(|| Connection::new(LineEcho));
        driver.dispatch(&mut recorder);
        assert_eq!(recorder.opened.len(), 1);
    });
}
