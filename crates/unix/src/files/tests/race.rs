//! Opens while somebody swaps things under them.

use super::super::Root;
use super::super::root::open_error;
use super::{Site, contents};
use drywire_core::FileError;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const OPENS: usize = 5_000;

/// Steps of the long link below, each of two bytes; a link has 4095.
const DOTS: usize = 400;

/// Opens `name` many times while `swap` runs over and over. Whatever opens must be
/// from inside. Says how often openat2 gave up with `EAGAIN`.
#[track_caller]
fn opens_given_up(root: &Root, name: &[u8], swap: impl Fn() + Sync) -> usize {
    let done = AtomicBool::new(false);
    let answers: Vec<Result<Vec<u8>, FileError>> = thread::scope(|scope| {
        scope.spawn(|| {
            // In pairs, so that everything is in its place again afterwards.
            while !done.load(Ordering::Relaxed) {
                swap();
                swap();
            }
        });
        let answers = (0..OPENS).map(|_| root.open_beneath(name).map(|file| contents(&file))).collect();
        done.store(true, Ordering::Relaxed);
        answers
    });
    let mut given_up = 0;
    for (nth, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(bytes) => assert_eq!(bytes, b"inside", "{root:?} escaped at open {nth}"),
            Err(FileError::Forbidden | FileError::NotFound) => {}
            Err(error) if error == open_error(Errno::AGAIN) => given_up += 1,
            Err(other) => panic!("{root:?}: {other} at open {nth}"),
        }
    }
    given_up
}

#[track_caller]
fn exchange(one: &Path, other: &Path) {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
}

#[test]
fn fault_52_file_swapped_with_a_symlink_out() {
    let site = Site::new();
    site.link("../outside/file", "trap");
    let (file, trap) = (site.served.join("file"), site.served.join("trap"));
    for root in site.roots() {
        assert_eq!(opens_given_up(&root, b"file", || exchange(&file, &trap)), 0);
        assert_eq!(contents(&root.open_beneath(b"file").unwrap()), b"inside");
        assert_eq!(root.open_beneath(b"trap").unwrap_err(), FileError::Forbidden);
    }
}

#[test]
fn fault_52_directory_swapped_with_a_symlink_out() {
    let site = Site::new();
    site.link("../../outside", "sub/trap");
    let (deep, trap) = (site.served.join("sub/deep"), site.served.join("sub/trap"));
    for root in site.roots() {
        assert_eq!(opens_given_up(&root, b"sub/deep/file", || exchange(&deep, &trap)), 0);
        assert_eq!(contents(&root.open_beneath(b"sub/deep/file").unwrap()), b"inside");
        assert_eq!(root.open_beneath(b"sub/trap/file").unwrap_err(), FileError::Forbidden);
    }
}

#[test]
fn fault_52_symlink_swapped_with_a_symlink_out() {
    let site = Site::new();
    site.link("sub/deep/file", "link");
    site.link("../outside/file", "trap");
    let (link, trap) = (site.served.join("link"), site.served.join("trap"));
    let [scoped, walked] = site.roots();
    assert_eq!(opens_given_up(&scoped, b"link", || exchange(&link, &trap)), 0);
    assert_eq!(contents(&scoped.open_beneath(b"link").unwrap()), b"inside");
    assert_eq!(opens_given_up(&walked, b"link", || exchange(&link, &trap)), 0);
    assert_eq!(walked.open_beneath(b"link").unwrap_err(), FileError::Forbidden);
}

/// The hard one: `..` in a link means the root or what lies beside it, depending
/// on where its directory is at that moment. The dots make the kernel stay in the
/// link for longer; without `RESOLVE_BENEATH` this test, run alone, sees the
/// escape within some hundred opens.
#[test]
fn fault_52_directory_moved_out_of_the_root_and_back() {
    let site = Site::new();
    site.link("./".repeat(DOTS) + "../file", "sub/up");
    let (here, away) = (site.served.join("sub"), site.outside.join("sub"));
    let there_and_back = || {
        fs::rename(&here, &away).unwrap();
        fs::rename(&away, &here).unwrap();
    };
    let [scoped, walked] = site.roots();
    // A link this long needs a quiet moment, which an endless rename may not leave;
    // that links like it are followed is tested where nobody renames.
    let _ = opens_given_up(&scoped, b"sub/up", there_and_back);
    assert_eq!(opens_given_up(&walked, b"sub/up", there_and_back), 0);
    assert_eq!(walked.open_beneath(b"sub/up").unwrap_err(), FileError::Forbidden);
}
