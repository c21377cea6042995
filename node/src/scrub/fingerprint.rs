//! What of a page is compared with another replica's, and its hashes.
//!
//! Left out is what may differ under the same clock with nothing being wrong: values that soon expire, as clocks differ about when that is;
//! and keys whose container knows of events beyond the clock's base, as a repair may have brought more than the clock says.

use std::collections::BTreeSet;

use quorate_ring::version::{NodeClock, VersionVector};
use quorate_ring::wire::StoredObject;
use quorate_ring::{ObjectKey, WallTime};
use xxhash_rust::xxh3::Xxh3;

use crate::anti_entropy::hash_of;
use crate::replica::mending::is_compared;

/// The hash of a clock that comes beside a page.
pub fn of_clock(clock: &NodeClock) -> u64 {
    hash_of(clock)
}

/// The hash of an object's values, by a wall clock; nothing if it is not compared. `base` is of the clock that comes beside it.
pub fn of_object(object: &StoredObject, base: &VersionVector, wall: WallTime) -> Option<u64> {
    if is_ahead(object, base) {
        return None;
    }
    let mut compared = object.container.values().filter(|(_, stored)| is_compared(stored, wall)).peekable();
    compared.peek()?;
    let mut hash = Xxh3::new();
    add(&mut hash, object.key.encoded());
    for (dot, stored) in compared {
        hash.update(&dot.actor.node.number().to_le_bytes());
        hash.update(&dot.actor.incarnation.number().to_le_bytes());
        hash.update(&dot.counter.to_le_bytes());
        hash.update(&stored.expires_at.map_or(u64::MAX, WallTime::as_millis).to_le_bytes());
        add(&mut hash, stored.value.as_bytes());
    }
    Some(hash.digest())
}

/// Whether the object knows of events beyond the base.
fn is_ahead(object: &StoredObject, base: &VersionVector) -> bool {
    let mut known = object.container.vector().clone();
    known.subtract(base);
    !known.is_empty()
}

/// The keys of a page that are left out for what they know beyond the base.
pub fn ahead(objects: &[StoredObject], base: &VersionVector) -> BTreeSet<ObjectKey> {
    objects.iter().filter(|object| is_ahead(object, base)).map(|object| object.key.clone()).collect()
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

/// Those objects of a page that are compared and that another, having these hashes, does not hold so.
pub fn unknown(
    objects: Vec<StoredObject>,
    base: &VersionVector,
    wall: WallTime,
    mut known: Vec<u64>,
) -> Vec<StoredObject> {
    known.sort_unstable();
    let is_unknown =
        |object: &StoredObject| of_object(object, base, wall).is_some_and(|hash| known.binary_search(&hash).is_err());
    objects.into_iter().filter(is_unknown).collect()
}

/// The last key of a page that does not reach its range's end.
pub fn end_of(objects: &[StoredObject], last: bool) -> Option<ObjectKey> {
    if last { None } else { objects.last().map(|object| object.key.clone()) }
}

fn add(hash: &mut Xxh3, bytes: &[u8]) {
    hash.update(&(bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::SCRUB_EXPIRY_MARGIN;
    use quorate_ring::version::{Actor, Container, Dot, Incarnation};
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
    fn what_knows_more_than_the_clock_is_left_out() {
        let object = object(&[(1, "a", None), (4, "b", None)]);
        assert_eq!(of_object(&object, &base(3), WALL), None);
        assert!(of_object(&object, &base(4), WALL).is_some());
    }
}
