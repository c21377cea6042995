//! Certificates, and nodes in this process that speak the real transport but keep everything in one map without replicas. They
//! test how the client connects, pipelines, retries and tells what is wrong; what a cluster promises is tested elsewhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use quorate_client::transport::{Credentials, FrameReceiver, FrameSender, cluster_server_name, node_server_name, quic};
use quorate_client::{Builder, Client, ContextToken};
use quorate_ring::version::Incarnation;
use quorate_ring::wire::{
    ClientMessage, Hello, MemberDescription, NodeMessage, PROTOCOL_VERSION, Refusal, Request, RequestError, Response,
    RingDescription, ScanItem, Welcome,
};
use quorate_ring::{Capacity, ClusterName, NodeId, ObjectKey, PartitionCount, Position, Value};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// The only cluster of the tests.
pub(crate) const CLUSTER: &str = "test";

/// A certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("randomness");
        Self(CertifiedIssuer::self_signed(params, key).expect("sound parameters"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate with these names, and its key, in PEM.
    pub(crate) fn issue(&self, names: &[String]) -> (String, String) {
        let key = KeyPair::generate().expect("randomness");
        let params = CertificateParams::new(names.to_vec()).expect("valid names");
        (params.signed_by(&key, &self.0).expect("sound parameters").pem(), key.serialize_pem())
    }

    /// Credentials with these names, signed by this CA and trusting `trusted`.
    pub(crate) fn credentials(&self, names: &[String], trusted: &Self) -> Credentials {
        let (certificate, key) = self.issue(names);
        Credentials::from_pem(trusted.pem().as_bytes(), certificate.as_bytes(), key.as_bytes()).expect("just made")
    }

    pub(crate) fn node(&self, cluster: &str, node: u32) -> Credentials {
        let cluster = ClusterName::new(cluster).expect("valid");
        self.credentials(&[node_server_name(&cluster, id(node)), cluster_server_name(&cluster)], self)
    }

    pub(crate) fn client(&self) -> Credentials {
        self.credentials(&["client.test.quorate".to_owned()], self)
    }
}

pub(crate) fn id(number: u32) -> NodeId {
    NodeId::new(number).expect("not 0")
}

/// What a node does with the requests it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Obliging,
    /// Refuses every hello.
    OldRelease,
    /// Takes no version of the protocol but the first.
    FirstRelease,
    /// Reads requests and never answers.
    Silent,
    /// Refuses every request.
    Overloaded,
    /// Closes the connection at every put, without an answer.
    DiesAtPut,
}

type Objects = Arc<Mutex<BTreeMap<(Position, ObjectKey), Vec<Value>>>>;

/// One node.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    endpoint: quinn::Endpoint,
    pub(crate) mood: Arc<Mutex<Mood>>,
    pub(crate) connections: Arc<AtomicU64>,
    pub(crate) requests: Arc<AtomicU64>,
    ring: Arc<Mutex<Option<RingDescription>>>,
}

impl Node {
    pub(crate) fn start(number: u32, credentials: &Credentials, objects: &Objects) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let endpoint = quic::endpoint(any, Some(credentials.server_config(None))).expect("a free port");
        let mood = Arc::new(Mutex::new(Mood::Obliging));
        let (connections, requests, ring) = (Arc::default(), Arc::default(), Arc::default());
        let served = Served {
            node: id(number),
            mood: Arc::clone(&mood),
            connections: Arc::clone(&connections),
            requests: Arc::clone(&requests),
            ring: Arc::clone(&ring),
            objects: objects.clone(),
        };
        tokio::spawn(accept(endpoint.clone(), served));
        Self { address: endpoint.local_addr().expect("bound"), endpoint, mood, connections, requests, ring }
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().expect("no panic") = mood;
    }

    pub(crate) fn stop(&self) {
        self.endpoint.close(0_u32.into(), b"killed");
    }
}

/// Several nodes with one ring.
pub(crate) struct Cluster {
    pub(crate) authority: Authority,
    pub(crate) nodes: Vec<Node>,
    pub(crate) objects: Objects,
}

impl Cluster {
    pub(crate) fn start(count: u32) -> Self {
        let (authority, objects) = (Authority::new(), Objects::default());
        let nodes: Vec<Node> =
            (1..=count).map(|number| Node::start(number, &authority.node(CLUSTER, number), &objects)).collect();
        let partitions = PartitionCount::new(16).expect("valid");
        let member = |(index, node): (usize, &Node)| MemberDescription {
            node: id(index as u32 + 1),
            address: node.address.to_string(),
            zone: None,
            capacity: Capacity::default(),
        };
        let description = RingDescription {
            cluster: ClusterName::new(CLUSTER).expect("valid"),
            replicas: count.min(3) as u8,
            partitions,
            members: nodes.iter().enumerate().map(member).collect(),
            owners: (0..partitions.get()).map(|partition| (partition % count) as u16).collect(),
        };
        for node in &nodes {
            *node.ring.lock().expect("no panic") = Some(description.clone());
        }
        Self { authority, nodes, objects }
    }

    pub(crate) fn builder(&self) -> Builder {
        let seeds = self.nodes.iter().map(|node| node.address.to_string());
        Client::builder().cluster(CLUSTER).seeds(seeds).credentials(self.authority.client())
    }

    pub(crate) async fn client(&self) -> Client {
        self.builder().connect().await.expect("the nodes run")
    }
}

#[derive(Clone)]
struct Served {
    node: NodeId,
    mood: Arc<Mutex<Mood>>,
    connections: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
    ring: Arc<Mutex<Option<RingDescription>>>,
    objects: Objects,
}

async fn accept(endpoint: quinn::Endpoint, served: Served) {
    while let Some(incoming) = endpoint.accept().await {
        let served = served.clone();
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            served.connections.fetch_add(1, Ordering::Relaxed);
            while let Ok((sender, receiver)) = connection.accept_bi().await {
                let (sender, receiver) = (FrameSender::new(sender), FrameReceiver::new(receiver));
                tokio::spawn(serve(connection.clone(), sender, receiver, served.clone()));
            }
        });
    }
}

async fn serve(connection: quinn::Connection, mut sender: FrameSender, mut receiver: FrameReceiver, served: Served) {
    let Ok(Some(hello)) = receiver.receive::<Hello>().await else { return };
    let node = ClusterName::new(CLUSTER).expect("valid");
    let welcome = match *served.mood.lock().expect("no panic") {
        Mood::FirstRelease if hello.protocol != 1 => {
            Welcome::Refused(Refusal::Protocol { node: 1, yours: hello.protocol })
        }
        Mood::OldRelease => Welcome::Refused(Refusal::Protocol { node: 0, yours: hello.protocol }),
        _ if hello.cluster != node => Welcome::Refused(Refusal::Cluster { node, yours: hello.cluster }),
        _ => Welcome::Accepted { protocol: PROTOCOL_VERSION, node: served.node, incarnation: Incarnation::new(1) },
    };
    let _ = sender.send(&welcome).await;
    receiver.accept_large_frames();
    while let Ok(Some(message)) = receiver.receive::<ClientMessage>().await {
        let mut next = Some(message);
        while let Some(message) = next {
            served.requests.fetch_add(1, Ordering::Relaxed);
            let mood = *served.mood.lock().expect("no panic");
            if mood == Mood::DiesAtPut && matches!(message.request, Request::Put { .. }) {
                return connection.close(0_u32.into(), b"killed");
            }
            if mood != Mood::Silent {
                served.answer(mood, message, &mut sender);
            }
            next = receiver.arrived().expect("sound frames");
        }
        let _ = sender.flush().await;
    }
}

impl Served {
    fn answer(&self, mood: Mood, message: ClientMessage, sender: &mut FrameSender) {
        let ClientMessage { id, request, .. } = message;
        let mut push = |result| {
            sender.push(&NodeMessage { id, result }).expect("fits a frame");
        };
        if mood == Mood::Overloaded {
            return push(Err(RequestError::Overloaded { node: self.node, what: "its mood".to_owned() }));
        }
        match request {
            // In two parts, the second one first.
            Request::GetMany { keys, .. } => {
                let answer = |(index, key)| (index, Ok(self.get(key)));
                let mut answers: Vec<_> = (0..).zip(keys).map(answer).collect();
                let rest = answers.split_off(answers.len() / 2);
                push(Ok(Response::Many(rest)));
                push(Ok(Response::Many(answers)));
            }
            Request::PutMany { items, .. } => {
                let answer = |(index, item): (u32, quorate_ring::wire::PutItem)| {
                    (index, Ok(self.put(item.key, Some(item.value), item.context)))
                };
                push(Ok(Response::Many((0..).zip(items).map(answer).collect())));
            }
            Request::Get { key, .. } | Request::GetRepaired { key } => push(Ok(self.get(key))),
            Request::Put { item, .. } => push(Ok(self.put(item.key, Some(item.value), item.context))),
            Request::Delete { key, context, .. } => push(Ok(self.put(key, None, Some(context)))),
            Request::Ring => push(Ok(Response::Ring(self.ring.lock().expect("no panic").clone().expect("set")))),
            Request::Scan { partition, after, limit, .. } => {
                push(Ok(self.scan(partition.number(), after, limit as usize)))
            }
            Request::Status | Request::Layout | Request::ChangeLayout(_) => {
                push(Err(RequestError::Stopping { node: self.node }))
            }
        }
    }

    fn get(&self, key: ObjectKey) -> Response {
        let objects = self.objects.lock().expect("no panic");
        let values = objects.get(&(Position::of(&key), key)).cloned().unwrap_or_default();
        let context = token(values.len());
        Response::Found { values, context }
    }

    /// A context is the number of siblings seen: it replaces so many of the oldest.
    fn put(&self, key: ObjectKey, value: Option<Value>, context: Option<ContextToken>) -> Response {
        let mut objects = self.objects.lock().expect("no panic");
        let values = objects.entry((Position::of(&key), key)).or_default();
        let seen = context.map_or(0, |context| context.as_bytes().len()).min(values.len());
        values.drain(..seen);
        values.extend(value);
        let siblings = values.len();
        Response::Stored { siblings: siblings as u32, context: (siblings == 1).then(|| token(1)) }
    }

    fn scan(&self, partition: u16, after: Option<ObjectKey>, limit: usize) -> Response {
        let objects = self.objects.lock().expect("no panic");
        let partitions = PartitionCount::new(16).expect("valid");
        let after = after.map(|key| (Position::of(&key), key));
        let inside = |(at, values): &(&(Position, ObjectKey), &Vec<Value>)| {
            partitions.partition_of(at.0).number() == partition
                && after.as_ref().is_none_or(|after| after < *at)
                && !values.is_empty()
        };
        let item = |(at, values): (&(Position, ObjectKey), &Vec<Value>)| ScanItem {
            key: at.1.clone(),
            values: values.clone(),
            context: token(values.len()),
        };
        let items: Vec<ScanItem> = objects.iter().filter(inside).map(item).take(limit).collect();
        let next = (items.len() == limit).then(|| items.last().expect("full").key.clone());
        Response::Page { items, next }
    }
}

fn token(seen: usize) -> ContextToken {
    ContextToken::from_bytes(Bytes::from(vec![0; seen])).expect("short")
}
