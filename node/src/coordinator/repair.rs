//! Merging what replicas answered, and finding those that were behind (the Dynamo paper, section 5: read repair).

use std::collections::BTreeMap;

use quorate_ring::version::{Container, VersionVector};
use quorate_ring::wire::ReplicaPage;
use quorate_ring::{NodeId, ObjectKey, Value};

/// The filled containers of several replicas, merged.
pub fn merge<'a>(containers: impl Iterator<Item = &'a Container<Value>>) -> Container<Value> {
    let mut merged = Container::default();
    for container in containers {
        merged.sync(container.clone());
    }
    merged
}

/// Whether a replica that holds `container` lacks a value of the merged container, or still has one that is obsolete.
///
/// Only values count. That the vectors of two replicas differ is normal: they have seen different events of other keys.
pub fn is_stale(container: &Container<Value>, merged: &Container<Value>) -> bool {
    !container.dots().eq(merged.dots())
}

/// A page merged from the pages of several replicas.
pub struct MergedPage {
    /// Live keys in ring order, with filled containers.
    pub objects: Vec<(ObjectKey, Container<Value>)>,
    /// The last key the page speaks for; `None` if it reaches the partition's end.
    pub next: Option<ObjectKey>,
    /// What replicas lack of it.
    pub stale: Vec<(NodeId, ObjectKey, Container<Value>)>,
}

/// Merges pages that start at the same place.
///
/// A page that does not reach the partition's end speaks only for the range up to its last object, so the merged page ends at the
/// first such end. In its range an object that a replica's page lacks is empty there, filled with that replica's base.
pub fn merge_pages(pages: &[(NodeId, ReplicaPage)]) -> MergedPage {
    let ring_order = |key: &ObjectKey| (quorate_ring::Position::of(key), key.clone());
    let end = pages.iter().filter(|(_, page)| !page.last).filter_map(|(_, page)| page.objects.last());
    let end = end.map(|object| ring_order(&object.key)).min();
    let mut keys: BTreeMap<_, Vec<Option<&Container<Value>>>> = BTreeMap::new();
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
        let newest = merge(held.iter());
        let behind = held.iter().zip(pages).filter(|(held, _)| is_stale(held, &newest));
        merged.stale.extend(behind.map(|(_, (node, _))| (*node, key.clone(), newest.clone())));
        if 0 < newest.siblings() {
            merged.objects.push((key, newest));
        }
    }
    merged
}

fn filled(held: Option<&Container<Value>>, base: &VersionVector) -> Container<Value> {
    let mut container = held.cloned().unwrap_or_default();
    container.fill(base);
    container
}
