//! Messages of a put and of a get, between a client, the coordinator and a replica, each in its frame with its checksum.

use std::hint::black_box;

use bytes::Bytes;
use quorate_ring::version::{Container, ContextKey, ContextToken, Dot};
use quorate_ring::wire::frame::{self, Decoder};
use quorate_ring::wire::{
    ClientMessage, Durability, ExchangeId, NodeMessage, PeerMessage, PutItem, ReplicaRead, Request, RequestId, Response,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::versions::seen;
use super::{VALUE_BYTES, actor, key, stored, value};
use crate::harness::Operation;

const TIMEOUT_MILLIS: u32 = 2_000;
const ID: u64 = 1_000_000;

pub(super) fn operations() -> Vec<Operation> {
    let sized = VALUE_BYTES.into_iter().flat_map(with_value);
    let small = [
        codec("stored, to a put", NodeMessage { id: RequestId(ID), result: Ok(answer()) }),
        codec("replicate reply", PeerMessage::ReplicateReply { exchange: ExchangeId(ID), result: Ok(()) }),
        codec("get", asked(Request::Get { key: key(), r: None, strict: false })),
        codec(
            "peer read",
            PeerMessage::Read { exchange: ExchangeId(ID), timeout_millis: TIMEOUT_MILLIS, key: key(), stand_in: false },
        ),
    ];
    sized.chain(small.into_iter().flatten()).collect()
}

fn with_value(bytes: usize) -> Vec<Operation> {
    let item = PutItem { key: key(), value: value(bytes), context: Some(context()), ttl_millis: None };
    let put = asked(Request::Put { item, w: None, durability: None, strict: false });
    let dot = Dot::new(actor(1), ID);
    let mut container = Container::empty();
    container.add(dot, stored(bytes));
    container.fill(&seen());
    let replicate = PeerMessage::Replicate {
        exchange: ExchangeId(ID),
        timeout_millis: TIMEOUT_MILLIS,
        key: key(),
        dot,
        container: container.clone(),
        durability: Durability::Buffered,
        hint_for: None,
    };
    let read = ReplicaRead { container, complete: true };
    let read = PeerMessage::ReadReply { exchange: ExchangeId(ID), result: Ok(read) };
    let found = Response::Found { values: vec![value(bytes)], context: context() };
    let found = NodeMessage { id: RequestId(ID), result: Ok(found) };
    let name = |what: &str| format!("{what}, {bytes} B");
    [codec(&name("put"), put), codec(&name("replicate"), replicate), codec(&name("peer read reply"), read)]
        .into_iter()
        .chain([codec(&name("found, to a get"), found)])
        .flatten()
        .collect()
}

fn asked(request: Request) -> ClientMessage {
    ClientMessage { id: RequestId(ID), timeout_millis: TIMEOUT_MILLIS, request }
}

fn answer() -> Response {
    Response::Stored { siblings: 1, context: Some(context()) }
}

fn context() -> ContextToken {
    ContextKey::new([1; 32]).seal(&key(), &seen())
}

/// A message into a buffer that is large enough, and out of a chunk that was received.
fn codec<T: Serialize + DeserializeOwned + 'static>(name: &str, message: T) -> [Operation; 2] {
    let mut buffer = Vec::new();
    frame::encode(&message, &mut buffer).expect("it fits a frame");
    let (received, mut decoder) = (Bytes::from(buffer.clone()), Decoder::new());
    [
        Operation::new(format!("encode {name}"), move || {
            buffer.clear();
            frame::encode(black_box(&message), &mut buffer).expect("it fits a frame")
        }),
        Operation::new(format!("decode {name}"), move || -> T {
            decoder.extend(black_box(&received).clone());
            let payload = decoder.next().expect("sound").expect("whole");
            frame::decode(&payload).expect("of this type")
        }),
    ]
}
