//! A directory files are served from, and the way into it that does not lead out.
//!
//! What a name means to a protocol (percent-encoding, an index page, hidden
//! files) is not decided here: a name is the bytes of a path.

use super::secret;
use drywire_core::FileError;
use drywire_server::{Secrets, SystemCalls};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, open, openat, statat};
use rustix::io::{Errno, retry_on_intr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The longest name, in bytes: Linux's `PATH_MAX` without the NUL. Checked by us
/// so that the walk, which never shows the kernel the whole name, has it too.
const NAME_CAP_BYTES: usize = 4095;

/// How often openat2 is asked again after `EAGAIN`. Any rename or mount on the
/// machine makes it give up on a symlink that holds `..`. Measured: with eight
/// threads that did nothing but rename, three refusals in a row were the worst of
/// 200 000 opens. 64 tries of 3 µs stay far below a millisecond.
const OPENAT2_TRIES: usize = 64;

/// A directory on the way. `O_PATH` asks for no more than permission to pass.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// The file at the end. `O_NONBLOCK` lets the open of a FIFO or a device return
/// at once; `O_NOCTTY` keeps a terminal from becoming ours (FAULTS 50).
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// A directory that files are served from, held open.
///
/// Renaming or replacing the directory does not move a `Root`: it stays with the
/// one that was opened. Mounts inside count as part of it, on purpose: whoever
/// can mount decides what is served.
///
/// Can be shared between threads.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    calls: SystemCalls,
    secrets: Secrets,
}

/// A regular file, open for reading.
#[derive(Debug)]
pub struct RegularFile {
    /// Closed when dropped.
    pub descriptor: OwnedFd,
    /// Its length in bytes, as this very descriptor told it after the open.
    pub len_bytes: u64,
}

impl Root {
    /// Opens the directory. Symlinks in `path` are followed: it is the operator's.
    ///
    /// # Errors
    /// The system's, among them `ENOTDIR` for anything but a directory.
    pub fn open(path: &Path) -> io::Result<Root> {
        let directory = retry_on_intr(|| open(path, DIRECTORY, Mode::empty()))?;
        Ok(Root { directory, calls: SystemCalls::default(), secrets: Secrets::default() })
    }

    /// The same directory, opened with these system calls only.
    #[must_use]
    pub fn with_system_calls(self, calls: SystemCalls) -> Root {
        Root { calls, ..self }
    }

    /// The same directory, beneath which none of `secrets` is opened. They are looked at now, and
    /// at each open; without any, an open costs no more than it did.
    ///
    /// *Guaranteed*, by whatever name it is asked for: no file that one of the paths names, or
    /// named at a [look](Secrets::look); no file in one of the directories, or below it; and none
    /// that has another name directly in one of them (a hard link).
    ///
    /// Not covered: a copy; what was moved out of a secret directory, or removed from it while it
    /// has another name; what a second mount of a secret directory shows. A secret directory that
    /// the root itself lies in hides nothing of the root.
    ///
    /// Costs an open a stat(2) for each path, with a directory among them some more for each step
    /// up to the root, and a reading of that directory where a file has several names.
    #[must_use]
    pub fn with_secrets(self, secrets: Secrets) -> Root {
        secrets.look();
        Root { secrets, ..self }
    }

    /// Opens the regular file that `name` leads to beneath this directory.
    ///
    /// Guaranteed: the result is a regular file that was reached without leaving
    /// the root (FAULTS 51, 52); the call never waits for the other end of a FIFO or
    /// for a device (FAULTS 50). The checks hold for the descriptor, not for the
    /// name, so a swap between check and use has nothing to gain.
    ///
    /// Symlinks are followed while they stay beneath the root; an absolute one does
    /// not, wherever it points. Without openat2 (Linux before 5.6, some sandboxes,
    /// other systems) every symlink is refused, and a directory that somebody moves
    /// out of the root during the call may still be passed.
    ///
    /// True today: a FIFO is opened before it is refused, which lets a process that
    /// waited for a reader go on, and find none.
    ///
    /// # Errors
    /// [`FileError::Forbidden`]: an empty or absolute name, a NUL, a `..` anywhere
    /// (even `a/../b`, which would stay inside: one rule for both ways in), a link
    /// that leaves, no permission.
    /// [`FileError::NotFound`]: nothing there, a name longer than 4095 bytes, or a
    /// [secret](Root::with_secrets).
    /// [`FileError::NotRegular`]: a directory, FIFO, device or socket.
    /// [`FileError::TooMany`]: no descriptor left.
    /// [`FileError::Io`]: anything else; `EAGAIN` when renames kept interfering, or
    /// when another process holds a lease on the file.
    ///
    /// Source: openat2(2).
    pub fn open_beneath(&self, name: &[u8]) -> Result<RegularFile, FileError> {
        check_name(name)?;
        let descriptor = self.open_unchecked(name).map_err(open_error)?;
        let stat = fstat(&descriptor).map_err(open_error)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory
            | FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => return Err(FileError::NotRegular),
        }
        if !self.secrets.is_empty() && secret::is_secret(self, name, &stat).map_err(open_error)? {
            return Err(FileError::NotFound);
        }
        let len_bytes = u64::try_from(stat.st_size).map_err(|_| open_error(Errno::OVERFLOW))?;
        Ok(RegularFile { descriptor, len_bytes })
    }

    fn open_unchecked(&self, name: &[u8]) -> Result<OwnedFd, Errno> {
        match self.open_scoped(name, FILE) {
            Some(answer) => answer,
            None => walk(self.directory(), name),
        }
    }

    /// The directory that `name` leads to beneath this one; an empty name is this one.
    pub(super) fn open_directory(&self, name: &[u8]) -> Result<OwnedFd, Errno> {
        match self.open_scoped(if name.is_empty() { b"." } else { name }, DIRECTORY) {
            Some(answer) => answer,
            None => match walk_directories(self.directory(), name)? {
                Some(reached) => Ok(reached),
                None => walk_into(self.directory(), b"."),
            },
        }
    }

    /// `None` without openat2.
    fn open_scoped(&self, name: &[u8], flags: OFlags) -> Option<Result<OwnedFd, Errno>> {
        match self.calls.openat2.then(|| open_scoped(self.directory(), name, flags))? {
            // EPERM is how seccomp filters of old containers say ENOSYS. Asked
            // each time: a failed call costs little beside an open.
            Err(Errno::NOSYS | Errno::PERM) => None,
            answer => Some(answer),
        }
    }

    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    pub(super) fn secrets(&self) -> &Secrets {
        &self.secrets
    }
}

/// What both ways in refuse before they look.
fn check_name(name: &[u8]) -> Result<(), FileError> {
    if name.len() > NAME_CAP_BYTES {
        return Err(FileError::NotFound);
    }
    let leaves = name.is_empty()
        || name[0] == b'/'
        || name.contains(&0)
        || name.split(|&byte| byte == b'/').any(|part| part == b"..");
    if leaves { Err(FileError::Forbidden) } else { Ok(()) }
}

/// The kernel keeps the whole way beneath `root`.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn open_scoped(root: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    use rustix::fs::{ResolveFlags, openat2};
    // BENEATH refuses magic links too, today: its manual page says not to rely on it.
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..OPENAT2_TRIES {
        match openat2(root, name, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            answer => return answer,
        }
    }
    Err(Errno::AGAIN)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn open_scoped(_: BorrowedFd<'_>, _: &[u8], _: OFlags) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}

/// One directory at a time, following nothing: with neither `..` nor symlinks
/// there is no step that leads out.
fn walk(root: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let (directories, last) = split_last(name);
    let reached = walk_directories(root, directories)?;
    if stays(last) {
        // "a/" and "a/." mean the directory "a" itself.
        return Err(Errno::ISDIR);
    }
    let at = reached.as_ref().map_or(root, AsFd::as_fd);
    retry_on_intr(|| openat(at, last, FILE | OFlags::NOFOLLOW, Mode::empty()))
}

/// `None` for a name that does not lead on.
fn walk_directories(root: BorrowedFd<'_>, directories: &[u8]) -> Result<Option<OwnedFd>, Errno> {
    let mut reached = None;
    for part in directories.split(|&byte| byte == b'/').filter(|part| !stays(part)) {
        let at = reached.as_ref().map_or(root, AsFd::as_fd);
        reached = Some(walk_into(at, part)?);
    }
    Ok(reached)
}

/// The directories, and what stands behind the last slash.
pub(super) fn split_last(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&name[..slash], &name[slash + 1..]),
        None => (&name[..0], name),
    }
}

fn walk_into(at: BorrowedFd<'_>, part: &[u8]) -> Result<OwnedFd, Errno> {
    let answer = retry_on_intr(|| openat(at, part, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()));
    match answer {
        // A symlink is "not a directory" too. Only the wording hangs on this
        // second look; the refusal stands.
        Err(Errno::NOTDIR) if is_symlink(at, part) => Err(Errno::LOOP),
        answer => answer,
    }
}

fn is_symlink(at: BorrowedFd<'_>, part: &[u8]) -> bool {
    statat(at, part, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// Whether a component of a path leads nowhere else.
pub(super) fn stays(part: &[u8]) -> bool {
    matches!(part, b"" | b".")
}

/// What an error of an open means to the core.
pub(super) fn open_error(errno: Errno) -> FileError {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => FileError::NotFound,
        // EXDEV: openat2 met a way out. ELOOP: a link that may not be followed.
        Errno::ACCESS | Errno::PERM | Errno::XDEV | Errno::LOOP => FileError::Forbidden,
        // ENXIO: a socket, or a device without a driver.
        Errno::ISDIR | Errno::NXIO | Errno::NODEV => FileError::NotRegular,
        Errno::MFILE | Errno::NFILE => FileError::TooMany,
        other => FileError::Io(other.raw_os_error()),
    }
}
