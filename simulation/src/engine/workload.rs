//! What clients do next, and what the truth is told before they do: who writes what, having seen what, and what each read has to
//! show.

pub(super) mod application;

use std::time::Duration;

use bytes::Bytes;
use quorate_client::operation::Operation;
use quorate_client::routing::Target;
use quorate_ring::version::ContextToken;
use quorate_ring::wire::{Durability, PutItem, Request};
use quorate_ring::{ObjectKey, PartitionId, Position, Ttl};

use super::{Phase, Simulation, index_in_plan, node_id};
use crate::catalogue::FaultId;
use crate::client::{Doing, Needed, Seen, Task, Then};
use crate::oracle::bits::Bits;
use crate::oracle::truth::{Kind, W, WriteId};
use crate::oracle::{Violation, lost, quorums};
use crate::plan::load::{Action, Asked, Context, Delete, Forge, Forgery, Get, GetMany, Put, PutMany, Scan, Whom};
use crate::plan::span::Span;

/// A value from here on is a huge one.
const HUGE_BYTES: usize = 100_000;
/// So many clients are a crowd.
const CROWD: usize = 30;

/// A request about to begin.
struct Begun {
    request: Request,
    task: Task,
    within: Duration,
    ask: Whom,
    needed: Needed,
}

impl Simulation {
    /// A client begins its next step, if it has one.
    pub(super) fn begin_next(&mut self, client: usize) -> Result<(), Violation> {
        if self.application.is_some() {
            return self.begin_applied(client);
        }
        let Some(step) = self.plan.clients[client].steps.get(self.clients[client].next).cloned() else { return Ok(()) };
        self.clients[client].next += 1;
        if CROWD <= self.clients.len() {
            self.fired(FaultId::L1);
        }
        self.clients[client].sloppy = step.sloppy;
        self.begin_action(client, &step.action, step.within.duration(), step.ask, Needed::No)
    }

    /// A client begins to do something.
    pub(super) fn begin_action(
        &mut self,
        client: usize,
        action: &Action,
        within: Duration,
        ask: Whom,
        needed: Needed,
    ) -> Result<(), Violation> {
        let (request, task) = match action {
            Action::Get(get) => self.get(client, get, Then::Rest),
            Action::Update(put) => {
                self.get(client, &Get { key: put.key, r: put.r, repaired: false }, Then::Write(*put))
            }
            Action::Put(put) => self.put(client, put),
            Action::Delete(delete) => self.delete(client, delete),
            Action::GetMany(many) => self.get_many(client, many),
            Action::PutMany(many) => self.put_many(client, many),
            Action::Scan(scan) => self.scan(scan),
            Action::Forge(forge) => self.forge(client, forge),
        };
        self.begin(client, Begun { request, task, within, ask, needed })
    }

    /// Writes a key, after the read that was to come before it.
    pub(super) fn begin_write(
        &mut self,
        client: usize,
        put: &Put,
        within: Duration,
        needed: Needed,
    ) -> Result<(), Violation> {
        let (request, task) = self.put(client, put);
        self.begin(client, Begun { request, task, within, ask: Whom::Best, needed })
    }

    /// What a read that begins now has to show. Quorums overlap among primaries only, so until everything is healed a read is held to
    /// nothing if others may stand in.
    fn required(&self, key: usize, r: Option<u8>, sloppy: bool) -> Bits {
        let r = r.unwrap_or(self.loosest.r());
        match self.phase {
            Phase::Healed => lost::required(&self.truth, key, r),
            _ if sloppy => Bits::default(),
            _ => quorums::required(&self.truth, key, r),
        }
    }

    fn get(&self, client: usize, get: &Get, then: Then) -> (Request, Task) {
        let key = self.truth.keys[get.key].key.clone();
        if get.repaired {
            let required = self.required(get.key, Some(self.truth.n), false);
            return (Request::GetRepaired { key }, Task::Get { key: get.key, required, then });
        }
        let sloppy = self.clients[client].sloppy;
        let required = self.required(get.key, get.r, sloppy);
        let request = Request::Get { key, r: get.r, strict: !sloppy };
        (request, Task::Get { key: get.key, required, then })
    }

    fn put(&mut self, client: usize, put: &Put) -> (Request, Task) {
        let seen = match put.context {
            Context::Last => self.clients[client].memory.get(&put.key).cloned(),
            Context::Blind => None,
        };
        let (mut item, id) = self.put_item(put.key, put.bytes, seen, put.w, put.durability);
        self.limit(id, &mut item, put.ttl);
        let strict = self.say_how(client, &[id]);
        let request = Request::Put { item, w: put.w, durability: put.durability.map(Durability::from), strict };
        (request, Task::Write(id))
    }

    /// Whether a client's request is strict; the truth learns it of these writes.
    fn say_how(&mut self, client: usize, writes: &[WriteId]) -> bool {
        let sloppy = self.clients[client].sloppy;
        if sloppy {
            writes.iter().for_each(|id| self.truth.may_be_elsewhere(*id));
        }
        !sloppy
    }

    fn put_item(
        &mut self,
        key: usize,
        bytes: usize,
        seen: Option<Seen>,
        w: Option<u8>,
        durability: Option<Asked>,
    ) -> (PutItem, WriteId) {
        let (context, ghost) = seen.map(|seen| (seen.context, seen.ghost)).unzip();
        let id = self.begin_truth(key, Kind::Put, ghost.unwrap_or_default(), w, durability);
        if HUGE_BYTES <= bytes {
            self.fired(FaultId::L1);
        }
        (PutItem { key: self.truth.keys[key].key.clone(), value: id.value(bytes), context, ttl_millis: None }, id)
    }

    /// Gives a write the ttl that the plan has for it.
    fn limit(&mut self, id: WriteId, item: &mut PutItem, ttl: Option<Span>) {
        if let Some(ttl) = ttl.map(|ttl| Ttl::try_from(ttl.duration()).expect("the plan was checked")) {
            item.ttl_millis = Some(ttl.as_millis());
            self.truth.limit(id, ttl.duration());
        }
    }

    fn begin_truth(
        &mut self,
        key: usize,
        kind: Kind,
        ghost: Bits,
        w: Option<u8>,
        durability: Option<Asked>,
    ) -> WriteId {
        let durability = durability.map_or(self.plan.durability(), Durability::from);
        let w = w.map_or(W::Default(self.loosest.w()), W::Own);
        self.truth.begin(key, kind, ghost, w, durability)
    }

    fn delete(&mut self, client: usize, delete: &Delete) -> (Request, Task) {
        let Delete { key, w, durability } = *delete;
        let Some(Seen { context, ghost }) = self.clients[client].memory.get(&key).cloned() else {
            return self.get(client, &Get { key, ..Get::default() }, Then::Rest);
        };
        let id = self.begin_truth(key, Kind::Delete, ghost, w, durability);
        let strict = self.say_how(client, &[id]);
        let key = self.truth.keys[key].key.clone();
        (Request::Delete { key, context, w, durability: durability.map(Durability::from), strict }, Task::Write(id))
    }

    fn get_many(&self, client: usize, many: &GetMany) -> (Request, Task) {
        let sloppy = self.clients[client].sloppy;
        let required = many.keys.iter().map(|key| (*key, self.required(*key, many.r, sloppy))).collect();
        let keys = many.keys.iter().map(|key| self.truth.keys[*key].key.clone()).collect();
        (Request::GetMany { keys, r: many.r, strict: !sloppy }, Task::GetMany(required))
    }

    fn put_many(&mut self, client: usize, many: &PutMany) -> (Request, Task) {
        let mut put = |key: &usize| {
            let seen = self.clients[client].memory.get(key).cloned();
            let (mut item, id) = self.put_item(*key, many.bytes, seen, many.w, many.durability);
            self.limit(id, &mut item, many.ttl);
            (item, id)
        };
        let (items, ids): (_, Vec<WriteId>) = many.keys.iter().map(&mut put).unzip();
        let strict = self.say_how(client, &ids);
        let request = Request::PutMany { items, w: many.w, durability: many.durability.map(Durability::from), strict };
        (request, Task::PutMany(ids))
    }

    fn scan(&self, scan: &Scan) -> (Request, Task) {
        let start = &self.truth.keys[scan.key].key;
        let partition = self.ring.partition_of(Position::of(start));
        let after = scan.behind.then(|| start.clone());
        let keys = self.keys_of(partition, after.as_ref());
        let keys = keys.into_iter().map(|key| (key, self.required(key, scan.r, false))).collect();
        let (bucket, limit, r) = (self.bucket.clone(), scan.limit, scan.r);
        (Request::Scan { bucket, partition, after: after.clone(), limit, r }, Task::Scan { partition, after, keys })
    }

    /// A write with a context that no node made for this key.
    fn forge(&mut self, client: usize, forge: &Forge) -> (Request, Task) {
        self.fired(FaultId::B1);
        let memory = &self.clients[client].memory;
        let of = |key: usize| memory.get(&key).map(|seen| seen.context.as_bytes().to_vec());
        let another =
            || memory.iter().find(|(key, _)| **key != forge.key).map(|(_, seen)| seen.context.as_bytes().to_vec());
        let made_up = || (0..64).map(|byte: u8| byte.wrapping_mul(37)).collect();
        let token: Vec<u8> = match forge.how {
            Forgery::Cut => of(forge.key).map(|token| token[..token.len() - 1].to_vec()),
            Forgery::Bent => of(forge.key).map(|mut token| {
                let middle = token.len() / 2;
                token[middle] ^= 4;
                token
            }),
            Forgery::OfAnotherKey => another(),
            Forgery::MadeUp => None,
        }
        .unwrap_or_else(made_up);
        let key = self.truth.keys[forge.key].key.clone();
        match ContextToken::from_bytes(Bytes::from(token)) {
            Ok(context) => {
                let value = quorate_ring::Value::new(Bytes::from_static(b"\xff\xff\xff\xff forged")).expect("small");
                (
                    Request::Put {
                        item: PutItem { key, value, context: Some(context), ttl_millis: None },
                        w: None,
                        durability: None,
                        strict: true,
                    },
                    Task::Forge,
                )
            }
            // It is not even shaped like one, and never leaves the client.
            Err(_) => self.get(client, &Get { key: forge.key, ..Get::default() }, Then::Rest),
        }
    }

    /// The bucket's keys of a partition behind a key, in ring order.
    fn keys_of(&self, partition: PartitionId, after: Option<&ObjectKey>) -> Vec<usize> {
        let mut keys: Vec<usize> = (0..self.truth.keys.len())
            .filter(|key| {
                let key = &self.truth.keys[*key].key;
                let here = self.ring.partition_of(Position::of(key)) == partition;
                here && key.bucket() == self.bucket.as_str() && after.is_none_or(|after| place(after) < place(key))
            })
            .collect();
        keys.sort_by_key(|key| place(&self.truth.keys[*key].key));
        keys
    }

    fn begin(&mut self, client: usize, begun: Begun) -> Result<(), Violation> {
        let Begun { request, task, within, ask, needed } = begun;
        self.watch_begins(client, &task);
        let actor = &mut self.clients[client];
        let seed = actor.stream.number("operation's seed");
        let now = self.now;
        let target = match ask {
            Whom::Best => Target::of(&request),
            Whom::Anybody => Target::Any,
            Whom::Node(node) => Target::Node(node_id(index_in_plan(node))),
        };
        self.tell_begins(client, &request, &task);
        self.observe_begins(client);
        let operation = Operation::new(request, target, now + within, now, seed);
        let actor = &mut self.clients[client];
        actor.begun += 1;
        let number = actor.begun;
        actor.doing = Some(Doing { number, operation, task, needed, sent: Vec::new(), parts: Default::default() });
        self.drive(client)
    }
}

/// Where a key lies in ring order.
pub(super) fn place(key: &ObjectKey) -> (Position, ObjectKey) {
    (Position::of(key), key.clone())
}
