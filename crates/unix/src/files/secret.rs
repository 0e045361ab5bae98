//! Whether a file that was opened beneath a root is one of the operator's secrets.

use super::root::{DIRECTORY, Root, split_last, stays};
use drywire_server::secrets::is_same;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::{Errno, retry_on_intr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Symlinks that are followed at the end of a name; Linux's own bound.
const LINKS: usize = 40;

/// Directories between a file and the root, at most: more than a name of 4095 bytes can say.
const DEPTH: usize = 4096;

/// Whether `file`, which `name` led to, is a secret, lies in one, or has another name in one.
///
/// Refuses what it cannot be sure of: a file that is not where its name says any more.
pub(super) fn is_secret(root: &Root, name: &[u8], file: &Stat) -> Result<bool, Errno> {
    let secrets = root.secrets();
    // Behind the open: what the paths name by now counts as well.
    secrets.look();
    if secrets.include(file) {
        return Ok(true);
    }
    let directories = secrets.directories();
    if directories.is_empty() {
        return Ok(false);
    }
    Ok(is_below(root, name, file)? || (file.st_nlink > 1 && is_linked(&directories, file)?))
}

/// Whether a directory on the way from the file up to the root is one of the secrets. The file itself does not
/// know where it lies, so its directory is looked for by the name that led to it.
fn is_below(root: &Root, name: &[u8], file: &Stat) -> Result<bool, Errno> {
    let top = fstat(root.directory())?;
    let mut directory = directory_of(root, name, file)?;
    for _ in 0..DEPTH {
        let stat = fstat(&directory)?;
        if root.secrets().include(&stat) {
            return Ok(true);
        }
        if is_same(&stat, &top) {
            return Ok(false);
        }
        directory = retry_on_intr(|| openat(&directory, "..", DIRECTORY, Mode::empty()))?;
    }
    // Somebody moves directories about: there is no way from here to the root.
    Err(Errno::XDEV)
}

/// The directory that holds `file`, behind all links in `name`.
fn directory_of(root: &Root, name: &[u8], file: &Stat) -> Result<OwnedFd, Errno> {
    let mut name = name.to_vec();
    for _ in 0..=LINKS {
        let (directories, last) = split_last(&name);
        if stays(last) || last == b".." {
            // A link to a directory by now.
            return Err(Errno::NOENT);
        }
        let directory = root.open_directory(directories)?;
        let stat = retry_on_intr(|| statat(&directory, last, AtFlags::SYMLINK_NOFOLLOW))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return if is_same(&stat, file) { Ok(directory) } else { Err(Errno::NOENT) };
        }
        let target = readlinkat(&directory, last, Vec::new())?;
        if target.as_bytes().starts_with(b"/") {
            return Err(Errno::XDEV);
        }
        let kept = name.len() - last.len();
        name.truncate(kept);
        name.extend_from_slice(target.as_bytes());
    }
    Err(Errno::LOOP)
}

/// Whether one of the directories has an entry that is this very file.
fn is_linked(directories: &[Option<Arc<OwnedFd>>], file: &Stat) -> Result<bool, Errno> {
    for directory in directories {
        let directory = directory.as_deref().ok_or(Errno::MFILE)?;
        if fstat(directory)?.st_dev != file.st_dev {
            continue;
        }
        let readable = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
        let listed = retry_on_intr(|| openat(directory.as_fd(), ".", readable, Mode::empty()))?;
        for entry in Dir::new(listed)? {
            if entry?.ino() == file.st_ino {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
