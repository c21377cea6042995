//! The load of those who bring none: clients that read some keys and read-merge-write others.

use std::time::Duration;

use bytes::Bytes;

use super::{Key, Step, Workload};
use crate::choices::Stream;
use crate::delay::{Delay, Shape};
use crate::plan::span::Span;

/// Reads, and updates that merge whatever siblings they find, of keys that are all as likely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    keys: Vec<Key>,
    reads_per_mille: u64,
    think: Delay,
    within: Duration,
    bytes: usize,
}

impl Default for Mix {
    /// 100 keys, nine reads to an update, each client pausing 10 ms as a median and waiting a second for an answer, values of 100 bytes.
    fn default() -> Self {
        let think = Delay { shape: Shape::Exponential, median: Span::from_millis(10) };
        Self { keys: Self::names(100), reads_per_mille: 900, think, within: Duration::from_secs(1), bytes: 100 }
    }
}

impl Mix {
    fn names(count: u32) -> Vec<Key> {
        (0..count.max(1)).map(|number| Key::new(format!("key {number}")).expect("short, and not empty")).collect()
    }

    /// How many keys there are, at least one. Fewer mean that more clients meet at one.
    #[must_use]
    pub fn keys(self, count: u32) -> Self {
        Self { keys: Self::names(count), ..self }
    }

    /// How many of a thousand steps only read; the others update.
    #[must_use]
    pub fn reads_per_mille(self, reads: u64) -> Self {
        Self { reads_per_mille: reads, ..self }
    }

    /// How long a client pauses between two steps, as a median of many short and few long pauses.
    #[must_use]
    pub fn think(self, median: Duration) -> Self {
        Self { think: Delay { shape: Shape::Exponential, median: median.into() }, ..self }
    }

    /// How long a client waits for an answer, before it takes its request for failed.
    #[must_use]
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// How large values are.
    #[must_use]
    pub fn bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }
}

impl Workload for Mix {
    fn next(&mut self, _client: usize, _now: Duration, draw: &mut Stream) -> Option<Step> {
        let key = &self.keys[draw.index("key", self.keys.len())];
        let step = if draw.chance("reads", self.reads_per_mille) { Step::get(key) } else { Step::update(key) };
        Some(step.after(self.think.draw("think", draw)).within(self.within))
    }

    fn merge(&mut self, _client: usize, _key: &Key, _siblings: &[Bytes], _draw: &mut Stream) -> Option<Bytes> {
        Some(Bytes::from(vec![0; self.bytes]))
    }
}
