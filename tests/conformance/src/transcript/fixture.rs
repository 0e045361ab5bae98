//! The files scripts ask for: in a directory for drivers, in memory for the reference.

use drywire_core::FileError;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::LazyLock;

/// What is there, by name.
static FILES: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(|| {
    [
        ("empty", 0),
        ("note", 5),
        ("one", 1),
        ("page", 4096),
        ("shelf/letter", 70_001),
        ("shelf/book", 400_000),
        ("shelf/film", 6_000_000),
    ]
    .map(|(name, len)| (name, pattern(len, name.len())))
    .into()
});

/// Names that give a file.
pub(super) const SMALL: [&str; 4] = ["empty", "note", "one", "page"];

/// Names that give more than one write.
pub(super) const LARGE: [&str; 2] = ["shelf/letter", "shelf/book"];

/// The name that gives more than Linux takes for a peer on the same machine that does
/// not read: 4 MiB, by default, and what the peer's window holds.
pub(super) const HUGE: &str = "shelf/film";

/// Names that give none.
pub(super) const ABSENT: [(&str, FileError); 5] = [
    ("nowhere", FileError::NotFound),
    ("note/deeper", FileError::NotFound),
    ("shelf", FileError::NotRegular),
    ("../note", FileError::Forbidden),
    ("/etc/hostname", FileError::Forbidden),
];

/// Bytes in which every place is different enough: a lost, doubled or swapped one shows.
pub(super) fn pattern(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8) ^ (at >> 16).wrapping_mul(31)).wrapping_add(salt * 7) as u8).collect()
}

/// Writes them all to `directory`.
pub(super) fn write_to(directory: &Path) -> io::Result<()> {
    fs::create_dir(directory.join("shelf"))?;
    for (name, content) in FILES.iter() {
        fs::write(directory.join(name), content)?;
    }
    Ok(())
}

/// What a driver must find under this name.
pub(super) fn look_up(name: &[u8]) -> Result<&'static [u8], FileError> {
    if let Some((_, content)) = FILES.iter().find(|(known, _)| known.as_bytes() == name) {
        return Ok(content);
    }
    let (_, error) = ABSENT
        .iter()
        .find(|(known, _)| known.as_bytes() == name)
        .unwrap_or_else(|| panic!("no script asks for {}", name.escape_ascii()));
    Err(*error)
}
