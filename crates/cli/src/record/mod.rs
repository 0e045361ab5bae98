//! Recordings: made by `serve --record`, run again by `replay`, shown by `trace`.
//!
//! Here: what these have in common. How a recording is made, read and run again is
//! the core's and the simulator's business.

mod describe;
mod limits;
mod masking;
mod page;
mod protocols;
pub(crate) mod replay;
mod serving;
mod shelf;
mod story;
mod text;
pub(crate) mod trace;
mod words;

pub(crate) use limits::{Changes, bytes};
pub(crate) use serving::{Recorder, Recording};
pub(crate) use shelf::ShelfError;

use crate::path_in_words;
use drywire_core::record::{ReadError, Reader};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The exit status when a recording is damaged, or a replay differs.
const DIFFERENT: u8 = 3;

#[derive(Debug, Error)]
pub(crate) enum RecordError {
    #[error("cannot read {}: {source}", path_in_words(.path))]
    File { path: PathBuf, source: io::Error },
    #[error("there is no recording in {}: their names end with {}", path_in_words(.path), shelf::SUFFIX)]
    NoRecordings { path: PathBuf },
    #[error("cannot write {}: {source}", path_in_words(.path))]
    Page { path: PathBuf, source: io::Error },
    #[error("cannot print: {0}")]
    Output(io::Error),
}

/// All of it, if it begins like a recording: /dev/zero has no end.
fn read_file(path: &Path) -> Result<Vec<u8>, RecordError> {
    const BEGINNING: u64 = 8;
    let mut contents = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        (&mut file).take(BEGINNING).read_to_end(&mut contents)?;
        match Reader::new(&contents) {
            Err(ReadError::NotARecording) => Ok(0),
            Ok(_) | Err(_) => file.read_to_end(&mut contents),
        }
    });
    match read {
        Ok(_) => Ok(contents),
        Err(source) => Err(RecordError::File { path: path.into(), source }),
    }
}

/// What is wrong with a recording, and what to do about it if that is known.
fn damage_in_words(error: ReadError) -> String {
    match error {
        ReadError::Damaged { at, is, was } => format!("byte {at} is 0x{is:02x}, was 0x{was:02x}"),
        ReadError::DamagedBlock { from, to } => format!("damaged: more than one byte between byte {from} and {to}"),
        ReadError::Truncated { at: 0 } => "the file is empty".into(),
        ReadError::Truncated { at } => format!("the end is missing: the file ends in the middle, at byte {at}"),
        ReadError::Malformed { at } => {
            format!("not made by a recorder: byte {at} begins nothing known, damaged it is not")
        }
        ReadError::NotARecording => "not a recording: it does not begin like one".into(),
        ReadError::Version(version) => {
            format!("a recording of version {version}, which this drywire cannot read; take the drywire that made it")
        }
    }
}

/// Whether nothing at all can be said of the contents: neither damaged nor whole.
fn is_foreign(error: ReadError) -> bool {
    match error {
        ReadError::NotARecording | ReadError::Version(_) => true,
        ReadError::Damaged { .. }
        | ReadError::DamagedBlock { .. }
        | ReadError::Truncated { .. }
        | ReadError::Malformed { .. } => false,
    }
}
