//! The bytes of versions on the wire and on disk, pinned. A change here is a change of both formats.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::testing::{dot, object_key, vector};
use super::{Container, ContextKey, ContextToken, InvalidContext, NodeClock};
use crate::{ClusterName, Value};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn pinned<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, golden: &str) {
    let bytes = rmp_serde::to_vec(value).expect("encodes");
    assert_eq!(hex(&bytes), golden);
    assert_eq!(&rmp_serde::from_slice::<T>(&bytes).expect("decodes"), value);
}

#[test]
fn dots_and_vectors_keep_their_bytes() {
    pinned(&dot(1, 2), "9292010102");
    pinned(&dot(300, u64::MAX), "9292cd012c01cfffffffffffffffff");
    pinned(&vector(&[]), "90");
    pinned(&vector(&[(2, 70_000), (1, 3)]), "92929201010392920201ce00011170");
}

#[test]
fn clocks_keep_their_bytes() {
    let mut clock = NodeClock::new();
    pinned(&clock, "929090");
    [1, 2, 4, 130].into_iter().for_each(|counter| _ = clock.add(dot(1, counter)));
    clock.add(dot(2, 1));
    pinned(&clock, "929292920101029292020101919292010192920010920204");
}

#[test]
fn containers_keep_their_bytes() {
    let mut container = Container::empty();
    pinned(&container, "929090");
    container.add(dot(1, 2), Value::new("tea").expect("short enough"));
    container.strip(&vector(&[(1, 2)]));
    pinned(&container, "9291929292010102c40374656190");
    container.add(dot(2, 1), Value::new("").expect("short enough"));
    container.record(dot(3, 9));
    pinned(&container, "9292929292010102c403746561929292020101c4009292920201019292030109");
}

#[test]
fn tokens_keep_their_bytes() {
    let key = ContextKey::derive(b"secret", &ClusterName::new("c").expect("valid"));
    let pinned_token = |token: ContextToken, golden: &str| {
        assert_eq!(token.to_text(), golden);
        pinned(&token, &format!("c4{:02x}{golden}", golden.len() / 2));
    };
    pinned_token(key.seal(&object_key("a"), &vector(&[])), "01902e0afa3699e7dfdf6ca4958a0a8536d7");
    pinned_token(
        key.seal(&object_key("a"), &vector(&[(1, 3), (2, 1)])),
        "0192929201010392920201013eb28c173b87ef7c6adfd44c3e258429",
    );
}

#[test]
fn refusals_keep_their_bytes() {
    pinned(&InvalidContext::Truncated { bytes: 3 }, "81a1749103");
    pinned(&InvalidContext::Format { format: 9 }, "81a1669109");
    pinned(&InvalidContext::Forged, "a161");
    pinned(&InvalidContext::TooLong { bytes: 70_000 }, "81a16c91ce00011170");
    pinned(&InvalidContext::NotText, "a178");
}
