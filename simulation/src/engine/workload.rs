//! What clients do next, and what the truth is told before they do: who writes what, having seen what, and what each read has to
//! show.

use std::time::Duration;

use quorate_client::operation::Operation;
use quorate_client::routing::Target;
use quorate_ring::wire::{Durability, PutItem, Request};
use quorate_ring::{ObjectKey, PartitionId, Position};

use super::Simulation;
use crate::client::{Doing, Seen, Task, Then};
use crate::oracle::Violation;
use crate::oracle::bits::Bits;
use crate::oracle::truth::{Kind, WriteId};

/// R, W and durability as a request asks for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) r: Option<u8>,
    pub(super) w: Option<u8>,
    pub(super) durability: Option<Durability>,
}

impl Simulation {
    /// A client begins the next thing, if it has any left to do.
    pub(super) fn begin_next(&mut self, client: usize) -> Result<(), Violation> {
        let actor = &mut self.clients[client];
        if actor.left == 0 {
            return Ok(());
        }
        actor.left -= 1;
        let mix = self.plan.load.mix;
        let weights = [mix.get, mix.blind_put, mix.put, mix.update, mix.delete, mix.get_many, mix.put_many, mix.scan];
        let mut drawn = actor.stream.choose("operation", 0..=weights.iter().sum::<u64>() - 1);
        let kind = weights.iter().position(|weight| {
            let here = drawn < *weight;
            drawn = drawn.wrapping_sub(*weight);
            here
        });
        let key = actor.stream.index("key", self.truth.keys.len());
        let asked = self.asked(client);
        match kind {
            Some(1) => self.begin_write(client, key, None, asked),
            Some(2) => {
                let seen = self.clients[client].memory.get(&key).cloned();
                self.begin_write(client, key, seen, asked)
            }
            Some(3) => self.begin_get(client, key, asked.r, Then::Write),
            Some(4) => self.begin_delete(client, key, asked),
            Some(5) => self.begin_get_many(client, asked.r),
            Some(6) => self.begin_put_many(client, asked),
            Some(7) => self.begin_scan(client, key, asked.r),
            _ => self.begin_get(client, key, asked.r, Then::Rest),
        }
    }

    pub(super) fn asked(&mut self, client: usize) -> Asked {
        let n = u64::from(self.plan.quorum.n());
        let stream = &mut self.clients[client].stream;
        let mut own = |label| {
            let asks = self.plan.load.own_quorums && stream.chance("asks", 500);
            asks.then(|| u8::try_from(stream.choose(label, 1..=n)).expect("at most N"))
        };
        let (r, w) = (own("r"), own("w"));
        let durability =
            own("durability").map(|odd| if odd % 2 == 1 { Durability::Synced } else { Durability::Buffered });
        Asked { r, w, durability }
    }

    /// Reads a key.
    pub(super) fn begin_get(&mut self, client: usize, key: usize, r: Option<u8>, then: Then) -> Result<(), Violation> {
        let required = self.truth.required(key, r.unwrap_or(self.plan.quorum.r()));
        let request = Request::Get { key: self.truth.keys[key].key.clone(), r };
        self.begin(client, request, Task::Get { key, required, then })
    }

    pub(super) fn begin_write(
        &mut self,
        client: usize,
        key: usize,
        seen: Option<Seen>,
        asked: Asked,
    ) -> Result<(), Violation> {
        let (context, ghost) = seen.map(|seen| (seen.context, seen.ghost)).unzip();
        let (item, id) = self.put_item(client, key, context, ghost.unwrap_or_default(), asked);
        let request = Request::Put { item, w: asked.w, durability: asked.durability };
        self.begin(client, request, Task::Write(id))
    }

    fn put_item(
        &mut self,
        client: usize,
        key: usize,
        context: Option<quorate_ring::version::ContextToken>,
        ghost: Bits,
        asked: Asked,
    ) -> (PutItem, WriteId) {
        let id = self.begin_truth(key, Kind::Put, ghost, asked);
        let padding = self.clients[client].stream.pick("padding", &[0, 0, 10, 100]);
        (PutItem { key: self.truth.keys[key].key.clone(), value: id.value(padding), context }, id)
    }

    fn begin_truth(&mut self, key: usize, kind: Kind, ghost: Bits, asked: Asked) -> WriteId {
        let w = asked.w.unwrap_or(self.plan.quorum.w());
        self.truth.begin(key, kind, ghost, w, asked.durability.unwrap_or(self.plan.durability))
    }

    fn begin_delete(&mut self, client: usize, key: usize, asked: Asked) -> Result<(), Violation> {
        let Some(Seen { context, ghost }) = self.clients[client].memory.get(&key).cloned() else {
            return self.begin_get(client, key, asked.r, Then::Rest);
        };
        let id = self.begin_truth(key, Kind::Delete, ghost, asked);
        let key = self.truth.keys[key].key.clone();
        let request = Request::Delete { key, context, w: asked.w, durability: asked.durability };
        self.begin(client, request, Task::Write(id))
    }

    fn some_keys(&mut self, client: usize) -> Vec<usize> {
        let stream = &mut self.clients[client].stream;
        let all = self.truth.keys.len();
        let first = stream.index("first key", all);
        let count = stream.index("further keys", all.min(6)) + 1;
        (first..first + count).map(|key| key % all).collect()
    }

    fn begin_get_many(&mut self, client: usize, r: Option<u8>) -> Result<(), Violation> {
        let keys = self.some_keys(client);
        let counted = r.unwrap_or(self.plan.quorum.r());
        let required = keys.iter().map(|key| (*key, self.truth.required(*key, counted))).collect();
        let keys = keys.iter().map(|key| self.truth.keys[*key].key.clone()).collect();
        self.begin(client, Request::GetMany { keys, r }, Task::GetMany(required))
    }

    fn begin_put_many(&mut self, client: usize, asked: Asked) -> Result<(), Violation> {
        let keys = self.some_keys(client);
        let mut put = |key: usize| {
            let seen = self.clients[client].memory.get(&key).cloned();
            let (context, ghost) = seen.map(|seen| (seen.context, seen.ghost)).unzip();
            self.put_item(client, key, context, ghost.unwrap_or_default(), asked)
        };
        let (items, ids) = keys.into_iter().map(&mut put).unzip();
        let request = Request::PutMany { items, w: asked.w, durability: asked.durability };
        self.begin(client, request, Task::PutMany(ids))
    }

    fn begin_scan(&mut self, client: usize, key: usize, r: Option<u8>) -> Result<(), Violation> {
        let start = self.truth.keys[key].key.clone();
        let partition = self.ring.partition_of(Position::of(&start));
        let stream = &mut self.clients[client].stream;
        let after = stream.chance("from a key", 300).then_some(start);
        let limit = u32::try_from(stream.choose("limit", 1..=4)).expect("small");
        let keys = self.keys_of(partition, after.as_ref());
        let counted = r.unwrap_or(self.plan.quorum.r());
        let keys = keys.into_iter().map(|key| (key, self.truth.required(key, counted))).collect();
        let request = Request::Scan { bucket: self.bucket.clone(), partition, after: after.clone(), limit, r };
        self.begin(client, request, Task::Scan { partition, after, keys })
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

    fn begin(&mut self, client: usize, request: Request, task: Task) -> Result<(), Violation> {
        let (shortest, longest) = self.plan.load.timeout_millis;
        let actor = &mut self.clients[client];
        let timeout = if self.healed { 5_000 } else { actor.stream.choose("timeout", shortest..=longest) };
        let seed = actor.stream.number("operation's seed");
        let now = self.now;
        let mut target = Target::of(&request);
        // Some clients ask anybody, as old ones do that do not know the ring well.
        if actor.stream.chance("ask anybody", 100) {
            target = Target::Any;
        }
        let operation = Operation::new(request, target, now + Duration::from_millis(timeout), now, seed);
        actor.begun += 1;
        let number = actor.begun;
        actor.doing = Some(Doing { number, operation, task, sent: Vec::new(), parts: Default::default() });
        self.drive(client)
    }
}

/// Where a key lies in ring order.
pub(super) fn place(key: &ObjectKey) -> (Position, ObjectKey) {
    (Position::of(key), key.clone())
}
