//! The bytes of every message, pinned: what one release writes, another must be able to read.
//!
//! `fixtures/wire-v1.txt` has a line `kind.Variant.Variant hex` for each variant of each message of the protocol's first version, and
//! `wire-v2.txt` and `wire-v3.txt` for each that came with the second and the third. If one of these tests fails, the change at hand breaks the protocol for clusters that run.
//! A message that is new needs a sample here and a new line in the file of its version:
//!
//! ```text
//! QUORATE_GOLDEN=write cargo test -p quorate-ring --test wire_golden
//! ```
//!
//! writes the newest file anew; `git diff` must then show added lines only.

#![expect(clippy::disallowed_methods, reason = "the fixtures are files")]

mod wire_samples;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Once;

use wire_samples::*;

/// What each version brought, from the first.
const VERSIONS: [&str; 3] = ["wire-v1.txt", "wire-v2.txt", "wire-v3.txt"];

fn path(version: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version)
}

/// The fixtures by name.
fn fixtures() -> BTreeMap<String, Vec<u8>> {
    static WRITTEN: Once = Once::new();
    if std::env::var_os("QUORATE_GOLDEN").is_some_and(|what| what == "write") {
        WRITTEN.call_once(write_fixtures);
    }
    VERSIONS.into_iter().flat_map(fixtures_of).collect()
}

fn fixtures_of(version: &str) -> BTreeMap<String, Vec<u8>> {
    let text = std::fs::read_to_string(path(version)).expect("the fixtures lie beside this file");
    let line = |line: &str| {
        let (name, hex) = line.split_once(' ').expect("a line is `name hex`");
        (name.to_owned(), bytes_of(hex))
    };
    text.lines().map(line).collect()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("pairs of hexadecimal digits"))
        .collect()
}

fn write_fixtures() {
    let [earlier @ .., newest] = VERSIONS;
    let known: BTreeMap<_, _> = earlier.into_iter().flat_map(fixtures_of).collect();
    let mut text = String::new();
    for (name, message) in samples().into_iter().filter(|(name, _)| !known.contains_key(name)) {
        text.push_str(&name);
        text.push(' ');
        message.encode().iter().for_each(|byte| write!(text, "{byte:02x}").expect("a string takes all"));
        text.push('\n');
    }
    std::fs::write(path(newest), text).expect("writable");
}

#[test]
fn messages_have_the_golden_bytes_and_are_read_from_them() {
    let (samples, fixtures) = (samples(), fixtures());
    assert_eq!(samples.keys().collect::<Vec<_>>(), fixtures.keys().collect::<Vec<_>>());
    for (name, bytes) in &fixtures {
        let message = Message::decode(name, bytes);
        assert_eq!(&message, &samples[name], "{name}");
        assert_eq!(&message.encode(), bytes, "{name}");
    }
}

#[test]
fn every_variant_has_golden_bytes() {
    let fixtures = fixtures();
    let names: BTreeSet<&str> = fixtures.keys().map(String::as_str).collect();
    let covered = |prefix: &str, variants: &[&str]| {
        for variant in variants {
            let (name, longer) = (format!("{prefix}.{variant}"), format!("{prefix}.{variant}."));
            let is_covered = names.contains(&*name) || names.iter().any(|found| found.starts_with(&longer));
            assert!(is_covered, "{name} has no sample");
        }
    };
    covered("hello", ROLES);
    covered("welcome", WELCOMES);
    covered("welcome.Refused", REFUSALS);
    covered("client", REQUESTS);
    covered("node.Ok", RESPONSES);
    covered("node.Ok.Status", STARTS);
    covered("node.Err", ERRORS);
    covered("node.Err.Context", CONTEXT_ERRORS);
    covered("peer", PEER_MESSAGES);
    covered("peer.Replicate", DURABILITIES);
    covered("peer.Hint", HINT_MESSAGES);
    covered("peer.Sync", SYNC_MESSAGES);
    covered("peer.Scrub", SCRUB_MESSAGES);
    covered("peer.Scrub.Compared", LIKENESSES);
    for reply in [
        "ReadReply",
        "ReplicateReply",
        "ScanReply",
        "Hint.Taken",
        "Sync.Transferred",
        "Scrub.Fetched",
        "Scrub.Held",
        "Scrub.Named",
    ] {
        covered(&format!("peer.{reply}.Err"), REPLICA_ERRORS);
    }
}
