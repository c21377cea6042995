//! What of a page is compared with another replica's, and its hashes.
//!
//! Left out are values that soon expire, as clocks differ about when that is. A key whose container knows of events beyond the clock's base
//! is compared with what it knows: a repair may have brought more than the clock says, and here alone. If such an event was the last of an
//! actor that lost it, nothing else would ever bring it to the other replicas. That is no fault of anybody's, and it is merged like a repair.

use std::collections::BTreeSet;

use quorate_ring::version::{Dot, NodeClock, VersionVector};
use quorate_ring::wire::StoredObject;
use quorate_ring::{ObjectKey, WallTime};
use xxhash_rust::xxh3::Xxh3;

use crate::anti_entropy::hash_of;
use crate::replica::mending::is_compared;

/// The hash of a clock that comes beside a page.
pub fn of_clock(clock: &NodeClock) -> u64 {
    hash_of(clock)
}

/// The hash of an object's values, and of what it knows beyond the base, by a wall clock; nothing if it is not compared. `base` is of the
/// clock that comes beside it.
pub fn of_object(object: &StoredObject, base: &VersionVector, wall: WallTime) -> Option<u64> {
    let beyond = beyond(object, base);
    let mut compared = object.container.values().filter(|(_, stored)| is_compared(stored, wall)).peekable();
    if beyond.is_empty() {
        compared.peek()?;
    }
    let mut hash = Xxh3::new();
    add(&mut hash, object.key.encoded());
    hash.update(&(beyond.len() as u64).to_le_bytes());
    beyond.iter().for_each(|(actor, counter)| add_dot(&mut hash, &Dot::new(actor, counter)));
    for (dot, stored) in compared {
        add_dot(&mut hash, dot);
        hash.update(&stored.expires_at.map_or(u64::MAX, WallTime::as_millis).to_le_bytes());
        add(&mut hash, stored.value.as_bytes());
    }
    Some(hash.digest())
}

/// What an object knows beyond the base.
fn beyond(object: &StoredObject, base: &VersionVector) -> VersionVector {
    let mut known = object.container.vector().clone();
    known.subtract(base);
    known
}

/// The keys of a page that know more than the base says: what a peer holds of them may differ with nothing being wrong.
pub fn ahead(objects: &[StoredObject], base: &VersionVector) -> BTreeSet<ObjectKey> {
    objects.iter().filter(|object| !beyond(object, base).is_empty()).map(|object| object.key.clone()).collect()
}

/// The hashes of all that is compared of a page, in order.
pub fn of_page(objects: &[StoredObject], base: &VersionVector, wall: WallTime) -> Vec<u64> {
    objects.iter().filter_map(|object| of_object(object, base, wall)).collect()
}

/// The hash of all hashes of a page.
pub fn of_hashes(hashes: &[u64]) -> u64 {
    let mut all = Xxh3::new();
    hashes.iter().for_each(|hash| all.update(&hash.to_le_bytes()));
    all.digest()
}

/// Those objects of a page that are compared and that another, having these hashes, does not hold so: stripped, and filled if they know
/// more than the base says.
pub fn unknown(
    objects: Vec<StoredObject>,
    base: &VersionVector,
    wall: WallTime,
    mut known: Vec<u64>,
) -> Vec<StoredObject> {
    known.sort_unstable();
    let is_unknown =
        |object: &StoredObject| of_object(object, base, wall).is_some_and(|hash| known.binary_search(&hash).is_err());
    let stripped = |mut object: StoredObject| {
        object.container.strip(base);
        if !object.container.vector().is_empty() {
            object.container.fill(base);
        }
        object
    };
    objects.into_iter().filter(is_unknown).map(stripped).collect()
}

/// The last key of a page that does not reach its range's end.
pub fn end_of(objects: &[StoredObject], last: bool) -> Option<ObjectKey> {
    if last { None } else { objects.last().map(|object| object.key.clone()) }
}

fn add_dot(hash: &mut Xxh3, dot: &Dot) {
    hash.update(&dot.actor.node.number().to_le_bytes());
    hash.update(&dot.actor.incarnation.number().to_le_bytes());
    hash.update(&dot.counter.to_le_bytes());
}

fn add(hash: &mut Xxh3, bytes: &[u8]) {
    hash.update(&(bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::SCRUB_EXPIRY_MARGIN;
    use quorate_ring::version::{Actor, Container, Incarnation};
    use quorate_ring::{BucketName, Key, NodeId, StoredValue, Value};

    const WALL: WallTime = WallTime::from_millis(1_000_000);

    fn dot(counter: u64) -> Dot {
        Dot::new(Actor::new(NodeId::new(1).expect("not 0"), Incarnation::new(1)), counter)
    }

    fn base(counter: u64) -> VersionVector {
        [dot(counter)].into_iter().collect()
    }

    fn object(values: &[(u64, &'static str, Option<WallTime>)]) -> StoredObject {
        let key = ObjectKey::new(&BucketName::new("b").expect("valid"), &Key::new("k").expect("valid"));
        let mut container = Container::empty();
        for (counter, value, expires_at) in values {
            container
                .add(dot(*counter), StoredValue { value: Value::new(*value).expect("small"), expires_at: *expires_at });
        }
        StoredObject { key, container }
    }

    #[test]
    fn the_same_values_under_the_same_events_have_the_same_hash_and_no_others() {
        let whole = object(&[(1, "a", None), (2, "b", None)]);
        let others = [
            object(&[(1, "a", None)]),
            object(&[(1, "a", None), (3, "b", None)]),
            object(&[(1, "a", None), (2, "c", None)]),
            object(&[(1, "ab", None), (2, "", None)]),
        ];
        assert_eq!(of_object(&whole, &base(9), WALL), of_object(&whole.clone(), &base(7), WALL));
        assert!(others.iter().all(|other| of_object(other, &base(9), WALL) != of_object(&whole, &base(9), WALL)));
        assert_eq!(unknown(others.to_vec(), &base(9), WALL, of_page(&others[1..3], &base(9), WALL)).len(), 2);
    }

    #[test]
    fn what_soon_expires_is_as_if_it_were_not_there() {
        let soon = Some(WALL + SCRUB_EXPIRY_MARGIN);
        let late = Some(WALL + SCRUB_EXPIRY_MARGIN * 2);
        let hash = |object: &StoredObject| of_object(object, &base(9), WALL);
        assert_eq!(hash(&object(&[(1, "a", None), (2, "b", soon)])), hash(&object(&[(1, "a", None)])));
        assert_ne!(hash(&object(&[(1, "a", None), (2, "b", late)])), hash(&object(&[(1, "a", None)])));
        assert_eq!((hash(&object(&[(2, "b", soon)])), hash(&object(&[]))), (None, None));
    }

    #[test]
    fn what_knows_more_than_the_clock_is_compared_with_what_it_knows_and_sent_filled() {
        let value = object(&[(1, "a", None)]);
        let mut deleted = object(&[]);
        deleted.container.record(dot(4));
        let hashes = [(&value, 4), (&value, 3), (&deleted, 3), (&deleted, 2)];
        let [known, same, ahead, same_ahead] = hashes.map(|(object, counter)| of_object(object, &base(counter), WALL));
        assert_eq!((known, ahead), (same, same_ahead));
        assert!(known.is_some() && ahead.is_some() && known != ahead);
        assert_eq!(of_object(&deleted, &base(4), WALL), None, "a clock that says it all leaves nothing to compare");

        let sent = unknown(vec![deleted.clone()], &base(3), WALL, vec![known.expect("it is compared")]);
        assert_eq!(sent, [deleted.clone()]);
        assert_eq!(unknown(vec![deleted], &base(3), WALL, vec![ahead.expect("it is compared")]), []);
    }
}
