//! Three nodes of this project with default settings, N = 3. All clients share one client of the library, with a connection or two to each node.

use bytes::Bytes;
use quorate_client::{Bucket, Durability};
use quorate_tests::ClusterOptions;

use super::load::running;
use super::{Settings, Store, measure as measure_all};

#[derive(Clone)]
struct Quorate {
    bucket: Bucket,
    durability: Durability,
    r: u8,
}

pub(super) async fn measure(settings: &Settings) {
    println!("| **Quorate {}** | | | | | |", env!("CARGO_PKG_VERSION"));
    let mut cluster = ClusterOptions::new(3).node_lines("shards = 1").start().await;
    let client = cluster.client().await;
    let bucket = client.bucket("bench").expect("a valid name");
    let way = |durability, r| Quorate { bucket: bucket.clone(), durability, r };
    let puts = [
        ("put, W = 2, synced every 100 ms", way(Durability::Buffered, 2)),
        ("put, W = 2, synced before the answer", way(Durability::Synced, 2)),
    ];
    let gets = [("get, R = 2", way(Durability::Buffered, 2)), ("get, R = 1", way(Durability::Buffered, 1))];
    measure_all(settings, &running(&mut cluster), &puts, &gets).await;
    client.close().await;
}

impl Store for Quorate {
    async fn put(&self, _: u64, key: String, value: Bytes) -> Result<(), String> {
        let put = self.bucket.put(key, value).w(2).durability(self.durability);
        put.await.map(|_| ()).map_err(|error| error.to_string())
    }

    async fn get(&self, _: u64, key: String, value: Bytes) -> Result<(), String> {
        let found = self.bucket.get(key).r(self.r).await.map_err(|error| error.to_string())?;
        match found.single() {
            Some(single) if *single == value => Ok(()),
            // A put that is under way.
            None if found.values().is_empty() => Ok(()),
            _ => Err("a get found something else than was put".to_owned()),
        }
    }
}
