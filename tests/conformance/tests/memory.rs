//! The attack on memory once more, with the heap of the driver's thread counted to the
//! byte, on each driver.

#[path = "subjects/workers.rs"]
#[expect(dead_code, reason = "tests of the suite use what is not used here")]
mod subject;

use drywire_conformance::checks::admission;
use drywire_conformance::checks::attack::{BESIDE_THE_BUDGET, BUDGET, i2_memory_under_attack_stays_under_the_budget};
use drywire_conformance::wire::Wire;
use drywire_conformance::{Begin, On, Runs, Testable};
use drywire_server::Config;
use std::io;
use std::marker::PhantomData;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use subject::{MioLoop, SmolTask, TokioTask};

/// The same driver, and what its thread had of the heap at most.
struct Measured<R>(PhantomData<R>);

/// Of the driver that ended last, in bytes.
static MOST: AtomicUsize = AtomicUsize::new(0);

impl<R: Runs> Runs for Measured<R> {
    const NAME: &'static str = R::NAME;
    type Net = R::Net;

    fn run<P: Testable, W: Wire>(config: Config, begin: impl Begin<P, W, R::Net>) -> io::Result<()> {
        let mut result = Ok(());
        let heap = allocation_counter::measure(|| result = R::run(config, begin));
        MOST.store(usize::try_from(heap.bytes_max).expect("not that much"), Ordering::Relaxed);
        result
    }
}

/// The same driver, in a server that is more generous than it was told to be.
struct Generous<R, const TIMES: usize>(PhantomData<R>);

impl<R: Runs, const TIMES: usize> Runs for Generous<R, TIMES> {
    const NAME: &'static str = R::NAME;
    /// Where the budget is right, all that is waited for is the end that does not come.
    const PATIENCE: Duration = Duration::from_secs(if TIMES == 1 { 3 } else { 20 });
    type Net = R::Net;

    fn run<P: Testable, W: Wire>(config: Config, begin: impl Begin<P, W, R::Net>) -> io::Result<()> {
        let generous = Config {
            max_connections: config.max_connections + 1,
            max_connections_per_address: config.max_connections_per_address + 1,
            memory_bytes: config.memory_bytes * TIMES,
            ..config
        };
        R::run(generous, begin)
    }
}

/// Memory is one thing in a process: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

#[track_caller]
fn heap_stays_under_the_budget<R: Runs>() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    i2_memory_under_attack_stays_under_the_budget::<On<Measured<R>>>();
    let most = MOST.load(Ordering::Relaxed);
    eprintln_note(&format!("note: {}: the driver's thread had {} KiB of the heap at most", R::NAME, most >> 10));
    assert!(most <= BUDGET + BESIDE_THE_BUDGET / 2, "I2: {most} bytes of the heap, with a budget of {BUDGET}");
}

#[expect(clippy::print_stderr, reason = "what was measured is to be seen")]
fn eprintln_note(note: &str) {
    eprintln!("{note}");
}

#[test]
fn i2_heap_of_mio_under_attack_stays_under_the_budget() {
    heap_stays_under_the_budget::<MioLoop>();
}

#[test]
fn i2_heap_of_tokio_under_attack_stays_under_the_budget() {
    heap_stays_under_the_budget::<TokioTask>();
}

#[test]
fn i2_heap_of_smol_under_attack_stays_under_the_budget() {
    heap_stays_under_the_budget::<SmolTask>();
}

#[track_caller]
fn assert_fails(check: fn(), because: &str) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let failure = catch_unwind(check).expect_err("a generous server is to be noticed");
    let words = failure.downcast::<String>().map_or_else(|_| String::new(), |words| *words);
    assert!(words.contains(because), "it fails for another reason: {words}");
}

#[test]
fn control_budget_that_is_passed_is_seen() {
    assert_fails(i2_memory_under_attack_stays_under_the_budget::<On<Generous<MioLoop, 4>>>, "I2");
}

#[test]
fn control_cap_that_is_one_too_large_is_seen() {
    use admission::fault_25_peer_beyond_the_cap_hears_why_and_the_next_is_let_in_when_one_has_gone as check;
    assert_fails(check::<On<Generous<MioLoop, 1>>>, "a clean end was to come");
}

#[test]
fn control_share_of_an_address_that_is_one_too_large_is_seen() {
    use admission::fault_26_address_that_has_its_share_leaves_the_others_theirs as check;
    assert_fails(check::<On<Generous<MioLoop, 1>>>, "a clean end was to come");
}
