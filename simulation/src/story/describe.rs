//! Messages in words: of what kind one is, what it is about, and what else it says.

use std::collections::BTreeMap;

use quorate_client::{Error, Outcome};
use quorate_ring::version::Container;
use quorate_ring::wire::{
    ClientMessage, ExchangeId, HintMessage, LayoutMessage, NodeMessage, PeerMessage, PutItem, ReplicaError,
    ReplicaRead, Request, Response, ScrubMessage, SyncMessage,
};
use quorate_ring::{ObjectKey, StoredValue, Value};

use super::{About, Fate, words};
use crate::oracle::truth::WriteId;

/// Longest detail of a message; values and batches may be large.
const DETAIL_CHARACTERS_MAX: usize = 400;

/// A message in words.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) kind: &'static str,
    pub(super) about: About,
    pub(super) detail: String,
}

impl Described {
    fn new(kind: &'static str, about: About, detail: impl Into<String>) -> Self {
        Self { kind, about, detail: words::cut(&detail.into(), DETAIL_CHARACTERS_MAX) }
    }

    /// Its kind and what it is about: `replicate k3 w17`.
    pub(super) fn label(&self) -> String {
        let mut label = self.kind.to_owned();
        if !self.about.keys.is_empty() {
            label.push(' ');
            label.push_str(&words::listed(self.about.keys.iter().copied().map(words::key), ""));
        }
        if !self.about.writes.is_empty() {
            label.push(' ');
            label.push_str(&words::writes(&self.about.writes, ""));
        }
        label
    }
}

/// What came of an operation.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) fate: Fate,
    pub(super) outcome: String,
    /// The writes that it showed, and the keys, if it did not ask for certain ones.
    pub(super) shown: About,
}

/// The numbers of a run's keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys(BTreeMap<ObjectKey, u32>);

impl Keys {
    pub(super) fn new<'a>(keys: impl Iterator<Item = &'a ObjectKey>) -> Self {
        Self((0..).zip(keys).map(|(number, key)| (key.clone(), number)).collect())
    }

    /// A key that comes up while the run goes on.
    pub(super) fn learn(&mut self, key: &ObjectKey, number: u32) {
        self.0.insert(key.clone(), number);
    }

    pub(super) fn number(&self, key: &ObjectKey) -> Option<u32> {
        self.0.get(key).copied()
    }

    fn about(&self, key: &ObjectKey, writes: Vec<u32>) -> About {
        About { keys: self.number(key).into_iter().collect(), writes }
    }

    /// What a client asks.
    pub(super) fn request(&self, request: &Request) -> Described {
        match request {
            Request::Get { key, r, strict } => Described::new("get", self.about(key, Vec::new()), reads(*r, *strict)),
            Request::GetRepaired { key } => Described::new("get repaired", self.about(key, Vec::new()), "from all"),
            Request::Put { item, w, durability, strict } => {
                let context = if item.context.is_some() { "with a context" } else { "blind" };
                let detail = format!("{context}; {}", writes(*w, *durability, *strict));
                Described::new("put", self.item(item), detail)
            }
            Request::Delete { key, w, durability, strict, .. } => {
                let detail = writes(*w, *durability, *strict);
                Described::new("delete", self.about(key, Vec::new()), detail)
            }
            Request::GetMany { keys, r, strict } => {
                let about = joined(keys.iter().map(|key| self.about(key, Vec::new())));
                Described::new("get many", about, reads(*r, *strict))
            }
            Request::PutMany { items, w, durability, strict } => {
                let about = joined(items.iter().map(|item| self.item(item)));
                Described::new("put many", about, writes(*w, *durability, *strict))
            }
            Request::Scan { bucket, partition, after, limit, r } => {
                let detail = format!("{partition} of {bucket}, after {after:?}, at most {limit}; {}", asked("r", *r));
                Described::new("scan", About::default(), detail)
            }
            Request::Ring => Described::new("ring", About::default(), ""),
            Request::Status => Described::new("status", About::default(), ""),
            Request::Layout => Described::new("layout", About::default(), ""),
            Request::ChangeLayout(change) => Described::new("change", About::default(), format!("{change:?}")),
        }
    }

    fn item(&self, item: &PutItem) -> About {
        self.about(&item.key, WriteId::of(&item.value).map(|id| id.0).into_iter().collect())
    }

    /// What a client says to a node.
    pub(super) fn to_node(&self, message: &ClientMessage) -> Described {
        let mut described = self.request(&message.request);
        described.detail = format!("{}; waits {} ms", described.detail, message.timeout_millis);
        described
    }

    /// What a node says to a client.
    pub(super) fn to_client(&self, message: &NodeMessage) -> Described {
        self.response(&message.result)
    }

    fn response<E: std::fmt::Display>(&self, result: &Result<Response, E>) -> Described {
        let nothing = About::default();
        match result {
            Err(error) => Described::new("error", nothing, error.to_string()),
            Ok(Response::Found { values, .. }) => {
                let about = About { keys: Vec::new(), writes: values.iter().filter_map(number).collect() };
                Described::new("found", about, format!("{} values", values.len()))
            }
            Ok(Response::Stored { siblings, context }) => {
                let context = if context.is_some() { "with a context" } else { "without a context" };
                Described::new("stored", nothing, format!("{siblings} siblings, {context}"))
            }
            Ok(Response::Many(parts)) => {
                let parts: Vec<_> = parts.iter().map(|(index, part)| (index, self.response(part))).collect();
                let detail: Vec<_> = parts.iter().map(|(index, part)| format!("{index}: {}", part.label())).collect();
                let about = joined(parts.into_iter().map(|(_, part)| part.about));
                Described::new("answers", about, detail.join("; "))
            }
            Ok(Response::Page { items, next }) => {
                let values = |values: &[Value]| values.iter().filter_map(number).collect();
                let about = joined(items.iter().map(|item| self.about(&item.key, values(&item.values))));
                Described::new("page", about, next.as_ref().map_or("the last".to_owned(), |next| format!("to {next}")))
            }
            Ok(Response::Ring(_)) => Described::new("ring", nothing, ""),
            Ok(Response::Status(_)) => Described::new("status", nothing, ""),
            Ok(Response::Layout(layout)) => {
                Described::new("layout", nothing, format!("epoch {}", layout.last().number()))
            }
        }
    }

    /// What came of a request, as its client was told.
    pub(super) fn ended(&self, about: &About, result: &Result<Response, Error>) -> Ended {
        let is_read = about.writes.is_empty();
        let cut = |outcome: String| words::cut(&outcome, DETAIL_CHARACTERS_MAX);
        match result {
            Ok(Response::Found { values, .. }) => {
                let writes: Vec<u32> = values.iter().filter_map(number).collect();
                let outcome = format!("shows {}", words::writes(&writes, "nothing"));
                Ended { fate: Fate::Done, outcome, shown: About { keys: Vec::new(), writes } }
            }
            Ok(Response::Stored { .. }) => {
                Ended { fate: Fate::Done, outcome: "acknowledged".to_owned(), shown: About::default() }
            }
            Ok(_) => {
                let described = self.response(result);
                let refused = described.detail.contains("error");
                let outcome = match is_read && !refused {
                    true => format!("shows {}", words::writes(&described.about.writes, "nothing")),
                    false => cut(format!("{}: {}", described.kind, described.detail)),
                };
                let shown = if is_read { described.about } else { About::default() };
                Ended { fate: Fate::Done, outcome, shown }
            }
            Err(error) => {
                let fate = match error.outcome() {
                    Outcome::Unknown if !is_read => Fate::Unknown,
                    _ => Fate::Failed,
                };
                Ended { fate, outcome: cut(error.to_string()), shown: About::default() }
            }
        }
    }

    /// What a node says to a peer.
    pub(super) fn to_peer(&self, message: &PeerMessage) -> Described {
        match message {
            PeerMessage::Read { key, stand_in, .. } => {
                let detail = if *stand_in { "in the place of a primary that is away" } else { "" };
                Described::new("read", self.about(key, Vec::new()), detail)
            }
            PeerMessage::Hint(HintMessage::Hand { hints, .. }) => {
                let about = joined(hints.iter().map(|hint| {
                    let writes =
                        hint.container.values().filter_map(|(_, stored)| WriteId::of(&stored.value)).map(|id| id.0);
                    self.about(&hint.key, writes.collect())
                }));
                Described::new("hand over", about, format!("{} hints", hints.len()))
            }
            PeerMessage::Hint(HintMessage::Taken { result, .. }) => {
                let detail = match result {
                    Ok(taken) => format!("{} of the hints are stored", taken.stored),
                    Err(error) => error.to_string(),
                };
                Described::new("taken", About::default(), detail)
            }
            PeerMessage::ReadReply { result, .. } => read_reply(result),
            PeerMessage::Replicate { key, dot, container, durability, .. } => {
                let own =
                    container.values().find(|(known, _)| *known == dot).and_then(|(_, stored)| number(&stored.value));
                let detail = format!("event {dot}, {durability:?}; {}", holding(container));
                Described::new("replicate", self.about(key, own.into_iter().collect()), detail)
            }
            PeerMessage::ReplicateReply { result, .. } => match result {
                Ok(()) => Described::new("replicated", About::default(), ""),
                Err(error) => Described::new("not replicated", About::default(), error.to_string()),
            },
            PeerMessage::Repair { key, container, .. } => {
                Described::new("repair", self.about(key, values(container)), holding(container))
            }
            PeerMessage::Sync(message) => self.sync(message),
            PeerMessage::Scrub(message) => self.scrub(message),
            PeerMessage::Layout(message) => layout(message),
            PeerMessage::Known { incarnations } => {
                Described::new("known", About::default(), format!("incarnations {incarnations:?}"))
            }
            PeerMessage::Scan { bucket, partition, after, limit, .. } => {
                let detail = format!("{partition} of {bucket}, after {after:?}, at most {limit}");
                Described::new("read page", About::default(), detail)
            }
            PeerMessage::ScanReply { result, .. } => match result {
                Ok(page) => {
                    let objects = page.objects.iter();
                    let about = joined(objects.map(|object| self.about(&object.key, values(&object.container))));
                    Described::new("page held", about, completeness(page.complete))
                }
                Err(error) => Described::new("no page", About::default(), error.to_string()),
            },
            PeerMessage::Forward { request, .. } => {
                let inner = self.request(request);
                let detail = format!("{} {}", inner.kind, inner.detail);
                Described::new("forward", inner.about, detail)
            }
            PeerMessage::ForwardReply { result, .. } => {
                let inner = self.response(result);
                let detail = format!("{} {}", inner.kind, inner.detail);
                Described::new("forwarded", inner.about, detail)
            }
        }
    }
}

/// What a node says of the layout.
fn layout(message: &LayoutMessage) -> Described {
    match message {
        LayoutMessage::Digest { hash, last } => {
            Described::new("layout digest", About::default(), format!("{hash:016x}, epoch {last}"))
        }
        LayoutMessage::Epoch { last } => Described::new("goes by epoch", About::default(), last.to_string()),
        LayoutMessage::Copy(copy) | LayoutMessage::Back(copy) => {
            Described::new("layout", About::default(), format!("epoch {}", copy.last().number()))
        }
        LayoutMessage::Summary(_) => Described::new("layout summary", About::default(), String::new()),
        LayoutMessage::Delta { delta, summary } => {
            let brings = delta.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
            let asks = if summary.is_some() { ", and asks for what it lacks" } else { "" };
            Described::new("layout delta", About::default(), format!("{brings}{asks}"))
        }
    }
}

impl Keys {
    /// What the scrub says.
    fn scrub(&self, message: &ScrubMessage) -> Described {
        let none = About::default;
        match message {
            ScrubMessage::Compare { range, hash, .. } => {
                Described::new("compare contents", none(), format!("{}: {hash:016x}", range.partition))
            }
            ScrubMessage::Compared { outcome, .. } => Described::new("contents", none(), format!("{outcome:?}")),
            ScrubMessage::Fetch { range, .. } => {
                Described::new("fetch what differs", none(), range.partition.to_string())
            }
            ScrubMessage::Fetched { objects: Ok(objects), .. } => {
                let objects = objects.0.iter();
                let about = joined(objects.map(|object| self.about(&object.key, values(&object.container))));
                Described::new("what differs", about, "")
            }
            ScrubMessage::Ask { key, .. } => {
                Described::new("cannot read", self.about(key, Vec::new()), "what do you hold?")
            }
            ScrubMessage::Held { result: Ok(held), .. } => Described::new("holds", none(), holding(&held.container)),
            ScrubMessage::Name { partition, .. } => {
                Described::new("cannot read a page", none(), format!("{partition}: which keys are there?"))
            }
            ScrubMessage::Named { result: Ok(named), .. } => {
                let about = joined(named.keys.iter().map(|key| self.about(key, Vec::new())));
                Described::new("keys", about, "")
            }
            ScrubMessage::Rest { partition, actors, .. } => {
                Described::new("at rest?", none(), format!("{partition}: gaps of {actors:?}"))
            }
            ScrubMessage::Rests { rests, .. } => Described::new("rests", none(), rests.to_string()),
            ScrubMessage::Share { key, container, .. } => {
                Described::new("share", self.about(key, values(container)), format!("{:?}", container.vector()))
            }
            ScrubMessage::Shared { result: Ok(()), .. } => Described::new("shared", none(), ""),
            ScrubMessage::Agree { partition, gaps, .. } => {
                Described::new("nobody has it?", none(), format!("{partition}: {gaps:016x}"))
            }
            ScrubMessage::Agreed { agrees, .. } => Described::new("agrees", none(), agrees.to_string()),
            ScrubMessage::Shared { result: Err(error), .. }
            | ScrubMessage::Fetched { objects: Err(error), .. }
            | ScrubMessage::Held { result: Err(error), .. }
            | ScrubMessage::Named { result: Err(error), .. } => Described::new("cannot say", none(), error.to_string()),
        }
    }

    /// What anti-entropy says.
    fn sync(&self, message: &SyncMessage) -> Described {
        match message {
            SyncMessage::Compare { from, through, hash, .. } => {
                let detail = format!("{from} to {through}: {hash:016x}");
                Described::new("compare clocks", About::default(), detail)
            }
            SyncMessage::Compared { hashes: None, .. } => Described::new("same clocks", About::default(), ""),
            SyncMessage::Compared { through, hashes: Some(hashes), .. } => {
                let detail = format!("hashes of {} partitions, through {through}", hashes.len());
                Described::new("other clocks", About::default(), detail)
            }
            SyncMessage::Fetch { partitions, .. } => {
                Described::new("fetch what is missing", About::default(), format!("{partitions:?}"))
            }
            SyncMessage::Fetched { pieces, .. } => {
                let objects = pieces.iter().flat_map(|piece| &piece.objects);
                let about = joined(objects.map(|object| self.about(&object.key, values(&object.container))));
                let more = pieces.iter().any(|piece| piece.more);
                let unnamed = pieces.iter().any(|piece| piece.unlogged);
                let detail = format!(
                    "{} partitions{}{}",
                    pieces.len(),
                    if more { ", and more" } else { "" },
                    if unnamed { ", and events that it cannot name" } else { "" }
                );
                Described::new("missing", about, detail)
            }
            SyncMessage::Transfer { partition, after, .. } => {
                Described::new("transfer", About::default(), format!("{partition}, after {after:?}"))
            }
            SyncMessage::Transferred { page: Ok(page), .. } => {
                let objects = page.objects.iter();
                let about = joined(objects.map(|object| self.about(&object.key, values(&object.container))));
                Described::new("transferred", about, format!("clock {:?}", page.clock))
            }
            SyncMessage::Transferred { page: Err(error), .. } => {
                Described::new("not transferred", About::default(), error.to_string())
            }
        }
    }
}

/// The number of the question that a message asks or answers, and whether it answers.
pub(super) fn exchange(message: &PeerMessage) -> Option<(ExchangeId, Side)> {
    match message {
        PeerMessage::Read { exchange, .. }
        | PeerMessage::Replicate { exchange, .. }
        | PeerMessage::Scan { exchange, .. }
        | PeerMessage::Hint(HintMessage::Hand { exchange, .. })
        | PeerMessage::Forward { exchange, .. } => Some((*exchange, Side::Question)),
        PeerMessage::ReadReply { exchange, .. }
        | PeerMessage::ReplicateReply { exchange, .. }
        | PeerMessage::ScanReply { exchange, .. }
        | PeerMessage::Hint(HintMessage::Taken { exchange, .. })
        | PeerMessage::ForwardReply { exchange, .. } => Some((*exchange, Side::Answer)),
        PeerMessage::Sync(message) => {
            let side = if message.asks_about().is_some() { Side::Question } else { Side::Answer };
            Some((message.exchange(), side))
        }
        PeerMessage::Scrub(message) => {
            let side = if message.is_question() { Side::Question } else { Side::Answer };
            Some((message.exchange(), side))
        }
        PeerMessage::Repair { .. } | PeerMessage::Known { .. } | PeerMessage::Layout(_) => None,
    }
}

/// Which side of a conversation a message is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Of who asks.
    Question,
    /// Of who was asked.
    Answer,
}

/// The writes whose values a container holds.
pub(super) fn values(container: &Container<StoredValue>) -> Vec<u32> {
    container.values().filter_map(|(_, stored)| number(&stored.value)).collect()
}

fn number(value: &Value) -> Option<u32> {
    WriteId::of(value).map(|id| id.0)
}

fn read_reply(result: &Result<ReplicaRead, ReplicaError>) -> Described {
    match result {
        Ok(read) => {
            let about = About { keys: Vec::new(), writes: values(&read.container) };
            let detail = format!("{}; {}", holding(&read.container), completeness(read.complete));
            Described::new("held", about, detail)
        }
        Err(error) => Described::new("not read", About::default(), error.to_string()),
    }
}

fn completeness(complete: bool) -> String {
    if complete { "counts" } else { "catching up: does not count" }.to_owned()
}

fn holding(container: &Container<StoredValue>) -> String {
    let dots = words::listed(container.dots().map(|dot| dot.to_string()), "no values");
    format!("{dots}; has seen {:?}", container.vector())
}

/// What a read asks for.
fn reads(r: Option<u8>, strict: bool) -> String {
    format!("{}{}", asked("r", r), if strict { "; strict" } else { "" })
}

/// What a write asks for.
fn writes(w: Option<u8>, durability: Option<quorate_ring::wire::Durability>, strict: bool) -> String {
    format!("{}; {}{}", asked("w", w), durable(durability), if strict { "; strict" } else { "" })
}

fn asked(what: &str, count: Option<u8>) -> String {
    count.map_or(format!("{what} as configured"), |count| format!("{what} = {count}"))
}

fn durable(durability: Option<quorate_ring::wire::Durability>) -> String {
    durability.map_or("durable as configured".to_owned(), |durability| format!("{durability:?}"))
}

fn joined(parts: impl Iterator<Item = About>) -> About {
    let mut all = About::default();
    for part in parts {
        all.keys.extend(part.keys);
        all.writes.extend(part.writes);
    }
    all
}
