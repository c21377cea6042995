//! The samples: for each variant one with everything in it, and where a field may be absent one called `bare` without.

use super::*;

pub(super) fn node(number: u32) -> NodeId {
    NodeId::new(number).expect("not 0")
}

pub(super) fn cluster(name: &str) -> ClusterName {
    ClusterName::new(name).expect("valid")
}

pub(super) fn key(name: &str) -> ObjectKey {
    ObjectKey::new(&bucket(), &Key::new(name.to_owned()).expect("valid"))
}

pub(super) fn bucket() -> BucketName {
    BucketName::new("photos").expect("valid")
}

pub(super) fn value(content: &'static [u8]) -> Value {
    Value::new(Bytes::from_static(content)).expect("small")
}

pub(super) fn token() -> ContextToken {
    ContextToken::from_bytes(Bytes::from_static(b"\x01token")).expect("short")
}

pub(super) fn dot(number: u32, counter: u64) -> Dot {
    Dot::new(Actor::new(node(number), Incarnation::new(0x3fa9_c04b_7d21_e6f8)), counter)
}

pub(super) fn container() -> Container<StoredValue> {
    let mut container = Container::empty();
    container.add(dot(1, 7), value(b"one").into());
    container.add(dot(300, 70_000), value(b"").into());
    container.record(dot(2, u64::MAX));
    container
}

/// With a value that expires.
pub(super) fn expiring() -> Container<StoredValue> {
    let mut container = container();
    let expires_at = Some(WallTime::from_millis(1_700_000_000_000));
    container.add(dot(2, 1), StoredValue { value: value(b"two"), expires_at });
    container
}

pub(super) fn put_item() -> PutItem {
    PutItem { key: key("a"), value: value(b"\x00\xff"), context: Some(token()), ttl_millis: None }
}

pub(super) fn roles() -> Vec<Role> {
    let (incarnation, ring, secret) = (Incarnation::new(1), 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
    vec![Role::Client, Role::Peer { node: node(7), incarnation, ring, secret }]
}

pub(super) fn hello(role: Role) -> Hello {
    Hello { protocol: 1, cluster: cluster("carts"), role }
}

pub(super) fn welcomes() -> Vec<Welcome> {
    let refusals = [
        Refusal::Protocol { node: 1, yours: 2 },
        Refusal::Cluster { node: cluster("carts"), yours: cluster("photos-2") },
        Refusal::Ring { node: 1, yours: u64::MAX },
        Refusal::Secret,
        Refusal::Identity { claimed: "n7".to_owned() },
        Refusal::Stopping,
    ];
    let accepted = Welcome::Accepted { protocol: 1, node: node(300), incarnation: Incarnation::new(u64::MAX) };
    std::iter::once(accepted).chain(refusals.map(Welcome::Refused)).collect()
}

pub(super) fn requests() -> Vec<(&'static str, Request)> {
    let durability = Some(Durability::Synced);
    let partition = PartitionId::new(1023);
    let bare_item = PutItem { context: None, ..put_item() };
    vec![
        ("", Request::Get { key: key("a"), r: Some(2), strict: false }),
        ("bare", Request::Get { key: key("a"), r: None, strict: false }),
        ("strict", Request::Get { key: key("a"), r: Some(2), strict: true }),
        ("", Request::GetRepaired { key: key("a") }),
        ("strict", Request::Put { item: put_item(), w: Some(3), durability, strict: true }),
        ("strict", Request::Delete { key: key("a"), context: token(), w: Some(1), durability, strict: true }),
        ("strict", Request::GetMany { keys: vec![key("a"), key("b")], r: Some(1), strict: true }),
        (
            "strict",
            Request::PutMany { items: vec![put_item(), bare_item.clone()], w: Some(2), durability, strict: true },
        ),
        ("", Request::Put { item: put_item(), w: Some(3), durability, strict: false }),
        (
            "ttl",
            Request::Put {
                item: PutItem { ttl_millis: Some(30_000), ..put_item() },
                w: None,
                durability: None,
                strict: false,
            },
        ),
        ("buffered", Request::Put { item: put_item(), w: None, durability: Some(Durability::Buffered), strict: false }),
        ("bare", Request::Put { item: bare_item.clone(), w: None, durability: None, strict: false }),
        ("", Request::Delete { key: key("a"), context: token(), w: Some(1), durability, strict: false }),
        ("bare", Request::Delete { key: key("a"), context: token(), w: None, durability: None, strict: false }),
        ("", Request::GetMany { keys: vec![key("a"), key("b")], r: Some(1), strict: false }),
        ("bare", Request::GetMany { keys: vec![], r: None, strict: false }),
        ("", Request::PutMany { items: vec![put_item(), bare_item], w: Some(2), durability, strict: false }),
        ("bare", Request::PutMany { items: vec![], w: None, durability: None, strict: false }),
        ("", Request::Scan { bucket: bucket(), partition, after: Some(key("a")), limit: 1000, r: Some(2) }),
        ("bare", Request::Scan { bucket: bucket(), partition, after: None, limit: 1, r: None }),
        ("", Request::Ring),
        ("", Request::Status),
        ("", Request::Layout),
        ("take", Request::ChangeLayout(LayoutChange::Wish { node: node(4), change: Change::Take(role()) })),
        ("leave", wish_to_leave(false)),
        ("removed", wish_to_leave(true)),
        ("commit", Request::ChangeLayout(LayoutChange::Commit { epoch: EpochId { number: 7, hash: u64::MAX } })),
        ("revert", Request::ChangeLayout(LayoutChange::Revert)),
    ]
}

pub(super) fn wish_to_leave(forced: bool) -> Request {
    Request::ChangeLayout(LayoutChange::Wish { node: node(4), change: Change::Leave { forced } })
}

pub(super) fn role() -> layout::Role {
    layout::Role {
        address: "10.0.0.4:7401".to_owned(),
        zone: Some(ZoneName::new("rack-1").expect("valid")),
        capacity: Capacity::new(200).expect("not 0"),
    }
}

pub(super) fn responses() -> Vec<(&'static str, Response)> {
    let found = Response::Found { values: vec![value(b"one"), value(b"")], context: token() };
    let item = ScanItem { key: key("a"), values: vec![value(b"one")], context: token() };
    let many = vec![(0, Ok(found.clone())), (1023, Err(RequestError::Stopping { node: node(1) }))];
    let mut responses = vec![
        ("", found),
        ("bare", Response::Found { values: vec![], context: token() }),
        ("", Response::Stored { siblings: 1, context: Some(token()) }),
        ("bare", Response::Stored { siblings: 70_000, context: None }),
        ("", Response::Many(many)),
        ("", Response::Page { items: vec![item], next: Some(key("a")) }),
        ("bare", Response::Page { items: vec![], next: None }),
        ("", Response::Ring(ring_description())),
        ("", Response::Layout(Box::new(layouts::layout()))),
    ];
    let starts = [StartKind::First, StartKind::Clean, StartKind::ProcessCrash, StartKind::PossibleLoss];
    assert_eq!(starts.each_ref().map(start_name), STARTS);
    responses.extend(starts.map(|start| (start_name(&start), Response::Status(Box::new(status(start))))));
    responses.extend([("usage", usage()), ("usage.bare", Usage::default())].map(|(name, usage)| {
        let status = NodeStatus { usage: Some(usage), ..status(StartKind::First) };
        (name, Response::Status(Box::new(status)))
    }));
    responses
}

pub(super) fn ring_description() -> RingDescription {
    let member = |number, zone: Option<&str>| MemberDescription {
        node: node(number),
        address: format!("10.0.0.{number}:7401"),
        zone: zone.map(|name| ZoneName::new(name).expect("valid")),
        capacity: Capacity::new(100 * number).expect("not 0"),
    };
    RingDescription {
        cluster: cluster("carts"),
        replicas: 3,
        partitions: PartitionCount::new(8).expect("valid"),
        members: vec![member(1, Some("rack-1")), member(2, None)],
        owners: vec![0, 1, 0, 1, 0, 1, 0, 1],
    }
}

pub(super) fn usage() -> Usage {
    Usage {
        context_switches: Some(33),
        disk_bytes_read: Some(34),
        disk_bytes_written: Some(35),
        peer_bytes_sent: 36,
        peer_bytes_received: 37,
        client_bytes_sent: 38,
        client_bytes_received: 39,
    }
}

pub(super) fn status(start: StartKind) -> NodeStatus {
    let problem = Some("connection refused".to_owned());
    NodeStatus {
        node: node(1),
        cluster: cluster("carts"),
        release: "0.1.0".to_owned(),
        incarnation: Incarnation::new(0x3fa9_c04b_7d21_e6f8),
        start,
        complete: true,
        uptime_millis: 1,
        shards: 2,
        partitions: 3,
        peers: vec![
            PeerStatus { node: node(2), connected: true, problem: None },
            PeerStatus { node: node(3), connected: false, problem },
        ],
        gets: 4,
        puts: 5,
        deletes: 6,
        errors: 7,
        overloads: 2,
        repairs: 8,
        in_flight: 9,
        keys_about: 10,
        disk_bytes: 11,
        memory_bytes: 12,
        cpu_micros: 13,
        sync: SyncStatus {
            age_millis: Some(14),
            partitions_behind: 15,
            partitions_differing: 16,
            exchanges: 17,
            keys_received: 18,
            bytes_received: 19,
            transfers: 20,
            scrub: ScrubStatus {
                partitions_scrubbed: 24,
                partitions: 25,
                rounds: 26,
                round_age_millis: Some(27),
                keys_unreadable: 28,
                ranges_differing: 29,
                faults_mended: 30,
                pages_uncompared: 31,
                pages_unreadable: 32,
            },
        },
        hints: vec![HintStatus { target: node(2), count: 21, bytes: 22, age_millis: 23, outstanding_from: 24 }],
        hints_counted: true,
        hints_mark: 25,
        usage: None,
    }
}

pub(super) fn errors() -> Vec<RequestError> {
    let answers: Vec<_> = (1..).map(node).zip(replica_answers()).collect();
    let contexts = [
        InvalidContext::Truncated { bytes: 3 },
        InvalidContext::Format { format: 9 },
        InvalidContext::Forged,
        InvalidContext::TooLong { bytes: 65_537 },
        InvalidContext::NotText,
    ];
    let mut errors = vec![
        RequestError::Invalid { reason: "w = 4 is more than n = 3".to_owned() },
        RequestError::TooManySiblings { siblings: 1024, bytes: 4096 },
        RequestError::ReadQuorum { needed: 2, reached: 1, answers: answers.clone() },
        RequestError::WriteQuorum { needed: 2, reached: 1, answers: answers.clone() },
        RequestError::Overloaded { node: node(1), what: "requests in flight".to_owned() },
        RequestError::StorageFailed { node: node(1), reason: "no space left".to_owned() },
        RequestError::NoPrimary { node: node(4), answers },
        RequestError::ForwardLost { node: node(4), primary: node(1) },
        RequestError::Stopping { node: node(1) },
    ];
    errors.extend(contexts.map(RequestError::Context));
    errors
}

pub(super) fn replica_answers() -> [ReplicaAnswer; 8] {
    let answers = [
        ReplicaAnswer::Done,
        ReplicaAnswer::CatchingUp,
        ReplicaAnswer::Overloaded,
        ReplicaAnswer::StorageFailed,
        ReplicaAnswer::NotResponsible,
        ReplicaAnswer::Unreachable,
        ReplicaAnswer::Silent,
        ReplicaAnswer::NotAsked,
    ];
    assert_eq!(answers.each_ref().map(replica_answer_name), REPLICA_ANSWERS);
    answers
}

/// A message of the scrub, and how it ends.
pub(super) fn peer_questions() -> Vec<(&'static str, PeerMessage)> {
    let (exchange, timeout_millis) = (ExchangeId(0x1_0000_0001), 1500);
    let (partition, container) = (PartitionId::new(5), container());
    let replicate = |durability| {
        let (key, dot, container) = (key("a"), dot(300, 70_000), container.clone());
        PeerMessage::Replicate { exchange, timeout_millis, key, dot, container, durability, hint_for: None }
    };
    let hint = {
        let (key, dot, container, durability) = (key("a"), dot(1, 7), container.clone(), Durability::Buffered);
        PeerMessage::Replicate { exchange, timeout_millis, key, dot, container, durability, hint_for: Some(node(2)) }
    };
    let handed = Handed { key: key("a"), container: container.clone(), dots: vec![dot(1, 7), dot(300, 70_000)] };
    let hand = |hints| PeerMessage::Hint(HintMessage::Hand { exchange, partition, hints });
    let scan = |after| PeerMessage::Scan { exchange, timeout_millis, bucket: bucket(), partition, after, limit: 1024 };
    let forward = |request| PeerMessage::Forward { exchange, timeout_millis, request };
    let mut questions = vec![
        ("", PeerMessage::Read { exchange, timeout_millis, key: key("a"), stand_in: false }),
        ("stand_in", PeerMessage::Read { exchange, timeout_millis, key: key("a"), stand_in: true }),
        ("hint", hint),
        ("", hand(vec![handed])),
        ("bare", hand(vec![])),
        ("", replicate(Durability::Buffered)),
        ("", replicate(Durability::Synced)),
        ("", PeerMessage::Repair { key: key("a"), container: container.clone(), exchange: None }),
        ("expiring", PeerMessage::Repair { key: key("a"), container: expiring(), exchange: None }),
        ("told", PeerMessage::Repair { key: key("a"), container: container.clone(), exchange: Some(ExchangeId(7)) }),
        ("bare", PeerMessage::Repair { key: key("a"), container: Container::empty(), exchange: None }),
        ("", PeerMessage::Known { incarnations: vec![Incarnation::new(7), Incarnation::new(u64::MAX)] }),
        ("", scan(Some(key("a")))),
        ("bare", scan(None)),
    ];
    questions.extend(layouts::questions());
    let sync = |message| PeerMessage::Sync(message);
    questions.extend([
        (
            "",
            sync(SyncMessage::Compare {
                exchange,
                from: partition,
                through: PartitionId::new(1023),
                hash: u64::MAX,
                epoch: 0,
            }),
        ),
        ("epoch", sync(SyncMessage::Compare { exchange, from: partition, through: partition, hash: 1, epoch: 7 })),
        ("", sync(SyncMessage::Fetch { exchange, partitions: vec![(partition, clock())] })),
        ("bare", sync(SyncMessage::Fetch { exchange, partitions: vec![(partition, NodeClock::new())] })),
        ("", sync(SyncMessage::Transfer { exchange, partition, after: Some(key("a")) })),
        ("bare", sync(SyncMessage::Transfer { exchange, partition, after: None })),
    ]);
    questions.extend(scrub::questions());
    let writes =
        requests().into_iter().filter(|(_, request)| matches!(request, Request::Put { .. } | Request::Delete { .. }));
    questions.extend(writes.map(|(label, request)| (label, forward(request))));
    questions
}

/// A clock with events beyond its base.
pub(super) fn clock() -> NodeClock {
    let mut clock = NodeClock::new();
    [dot(1, 1), dot(1, 2), dot(300, 70_000)].into_iter().for_each(|dot| _ = clock.add(dot));
    clock
}

pub(super) fn peer_replies() -> Vec<(&'static str, PeerMessage)> {
    let exchange = ExchangeId(u64::MAX);
    let object = StoredObject { key: key("a"), container: container() };
    let page = ReplicaPage { objects: vec![object], base: container().vector().clone(), last: false, complete: true };
    let bare_page = ReplicaPage { objects: vec![], base: VersionVector::new(), last: true, complete: false };
    let read = ReplicaRead { container: container(), complete: true };
    let taken = Taken { stored: 3, grant_bytes: 65_536, pause_millis: 20 };
    let stored = Response::Stored { siblings: 1, context: Some(token()) };
    let mut replies = vec![
        ("", PeerMessage::ReadReply { exchange, result: Ok(read) }),
        ("", PeerMessage::ReplicateReply { exchange, result: Ok(()) }),
        ("", PeerMessage::ScanReply { exchange, result: Ok(page) }),
        ("bare", PeerMessage::ScanReply { exchange, result: Ok(bare_page) }),
        ("", PeerMessage::Hint(HintMessage::Taken { exchange, result: Ok(taken) })),
        ("", PeerMessage::ForwardReply { exchange, result: Ok(stored) }),
        ("", PeerMessage::ForwardReply { exchange, result: Err(RequestError::Stopping { node: node(1) }) }),
    ];
    let partition = PartitionId::new(7);
    let touched = PieceObject { key: key("a"), container: container(), dots: vec![dot(1, 7)] };
    let piece = Piece {
        partition,
        clock: clock(),
        objects: vec![touched],
        closed: vec![dot(300, 70_000)],
        unlogged: true,
        more: false,
    };
    let object = StoredObject { key: key("a"), container: container() };
    let page = TransferPage { objects: vec![object], clock: clock(), last: false };
    let sync = |message| PeerMessage::Sync(message);
    replies.extend([
        ("", sync(SyncMessage::Compared { exchange, through: partition, hashes: Some(vec![0, u64::MAX]) })),
        ("same", sync(SyncMessage::Compared { exchange, through: partition, hashes: None })),
        ("", sync(SyncMessage::Fetched { exchange, pieces: vec![piece] })),
        ("", sync(SyncMessage::Transferred { exchange, page: Ok(page) })),
    ]);
    replies.extend(scrub::replies());
    for error in [ReplicaError::Overloaded, ReplicaError::StorageFailed, ReplicaError::NotResponsible] {
        replies.push(("", PeerMessage::ReadReply { exchange, result: Err(error) }));
        replies.push(("", PeerMessage::ReplicateReply { exchange, result: Err(error) }));
        replies.push(("", PeerMessage::ScanReply { exchange, result: Err(error) }));
        replies.push(("", PeerMessage::Hint(HintMessage::Taken { exchange, result: Err(error) })));
        replies.push(("", PeerMessage::Sync(SyncMessage::Transferred { exchange, page: Err(error) })));
    }
    replies
}
