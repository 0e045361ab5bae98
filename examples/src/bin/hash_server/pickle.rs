//! The part of GAP's `IO_Pickle` that points are made of: integers, strings and lists.
//!
//! ```text
//! INTG ‹number of digits› ‹digits›     an integer, in hex
//! MSTR ‹number of bytes› ‹bytes›       a string; ISTR, one that cannot be changed
//! MLIS ‹number of values› ‹values›     a list; ILIS, one that cannot be changed
//! ```
//!
//! A number in angle brackets is one byte that says how many digits follow, and these. Ranges,
//! lists with gaps and references to a list that came before are not understood: who sends
//! points sends plain lists.
//!
//! Source: `gap/pickle.gi` of GAP's package io 4.8.

use std::hash::{Hash, Hasher};
use thiserror::Error;

/// Something GAP can hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    Integer(i64),
    String(Vec<u8>, Change),
    List(Vec<Value>, Change),
}

/// Whether GAP may change it. This is kept, so that a point goes out as it came in, and makes
/// no difference: GAP takes the two for equal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Allowed,
    Forbidden,
}

/// Bytes that are not one pickled value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum BadPickle {
    #[error("it ends too soon")]
    Short,
    #[error("{0} bytes are left over")]
    Long(usize),
    #[error("nothing known begins with \"{}\"", .0.escape_ascii())]
    Kind([u8; 4]),
    #[error("\"{}\" is no number of up to 63 bits in hex", .0.escape_ascii())]
    Number(Vec<u8>),
    #[error("a length of {0}")]
    Negative(i64),
    #[error("lists within lists, more than {MOST_DEPTH} deep")]
    Deep,
    #[error("it is no list")]
    NoList,
}

/// A matrix is two deep. The stack could take thousands.
const MOST_DEPTH: usize = 32;

impl Value {
    /// A list as GAP makes them.
    pub(crate) fn list(values: impl IntoIterator<Item = Value>) -> Value {
        Value::List(values.into_iter().collect(), Change::Allowed)
    }

    /// The value that these bytes are, and nothing but that.
    ///
    /// *Guaranteed*: allocates for what is there, never for what is announced.
    pub(crate) fn unpickle(bytes: &[u8]) -> Result<Value, BadPickle> {
        let mut rest = bytes;
        let value = Value::read(&mut rest, Change::Allowed, 0)?;
        if rest.is_empty() { Ok(value) } else { Err(BadPickle::Long(rest.len())) }
    }

    /// `within` a list that cannot be changed nothing can.
    fn read(rest: &mut &[u8], within: Change, depth: usize) -> Result<Value, BadPickle> {
        let kind: [u8; 4] = take(rest, 4)?.try_into().expect("four were taken");
        let change = if kind[0] == b'I' { Change::Forbidden } else { within };
        match &kind {
            b"INTG" => {
                let digits = length(rest)?;
                Ok(Value::Integer(number(take(rest, digits)?)?))
            }
            b"MSTR" | b"ISTR" => {
                let len = length(rest)?;
                Ok(Value::String(take(rest, len)?.to_vec(), change))
            }
            b"MLIS" | b"ILIS" if depth == MOST_DEPTH => Err(BadPickle::Deep),
            b"MLIS" | b"ILIS" => {
                // Room is made as values come: how many there will be is a claim.
                let (len, mut values) = (length(rest)?, Vec::new());
                for _ in 0..len {
                    values.push(Value::read(rest, change, depth + 1)?);
                }
                Ok(Value::List(values, change))
            }
            _ => Err(BadPickle::Kind(kind)),
        }
    }

    /// The same bytes as GAP's.
    pub(crate) fn pickle(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Integer(n) => {
                let digits = hex(*n);
                out.extend(b"INTG");
                write_length(digits.len(), out);
                out.extend(digits.as_bytes());
            }
            Value::String(bytes, change) => {
                out.extend(change.pick(b"MSTR", b"ISTR"));
                write_length(bytes.len(), out);
                out.extend(bytes);
            }
            Value::List(values, change) => {
                out.extend(change.pick(b"MLIS", b"ILIS"));
                write_length(values.len(), out);
                values.iter().for_each(|value| value.write(out));
            }
        }
    }

    /// What a list is made of.
    pub(crate) fn into_values(self) -> Result<Vec<Value>, BadPickle> {
        match self {
            Value::List(values, _) => Ok(values),
            Value::Integer(_) | Value::String(..) => Err(BadPickle::NoList),
        }
    }
}

impl Change {
    fn pick<T>(self, allowed: T, forbidden: T) -> T {
        match self {
            Change::Allowed => allowed,
            Change::Forbidden => forbidden,
        }
    }
}

impl PartialEq for Change {
    fn eq(&self, _: &Change) -> bool {
        true
    }
}

impl Eq for Change {}

impl Hash for Change {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], BadPickle> {
    rest.split_off(..len).ok_or(BadPickle::Short)
}

/// A byte, and as many hex digits.
fn length(rest: &mut &[u8]) -> Result<usize, BadPickle> {
    let digits = *rest.split_off_first().ok_or(BadPickle::Short)?;
    let n = number(take(rest, digits.into())?)?;
    usize::try_from(n).map_err(|_| BadPickle::Negative(n))
}

fn write_length(len: usize, out: &mut Vec<u8>) {
    let digits = format!("{len:X}");
    // Sixteen at most.
    out.push(digits.len() as u8);
    out.extend(digits.as_bytes());
}

fn number(digits: &[u8]) -> Result<i64, BadPickle> {
    let bad = || BadPickle::Number(digits[..digits.len().min(20)].to_vec());
    let text = str::from_utf8(digits).map_err(|_| bad())?;
    // Rust would take a plus as well.
    if text.starts_with('+') { Err(bad()) } else { i64::from_str_radix(text, 16).map_err(|_| bad()) }
}

fn hex(n: i64) -> String {
    format!("{}{:X}", if n < 0 { "-" } else { "" }, n.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(bytes: &[u8]) -> Value {
        Value::String(bytes.to_vec(), Change::Allowed)
    }

    /// What GAP 4.12 makes of them.
    fn golden() -> Vec<(&'static [u8], Value)> {
        let numbers = |numbers: &[i64]| Value::list(numbers.iter().copied().map(Value::Integer));
        vec![
            (b"INTG\x0110", Value::Integer(0)),
            (b"INTG\x0211-8000000000000000", Value::Integer(i64::MIN)),
            (b"MLIS\x013INTG\x0111INTG\x0112INTG\x0113", numbers(&[1, 2, 3])),
            (b"MLIS\x011MLIS\x010", Value::list([numbers(&[])])),
            (
                b"MLIS\x014INTG\x013-FFMSTR\x013abcMLIS\x010MSTR\x010",
                Value::list([Value::Integer(-255), text(b"abc"), numbers(&[]), text(b"")]),
            ),
            (
                b"ILIS\x012INTG\x0111ISTR\x012ab",
                Value::List(
                    vec![Value::Integer(1), Value::String(b"ab".to_vec(), Change::Forbidden)],
                    Change::Forbidden,
                ),
            ),
        ]
    }

    #[test]
    fn pickles_are_those_of_gap_and_come_back() {
        for (bytes, value) in golden() {
            assert_eq!(value.pickle().escape_ascii().to_string(), bytes.escape_ascii().to_string());
            let back = Value::unpickle(bytes);
            assert_eq!(back, Ok(value));
            assert_eq!(back.unwrap().pickle(), bytes, "whether it may be changed included");
        }
        let long = text(&[b'a'; 300]).pickle();
        assert_eq!(&long[..9], b"MSTR\x0312Ca");
        assert_eq!(long.len(), 8 + 300);
    }

    #[test]
    fn pickles_that_are_cut_or_have_a_tail_are_refused() {
        for (bytes, _) in golden() {
            for len in 0..bytes.len() {
                assert_eq!(Value::unpickle(&bytes[..len]), Err(BadPickle::Short), "{len} of {bytes:?}");
            }
            let tail = [bytes, b"?"].concat();
            assert_eq!(Value::unpickle(&tail), Err(BadPickle::Long(1)));
        }
    }

    #[test]
    fn what_is_no_pickle_is_refused_by_name() {
        let bad = |bytes: &[u8]| Value::unpickle(bytes).unwrap_err();
        assert_eq!(bad(b"FAIL"), BadPickle::Kind(*b"FAIL"));
        assert_eq!(bad(b"INTG\x011+"), BadPickle::Number(b"+".to_vec()));
        assert_eq!(bad(b"INTG\x012+1"), BadPickle::Number(b"+1".to_vec()));
        assert_eq!(bad(b"INTG\x010"), BadPickle::Number(Vec::new()));
        assert_eq!(bad(b"INTG\x0218" as &[u8]), BadPickle::Short);
        assert_eq!(bad(b"INTG\x02108000000000000000"), BadPickle::Number(b"8000000000000000".to_vec()));
        assert_eq!(bad(b"MSTR\x02-1"), BadPickle::Negative(-1));
        assert_eq!(bad(b"MLIS\x107FFFFFFFFFFFFFFFINTG\x0111"), BadPickle::Short, "and no room for all of them");
        let within = |depth| [b"MLIS\x011".repeat(depth), b"MLIS\x010".to_vec()].concat();
        assert!(Value::unpickle(&within(MOST_DEPTH - 1)).is_ok());
        assert_eq!(bad(&within(MOST_DEPTH)), BadPickle::Deep);
        assert_eq!(bad(&within(1_000_000)), BadPickle::Deep);
        assert_eq!(Value::Integer(1).into_values(), Err(BadPickle::NoList));
    }

    #[test]
    fn what_may_not_be_changed_is_so_within_and_equal_to_what_may() {
        let value = Value::unpickle(b"ILIS\x011MSTR\x011a").unwrap();
        assert_eq!(value.pickle(), b"ILIS\x011ISTR\x011a", "as GAP has it");
        assert_eq!(value, Value::list([text(b"a")]));
    }

    proptest! {
        #[test]
        fn any_value_comes_back(value in values()) {
            prop_assert_eq!(Value::unpickle(&value.pickle()), Ok(value));
        }

        #[test]
        fn no_bytes_are_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Value::unpickle(&bytes);
        }

        #[test]
        fn one_wrong_byte_is_no_harm(value in values(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = value.pickle();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(value) = Value::unpickle(&bytes) {
                prop_assert_eq!(Value::unpickle(&value.pickle()), Ok(value));
            }
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let change = || prop_oneof![Just(Change::Allowed), Just(Change::Forbidden)];
        let bytes = proptest::collection::vec(any::<u8>(), 0..20);
        let leaf = prop_oneof![
            any::<i64>().prop_map(Value::Integer),
            (bytes, change()).prop_map(|(bytes, change)| Value::String(bytes, change)),
        ];
        leaf.prop_recursive(4, 64, 8, move |inner| {
            (proptest::collection::vec(inner, 0..8), change()).prop_map(|(values, change)| Value::List(values, change))
        })
    }
}
