//! What opens and what is refused.

use super::super::root::open_error;
use super::super::{RegularFile, Root};
use super::{Site, both_roots, contents};
use drywire_core::FileError;
use drywire_server::SystemCalls;
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::io::{Errno, FdFlags, fcntl_getfd};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

#[track_caller]
fn assert_opens(root: &Root, name: &[u8], expected: &[u8]) {
    let file = root
        .open_beneath(name)
        .unwrap_or_else(|error| panic!("{root:?} {:?}: {error}", name.escape_ascii().to_string()));
    assert_eq!(contents(&file), expected);
    assert_eq!(file.len_bytes, expected.len() as u64);
}

#[track_caller]
fn assert_refused(root: &Root, name: &[u8], expected: FileError) {
    let answer = root.open_beneath(name).map(|file| contents(&file));
    assert_eq!(answer, Err(expected), "{root:?} {:?}", name.escape_ascii().to_string());
}

/// Opens on another thread; a call that blocks fails the test instead of hanging it.
#[track_caller]
fn open_without_blocking(root: Root, name: &'static [u8]) -> Result<RegularFile, FileError> {
    let (answer, answered) = mpsc::channel();
    thread::spawn(move || answer.send(root.open_beneath(name)));
    answered.recv_timeout(Duration::from_secs(30)).expect("the open blocks")
}

#[test]
fn root_must_be_a_directory() {
    let site = Site::new();
    let errno = |path: &Path| Errno::from_io_error(&Root::open(path).unwrap_err()).unwrap();
    assert_eq!(errno(&site.served.join("file")), Errno::NOTDIR);
    assert_eq!(errno(&site.served.join("missing")), Errno::NOENT);
}

#[test]
fn root_behind_a_symlink_is_the_operators_choice() {
    let site = Site::new();
    site.link("sub", "shortcut");
    for root in both_roots(&site.served.join("shortcut")) {
        assert_opens(&root, b"deep/file", b"inside");
    }
}

#[test]
fn root_stays_with_the_directory_when_it_is_renamed() {
    let site = Site::new();
    let roots = site.roots();
    fs::rename(&site.served, site.outside.join("elsewhere")).unwrap();
    for root in roots {
        assert_opens(&root, b"sub/deep/file", b"inside");
    }
}

#[test]
fn names_are_bytes_and_may_hold_slashes_and_dots() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let site = Site::new();
    for odd in [&b"\xff\xfe caf\xe9"[..], b"..hidden", b"...", b"a..b", b"line\nbreak", b"%2e%2e", b"back\\slash"] {
        fs::write(site.served.join(OsStr::from_bytes(odd)), b"odd").unwrap();
        for root in site.roots() {
            assert_opens(&root, odd, b"odd");
        }
    }
    for root in site.roots() {
        assert_opens(&root, b"file", b"inside");
        assert_opens(&root, b"sub/deep/file", b"inside");
        assert_opens(&root, b"./sub//./deep/file", b"inside");
    }
}

#[test]
fn an_empty_file_opens() {
    let site = Site::new();
    fs::write(site.served.join("empty"), b"").unwrap();
    for root in site.roots() {
        assert_opens(&root, b"empty", b"");
    }
}

#[test]
fn length_is_not_cut_to_32_bits() {
    let site = Site::new();
    let len = (1 << 32) + 5;
    fs::File::create(site.served.join("big")).unwrap().set_len(len).unwrap();
    for root in site.roots() {
        assert_eq!(root.open_beneath(b"big").unwrap().len_bytes, len);
    }
}

#[test]
fn descriptors_are_closed_in_programs_we_start() {
    let site = Site::new();
    for root in site.roots() {
        let file = root.open_beneath(b"sub/deep/file").unwrap();
        assert!(fcntl_getfd(&file.descriptor).unwrap().contains(FdFlags::CLOEXEC));
    }
}

#[test]
fn what_is_missing_is_not_found() {
    let site = Site::new();
    site.link("nowhere", "dangling");
    let [scoped, walked] = site.roots();
    for root in [&scoped, &walked] {
        assert_refused(root, b"missing", FileError::NotFound);
        assert_refused(root, b"missing/file", FileError::NotFound);
        assert_refused(root, b"file/below", FileError::NotFound);
        assert_refused(root, b"file/", FileError::NotFound);
        assert_refused(root, b"file/.", FileError::NotFound);
        assert_refused(root, &[b'a'; 300], FileError::NotFound);
    }
    assert_refused(&scoped, b"dangling", FileError::NotFound);
    assert_refused(&walked, b"dangling", FileError::Forbidden);
}

#[test]
fn an_endless_name_is_not_found_in_either_way() {
    let site = Site::new();
    for root in site.roots() {
        let mut longest = b"./".repeat(2045);
        longest.extend_from_slice(b".file");
        assert_eq!(longest.len(), 4095);
        longest[4090] = b'/';
        assert_opens(&root, &longest, b"inside");
        longest.insert(0, b'.');
        assert_refused(&root, &longest, FileError::NotFound);
    }
}

/// Root may read everything, so a run as root only checks the table of errors.
#[test]
fn fault_49_no_permission_is_forbidden() {
    assert_eq!(open_error(Errno::ACCESS), FileError::Forbidden);
    let site = Site::new();
    let path = site.served.join("file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_err() {
        for root in site.roots() {
            assert_refused(&root, b"file", FileError::Forbidden);
        }
    }
}

#[test]
fn fault_18_no_descriptor_left_has_a_name() {
    assert_eq!(open_error(Errno::MFILE), FileError::TooMany);
    assert_eq!(open_error(Errno::NFILE), FileError::TooMany);
    assert_eq!(open_error(Errno::IO), FileError::Io(Errno::IO.raw_os_error()));
}

#[test]
fn fault_50_directory_is_refused() {
    let site = Site::new();
    site.link("sub", "linked");
    for root in site.roots() {
        for name in [&b"."[..], b"./", b"sub", b"sub/", b"sub/.", b"sub/deep"] {
            assert_refused(&root, name, FileError::NotRegular);
        }
    }
    let [scoped, walked] = site.roots();
    assert_refused(&scoped, b"linked", FileError::NotRegular);
    assert_refused(&walked, b"linked", FileError::Forbidden);
}

#[test]
fn fault_50_fifo_is_refused_and_never_blocks() {
    let site = Site::new();
    mkfifoat(CWD, site.served.join("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
    for root in site.roots() {
        assert_eq!(open_without_blocking(root, b"fifo").unwrap_err(), FileError::NotRegular);
    }
}

#[test]
fn fault_50_fifo_with_a_writer_is_refused_too() {
    let site = Site::new();
    let path = site.served.join("fifo");
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
    let _both_ends = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    for root in site.roots() {
        assert_eq!(open_without_blocking(root, b"fifo").unwrap_err(), FileError::NotRegular);
    }
}

#[test]
fn fault_50_device_is_refused() {
    for root in both_roots(Path::new("/dev")) {
        assert_refused(&root, b"null", FileError::NotRegular);
        assert_refused(&root, b"zero", FileError::NotRegular);
        // Without a controlling terminal the open itself says ENXIO.
        assert_refused(&root, b"tty", FileError::NotRegular);
    }
}

#[test]
fn fault_50_socket_is_refused() {
    let site = Site::new();
    let _listener = std::os::unix::net::UnixListener::bind(site.served.join("socket")).unwrap();
    for root in site.roots() {
        assert_refused(&root, b"socket", FileError::NotRegular);
    }
}

#[test]
fn fault_50_symlink_to_a_device_is_refused() {
    let site = Site::new();
    site.link("/dev/zero", "zero");
    for root in site.roots() {
        assert_refused(&root, b"zero", FileError::Forbidden);
    }
}

#[test]
fn fault_51_names_that_lead_out_are_refused() {
    let site = Site::new();
    let absolute = site.served.join("file").into_os_string().into_encoded_bytes();
    for root in site.roots() {
        assert_refused(&root, &absolute, FileError::Forbidden);
        for name in [
            &b""[..],
            b"/",
            b"//",
            b"/etc/passwd",
            b"//file",
            b"..",
            b"../",
            b"../outside/file",
            b"sub/../../outside/file",
            b"sub/..",
        ] {
            assert_refused(&root, name, FileError::Forbidden);
        }
    }
}

#[test]
fn fault_51_dot_dot_is_refused_even_where_it_would_stay_inside() {
    let site = Site::new();
    for root in site.roots() {
        assert_refused(&root, b"sub/../file", FileError::Forbidden);
        assert_refused(&root, b"./../served/file", FileError::Forbidden);
    }
}

/// FAULTS 28 as well: a NUL is never the end of a name.
#[test]
fn fault_51_nul_is_refused() {
    let site = Site::new();
    for root in site.roots() {
        for name in [&b"file\0"[..], b"\0", b"\0file", b"file\0/../x", b"sub\0/deep/file"] {
            assert_refused(&root, name, FileError::Forbidden);
        }
    }
}

#[test]
fn fault_51_percent_encoding_is_not_decoded_here() {
    let site = Site::new();
    for root in site.roots() {
        assert_refused(&root, b"%2e%2e/outside/file", FileError::NotFound);
        assert_refused(&root, b"..%2foutside%2ffile", FileError::NotFound);
    }
}

#[test]
fn fault_52_symlinks_that_stay_beneath_are_followed_by_openat2_only() {
    let site = Site::new();
    site.link("file", "flat");
    site.link("sub/deep/file", "down");
    site.link("../../file", "sub/deep/up");
    site.link("sub", "directory");
    site.link("directory/deep", "chain");
    let [scoped, walked] = site.roots();
    for name in [&b"flat"[..], b"down", b"sub/deep/up", b"directory/deep/file", b"chain/file"] {
        assert_opens(&scoped, name, b"inside");
        assert_refused(&walked, name, FileError::Forbidden);
    }
}

#[test]
fn fault_52_symlinks_that_leave_are_refused() {
    let site = Site::new();
    site.link("../outside/file", "relative");
    site.link(site.outside.join("file"), "absolute");
    site.link(site.served.join("file"), "absolute-inside");
    site.link("../outside", "directory");
    site.link("..", "parent");
    site.link("/", "slash");
    site.link("sub/../../served/file", "out-and-in");
    site.link("relative", "chain");
    site.link("circle", "circle");
    for root in site.roots() {
        for name in [
            &b"relative"[..],
            b"absolute",
            b"absolute-inside",
            b"directory/file",
            b"parent/outside/file",
            b"slash/etc/passwd",
            b"out-and-in",
            b"chain",
            b"circle",
            b"circle/file",
        ] {
            assert_refused(&root, name, FileError::Forbidden);
        }
    }
}

#[test]
fn fault_52_magic_links_are_refused() {
    for root in both_roots(Path::new("/proc/self")) {
        for name in [&b"exe"[..], b"root/etc/passwd", b"cwd/Cargo.toml", b"fd/0"] {
            assert_refused(&root, name, FileError::Forbidden);
        }
    }
}

/// Another process's lease makes a non-blocking open fail with `EAGAIN`, as renames do to
/// openat2. Tried by hand (std cannot take a lease): it answers after 0.2 ms.
#[test]
fn eagain_that_stays_is_an_error_with_its_number() {
    assert_eq!(open_error(Errno::AGAIN), FileError::Io(Errno::AGAIN.raw_os_error()));
}

#[test]
fn fault_48_removed_and_replaced_file_is_read_from_the_descriptor() {
    let site = Site::new();
    for root in site.roots() {
        let path = site.served.join("short-lived");
        fs::write(&path, b"first").unwrap();
        let file = root.open_beneath(b"short-lived").unwrap();
        fs::remove_file(&path).unwrap();
        assert_refused(&root, b"short-lived", FileError::NotFound);
        fs::write(&path, b"second").unwrap();
        assert_eq!(contents(&file), b"first");
        fs::rename(&path, site.outside.join("moved")).unwrap();
        assert_eq!(contents(&file), b"first");
    }
}

/// Row A11: the switch is what a kernel without the call looks like.
#[test]
fn a11_all_calls_are_allowed_by_default() {
    assert_eq!(SystemCalls::default(), SystemCalls { openat2: true, sendfile: true });
}

#[test]
fn the_root_itself_needs_no_permission_to_be_listed() {
    let site = Site::new();
    fs::set_permissions(&site.served, fs::Permissions::from_mode(0o111)).unwrap();
    for root in site.roots() {
        assert_opens(&root, b"file", b"inside");
    }
    fs::set_permissions(&site.served, fs::Permissions::from_mode(0o755)).unwrap();
}
