//! Comfortable writing (row W10): formatting and typed integers.

use crate::support::rig::Rig;
use crate::support::script::Hooks;

fn written(
    write: impl FnMut(&mut crate::support::script::Cx<'_>) -> crate::support::script::Done + 'static,
) -> Vec<u8> {
    let mut rig = Rig::new(Hooks::new().on_open(write));
    rig.settle();
    assert!(rig.close.is_none());
    rig.net.taken
}

#[test]
fn w10_integers_in_both_orders() {
    let bytes = written(|cx| {
        cx.u8(1)?;
        cx.u16_be(0x0203)?;
        cx.u16_le(0x0504)?;
        cx.u32_be(0x0607_0809)?;
        cx.u32_le(0x0d0c_0b0a)?;
        cx.u64_be(0x0e0f_1011_1213_1415)?;
        cx.u64_le(0x1d1c_1b1a_1918_1716)?;
        cx.i16_be(-2)?;
        cx.i16_le(-2)?;
        cx.i32_be(-2)?;
        cx.i32_le(-2)?;
        cx.i64_be(-2)?;
        cx.i64_le(-2)
    });
    let counted: Vec<u8> = (1..=0x1d).collect();
    assert_eq!(bytes[..0x1d], counted);
    let mut rest = Vec::new();
    rest.extend((-2i16).to_be_bytes());
    rest.extend((-2i16).to_le_bytes());
    rest.extend((-2i32).to_be_bytes());
    rest.extend((-2i32).to_le_bytes());
    rest.extend((-2i64).to_be_bytes());
    rest.extend((-2i64).to_le_bytes());
    assert_eq!(bytes[0x1d..], rest);
}

#[test]
fn w10_decimals_and_formatting() {
    let bytes = written(|cx| {
        cx.decimal(0u8)?;
        cx.u8(b' ')?;
        cx.decimal(i64::MIN)?;
        cx.u8(b' ')?;
        cx.decimal(u64::MAX)?;
        let word = "plain";
        write!(cx, " {:>5}|{word}", 42)?;
        write!(cx, " literal")
    });
    assert_eq!(bytes, format!("0 {} {}    42|plain literal", i64::MIN, u64::MAX).into_bytes());
}

#[test]
fn w10_formatting_that_does_not_fit_is_undone_whole() {
    let mut rig = Rig::new(Hooks::new().on_consume(|input, cx| {
        write!(cx, "{}-{}-{}", "a".repeat(1500), "b".repeat(1500), char::from(input[0]))?;
        Ok(1)
    }));
    rig.net.room = 0;
    rig.feed("xy");
    assert_eq!(rig.conn.held_bytes(), 3003 + 1);
    rig.net.room = usize::MAX;
    rig.settle();
    assert_eq!(rig.net.taken.len(), 6006);
    assert_eq!(rig.net.taken[3002], b'x');
    assert_eq!(rig.net.taken[6005], b'y');
}

#[test]
fn reserved_place_is_filled_across_blocks() {
    let mut rig = Rig::on(
        drywire_core::Connection::new(Hooks::new().on_open(|cx| {
            // Leaves three bytes in the first block: the place does not fit there.
            cx.write(&vec![b'.'; 16 * 1024 - 3])?;
            let place = cx.reserve(8)?;
            cx.write(&vec![b'-'; 40_000])?;
            let n = cx.writer().since(&place);
            cx.writer().fill(place, &(n as u64).to_be_bytes());
            Ok(())
        }))
        .with_limits(drywire_core::Limits::DEFAULT),
    );
    rig.settle();
    let at = 16 * 1024 - 3;
    assert_eq!(rig.net.taken[at..at + 8], 40_000u64.to_be_bytes());
    assert_eq!(rig.net.taken.len(), at + 8 + 40_000);
}

#[test]
#[should_panic(expected = "filled in the call that reserved it")]
fn reserved_place_of_another_call_is_a_bug_of_the_author() {
    let mut kept = None;
    let mut rig = Rig::new(Hooks::new().on_consume(move |input, cx| {
        match kept.take() {
            None => kept = Some(cx.reserve(2)?),
            Some(place) => cx.writer().fill(place, b"no"),
        }
        Ok(input.len())
    }));
    rig.feed("first");
    rig.feed("second");
}
