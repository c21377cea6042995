//! The client: which requests begin when, by the production routing and retries, and what becomes of them.
//!
//! It asks as `quorate bench` does: it is one process with one connection to each node; and a write
//! replaces what the last write of its record left, or where another has that context already, what a read before it shows.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use quorate_client::Router;
use quorate_client::operation::{AttemptId, Operation, Step};
use quorate_client::routing::Target;
use quorate_node::Time;
use quorate_ring::version::ContextToken;
use quorate_ring::wire::{ClientMessage, NodeMessage, PutItem, Request, RequestId, Response, RingDescription};
use quorate_ring::{BucketName, Key, NodeId, ObjectKey, Ring, Value};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::{Arrivals, Distribution, Load, exponential};

/// YCSB's constant: of 10,000 records the first is asked for by a tenth of all requests.
const THETA: f64 = 0.99;
/// How many records are being stored at once before it begins.
pub(super) const LOADERS: usize = 64;
/// How long a client waits for an answer, if it does not say otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest latency that is told apart from longer ones, in microseconds.
const MICROS_MAX: u64 = 120_000_000;
/// More attempts of one request than there are.
const ATTEMPTS: u64 = 1_024;

/// Something that the client has to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    /// A request that was to begin then.
    Begin(Time),
    /// To look at a request, if it is still under way.
    Look(u64),
}

/// What became of requests.
pub(super) struct Tally {
    /// Of those that succeeded, in microseconds.
    pub(super) latencies: Histogram<u64>,
    pub(super) failed: u64,
}

/// What a request is for.
enum Purpose {
    Read,
    /// A write with the context of what it finds comes after it.
    ReadToWrite,
    Write(Option<ContextToken>),
}

struct Doing {
    operation: Operation,
    purpose: Purpose,
    record: usize,
    from: Time,
    sent: Vec<(RequestId, AttemptId)>,
}

/// The client.
pub(super) struct Generator {
    router: Router,
    random: ChaCha8Rng,
    load: Load,
    value: Value,
    keys: Vec<ObjectKey>,
    contexts: Vec<Option<ContextToken>>,
    /// Up to each record, the sum of all chances.
    chances: Vec<f64>,
    /// How many records are being stored or are, and how many are.
    loading: usize,
    loaded: usize,
    doing: BTreeMap<u64, Doing>,
    next: u64,
    /// When the last arrival was, in microseconds and parts of them.
    arrived: f64,
    pub(super) tally: Tally,
    /// Requests begun since this was looked at last.
    pub(super) begun: u64,
    /// What is to be sent.
    pub(super) sends: Vec<(NodeId, ClientMessage)>,
    /// When to look at which request.
    pub(super) looks: Vec<(Time, u64)>,
}

impl Default for Tally {
    fn default() -> Self {
        Self { latencies: Histogram::new_with_max(MICROS_MAX, 3).expect("the bounds are valid"), failed: 0 }
    }
}

impl Tally {
    /// How many have ended, well or not.
    pub(super) fn ended(&self) -> u64 {
        self.latencies.len() + self.failed
    }
}

impl Generator {
    pub(super) fn new(description: RingDescription, load: &Load, seed: u64) -> Self {
        let bucket = BucketName::new("capacity").expect("valid");
        let key = |index| ObjectKey::new(&bucket, &Key::new(format!("record {index}")).expect("valid"));
        let rank = |sum: &mut f64, index: usize| {
            *sum += match load.distribution {
                Distribution::Uniform => 1.0,
                Distribution::Zipfian => ((index + 1) as f64).powf(-THETA),
            };
            Some(*sum)
        };
        let records = load.records as usize;
        Self {
            router: Router::new(description).expect("a ring of distinct nodes"),
            random: ChaCha8Rng::seed_from_u64(seed),
            load: *load,
            value: Value::new(vec![b'v'; load.value_bytes]).expect("its size was checked"),
            keys: (0..records).map(key).collect(),
            contexts: vec![None; records],
            chances: (0..records).scan(0.0, rank).collect(),
            loading: 0,
            loaded: 0,
            doing: BTreeMap::new(),
            next: 0,
            arrived: 0.0,
            tally: Tally::default(),
            begun: 0,
            sends: Vec::new(),
            looks: Vec::new(),
        }
    }

    pub(super) fn ring(&self) -> &Ring {
        self.router.ring()
    }

    /// Whether all records are stored.
    pub(super) const fn is_loaded(&self) -> bool {
        self.loaded == self.keys.len()
    }

    /// How many requests are under way.
    pub(super) fn underway(&self) -> u64 {
        self.doing.len() as u64
    }

    /// How many have ended, from the first record that was stored on.
    pub(super) fn ended(&self) -> u64 {
        self.next - self.underway()
    }

    pub(super) fn is_underway(&self, request: u64) -> bool {
        self.doing.contains_key(&request)
    }

    /// When the request after the one of now comes, in an open loop.
    pub(super) fn next_arrival(&mut self, now: Time) -> Time {
        self.arrived = self.arrived.max(now.as_micros() as f64);
        self.arrived += match self.load.arrivals {
            Arrivals::Poisson(rate) => exponential(&mut self.random, 1e6 / rate),
            Arrivals::Steady(rate) => 1e6 / rate,
            Arrivals::Closed(_) => 0.0,
        };
        Time::from_micros(self.arrived as u64)
    }

    pub(super) fn handle_due(&mut self, now: Time, due: Due) {
        match due {
            Due::Begin(from) => self.begin(now, from),
            Due::Look(request) => self.drive(now, request),
        }
    }

    pub(super) fn handle_answer(&mut self, now: Time, message: NodeMessage) {
        let NodeMessage { id, result } = message;
        let request = id.0 / ATTEMPTS;
        let Some(doing) = self.doing.get_mut(&request) else { return };
        let Some((_, attempt)) = doing.sent.iter().find(|(sent, _)| *sent == id) else { return };
        doing.operation.handle_reply(now, *attempt, result);
        self.drive(now, request);
    }

    /// The next record is stored; or once all are, what the load asks for.
    fn begin(&mut self, now: Time, from: Time) {
        let (record, purpose) = if self.is_loaded() {
            let record = self.draw();
            let reads = self.random.random::<f64>() < self.load.reads;
            (record, if reads { Purpose::Read } else { self.way_to_write(record) })
        } else if self.loading < self.keys.len() {
            self.loading += 1;
            (self.loading - 1, Purpose::Write(None))
        } else {
            return;
        };
        self.begun += 1;
        self.ask(now, from, record, purpose);
    }

    /// What two write with at the same time would make siblings, so each context is used once. Without one the record is read before.
    fn way_to_write(&mut self, record: usize) -> Purpose {
        self.contexts[record].take().map_or(Purpose::ReadToWrite, |context| Purpose::Write(Some(context)))
    }

    fn ask(&mut self, now: Time, from: Time, record: usize, purpose: Purpose) {
        let key = self.keys[record].clone();
        let request = match &purpose {
            Purpose::Read | Purpose::ReadToWrite => Request::Get { key, r: None, strict: false },
            Purpose::Write(context) => {
                let item = PutItem { key, value: self.value.clone(), context: context.clone(), ttl_millis: None };
                Request::Put { item, w: None, durability: None, strict: false }
            }
        };
        let target = Target::of(&request);
        let operation = Operation::new(request, target, now + TIMEOUT, now, self.random.random());
        let number = self.next;
        self.next += 1;
        self.doing.insert(number, Doing { operation, purpose, record, from, sent: Vec::new() });
        self.drive(now, number);
    }

    /// A record.
    fn draw(&mut self) -> usize {
        let drawn = self.random.random::<f64>() * self.chances.last().copied().unwrap_or_default();
        self.chances.partition_point(|chance| *chance <= drawn).min(self.keys.len() - 1)
    }

    /// A request goes as far as it can.
    fn drive(&mut self, now: Time, number: u64) {
        let Some(doing) = self.doing.get_mut(&number) else { return };
        loop {
            let step = doing.operation.next_step(&self.router, now);
            for seen in doing.operation.take_observed() {
                self.router.note_took(seen.node, now, seen.took, seen.heard);
            }
            match step {
                Step::Send { attempt, to, timeout_millis, .. } => {
                    let id = RequestId(number * ATTEMPTS + doing.sent.len() as u64);
                    self.router.note_asked(to, now, doing.operation.access(), doing.operation.beside());
                    doing.sent.push((id, attempt));
                    let request = doing.operation.request().clone();
                    self.sends.push((to, ClientMessage { id, timeout_millis, request }));
                }
                Step::WaitUntil(time) => return self.looks.push((time, number)),
                Step::Done(result) => {
                    let doing = self.doing.remove(&number).expect("it is under way");
                    return self.end(now, &doing, result.ok());
                }
            }
        }
    }

    fn end(&mut self, now: Time, doing: &Doing, response: Option<Response>) {
        let is_ok = response.is_some();
        match (response, &doing.purpose) {
            (Some(Response::Found { context, .. }), Purpose::ReadToWrite) => {
                return self.ask(now, doing.from, doing.record, Purpose::Write(Some(context)));
            }
            (Some(Response::Stored { context, .. }), _) => self.contexts[doing.record] = context,
            _ => {}
        }
        if is_ok {
            let took = u64::try_from(now.since(doing.from).as_micros()).unwrap_or(MICROS_MAX);
            self.tally.latencies.saturating_record(took);
        } else {
            self.tally.failed += 1;
        }
        let goes_on = if self.is_loaded() {
            matches!(self.load.arrivals, Arrivals::Closed(_))
        } else {
            self.loaded += 1;
            !self.is_loaded()
        };
        if goes_on {
            self.begin(now, now);
        }
    }
}
