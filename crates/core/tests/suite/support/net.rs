//! A simulated transport: bytes in and out with scripted sizes, would-blocks and
//! failures, and files that are vectors.

use drywire_core::{Blocked, FileError, FileId, OpenFile, Opening, SendFileError, Transport, TransportError};
use std::collections::{BTreeMap, VecDeque};

/// Sizes of successive reads or writes; 0 is a would-block. Repeats.
#[derive(Clone, Debug)]
pub(crate) struct Chops {
    sizes: Vec<usize>,
    at: usize,
}

impl Chops {
    /// As much as there is.
    pub(crate) fn whole() -> Chops {
        Chops::of(&[usize::MAX])
    }

    /// # Panics
    /// When no size lets anything through.
    #[track_caller]
    pub(crate) fn of(sizes: &[usize]) -> Chops {
        assert!(sizes.iter().any(|n| *n > 0), "nothing would ever move");
        Chops { sizes: sizes.to_vec(), at: 0 }
    }

    fn next(&mut self) -> usize {
        let size = self.sizes[self.at % self.sizes.len()];
        self.at += 1;
        size
    }
}

/// One file on the simulated disk.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) bytes: Vec<u8>,
    /// The length the open says; a file that changes later differs.
    pub(crate) announced: u64,
}

/// The simulated transport of one connection.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) incoming: VecDeque<u8>,
    pub(crate) incoming_end: bool,
    /// Everything the transport ever took, file bytes included.
    pub(crate) taken: Vec<u8>,
    /// Bytes it takes before it blocks.
    pub(crate) room: usize,
    pub(crate) reads: Chops,
    pub(crate) writes: Chops,
    pub(crate) read_fault: Option<TransportError>,
    pub(crate) write_fault: Option<TransportError>,
    pub(crate) half_closed: bool,
    pub(crate) short_read_exhausts: bool,
    pub(crate) disk: BTreeMap<Vec<u8>, Result<File, FileError>>,
    /// Opens are answered later, by the test.
    pub(crate) answer_later: bool,
    pub(crate) asked: Vec<(FileId, Vec<u8>)>,
    pub(crate) open: BTreeMap<FileId, File>,
    pub(crate) closed_files: Vec<FileId>,
    /// An error in the middle of a file.
    pub(crate) file_fault: Option<FileError>,
    /// `on_reading`, call by call.
    pub(crate) reading: Vec<bool>,
    /// Calls since the test looked; bounds every loop.
    pub(crate) calls: usize,
    pub(crate) reads_made: usize,
    pub(crate) writes_made: usize,
}

/// More calls than any one turn of a test needs.
const MAX_CALLS: usize = 2_000_000;

impl Net {
    pub(crate) fn new() -> Net {
        Net {
            incoming: VecDeque::new(),
            incoming_end: false,
            taken: Vec::new(),
            room: usize::MAX,
            reads: Chops::whole(),
            writes: Chops::whole(),
            read_fault: None,
            write_fault: None,
            half_closed: false,
            short_read_exhausts: false,
            disk: BTreeMap::new(),
            answer_later: false,
            asked: Vec::new(),
            open: BTreeMap::new(),
            closed_files: Vec::new(),
            file_fault: None,
            reading: Vec::new(),
            calls: 0,
            reads_made: 0,
            writes_made: 0,
        }
    }

    pub(crate) fn put_file(&mut self, name: &[u8], bytes: Vec<u8>) {
        let announced = bytes.len() as u64;
        self.disk.insert(name.to_vec(), Ok(File { bytes, announced }));
    }

    /// What the disk says about a name; an open file is remembered by its id.
    pub(crate) fn answer(&mut self, id: FileId, name: &[u8]) -> Result<u64, FileError> {
        let file = self.disk.get(name).cloned().unwrap_or(Err(FileError::NotFound))?;
        let announced = file.announced;
        assert!(self.open.insert(id, file).is_none(), "{id:?} was opened twice");
        Ok(announced)
    }

    fn count(&mut self) {
        self.calls += 1;
        assert!(self.calls < MAX_CALLS, "I3: the turn does not end");
    }

    fn admit(&mut self, n: usize) -> Result<usize, Blocked> {
        self.count();
        self.writes_made += 1;
        if let Some(error) = self.write_fault {
            return Err(Blocked::Failed(error));
        }
        assert!(!self.half_closed, "a write after the half-close");
        let n = n.min(self.writes.next()).min(self.room);
        if n == 0 {
            return Err(Blocked::WouldBlock);
        }
        if self.room != usize::MAX {
            self.room -= n;
        }
        Ok(n)
    }

    fn part(&self, id: FileId, offset: u64, len: usize) -> Result<&[u8], FileError> {
        if let Some(error) = self.file_fault {
            return Err(error);
        }
        let file = self.open.get(&id).unwrap_or_else(|| panic!("{id:?} is not open"));
        let offset = usize::try_from(offset).expect("files of tests are small").min(file.bytes.len());
        Ok(&file.bytes[offset..file.bytes.len().min(offset + len)])
    }
}

impl Transport for Net {
    fn short_read_exhausts(&self) -> bool {
        self.short_read_exhausts
    }

    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        self.count();
        self.reads_made += 1;
        assert!(!slot.is_empty(), "an empty slot would read as the end");
        if self.incoming.is_empty() {
            return match self.read_fault {
                Some(error) => Err(Blocked::Failed(error)),
                None if self.incoming_end => Ok(0),
                None => Err(Blocked::WouldBlock),
            };
        }
        let n = slot.len().min(self.incoming.len()).min(self.reads.next());
        if n == 0 {
            return Err(Blocked::WouldBlock);
        }
        for (place, byte) in slot.iter_mut().zip(self.incoming.drain(..n)) {
            *place = byte;
        }
        Ok(n)
    }

    fn try_write_vectored(&mut self, slices: &[&[u8]], _more: bool) -> Result<usize, Blocked> {
        assert!((1..=16).contains(&slices.len()), "{} slices", slices.len());
        assert!(slices.iter().all(|slice| !slice.is_empty()), "an empty slice");
        let n = self.admit(slices.iter().map(|slice| slice.len()).sum())?;
        let before = self.taken.len();
        for slice in slices {
            let left = n - (self.taken.len() - before);
            self.taken.extend_from_slice(&slice[..slice.len().min(left)]);
        }
        Ok(n)
    }

    fn try_send_file(&mut self, id: FileId, offset: u64, len: u64) -> Result<u64, SendFileError> {
        let len = usize::try_from(len).expect("files of tests are small");
        let part = self.part(id, offset, len).map_err(SendFileError::File)?.to_vec();
        if part.is_empty() {
            return Ok(0);
        }
        let n = self.admit(part.len()).map_err(SendFileError::Output)?;
        self.taken.extend_from_slice(&part[..n]);
        Ok(n as u64)
    }

    fn read_file(&mut self, id: FileId, offset: u64, slot: &mut [u8]) -> Result<usize, FileError> {
        self.count();
        let part = self.part(id, offset, slot.len())?;
        slot[..part.len()].copy_from_slice(part);
        Ok(part.len())
    }

    fn open_file(&mut self, request: &OpenFile<'_>) -> Opening {
        self.count();
        self.asked.push((request.id(), request.name().to_vec()));
        if self.answer_later {
            return Opening::Later;
        }
        Opening::Done(self.answer(request.id(), request.name()))
    }

    fn close_file(&mut self, id: FileId) {
        assert!(self.open.remove(&id).is_some(), "{id:?} was closed twice, or never open");
        self.closed_files.push(id);
    }

    fn half_close(&mut self) {
        assert!(!self.half_closed, "two half-closes");
        self.half_closed = true;
    }

    fn on_reading(&mut self, enabled: bool) {
        assert_ne!(self.reading.last().copied().unwrap_or(true), enabled, "the announced level did not change");
        self.reading.push(enabled);
    }
}
