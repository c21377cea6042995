//! Clients of an application that brought its own load: what they do next is asked of it, and it is told every answer.

use std::any::Any;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use quorate_client::Error;
use quorate_node::Time;
use quorate_ring::wire::{Durability, PutItem, Request, Response};
use quorate_ring::{BucketName, Key, ObjectKey, Value};

use super::super::event::Event;
use super::super::{Phase, Simulation};
use super::Begun;
use crate::choices::{Choices, Stream};
use crate::client::{Needed, Seen, Task, Then};
use crate::oracle::Violation;
use crate::oracle::truth::{Kind, Truth};
use crate::plan::load::{Asked, Context, Delete, Get, Whom};
use crate::workload::{Answer, Held, Step, What, Workload, labelled, unlabelled};

/// An application under way.
pub(crate) struct Application {
    workload: Box<dyn Workload>,
    bucket: BucketName,
    /// Its clients begin nothing more from then on.
    until: Time,
    /// The keys it has asked for, by their numbers in the truth.
    keys: BTreeMap<Key, usize>,
    clients: Vec<Applied>,
}

/// Between two steps of a client at least, so that time goes on even where nothing else takes any.
const PAUSE_MIN: Duration = Duration::from_micros(1);

/// One of its clients.
struct Applied {
    stream: Stream,
    /// What it does when its pause is over.
    next: Option<Step>,
    /// What it is doing.
    doing: Option<Step>,
    /// Whether it is done for good.
    ended: bool,
}

impl Application {
    /// An application that has done nothing yet.
    pub(crate) fn new(workload: Box<dyn Workload>, clients: usize, lasting: Duration, choices: &mut Choices) -> Self {
        let client = |client: usize| {
            let stream = choices.stream(format!("workload of client {client}"));
            Applied { stream, next: None, doing: None, ended: false }
        };
        Self {
            workload,
            bucket: BucketName::new("application").expect("valid"),
            until: Time::default() + lasting,
            keys: BTreeMap::new(),
            clients: (0..clients).map(client).collect(),
        }
    }

    /// Whether a client is doing something, or has still something to do.
    pub(crate) fn is_busy(&self) -> bool {
        self.clients.iter().any(|client| !client.ended)
    }

    /// Ends it: what its author handed in, and its clients' decisions.
    pub(crate) fn into_parts(self) -> (Box<dyn Any>, Vec<Stream>) {
        (self.workload, self.clients.into_iter().map(|client| client.stream).collect())
    }

    fn next(&mut self, client: usize, now: Time) -> Option<Step> {
        let Applied { stream, .. } = &mut self.clients[client];
        if self.until <= now {
            return None;
        }
        self.workload.next(client, now.since(Time::default()), stream)
    }

    fn merge(&mut self, client: usize, siblings: &[Bytes]) -> Option<(Step, Bytes)> {
        let Applied { stream, doing, .. } = &mut self.clients[client];
        let step = doing.clone()?;
        let merged = self.workload.merge(client, &step.key, siblings, stream)?;
        Some((step, merged))
    }
}

impl Simulation {
    /// A client of the application learns what it does next, and pauses until then.
    pub(in super::super) fn rest_applied(&mut self, client: usize) {
        let Some(application) = self.application.as_mut().filter(|_| self.phase == Phase::Load) else { return };
        let next = application.next(client, self.now);
        let applied = &mut application.clients[client];
        applied.doing = None;
        match next {
            Some(step) => {
                self.queue.push(self.now + step.after.max(PAUSE_MIN), Event::ClientWake { client, doing: 0 });
                applied.next = Some(step);
            }
            None => applied.ended = true,
        }
    }

    /// A client of the application begins what it paused for.
    pub(super) fn begin_applied(&mut self, client: usize) -> Result<(), Violation> {
        let Some(application) = &mut self.application else { return Ok(()) };
        let Some(step) = application.clients[client].next.take() else {
            self.rest_applied(client);
            return Ok(());
        };
        application.clients[client].doing = Some(step.clone());
        self.plan.quorum().with(step.r, step.w).expect("a workload's own R and W are from 1 to N");
        let key = self.number_of(&step.key);
        let Step { r, w, durability, within, ask, .. } = step;
        let (request, task) = match &step.what {
            What::Get => self.get(client, &Get { key, r, repaired: false }, Then::Rest),
            What::Update => self.get(client, &Get { key, r, repaired: false }, Then::Merge),
            What::Delete => self.delete(client, &Delete { key, w, durability }),
            What::Put { value, context } => {
                let memory = &self.clients[client].memory;
                let seen = memory.get(&key).filter(|_| *context == Context::Last).cloned();
                self.put_applied(key, value, seen, w, durability)
            }
        };
        self.begin(client, Begun { request, task, within, ask, needed: Needed::No })
    }

    /// The second half of an update: the application merges what was read, and that is written.
    pub(in super::super) fn merge_applied(
        &mut self,
        client: usize,
        key: usize,
        values: &[Value],
        within: Duration,
    ) -> Result<(), Violation> {
        let siblings: Vec<Bytes> = values.iter().map(unlabelled).collect();
        let merged = self.application.as_mut().and_then(|application| application.merge(client, &siblings));
        let Some((step, value)) = merged else {
            self.rest_applied(client);
            return Ok(());
        };
        let seen = self.clients[client].memory.get(&key).cloned();
        let (request, task) = self.put_applied(key, &value, seen, step.w, step.durability);
        self.begin(client, Begun { request, task, within, ask: Whom::Best, needed: Needed::No })
    }

    fn put_applied(
        &mut self,
        key: usize,
        value: &[u8],
        seen: Option<Seen>,
        w: Option<u8>,
        durability: Option<Asked>,
    ) -> (Request, Task) {
        let (context, ghost) = seen.map(|seen| (seen.context, seen.ghost)).unzip();
        let id = self.begin_truth(key, Kind::Put, ghost.unwrap_or_default(), w, durability);
        let item =
            PutItem { key: self.truth.keys[key].key.clone(), value: labelled(id, value), context, ttl_millis: None };
        (Request::Put { item, w, durability: durability.map(Durability::from), strict: true }, Task::Write(id))
    }

    /// The application is told an answer.
    pub(in super::super) fn tell_applied(&mut self, client: usize, result: &Result<Response, Error>) {
        let Some(application) = self.application.as_mut().filter(|_| self.phase == Phase::Load) else { return };
        let Some(step) = &application.clients[client].doing else { return };
        let found: Vec<Bytes>;
        let answer = match result {
            Ok(Response::Found { values, .. }) => {
                found = values.iter().map(unlabelled).collect();
                Answer::Found { siblings: &found }
            }
            Ok(Response::Stored { siblings, .. }) => Answer::Stored { siblings: *siblings },
            Ok(_) => return,
            Err(error) => Answer::Failed(error),
        };
        application.workload.answered(client, &step.key, &answer);
    }

    /// The application's own check of what is held in the end.
    pub(in super::super) fn check_applied(&mut self) -> Result<(), Violation> {
        let Some(application) = &self.application else { return Ok(()) };
        let mut held = Held::new();
        for (key, number) in &application.keys {
            if let Some(node) = self.holders(*number).next() {
                let values = self.values(node, &self.truth.keys[*number].key)?;
                held.insert(key.clone(), values.iter().map(|(_, stored)| unlabelled(&stored.value)).collect());
            }
        }
        let application = self.application.as_mut().expect("it was there before");
        self.objection = application.workload.check(&held).err();
        Ok(())
    }

    /// The number of a key in the truth, which gets to know it now if it did not.
    fn number_of(&mut self, key: &Key) -> usize {
        let application = self.application.as_mut().expect("asked for by the application");
        if let Some(number) = application.keys.get(key) {
            return *number;
        }
        let name = ObjectKey::new(&application.bucket, key);
        let number = self.truth.keys.len();
        application.keys.insert(key.clone(), number);
        self.tell(|story, _| story.learns_key(&name));
        self.truth.keys.extend(Truth::new(self.truth.n, std::iter::once(name)).keys);
        number
    }
}
