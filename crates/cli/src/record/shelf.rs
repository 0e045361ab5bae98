//! The directory that recordings are written to, by a thread of its own: a disk that
//! is slow or full costs recordings, never a connection.
//!
//! What is in a recording is the core's business.

use crate::{path_in_words, say};
use drywire_core::Time;
use drywire_core::escape::printable;
use drywire_server::{Log, LogLimiter};
use std::collections::VecDeque;
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use thiserror::Error;

/// Recordings that wait for the disk, at most. One more is dropped, and counted.
const QUEUE: usize = 4096;

/// What these may have together, in bytes; a single one may be as long as it is.
const QUEUE_BYTES: usize = 64 << 20;

/// How our files end.
pub(crate) const SUFFIX: &str = ".dwr";

#[derive(Debug, Error)]
pub(crate) enum ShelfError {
    #[error("cannot record to {}: {source}; name a directory that can be written to with --record", path_in_words(.path))]
    Directory { path: PathBuf, source: io::Error },
    #[error(
        "peers could fetch the recordings in {}: it lies below {}, which is served; name another with --record",
        path_in_words(.path),
        path_in_words(.root)
    )]
    Served { path: PathBuf, root: PathBuf },
}

/// At the end the disk gets this long for what still waits. A disk that has gone
/// away does not keep a server from stopping.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where recordings go. Dropped unfinished, it writes what waits and says nothing.
pub(crate) struct Shelf {
    slot: Slot,
    /// Tells when the writer has nothing more to do.
    written: Receiver<Written>,
}

/// The way in, for one tape or another.
#[derive(Clone)]
pub(crate) struct Slot {
    queue: SyncSender<Finished>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    dropped: AtomicU64,
    waiting_bytes: AtomicUsize,
}

struct Finished {
    at: SystemTime,
    file: Vec<u8>,
}

impl Shelf {
    /// Makes the directory if only that is missing, and sees whether it can be written to.
    ///
    /// It must not lie below `served`: what one peer said is no business of the next.
    ///
    /// Bound: `keep` recordings in it; the oldest go.
    pub(crate) fn open(
        directory: &Path,
        served: Option<&Path>,
        name: &'static str,
        keep: usize,
    ) -> Result<Shelf, ShelfError> {
        let error = |source| ShelfError::Directory { path: directory.into(), source };
        if let Some(root) = served
            && real(directory).map_err(error)?.starts_with(root)
        {
            return Err(ShelfError::Served { path: directory.into(), root: root.into() });
        }
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
            result => result.map_err(error)?,
        }
        unfinished_file(directory).map_err(error)?;
        let mut ours: Vec<String> = fs::read_dir(directory)
            .map_err(error)?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| is_ours(name))
            .collect();
        ours.sort_unstable();
        let (slot, inbox) = Slot::new();
        let counts = Arc::clone(&slot.counts);
        let writer = Writer { directory: directory.into(), name, keep, ours: ours.into(), number: 0 };
        let (end, written) = sync_channel(1);
        let run = move || {
            // Nobody waits for it any more when the server was impatient.
            let _ = end.send(writer.run(&inbox, &counts));
        };
        thread::Builder::new().name("recordings".into()).spawn(run).map_err(error)?;
        Ok(Shelf { slot, written })
    }

    pub(crate) fn slot(&self) -> Slot {
        self.slot.clone()
    }

    /// Waits until all that was taken is written. Every other slot has to be gone.
    pub(crate) fn finish(self) {
        let Shelf { slot, written } = self;
        let counts = Arc::clone(&slot.counts);
        drop(slot);
        let Ok(written) = written.recv_timeout(PATIENCE) else {
            say(format_args!("the last recordings are not written: the disk took longer than {PATIENCE:?}"));
            return;
        };
        let dropped = counts.dropped.load(Ordering::Relaxed);
        if dropped > 0 || written.failed > 0 {
            say(format_args!(
                "recordings: {} written, {dropped} dropped because the disk was too slow, \
                 {} not written for another reason",
                written.whole, written.failed
            ));
        }
    }
}

impl Slot {
    fn new() -> (Slot, Receiver<Finished>) {
        let (queue, inbox) = sync_channel(QUEUE);
        (Slot { queue, counts: Arc::default() }, inbox)
    }

    /// Takes a finished recording, or drops and counts it. Never waits.
    pub(crate) fn put(&self, file: Vec<u8>) {
        let Counts { dropped, waiting_bytes } = &*self.counts;
        let len = file.len();
        let before = waiting_bytes.fetch_add(len, Ordering::Relaxed);
        let fits = before == 0 || before.saturating_add(len) <= QUEUE_BYTES;
        if !fits || self.queue.try_send(Finished { at: SystemTime::now(), file }).is_err() {
            waiting_bytes.fetch_sub(len, Ordering::Relaxed);
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What came of it.
#[derive(Default)]
struct Written {
    whole: u64,
    failed: u64,
}

struct Writer {
    directory: PathBuf,
    name: &'static str,
    keep: usize,
    /// Those there are, oldest first.
    ours: VecDeque<String>,
    number: u64,
}

impl Writer {
    fn run(mut self, inbox: &Receiver<Finished>, counts: &Counts) -> Written {
        let began = Instant::now();
        let (mut failures, mut losses, mut stuck) = (LogLimiter::new(), LogLimiter::new(), LogLimiter::new());
        let (mut written, mut told) = (Written::default(), 0);
        while let Ok(finished) = inbox.recv() {
            let now = Time::ZERO + began.elapsed();
            let result = self.write(&finished);
            counts.waiting_bytes.fetch_sub(finished.file.len(), Ordering::Relaxed);
            match result {
                Ok(()) => written.whole += 1,
                Err(error) => {
                    written.failed += 1;
                    if let Log::Write { suppressed } = failures.on_event(now) {
                        let directory = path_in_words(&self.directory);
                        tracing::warn!(%directory, error = %printable(&error), suppressed, "a recording could not be written");
                    }
                }
            }
            if let Err(error) = self.prune()
                && let Log::Write { suppressed } = stuck.on_event(now)
            {
                let directory = path_in_words(&self.directory);
                tracing::warn!(%directory, error = %printable(&error), suppressed, "an old recording could not be removed");
            }
            let lost = counts.dropped.load(Ordering::Relaxed);
            if lost > told && matches!(losses.on_event(now), Log::Write { .. }) {
                tracing::warn!(dropped = lost - told, "recordings were dropped: the disk is too slow");
                told = lost;
            }
        }
        written
    }

    /// Under a name that nobody reads yet, then under its own, which nobody has.
    fn write(&mut self, finished: &Finished) -> io::Result<()> {
        let mut file = unfinished_file(&self.directory)?;
        file.write_all(&finished.file)?;
        loop {
            self.number += 1;
            let name = format!("{}-{:06}-{}{SUFFIX}", stamp(finished.at), self.number, self.name);
            match file.persist_noclobber(self.directory.join(&name)) {
                Ok(_) => {
                    self.ours.push_back(name);
                    break;
                }
                // Another server's, of the same millisecond and the same number.
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => file = error.file,
                Err(error) => return Err(error.error),
            }
        }
        Ok(())
    }

    /// Removes the oldest. One that cannot be removed is not tried again.
    fn prune(&mut self) -> io::Result<()> {
        while self.ours.len() > self.keep {
            let Some(oldest) = self.ours.pop_front() else { break };
            match fs::remove_file(self.directory.join(oldest)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// Without links, though the last part need not be there yet.
fn real(path: &Path) -> io::Result<PathBuf> {
    path.canonicalize().or_else(|error| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if parent.as_os_str().is_empty() => Ok(Path::new(".").canonicalize()?.join(name)),
        (Some(parent), Some(name)) => Ok(parent.canonicalize()?.join(name)),
        (_, None) | (None, _) => Err(error),
    })
}

/// Readable for nobody else, and gone if it is not finished.
fn unfinished_file(directory: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(".drywire-").suffix(".part").tempfile_in(directory)
}

/// `20261121-123456.789`, in UTC.
fn stamp(at: SystemTime) -> String {
    let text = humantime::format_rfc3339_millis(at).to_string();
    text.chars().filter(|c| !matches!(c, '-' | ':' | 'Z')).map(|c| if c == 'T' { '-' } else { c }).collect()
}

/// Looks like a name we gave: nothing else is ever removed.
fn is_ours(name: &str) -> bool {
    let Some(name) = name.strip_suffix(SUFFIX) else { return false };
    let mut parts = name.splitn(4, '-');
    let is_number = |text: &str, len: usize| text.len() >= len && text.bytes().all(|byte| byte.is_ascii_digit());
    let (Some(day), Some(time), Some(number), Some(_)) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let time = time.split_once('.').is_some_and(|(time, ms)| is_number(time, 6) && is_number(ms, 3));
    is_number(day, 8) && time && is_number(number, 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(slot: &Slot) -> u64 {
        slot.counts.dropped.load(Ordering::Relaxed)
    }

    #[test]
    fn queue_that_is_full_drops_and_counts_and_never_waits() {
        let (slot, inbox) = Slot::new();
        (0..QUEUE + 3).for_each(|_| slot.put(vec![1]));
        assert_eq!(dropped(&slot), 3);
        assert_eq!(inbox.try_iter().count(), QUEUE);
        slot.put(vec![2]);
        assert_eq!(dropped(&slot), 3);
    }

    #[test]
    fn queue_is_bounded_in_bytes_but_takes_a_single_one_of_any_length() {
        let (slot, inbox) = Slot::new();
        slot.put(vec![0; QUEUE_BYTES + 1]);
        assert_eq!(dropped(&slot), 0);
        slot.put(vec![1]);
        assert_eq!(dropped(&slot), 1);
        assert_eq!(inbox.try_iter().count(), 1);
    }

    #[test]
    fn names_sort_by_time_and_are_known_again() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_264_496_789);
        assert_eq!(stamp(at), "20261121-123456.789");
        for (name, ours) in [
            ("20261121-123456.789-000017-line-echo.dwr", true),
            ("20261121-123456.789-1000000-x.dwr", true),
            ("20261121-123456.789-000017-line-echo", false),
            ("20261121-123456-000017-line-echo.dwr", false),
            ("20261121-123456.789-17-line-echo.dwr", false),
            ("2026112x-123456.789-000017-line-echo.dwr", false),
            ("holiday.dwr", false),
        ] {
            assert_eq!(is_ours(name), ours, "{name}");
        }
    }

    #[test]
    fn old_recording_that_cannot_be_removed_does_not_fail_the_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let stuck = "19700101-000000.000-000001-x.dwr";
        fs::create_dir(directory.path().join(stuck)).unwrap();
        let ours = VecDeque::from([stuck.to_owned()]);
        let mut writer = Writer { directory: directory.path().into(), name: "x", keep: 1, ours, number: 1 };
        writer.write(&Finished { at: SystemTime::UNIX_EPOCH, file: b"new".to_vec() }).unwrap();
        assert!(writer.prune().is_err());
        assert!(writer.prune().is_ok(), "it is not tried again");
        assert_eq!(fs::read(directory.path().join("19700101-000000.000-000002-x.dwr")).unwrap(), b"new");
    }

    #[test]
    fn name_that_another_server_took_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let at = SystemTime::UNIX_EPOCH;
        let taken = directory.path().join("19700101-000000.000-000001-x.dwr");
        fs::write(&taken, "theirs").unwrap();
        let mut writer =
            Writer { directory: directory.path().into(), name: "x", keep: 9, ours: VecDeque::new(), number: 0 };
        writer.write(&Finished { at, file: b"ours".to_vec() }).unwrap();
        assert_eq!(fs::read(taken).unwrap(), b"theirs");
        assert_eq!(fs::read(directory.path().join("19700101-000000.000-000002-x.dwr")).unwrap(), b"ours");
    }
}
