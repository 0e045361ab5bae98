//! Who is connected: a worker's table, and the ids that point into it.
//!
//! A slab with generations. No lock and no global map: a table belongs to one
//! worker. What an entry holds is the driver's business, and so is a cap on
//! connections; the table knows neither sockets nor addresses.

use drywire_core::planted;
use std::convert::Infallible;
use std::fmt;
use std::iter;
use std::num::NonZeroU32;

/// Names one entry of a [`Table`], and no other entry of it ever again.
///
/// *Guaranteed*: within one table an id is issued once; after its entry is gone it
/// finds nothing (FAULTS 20, 45). Ids of different tables may be equal. The order
/// is by place in the table, not by age. An `Option<Id>` is no larger than an id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    index: u32,
    generation: NonZeroU32,
}

impl Id {
    /// The first token that is never an id's; it and all above it are free for the
    /// driver's own sources, such as its waker and its listeners.
    pub const RESERVED_TOKENS_START: usize = GENERATIONS_END << INDEX_BITS;

    /// The id as the one number a poller hands back with an event.
    ///
    /// *Guaranteed*: less than [`Id::RESERVED_TOKENS_START`], and different for
    /// different ids.
    #[must_use]
    #[inline]
    pub const fn to_token(self) -> usize {
        ((self.generation.get() as usize) << INDEX_BITS) | self.index as usize
    }

    /// The id that `token` was made from; `None` when no id makes this token.
    #[must_use]
    #[inline]
    pub const fn from_token(token: usize) -> Option<Id> {
        if token >= Id::RESERVED_TOKENS_START {
            return None;
        }
        // Both halves fit 32 bits by the split below.
        match NonZeroU32::new((token >> INDEX_BITS) as u32) {
            Some(generation) => Some(Id { index: (token & INDEX_MASK) as u32, generation }),
            None => None,
        }
    }

    /// The first id of the slot at `index`; `None` past the last slot there can be.
    fn first(index: usize) -> Option<Id> {
        let fits = index < SLOTS_END;
        fits.then_some(Id { index: index as u32, generation: NonZeroU32::MIN })
    }

    /// The next id of the same slot; `None` when it has used up its generations.
    fn next(self) -> Option<Id> {
        let generation = self.generation.checked_add(1)?;
        let fits = (generation.get() as usize) < GENERATIONS_END;
        fits.then_some(Id { generation, ..self })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({self})")
    }
}

/// Entries under ids that are never reused.
///
/// Costs 8 bytes per slot beyond an `Option<T>`, which is as large as `T` for
/// every `T` with a spare bit pattern (anything that holds a `Box`, an `Arc`, a
/// `Vec`, an enum or a descriptor). A slot that was freed last is used first, for
/// its warm cache lines.
///
/// Bound: 2³² slots less one, 2²⁰ less one where pointers have 32 bits; a slot
/// whose generations are used up (2³² uses, or 2¹²) is retired. *True today*: the
/// table does not shrink.
#[derive(Debug)]
pub struct Table<T> {
    /// All but the last are full. Pieces, so that nothing is copied when the table
    /// grows and no more than one piece is unused.
    pieces: Vec<Vec<Slot<T>>>,
    /// The slot to use next, or [`NO_SLOT`].
    free: u32,
    len: usize,
}

impl<T> Table<T> {
    /// What one entry takes of the table, in bytes.
    pub const SLOT_BYTES: usize = size_of::<Slot<T>>();

    /// A table without entries; nothing is allocated yet.
    #[must_use]
    pub const fn new() -> Table<T> {
        Table { pieces: Vec::new(), free: NO_SLOT, len: 0 }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// The entry itself, when the table's bound is met.
    pub fn insert(&mut self, value: T) -> Result<Id, T> {
        match self.vacant() {
            Some(id) => Ok(self.occupy(id, value)),
            None => Err(value),
        }
    }

    /// Adds an entry that knows its own id, for a socket that must be registered
    /// under its token before there is anything to insert.
    ///
    /// `None` when the table's bound is met; then `make` was not called. When
    /// `make` panics, the table is as it was (FAULTS 59).
    pub fn insert_with(&mut self, make: impl FnOnce(Id) -> T) -> Option<Id> {
        let made: Result<Id, Infallible> = self.try_insert_with(|id| Ok(make(id)))?;
        let Ok(id) = made;
        Some(id)
    }

    /// As [`Table::insert_with`], for an entry that may fail to be made.
    ///
    /// # Errors
    /// What `make` says; the table is as it was.
    pub fn try_insert_with<E>(&mut self, make: impl FnOnce(Id) -> Result<T, E>) -> Option<Result<Id, E>> {
        let id = self.vacant()?;
        Some(make(id).map(|value| self.occupy(id, value)))
    }

    /// The entry of `id`, if it is still there.
    #[must_use]
    #[inline]
    pub fn get(&self, id: Id) -> Option<&T> {
        let slot = self.slot(id.index)?;
        if slot.generation == id.generation { slot.value.as_ref() } else { None }
    }

    /// The entry of `id`, if it is still there, to change it.
    #[must_use]
    #[inline]
    pub fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let slot = self.slot_mut(id.index)?;
        planted!(StaleIdAccepted: return slot.value.as_mut());
        if slot.generation == id.generation { slot.value.as_mut() } else { None }
    }

    /// Takes the entry of `id` out; from now on the id finds nothing.
    pub fn remove(&mut self, id: Id) -> Option<T> {
        let free = self.free;
        let slot = self.slot_mut(id.index)?;
        if slot.generation != id.generation {
            return None;
        }
        let value = slot.value.take()?;
        // A slot without a next id stays empty and off the list of free ones: it
        // is retired, because to start over would make an old id find a new entry.
        if let Some(next) = id.next() {
            slot.generation = next.generation;
            slot.next_free = free;
            self.free = id.index;
        }
        self.len -= 1;
        Some(value)
    }

    /// Whether the entry of `id` is still there.
    #[must_use]
    pub fn contains(&self, id: Id) -> bool {
        self.get(id).is_some()
    }

    /// Entries in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every entry with its id, by place in the table.
    ///
    /// Takes time for every slot there ever was, not for every entry.
    pub fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        iter::zip(0.., self.pieces.iter().flatten()).filter_map(|(index, slot)| {
            let id = Id { index, generation: slot.generation };
            Some((id, slot.value.as_ref()?))
        })
    }

    /// Every id in the table, by place; the cost is that of [`Table::iter`].
    pub fn ids(&self) -> impl Iterator<Item = Id> {
        self.iter().map(|(id, _)| id)
    }

    /// The id the next entry gets.
    fn vacant(&self) -> Option<Id> {
        match self.slot(self.free) {
            Some(slot) => Some(Id { index: self.free, generation: slot.generation }),
            None => Id::first(self.slots()),
        }
    }

    #[inline]
    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        let index = index as usize;
        self.pieces.get(index / PIECE)?.get(index % PIECE)
    }

    #[inline]
    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        let index = index as usize;
        self.pieces.get_mut(index / PIECE)?.get_mut(index % PIECE)
    }

    /// Slots there are, used or not.
    fn slots(&self) -> usize {
        self.pieces.last().map_or(0, |last| (self.pieces.len() - 1) * PIECE + last.len())
    }

    fn push(&mut self, slot: Slot<T>) {
        match self.pieces.last_mut() {
            Some(last) if last.len() < PIECE => last.push(slot),
            // A table of a few entries is small.
            None => self.pieces.push(vec![slot]),
            Some(_) => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(slot);
                self.pieces.push(piece);
            }
        }
    }

    /// Fills the slot that [`Table::vacant`] named.
    fn occupy(&mut self, id: Id, value: T) -> Id {
        match self.slot_mut(id.index) {
            Some(slot) => {
                debug_assert!(slot.value.is_none(), "slot {id} is on the free list");
                slot.value = Some(value);
                let next = slot.next_free;
                self.free = next;
            }
            None => {
                debug_assert_eq!(self.slots(), id.index as usize);
                let generation = id.generation;
                self.push(Slot { generation, next_free: NO_SLOT, value: Some(value) });
            }
        }
        self.len += 1;
        id
    }
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table::new()
    }
}

/// `next_free` means something in a vacant slot only. An enum would say so, but
/// it cannot hide in the spare bit patterns of a small `T` and costs 8 bytes more.
#[derive(Debug)]
struct Slot<T> {
    generation: NonZeroU32,
    next_free: u32,
    value: Option<T>,
}

// How a token is split: 32 + 32 bits, or 20 + 12 where that is all there is. The
// last generation is never issued, which is what keeps the reserved tokens free.
const TOKEN_BITS: u32 = if usize::BITS > 64 { 64 } else { usize::BITS };
const INDEX_BITS: u32 = if TOKEN_BITS == 64 { 32 } else { 20 };
const INDEX_MASK: usize = (1 << INDEX_BITS) - 1;
const GENERATIONS_END: usize = (1 << (TOKEN_BITS - INDEX_BITS)) - 1;
const _: () = assert!(usize::BITS >= 32, "a token needs 32 bits");

/// Slots in one piece. Not measured: a hundred kilobytes or so of connections.
const PIECE: usize = 256;

/// One index is left out so that [`NO_SLOT`] is none.
const SLOTS_END: usize = INDEX_MASK;
const NO_SLOT: u32 = u32::MAX;
const _: () = assert!(SLOTS_END <= NO_SLOT as usize);

#[cfg(test)]
mod tests;
