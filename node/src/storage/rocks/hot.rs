//! Objects that were read of late, as they are stored: what is read again costs no walk down a memtable and no search in a file's index and
//! block, each of which is many misses of the processor's caches.
//!
//! A key is taken when it is read for the second time within a while: where each of very many is asked as often as any other, or a put reads
//! what it replaces, taking all would cost more than it brings. Who was read is known by a table of as many places as keys that are soon read
//! again; another key of the same place pushes one out of it (a doorkeeper, as in Einziger, Friedman and Manes, "TinyLFU", 2017, but
//! forgetting by itself).
//!
//! What is here hides what a disk has lost or garbled since, so lookups and scans, with which such is searched and mended, do not come here;
//! and when anything cannot be read all of it is forgotten.
//!
//! Its handle alone writes what it reads, on the thread of its shard, so that nothing here is ever older than the store. What a reading thread
//! brings is not taken: a write may have been faster.

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use xxhash_rust::xxh3::xxh3_64;

use crate::storage::{Change, Column};

/// About what an entry takes beside its key and value.
const ENTRY_OVERHEAD_BYTES: u64 = 160;
/// Of how large objects the cache's tables have room for as many as it holds, before they have to grow.
const OBJECT_BYTES_ABOUT: u64 = 256;
/// Places for keys that were read once.
const READ_ONCE: usize = 1 << 16;

/// The objects.
pub(super) struct HotObjects {
    objects: Cache<Bytes, Bytes, Bytewise>,
    /// Of the last key read at each place. Nothing as long as nothing was read.
    read_once: Vec<u32>,
    objects_about: usize,
}

#[derive(Clone)]
struct Bytewise;

impl Weighter<Bytes, Bytes> for Bytewise {
    fn weight(&self, key: &Bytes, value: &Bytes) -> u64 {
        (key.len() + value.len()) as u64 + ENTRY_OVERHEAD_BYTES
    }
}

impl HotObjects {
    /// None yet; and never more than so many bytes of them.
    pub(super) fn new(bytes_max: usize) -> Self {
        let bytes_max = bytes_max as u64;
        let objects_about = usize::try_from(bytes_max / OBJECT_BYTES_ABOUT).unwrap_or(usize::MAX);
        let objects = Cache::with_weighter(objects_about, bytes_max, Bytewise);
        Self { objects, read_once: Vec::new(), objects_about }
    }

    /// The value of a key, if it is here.
    pub(super) fn get(&self, key: &Bytes) -> Option<&Bytes> {
        self.objects.get(key)
    }

    /// A key has been read, which is not here.
    pub(super) fn note_read(&mut self, key: Bytes, value: &Bytes) {
        if self.read_once.is_empty() {
            self.read_once = vec![0; READ_ONCE];
            self.objects.reserve(self.objects_about);
        }
        let hash = xxh3_64(&key);
        let (place, mark) = (hash as usize % READ_ONCE, (hash >> 32) as u32);
        if self.read_once[place] == mark {
            self.objects.insert(key, value.clone());
        } else {
            self.read_once[place] = mark;
        }
    }

    /// All are forgotten.
    pub(super) fn clear(&mut self) {
        self.objects.clear();
    }

    /// Changes have been written.
    pub(super) fn note_written<'turn>(&mut self, changes: impl Iterator<Item = &'turn Change>) {
        for change in changes.filter(|change| change.column() == Column::Objects) {
            match change {
                // What is only written need not push out what is read. The value was encoded into a buffer with room to spare.
                Change::Put { key, value, .. } => {
                    if self.objects.contains_key(key) {
                        self.objects.insert(key.clone(), Bytes::copy_from_slice(value));
                    }
                }
                Change::Delete { key, .. } => drop(self.objects.remove(key)),
                // Of a partition that is given up.
                Change::DeleteRange { .. } => self.clear(),
            }
        }
    }
}
