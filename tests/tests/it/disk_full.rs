//! A disk that is full: the node on it says so and stops, the others go on, and nothing acknowledged is lost.

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use quorate_tests::{ClusterOptions, wait};

use crate::support::{assert_same_stores, wait_converged};

/// Room for a new store, and not for what is written below.
const SIZE: &str = "size=48m";
const SIZE_LATER: &str = "remount,size=512m";
const VALUE_BYTES: usize = 16 * 1024;
const BATCH: usize = 64;
/// Some 200 MB: several times the disk.
const BATCHES_MAX: usize = 200;

/// A small disk in memory, taken away again in the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this process may not mount.
    fn mount(path: &Path) -> Option<Self> {
        std::fs::create_dir(path).expect("the temporary directory can be written");
        mount(&["-t", "tmpfs", "-o", SIZE, "tmpfs"], path).then(|| Self(path.to_owned()))
    }

    fn grow(&self) {
        assert!(mount(&["-o", SIZE_LATER], &self.0), "what was mounted can be made larger");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, since a node may still have files open there when a test has failed.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str], path: &Path) -> bool {
    Command::new("mount").args(arguments).arg(path).output().is_ok_and(|output| output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disk_is_full_stops_and_nothing_acknowledged_is_lost() {
    let mut cluster = ClusterOptions::new(3).scrubbing().prepare();
    let Some(disk) = SmallDisk::mount(&cluster.node(2).data()) else {
        return eprintln!("skipped: this process may not mount a small disk");
    };
    cluster.start_all();
    cluster.connected().await;
    let client = cluster.client().await;
    let bucket = client.bucket("b").expect("valid");
    let value = Bytes::from(vec![b'v'; VALUE_BYTES]);
    let mut acknowledged = Vec::new();
    for batch in 0..BATCHES_MAX {
        let keys: Vec<_> = (0..BATCH).map(|number| format!("{batch} {number}")).collect();
        let results = bucket.put_many(keys.iter().map(|key| (key.clone(), value.clone()))).await;
        acknowledged.extend(keys.into_iter().zip(results).filter_map(|(key, result)| result.is_ok().then_some(key)));
        if !cluster.node(2).is_running() {
            break;
        }
    }
    let ended = cluster.node(2).wait_ended();
    assert_eq!(ended.code, 5, "{}", ended.log);
    for phrase in ["the store failed and the node has stopped", "No space left on device", "start the node again"] {
        assert!(ended.log.contains(phrase), "expected {phrase:?} in\n{}", ended.log);
    }
    let (cause, stopping) = (ended.log.find("the store failed: the node stops"), ended.log.find("stopping"));
    assert!(cause.expect("it is logged") < stopping.expect("it is logged"), "the cause comes first: {}", ended.log);
    assert!(!ended.log.contains("cannot be read"), "nothing has rotted: {}", ended.log);
    let others = async || bucket.put("after", "the others go on").await.ok();
    wait::until_async("the others go on", wait::BOUND, others).await;
    assert!(BATCH * 10 < acknowledged.len(), "the disk was full before much was written: {}", acknowledged.len());
    for (key, found) in acknowledged.iter().zip(bucket.get_many(&acknowledged).await) {
        let found = found.unwrap_or_else(|error| panic!("{key}: {error}"));
        assert!(found.values().contains(&value), "{key} was acknowledged and is lost");
    }

    let refused = cluster.node(2).try_start();
    if let Err(ended) = refused {
        assert_eq!(ended.code, 5, "{}", ended.log);
        assert!(ended.log.contains("full") || ended.log.contains("No space left"), "{}", ended.log);
    } else {
        cluster.node(2).kill();
    }
    disk.grow();
    cluster.node(2).start();
    cluster.connected().await;
    bucket.put("needs all three", "value").w(3).await.expect("there is room again");
    wait_converged(&cluster);
    let objects = assert_same_stores(&mut cluster).await;
    assert!(acknowledged.len() < objects, "{} acknowledged, {objects} there", acknowledged.len());
}
