//! Merging what replicas answered, and finding those that were behind (the Dynamo paper, section 5: read repair).

use std::collections::BTreeMap;

use quorate_ring::version::{Container, VersionVector};
use quorate_ring::wire::ReplicaPage;
use quorate_ring::{NodeId, ObjectKey, StoredValue, WallTime};

/// The filled containers of several replicas, merged, without what has expired.
pub fn merge<'a>(
    containers: impl Iterator<Item = &'a Container<StoredValue>>,
    wall: WallTime,
) -> Container<StoredValue> {
    let mut merged = Container::default();
    for container in containers {
        merged.sync(container.clone());
    }
    merged.expire(wall);
    merged
}

/// Whether a replica that holds `container` lacks a value of the merged container, or still has one that is obsolete.
///
/// Only values count, and of these only such as have not expired: each replica drops the others by its own clock, and whether it has
/// done so yet is nothing to repair. That the vectors of two replicas differ is normal: they have seen different events of other keys.
pub fn is_stale(container: &Container<StoredValue>, merged: &Container<StoredValue>, wall: WallTime) -> bool {
    let live = container.values().filter(|(_, stored)| !stored.is_expired(wall)).map(|(dot, _)| *dot);
    !live.eq(merged.dots())
}

/// A page merged from the pages of several replicas.
pub struct MergedPage {
    /// Live keys in ring order, with filled containers.
    pub objects: Vec<(ObjectKey, Container<StoredValue>)>,
    /// The last key the page speaks for; `None` if it reaches the partition's end.
    pub next: Option<ObjectKey>,
    /// What replicas lack of it.
    pub stale: Vec<(NodeId, ObjectKey, Container<StoredValue>)>,
}

/// Merges pages that start at the same place.
///
/// A page that does not reach the partition's end speaks only for the range up to its last object, so the merged page ends at the
/// first such end. In its range an object that a replica's page lacks is empty there, filled with that replica's base.
pub fn merge_pages(pages: &[(NodeId, ReplicaPage)], wall: WallTime) -> MergedPage {
    let ring_order = |key: &ObjectKey| (quorate_ring::Position::of(key), key.clone());
    let end = pages.iter().filter(|(_, page)| !page.last).filter_map(|(_, page)| page.objects.last());
    let end = end.map(|object| ring_order(&object.key)).min();
    let mut keys: BTreeMap<_, Vec<Option<&Container<StoredValue>>>> = BTreeMap::new();
    for (index, (_, page)) in pages.iter().enumerate() {
        for object in &page.objects {
            let place = ring_order(&object.key);
            if end.as_ref().is_none_or(|end| place <= *end) {
                keys.entry(place).or_insert_with(|| vec![None; pages.len()])[index] = Some(&object.container);
            }
        }
    }
    let mut merged = MergedPage { objects: Vec::new(), next: end.map(|(_, key)| key), stale: Vec::new() };
    for ((_, key), containers) in keys {
        let held: Vec<_> = containers.iter().zip(pages).map(|(held, (_, page))| filled(*held, &page.base)).collect();
        let newest = merge(held.iter(), wall);
        let behind = held.iter().zip(pages).filter(|(held, _)| is_stale(held, &newest, wall));
        merged.stale.extend(behind.map(|(_, (node, _))| (*node, key.clone(), newest.clone())));
        if 0 < newest.siblings() {
            merged.objects.push((key, newest));
        }
    }
    merged
}

fn filled(held: Option<&Container<StoredValue>>, base: &VersionVector) -> Container<StoredValue> {
    let mut container = held.cloned().unwrap_or_default();
    container.fill(base);
    container
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_ring::version::{Actor, Dot, Incarnation};
    use quorate_ring::wire::StoredObject;
    use quorate_ring::{BucketName, Key, Position, Value};

    const NOW: WallTime = WallTime::from_millis(1_000);

    fn node(number: u32) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    /// The event of node 1 with this number.
    fn dot(counter: u64) -> Dot {
        Dot::new(Actor::new(node(1), Incarnation::new(1)), counter)
    }

    /// A stored value of this event.
    fn stored(counter: u64) -> Container<StoredValue> {
        let mut container = Container::empty();
        container.add(dot(counter), Value::new("v").expect("small").into());
        container.strip(&[dot(counter)].into_iter().collect());
        container
    }

    /// Keys in ring order.
    fn keys<const COUNT: usize>() -> [ObjectKey; COUNT] {
        let bucket = BucketName::new("b").expect("valid");
        let mut keys =
            std::array::from_fn(|index| ObjectKey::new(&bucket, &Key::new(format!("k{index}")).expect("valid")));
        keys.sort_by_key(Position::of);
        keys
    }

    /// A replica's page of these objects: it has seen so many events of node 1.
    fn page(replica: u32, seen: u64, last: bool, objects: &[(&ObjectKey, u64)]) -> (NodeId, ReplicaPage) {
        let object =
            |&(key, counter): &(&ObjectKey, u64)| StoredObject { key: key.clone(), container: stored(counter) };
        let base = [dot(seen)].into_iter().filter(|dot| 0 < dot.counter).collect();
        (node(replica), ReplicaPage { objects: objects.iter().map(object).collect(), base, last, complete: true })
    }

    fn live(merged: &MergedPage) -> Vec<&ObjectKey> {
        merged.objects.iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn a_replica_is_stale_if_its_values_differ_and_not_if_only_its_vector_does() {
        let [mut held, mut merged] = [stored(1), stored(1)];
        held.record(dot(1));
        merged.record(dot(7));
        assert!(!is_stale(&held, &merged, NOW));
        merged.add(dot(8), Value::new("w").expect("small").into());
        assert!(is_stale(&held, &merged, NOW));
        assert!(is_stale(&merged, &held, NOW));
        assert_eq!(merge([&held, &merged].into_iter(), NOW), merged);
    }

    #[test]
    fn a_merged_page_ends_with_the_first_of_its_pages_that_does_not_reach_the_end() {
        let [first, second, third] = &keys();
        let full = page(1, 3, true, &[(first, 1), (second, 2), (third, 3)]);
        let short = page(2, 3, false, &[(first, 1), (second, 2)]);
        let shorter = page(3, 3, false, &[(first, 1)]);
        let merged = merge_pages(&[full.clone(), short.clone()], NOW);
        assert_eq!((live(&merged), merged.next.as_ref()), (vec![first, second], Some(second)));
        let merged = merge_pages(&[short, shorter, full.clone()], NOW);
        assert_eq!((live(&merged), merged.next.as_ref()), (vec![first], Some(first)));
        let merged = merge_pages(&[full], NOW);
        assert_eq!((live(&merged), merged.next.as_ref()), (vec![first, second, third], None));
        assert!(merged.stale.is_empty());
    }

    #[test]
    fn an_object_that_a_replica_has_not_heard_of_is_live_and_one_that_it_knows_to_be_gone_is_not() {
        let [unheard, gone] = &keys();
        let behind = page(1, 1, true, &[(gone, 1)]);
        // This one has seen event 1, and holds nothing under it: it was deleted.
        let ahead = page(2, 2, true, &[(unheard, 2)]);
        let merged = merge_pages(&[behind, ahead], NOW);
        assert_eq!(live(&merged), [unheard]);
        let stale: Vec<_> = merged.stale.iter().map(|(node, key, newest)| (*node, key, newest.siblings())).collect();
        assert_eq!(stale, [(node(1), unheard, 1), (node(1), gone, 0)]);
    }
}
