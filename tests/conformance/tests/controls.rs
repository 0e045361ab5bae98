//! Drivers that are broken on purpose: the suite must fail them, and for the right
//! reason. The driver they are made of passes in `by_hand.rs`.

#[path = "subjects/by_hand.rs"]
mod subject;

use drywire_conformance::checks::{backpressure, echo, fairness, half_close, idle, large, leaks};
use std::panic::catch_unwind;
use subject::{
    ByHand, DROPS_BYTES, KNOWS_NO_BUDGET, LEAKS, LOSES_AN_EDGE, REPORTS_TWICE, SPINS, SWALLOWS_THE_HALF_CLOSE,
    TAKES_LONG_TURNS,
};

/// What the check says about the driver; `None` when it lets it pass.
fn verdict(check: fn()) -> Option<String> {
    let failure = catch_unwind(check).err()?;
    let text = failure.downcast::<String>().map(|text| *text);
    Some(text.unwrap_or_else(|other| (*other.downcast::<&str>().expect("a panic has words")).into()))
}

#[track_caller]
fn assert_fails(check: fn(), because: &str) {
    match verdict(check) {
        None => panic!("the check lets the driver pass"),
        Some(text) => assert!(text.contains(because), "the check fails the driver for another reason: {text}"),
    }
}

#[test]
fn driver_that_loses_an_edge_fails() {
    type Loser = ByHand<LOSES_AN_EDGE>;
    assert_fails(half_close::e7_three_megabytes_owed_at_the_end_of_input_all_come::<Loser>, "a clean end was to come");
    assert_fails(backpressure::e8_client_that_never_reads_is_not_read_from::<Loser>, "a clean end was to come");
    assert_fails(large::e8_64_mib_come_back_exactly_through_narrow_sockets_to_a_slow_reader::<Loser>, "I1");
}

#[test]
fn driver_that_drops_bytes_where_it_would_block_fails() {
    type Dropper = ByHand<DROPS_BYTES>;
    assert_fails(half_close::e7_three_megabytes_owed_at_the_end_of_input_all_come::<Dropper>, "I1");
    assert_fails(backpressure::e8_client_that_never_reads_is_not_read_from::<Dropper>, "I2");
    assert_fails(large::e8_64_mib_come_back_exactly_through_narrow_sockets_to_a_slow_reader::<Dropper>, "I1");
}

#[test]
fn driver_that_reports_an_end_twice_fails_every_check() {
    type Twice = ByHand<REPORTS_TWICE>;
    let because = "I4: after the one close report came another close report";
    assert_fails(echo::e5_quit_ends_the_session::<Twice>, because);
    assert_fails(echo::e6_pipelined_lines_come_back_in_order_then_the_end::<Twice>, because);
}

#[test]
fn driver_without_a_budget_fails() {
    type Glutton = ByHand<KNOWS_NO_BUDGET>;
    let check = fairness::fault_22_quiet_peers_are_served_beside_one_that_takes_an_endless_stream::<Glutton>;
    assert_fails(check, "FAULTS 22");
}

#[test]
fn driver_with_turns_that_are_too_long_fails() {
    type Stretcher = ByHand<TAKES_LONG_TURNS>;
    let check = fairness::fault_22_quiet_peers_are_served_beside_one_that_takes_an_endless_stream::<Stretcher>;
    assert_fails(check, "FAULTS 22");
}

#[test]
fn driver_that_swallows_the_half_close_fails() {
    type Swallower = ByHand<SWALLOWS_THE_HALF_CLOSE>;
    let check = half_close::e7_our_end_comes_though_the_peer_keeps_its_own_direction_open::<Swallower>;
    assert_fails(check, "a clean end was to come");
}

#[test]
fn driver_that_spins_fails() {
    assert_fails(idle::i3_idle_connections_cost_no_processor_time::<ByHand<SPINS>>, "I3");
}

#[test]
fn driver_that_leaks_fails() {
    assert_fails(leaks::i6_twenty_thousand_short_connections_leave_nothing_behind::<ByHand<LEAKS>>, "I6");
}
