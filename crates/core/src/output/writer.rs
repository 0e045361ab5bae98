//! How handlers put bytes into the queue.

use super::{BLOCK, Output, Savepoint, Segment};
use crate::error::{Full, Misuse, Stop};
use crate::file::FileId;
use crate::limits::Limit;
use crate::planted;
use crate::workspace::Pool;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// Shared bytes shorter than this are copied: a small slice must not keep a
/// large buffer alive, and an iovec costs more than the copy.
pub(super) const SHARE_FROM: usize = 512;

/// The largest integer or prefix that is written in one piece, in bytes.
const SCALAR: usize = 8;

/// What ran out during a handler call. Kept until the call ends: an ignored
/// result must not commit half a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Wait until this is free, then make the call again.
    Full(Resource),
    Limit(Limit),
    Misuse(Misuse),
}

/// What a refused call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Bytes,
    Events,
    Files,
    /// A turn with memory for all that the bounds allow.
    Memory,
}

/// The writer could not take something; the call it belongs to will be undone.
///
/// Hand it on with `?` ([`Context`](crate::Context) turns it into a [`Stop`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub(crate) Refusal);

impl Refused {
    pub(crate) fn into_stop<E>(self) -> Stop<E> {
        match self.0 {
            Refusal::Full(_) => Stop::Full(Full(())),
            Refusal::Limit(limit) => Stop::Limit(limit),
            Refusal::Misuse(misuse) => Stop::Misuse(misuse),
        }
    }
}

/// Appends to the output of one connection, within one transaction.
///
/// Bytes are copied into pooled blocks; nothing is allocated once the pool is
/// warm. After the first refusal every further write is refused too, so a codec
/// may write a whole message and look at the result once.
pub struct Writer<'a> {
    pub(crate) output: &'a mut Output,
    pub(crate) pool: &'a mut Pool,
    /// Bytes the queue may hold.
    pub(crate) cap: usize,
    /// Bytes that there is memory for in this turn: for the queue, and for the name of a file.
    pub(crate) memory: usize,
    /// The smaller of the two.
    fits: usize,
    /// Our direction was half-closed in an earlier call.
    pub(crate) ended: bool,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) mark: Savepoint,
    /// Test input: the write, counted from 1, that is refused as if it did not fit.
    pub(crate) fuse: &'a mut u32,
}

impl<'a> Writer<'a> {
    #[inline]
    pub(crate) fn new(
        output: &'a mut Output,
        pool: &'a mut Pool,
        cap: usize,
        memory: usize,
        ended: bool,
        fuse: &'a mut u32,
    ) -> Writer<'a> {
        let mark = output.savepoint();
        Writer { output, pool, cap, memory, fits: cap.min(memory), ended, refusal: None, mark, fuse }
    }

    /// Starts the next transaction.
    #[inline]
    pub(crate) fn begin(&mut self) {
        debug_assert!(self.refusal.is_none());
        self.mark = self.output.savepoint();
    }

    #[cold]
    pub(crate) fn roll_back(&mut self) {
        self.output.roll_back(self.mark, self.pool);
        self.refusal = None;
    }

    /// Bytes that fit now.
    #[must_use]
    #[inline]
    pub fn room(&self) -> usize {
        self.cap.saturating_sub(self.output.bytes)
    }

    /// Appends `data`.
    ///
    /// # Errors
    /// [`Refused`] when it does not fit; then nothing of it is queued.
    #[inline]
    pub fn write(&mut self, data: &[u8]) -> Result<(), Refused> {
        let output = &mut *self.output;
        let fits = data.len() <= output.tail.capacity() - output.tail.len()
            && output.bytes + data.len() <= self.fits
            && *self.fuse == 0
            && self.refusal.is_none()
            && !self.ended;
        if !fits {
            return self.write_slow(data);
        }
        output.tail.extend_from_slice(data);
        output.bytes += data.len();
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn write_slow(&mut self, mut data: &[u8]) -> Result<(), Refused> {
        self.admit(data.len())?;
        self.output.bytes += data.len();
        while !data.is_empty() {
            if self.output.tail.len() == self.output.tail.capacity() {
                self.next_block();
            }
            let output = &mut *self.output;
            let n = data.len().min(output.tail.capacity() - output.tail.len());
            output.tail.extend_from_slice(&data[..n]);
            data = &data[n..];
        }
        Ok(())
    }

    /// Appends bytes that are shared, not copied, when they are long enough for
    /// that to pay.
    ///
    /// # Errors
    /// As [`Writer::write`]. Shared bytes count like any others.
    pub fn write_shared(&mut self, data: Bytes) -> Result<(), Refused> {
        if data.len() < SHARE_FROM {
            return self.write(&data);
        }
        self.admit(data.len())?;
        self.output.seal(self.pool);
        self.output.bytes += data.len();
        self.output.sealed.push_back(Segment::Shared(data));
        Ok(())
    }

    /// Appends formatted text: what `write!(writer, …)` calls.
    ///
    /// # Errors
    /// As [`Writer::write`].
    ///
    /// # Panics
    /// When a `Display` implementation returns an error of its own, as
    /// `std::io::Write::write_fmt` does.
    pub fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> Result<(), Refused> {
        if let Some(text) = args.as_str() {
            return self.write(text.as_bytes());
        }
        struct Adapter<'w, 'a>(&'w mut Writer<'a>);
        impl fmt::Write for Adapter<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.write(text.as_bytes()).map_err(|Refused(_)| fmt::Error)
            }
        }
        match fmt::write(&mut Adapter(self), args) {
            Ok(()) => Ok(()),
            Err(fmt::Error) => match self.refusal {
                Some(refusal) => Err(Refused(refusal)),
                None => panic!("a formatting trait returned an error though the writer took everything"),
            },
        }
    }

    /// Appends an integer in decimal, without going through `fmt`.
    ///
    /// # Errors
    /// As [`Writer::write`].
    #[inline]
    pub fn decimal(&mut self, n: impl itoa::Integer) -> Result<(), Refused> {
        self.write(itoa::Buffer::new().format(n).as_bytes())
    }

    /// Leaves room for `n` bytes, at most 8, to be filled in by
    /// [`Writer::fill`] later in the same call: a length before its frame.
    ///
    /// # Errors
    /// As [`Writer::write`].
    ///
    /// # Panics
    /// When `n` is over 8.
    pub fn reserve(&mut self, n: usize) -> Result<Reserved, Refused> {
        assert!(n <= SCALAR, "reserve takes at most {SCALAR} bytes");
        let output = &mut *self.output;
        if output.tail.capacity() - output.tail.len() < n {
            if output.tail.is_empty() {
                self.next_block();
            } else {
                output.seal(self.pool);
            }
        }
        let place = Reserved {
            sealed: self.output.sealed.len(),
            at: self.output.tail.len(),
            len: n,
            end: self.output.bytes + n,
        };
        self.write(&[0; SCALAR][..n])?;
        Ok(place)
    }

    /// Bytes appended since `place` was reserved.
    #[must_use]
    pub fn since(&self, place: &Reserved) -> usize {
        self.output.bytes.saturating_sub(place.end)
    }

    /// Fills a reserved place. Does nothing when the call was refused meanwhile:
    /// it will be undone anyway.
    ///
    /// # Panics
    /// When `data` is not as long as the place, or the place is of another call.
    pub fn fill(&mut self, place: Reserved, data: &[u8]) {
        assert_eq!(data.len(), place.len, "a reserved place is filled whole");
        let behind_mark = (place.sealed, place.at) >= (self.mark.sealed, self.mark.tail);
        let of_this_call = behind_mark && place.end > self.mark.bytes && place.end <= self.output.bytes;
        assert!(of_this_call || self.refusal.is_some(), "a reserved place is filled in the call that reserved it");
        if self.refusal.is_some() {
            return;
        }
        let block: &mut Vec<u8> = match self.output.sealed.get_mut(place.sealed) {
            Some(Segment::Block(block)) => block,
            Some(Segment::Shared(_) | Segment::File { .. }) => unreachable!("what was open is sealed as a block"),
            None => &mut self.output.tail,
        };
        block[place.at..place.at + place.len].copy_from_slice(data);
    }

    /// Parts of files queued in this call.
    pub(crate) fn parts(&self) -> usize {
        self.output.files - self.mark.files
    }

    /// Queues a part of an open file. The caller has checked the range.
    pub(crate) fn push_file(&mut self, id: FileId, offset: u64, len: u64) -> Result<(), Refused> {
        self.admit(0)?;
        if len > 0 {
            self.output.seal(self.pool);
            self.output.sealed.push_back(Segment::File { id, offset, left: len });
            self.output.files += 1;
        }
        Ok(())
    }

    /// Records the first refusal of this call and returns it.
    #[cold]
    pub(crate) fn refuse(&mut self, refusal: Refusal) -> Refused {
        Refused(*self.refusal.get_or_insert(refusal))
    }

    /// May `n` more bytes go in? The one place that decides.
    fn admit(&mut self, n: usize) -> Result<(), Refused> {
        planted!(BoundIgnored: return Ok(()));
        if let Some(refusal) = self.refusal {
            return Err(Refused(refusal));
        }
        if self.ended {
            return Err(self.refuse(Refusal::Misuse(Misuse::WriteAfterEnd)));
        }
        if *self.fuse > 0 {
            *self.fuse -= 1;
            if *self.fuse == 0 {
                return Err(self.refuse(Refusal::Full(Resource::Bytes)));
            }
        }
        let in_call = self.output.bytes - self.mark.bytes;
        if n > self.cap.saturating_sub(in_call) {
            return Err(self.refuse(Refusal::Limit(Limit::Output(self.cap))));
        }
        if n > self.room() {
            return Err(self.refuse(Refusal::Full(Resource::Bytes)));
        }
        if n > self.fits.saturating_sub(self.output.bytes) {
            return Err(self.refuse(Refusal::Full(Resource::Memory)));
        }
        Ok(())
    }

    /// The open block is full, or there is none.
    fn next_block(&mut self) {
        if self.output.tail.capacity() == 0 {
            self.output.tail = self.pool.take(BLOCK);
        } else {
            self.output.seal(self.pool);
        }
    }
}

/// Typed integers, straight into the output (row W10): the same methods for
/// [`Writer`] and for [`Context`](crate::Context), on top of their `write`.
macro_rules! integers {
    ($error:ty) => {
        /// Appends one byte.
        ///
        /// # Errors
        /// As `write`.
        #[inline]
        pub fn u8(&mut self, n: u8) -> Result<(), $error> {
            self.write(&[n])
        }
        $crate::output::integers!($error, u16_be u16_le u16, u32_be u32_le u32, u64_be u64_le u64);
        $crate::output::integers!($error, i16_be i16_le i16, i32_be i32_le i32, i64_be i64_le i64);
    };
    ($error:ty, $($name_be:ident $name_le:ident $int:ty),*) => {$(
        #[doc = concat!("Appends a `", stringify!($int), "`, most significant byte first.\n\n# Errors\nAs `write`.")]
        #[inline]
        pub fn $name_be(&mut self, n: $int) -> Result<(), $error> {
            self.write(&n.to_be_bytes())
        }
        #[doc = concat!("Appends a `", stringify!($int), "`, least significant byte first.\n\n# Errors\nAs `write`.")]
        #[inline]
        pub fn $name_le(&mut self, n: $int) -> Result<(), $error> {
            self.write(&n.to_le_bytes())
        }
    )*};
}
pub(crate) use integers;

impl Writer<'_> {
    integers!(Refused);
}

impl fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("room", &self.room()).field("refused", &self.refusal).finish_non_exhaustive()
    }
}

/// A place kept free by [`Writer::reserve`].
#[derive(Debug)]
pub struct Reserved {
    sealed: usize,
    at: usize,
    len: usize,
    end: usize,
}
