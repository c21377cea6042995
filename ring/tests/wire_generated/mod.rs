//! Generated messages of all kinds, within the bounds that a decoder holds them to.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use quorate_ring::version::*;
use quorate_ring::wire::*;
use quorate_ring::*;

pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey::new(&bucket("b"), &Key::new(name.to_owned()).expect("valid"))
}

pub(crate) fn bucket(name: &str) -> BucketName {
    BucketName::new(name).expect("valid")
}

/// A ring that is as it should be.
pub(crate) fn ring_of(members: u16, partitions: u32) -> RingDescription {
    let member = |number: u16| MemberDescription {
        node: NodeId::new(u32::from(number) + 1).expect("not 0"),
        address: format!("10.0.0.{number}:7401"),
        zone: number.is_multiple_of(2).then(|| ZoneName::new("even").expect("valid")),
        capacity: Capacity::default(),
    };
    RingDescription {
        cluster: ClusterName::new("carts").expect("valid"),
        replicas: 3,
        partitions: PartitionCount::new(partitions).expect("valid"),
        members: (0..members).map(member).collect(),
        owners: (0..partitions).map(|number| u16::try_from(number).expect("few partitions") % members).collect(),
    }
}

fn node() -> impl Strategy<Value = NodeId> {
    (1..=u32::MAX).prop_map(|number| NodeId::new(number).expect("not 0"))
}

fn cluster() -> impl Strategy<Value = ClusterName> {
    "[a-z0-9]{1,31}-?[a-z0-9]{1,31}".prop_map(|name| ClusterName::new(&name).expect("valid"))
}

fn incarnation() -> impl Strategy<Value = Incarnation> {
    any::<u64>().prop_map(Incarnation::new)
}

fn bucket_name() -> impl Strategy<Value = BucketName> {
    "[a-z0-9][a-z0-9._-]{0,63}".prop_map(|name| bucket(&name))
}

fn object_key() -> impl Strategy<Value = ObjectKey> {
    let key = vec(any::<u8>(), 1..20).prop_map(|key| Key::new(key).expect("valid"));
    (bucket_name(), key).prop_map(|(bucket, key)| ObjectKey::new(&bucket, &key))
}

fn value() -> impl Strategy<Value = Value> {
    vec(any::<u8>(), 0..300).prop_map(|value| Value::new(value).expect("small"))
}

fn stored_value() -> impl Strategy<Value = StoredValue> {
    let expires_at = option::of(any::<u64>().prop_map(WallTime::from_millis));
    (value(), expires_at).prop_map(|(value, expires_at)| StoredValue { value, expires_at })
}

fn token() -> impl Strategy<Value = ContextToken> {
    vec(any::<u8>(), 0..80).prop_map(|token| ContextToken::from_bytes(Bytes::from(token)).expect("short"))
}

fn dot() -> impl Strategy<Value = Dot> {
    let actor = (node(), incarnation()).prop_map(|(node, incarnation)| Actor::new(node, incarnation));
    (actor, 1..=u64::MAX).prop_map(|(actor, counter)| Dot::new(actor, counter))
}

fn vector() -> impl Strategy<Value = VersionVector> {
    vec(dot(), 0..5).prop_map(|dots| dots.into_iter().collect())
}

fn container() -> impl Strategy<Value = Container<StoredValue>> {
    (prop::collection::btree_map(dot(), stored_value(), 0..4), vector()).prop_map(|(values, known)| {
        let mut container = Container::empty();
        values.into_iter().for_each(|(dot, value)| container.add(dot, value));
        container.fill(&known);
        container
    })
}

pub(crate) fn hello() -> impl Strategy<Value = Hello> {
    let peer = (node(), incarnation(), any::<(u64, u64)>());
    let peer = peer.prop_map(|(node, incarnation, (ring, secret))| Role::Peer { node, incarnation, ring, secret });
    let role = prop_oneof![Just(Role::Client), peer];
    (any::<u16>(), cluster(), role).prop_map(|(protocol, cluster, role)| Hello { protocol, cluster, role })
}

pub(crate) fn welcome() -> impl Strategy<Value = Welcome> {
    let accepted = (any::<u16>(), node(), incarnation());
    let accepted = accepted.prop_map(|(protocol, node, incarnation)| Welcome::Accepted { protocol, node, incarnation });
    let refusal = prop_oneof![
        any::<(u16, u16)>().prop_map(|(node, yours)| Refusal::Protocol { node, yours }),
        (cluster(), cluster()).prop_map(|(node, yours)| Refusal::Cluster { node, yours }),
        any::<(u64, u64)>().prop_map(|(node, yours)| Refusal::Ring { node, yours }),
        Just(Refusal::Secret),
        any::<String>().prop_map(|claimed| Refusal::Identity { claimed }),
        Just(Refusal::Stopping),
    ];
    prop_oneof![accepted, refusal.prop_map(Welcome::Refused)]
}

fn durability() -> impl Strategy<Value = Durability> {
    prop_oneof![Just(Durability::Buffered), Just(Durability::Synced)]
}

fn put_item() -> impl Strategy<Value = PutItem> {
    let item = (object_key(), value(), option::of(token()), any::<Option<u64>>());
    item.prop_map(|(key, value, context, ttl_millis)| PutItem { key, value, context, ttl_millis })
}

fn write() -> impl Strategy<Value = Request> {
    let (w, durability) = (any::<Option<u8>>, || option::of(durability()));
    let put = (put_item(), w(), durability(), any::<bool>());
    let delete = (object_key(), token(), w(), durability(), any::<bool>());
    prop_oneof![
        put.prop_map(|(item, w, durability, strict)| Request::Put { item, w, durability, strict }),
        delete.prop_map(|(key, context, w, durability, strict)| Request::Delete {
            key,
            context,
            w,
            durability,
            strict
        }),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let put_many = (vec(put_item(), 0..4), any::<Option<u8>>(), option::of(durability()), any::<bool>());
    let partition = any::<u16>().prop_map(PartitionId::new);
    let scan = (bucket_name(), partition, option::of(object_key()), 1..=1024_u32, any::<Option<u8>>());
    prop_oneof![
        write(),
        (object_key(), any::<Option<u8>>(), any::<bool>()).prop_map(|(key, r, strict)| Request::Get { key, r, strict }),
        object_key().prop_map(|key| Request::GetRepaired { key }),
        (vec(object_key(), 0..4), any::<Option<u8>>(), any::<bool>()).prop_map(|(keys, r, strict)| Request::GetMany {
            keys,
            r,
            strict
        }),
        put_many.prop_map(|(items, w, durability, strict)| Request::PutMany { items, w, durability, strict }),
        scan.prop_map(|(bucket, partition, after, limit, r)| Request::Scan { bucket, partition, after, limit, r }),
        Just(Request::Ring),
        Just(Request::Status),
        Just(Request::Layout),
    ]
}

pub(crate) fn client_message() -> impl Strategy<Value = ClientMessage> {
    (any::<u64>(), any::<u32>(), request()).prop_map(|(id, timeout_millis, request)| ClientMessage {
        id: RequestId(id),
        timeout_millis,
        request,
    })
}

fn answers() -> impl Strategy<Value = Vec<(NodeId, ReplicaAnswer)>> {
    let answer = prop::sample::select(vec![
        ReplicaAnswer::Done,
        ReplicaAnswer::CatchingUp,
        ReplicaAnswer::Overloaded,
        ReplicaAnswer::StorageFailed,
        ReplicaAnswer::NotResponsible,
        ReplicaAnswer::Unreachable,
        ReplicaAnswer::Silent,
        ReplicaAnswer::NotAsked,
    ]);
    vec((node(), answer), 0..16)
}

fn error() -> impl Strategy<Value = RequestError> {
    let context = prop_oneof![
        any::<usize>().prop_map(|bytes| InvalidContext::Truncated { bytes }),
        any::<u8>().prop_map(|format| InvalidContext::Format { format }),
        Just(InvalidContext::Forged),
        any::<usize>().prop_map(|bytes| InvalidContext::TooLong { bytes }),
        Just(InvalidContext::NotText),
    ];
    let quorum = || (any::<u8>(), any::<u8>(), answers());
    prop_oneof![
        any::<String>().prop_map(|reason| RequestError::Invalid { reason }),
        context.prop_map(RequestError::Context),
        any::<(u32, u64)>().prop_map(|(siblings, bytes)| RequestError::TooManySiblings { siblings, bytes }),
        quorum().prop_map(|(needed, reached, answers)| RequestError::ReadQuorum { needed, reached, answers }),
        quorum().prop_map(|(needed, reached, answers)| RequestError::WriteQuorum { needed, reached, answers }),
        (node(), any::<String>()).prop_map(|(node, what)| RequestError::Overloaded { node, what }),
        (node(), any::<String>()).prop_map(|(node, reason)| RequestError::StorageFailed { node, reason }),
        (node(), answers()).prop_map(|(node, answers)| RequestError::NoPrimary { node, answers }),
        (node(), node()).prop_map(|(node, primary)| RequestError::ForwardLost { node, primary }),
        node().prop_map(|node| RequestError::Stopping { node }),
    ]
}

fn status() -> impl Strategy<Value = NodeStatus> {
    let peer = (node(), any::<bool>(), any::<Option<String>>());
    let peer = peer.prop_map(|(node, connected, problem)| PeerStatus { node, connected, problem });
    let starts = vec![StartKind::First, StartKind::Clean, StartKind::ProcessCrash, StartKind::PossibleLoss];
    let who = (node(), cluster(), any::<String>(), incarnation(), prop::sample::select(starts));
    let counts = (any::<u16>(), any::<u32>(), any::<[u64; 12]>(), option::of(usage()));
    (who, counts, vec(peer, 0..4)).prop_map(|(who, (shards, partitions, counts, usage), peers)| {
        let (node, cluster, release, incarnation, start) = who;
        let [
            uptime_millis,
            gets,
            puts,
            deletes,
            errors,
            overloads,
            repairs,
            in_flight,
            keys_about,
            disk_bytes,
            memory_bytes,
            cpu_micros,
        ] = counts;
        NodeStatus {
            node,
            cluster,
            release,
            incarnation,
            start,
            complete: gets % 2 == 0,
            uptime_millis,
            shards,
            partitions,
            peers,
            gets,
            puts,
            deletes,
            errors,
            overloads,
            repairs,
            in_flight,
            keys_about,
            disk_bytes,
            memory_bytes,
            cpu_micros,
            sync: SyncStatus {
                age_millis: (gets % 3 == 0).then_some(puts),
                keys_received: deletes,
                ..SyncStatus::default()
            },
            hints: vec![HintStatus {
                target: node,
                count: gets,
                bytes: puts,
                age_millis: errors,
                outstanding_from: deletes,
            }],
            hints_counted: puts % 2 == 0,
            hints_mark: repairs,
            usage,
        }
    })
}

fn usage() -> impl Strategy<Value = Usage> {
    (any::<[Option<u64>; 3]>(), any::<[u64; 4]>()).prop_map(|(of_kernel, of_network)| Usage {
        context_switches: of_kernel[0],
        disk_bytes_read: of_kernel[1],
        disk_bytes_written: of_kernel[2],
        peer_bytes_sent: of_network[0],
        peer_bytes_received: of_network[1],
        client_bytes_sent: of_network[2],
        client_bytes_received: of_network[3],
    })
}

fn single_response() -> impl Strategy<Value = Response> {
    let item = (object_key(), vec(value(), 1..3), token());
    let item = item.prop_map(|(key, values, context)| ScanItem { key, values, context });
    let stored = (any::<u32>(), option::of(token()));
    prop_oneof![
        (vec(value(), 0..4), token()).prop_map(|(values, context)| Response::Found { values, context }),
        stored.prop_map(|(siblings, context)| Response::Stored { siblings, context }),
        (vec(item, 0..3), option::of(object_key())).prop_map(|(items, next)| Response::Page { items, next }),
        (1..9_u16, 3..8_u32).prop_map(|(members, power)| Response::Ring(ring_of(members, 1 << power))),
        status().prop_map(|status| Response::Status(Box::new(status))),
    ]
}

fn single_result() -> impl Strategy<Value = Result<Response, RequestError>> {
    prop_oneof![single_response().prop_map(Ok), error().prop_map(Err)]
}

fn result() -> impl Strategy<Value = Result<Response, RequestError>> {
    let many = vec((any::<u32>(), single_result()), 0..4).prop_map(|answers| Ok(Response::Many(answers)));
    prop_oneof![3 => single_result(), 1 => many]
}

pub(crate) fn node_message() -> impl Strategy<Value = NodeMessage> {
    (any::<u64>(), result()).prop_map(|(id, result)| NodeMessage { id: RequestId(id), result })
}

fn replica_result<T: Clone + std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Result<T, ReplicaError>> {
    let errors = vec![ReplicaError::Overloaded, ReplicaError::StorageFailed, ReplicaError::NotResponsible];
    prop_oneof![value.prop_map(Ok), prop::sample::select(errors).prop_map(Err)]
}

fn question() -> impl Strategy<Value = PeerMessage> {
    let asked = || (any::<u64>().prop_map(ExchangeId), any::<u32>());
    let replicate = (asked(), object_key(), dot(), container(), durability(), option::of(node()));
    let partition = any::<u16>().prop_map(PartitionId::new);
    let handed = (object_key(), container(), vec(dot(), 0..4));
    let handed = handed.prop_map(|(key, container, dots)| Handed { key, container, dots });
    let hand = (any::<u64>(), partition.clone(), vec(handed, 0..3));
    let scan = (asked(), bucket_name(), partition, option::of(object_key()), 1..=1024_u32);
    prop_oneof![
        (asked(), object_key(), any::<bool>()).prop_map(|((exchange, timeout_millis), key, stand_in)| {
            PeerMessage::Read { exchange, timeout_millis, key, stand_in }
        }),
        replicate.prop_map(|((exchange, timeout_millis), key, dot, container, durability, hint_for)| {
            PeerMessage::Replicate { exchange, timeout_millis, key, dot, container, durability, hint_for }
        }),
        hand.prop_map(|(exchange, partition, hints)| {
            PeerMessage::Hint(HintMessage::Hand { exchange: ExchangeId(exchange), partition, hints })
        }),
        (object_key(), container(), option::of(any::<u64>().prop_map(ExchangeId)))
            .prop_map(|(key, container, exchange)| PeerMessage::Repair { key, container, exchange }),
        vec(any::<u64>().prop_map(Incarnation::new), 0..4).prop_map(|incarnations| PeerMessage::Known { incarnations }),
        scan.prop_map(|((exchange, timeout_millis), bucket, partition, after, limit)| PeerMessage::Scan {
            exchange,
            timeout_millis,
            bucket,
            partition,
            after,
            limit,
        }),
        sync_question().prop_map(PeerMessage::Sync),
        scrub_question().prop_map(PeerMessage::Scrub),
        (asked(), write()).prop_map(|((exchange, timeout_millis), request)| PeerMessage::Forward {
            exchange,
            timeout_millis,
            request,
        }),
    ]
}

fn node_clock() -> impl Strategy<Value = NodeClock> {
    vec(dot(), 0..5).prop_map(|dots| {
        let mut clock = NodeClock::new();
        dots.into_iter().filter(|dot| 0 < dot.counter).for_each(|dot| _ = clock.add(dot));
        clock
    })
}

fn sync_question() -> impl Strategy<Value = SyncMessage> {
    let exchange = || any::<u64>().prop_map(ExchangeId);
    let partition = || any::<u16>().prop_map(PartitionId::new);
    prop_oneof![
        (exchange(), partition(), partition(), any::<u64>()).prop_map(|(exchange, from, through, hash)| {
            SyncMessage::Compare { exchange, from, through, hash, epoch: hash % 3 }
        }),
        (exchange(), vec((partition(), node_clock()), 0..3))
            .prop_map(|(exchange, partitions)| SyncMessage::Fetch { exchange, partitions }),
        (exchange(), partition(), option::of(object_key()))
            .prop_map(|(exchange, partition, after)| SyncMessage::Transfer { exchange, partition, after }),
    ]
}

fn sync_reply() -> impl Strategy<Value = SyncMessage> {
    let exchange = || any::<u64>().prop_map(ExchangeId);
    let partition = || any::<u16>().prop_map(PartitionId::new);
    let touched = (object_key(), container(), vec(dot(), 0..3));
    let touched = touched.prop_map(|(key, container, dots)| PieceObject { key, container, dots });
    let piece = (partition(), node_clock(), vec(touched, 0..3), vec(dot(), 0..3), any::<bool>(), any::<bool>());
    let piece = piece.prop_map(|(partition, clock, objects, closed, unlogged, more)| Piece {
        partition,
        clock,
        objects,
        closed,
        unlogged,
        more,
    });
    let object = (object_key(), container()).prop_map(|(key, container)| StoredObject { key, container });
    let page = (vec(object, 0..3), node_clock(), any::<bool>());
    let page = page.prop_map(|(objects, clock, last)| TransferPage { objects, clock, last });
    prop_oneof![
        (exchange(), partition(), option::of(vec(any::<u64>(), 0..5)))
            .prop_map(|(exchange, through, hashes)| SyncMessage::Compared { exchange, through, hashes }),
        (exchange(), vec(piece, 0..3)).prop_map(|(exchange, pieces)| SyncMessage::Fetched { exchange, pieces }),
        (exchange(), replica_result(page)).prop_map(|(exchange, page)| SyncMessage::Transferred { exchange, page }),
    ]
}

fn scrub_question() -> impl Strategy<Value = ScrubMessage> {
    let exchange = || any::<u64>().prop_map(ExchangeId);
    let partition = || any::<u16>().prop_map(PartitionId::new);
    let range = || {
        let range = (partition(), option::of(object_key()), option::of(object_key()));
        range.prop_map(|(partition, after, through)| ScrubRange { partition, after, through })
    };
    prop_oneof![
        (exchange(), range(), any::<u64>(), any::<u64>())
            .prop_map(|(exchange, range, clock, hash)| ScrubMessage::Compare { exchange, range, clock, hash }),
        (exchange(), range(), any::<u64>(), vec(any::<u64>(), 0..4))
            .prop_map(|(exchange, range, clock, known)| ScrubMessage::Fetch { exchange, range, clock, known }),
        (exchange(), object_key()).prop_map(|(exchange, key)| ScrubMessage::Ask { exchange, key }),
        (exchange(), partition(), option::of(object_key()))
            .prop_map(|(exchange, partition, after)| ScrubMessage::Name { exchange, partition, after }),
        (exchange(), partition(), any::<u64>(), vec(dot().prop_map(|dot| dot.actor), 0..3))
            .prop_map(|(exchange, partition, view, actors)| ScrubMessage::Rest { exchange, partition, view, actors }),
        (exchange(), object_key(), container()).prop_map(|(exchange, key, container)| ScrubMessage::Share {
            exchange,
            key,
            container
        }),
        (exchange(), partition(), any::<u64>(), any::<u64>())
            .prop_map(|(exchange, partition, view, gaps)| ScrubMessage::Agree { exchange, partition, view, gaps }),
    ]
}

fn scrub_reply() -> impl Strategy<Value = ScrubMessage> {
    let exchange = || any::<u64>().prop_map(ExchangeId);
    let outcome = prop_oneof![Just(Likeness::Same), Just(Likeness::Different), Just(Likeness::Unlike)];
    let object = (object_key(), container()).prop_map(|(key, container)| StoredObject { key, container });
    let held = (container(), node_clock()).prop_map(|(container, clock)| HeldObject { container, clock });
    let named = (vec(object_key(), 0..3), any::<bool>()).prop_map(|(keys, last)| NamedKeys { keys, last });
    prop_oneof![
        (exchange(), outcome).prop_map(|(exchange, outcome)| ScrubMessage::Compared { exchange, outcome }),
        (exchange(), replica_result(vec(object, 0..3).prop_map(ScrubObjects)))
            .prop_map(|(exchange, objects)| ScrubMessage::Fetched { exchange, objects }),
        (exchange(), replica_result(held)).prop_map(|(exchange, result)| ScrubMessage::Held { exchange, result }),
        (exchange(), replica_result(named)).prop_map(|(exchange, result)| ScrubMessage::Named { exchange, result }),
        (exchange(), any::<bool>()).prop_map(|(exchange, rests)| ScrubMessage::Rests { exchange, rests }),
        (exchange(), replica_result(Just(()))).prop_map(|(exchange, result)| ScrubMessage::Shared { exchange, result }),
        (exchange(), any::<bool>()).prop_map(|(exchange, agrees)| ScrubMessage::Agreed { exchange, agrees }),
    ]
}

fn reply() -> impl Strategy<Value = PeerMessage> {
    let exchange = || any::<u64>().prop_map(ExchangeId);
    let read = (container(), any::<bool>()).prop_map(|(container, complete)| ReplicaRead { container, complete });
    let object = (object_key(), container()).prop_map(|(key, container)| StoredObject { key, container });
    let taken = any::<(u32, u32, u32)>().prop_map(|(stored, grant_bytes, pause_millis)| Taken {
        stored,
        grant_bytes,
        pause_millis,
    });
    let page = (vec(object, 0..3), vector(), any::<bool>(), any::<bool>());
    let page = page.prop_map(|(objects, base, last, complete)| ReplicaPage { objects, base, last, complete });
    prop_oneof![
        (exchange(), replica_result(read)).prop_map(|(exchange, result)| PeerMessage::ReadReply { exchange, result }),
        (exchange(), replica_result(Just(())))
            .prop_map(|(exchange, result)| PeerMessage::ReplicateReply { exchange, result }),
        (exchange(), replica_result(page)).prop_map(|(exchange, result)| PeerMessage::ScanReply { exchange, result }),
        (exchange(), replica_result(taken))
            .prop_map(|(exchange, result)| PeerMessage::Hint(HintMessage::Taken { exchange, result })),
        sync_reply().prop_map(PeerMessage::Sync),
        scrub_reply().prop_map(PeerMessage::Scrub),
        (exchange(), result()).prop_map(|(exchange, result)| PeerMessage::ForwardReply { exchange, result }),
    ]
}

pub(crate) fn peer_message() -> impl Strategy<Value = PeerMessage> {
    prop_oneof![question(), reply()]
}
