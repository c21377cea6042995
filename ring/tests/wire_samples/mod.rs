//! A sample of every variant of every message, with a name that tells which it is.

mod layouts;
mod messages;
mod scrub;

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_ring::layout::{self, Change, EpochId, Layout};
use quorate_ring::version::*;
use quorate_ring::wire::frame::{self, HEADER_BYTES};
use quorate_ring::wire::*;
use quorate_ring::*;
use serde::{Deserialize, Serialize};

use messages::*;

/// Makes a function that names an enum's variant, and one that lists all names. The match in it has no wildcard, so it does not
/// compile until a new variant is listed, and the test does not pass until a listed variant has a sample.
macro_rules! variants {
    ($name:ident, $all:ident, $type:ident { $($variant:ident),* $(,)? }) => {
        fn $name(value: &$type) -> &'static str {
            match value { $($type::$variant { .. } => stringify!($variant)),* }
        }
        pub(crate) const $all: &[&str] = &[$(stringify!($variant)),*];
    };
}

variants!(role_name, ROLES, Role { Client, Peer });
variants!(welcome_name, WELCOMES, Welcome { Accepted, Refused });
variants!(refusal_name, REFUSALS, Refusal { Protocol, Cluster, Ring, Secret, Identity, Stopping });
variants!(
    request_name,
    REQUESTS,
    Request { Get, GetRepaired, Put, Delete, GetMany, PutMany, Scan, Ring, Status, Layout, ChangeLayout }
);
variants!(response_name, RESPONSES, Response { Found, Stored, Many, Page, Ring, Status, Layout });
variants!(
    error_name,
    ERRORS,
    RequestError {
        Invalid,
        Context,
        TooManySiblings,
        ReadQuorum,
        WriteQuorum,
        Overloaded,
        StorageFailed,
        NoPrimary,
        ForwardLost,
        Stopping,
    }
);
variants!(
    replica_answer_name,
    REPLICA_ANSWERS,
    ReplicaAnswer { Done, CatchingUp, Overloaded, StorageFailed, NotResponsible, Unreachable, Silent, NotAsked }
);
variants!(replica_error_name, REPLICA_ERRORS, ReplicaError { Overloaded, StorageFailed, NotResponsible });
variants!(durability_name, DURABILITIES, Durability { Buffered, Synced });
variants!(start_name, STARTS, StartKind { First, Clean, ProcessCrash, PossibleLoss });
variants!(
    peer_message_name,
    PEER_MESSAGES,
    PeerMessage {
        Read,
        ReadReply,
        Replicate,
        ReplicateReply,
        Repair,
        Known,
        Scan,
        ScanReply,
        Forward,
        ForwardReply,
        Hint,
        Sync,
        Scrub,
        Layout,
    }
);
variants!(hint_name, HINT_MESSAGES, HintMessage { Hand, Taken });
variants!(sync_name, SYNC_MESSAGES, SyncMessage { Compare, Compared, Fetch, Fetched, Transfer, Transferred });
variants!(
    scrub_name,
    SCRUB_MESSAGES,
    ScrubMessage {
        Compare,
        Compared,
        Fetch,
        Fetched,
        Ask,
        Held,
        Name,
        Named,
        Rest,
        Rests,
        Share,
        Shared,
        Agree,
        Agreed
    }
);
variants!(likeness_name, LIKENESSES, Likeness { Same, Different, Unlike });
variants!(context_error_name, CONTEXT_ERRORS, InvalidContext { Truncated, Format, Forged, TooLong, NotText });

/// What a line of the fixtures is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    Hello(Hello),
    Welcome(Welcome),
    Client(ClientMessage),
    Node(NodeMessage),
    Peer(PeerMessage),
    /// Not the payload alone but the whole frame.
    Frame(Hello),
}

impl Message {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Hello(hello) => format!("hello.{}", role_name(&hello.role)),
            Self::Welcome(Welcome::Refused(refusal)) => format!("welcome.Refused.{}", refusal_name(refusal)),
            Self::Welcome(welcome) => format!("welcome.{}", welcome_name(welcome)),
            Self::Client(message) => format!("client.{}", request_name(&message.request)),
            Self::Node(message) => format!("node.{}", answer_name(&message.result)),
            Self::Peer(message) => peer_name(message),
            Self::Frame(hello) => format!("frame.{}", role_name(&hello.role)),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello(message) => payload(message),
            Self::Welcome(message) => payload(message),
            Self::Client(message) => payload(message),
            Self::Node(message) => payload(message),
            Self::Peer(message) => payload(message),
            Self::Frame(message) => framed(message),
        }
    }

    pub(crate) fn decode(name: &str, bytes: &[u8]) -> Self {
        match name.split('.').next() {
            Some("hello") => Self::Hello(decode(name, bytes)),
            Some("welcome") => Self::Welcome(decode(name, bytes)),
            Some("client") => Self::Client(decode(name, bytes)),
            Some("node") => Self::Node(decode(name, bytes)),
            Some("peer") => Self::Peer(decode(name, bytes)),
            Some("frame") => {
                let mut decoder = frame::Decoder::new();
                decoder.push(bytes);
                let payload = decoder.next().expect("a sound frame").expect("a whole frame");
                Self::Frame(decode(name, &payload))
            }
            _ => panic!("{name} is no kind of message"),
        }
    }
}

fn answer_name(answer: &Result<Response, RequestError>) -> String {
    match answer {
        Ok(response) => format!("Ok.{}", response_name(response)),
        Err(RequestError::Context(error)) => format!("Err.Context.{}", context_error_name(error)),
        Err(error) => format!("Err.{}", error_name(error)),
    }
}

fn replica_result(error: Option<&ReplicaError>) -> String {
    error.map_or("Ok".to_owned(), |error| format!("Err.{}", replica_error_name(error)))
}

fn peer_name(message: &PeerMessage) -> String {
    let detail = match message {
        PeerMessage::ReadReply { result, .. } => replica_result(result.as_ref().err()),
        PeerMessage::ReplicateReply { result, .. } => replica_result(result.as_ref().err()),
        PeerMessage::ScanReply { result, .. } => replica_result(result.as_ref().err()),
        PeerMessage::Replicate { durability, .. } => durability_name(durability).to_owned(),
        PeerMessage::Forward { request, .. } => request_name(request).to_owned(),
        PeerMessage::ForwardReply { result, .. } => answer_name(result),
        PeerMessage::Hint(HintMessage::Taken { result, .. }) => {
            format!("Taken.{}", replica_result(result.as_ref().err()))
        }
        PeerMessage::Hint(hint) => hint_name(hint).to_owned(),
        PeerMessage::Sync(SyncMessage::Transferred { page, .. }) => {
            format!("Transferred.{}", replica_result(page.as_ref().err()))
        }
        PeerMessage::Sync(sync) => sync_name(sync).to_owned(),
        PeerMessage::Scrub(scrub) => scrub::detail(scrub),
        PeerMessage::Read { .. }
        | PeerMessage::Repair { .. }
        | PeerMessage::Known { .. }
        | PeerMessage::Scan { .. } => String::new(),
        PeerMessage::Layout(message) => layouts::detail(message).to_owned(),
    };
    format!("peer.{}.{detail}", peer_message_name(message)).trim_end_matches('.').to_owned()
}

fn framed<T: Serialize>(message: &T) -> Vec<u8> {
    let mut buffer = Vec::new();
    frame::encode(message, &mut buffer).expect("a sample fits a frame");
    buffer
}

fn payload<T: Serialize>(message: &T) -> Vec<u8> {
    framed(message).split_off(HEADER_BYTES)
}

fn decode<'de, T: Deserialize<'de>>(name: &str, payload: &'de [u8]) -> T {
    frame::decode(payload).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All samples by name, in the order of the fixtures.
pub(crate) fn samples() -> BTreeMap<String, Message> {
    let client = |request| Message::Client(ClientMessage { id: RequestId(1), timeout_millis: 10_000, request });
    let node = |result| Message::Node(NodeMessage { id: RequestId(u64::MAX), result });
    let mut labelled: Vec<(&str, Message)> = Vec::new();
    labelled.extend(roles().into_iter().map(|role| ("", Message::Hello(hello(role)))));
    labelled.extend(roles().into_iter().map(|role| ("", Message::Frame(hello(role)))));
    labelled.extend(welcomes().into_iter().map(|welcome| ("", Message::Welcome(welcome))));
    labelled.extend(requests().into_iter().map(|(label, request)| (label, client(request))));
    labelled.extend(responses().into_iter().map(|(label, response)| (label, node(Ok(response)))));
    labelled.extend(errors().into_iter().map(|error| ("", node(Err(error)))));
    labelled.extend(peer_questions().into_iter().map(|(label, message)| (label, Message::Peer(message))));
    labelled.extend(peer_replies().into_iter().map(|(label, message)| (label, Message::Peer(message))));
    let mut samples = BTreeMap::new();
    for (label, message) in labelled {
        let name = format!("{}.{label}", message.name()).trim_end_matches('.').to_owned();
        assert!(samples.insert(name.clone(), message).is_none(), "two samples are called {name}");
    }
    samples
}
