//! What this process has and uses, as Linux tells it.

use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashSet;
use std::fs;
use std::hint::spin_loop;
use std::time::Duration;

/// Descriptors that are open.
pub(crate) fn descriptors() -> usize {
    // One of them is the directory that is being read.
    fs::read_dir("/proc/self/fd").expect("Linux").count() - 1
}

/// Threads that run.
pub(crate) fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("Linux").count()
}

/// Memory in use, in bytes.
pub(crate) fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// What the rest of this process takes of the processors while this thread spins, as a share of what
/// that takes itself: 0 when it sleeps, and around 1 when it spins too, also where both get little.
/// A share of the clock would say less the busier the machine is. The least of three: what a driver
/// still does behind the last word is no idling.
pub(crate) fn busy_share() -> f64 {
    /// Long enough for a tick of a hundred times a second to show.
    const SPIN: Duration = Duration::from_millis(100);
    let share = || {
        let (all, own) = (cpu_time(ClockId::ProcessCPUTime), cpu_time(ClockId::ThreadCPUTime));
        let spent = || cpu_time(ClockId::ThreadCPUTime) - own;
        while spent() < SPIN {
            spin_loop();
        }
        let own = spent();
        (cpu_time(ClockId::ProcessCPUTime) - all).saturating_sub(own).as_secs_f64() / own.as_secs_f64()
    };
    let mut least = f64::INFINITY;
    for _ in 0..3 {
        least = least.min(share());
        // Nearly nothing is settled: it costs a busy machine time.
        if least < 0.01 {
            break;
        }
    }
    least
}

fn cpu_time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.try_into().expect("positive"), time.tv_nsec.try_into().expect("below a second"))
}

/// Of the connections to this port of 127.0.0.1, the peers' ports of those in which bytes have come
/// that the server has not read.
pub(crate) fn ports_with_unread_bytes(port: u16) -> HashSet<u16> {
    // Both addresses in hexadecimal, the state, and the bytes that wait in both directions.
    const LISTEN: &str = "0A";
    let local = format!("0100007F:{port:04X}");
    let table = fs::read_to_string("/proc/self/net/tcp").expect("Linux");
    let peers_port = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let unread = fields.get(4)?.split_once(':')?.1;
        let has_some = fields[1] == local && fields[3] != LISTEN && u64::from_str_radix(unread, 16).ok()? > 0;
        has_some.then(|| u16::from_str_radix(fields[2].split_once(':')?.1, 16).ok()).flatten()
    };
    table.lines().filter_map(peers_port).collect()
}

/// Lowers the limit so that this many more descriptors fit. It is one on their
/// numbers, and those that are open need not be the lowest.
pub(crate) fn leave_descriptors(room: usize) {
    let is_open = |number: &u64| fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok();
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = (0..).filter(|number| !is_open(number)).nth(room);
    setrlimit(Resource::Nofile, limit).expect("below the hard limit");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::hint::black_box;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    #[test]
    fn control_what_is_used_is_seen() {
        let (memory, fds) = (resident_bytes(), descriptors());
        let held = black_box(vec![1_u8; 64 << 20]);
        assert!(resident_bytes() > memory + (32 << 20));
        drop(held);
        let files: Vec<_> = (0..100).map(|_| File::open("/dev/null").expect("a device")).collect();
        assert!(descriptors() > fds + 50);
        drop(files);
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let spinning = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                spin_loop();
            }
        });
        let share = busy_share();
        stop.store(true, Ordering::Relaxed);
        spinning.join().expect("it only spins");
        assert!(share > 0.1, "spinning took {:.0} % only; then a check of it proves nothing", share * 100.0);
    }
}
