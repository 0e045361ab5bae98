//! Drivers that are broken on purpose: the suite must fail them, and for the right
//! reason. The driver they are made of passes in `by_hand.rs`.

#[path = "subjects/by_hand.rs"]
mod subject;

use drywire_conformance::{Subject, checks_of};
use std::panic::catch_unwind;
use subject::{
    ByHand, DROPS_BYTES, KNOWS_NO_BUDGET, LEAKS, LOSES_AN_EDGE, REPORTS_TWICE, SOUND, SPINS, SWALLOWS_THE_HALF_CLOSE,
    TAKES_LONG_TURNS,
};

/// What the check says about the driver; `None` when it lets it pass.
#[track_caller]
fn verdict<S: Subject>(name: &str) -> Option<String> {
    let check = checks_of::<S>().into_iter().find(|check| check.name == name).expect("a check of this name");
    assert!(check.applies_to::<S>(), "{} does not declare {:?}", S::NAME, check.needs);
    let failure = catch_unwind(check.run).err()?;
    let text = failure.downcast::<String>().map(|text| *text);
    Some(text.unwrap_or_else(|other| (*other.downcast::<&str>().expect("a panic has words")).into()))
}

#[track_caller]
fn assert_fails<S: Subject>(name: &str, because: &str) {
    match verdict::<S>(name) {
        None => panic!("{name} lets the {} pass", S::NAME),
        Some(text) => assert!(text.contains(because), "{name} fails the {} for another reason: {text}", S::NAME),
    }
}

#[test]
fn driver_that_loses_an_edge_fails() {
    type Loser = ByHand<LOSES_AN_EDGE>;
    assert_fails::<Loser>("e7_three_megabytes_owed_at_the_end_of_input_all_come", "a clean end was to come");
    assert_fails::<Loser>("e8_client_that_never_reads_is_not_read_from", "a clean end was to come");
    assert_fails::<Loser>("e8_64_mib_come_back_exactly_through_narrow_sockets_to_a_slow_reader", "I1");
}

#[test]
fn driver_that_drops_bytes_where_it_would_block_fails() {
    type Dropper = ByHand<DROPS_BYTES>;
    assert_fails::<Dropper>("e7_three_megabytes_owed_at_the_end_of_input_all_come", "I1");
    assert_fails::<Dropper>("e8_client_that_never_reads_is_not_read_from", "I2");
    assert_fails::<Dropper>("e8_64_mib_come_back_exactly_through_narrow_sockets_to_a_slow_reader", "I1");
}

#[test]
fn driver_that_reports_an_end_twice_fails_every_check() {
    type Twice = ByHand<REPORTS_TWICE>;
    for name in ["e5_quit_ends_the_session", "e6_pipelined_lines_come_back_in_order_then_the_end"] {
        assert_fails::<Twice>(name, "I4: after the one close report came another close report");
    }
}

#[test]
fn driver_without_a_budget_fails() {
    let name = "fault_22_quiet_peers_are_served_beside_one_that_takes_an_endless_stream";
    assert_fails::<ByHand<KNOWS_NO_BUDGET>>(name, "bytes were to come");
}

#[test]
fn driver_with_turns_that_are_too_long_fails() {
    let name = "fault_22_quiet_peers_are_served_beside_one_that_takes_an_endless_stream";
    assert_fails::<ByHand<TAKES_LONG_TURNS>>(name, "FAULTS 22");
}

#[test]
fn driver_that_swallows_the_half_close_fails() {
    let name = "e7_our_end_comes_though_the_peer_keeps_its_own_direction_open";
    assert_fails::<ByHand<SWALLOWS_THE_HALF_CLOSE>>(name, "a clean end was to come");
}

#[test]
fn driver_that_spins_fails() {
    assert_fails::<ByHand<SPINS>>("i3_idle_connections_cost_no_processor_time", "I3");
}

#[test]
fn driver_that_leaks_fails() {
    assert_fails::<ByHand<LEAKS>>("i6_twenty_thousand_short_connections_leave_nothing_behind", "I6");
}

#[test]
fn sound_driver_passes_what_the_broken_ones_fail() {
    for name in [
        "e5_quit_ends_the_session",
        "e6_pipelined_lines_come_back_in_order_then_the_end",
        "e7_three_megabytes_owed_at_the_end_of_input_all_come",
        "e7_our_end_comes_though_the_peer_keeps_its_own_direction_open",
        "e8_client_that_never_reads_is_not_read_from",
        "fault_22_quiet_peers_are_served_beside_one_that_takes_an_endless_stream",
    ] {
        assert_eq!(verdict::<ByHand<SOUND>>(name), None);
    }
}
