//! What this process has and uses, as Linux tells it.

use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::time::{Duration, Instant};

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

/// The share of one processor that this process takes while `work` runs.
pub(crate) fn cpu_share(work: impl FnOnce()) -> f64 {
    let (cpu, clock) = (cpu_time(), Instant::now());
    work();
    (cpu_time() - cpu).as_secs_f64() / clock.elapsed().as_secs_f64()
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().expect("positive"), time.tv_nsec.try_into().expect("below a second"))
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
    use std::hint::{black_box, spin_loop};

    #[test]
    fn control_what_is_used_is_seen() {
        let (memory, fds) = (resident_bytes(), descriptors());
        let held = black_box(vec![1_u8; 64 << 20]);
        assert!(resident_bytes() > memory + (32 << 20));
        drop(held);
        let files: Vec<_> = (0..100).map(|_| File::open("/dev/null").expect("a device")).collect();
        assert!(descriptors() > fds + 50);
        drop(files);
        let share = cpu_share(|| {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(200) {
                spin_loop();
            }
        });
        assert!(share > 0.1, "spinning took {:.0} % only; then a check of it proves nothing", share * 100.0);
    }
}
