//! What there is to send: files, or the lines of standard input, as messages that are
//! not longer than may be.

use bytes::Bytes;
use std::fs::{self, File};
use std::io::{self, BufRead, Read, StdinLock};
use std::path::{Path, PathBuf};
use std::vec;
use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum InputError {
    #[error("cannot read {}: {source}; nothing of it was sent", name(.path))]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is longer than {longest} bytes, nothing of it was sent; send it in parts, or allow more with --longest", name(.path))]
    File { path: PathBuf, longest: u32 },
    #[error(
        "line {number} of standard input is longer than {longest} bytes, nothing of it was sent; \
         shorten it, or allow more with --longest"
    )]
    Line { number: u64, longest: u32 },
}

/// Messages in order. Reading one may wait for as long as its source does.
///
/// Bound: one message at a time is in memory.
pub(super) struct Messages {
    source: Source,
    longest: u32,
}

enum Source {
    Files(vec::IntoIter<PathBuf>),
    Lines { input: StdinLock<'static>, number: u64 },
}

/// Says what is known to go wrong before anything is sent. Pipes and devices are not
/// touched: to open one may wait, or take something away.
pub(super) fn check(files: &[PathBuf], longest: u32) -> Result<(), InputError> {
    for path in files.iter().filter(|path| !is_standard_input(path)) {
        let unreadable = |source| InputError::Unreadable { path: path.clone(), source };
        let known = fs::metadata(path).map_err(unreadable)?;
        if known.is_dir() {
            return Err(unreadable(io::ErrorKind::IsADirectory.into()));
        }
        if known.is_file() {
            File::open(path).map_err(unreadable)?;
            if known.len() > longest.into() {
                return Err(InputError::File { path: path.clone(), longest });
            }
        }
    }
    Ok(())
}

impl Messages {
    /// The files, or without any the lines of standard input.
    pub(super) fn new(files: Vec<PathBuf>, longest: u32) -> Messages {
        let source = match files.is_empty() {
            true => Source::Lines { input: io::stdin().lock(), number: 0 },
            false => Source::Files(files.into_iter()),
        };
        Messages { source, longest }
    }

    /// The next one; `None` behind the last.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, InputError> {
        let longest = self.longest;
        match &mut self.source {
            Source::Files(paths) => paths.next().map(|path| whole(path, longest)).transpose(),
            Source::Lines { input, number } => {
                *number += 1;
                line(input, *number, longest)
            }
        }
    }
}

fn whole(path: PathBuf, longest: u32) -> Result<Bytes, InputError> {
    let mut message = Vec::new();
    let one_more = u64::from(longest) + 1;
    let read = match is_standard_input(&path) {
        true => io::stdin().lock().take(one_more).read_to_end(&mut message),
        false => File::open(&path).and_then(|file| file.take(one_more).read_to_end(&mut message)),
    };
    match read {
        Err(source) => Err(InputError::Unreadable { path, source }),
        Ok(_) if message.len() > longest as usize => Err(InputError::File { path, longest }),
        Ok(_) => Ok(message.into()),
    }
}

fn line(input: &mut impl BufRead, number: u64, longest: u32) -> Result<Option<Bytes>, InputError> {
    let mut message = Vec::new();
    let with_its_end = u64::from(longest) + 1;
    match input.take(with_its_end).read_until(b'\n', &mut message) {
        Err(source) => return Err(InputError::Unreadable { path: "-".into(), source }),
        Ok(0) => return Ok(None),
        Ok(_) => {}
    }
    if message.last() == Some(&b'\n') {
        message.pop();
    } else if message.len() > longest as usize {
        return Err(InputError::Line { number, longest });
    }
    Ok(Some(message.into()))
}

fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn name(path: &Path) -> String {
    if is_standard_input(path) { "standard input".into() } else { crate::path_in_words(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(mut input: &[u8], longest: u32) -> Result<Vec<Bytes>, InputError> {
        let mut lines = Vec::new();
        for number in 1..100 {
            let Some(next) = line(&mut input, number, longest)? else { return Ok(lines) };
            lines.push(next);
        }
        unreachable!("no input here has a hundred lines")
    }

    #[test]
    fn lines_are_messages_without_their_ends() {
        for (input, expected) in [
            (&b""[..], &[][..]),
            (b"\n", &[&b""[..]]),
            (b"a\n\nb", &[b"a", b"", b"b"]),
            (b"a\r\n\xff\0\n", &[b"a\r", b"\xff\0"]),
            (b"abcd\nabcd", &[b"abcd", b"abcd"]),
        ] {
            assert_eq!(lines(input, 4).unwrap(), expected, "{input:?}");
        }
    }

    #[test]
    fn line_that_is_too_long_is_named() {
        for (input, line) in [(&b"abcde"[..], 1), (b"abcd\nabcde\nab\n", 2), (b"\n\nabcdefghi\n", 3)] {
            let error = lines(input, 4).unwrap_err();
            assert!(matches!(error, InputError::Line { number, longest: 4 } if number == line), "{error}");
        }
    }
}
