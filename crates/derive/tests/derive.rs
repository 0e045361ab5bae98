//! What is derived, for every shape a command can have.

use drywire_core::record::Record;
use drywire_derive::Record;
use std::fmt::Debug;

#[derive(Debug, PartialEq, Record)]
struct Named {
    number: u32,
    text: String,
}

#[derive(Debug, PartialEq, Record)]
struct Tuple(u8, Option<i64>);

#[derive(Debug, PartialEq, Record)]
struct Unit;

#[derive(Debug, PartialEq, Record)]
struct Generic<T, const N: usize>
where
    T: Clone,
{
    out: T,
    from: Vec<T>,
}

#[derive(Debug, PartialEq, Record)]
enum Every {
    Nothing,
    One(Named),
    Two(Tuple, Unit),
    Fields { r#type: bool, self_: char },
}

#[derive(Debug, PartialEq, Record)]
enum Never {}

#[track_caller]
fn comes_back<T: Record + Debug + PartialEq>(value: T, as_bytes: &[u8]) {
    let mut bytes = Vec::new();
    value.record(&mut bytes);
    assert_eq!(bytes, as_bytes);
    for cut in 0..bytes.len() {
        assert_eq!(T::replay(&mut &bytes[..cut]), None, "cut at {cut}");
    }
    let mut from = &bytes[..];
    assert_eq!((T::replay(&mut from), from), (Some(value), &b""[..]));
}

#[test]
fn fields_are_written_one_after_the_other() {
    comes_back(Named { number: 300, text: "hi".into() }, b"\xac\x02\x02hi");
    comes_back(Tuple(200, Some(-1)), b"\xc8\x01\x01");
    comes_back(Unit, b"");
    comes_back(Generic::<u8, 3> { out: 1, from: vec![2, 3] }, b"\x01\x02\x02\x03");
}

#[test]
fn variants_are_numbered_in_their_order() {
    comes_back(Every::Nothing, b"\x00");
    comes_back(Every::One(Named { number: 1, text: String::new() }), b"\x01\x01\x00");
    comes_back(Every::Two(Tuple(1, None), Unit), b"\x02\x01\x00");
    comes_back(Every::Fields { r#type: true, self_: 'a' }, b"\x03\x01a");
}

#[test]
fn what_was_not_derived_is_nothing() {
    assert_eq!(Every::replay(&mut &b"\x04"[..]), None);
    assert_eq!(Never::replay(&mut &b"\x00"[..]), None);
}
