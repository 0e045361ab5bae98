//! From the list of checks to tests: the table, what is not applicable, and the
//! seed of a failure.

use crate::child;
use crate::noise;
use crate::subject::{Capability, Subject};
use std::fmt::Write as _;
use std::io::Write as _;
use std::thread;

/// One `#[test]` for each check, for one [`Subject`](crate::Subject), and one that
/// plays a thousand [scripts](crate::transcript): those that need no more than it
/// declares. `DRYWIRE_SEEDS=17..18` plays others.
///
/// Call it in a file of `tests/`, once per module.
#[macro_export]
macro_rules! suite {
    ($subject:ty) => {
        $crate::every_check! { tests $subject }

        /// Prints which checks apply to this driver and which do not.
        #[test]
        fn table_of_checks() {
            $crate::print_table::<$subject>();
        }

        #[test]
        fn c2_a_thousand_scripts_give_the_transcripts_they_must() {
            $crate::transcript::judge::<$subject>(concat!(
                module_path!(),
                "::c2_a_thousand_scripts_give_the_transcripts_they_must"
            ));
        }
    };
}

/// One thing a driver must do.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// What it is about; the file it stands in.
    pub area: &'static str,
    /// Its name, and the test's.
    pub name: &'static str,
    /// What a driver must declare for it.
    pub needs: Capability,
    /// Where it runs.
    pub process: Process,
    /// The check itself, in this process. Panics when the driver fails it.
    pub run: fn(),
}

/// In which process a check runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// Beside other checks.
    Shared,
    /// In one where nothing else runs: it lowers limits, or counts what belongs to
    /// the whole process.
    Alone,
}

impl Check {
    /// Whether the driver declares what this check is about.
    #[must_use]
    pub fn applies_to<S: Subject>(&self) -> bool {
        S::CAN.contains(&self.needs)
    }
}

/// Every check there is, for this driver.
#[must_use]
pub fn checks_of<S: Subject>() -> Vec<Check> {
    crate::every_check! { table S }
}

/// What a test made by [`suite!`] does. `path` is the test's own, with its crate.
///
/// # Panics
/// When the driver fails the check.
pub fn run<S: Subject>(name: &str, path: &str) {
    let check = checks_of::<S>().into_iter().find(|check| check.name == name).expect("it is made from the same list");
    if !check.applies_to::<S>() {
        say(&format!("{name}: not applicable: {} does not declare {:?}", S::NAME, check.needs));
        return;
    }
    let _seed = SeedOfFailure(check.name);
    match check.process {
        Process::Shared => (check.run)(),
        Process::Alone => child::alone(path, 15 * S::PATIENCE, check.run),
    }
}

/// Prints the checks with what becomes of them.
pub fn print_table<S: Subject>() {
    let checks = checks_of::<S>();
    let count = checks.iter().filter(|check| check.applies_to::<S>()).count();
    let mut table = format!("{}: {count} of {} checks apply\n", S::NAME, checks.len());
    for check in checks {
        let state = if check.applies_to::<S>() { "declared" } else { "not applicable" };
        let needs = format!("{:?}", check.needs);
        writeln!(table, "  {:<12} {needs:<12} {state:<14} {}", check.area, check.name).expect("memory");
    }
    say(table.trim_end());
}

/// Something a person who reads the output should know. Written to the descriptor,
/// where the test harness does not hold it back.
pub(crate) fn say(text: &str) {
    // A closed standard error is nobody's failure.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Says how to repeat a check that fails.
struct SeedOfFailure(&'static str);

impl Drop for SeedOfFailure {
    fn drop(&mut self) {
        if thread::panicking() {
            let (name, seed) = (self.0, noise::seed());
            say(&format!("{name} failed; repeat it with: {}={seed} cargo test {name}", noise::SEED));
        }
    }
}
