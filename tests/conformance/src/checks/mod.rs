//! The checks, one file per area, and the one list of them.
//!
//! Each is a function over the [`Subject`](crate::Subject) under test, which panics
//! when the driver fails it. Names begin with the row or the fault they are about.

pub mod admission;
pub mod attack;
pub mod backpressure;
pub mod callbacks;
pub mod client;
pub mod commands;
pub mod deadlines;
pub mod echo;
pub mod exhaustion;
pub mod failure;
pub mod fairness;
pub mod files;
pub mod half_close;
pub mod idle;
pub mod large;
pub mod leaks;
pub mod limits;
pub mod outgoing;
pub mod resets;
pub mod shutdown;
pub mod slow;
pub mod unix;
pub mod urgent;

/// The list: what a check is called, what a driver must declare for it, and in which
/// process it runs. Tests and the table are both made from it.
#[doc(hidden)]
#[macro_export]
macro_rules! every_check {
    (@tests [$subject:ty] $($area:ident::$name:ident needs $needs:ident, $process:ident;)*) => {
        $(
            #[test]
            fn $name() {
                $crate::run::<$subject>(stringify!($name), concat!(module_path!(), "::", stringify!($name)));
            }
        )*
    };
    (@table [$subject:ty] $($area:ident::$name:ident needs $needs:ident, $process:ident;)*) => {
        vec![$(
            $crate::Check {
                area: stringify!($area),
                name: stringify!($name),
                needs: $crate::Capability::$needs,
                process: $crate::Process::$process,
                run: $crate::checks::$area::$name::<$subject>,
            }
        ),*]
    };
    ($what:ident $subject:ty) => {
        $crate::every_check! { @$what [$subject]
            echo::e5_quit_ends_the_session needs Echo, Shared;
            echo::e5_socket_is_closed_on_every_path needs Echo, Shared;
            echo::e6_many_clients_at_once_each_get_their_own_lines needs Echo, Shared;
            echo::e6_all_are_closed_at_once_when_the_server_ends needs Echo, Shared;
            echo::e6_clients_that_come_and_go_at_the_same_time_are_served needs Echo, Shared;
            echo::e6_pipelined_lines_come_back_in_order_then_the_end needs Echo, Shared;
            echo::fault_16_line_written_byte_by_byte_comes_back_whole needs Echo, Shared;
            echo::fault_21_no_edge_is_lost_between_reads_of_every_size needs Echo, Shared;
            echo::e8_bytes_of_any_number_come_back_exactly needs Echo, Shared;
            echo::e10_address_in_use_is_an_error_that_says_what_to_do needs Echo, Shared;
            urgent::fault_21_what_is_behind_urgent_data_is_read_at_once needs Echo, Shared;
            urgent::fault_21_what_is_behind_urgent_data_is_read_at_once_by_a_client needs Client, Shared;
            urgent::fault_21_what_is_behind_urgent_data_is_read_at_once_over_unix needs Unix, Shared;
            large::e8_64_mib_come_back_exactly_through_narrow_sockets_to_a_slow_reader needs Echo, Shared;
            large::e8_bytes_come_back_exactly_through_the_smallest_buffers_there_are needs Echo, Shared;
            large::e8_large_streams_of_several_clients_do_not_mix needs Echo, Shared;
            unix::e6_unix_clients_at_once_each_get_their_own_lines needs Unix, Shared;
            unix::e8_unix_bytes_come_back_exactly needs Unix, Shared;
            unix::e8_would_block_broken_pipe_and_reset_are_told_apart needs Unix, Shared;
            unix::e10_unix_path_in_use_is_an_error_that_says_what_to_do needs Unix, Shared;
            client::e9_client_sends_ends_and_reads_on_until_the_server_closes needs Client, Shared;
            client::e9_client_to_an_address_nobody_listens_on_is_told_refused_once needs Client, Shared;
            client::e9_client_of_a_server_that_resets_is_told_so_once needs Client, Shared;
            client::e9_client_that_ends_before_it_is_connected_ends_then needs Client, Shared;
            client::e9_client_that_says_and_hears_nothing_is_told_that_it_is_connected needs Client, Shared;
            outgoing::w6_connection_that_does_not_stand_by_its_deadline_is_told_once needs Client, Shared;
            outgoing::w6_name_is_looked_up_and_its_addresses_are_tried_in_turn needs Client, Shared;
            outgoing::w6_name_without_an_address_is_told_once needs Client, Shared;
            outgoing::w6_name_of_this_machine_where_nobody_listens_is_told_refused_once needs Client, Shared;
            half_close::e7_batch_input_gets_all_that_is_owed_then_a_clean_end needs HalfClose, Shared;
            half_close::e7_three_megabytes_owed_at_the_end_of_input_all_come needs HalfClose, Shared;
            half_close::fault_75_peer_that_ends_without_a_goodbye_gets_all_that_it_is_owed needs HalfClose, Shared;
            half_close::e7_unterminated_line_at_the_end_of_input_comes_back_as_it_stands needs HalfClose, Shared;
            half_close::e7_end_of_input_right_after_the_connect_is_a_clean_end needs HalfClose, Shared;
            half_close::e7_our_end_comes_though_the_peer_keeps_its_own_direction_open needs HalfClose, Shared;
            backpressure::e8_client_that_never_reads_is_not_read_from needs Backpressure, Shared;
            backpressure::e7_small_queue_pauses_reading_and_loses_nothing needs Backpressure, Shared;
            backpressure::i5_others_are_served_while_one_never_reads needs Backpressure, Shared;
            files::b13_files_in_the_middle_of_other_output needs Files, Shared;
            files::b11_files_of_a_mebibyte_pipelined_by_four_clients_are_right_to_the_byte needs Files, Shared;
            files::fault_50_51_what_is_no_file_beneath_the_root_is_refused_and_the_dialog_goes_on needs Files, Shared;
            files::fault_46_file_truncated_while_it_streams_is_a_reset_and_never_padded needs Files, Shared;
            files::fault_10_peer_that_closes_while_a_file_streams_frees_the_file needs Files, Alone;
            deadlines::fault_6_silent_peer_gets_the_answer_for_idling_and_is_closed needs Deadlines, Shared;
            deadlines::fault_6_peer_that_says_a_little_is_not_idle needs Deadlines, Shared;
            deadlines::fault_3_5_peer_that_takes_nothing_is_cut_as_stalled needs Deadlines, Shared;
            deadlines::fault_3_slow_but_live_download_is_not_cut needs Deadlines, Shared;
            deadlines::linger_ends_though_the_peer_never_does needs Deadlines, Shared;
            slow::fault_1_line_that_never_ends_is_ended_at_its_deadline needs Deadlines, Shared;
            slow::fault_1_last_byte_of_a_message_is_not_waited_for needs Deadlines, Shared;
            slow::fault_1_slow_lines_within_their_deadline_are_served needs Deadlines, Shared;
            slow::fault_2_slow_body_is_cut needs Deadlines, Shared;
            slow::fault_2_body_above_the_rate_is_taken_however_long_it_takes needs Deadlines, Shared;
            slow::fault_2_slow_reader_of_a_big_answer_is_cut needs Deadlines, Shared;
            slow::fault_3_peer_that_makes_no_handshake_is_not_waited_for needs Deadlines, Shared;
            slow::fault_3_slow_reader_above_the_rate_is_not_cut needs Deadlines, Shared;
            slow::w5_peer_that_never_says_a_byte_is_told_so_and_closed needs Deadlines, Shared;
            slow::w5_peer_that_has_said_a_line_may_be_silent needs Deadlines, Shared;
            limits::fault_27_endless_line_gets_the_error_reply_and_others_notice_nothing needs Limits, Shared;
            limits::fault_27_line_without_an_end_is_not_read_for_ever needs Limits, Shared;
            limits::reply_over_the_output_bound_is_refused needs Limits, Shared;
            failure::b8_error_reply_arrives_though_the_peer_has_sent_much_more needs Limits, Shared;
            failure::b8_output_of_the_failed_call_is_taken_back needs Limits, Shared;
            failure::b8_reading_is_off_after_a_failure needs Limits, Shared;
            resets::fault_7_reset_in_the_middle_of_a_write_is_one_report_and_a_prefix needs Resets, Shared;
            resets::fault_77_peer_that_breaks_its_layer_while_it_is_owed_sees_a_reset needs Resets, Shared;
            resets::fault_12_reset_while_idle_is_one_report needs Resets, Shared;
            resets::fault_8_resets_before_the_accept_cost_nobody_else_anything needs Resets, Shared;
            exhaustion::fault_18_server_without_descriptors_waits_quietly_and_resumes needs Exhaustion, Alone;
            exhaustion::fault_19_listener_lives_while_the_system_has_no_files_buffers_or_memory needs Exhaustion, Alone;
            idle::i3_idle_connections_cost_no_processor_time needs Echo, Alone;
            fairness::fault_22_quiet_peers_are_served_beside_one_that_floods_the_echo needs Fairness, Shared;
            fairness::fault_22_quiet_peers_are_served_beside_one_that_takes_an_endless_stream needs Fairness, Shared;
            shutdown::shutdown_with_an_idle_peer_ends_at_once needs Shutdown, Shared;
            shutdown::fault_57_shutdown_lets_out_what_is_owed_and_cuts_who_never_reads needs Shutdown, Shared;
            shutdown::nobody_is_let_in_after_the_shutdown_began needs Shutdown, Shared;
            commands::w2_commands_of_four_threads_arrive_in_order_exactly_once needs Commands, Shared;
            commands::fault_63_command_after_the_close_is_refused needs Commands, Shared;
            commands::fault_66_commands_that_race_with_the_close_arrive_in_order_or_not_at_all needs Commands, Shared;
            commands::fault_64_flood_for_one_connection_is_refused_and_others_have_room needs Commands, Shared;
            commands::fault_65_workers_that_are_flooded_across_do_not_stand_still needs Commands, Shared;
            commands::fault_67_storm_of_wakes_is_over_with_the_storm needs Commands, Alone;
            callbacks::fault_59_panic_in_a_handler_ends_that_connection_alone needs Callbacks, Shared;
            callbacks::fault_59_panic_in_a_callback_ends_the_connection_it_is_about needs Callbacks, Shared;
            callbacks::fault_59_panic_in_accept_turns_that_peer_away needs Callbacks, Shared;
            callbacks::fault_59_panic_in_another_callback_ends_that_call_alone needs Callbacks, Shared;
            callbacks::fault_60_connection_that_closes_itself_in_a_callback_flushes_and_ends_once needs Callbacks, Shared;
            callbacks::fault_61_closing_all_others_in_a_callback_is_safe needs Callbacks, Shared;
            callbacks::fault_61_connection_added_in_a_callback_is_served needs Callbacks, Shared;
            callbacks::w4_started_comes_first_and_stopped_last needs Callbacks, Shared;
            callbacks::w4_tick_and_named_timers_come_when_they_are_due needs Callbacks, Shared;
            callbacks::w4_written_out_comes_when_the_last_owed_byte_is_taken needs Callbacks, Shared;
            callbacks::w4_connection_of_ours_that_never_stood_is_a_notice needs Callbacks, Shared;
            callbacks::fault_57_drain_report_names_who_was_cut needs Callbacks, Shared;
            callbacks::fault_57_connection_that_comes_while_a_callback_shuts_down_is_answered needs Callbacks, Shared;
            admission::fault_24_peers_are_served_beside_a_flood_of_connections needs Admission, Alone;
            admission::fault_25_peer_beyond_the_cap_hears_why_and_the_next_is_let_in_when_one_has_gone needs Admission, Shared;
            admission::fault_26_address_that_has_its_share_leaves_the_others_theirs needs Admission, Shared;
            admission::fault_83_twenty_thousand_opens_with_resets_leave_nothing_and_cost_the_others_little needs Admission, Alone;
            attack::i2_memory_under_attack_stays_under_the_budget needs Admission, Alone;
            attack::i2_fault_64_flood_of_heavy_commands_stays_under_the_budget needs Admission, Alone;
            leaks::i6_twenty_thousand_short_connections_leave_nothing_behind needs Echo, Alone;
        }
    };
}

use drywire_core::Connection;
use drywire_protocols::{ByteEcho, Dialog, LineEcho};

fn line_echo() -> Connection<LineEcho> {
    Connection::new(LineEcho)
}

fn byte_echo() -> Connection<ByteEcho> {
    Connection::new(ByteEcho)
}

fn dialog() -> Connection<Dialog> {
    Connection::new(Dialog::new())
}
