//! The bounds of messages, checked while they are decoded, so that whoever holds a message may rely on them.
//!
//! Each function here is named by a field's `#[serde(deserialize_with = "...")]`. How large a message is in bytes is the
//! [`frame`](super::frame)'s concern; these bound how much memory a few bytes can claim, and what only looks like a message.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Request, RequestError, Response, RingDescription};
use crate::limits::{BATCH_ITEMS_MAX, SCAN_ITEMS_MAX};

/// Most partitions that any ring can have, as many as a [`PartitionId`](crate::PartitionId) can tell apart.
pub(crate) const PARTITIONS_MAX: usize = 1 << u16::BITS;

/// An answer of a batch: the index of the item, and what became of it.
type BatchAnswer = (u32, Result<Response, RequestError>);

/// A list of at most `MAX` elements.
pub(crate) fn at_most<'de, const MAX: usize, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_seq(ListVisitor { max: MAX, check: |_: &T| Ok(()) })
}

/// The answers of a batch: at most as many as a batch has items, and none that answers a batch in its turn. Each is looked at
/// before the next is read, so that lists in lists cannot multiply.
pub(super) fn batch_answers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<BatchAnswer>, D::Error> {
    let check = |answer: &BatchAnswer| match answer {
        (_, Ok(Response::Many(_))) => Err("an item of a batch is answered by a batch"),
        _ => Ok(()),
    };
    deserializer.deserialize_seq(ListVisitor { max: BATCH_ITEMS_MAX, check })
}

/// How many entries a page of a scan may have: 1 to [`SCAN_ITEMS_MAX`]. A page of none would never get any further.
pub(super) fn page_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let limit = u32::deserialize(deserializer)?;
    match usize::try_from(limit) {
        Ok(1..=SCAN_ITEMS_MAX) => Ok(limit),
        _ => Err(D::Error::custom(format_args!("a page of {limit} entries; a page has 1 to {SCAN_ITEMS_MAX}"))),
    }
}

/// What a node may forward: the write of one key.
pub(super) fn forwarded_request<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Request, D::Error> {
    let request = Request::deserialize(deserializer)?;
    match request {
        Request::Put { .. } | Request::Delete { .. } => Ok(request),
        _ => Err(D::Error::custom("only a put or a delete can be forwarded")),
    }
}

/// A ring whose parts belong together.
pub(super) fn consistent_ring<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RingDescription, D::Error> {
    let ring = RingDescription::deserialize(deserializer)?;
    match ring_fault(&ring) {
        None => Ok(ring),
        Some(fault) => Err(D::Error::custom(fault)),
    }
}

fn ring_fault(ring: &RingDescription) -> Option<&'static str> {
    if ring.replicas == 0 {
        return Some("a ring without replicas");
    }
    if !ring.members.is_sorted_by(|earlier, later| earlier.node < later.node) {
        return Some("a ring whose members are not in the order of their ids");
    }
    if ring.owners.len() != ring.partitions.get() as usize {
        return Some("a ring with another number of owners than of partitions");
    }
    if ring.owners.iter().any(|&owner| ring.members.len() <= usize::from(owner)) {
        return Some("a ring with a partition that belongs to no member");
    }
    None
}

/// Reads a list, believing neither its stated length nor its elements.
struct ListVisitor<T> {
    max: usize,
    check: fn(&T) -> Result<(), &'static str>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {} elements", self.max)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        /// Room set aside for what is only stated; beyond it the list grows with what is there.
        const STATED_MAX: usize = 64;
        let stated = elements.size_hint().unwrap_or(0);
        if self.max < stated {
            return Err(A::Error::invalid_length(stated, &self));
        }
        let mut list = Vec::with_capacity(stated.min(STATED_MAX));
        while let Some(element) = elements.next_element()? {
            if list.len() == self.max {
                return Err(A::Error::invalid_length(self.max + 1, &self));
            }
            (self.check)(&element).map_err(A::Error::custom)?;
            list.push(element);
        }
        Ok(list)
    }
}
