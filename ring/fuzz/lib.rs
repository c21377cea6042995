//! What the fuzz targets and their seeds share.

use std::fmt::Debug;

use quorate_ring::version::{Container, ContextToken, Dot, NodeClock};
use quorate_ring::wire::frame::{self, Decoder};
use quorate_ring::{BucketName, Key, ObjectKey, StoredValue};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What the target `version` is given: two clocks, two containers, an event, a token.
pub type VersionInput = (NodeClock, NodeClock, Container<StoredValue>, Container<StoredValue>, Dot, ContextToken);

/// What makes the tokens of the target `version`.
pub const CONTEXT_KEY: [u8; 32] = [7; 32];

/// For which they are made.
pub fn object_key() -> ObjectKey {
    let bucket = BucketName::new("b").expect("valid");
    ObjectKey::new(&bucket, &Key::new("k").expect("valid"))
}

/// Decodes these bytes as a message. They may be refused; but what was accepted must survive being sent on: encoded in a frame and
/// decoded again it is the same.
///
/// # Panics
/// If it is not.
pub fn decode_and_send_on<T: Serialize + DeserializeOwned + PartialEq + Debug>(payload: &[u8]) -> Option<T> {
    let message: T = frame::decode(payload).ok()?;
    let mut stream = Vec::new();
    frame::encode(&message, &mut stream).expect("a message that was accepted can be sent on");
    let mut decoder = Decoder::new();
    decoder.push(&stream);
    let payload = decoder.next().expect("a sound frame").expect("a whole frame");
    let again: T = frame::decode(&payload).expect("a message that was sent is accepted");
    assert_eq!(message, again);
    Some(message)
}
