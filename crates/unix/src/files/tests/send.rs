//! What arrives at the other end.

use super::super::{SEND_CAP_BYTES, SendFailure, read_file, send_file};
use super::Site;
use drywire_core::FileError;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionbio};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

/// Several calls long, and no multiple of a page.
const LEN: usize = 2 * SEND_CAP_BYTES + 12_345;

/// Calls of one transfer; far more than any needs.
const STEPS: usize = 1_000_000;

/// Where a file goes: a non-blocking output, and its reader.
struct Way {
    name: &'static str,
    out: OwnedFd,
    reader: Box<dyn Read + Send>,
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let out = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (reader, _) = listener.accept().unwrap();
    out.set_nonblocking(true).unwrap();
    (out, reader)
}

fn unix_pair() -> (UnixStream, UnixStream) {
    let (out, reader) = UnixStream::pair().unwrap();
    out.set_nonblocking(true).unwrap();
    (out, reader)
}

fn pipe() -> (OwnedFd, io::PipeReader) {
    let (reader, writer) = io::pipe().unwrap();
    ioctl_fionbio(&writer, true).unwrap();
    (writer.into(), reader)
}

fn ways() -> [Way; 3] {
    let (tcp, tcp_reader) = tcp_pair();
    let (unix, unix_reader) = unix_pair();
    let (pipe, pipe_reader) = pipe();
    [
        Way { name: "tcp", out: tcp.into(), reader: Box::new(tcp_reader) },
        Way { name: "unix", out: unix.into(), reader: Box::new(unix_reader) },
        Way { name: "pipe", out: pipe, reader: Box::new(pipe_reader) },
    ]
}

/// Bytes no two pages of which are equal.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// Sends the range as a driver would, until all of it is out or a call says 0;
/// returns what arrived.
#[track_caller]
fn transfer(way: Way, file: &File, offset: u64, len: u64, use_sendfile: bool) -> Vec<u8> {
    let Way { name, out, mut reader } = way;
    let arrived = thread::spawn(move || {
        let mut arrived = Vec::new();
        reader.read_to_end(&mut arrived).unwrap();
        arrived
    });
    let mut scratch = Vec::new();
    let mut sent = 0;
    for _ in 0..STEPS {
        if sent == len {
            break;
        }
        match send_file(out.as_fd(), file.as_fd(), offset + sent, len - sent, &mut scratch, use_sendfile) {
            Ok(0) => break,
            Ok(n) => {
                assert!(n <= SEND_CAP_BYTES, "{name}: {n} bytes in one call");
                sent += n as u64;
            }
            Err(SendFailure::Output(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(&out, PollFlags::OUT)], None).unwrap();
            }
            Err(other) => panic!("{name}: {other}"),
        }
    }
    assert_eq!(scratch.is_empty(), use_sendfile, "{name}: scratch is for the slow way alone");
    drop(out);
    let arrived = arrived.join().unwrap();
    assert_eq!(arrived.len() as u64, sent, "{name}");
    arrived
}

#[track_caller]
fn would_block(failure: &SendFailure) -> bool {
    matches!(failure, SendFailure::Output(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Rows A11 and B11.
#[test]
fn a11_same_bytes_with_and_without_sendfile() {
    let expected = pattern(LEN);
    let file = file_of(&expected);
    for use_sendfile in [true, false] {
        for way in ways() {
            let name = way.name;
            let arrived = transfer(way, &file, 0, LEN as u64, use_sendfile);
            assert!(arrived == expected, "{name}, sendfile {use_sendfile}: other bytes");
        }
    }
}

#[test]
fn a_range_from_the_middle_is_that_range() {
    let bytes = pattern(300_000);
    let file = file_of(&bytes);
    for use_sendfile in [true, false] {
        for way in ways() {
            let arrived = transfer(way, &file, 4_097, 200_003, use_sendfile);
            assert!(arrived == bytes[4_097..204_100]);
        }
    }
}

#[test]
fn the_files_own_position_is_left_alone() {
    let mut file = file_of(b"0123456789");
    for use_sendfile in [true, false] {
        file.seek(SeekFrom::Start(3)).unwrap();
        for way in ways() {
            assert_eq!(transfer(way, &file, 5, 4, use_sendfile), b"5678");
        }
        assert_eq!(file.stream_position().unwrap(), 3);
    }
}

/// A film of which only the end is on disk.
#[test]
fn offsets_beyond_32_bits() {
    let file = tempfile::tempfile().unwrap();
    let offset = (1 << 32) + 10;
    file.write_all_at(b"finale", offset).unwrap();
    for use_sendfile in [true, false] {
        for way in ways() {
            assert_eq!(transfer(way, &file, offset - 2, 8, use_sendfile), b"\0\0finale");
        }
    }
}

#[test]
fn a_length_beyond_memory_is_cut_to_the_cap() {
    let file = file_of(b"short");
    for use_sendfile in [true, false] {
        for way in ways() {
            assert_eq!(transfer(way, &file, 0, u64::MAX, use_sendfile), b"short");
        }
    }
}

#[test]
fn fault_46_truncated_file_ends_early_and_is_never_padded() {
    for use_sendfile in [true, false] {
        for way in ways() {
            let file = file_of(&pattern(100_000));
            file.set_len(40_000).unwrap();
            assert!(transfer(way, &file, 0, 100_000, use_sendfile) == pattern(40_000));
        }
        let (out, _reader) = unix_pair();
        let file = file_of(b"123");
        for offset in [3, 4, 1 << 40] {
            let answer = send_file(out.as_fd(), file.as_fd(), offset, 10, &mut Vec::new(), use_sendfile);
            assert!(matches!(answer, Ok(0)), "offset {offset}: {answer:?}");
        }
    }
}

#[test]
fn fault_47_grown_file_gives_only_what_was_announced() {
    for use_sendfile in [true, false] {
        for way in ways() {
            let mut file = file_of(b"announced");
            file.write_all(b" and more").unwrap();
            assert_eq!(transfer(way, &file, 0, 9, use_sendfile), b"announced");
        }
    }
}

#[test]
fn fault_48_removed_file_is_sent_to_its_end() {
    let site = Site::new();
    for use_sendfile in [true, false] {
        for way in ways() {
            let path = site.served.join("gone");
            fs::write(&path, b"still here").unwrap();
            let [root, _] = site.roots();
            let opened = root.open_beneath(b"gone").unwrap();
            fs::remove_file(&path).unwrap();
            let arrived = transfer(way, &File::from(opened.descriptor), 0, opened.len_bytes, use_sendfile);
            assert_eq!(arrived, b"still here");
        }
    }
}

/// A descriptor open for writing only is the file's fault (`EBADF`), and so is
/// memory that is not there (`EIO`, from a file that needs no broken disk).
#[test]
fn fault_49_read_error_is_the_files() {
    let write_only = File::options().write(true).open(tempfile::NamedTempFile::new().unwrap().path()).unwrap();
    let memory = File::open("/proc/self/mem").unwrap();
    for use_sendfile in [true, false] {
        for way in ways() {
            for (file, errno) in [(&write_only, Errno::BADF), (&memory, Errno::IO)] {
                let answer = send_file(way.out.as_fd(), file.as_fd(), 0, 10, &mut Vec::new(), use_sendfile);
                let Err(SendFailure::File(error)) = answer else { panic!("{}: {answer:?}", way.name) };
                assert_eq!(error, FileError::Io(errno.raw_os_error()), "{}", way.name);
            }
        }
    }
}

#[test]
fn offset_beyond_any_file_is_the_files() {
    let file = file_of(b"123");
    for use_sendfile in [true, false] {
        for way in ways() {
            let answer = send_file(way.out.as_fd(), file.as_fd(), u64::MAX, 1, &mut Vec::new(), use_sendfile);
            assert!(matches!(answer, Err(SendFailure::File(FileError::Io(_)))), "{}: {answer:?}", way.name);
        }
    }
}

#[test]
fn fault_15_full_output_is_would_block_of_the_output() {
    let file = file_of(&pattern(1 << 20));
    for use_sendfile in [true, false] {
        for way in ways() {
            let mut scratch = Vec::new();
            let failure = (0..STEPS)
                .find_map(|_| send_file(way.out.as_fd(), file.as_fd(), 0, 1 << 20, &mut scratch, use_sendfile).err())
                .expect("no buffer is this large");
            assert!(would_block(&failure), "{}: {failure}", way.name);
        }
    }
}

/// Says nothing about FAULTS 56: a test process ignores SIGPIPE, as all of Rust's do.
#[test]
fn fault_11_peer_that_is_gone_is_a_broken_output() {
    let file = file_of(&pattern(1 << 20));
    for use_sendfile in [true, false] {
        for way in ways() {
            let Way { name, out, reader } = way;
            drop(reader);
            let mut scratch = Vec::new();
            // TCP tells the first writer nothing; its reset takes a moment.
            let failure = (0..1_000)
                .find_map(|_| match send_file(out.as_fd(), file.as_fd(), 0, 1 << 20, &mut scratch, use_sendfile) {
                    Err(failure) if !would_block(&failure) => Some(failure),
                    Ok(_) | Err(_) => {
                        thread::sleep(Duration::from_millis(1));
                        None
                    }
                })
                .expect("the peer is gone");
            let SendFailure::Output(error) = failure else { panic!("{name}: {failure}") };
            assert!(
                matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset),
                "{name}: {error}"
            );
        }
    }
}

#[test]
fn fault_12_reset_is_of_the_output_and_is_not_lost() {
    let file = file_of(&pattern(1 << 20));
    for use_sendfile in [true, false] {
        let (mut out, reader) = tcp_pair();
        // Unread input turns the peer's close into a reset.
        out.write_all(b"unread").unwrap();
        reader.peek(&mut [0]).unwrap();
        drop(reader);
        poll(&mut [PollFd::new(&out, PollFlags::IN)], None).unwrap();
        let answer = send_file(out.as_fd(), file.as_fd(), 0, 1 << 20, &mut Vec::new(), use_sendfile);
        let Err(SendFailure::Output(error)) = answer else { panic!("{answer:?}") };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}

#[test]
fn our_own_half_close_is_a_broken_output() {
    let file = file_of(b"late");
    for use_sendfile in [true, false] {
        let (out, _reader) = tcp_pair();
        out.shutdown(Shutdown::Write).unwrap();
        let answer = send_file(out.as_fd(), file.as_fd(), 0, 4, &mut Vec::new(), use_sendfile);
        let Err(SendFailure::Output(error)) = answer else { panic!("{answer:?}") };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}

/// sendfile refuses an output opened for appending (`EINVAL`).
#[test]
fn output_sendfile_refuses_is_written_the_slow_way() {
    let file = file_of(b"the same bytes");
    let target = tempfile::NamedTempFile::new().unwrap();
    let out = File::options().append(true).open(target.path()).unwrap();
    let mut scratch = Vec::new();
    let sent = send_file(out.as_fd(), file.as_fd(), 4, 4, &mut scratch, true).unwrap();
    assert_eq!(sent, 4);
    assert!(!scratch.is_empty());
    assert_eq!(fs::read(target.path()).unwrap(), b"same");
}

/// A file of procfs cannot be spliced from.
#[test]
fn file_sendfile_refuses_is_read_the_slow_way() {
    let expected = fs::read("/proc/self/cmdline").unwrap();
    let file = File::open("/proc/self/cmdline").unwrap();
    let (out, mut reader) = unix_pair();
    let sent = send_file(out.as_fd(), file.as_fd(), 0, expected.len() as u64, &mut Vec::new(), true).unwrap();
    let mut arrived = vec![0; sent];
    reader.read_exact(&mut arrived).unwrap();
    assert_eq!(arrived, expected);
}

#[test]
fn scratch_is_grown_once_and_kept() {
    let file = file_of(b"123");
    let mut scratch = Vec::new();
    let mut grown = Vec::new();
    for _ in 0..3 {
        let (out, _reader) = unix_pair();
        send_file(out.as_fd(), file.as_fd(), 0, 3, &mut scratch, false).unwrap();
        grown.push((scratch.len(), scratch.as_ptr()));
    }
    assert_eq!(scratch.len(), 64 * 1024);
    assert!(grown.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn reading_gives_what_is_there_and_then_nothing() {
    let file = file_of(b"12345");
    let mut buf = [0; 4];
    assert_eq!(read_file(file.as_fd(), 2, &mut buf), Ok(3));
    assert_eq!(&buf[..3], b"345");
    assert_eq!(read_file(file.as_fd(), 5, &mut buf), Ok(0));
}
