//! Every file of every corpus, on any compiler: what a fuzzer found once is found
//! again by everybody.

use drywire_fuzz::{TARGETS, Target};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// The fewest files a corpus has. Fewer means that it was lost, or never made.
const FEWEST: usize = 5;

/// Runs `target` on every file in `folder` and says how many there were, or which of
/// them failed.
fn replay(folder: &Path, target: Target) -> Result<usize, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    files.sort();
    for file in &files {
        let bytes = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        catch_unwind(AssertUnwindSafe(|| target(&bytes))).map_err(|_| format!("{} fails", file.display()))?;
    }
    if files.len() < FEWEST {
        return Err(format!("{}: {} files, {FEWEST} are the least", folder.display(), files.len()));
    }
    Ok(files.len())
}

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)
}

#[test]
fn every_corpus_passes() {
    let failures: Vec<String> =
        TARGETS.iter().filter_map(|(name, target)| replay(&corpus(name), *target).err()).collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn every_corpus_has_a_target() {
    for entry in fs::read_dir(corpus("")).expect("the corpora are there") {
        let name = entry.expect("it can be listed").file_name();
        assert!(TARGETS.iter().any(|(target, _)| name == *target), "{name:?} has no target");
    }
}

/// Known-bad controls: a corpus that is missing, one that is empty, and one with a
/// file that its target does not survive.
#[test]
fn bad_corpus_is_told() {
    assert!(replay(&corpus("none"), |_| {}).is_err());
    let empty = Path::new(env!("CARGO_TARGET_TMPDIR")).join("empty-corpus");
    fs::create_dir_all(&empty).expect("a folder of the build's own");
    assert!(replay(&empty, |_| {}).is_err());
    assert!(replay(&corpus("framing"), |data| assert!(data.is_empty(), "not even a byte")).is_err());
}
