//! The table against a map that never forgets, and the edges of its numbers.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;
use std::mem::size_of;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(u16),
    Change(usize, u16),
    Remove(usize),
    /// Brings a live entry's slot to its last generation.
    Age(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<u16>().prop_map(Step::Insert),
        1 => (any::<usize>(), any::<u16>()).prop_map(|(n, v)| Step::Change(n, v)),
        3 => any::<usize>().prop_map(Step::Remove),
        1 => any::<usize>().prop_map(Step::Age),
    ]
}

fn last_generation() -> NonZeroU32 {
    NonZeroU32::new(u32::try_from(GENERATIONS_END - 1).unwrap()).unwrap()
}

proptest! {
    /// Ids that were ever issued, dead ones too, find in the table what they
    /// find in a map that never forgets (FAULTS 20, 45).
    #[test]
    fn fault_20_45_table_behaves_like_a_map_with_unique_keys(
        steps in prop::collection::vec(step(), 1..200)
    ) {
        let mut table = Table::new();
        let mut model = HashMap::new();
        let mut issued: Vec<Id> = Vec::new();
        for step in steps {
            let pick = |n: usize| issued.get(n % issued.len().max(1)).copied();
            match step {
                Step::Insert(value) => {
                    let id = table.insert(value).unwrap();
                    prop_assert!(!issued.contains(&id), "{id} was issued before");
                    issued.push(id);
                    model.insert(id, value);
                }
                Step::Change(n, value) => {
                    let Some(id) = pick(n) else { continue };
                    let entry = table.get_mut(id);
                    prop_assert_eq!(entry.as_deref(), model.get(&id));
                    if let Some(entry) = entry {
                        *entry = value;
                        model.insert(id, value);
                    }
                }
                Step::Remove(n) => {
                    let Some(id) = pick(n) else { continue };
                    prop_assert_eq!(table.remove(id), model.remove(&id));
                }
                Step::Age(n) => {
                    let Some(id) = pick(n).filter(|id| model.contains_key(id)) else { continue };
                    let old = Id { generation: last_generation(), ..id };
                    if old != id {
                        table.slot_mut(id.index).unwrap().generation = old.generation;
                        let value = model.remove(&id).unwrap();
                        model.insert(old, value);
                        issued.push(old);
                    }
                }
            }
            prop_assert_eq!(table.len(), model.len());
            prop_assert_eq!(table.is_empty(), model.is_empty());
            for id in &issued {
                prop_assert_eq!(table.get(*id), model.get(id));
                prop_assert_eq!(table.contains(*id), model.contains_key(id));
            }
            let seen: HashMap<Id, u16> = table.iter().map(|(id, value)| (id, *value)).collect();
            prop_assert_eq!(&seen, &model);
            prop_assert_eq!(table.ids().count(), model.len());
        }
    }

    #[test]
    fn token_leads_back_to_its_id(token in any::<usize>()) {
        if let Some(id) = Id::from_token(token) {
            prop_assert_eq!(id.to_token(), token);
        }
    }
}

#[test]
fn fault_20_stale_token_finds_nothing_in_a_reused_slot() {
    let mut table = Table::new();
    let old = table.insert("old").unwrap();
    assert_eq!(table.remove(old), Some("old"));
    let new = table.insert("new").unwrap();

    assert_eq!(new.index, old.index, "the slot freed last is used first");
    let event = Id::from_token(old.to_token()).unwrap();
    assert_eq!(table.get(event), None);
    assert_eq!(table.remove(event), None);
    assert_eq!(table.get(new), Some(&"new"));
}

#[test]
fn freed_slots_are_all_used_again_before_the_table_grows() {
    let mut table = Table::new();
    for _ in 0..3 {
        let ids: Vec<Id> = (0..10).map(|n| table.insert(n).unwrap()).collect();
        assert_eq!(table.slots(), 10);
        ids.iter().for_each(|id| assert!(table.remove(*id).is_some()));
    }
}

#[test]
fn fault_45_slot_whose_generations_are_used_up_is_retired() {
    let mut table = Table::new();
    table.insert(1).unwrap();
    table.slot_mut(0).unwrap().generation = last_generation();
    let last = Id { index: 0, generation: last_generation() };
    assert_eq!(table.remove(last), Some(1));

    let next = table.insert(2).unwrap();
    assert_eq!(next.index, 1);
    assert!(!table.contains(last));
    assert_eq!(table.remove(last), None);
    assert_eq!(table.ids().collect::<Vec<_>>(), [next]);
}

#[test]
fn slots_end_where_the_token_ends() {
    assert_eq!(Id::first(SLOTS_END), None);
    let last = Id { generation: last_generation(), ..Id::first(SLOTS_END - 1).unwrap() };
    assert_eq!(last.next(), None);
    assert!(last.to_token() < Id::RESERVED_TOKENS_START);
    assert_eq!(Id::from_token(last.to_token()), Some(last));
}

const _: () = assert!(usize::MAX - Id::RESERVED_TOKENS_START >= 1 << 16);

#[test]
fn reserved_tokens_are_no_ids() {
    for token in [0, 1, Id::RESERVED_TOKENS_START, usize::MAX - 1, usize::MAX] {
        assert_eq!(Id::from_token(token), None, "{token:#x}");
    }
}

#[test]
fn entry_knows_its_id_and_a_panic_in_its_making_leaves_no_trace() {
    let mut table = Table::new();
    let id = table.insert_with(|id| id.to_token()).unwrap();
    assert_eq!(table.get(id), Some(&id.to_token()));

    let panicked = catch_unwind(AssertUnwindSafe(|| table.insert_with(|_| panic!("as told"))));
    assert!(panicked.is_err());
    assert_eq!(table.len(), 1);
    assert_eq!(table.insert_with(|id| id.index as usize).map(|id| id.index), Some(1));
}

#[test]
fn slot_costs_eight_bytes_beyond_its_entry() {
    assert_eq!(size_of::<Slot<Box<u8>>>(), size_of::<Box<u8>>() + 8);
    assert_eq!(size_of::<Slot<(Vec<u8>, u64)>>(), size_of::<(Vec<u8>, u64)>() + 8);
    assert_eq!(size_of::<Option<Id>>(), size_of::<Id>());
}

#[test]
fn id_reads_as_place_and_generation() {
    let id = Table::new().insert(()).unwrap();
    assert_eq!(format!("{id} {id:?}"), "0.1 Id(0.1)");
}

#[test]
fn i2_large_table_has_no_more_room_than_one_piece() {
    let mut table = Table::new();
    let ids: Vec<Id> = (0..5 * PIECE + 3).map(|n| table.insert(n).unwrap()).collect();
    assert!(ids.iter().enumerate().all(|(n, id)| table.get(*id) == Some(&n)), "across pieces");
    assert!(table.ids().eq(ids.iter().copied()));
    let room: usize = table.pieces.iter().map(Vec::capacity).sum();
    assert!(room < table.slots() + PIECE, "room for {room}");
    assert!(ids.iter().enumerate().all(|(n, id)| table.remove(*id) == Some(n)));
}
