//! What joins two nodes, and all that faults do to it.

use quorate_node::Time;

use super::event::Envelope;
use crate::choices::{Choices, Stream};
use crate::plan::fault::Layer;

/// What joins two nodes.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// Whether there is a connection.
    pub(super) up: bool,
    /// Counts connections: what was sent on an earlier one is dropped.
    pub(super) epoch: u32,
    /// How many faults cut it now.
    pub(super) cuts: u32,
    /// Whether each side, lower index first, has been told that it is up, or will be, and not yet that it is gone.
    pub(super) told: [bool; 2],
    /// The way from the lower index to the higher, and the way back.
    pub(super) ways: [Way; 2],
    /// By how much it is slower.
    pub(super) slow: Option<u32>,
    /// Bytes a second, and most bytes that wait.
    pub(super) narrow: Option<(u64, u64)>,
    /// How many messages of a thousand are corrupted, and where.
    pub(super) corrupt: Option<(u64, Layer)>,
}

/// One direction of a link.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// When the last message arrives.
    pub(super) last: Time,
    /// When nothing that was ever sent is on its way any more, late doubles included.
    pub(super) empty_at: Time,
    /// When the last byte has left, if the link is narrow.
    pub(super) busy_until: Time,
    /// How many faults block it now: nothing passes.
    pub(super) blocked: u32,
    /// How many faults clog it now: everything waits.
    pub(super) clogged: u32,
    /// What waits, in order.
    pub(super) held: Vec<Envelope>,
    /// Its decisions, once it has made any.
    stream: Option<Stream>,
    /// Those about datagrams.
    datagrams: Option<Stream>,
}

impl Way {
    /// Its decisions.
    pub(super) fn stream(&mut self, choices: &mut Choices, from: usize, to: usize) -> &mut Stream {
        self.stream.get_or_insert_with(|| choices.stream(format!("link {} to {}", from + 1, to + 1)))
    }

    /// Its decisions about datagrams: a stream of their own, so that they shift no others.
    pub(super) fn datagrams(&mut self, choices: &mut Choices, from: usize, to: usize) -> &mut Stream {
        self.datagrams.get_or_insert_with(|| choices.stream(format!("datagrams {} to {}", from + 1, to + 1)))
    }

    /// Whether what is sent has to wait.
    pub(super) fn holds(&self) -> bool {
        0 < self.clogged || 0 < self.blocked
    }
}

impl Link {
    /// The way from one node to another.
    pub(super) fn way(&mut self, from: usize, to: usize) -> &mut Way {
        &mut self.ways[usize::from(to < from)]
    }

    /// What was decided on it.
    pub(super) fn into_streams(self) -> impl Iterator<Item = Stream> {
        self.ways.into_iter().flat_map(|way| [way.stream, way.datagrams]).flatten()
    }

    /// No fault is on it any more.
    pub(super) fn heal(&mut self) {
        (self.cuts, self.slow, self.narrow, self.corrupt) = (0, None, None, None);
        self.ways.iter_mut().for_each(|way| (way.blocked, way.clogged) = (0, 0));
    }
}
