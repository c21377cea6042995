//! O10: when a write is acknowledged, the stores of W distinct nodes have held it as durably as it asked.

use quorate_ring::wire::Durability;

use super::dots::{Dots, Event};
use super::truth::{Truth, WriteId};
use super::{Oracle, Violation};

/// Checks a write at the instant of its acknowledgement.
///
/// # Errors
/// If fewer than W stores have held it.
pub fn check(dots: &Dots, truth: &Truth, id: WriteId) -> Result<(), Violation> {
    let write = truth.write(id);
    let held = |event: &Event| match write.durability {
        Durability::Buffered => event.flushed.count_ones(),
        Durability::Synced => event.synced.count_ones(),
    };
    // The event of a delete cannot be told from those of other deletes of the key; one of them must do.
    let most = dots.events_of(id, &truth.keys[write.key].key).map(held).max().unwrap_or(0);
    if u32::from(write.w) <= most {
        return Ok(());
    }
    let held = match write.durability {
        Durability::Buffered => "flushed",
        Durability::Synced => "synced",
    };
    let what = format!("{id:?} of key {} was acknowledged for w = {}, {held} at {most}", write.key, write.w);
    Err(Violation::new(Oracle::Honesty, what).about(write.key, &[id]))
}
