//! How commands become bytes on a tape, and commands again.

use crate::time::Time;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::convert::Infallible;
use core::time::Duration;

/// A value that can be written down and read back: what the
/// [`Command`](crate::Protocol::Command) of a recorded protocol has to be.
///
/// With the feature `derive`, `#[derive(Record)]` does it for structs and enums
/// whose fields are `Record` themselves. The order of variants and fields is the
/// format, so a recording is replayed by the version that made it. A type that holds
/// itself (in a `Box`) is read back by recursion: a forged recording may then ask for
/// more stack than there is.
///
/// ```
/// use drywire_core::record::Record;
///
/// let mut bytes = Vec::new();
/// (7u16, String::from("seven")).record(&mut bytes);
/// assert_eq!(<(u16, String)>::replay(&mut &bytes[..]), Some((7, "seven".into())));
/// ```
pub trait Record: Sized {
    /// Appends this value. At least one byte, unless there is only one value of
    /// the type.
    fn record(&self, out: &mut Vec<u8>);

    /// Takes one value from the front of `from`. `None` when none stands there;
    /// bytes can be anything.
    fn replay(from: &mut &[u8]) -> Option<Self>;
}

/// What a derived `record` writes to, by a name that needs no `alloc` in the crate that derives.
#[doc(hidden)]
pub type Out = Vec<u8>;

/// Appends a number, seven bits a byte, low ones first (LEB128).
pub(super) fn put_number(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Takes a number from the front.
pub(super) fn take_number(from: &mut &[u8]) -> Option<u64> {
    let mut n = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        n |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

/// Small numbers of either sign become small ones without.
pub(super) const fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

pub(super) const fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

/// Takes `len` bytes from the front.
pub(super) fn take_bytes<'a>(from: &mut &'a [u8], len: u64) -> Option<&'a [u8]> {
    let (bytes, rest) = from.split_at_checked(usize::try_from(len).ok()?)?;
    *from = rest;
    Some(bytes)
}

macro_rules! numbers {
    ($($type:ty: |$n:ident| $put:expr, |$m:ident| $take:expr;)*) => {$(
        impl Record for $type {
            fn record(&self, out: &mut Vec<u8>) {
                let $n = *self;
                put_number($put, out);
            }

            fn replay(from: &mut &[u8]) -> Option<$type> {
                let $m = take_number(from)?;
                $take
            }
        }
    )*};
}

numbers! {
    u16: |n| u64::from(n), |n| n.try_into().ok();
    u32: |n| u64::from(n), |n| n.try_into().ok();
    u64: |n| n, |n| Some(n);
    usize: |n| n as u64, |n| n.try_into().ok();
    i8: |n| zigzag(n.into()), |n| unzigzag(n).try_into().ok();
    i16: |n| zigzag(n.into()), |n| unzigzag(n).try_into().ok();
    i32: |n| zigzag(n.into()), |n| unzigzag(n).try_into().ok();
    i64: |n| zigzag(n), |n| Some(unzigzag(n));
    isize: |n| zigzag(n as i64), |n| unzigzag(n).try_into().ok();
    bool: |n| u64::from(n), |n| match n { 0 => Some(false), 1 => Some(true), _ => None };
    char: |n| u64::from(u32::from(n)), |n| char::from_u32(u32::try_from(n).ok()?);
    f32: |n| u64::from(n.to_bits()), |n| Some(f32::from_bits(n.try_into().ok()?));
    f64: |n| n.to_bits(), |n| Some(f64::from_bits(n));
    Time: |n| n.as_nanos(), |n| Some(Time::from_nanos(n));
}

/// As it is, so that `Vec<u8>` is what it holds.
impl Record for u8 {
    fn record(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn replay(from: &mut &[u8]) -> Option<u8> {
        take_bytes(from, 1).map(|byte| byte[0])
    }
}

/// There is none.
impl Record for Infallible {
    fn record(&self, _: &mut Vec<u8>) {
        match *self {}
    }

    fn replay(_: &mut &[u8]) -> Option<Infallible> {
        None
    }
}

impl Record for () {
    fn record(&self, _: &mut Vec<u8>) {}

    fn replay(_: &mut &[u8]) -> Option<()> {
        Some(())
    }
}

impl Record for String {
    fn record(&self, out: &mut Vec<u8>) {
        put_number(self.len() as u64, out);
        out.extend_from_slice(self.as_bytes());
    }

    fn replay(from: &mut &[u8]) -> Option<String> {
        let len = take_number(from)?;
        core::str::from_utf8(take_bytes(from, len)?).ok().map(Into::into)
    }
}

impl Record for Bytes {
    fn record(&self, out: &mut Vec<u8>) {
        put_number(self.len() as u64, out);
        out.extend_from_slice(self);
    }

    fn replay(from: &mut &[u8]) -> Option<Bytes> {
        let len = take_number(from)?;
        take_bytes(from, len).map(Bytes::copy_from_slice)
    }
}

impl Record for Duration {
    fn record(&self, out: &mut Vec<u8>) {
        (self.as_secs(), self.subsec_nanos()).record(out);
    }

    fn replay(from: &mut &[u8]) -> Option<Duration> {
        let (secs, nanos) = Record::replay(from)?;
        (nanos < 1_000_000_000).then(|| Duration::new(secs, nanos))
    }
}

impl<T: Record> Record for Option<T> {
    fn record(&self, out: &mut Vec<u8>) {
        self.is_some().record(out);
        if let Some(value) = self {
            value.record(out);
        }
    }

    fn replay(from: &mut &[u8]) -> Option<Option<T>> {
        match bool::replay(from)? {
            false => Some(None),
            true => T::replay(from).map(Some),
        }
    }
}

impl<T: Record> Record for Box<T> {
    fn record(&self, out: &mut Vec<u8>) {
        (**self).record(out);
    }

    fn replay(from: &mut &[u8]) -> Option<Box<T>> {
        T::replay(from).map(Box::new)
    }
}

/// Bound: more values than there are bytes left are none, so what is allocated
/// is in proportion to what is read.
impl<T: Record> Record for Vec<T> {
    fn record(&self, out: &mut Vec<u8>) {
        put_number(self.len() as u64, out);
        for value in self {
            value.record(out);
            if size_of::<T>() == 0 {
                out.push(0);
            }
        }
    }

    fn replay(from: &mut &[u8]) -> Option<Vec<T>> {
        let len = usize::try_from(take_number(from)?).ok()?;
        if len > from.len() {
            return None;
        }
        let mut values = Vec::new();
        for _ in 0..len {
            values.push(T::replay(from)?);
            if size_of::<T>() == 0 {
                take_bytes(from, 1)?;
            }
        }
        Some(values)
    }
}

macro_rules! tuples {
    ($(($($name:ident)+))*) => {$(
        impl<$($name: Record),+> Record for ($($name,)+) {
            fn record(&self, out: &mut Vec<u8>) {
                #[expect(non_snake_case, reason = "named like their types")]
                let ($($name,)+) = self;
                $($name.record(out);)+
            }

            fn replay(from: &mut &[u8]) -> Option<($($name,)+)> {
                Some(($($name::replay(from)?,)+))
            }
        }
    )*};
}

tuples! { (A) (A B) (A B C) (A B C D) (A B C D E) }

#[cfg(test)]
mod tests {
    use super::*;
    use core::fmt;
    use proptest::prelude::*;
    use std::vec;

    #[track_caller]
    fn comes_back<T: Record + PartialEq + fmt::Debug>(value: T) {
        let mut bytes = Vec::new();
        value.record(&mut bytes);
        bytes.extend_from_slice(b"rest");
        let mut from = &bytes[..];
        assert_eq!(T::replay(&mut from), Some(value));
        assert_eq!(from, b"rest");
        for cut in 0..bytes.len() - 4 {
            let _ = T::replay(&mut &bytes[..cut]);
        }
    }

    #[test]
    fn values_come_back_as_they_were() {
        comes_back((u8::MAX, u16::MAX, u32::MAX, u64::MAX, usize::MAX));
        comes_back((i8::MIN, i16::MIN, i32::MIN, i64::MIN, isize::MIN));
        comes_back((true, 'ß', 1.5f32, -0.25f64));
        comes_back((Time::NEVER, Duration::MAX, ()));
        comes_back((
            String::from("grüß"),
            Bytes::from_static(b"\0\xff"),
            vec![1u8, 2],
            Some(Box::new(7u16)),
            vec![(); 3],
        ));
        comes_back(Some(None::<u8>));
    }

    #[test]
    fn more_values_than_bytes_are_none() {
        let mut bytes = Vec::new();
        put_number(u64::MAX, &mut bytes);
        assert_eq!(Vec::<()>::replay(&mut &bytes[..]), None);
        assert_eq!(String::replay(&mut &bytes[..]), None);
        assert_eq!(Duration::replay(&mut &bytes[..]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_value_or_none(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            type All = (Vec<Option<String>>, Vec<(i64, bool)>, Vec<char>);
            if let Some(value) = All::replay(&mut &bytes[..]) {
                comes_back(value);
            }
        }
    }
}
