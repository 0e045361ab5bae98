//! One world from its beginning to its end: rounds of the server, time that jumps from
//! one to the next. What must hold between them is in `checks`.

mod checks;

use super::agenda::Coming;
use super::host::Host;
use super::house::REFUSAL;
use super::net::{SimNet, socket_address_of};
use super::plan::Way;
use super::speak::Speak;
use super::state::{Shared, State};
use super::swarm::Fault;
use super::veil::Between;
use super::violation::{Invariant, Violation};
use drywire_core::{Connection, Time};
use drywire_server::{Commons, Config, News, Rounds};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Rounds in a row in which nothing happened, when the worker said that something was
/// ready; and when one of its alarms rang. Alarms are lazy: old ones ring for nothing, up to the
/// worker's bound of them.
const SPINS: u32 = 12;
const FALSE_ALARMS: u32 = 1200;

/// Ticks after which a world in which nothing else happens is over.
const IDLE_TICKS: u32 = 8;

/// What a shutdown gives those that wait to be accepted or to be heard, and how long a connection has
/// to have been idle before it.
pub(crate) const LAST_CALL: Duration = Duration::from_secs(1);
pub(crate) const IDLE_BEFORE: Duration = Duration::from_secs(5);

/// Steps of a world beyond which it will not end.
const STEPS: u32 = 300_000;

pub(crate) struct World<P: Speak, L: Between> {
    rounds: Rounds<P, L, SimNet>,
    host: Host<P>,
    state: Shared,
    commons: Commons,
    /// The most that a connection may take in one turn, in bytes.
    growth: usize,
    woken: Arc<AtomicBool>,
    /// The server was told to end; it has heard that; it was told to end at once.
    ending: bool,
    ending_heard: bool,
    stopped: bool,
    /// Rounds in a row in which nothing happened: those that were due at once, and all.
    spins: u32,
    fruitless: u32,
}

impl<P: Speak, L: Between> World<P, L> {
    pub(crate) fn new(state: State) -> World<P, L> {
        let plan = &state.plan;
        let contents = Rc::new(plan.files.clone());
        let growth = state.lines.iter().map(|line| {
            let protocol = P::new(&line.record, &contents);
            Connection::with_layer(protocol, L::new(&line.record)).with_limits(line.script.limits).most_heap_bytes()
        });
        let growth = growth.max().unwrap_or(0);
        let memory = plan.house.memory.map(|(tenths, more)| growth * tenths / 10 + more);
        let config = Config {
            drain_timeout: plan.drain_timeout,
            commands: plan.commands,
            commands_per_connection: plan.commands_per_connection,
            events: plan.news_per_round,
            budget_bytes: plan.budget,
            memory_bytes: memory.unwrap_or(Config::default().memory_bytes),
            max_connections: plan.house.max_connections,
            max_connections_per_address: plan.house.max_per_address,
            refusal: REFUSAL.into(),
            command_bytes_per_connection: plan.house.command_bytes,
            on_panic: plan.house.on_panic,
            tick: plan.house.tick,
            ..Config::default()
        };
        let mut state = state;
        for line in &state.lines {
            line.record.borrow_mut().facts.is_tight = memory.is_some();
        }
        let woken = Arc::new(AtomicBool::new(false));
        let wake = {
            let woken = woken.clone();
            move || woken.store(true, Ordering::Relaxed)
        };
        let commons = Commons::new(&config);
        state.commons = Some(commons.clone());
        let state = Rc::new(RefCell::new(state));
        let rounds = Rounds::sharing(SimNet { state: state.clone() }, config, commons.clone(), wake);
        let host = Host::new(state.clone(), rounds.server_handle());
        World {
            rounds,
            host,
            state,
            commons,
            growth,
            woken,
            ending: false,
            ending_heard: false,
            stopped: false,
            spins: 0,
            fruitless: 0,
        }
    }

    /// Runs it to its end, or to the first promise that is broken.
    pub(crate) fn run(&mut self) -> Result<(), Violation> {
        self.begin();
        for _ in 0..STEPS {
            self.come();
            self.whole()?;
            if self.rounds.is_done() && self.state.borrow().answers.is_empty() {
                return self.finish();
            }
            let now = self.state.borrow().now;
            let next = self.rounds.next_deadline();
            let is_due = next.is_some_and(|at| at <= now);
            let called = self.woken.swap(false, Ordering::Relaxed);
            let (news, answers) = {
                let state = self.state.borrow();
                (state.news_is_due(), !state.answers.is_empty())
            };
            if news || answers || called || is_due {
                self.round(next == Some(Time::ZERO))?;
                let state = &mut *self.state.borrow_mut();
                let cost = state.random.between(500, 4000) as u64;
                state.now = state.now + Duration::from_nanos(cost);
                continue;
            }
            self.check_wait()?;
            self.host.receipts.check(&self.state.borrow(), true)?;
            let agenda = self.state.borrow().agenda.next_time();
            match (next, agenda) {
                (None, None) if self.ending => {
                    return Err(Violation::new(Invariant::Progress, None, "it was shut down, and waits for nothing"));
                }
                (None, None) if self.state.borrow().is_forgetting_peers() => {
                    return Err(Violation::new(
                        Invariant::Progress,
                        None,
                        "it waits for nothing, and peers wait to be accepted",
                    ));
                }
                (None, None) => {
                    self.doze();
                    self.shut_down();
                }
                (Some(_), None) if !self.ending && self.is_idle() => self.shut_down(),
                (next, agenda) => {
                    let at = next.unwrap_or(Time::NEVER).min(agenda.unwrap_or(Time::NEVER));
                    self.state.borrow_mut().now = at;
                }
            }
        }
        Err(Violation::new(Invariant::Progress, None, format!("{STEPS} steps, and no end")))
    }

    /// Time passes, until every connection that is left is idle.
    fn doze(&mut self) {
        let state = &mut *self.state.borrow_mut();
        if state.luck.one_in(2) {
            state.now = state.now + IDLE_BEFORE + Duration::from_millis(1);
        }
    }

    /// Nothing is to come, nobody waits to be accepted, and for some time only the tick was
    /// called.
    fn is_idle(&self) -> bool {
        self.host.beats.idle_ticks > IDLE_TICKS && !self.state.borrow().is_forgetting_peers()
    }

    fn begin(&mut self) {
        self.rounds.listen_on(()).expect("the world lets everybody listen");
        let scripts: Vec<(Way, Time)> = {
            let state = self.state.borrow();
            state.lines.iter().map(|line| (line.script.way, line.script.at)).collect()
        };
        for (line, (way, at)) in scripts.into_iter().enumerate() {
            if self.state.borrow().plan.absent.contains(&line) {
                continue;
            }
            match way {
                Way::Comes => {
                    let state = &mut *self.state.borrow_mut();
                    let at = state.now + at.saturating_since(Time::ZERO);
                    state.agenda.add(at, Coming::Arrival(line));
                }
                Way::Called => self.host.call(&mut self.rounds, line),
                Way::Added => {}
            }
        }
        let state = &mut *self.state.borrow_mut();
        let later = |state: &mut State, most: usize| {
            let nanos = state.random.between(0, most);
            state.now + Duration::from_nanos(nanos as u64)
        };
        for n in 0..state.random.between(0, 8) {
            let at = later(state, 40_000_000);
            state.agenda.add(at, Coming::Outside(n as u32));
        }
        for _ in 0..3 {
            let at = later(state, 60_000_000);
            let nanos = state.random.pick(&[1_000_000, 20_000_000, 4_000_000_000]);
            if state.plan.swarm.strikes_all(Fault::Pause) {
                state.agenda.add(at, Coming::Pause(nanos));
            }
        }
        for (fault, coming) in
            [(Fault::Shutdown, Coming::Shutdown), (Fault::Stop, Coming::Stop), (Fault::Dropped, Coming::Drop)]
        {
            let at = later(state, 80_000_000);
            if state.plan.swarm.strikes_all(fault) {
                state.agenda.add(at, coming);
            }
        }
    }

    /// Everything on the agenda that is due happens.
    fn come(&mut self) {
        loop {
            let coming = {
                let state = &mut *self.state.borrow_mut();
                let now = state.now;
                state.agenda.take_due(now)
            };
            let Some(coming) = coming else { return };
            match coming {
                Coming::Outside(_) => self.host.act(&mut self.rounds, true),
                Coming::Pause(nanos) => {
                    let state = &mut *self.state.borrow_mut();
                    state.event(40, usize::MAX, nanos, || format!("the process stands still for {nanos} ns"));
                    state.now = state.now + Duration::from_nanos(nanos);
                    state.excused_until = state.now;
                }
                Coming::Shutdown => self.shut_down(),
                Coming::Stop => self.stop(),
                Coming::Drop => self.drop_driver(),
                Coming::Resolved(line, is_known) => self.resolve(line, is_known),
                other @ (Coming::Arrival(_)
                | Coming::Send(_)
                | Coming::Bytes(..)
                | Coming::End(_)
                | Coming::Reset(_)
                | Coming::Read(_)
                | Coming::OurEnd(_)
                | Coming::Established(_)
                | Coming::News(_)
                | Coming::File(..)) => self.state.borrow_mut().come(other),
            }
        }
    }

    /// The answer to a look-up, whether anybody waits for it or not.
    fn resolve(&mut self, line: usize, is_known: bool) {
        let id = {
            let state = &mut *self.state.borrow_mut();
            state.progress += 1;
            state.event(46, line, u64::from(is_known), || format!("its name is looked up: {is_known}"));
            state.lines[line].id.expect("its name was asked for")
        };
        let answer = if is_known { Ok(vec![socket_address_of(line)]) } else { Err(io::ErrorKind::NotFound.into()) };
        self.rounds.on_resolved(id, answer);
    }

    fn shut_down(&mut self) {
        {
            let state = &mut *self.state.borrow_mut();
            state.event(41, usize::MAX, 0, || "the server is told to shut down".into());
            let now = state.now;
            let ends = now + state.plan.drain_timeout;
            let last_call = (now + LAST_CALL).min(ends);
            if !self.ending {
                state.accepts_until = last_call;
            }
            for line in &mut state.lines {
                let is_open = line.is_open();
                let record = &mut *line.record.borrow_mut();
                let is_heard = !record.fed.is_empty() || record.fed_end;
                let facts = &mut record.facts;
                if !facts.drained && !is_heard {
                    facts.heard_until = last_call;
                }
                if is_open {
                    facts.drain_due.get_or_insert(if is_heard { Time::ZERO } else { now + LAST_CALL });
                }
                facts.drained = true;
                facts.drain_ends.get_or_insert(ends);
            }
        }
        let by_handle = self.state.borrow_mut().random.one_in(2);
        if by_handle {
            self.host.server.shutdown();
        } else if !self.ending {
            self.host.on_shutdown();
            self.rounds.shutdown();
        }
        self.ending = true;
    }

    fn stop(&mut self) {
        self.mark_cut("the server is told to stop");
        self.host.farewell.asked_again = true;
        if self.ending && self.state.borrow_mut().random.one_in(2) {
            // The first one may still be on its way.
            self.host.on_shutdown();
            self.rounds.shutdown();
            self.stopped |= self.ending_heard;
        } else {
            self.host.server.abort();
            self.stopped = true;
        }
        self.ending = true;
    }

    fn mark_cut(&mut self, what: &str) {
        let state = &mut *self.state.borrow_mut();
        state.accepts_until = Time::ZERO;
        state.event(42, usize::MAX, 0, || what.into());
        for line in &mut state.lines {
            let mut record = line.record.borrow_mut();
            record.facts.drained = true;
            record.facts.cut = true;
            record.facts.close_asked = true;
        }
    }

    /// As every driver's drop has it; what is left over then is nobody's.
    fn drop_driver(&mut self) {
        self.mark_cut("the driver is dropped");
        self.state.borrow_mut().dropped = true;
        self.host.farewell.asked_again = true;
        self.rounds.end(&mut self.host);
        self.rounds.stop();
        self.ending = true;
    }

    /// One round, and what must hold behind it.
    fn round(&mut self, ready: bool) -> Result<(), Violation> {
        let (before, news, listener) = {
            let state = &mut *self.state.borrow_mut();
            state.calls_in_round = 0;
            state.round_at = state.now;
            let most = state.plan.news_per_round;
            let mut news = state.take_news(most);
            for line in 0..state.lines.len() {
                if state.lines[line].is_open() && state.strikes(Fault::IdleNews, line) {
                    let id = state.lines[line].id.expect("it is open");
                    news.push((line, id, News { read: true, write: true, ..News::default() }));
                }
            }
            let listener = std::mem::take(&mut state.listener_news).then_some(state.listener).flatten();
            (state.progress, news, listener)
        };
        self.rounds.wake_up();
        self.host.sent_lately = [self.host.sent_lately[1], 0];
        // A drain that is over cuts what is left, and says so.
        let mut heard = news.len();
        if let Some(listener) = listener {
            heard += 1;
            self.rounds.on_news(listener, News { read: true, ..News::default() }, &mut self.host);
        }
        let (stale, all) = {
            let state = &mut *self.state.borrow_mut();
            let stale = state.gone.last().copied().filter(|_| state.plan.swarm.strikes_all(Fault::StaleNews));
            (stale, News { read: true, write: true, hang_up: true, urgent: false, failed: true })
        };
        if let Some(id) = stale {
            self.state.borrow_mut().event(43, usize::MAX, 0, || format!("stale news of {id}"));
            self.rounds.on_news(id, all, &mut self.host);
        }
        for (line, id, news) in &news {
            {
                let state = &mut *self.state.borrow_mut();
                state.event(44, *line, u64::from(news.read), || format!("news: {news:?}"));
                state.told = Some(*line);
                state.lines[*line].spent = 0;
            }
            self.rounds.on_news(*id, *news, &mut self.host);
            self.state.borrow_mut().told = None;
            self.whole()?;
        }
        self.answer_files();
        self.rounds.finish_round(heard, &mut self.host);
        self.ending_heard = self.ending;
        self.whole()?;
        self.check_bounds()?;
        self.check_counts()?;
        self.check_memory()?;
        self.host.receipts.check(&self.state.borrow(), false)?;
        self.host.check_looks()?;
        let state = self.state.borrow();
        if state.progress > before || heard > 0 {
            (self.spins, self.fruitless) = (0, 0);
            return Ok(());
        }
        self.fruitless += 1;
        self.spins = if ready { self.spins + 1 } else { 0 };
        drop(state);
        let next = self.rounds.next_deadline();
        self.state.borrow_mut().remark(|| format!("a round in which nothing happens; the next is due at {next:?}"));
        if self.spins > SPINS || self.fruitless > FALSE_ALARMS {
            let rounds = self.fruitless;
            return Err(Violation::new(Invariant::Progress, None, format!("{rounds} rounds in a row for nothing")));
        }
        Ok(())
    }

    fn answer_files(&mut self) {
        loop {
            let (id, file, result) = {
                let state = &mut *self.state.borrow_mut();
                let Some((line, file)) = state.answers.pop() else { return };
                let Some(at) = state.disk.position(line, file) else { continue };
                let result = state.disk.open[at].result;
                state.disk.open[at].answer = Some(result);
                let contents = result.is_ok().then_some(state.disk.open[at].contents);
                if result.is_err() {
                    state.disk.open.remove(at);
                }
                state.progress += 1;
                state.event(45, line, u64::from(file.as_u32()), || format!("{file:?} is answered: {result:?}"));
                if state.lines[line].is_open() {
                    state.lines[line].record.borrow_mut().on_answer(contents, result);
                }
                (state.lines[line].id.expect("it has opened a file"), file, result)
            };
            self.rounds.on_file(id, file, result);
        }
    }

    /// The first thing that was found wrong, by whoever found it.
    fn whole(&self) -> Result<(), Violation> {
        let state = &mut *self.state.borrow_mut();
        if let Some(violation) = state.broken.take() {
            return Err(violation);
        }
        for line in &state.lines {
            if let Some(violation) = line.record.borrow_mut().broken.take() {
                return Err(violation);
            }
        }
        Ok(())
    }

    /// The worker is dropped, and everything with it; what was forgotten then.
    pub(crate) fn end(self) -> (Shared, Option<Violation>) {
        let World { rounds, host, state, commons, .. } = self;
        drop(rounds);
        let left = host.receipts.check_complete().and_then(|()| host.check_last_looks());
        let left = left.and_then(|()| checks::nothing_left(&commons));
        (state, left.err())
    }
}
