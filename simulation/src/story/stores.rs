//! What each node's store has had, and holds: when writes became durable, which a start found no more, and where a store dropped
//! what nobody had seen.

use std::collections::BTreeSet;

use super::recorder::Recorder;
use super::{About, Note, Store, StoreKind, WriteKind, words};

impl Recorder {
    /// Writes, by key and number, became more durable at a node.
    pub(crate) fn stores(&mut self, at: u64, node: usize, kind: StoreKind, stored: &[(u32, Option<u32>)]) {
        if stored.is_empty() {
            return;
        }
        let lane = self.node(node);
        if kind == StoreKind::Flushed {
            self.had.entry(lane).or_default().extend(numbered(stored));
        }
        let keys = stored.iter().map(|(key, _)| *key).collect::<BTreeSet<_>>().into_iter().collect();
        let writes = stored.iter().filter_map(|(_, write)| *write).collect();
        self.story.stores.push(Store { node: lane, at, kind, about: About { keys, writes } });
    }

    /// A process finds these writes in its store. Those that were there and are not any more were lost with the last life.
    pub(crate) fn recovers(&mut self, at: u64, node: usize, found: &[(u32, Option<u32>)]) {
        let lane = self.node(node);
        let found: BTreeSet<(u32, u32)> = numbered(found).collect();
        let before = self.had.insert(lane, found.clone()).unwrap_or_default();
        let forgotten: Vec<_> = before.difference(&found).copied().collect();
        if forgotten.is_empty() {
            return;
        }
        let keys = forgotten.iter().map(|(key, _)| *key).collect::<BTreeSet<_>>().into_iter().collect();
        let writes: Vec<u32> = forgotten.iter().map(|(_, write)| *write).collect();
        let text = format!("starts without {}, which its store had held", words::writes(&writes, ""));
        self.story.notes.push(Note { lane, at, text, about: About { keys, writes } });
    }

    /// What a node's store holds of a key after it stored something. A write that is not there any more should be one that somebody
    /// had seen whose write, or delete, the store has met, or one that has expired; if not, this is where it went.
    pub(crate) fn holds(&mut self, at: u64, node: usize, key: u32, writes: Vec<u32>, expired: &[u32]) {
        let lane = self.node(node);
        let before = self.holding.insert((lane, key), writes.clone()).unwrap_or_default();
        let gone = before.into_iter().filter(|write| !writes.contains(write)).collect::<Vec<_>>();
        if gone.is_empty() {
            return;
        }
        let deletes =
            (0..).zip(&self.story.writes).filter(|(_, write)| write.key == key && write.kind == WriteKind::Delete);
        let explaining = writes.iter().chain(expired).copied().chain(deletes.map(|(number, _)| number));
        let seen = self.seen_by(explaining);
        for write in gone.into_iter().filter(|write| !seen.contains(write)) {
            let (now, dropped) = (words::writes(&writes, "nothing"), words::write(write));
            let text = match expired.contains(&write) {
                true => format!("{dropped} has expired and is removed"),
                false => format!("drops {dropped} for {now}, whose writers had not seen it"),
            };
            self.story.notes.push(Note { lane, at, text, about: About::key(key, Some(write)) });
        }
    }

    /// The keys of which a node's store is known to hold something.
    pub(crate) fn held_keys(&self, node: usize) -> Vec<u32> {
        let lane = self.node(node);
        self.holding.keys().filter(|(holder, _)| *holder == lane).map(|(_, key)| *key).collect()
    }

    /// What a node's store holds of a key after a start: what is gone was lost before it.
    pub(crate) fn holds_at_start(&mut self, node: usize, key: u32, writes: Vec<u32>) {
        let lane = self.node(node);
        self.holding.insert((lane, key), writes);
    }

    /// All that the writers of these writes had seen.
    fn seen_by(&self, writes: impl Iterator<Item = u32>) -> BTreeSet<u32> {
        let mut seen = BTreeSet::new();
        let mut left: Vec<u32> = writes.collect();
        while let Some(write) = left.pop() {
            left.extend(self.parents(write).into_iter().filter(|parent| seen.insert(*parent)));
        }
        seen
    }
}

fn numbered(stored: &[(u32, Option<u32>)]) -> impl Iterator<Item = (u32, u32)> + '_ {
    stored.iter().filter_map(|(key, write)| write.map(|write| (*key, write)))
}

#[cfg(test)]
mod tests {
    use quorate_ring::{BucketName, Key, ObjectKey};

    use super::*;
    use crate::story::{Ending, Write};

    fn recorder() -> Recorder {
        let bucket = BucketName::new("carts").expect("valid");
        let key = |name: &str| ObjectKey::new(&bucket, &Key::new(name.to_owned()).expect("valid"));
        Recorder::new(1, 2, [key("alice"), key("bob")].iter())
    }

    #[test]
    fn what_a_store_had_and_has_no_more_is_noted_when_it_starts() {
        let mut recorder = recorder();
        let at_bob = |write| (1, Some(write));
        recorder.stores(5, 1, StoreKind::Flushed, &[at_bob(3), at_bob(4)]);
        recorder.recovers(9, 1, &[at_bob(3)]);
        recorder.recovers(12, 1, &[at_bob(3)]);
        let story = recorder.finish(Ending::default());
        let notes: Vec<_> = story.notes.iter().map(|note| (note.at, note.about.writes.as_slice())).collect();
        assert_eq!(notes, [(9, &[4][..])]);
    }

    #[test]
    fn a_write_that_leaves_a_store_unseen_is_noted_and_one_that_was_seen_is_not() {
        let mut recorder = recorder();
        for (number, parents) in [(0, vec![]), (1, vec![0]), (2, vec![])] {
            recorder.writes(number, Write { parents, ..Write::begun(1, WriteKind::Put, 0, 1) });
        }
        recorder.holds(5, 1, 1, vec![0], &[]);
        recorder.holds(6, 1, 1, vec![1], &[]);
        recorder.holds(7, 1, 1, vec![2], &[]);
        let story = recorder.finish(Ending::default());
        let notes: Vec<_> = story.notes.iter().map(|note| (note.at, note.about.writes.as_slice())).collect();
        assert_eq!(notes, [(7, &[1][..])]);
    }
}
