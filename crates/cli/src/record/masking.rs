//! `--mask`: a recording without its secrets, made afterwards.

use super::{damage_in_words, is_foreign, protocols};
use drywire_core::record::{Mask, ReadError, Reader, masked};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use thiserror::Error;

#[derive(Debug, Error)]
pub(super) enum MaskError {
    #[error("{}; a mask needs a whole recording", damage_in_words(*.0))]
    Damaged(ReadError),
    #[error("{}", damage_in_words(*.0))]
    Foreign(ReadError),
    #[error(
        "the beginning was not kept, so where its messages begin is not known and it cannot be masked; record with \
         --record-mask"
    )]
    NoFront,
}

/// A recording, masked.
pub(super) struct Copy {
    pub(super) file: Vec<u8>,
    /// There was something to blank.
    pub(super) has_blanked: bool,
}

/// What `file` is behind a mask for these words.
pub(super) fn copy(file: &[u8], words: &[String]) -> Result<Copy, MaskError> {
    let unread = |error| if is_foreign(error) { MaskError::Foreign(error) } else { MaskError::Damaged(error) };
    let header = Reader::new(file).map_err(unread)?.header();
    let mut mask = protocols::mask(header.protocol, words);
    if header.first > 0 {
        if protocols::is_of_messages(header.protocol) {
            return Err(MaskError::NoFront);
        }
        mask = mask.from_next_line();
    }
    let found = Arc::new(AtomicBool::new(false));
    let finds = Arc::clone(&found);
    let watched = Mask::new(move |piece| {
        let before = piece.to_vec();
        mask.apply(piece);
        if before != piece {
            finds.store(true, Ordering::Relaxed);
        }
    });
    let file = masked(file, watched).map_err(unread)?;
    Ok(Copy { file, has_blanked: found.load(Ordering::Relaxed) })
}

/// Readable for its owner alone, as recordings are, and there as a whole or not at all.
pub(super) fn write(path: &Path, file: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut whole = tempfile::Builder::new().prefix(".drywire-").suffix(".part").tempfile_in(directory)?;
    whole.write_all(file)?;
    whole.persist(path).map_err(|error| error.error)?;
    Ok(())
}
