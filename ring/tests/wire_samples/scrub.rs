//! Samples of what scrubs say to each other.

use super::*;

/// What a message's name ends with.
pub(super) fn detail(message: &ScrubMessage) -> String {
    let end = match message {
        ScrubMessage::Compared { outcome, .. } => likeness_name(outcome).to_owned(),
        ScrubMessage::Fetched { objects, .. } => replica_result(objects.as_ref().err()),
        ScrubMessage::Held { result, .. } => replica_result(result.as_ref().err()),
        ScrubMessage::Named { result, .. } => replica_result(result.as_ref().err()),
        ScrubMessage::Shared { result, .. } => replica_result(result.as_ref().err()),
        _ => String::new(),
    };
    format!("{}.{end}", scrub_name(message)).trim_end_matches('.').to_owned()
}

pub(super) fn questions() -> Vec<(&'static str, PeerMessage)> {
    let (exchange, partition) = (ExchangeId(0x1_0000_0001), PartitionId::new(5));
    let scrub = |message| PeerMessage::Scrub(message);
    let range = ScrubRange { partition, after: Some(key("a")), through: Some(key("b")) };
    let whole = ScrubRange { partition, after: None, through: None };
    let (clock, hash) = (u64::MAX, 7);
    vec![
        ("", scrub(ScrubMessage::Compare { exchange, range: range.clone(), clock, hash })),
        ("bare", scrub(ScrubMessage::Compare { exchange, range: whole.clone(), clock, hash })),
        ("", scrub(ScrubMessage::Fetch { exchange, range, clock, known: vec![0, u64::MAX] })),
        ("bare", scrub(ScrubMessage::Fetch { exchange, range: whole, clock, known: vec![] })),
        ("", scrub(ScrubMessage::Ask { exchange, key: key("a") })),
        ("", scrub(ScrubMessage::Name { exchange, partition, after: Some(key("a")) })),
        ("bare", scrub(ScrubMessage::Name { exchange, partition, after: None })),
        ("", scrub(ScrubMessage::Rest { exchange, partition, view: u64::MAX, actors: vec![dot(300, 1).actor] })),
        ("", scrub(ScrubMessage::Share { exchange, key: key("a"), container: container() })),
        ("", scrub(ScrubMessage::Agree { exchange, partition, view: u64::MAX, gaps: 9 })),
    ]
}

pub(super) fn replies() -> Vec<(&'static str, PeerMessage)> {
    let exchange = ExchangeId(u64::MAX);
    let scrub = |message| PeerMessage::Scrub(message);
    let objects = Ok(ScrubObjects(vec![StoredObject { key: key("a"), container: container() }]));
    let held = Ok(HeldObject { container: container(), clock: clock() });
    let named = Ok(NamedKeys { keys: vec![key("a"), key("b")], last: true });
    let mut replies = vec![
        ("", scrub(ScrubMessage::Compared { exchange, outcome: Likeness::Same })),
        ("", scrub(ScrubMessage::Compared { exchange, outcome: Likeness::Different })),
        ("", scrub(ScrubMessage::Compared { exchange, outcome: Likeness::Unlike })),
        ("", scrub(ScrubMessage::Fetched { exchange, objects })),
        ("", scrub(ScrubMessage::Held { exchange, result: held })),
        ("", scrub(ScrubMessage::Named { exchange, result: named })),
        ("", scrub(ScrubMessage::Rests { exchange, rests: true })),
        ("", scrub(ScrubMessage::Shared { exchange, result: Ok(()) })),
        ("", scrub(ScrubMessage::Agreed { exchange, agrees: false })),
    ];
    for error in [ReplicaError::Overloaded, ReplicaError::StorageFailed, ReplicaError::NotResponsible] {
        replies.push(("", scrub(ScrubMessage::Fetched { exchange, objects: Err(error) })));
        replies.push(("", scrub(ScrubMessage::Held { exchange, result: Err(error) })));
        replies.push(("", scrub(ScrubMessage::Named { exchange, result: Err(error) })));
        replies.push(("", scrub(ScrubMessage::Shared { exchange, result: Err(error) })));
    }
    replies
}
