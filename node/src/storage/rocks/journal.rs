//! The journal: entries that are overwritten or removed soon (clocks, the log of dots) never become entries of RocksDB while they are young.
//!
//! All such changes of a turn are one record, in a column family of its own, and what they set is held in memory:
//!
//! ```text
//!            put               as many bytes of records are young             a few in each turn
//! (absent) --------> young --------------------------------------> old ------------------------> an entry of its column
//!    ^                | ^ put again                                 |
//!    | removed        +-+                                           | removed
//!    +----------------+---------------------------------------------+
//! ```
//!
//! So an event costs one insertion into a memtable, of its object, and a share of one for the whole turn, where it took three: a skip list
//! misses the processor's caches at most of its levels, and that was the largest part of a put. Most entries are gone before they are old: of
//! a clock the last version counts, and a dot leaves the log when all replicas are known to have it.
//!
//! A record is in the same atomic batch as the objects that it belongs to. The records of a generation are removed together, when all that is
//! left of it is in its columns. Whoever opens the store makes the changes of the records that it finds, in their order, whether they were made
//! already or not. A removal is a change of a record, since an earlier one may set what it removes; and it is made in the column at once, which
//! may have it from before.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::storage::{Change, Column};

/// The format of records that this build writes.
const FORMAT: u8 = 1;

/// What one handle has written of late.
pub(super) struct Journal {
    /// Which handle's. Records are in the order of these, and then of their own numbers.
    handle: u32,
    record_next: u64,
    /// Bytes of records that are young together, at most.
    young_bytes_max: usize,
    young: Generation,
    /// Becomes entries of the columns, bit by bit.
    old: Generation,
}

/// What records that follow each other have set, and nothing has removed.
#[derive(Default)]
struct Generation {
    dot_log: BTreeMap<Place, Bytes>,
    metadata: BTreeMap<Place, Bytes>,
    /// Numbers of the first and of the last record.
    records: Option<(u64, u64)>,
    bytes: usize,
}

/// What is to be written for some of the journal to be done with.
#[derive(Default)]
pub(super) struct Settled {
    pub(super) entries: Vec<(Column, Place, Bytes)>,
    /// Where the first of the records is that are not needed any more, and the first place behind them.
    pub(super) records: Option<(RecordKey, RecordKey)>,
}

/// Where a record is stored.
pub(super) type RecordKey = [u8; 12];

/// A key, padded and with its length at the end, in numbers that compare as such keys do: quicker than bytes somewhere else in memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place([u64; 3]);

impl Place {
    /// Keys of the log of dots have 22 bytes, and the end of a range of them one more. Longer ones are set in their column at once.
    const BYTES_MAX: usize = 23;

    fn new(key: &[u8]) -> Option<Self> {
        let mut bytes = [0; 24];
        bytes.get_mut(..key.len()).filter(|_| key.len() <= Self::BYTES_MAX)?.copy_from_slice(key);
        bytes[Self::BYTES_MAX] = u8::try_from(key.len()).expect("it fits");
        let (words, _) = bytes.as_chunks::<8>();
        Some(Self([0, 1, 2].map(|word| u64::from_be_bytes(words[word]))))
    }

    /// The key.
    pub(super) fn key(self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.0.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.truncate(usize::from(bytes[Self::BYTES_MAX]));
        bytes
    }

    /// The places from one key up to, and without, another.
    fn range(from: &[u8], until: &[u8]) -> (Bound<Self>, Bound<Self>) {
        // What starts with all that a place can hold lies behind it.
        let cut = |key: &[u8]| Self::new(&key[..Self::BYTES_MAX]).expect("it was cut to fit");
        (
            Self::new(from).map_or_else(|| Bound::Excluded(cut(from)), Bound::Included),
            Self::new(until).map_or_else(|| Bound::Included(cut(until)), Bound::Excluded),
        )
    }
}

impl Journal {
    pub(super) fn new(handle: u32, young_bytes_max: usize) -> Self {
        Self { handle, record_next: 0, young_bytes_max, young: Generation::default(), old: Generation::default() }
    }

    /// Whether changes of a column are in records.
    pub(super) const fn covers(column: Column) -> bool {
        matches!(column, Column::DotLog | Column::Metadata)
    }

    /// Whether what a change sets is held, and not yet set in its column.
    pub(super) fn holds(change: &Change) -> bool {
        matches!(change, Change::Put { column, key, .. } if Self::covers(*column) && key.len() <= Place::BYTES_MAX)
    }

    /// Where the next record is stored.
    pub(super) fn next_key(&self) -> RecordKey {
        self.key(self.record_next)
    }

    fn key(&self, number: u64) -> RecordKey {
        let mut key = [0; 12];
        key[..4].copy_from_slice(&self.handle.to_be_bytes());
        key[4..].copy_from_slice(&number.to_be_bytes());
        key
    }

    /// The value of an entry, if it is in the journal.
    pub(super) fn get(&self, column: Column, key: &[u8]) -> Option<&Bytes> {
        let place = Place::new(key).filter(|_| Self::covers(column))?;
        [&self.young, &self.old].into_iter().find_map(|generation| generation.entries(column).get(&place))
    }

    /// The entries of a column that are in the journal; of one that is there twice the newer is the later.
    pub(super) fn entries(&self, column: Column) -> impl Iterator<Item = (Vec<u8>, &Bytes)> {
        let generations = [&self.old, &self.young].into_iter().filter(move |_| Self::covers(column));
        generations.flat_map(move |generation| generation.entries(column)).map(|(place, value)| (place.key(), value))
    }

    /// Takes out so many of the old entries, and when none is left their records. What is young becomes old then, if there is enough of it.
    pub(super) fn settle(&mut self, entries_max: usize) -> Settled {
        self.settle_down_to(entries_max, self.young_bytes_max)
    }

    /// Takes out all that is old, and makes old all that is young; `None` if there is neither.
    pub(super) fn settle_all(&mut self) -> Option<Settled> {
        let records = self.young.records.or(self.old.records);
        records.map(|_| self.settle_down_to(usize::MAX, 0))
    }

    fn settle_down_to(&mut self, entries_max: usize, young_bytes_max: usize) -> Settled {
        let mut settled = Settled::default();
        for column in [Column::DotLog, Column::Metadata] {
            while settled.entries.len() < entries_max
                && let Some((place, value)) = self.old.entries_mut(column).pop_first()
            {
                settled.entries.push((column, place, value));
            }
        }
        if self.old.dot_log.is_empty() && self.old.metadata.is_empty() {
            settled.records = self.old.records.take().map(|(first, last)| (self.key(first), self.key(last + 1)));
            if young_bytes_max < self.young.bytes {
                self.old = std::mem::take(&mut self.young);
            }
        }
        settled
    }

    /// A record was written at [`Self::next_key`].
    pub(super) fn hold(&mut self, record: Record<'_>) {
        let Record { bytes, changes } = record;
        let number = self.record_next;
        self.record_next += 1;
        self.young.records = Some((self.young.records.map_or(number, |(first, _)| first), number));
        self.young.bytes += bytes.len();
        let bytes = Bytes::from(bytes);
        for (change, end) in changes {
            match change {
                Change::Put { column, key, value } => {
                    let Some(place) = Place::new(key) else { continue };
                    // A part of the record, and not of the much larger message that the key of an object came with.
                    let value = bytes.slice(end - value.len()..end);
                    self.young.entries_mut(*column).insert(place, value);
                }
                Change::Delete { column, key } => {
                    let Some(place) = Place::new(key) else { continue };
                    self.young.entries_mut(*column).remove(&place);
                    self.old.entries_mut(*column).remove(&place);
                }
                Change::DeleteRange { column, from, until } if from < until => {
                    let range = Place::range(from, until);
                    self.young.entries_mut(*column).extract_if(range, |_, _| true).for_each(drop);
                    self.old.entries_mut(*column).extract_if(range, |_, _| true).for_each(drop);
                }
                Change::DeleteRange { .. } => {}
            }
        }
    }
}

impl Generation {
    fn entries(&self, column: Column) -> &BTreeMap<Place, Bytes> {
        match column {
            Column::DotLog => &self.dot_log,
            Column::Metadata => &self.metadata,
            Column::Objects | Column::Hints => unreachable!("the journal covers them not"),
        }
    }

    fn entries_mut(&mut self, column: Column) -> &mut BTreeMap<Place, Bytes> {
        match column {
            Column::DotLog => &mut self.dot_log,
            Column::Metadata => &mut self.metadata,
            Column::Objects | Column::Hints => unreachable!("the journal covers them not"),
        }
    }
}

/// A record that is being made: one byte of format, and the changes in MessagePack, one behind the other.
pub(super) struct Record<'turn> {
    pub(super) bytes: Vec<u8>,
    /// Each with where its encoding ends. That of a put ends with the value.
    changes: Vec<(&'turn Change, usize)>,
}

impl<'turn> Record<'turn> {
    pub(super) fn new() -> Self {
        Self { bytes: vec![FORMAT], changes: Vec::new() }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(super) fn push(&mut self, change: &'turn Change) {
        rmp_serde::encode::write(&mut self.bytes, change).expect("writing our own types to memory does not fail");
        self.changes.push((change, self.bytes.len()));
    }
}

/// The changes of a record in their order; or what is wrong with it.
pub(super) fn decode(record: &[u8]) -> Result<Vec<Change>, String> {
    let mut rest = match record.split_first() {
        Some((&FORMAT, changes)) => changes,
        Some((format, _)) => {
            return Err(format!("a record of the journal has format {format}; this release reads format {FORMAT}"));
        }
        None => return Err("a record of the journal is empty".to_owned()),
    };
    let mut changes = Vec::new();
    while !rest.is_empty() {
        let change = rmp_serde::from_read(&mut rest).map_err(|error| format!("a record of the journal: {error}"))?;
        changes.push(change);
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_the_order_of_keys_and_give_them_back() {
        let mut keys: Vec<Vec<u8>> = vec![vec![], vec![0], vec![0, 0], vec![0, 1], vec![1], vec![7; 8], vec![7; 9]];
        keys.extend([vec![7; 22], [vec![7; 22], vec![0]].concat(), vec![7; 23], vec![u8::MAX; 23]]);
        let places: Vec<Place> = keys.iter().map(|key| Place::new(key).expect("short enough")).collect();
        assert!(keys.is_sorted() && places.is_sorted_by(|one, next| one < next));
        assert_eq!(places.into_iter().map(Place::key).collect::<Vec<_>>(), keys);
        assert!(Place::new(&[7; 24]).is_none() && Place::new(&[7; 300]).is_none());
    }

    #[test]
    fn a_range_s_ends_may_be_longer_than_any_place() {
        let inside = |key: &[u8], from: &[u8], until: &[u8]| {
            std::ops::RangeBounds::contains(&Place::range(from, until), &Place::new(key).expect("short enough"))
        };
        let (long, longest) = ([7; 24], [7; 23]);
        assert!(!inside(&longest, &long, &[8]) && inside(&longest, &[7], &long));
        assert!(inside(&[7, 8], &long, &[8]) && !inside(&[7, 8], &[7], &long));
    }

    #[test]
    fn a_record_gives_its_changes_back_and_what_is_none_is_refused() {
        let (column, key) = (Column::DotLog, Bytes::from_static(b"k"));
        let changes = [
            Change::Put { column, key: key.clone(), value: Bytes::from_static(b"value") },
            Change::Delete { column: Column::Metadata, key: key.clone() },
            Change::DeleteRange { column, from: Bytes::new(), until: key },
        ];
        let mut record = Record::new();
        changes.iter().for_each(|change| record.push(change));
        assert_eq!(decode(&record.bytes), Ok(changes.to_vec()));
        for bytes in [&[][..], &[2], &[1, 0xc1], &record.bytes[..record.bytes.len() - 1]] {
            assert!(decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
