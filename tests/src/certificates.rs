//! Certificates, made by `quorate cert` once for each name of a cluster in a test program, and kept in memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use tempfile::TempDir;

use crate::Quorate;

/// For how many nodes there are certificates.
const NODES: u32 = 9;

type Files = Arc<Vec<(String, Vec<u8>)>>;

static MADE: LazyLock<Mutex<BTreeMap<String, Files>>> = LazyLock::new(Mutex::default);

/// Puts the certificates, keys and secret of a cluster of this name into a directory.
pub(crate) fn write(cluster: &str, directory: &Path) {
    // A test that failed while making them leaves nothing half done in the map.
    let mut made = MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let files = made.entry(cluster.to_owned()).or_insert_with(|| make(cluster)).clone();
    drop(made);
    for (name, bytes) in files.iter() {
        fs::write(directory.join(name), bytes).expect("the temporary directory can be written");
    }
}

fn make(cluster: &str) -> Files {
    let directory = TempDir::new().expect("a temporary directory");
    let cert = |arguments: &[&str]| {
        Quorate::new(["cert"].iter().chain(arguments)).arg("--dir").arg(directory.path()).run().ends_with(0);
    };
    cert(&["init", "--cluster", cluster]);
    (1..=NODES).for_each(|node| cert(&["node", &node.to_string()]));
    cert(&["client", "client"]);
    let entries = fs::read_dir(directory.path()).expect("it was just made");
    let files = entries.map(|entry| {
        let path = entry.expect("it was just made").path();
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        (name, fs::read(&path).expect("it was just made"))
    });
    Arc::new(files.collect())
}
