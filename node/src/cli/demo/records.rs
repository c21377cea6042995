//! The demo's records: package-like, made in memory, the same in every run.

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Such as `amber-otter/1.4.0`.
    pub(super) key: String,
    /// A JSON object.
    pub(super) value: String,
}

const COLOURS: [&str; 16] = [
    "amber", "azure", "black", "brown", "coral", "cyan", "green", "grey", "ivory", "khaki", "lilac", "olive", "pearl",
    "plum", "red", "white",
];
const ANIMALS: [&str; 16] = [
    "badger", "crane", "dove", "eagle", "ferret", "gecko", "heron", "ibis", "jackal", "kite", "lynx", "marten", "newt",
    "otter", "puffin", "quail",
];
const LICENCES: [&str; 4] = ["MIT", "Apache-2.0", "BSD-3-Clause", "MPL-2.0"];

/// The record with this number. `edition` changes every value, and no key.
pub(super) fn record(number: u64, edition: u64) -> Record {
    let chance = mix(number);
    let pick = |from: &[&'static str; 16], shift: u32| from[(chance >> shift & 15) as usize];
    let name = format!("{}-{}-{}", pick(&COLOURS, 0), pick(&ANIMALS, 4), number / 8);
    let version = format!("{}.{}.0", number % 8, chance >> 8 & 15);
    let licence = LICENCES[(chance >> 12 & 3) as usize];
    let downloads = mix(chance ^ edition) % 1_000_000;
    let value = format!(
        "{{\"name\":\"{name}\",\"version\":\"{version}\",\"licence\":\"{licence}\",\"downloads\":{downloads},\
         \"edition\":{edition},\"checksum\":\"{:016x}{:016x}\"}}",
        mix(number ^ 1),
        mix(number ^ 2)
    );
    Record { key: format!("{name}/{version}"), value }
}

/// SplitMix64's finaliser: neighbouring numbers come out unlike each other.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_are_distinct_and_values_are_json() {
        let keys: BTreeSet<_> = (0..20_000).map(|number| record(number, 1).key).collect();
        assert_eq!(keys.len(), 20_000);
        for number in 0..100 {
            let record = record(number, 2);
            serde_json::from_str::<serde_json::Value>(&record.value).expect("JSON");
        }
    }

    #[test]
    fn editions_share_keys_and_differ_in_values() {
        let (one, two) = (record(7, 1), record(7, 2));
        assert_eq!(one.key, two.key);
        assert_ne!(one.value, two.value);
        assert_eq!(one, record(7, 1));
    }
}
