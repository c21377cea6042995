//! Whatever message is sent is what arrives; and whatever else arrives is refused, without a panic, a stack that ends, or memory
//! that only was claimed.

mod wire_generated;

use proptest::prelude::*;
use proptest::sample::Index;
use quorate_ring::wire::frame::{self, Decoder, FrameError};
use quorate_ring::wire::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire_generated::*;

fn frame_of<T: Serialize>(message: &T) -> Vec<u8> {
    let mut buffer = Vec::new();
    frame::encode(message, &mut buffer).expect("a generated message fits a frame");
    buffer
}

fn through_a_stream<T: Serialize + DeserializeOwned>(message: &T) -> T {
    let mut decoder = Decoder::new();
    decoder.push(&frame_of(message));
    let payload = decoder.next().expect("a sound frame").expect("a whole frame");
    frame::decode(&payload).expect("what was sent is accepted")
}

/// Tries these bytes as each kind of message. Only a panic is a failure.
fn try_all(payload: &[u8]) {
    _ = frame::decode::<Hello>(payload);
    _ = frame::decode::<Welcome>(payload);
    _ = frame::decode::<ClientMessage>(payload);
    _ = frame::decode::<NodeMessage>(payload);
    _ = frame::decode::<PeerMessage>(payload);
}

/// The golden payloads.
fn fixtures() -> Vec<Vec<u8>> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hexadecimal");
    let lines = include_str!("fixtures/wire-v1.txt").lines();
    lines.filter_map(|line| line.split_once(' ')).map(|(_, hex)| hex.as_bytes().chunks(2).map(byte).collect()).collect()
}

proptest! {
    #[test]
    fn hello_arrives_as_sent(message in hello()) {
        prop_assert_eq!(through_a_stream(&message), message);
    }

    #[test]
    fn welcome_arrives_as_sent(message in welcome()) {
        prop_assert_eq!(through_a_stream(&message), message);
    }

    #[test]
    fn client_message_arrives_as_sent(message in client_message()) {
        prop_assert_eq!(through_a_stream(&message), message);
    }

    #[test]
    fn node_message_arrives_as_sent(message in node_message()) {
        prop_assert_eq!(through_a_stream(&message), message);
    }

    #[test]
    fn peer_message_arrives_as_sent(message in peer_message()) {
        prop_assert_eq!(through_a_stream(&message), message);
    }

    #[test]
    fn random_bytes_never_panic(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        try_all(&payload);
    }

    #[test]
    fn mutated_and_cut_messages_never_panic(
        fixture in any::<Index>(),
        mutations in prop::collection::vec((any::<Index>(), any::<u8>()), 0..4),
        end in any::<Index>(),
    ) {
        let fixtures = fixtures();
        let mut payload = fixture.get(&fixtures).clone();
        for (at, byte) in mutations {
            *at.get_mut(&mut payload) = byte;
        }
        try_all(&payload);
        payload.truncate(end.index(payload.len()));
        try_all(&payload);
    }
}

#[test]
fn every_cut_of_every_message_is_refused() {
    for payload in fixtures() {
        for end in 0..payload.len() {
            let cut = &payload[..end];
            assert!(frame::decode::<ClientMessage>(cut).is_err() && frame::decode::<PeerMessage>(cut).is_err());
            assert!(frame::decode::<NodeMessage>(cut).is_err() && frame::decode::<Welcome>(cut).is_err());
        }
    }
}

/// Batches in batches: `[id, {"Ok": {"m": [[0, {"Ok": {"m": ...`.
fn nested_batches(depth: usize) -> Vec<u8> {
    const OK_MANY: &[u8] = b"\x81\xa2Ok\x81\xa1m";
    let level = [OK_MANY, b"\x91\x92\x00"].concat();
    [b"\x92\x01", &level.repeat(depth)[..], OK_MANY, b"\x90"].concat()
}

#[test]
fn batch_in_a_batch_is_refused_at_any_depth_and_on_a_small_stack() {
    assert!(frame::decode::<NodeMessage>(&nested_batches(0)).is_ok());
    let decode_all = || {
        for depth in [1, 2, 10, 15, 100, 10_000, 1_000_000] {
            let refused = frame::decode::<NodeMessage>(&nested_batches(depth));
            assert!(matches!(refused, Err(FrameError::Malformed(_))), "depth {depth}");
        }
    };
    let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(decode_all).expect("a thread");
    thread.join().expect("a bounded depth needs a bounded stack");
}

#[test]
fn lists_longer_than_their_bound_are_refused() {
    let keys = |count: usize| {
        let request = Request::GetMany { keys: vec![key("a"); count], r: None, strict: false };
        frame_of(&ClientMessage { id: RequestId(1), timeout_millis: 1, request })
    };
    let accepted = |frame: &[u8]| frame::decode::<ClientMessage>(&frame[frame::HEADER_BYTES..]).is_ok();
    assert!(accepted(&keys(1024)));
    assert!(!accepted(&keys(1025)));
}

#[test]
fn claimed_elements_are_refused_before_any_is_read() {
    const TWO_BILLION: &[u8] = &[0xdd, 0x7f, 0xff, 0xff, 0xff];
    for start in [&b"\x93\x01\x01\x81\xa2gm\x92"[..], b"\x93\x01\x01\x81\xa2pm\x93"] {
        let refused = frame::decode::<ClientMessage>(&[start, TWO_BILLION].concat()).expect_err("too many");
        assert!(refused.to_string().contains("at most 1024"), "{refused}");
    }
    for start in
        [&b"\x92\x01\x81\xa2Ok\x81\xa1m"[..], b"\x92\x01\x81\xa2Ok\x81\xa1f\x92", b"\x92\x01\x81\xa2Ok\x81\xa1s\x92"]
    {
        let refused = frame::decode::<NodeMessage>(&[start, TWO_BILLION].concat()).expect_err("too many");
        assert!(refused.to_string().contains("at most"), "{refused}");
    }
}

#[test]
fn page_of_none_or_too_many_is_refused() {
    for (limit, ok) in [(0, false), (1, true), (1024, true), (1025, false), (u32::MAX, false)] {
        let partition = quorate_ring::PartitionId::new(0);
        let request = Request::Scan { bucket: bucket("b"), partition, after: None, limit, r: None };
        let frame = frame_of(&ClientMessage { id: RequestId(1), timeout_millis: 1, request });
        assert_eq!(frame::decode::<ClientMessage>(&frame[frame::HEADER_BYTES..]).is_ok(), ok, "{limit}");
    }
}

#[test]
fn only_writes_of_one_key_are_forwarded() {
    let message = PeerMessage::Forward { exchange: ExchangeId(1), timeout_millis: 1, request: Request::Status };
    let frame = frame_of(&message);
    assert!(frame::decode::<PeerMessage>(&frame[frame::HEADER_BYTES..]).is_err());
}

#[test]
fn ring_whose_parts_do_not_fit_is_refused() {
    let accepted = |change: fn(&mut RingDescription)| {
        let mut ring = ring_of(3, 8);
        change(&mut ring);
        let frame = frame_of(&NodeMessage { id: RequestId(1), result: Ok(Response::Ring(ring)) });
        frame::decode::<NodeMessage>(&frame[frame::HEADER_BYTES..]).is_ok()
    };
    assert!(accepted(|_| ()));
    assert!(!accepted(|ring| ring.replicas = 0));
    assert!(!accepted(|ring| ring.members.swap(0, 1)));
    assert!(!accepted(|ring| ring.members.clear()));
    assert!(!accepted(|ring| _ = ring.owners.pop()));
    assert!(!accepted(|ring| ring.owners[7] = 3));
}
