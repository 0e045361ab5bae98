//! Waiting costs nothing: no poll, no spin, no timer while nothing waits; and others
//! on the same thread have their turns.

use crate::runtime::{Runtime, STOPS, TIMERS, TURN, Watched, on_every_runtime};
use crate::scene::{PATIENCE, Recorder, connect, listening, pump, pump_for, within};
use drywire_core::{Connection, Context as Handler, Limits, Protocol, Stop};
use drywire_protocols::{ByteEcho, LineEcho};
use drywire_server::{Address, Application, Config, Handle, Id, Interest, Net, Quiet, SourceEvent, Worker};
use drywire_unix::futures::Driver;
use rustix::event::{EventfdFlags, eventfd};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, mpsc};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

on_every_runtime!(
    idle_driver_is_not_polled_and_sets_no_timer,
    deadline_is_one_timer_and_one_round,
    flood_leaves_other_tasks_of_the_thread_their_turns,
    handles_wake_the_task_from_other_threads,
    many_wakes_before_a_round_are_one_round,
    news_that_was_waited_for_and_not_looked_at_stays_news,
    deadline_that_was_waited_for_and_not_looked_at_stays_one,
    deadline_that_a_full_round_puts_off_comes_in_the_next,
    work_that_never_ends_leaves_timers_their_turns,
    i2_wake_ups_do_not_pile_up_however_often_they_come,
    more_news_than_a_round_hears_is_heard_in_the_next,
    timer_of_a_deadline_that_is_over_is_stopped,
    run_moves_from_one_task_to_another,
);

fn idle_driver_is_not_polled_and_sets_no_timer<R: Runtime>() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut recorder = Recorder::<LineEcho>::new(|| {
        Connection::new(LineEcho).with_limits(Limits {
            idle_ms: Limits::NEVER,
            first_byte_ms: Limits::NEVER,
            ..Limits::DEFAULT
        })
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
        within(PATIENCE, driver.run(&mut recorder)).await.expect("the shutdown").unwrap();
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

fn deadline_that_was_waited_for_and_not_looked_at_stays_one<R: Runtime>() {
    R::block_on(async {
        let mut driver: Driver<LineEcho, (), R> = Driver::new(Config::default()).unwrap();
        driver.register(silent(), Interest::READABLE, Some(Duration::from_millis(50))).unwrap();
        for _ in 0..3 {
            assert!(within(PATIENCE, driver.wait()).await.is_some());
        }
    });
}

/// The timer has rung, and the round it rang for was full.
fn deadline_that_a_full_round_puts_off_comes_in_the_next<R: Runtime>() {
    let mut recorder = Recorder::<LineEcho>::new(|| Connection::new(LineEcho));
    R::block_on(async {
        let config = Config { events: 1, ..Config::default() };
        let mut driver: Driver<LineEcho, (), R> = Driver::new(config).unwrap();
        let (mut peer, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        driver.add(R::Open::from(OwnedFd::from(ours)), Connection::new(LineEcho)).unwrap();
        let id = driver.register(silent(), Interest::READABLE, Some(Duration::from_millis(100))).unwrap();
        pump_for(&mut driver, &mut recorder, Duration::from_millis(50)).await;
        driver.wait().await.unwrap();
        peer.write_all(b"x\n").unwrap();
        async_io::Timer::after(Duration::from_millis(20)).await;
        driver.dispatch(&mut recorder);
        let told = (id, SourceEvent::TimedOut);
        pump(&mut driver, &mut recorder, "the timeout", |_, r| r.sources.contains(&told)).await;
    });
}

/// Each event sends the next command, through a handle.
#[derive(Debug)]
struct Ball;

impl Protocol for Ball {
    type Event = ();
    type Command = ();
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], cx: &mut Handler<'_, Self>) -> Result<usize, Stop<Infallible>> {
        cx.emit(())?;
        Ok(input.len())
    }

    fn command(&mut self, (): &(), cx: &mut Handler<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.emit(())
    }
}

struct Player(Option<Handle<()>>);

impl<N: Net> Application<N, Ball> for Player {
    fn accept(&mut self, _: &mut Worker<Ball, (), N>, _: Id, _: &Address) -> Option<Connection<Ball>> {
        None
    }

    fn event(&mut self, worker: &mut Worker<Ball, (), N>, id: Id, (): ()) {
        self.0.get_or_insert_with(|| worker.handle(id).unwrap()).send(()).unwrap();
    }
}

fn work_that_never_ends_leaves_timers_their_turns<R: Runtime>() {
    // A timer that never fires would hang the test: it is on a thread of its own.
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        R::block_on(async {
            let mut driver: Driver<Ball, (), R> = Driver::new(Config::default()).unwrap();
            let (mut peer, ours) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            driver.add(R::Open::from(OwnedFd::from(ours)), Connection::new(Ball)).unwrap();
            peer.write_all(b"x").unwrap();
            let ended = within(Duration::from_millis(100), driver.run(&mut Player(None))).await;
            assert!(ended.is_none());

            let mut recorder = Recorder::<LineEcho>::new(|| Connection::new(LineEcho));
            let mut driver: Driver<LineEcho, (), R> = Driver::new(Config::default()).unwrap();
            driver.register(silent(), Interest::READABLE, Some(Duration::ZERO)).unwrap();
            let ended = within(Duration::from_millis(100), driver.run(&mut recorder)).await;
            assert!(ended.is_none() && recorder.sources.len() > 1);
        });
        tell.send(()).unwrap();
    });
    told.recv_timeout(PATIENCE).expect("starved");
}

/// A command to each in every round gives turns that ask to be woken again and again,
/// while one only of those who were woken is heard.
fn i2_wake_ups_do_not_pile_up_however_often_they_come<R: Runtime>() {
    const PEERS: usize = 20;
    let mut player = Quiet;
    R::block_on(async {
        let config = Config { events: 1, ..Config::default() };
        let mut driver: Driver<Sink, (), R> = Driver::new(config).unwrap();
        let (peers, ids): (Vec<_>, Vec<_>) = (0..PEERS)
            .map(|_| {
                let (peer, ours) = UnixStream::pair().unwrap();
                ours.set_nonblocking(true).unwrap();
                (peer, driver.add(R::Open::from(OwnedFd::from(ours)), Connection::new(Sink)).unwrap())
            })
            .unzip();
        for _ in 0..1000 {
            for (mut peer, id) in peers.iter().zip(&ids) {
                peer.write_all(b"x").unwrap();
                driver.send(*id, ()).unwrap();
            }
            driver.wait().await.unwrap();
            driver.dispatch(&mut player);
        }
        // Everybody who was woken is heard after this many rounds, and nobody else.
        let mut rounds = 0;
        while within(Duration::from_millis(50), driver.wait()).await.is_some() {
            driver.dispatch(&mut player);
            rounds += 1;
            assert!(rounds <= 4 * PEERS, "{rounds} rounds were left over");
        }
    });
}

/// Takes everything, says nothing.
#[derive(Debug)]
struct Sink;

impl Protocol for Sink {
    type Event = Infallible;
    type Command = ();
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], _: &mut Handler<'_, Self>) -> Result<usize, Stop<Infallible>> {
        Ok(input.len())
    }

    fn command(&mut self, (): &(), _: &mut Handler<'_, Self>) -> Result<(), Stop<Infallible>> {
        Ok(())
    }
}

fn more_news_than_a_round_hears_is_heard_in_the_next<R: Runtime>() {
    let mut recorder = Recorder::<LineEcho>::new(|| Connection::new(LineEcho));
    R::block_on(async {
        let config = Config { events: 2, ..Config::default() };
        let (mut driver, address): (Driver<LineEcho, (), R>, _) = listening(config);
        let mut peers: Vec<_> = (0..20).map(|_| connect(address)).collect();
        pump(&mut driver, &mut recorder, "twenty", |_, r| r.opened.len() == 20).await;
        pump_for(&mut driver, &mut recorder, Duration::from_millis(30)).await;
        for peer in &mut peers {
            peer.write_all(b"x\n").unwrap();
        }
        let answered = |driver: &mut Driver<LineEcho, (), R>, recorder: &Recorder<LineEcho>| {
            recorder.opened.iter().all(|id| driver.connection(*id).unwrap().counters().sent == 2)
        };
        pump(&mut driver, &mut recorder, "all answers", answered).await;
        let rounds = pump_for(&mut driver, &mut recorder, Duration::from_millis(30)).await;
        assert!(rounds <= 20, "{rounds} rounds about nothing");
    });
}

fn timer_of_a_deadline_that_is_over_is_stopped<R: Runtime>() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut recorder = Recorder::<LineEcho>::new(|| Connection::new(LineEcho));
    Watched::<R>::block_on(async {
        let mut driver: Driver<LineEcho, (), Watched<R>> = Driver::new(Config::default()).unwrap();
        let id = driver.register(silent(), Interest::READABLE, Some(Duration::from_millis(40))).unwrap();
        pump(&mut driver, &mut recorder, "the timeout", |_, r| !r.sources.is_empty()).await;
        driver.set_source_timeout(id, None);
        pump_for(&mut driver, &mut recorder, Duration::from_millis(100)).await;
        assert!(STOPS.swap(0, Ordering::Relaxed) > 0, "nobody stopped the timer");
        let rounds = pump_for(&mut driver, &mut recorder, Duration::from_millis(100)).await;
        assert_eq!(rounds, 0, "a timer without a purpose rang");
    });
}

/// The waker of a task that polls no more is not the one to wake.
fn run_moves_from_one_task_to_another<R: Runtime>() {
    let mut recorder = Recorder::<LineEcho>::new(|| Connection::new(LineEcho));
    R::block_on(async {
        let (mut driver, address): (Driver<LineEcho, (), R>, _) = listening(Config::default());
        {
            let mut run = pin!(driver.run(&mut recorder));
            assert!(run.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        let talk = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            let mut peer = connect(address);
            peer.write_all(b"quit\n").unwrap();
            peer.read_to_end(&mut Vec::new()).unwrap();
        });
        pump(&mut driver, &mut recorder, "the end", |_, r| !r.closed.is_empty()).await;
        talk.join().unwrap();
    });
}

/// A descriptor on which nothing happens.
fn silent() -> OwnedFd {
    eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap()
}
