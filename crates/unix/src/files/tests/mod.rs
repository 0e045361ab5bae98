//! Files against the real kernel, each with and without the calls that may be missing.

mod open;
mod race;
mod secret;
mod send;

use super::{RegularFile, Root, read_file};
use drywire_server::SystemCalls;
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A served directory with something worth stealing beside it.
struct Site {
    _holder: TempDir,
    served: PathBuf,
    outside: PathBuf,
}

impl Site {
    fn new() -> Site {
        let holder = tempfile::tempdir().unwrap();
        let site =
            Site { served: holder.path().join("served"), outside: holder.path().join("outside"), _holder: holder };
        fs::create_dir_all(site.served.join("sub/deep")).unwrap();
        fs::create_dir(&site.outside).unwrap();
        fs::write(site.served.join("file"), b"inside").unwrap();
        fs::write(site.served.join("sub/deep/file"), b"inside").unwrap();
        fs::write(site.outside.join("file"), b"secret").unwrap();
        site
    }

    /// With openat2 and without.
    fn roots(&self) -> [Root; 2] {
        both_roots(&self.served)
    }

    fn link(&self, target: impl AsRef<Path>, name: &str) {
        std::os::unix::fs::symlink(target, self.served.join(name)).unwrap();
    }
}

fn both_roots(path: &Path) -> [Root; 2] {
    [true, false]
        .map(|openat2| Root::open(path).unwrap().with_system_calls(SystemCalls { openat2, ..SystemCalls::default() }))
}

/// Reads all of a small file, by its descriptor.
#[track_caller]
fn contents(file: &RegularFile) -> Vec<u8> {
    let mut buf = vec![0; 64];
    let n = read_file(file.descriptor.as_fd(), 0, &mut buf).unwrap();
    buf.truncate(n);
    buf
}
