//! The contract of `node::storage`, as one suite that runs on both engines, so that the simulator's disk cannot drift from the
//! real one; and random operations that must bring the same answers from both.
//!
//! Without the feature `runtime` only the in-memory engine is there to be tested.

mod columns;
mod contract;
#[cfg(feature = "runtime")]
mod disk;
mod engine;
mod memory;
#[cfg(feature = "runtime")]
mod oracle;
#[cfg(feature = "runtime")]
mod rocks;

/// Makes every claim of the suite a test of one engine.
macro_rules! contract_holds_for {
    ($module:ident, $engine:ty, [$($file:ident { $($claim:ident),* $(,)? })*]) => {
        mod $module {
            $($(
                #[test]
                fn $claim() {
                    crate::$file::$claim::<$engine>();
                }
            )*)*
        }
    };
}

/// Lists the claims once for both engines.
macro_rules! contract_holds {
    ($module:ident, $engine:ty) => {
        contract_holds_for!(
            $module,
            $engine,
            [
                contract {
                    nothing_is_written_before_the_flush,
                    a_read_sees_the_writes_before_it,
                    what_is_read_again_and_again_is_as_it_was_written_last,
                    changes_of_one_turn_apply_in_their_order,
                    a_process_crash_keeps_all_that_was_flushed,
                    a_clean_stop_keeps_everything,
                    a_power_loss_keeps_whole_turns_and_a_prefix_of_them,
                    a_completed_synced_write_makes_all_before_it_durable,
                    a_synced_write_without_changes_is_a_barrier,
                    a_scan_is_ordered_and_bounded_by_its_range,
                    a_scan_takes_only_keys_with_its_infix,
                    a_scan_ends_at_its_limits_and_tells_whether_it_is_the_last,
                    pages_that_follow_each_other_bring_every_entry_once,
                    a_scan_is_one_snapshot_with_the_record_beside_it,
                    recovery_brings_the_metadata_in_order,
                }
                columns {
                    columns_do_not_meet,
                    a_lookup_brings_values_in_the_order_asked,
                    a_lookup_sees_the_writes_before_it,
                    a_lookup_is_one_snapshot,
                    a_range_that_is_removed_is_half_open,
                    removing_an_empty_or_inverted_range_does_nothing,
                    removed_ranges_and_puts_of_a_batch_keep_their_order,
                    a_power_loss_keeps_a_removed_range_with_its_turn_or_not_at_all,
                    every_column_is_scanned_in_order_and_within_its_limits,
                }
            ]
        );
    };
}

contract_holds!(memory_engine, crate::engine::MemoryEngine);
#[cfg(feature = "runtime")]
contract_holds!(rocks_engine, crate::disk::RocksEngine);
