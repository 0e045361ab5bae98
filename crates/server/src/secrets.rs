//! What is never served: which files and directories that are, by whatever name.
//!
//! What follows from it for a file that is asked for is decided where files are opened
//! (`drywire_unix::files::Root`).

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, open, stat};
use rustix::io::retry_on_intr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Only to hold it, so no permission to read is needed, and a FIFO does not block.
#[cfg(any(target_os = "linux", target_os = "android"))]
const HOLD: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const HOLD: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Files, and directories with all that is in them, that are never opened beneath a
/// root: private keys, recordings.
///
/// A file is known by device and inode, so it is refused under every name: a hard link, a
/// symlink, after it was renamed. Both count, what a path names now, and what it named at each
/// [`Secrets::look`]: a key that was renewed is a secret still while it exists.
///
/// Clones share what they have seen; each has paths of its own.
///
/// Bound: what the paths name now, and [`Secrets::HELD`] files that they named before, each held by a
/// descriptor, so that no other file can be given its inode. Of more of these the oldest is forgotten.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    paths: Vec<PathBuf>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// What a path named.
#[derive(Clone, Debug)]
struct Seen {
    stat: Stat,
    /// `None` when it could not be opened: then it counts while a path names it.
    held: Option<Arc<OwnedFd>>,
    /// A path named it at the last look.
    is_named: bool,
}

impl Secrets {
    /// Files that are remembered at most of those that no path names any more.
    pub const HELD: usize = 64;

    /// Adds a file, or a directory. What it names may be missing yet.
    pub fn add(&mut self, path: impl Into<PathBuf>) {
        let path = path.into();
        if !self.paths.contains(&path) {
            self.paths.push(path);
        }
    }

    /// Those that were added.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// There are none, so there is nothing to be compared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Sees what the paths name now, and remembers it. To be called when a secret was read, such as a
    /// renewed key; each open of a file looks by itself.
    ///
    /// Costs a stat(2) for each path, and two more calls for what was not seen before.
    pub fn look(&self) {
        let mut seen = self.seen();
        seen.iter_mut().for_each(|seen| seen.is_named = false);
        for path in &self.paths {
            // What is not there, or may not be looked at, can be compared with nothing.
            let Ok(now) = retry_on_intr(|| stat(path)) else { continue };
            match seen.iter_mut().find(|seen| is_same(&seen.stat, &now)) {
                Some(seen) => seen.is_named = true,
                None => seen.push(hold(path).unwrap_or(Seen { stat: now, held: None, is_named: true })),
            }
        }
        // Without a name it cannot be opened any more; without a descriptor its inode may be another's.
        let has_a_name = |held: &Arc<OwnedFd>| fstat(held).is_ok_and(|stat| stat.st_nlink > 0);
        seen.retain(|seen| seen.is_named || seen.held.as_ref().is_some_and(has_a_name));
        let mut too_many = seen.iter().filter(|seen| !seen.is_named).count().saturating_sub(Secrets::HELD);
        seen.retain(|seen| {
            let is_forgotten = !seen.is_named && too_many > 0;
            too_many -= usize::from(is_forgotten);
            !is_forgotten
        });
    }

    /// Whether this is one of them, as of the last [`Secrets::look`].
    #[must_use]
    pub fn include(&self, file: &Stat) -> bool {
        self.seen().iter().any(|seen| is_same(&seen.stat, file))
    }

    /// The directories among them, as of the last [`Secrets::look`]; `None` for one that could not be
    /// opened.
    #[must_use]
    pub fn directories(&self) -> Vec<Option<Arc<OwnedFd>>> {
        let is_directory = |seen: &&Seen| FileType::from_raw_mode(seen.stat.st_mode) == FileType::Directory;
        self.seen().iter().filter(is_directory).map(|seen| seen.held.clone()).collect()
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same file, whatever it is called.
#[must_use]
pub fn is_same(a: &Stat, b: &Stat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

fn hold(path: &Path) -> Option<Seen> {
    let held = retry_on_intr(|| open(path, HOLD, Mode::empty())).ok()?;
    let stat = fstat(held.as_fd()).ok()?;
    Some(Seen { stat, held: Some(Arc::new(held)), is_named: true })
}

/// By their paths: what these name is the file system's.
impl PartialEq for Secrets {
    fn eq(&self, other: &Secrets) -> bool {
        self.paths == other.paths
    }
}

impl Eq for Secrets {}

impl<P: Into<PathBuf>> FromIterator<P> for Secrets {
    fn from_iter<I: IntoIterator<Item = P>>(paths: I) -> Secrets {
        let mut secrets = Secrets::default();
        paths.into_iter().for_each(|path| secrets.add(path));
        secrets
    }
}

impl<P: Into<PathBuf>, const N: usize> From<[P; N]> for Secrets {
    fn from(paths: [P; N]) -> Secrets {
        paths.into_iter().collect()
    }
}
