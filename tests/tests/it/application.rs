//! An application that writes and reads while a cluster changes, and remembers what was acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use blake3::Hash;
use bytes::Bytes;
use quorate_client::{Bucket, Client, Error};
use quorate_tests::{Cluster, wait};
use tokio::task::JoinSet;

/// The bucket that it writes to.
pub(crate) const BUCKET: &str = "b";
/// Writers, each with keys of its own, so that no write is concurrent with another of its key.
const WRITERS: u32 = 4;
/// Of so many turns of a writer one overwrites a record of before.
const OVERWRITES_EVERY: u32 = 3;
/// Keys in one request when all is read back.
const BATCH: usize = 256;
/// Before a request that failed is made again.
const PAUSE: Duration = Duration::from_millis(10);

/// Of each key that was acknowledged, the hash of the value that was acknowledged last.
pub(crate) type Acknowledged = BTreeMap<String, Hash>;

/// What the application makes of a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// None may fail, but for a known fault.
    None,
    /// A node is killed that may have requests in hand: what may be tried again is, and where nobody can know it looks before it writes
    /// again. That must come to an end within the usual bound.
    Some,
}

/// Writes and reads with W = R = 2 until it is told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    turns: Arc<AtomicU32>,
    writers: JoinSet<Acknowledged>,
}

impl Load {
    /// Begins. A second load on the same cluster would write the same keys.
    pub(crate) fn start(client: &Client, patience: Patience) -> Self {
        let (stop, turns, mut writers) = (Arc::new(AtomicBool::new(false)), Arc::default(), JoinSet::new());
        for writer in 0..WRITERS {
            let bucket = client.bucket(BUCKET).expect("valid");
            writers.spawn(write(bucket, writer, patience, stop.clone(), Arc::clone(&turns)));
        }
        Self { stop, turns, writers }
    }

    /// Waits until it has written and read this often since now.
    pub(crate) async fn goes_on(&mut self, turns: u32) {
        let before = self.turns.load(Ordering::Relaxed);
        let done = async || {
            // Who has failed would be waited for in vain.
            assert_eq!(
                self.writers.try_join_next().map(drop),
                None,
                "a request of the application has failed, see above"
            );
            (before + turns <= self.turns.load(Ordering::Relaxed)).then_some(())
        };
        wait::until_async("the application has gone on", wait::BOUND, done).await;
    }

    /// Stops it. Every record is then read by another client, from two nodes, and has to be what was acknowledged.
    pub(crate) async fn finish(mut self, cluster: &Cluster) -> Acknowledged {
        self.goes_on(50).await;
        self.stop.store(true, Ordering::Relaxed);
        let mut acknowledged = Acknowledged::new();
        while let Some(of_writer) = self.writers.join_next().await {
            acknowledged.append(&mut of_writer.expect("nothing failed for the application"));
        }
        let client = cluster.client().await;
        assert_all(&client.bucket(BUCKET).expect("valid"), &acknowledged, 2).await;
        acknowledged
    }
}

/// Asserts that every record is read from this many nodes, and has the hash that it was acknowledged with.
pub(crate) async fn assert_all(bucket: &Bucket, acknowledged: &Acknowledged, r: u8) {
    let records: Vec<(&String, &Hash)> = acknowledged.iter().collect();
    for records in records.chunks(BATCH) {
        let found = bucket.get_many(records.iter().map(|(key, _)| key)).r(r).await;
        for ((key, hash), found) in records.iter().zip(found) {
            let found = found.unwrap_or_else(|error| panic!("{key}: {error}"));
            assert!(is_right(found.values(), **hash), "{key} has {} values, or another one", found.values().len());
        }
    }
}

/// A value that differs from all others, of 1 byte to 16 KiB: most are small, and each size from tens to thousands of bytes comes.
pub(crate) fn value(key: &str, edition: u32) -> Bytes {
    let seed = blake3::hash(format!("{key} {edition}").as_bytes());
    let chance = u32::from_le_bytes(seed.as_bytes()[..4].try_into().expect("a hash is longer"));
    let length = 1 + (chance >> 8) as usize % (1 << (4 + chance % 11));
    let mut value = vec![0; length];
    blake3::Hasher::new_keyed(seed.as_bytes()).finalize_xof().fill(&mut value);
    value.into()
}

async fn write(
    bucket: Bucket,
    writer: u32,
    patience: Patience,
    stop: Arc<AtomicBool>,
    turns: Arc<AtomicU32>,
) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    let key = |number: u32| format!("key {writer} {number}");
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let earlier = key(number / 2);
        // Where a write may turn up late it must not do so beside what has overwritten it.
        let overwrites = patience == Patience::None && number % OVERWRITES_EVERY == 2;
        let (key, edition) = if overwrites { (earlier.clone(), number) } else { (key(number), 0) };
        let value = value(&key, edition);
        let hash = blake3::hash(&value);
        put(&bucket, &key, &value, patience).await;
        acknowledged.insert(key, hash);
        if let Some(hash) = acknowledged.get(&earlier) {
            read(&bucket, &earlier, *hash, patience).await;
        }
        turns.fetch_add(1, Ordering::Relaxed);
    }
    acknowledged
}

async fn put(bucket: &Bucket, key: &str, value: &Bytes, patience: Patience) {
    let begun = Instant::now();
    while let Err(error) = put_once(bucket, key, value).await {
        patience.bear(begun, &format!("put {key}"), &error).await;
    }
}

/// Looks before it writes: what is there already, of a write before of which nobody could know, is not written again.
async fn put_once(bucket: &Bucket, key: &str, value: &Bytes) -> Result<(), Error> {
    let found = bucket.get(key).r(2).await?;
    if found.values() != [value.clone()] {
        bucket.put(key, value.clone()).context(found.context()).w(2).await?;
    }
    Ok(())
}

async fn read(bucket: &Bucket, key: &str, hash: Hash, patience: Patience) {
    let begun = Instant::now();
    let found = loop {
        match bucket.get(key).r(2).await {
            Ok(found) => break found,
            Err(error) => patience.bear(begun, &format!("get {key}"), &error).await,
        }
    };
    assert!(is_right(found.values(), hash), "{key} has {} values, or another one", found.values().len());
}

impl Patience {
    /// Waits before a request that failed is made again.
    async fn bear(self, begun: Instant, what: &str, error: &Error) {
        let bears = self == Self::Some && error.is_transient() && begun.elapsed() < wait::BOUND;
        assert!(bears, "{what}, begun {:?} ago: {error}", begun.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
}

/// A write of unknown outcome that turns up later is there beside its repetition, and is the same.
fn is_right(values: &[Bytes], hash: Hash) -> bool {
    !values.is_empty() && values.iter().all(|value| blake3::hash(value) == hash)
}
