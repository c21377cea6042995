//! Collects a story while the engine runs. Nothing here draws a decision or touches the history: a traced run is the same run.

use std::collections::{BTreeMap, BTreeSet};

use quorate_client::Error;
use quorate_ring::ObjectKey;
use quorate_ring::wire::{ClientMessage, NodeMessage, PeerMessage, Request, RequestId, Response};

use super::describe::{Described, Ended, Keys, Side, exchange};
use super::{
    About, Failure, Fate, Fault, Held, Lane, LaneIndex, LaneKind, Life, Loss, Message, Note, Operation, Phase, Story,
    Write, WriteKind,
};

/// Names a message on its way, if the run is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ticket(Option<u32>);

/// How a conversation is told from others: who asks, in which of its lives, and its number for the question.
type Asked = (LaneIndex, u32, u64);

/// Collects a story.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(super) story: Story,
    keys: Keys,
    clients: usize,
    talks: BTreeMap<Asked, (u32, About)>,
    /// Of each client, its operation under way.
    doing: Vec<Option<usize>>,
    /// What each node's store held last of each key.
    pub(super) holding: BTreeMap<(LaneIndex, u32), Vec<u32>>,
    /// Of the plan's faults under way, their places in the story.
    faults: BTreeMap<usize, usize>,
    /// Writes that a node's store has, by key and number, to tell which of them a start finds no more.
    pub(super) had: BTreeMap<LaneIndex, BTreeSet<(u32, u32)>>,
}

/// What is known when the run is over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending {
    /// When it is over.
    pub(crate) lasted: u64,
    /// How many events there were.
    pub(crate) events: u64,
    /// The promise that did not hold.
    pub(crate) failure: Option<Failure>,
    /// What primaries hold.
    pub(crate) held: Vec<Held>,
}

impl Recorder {
    /// Nothing has happened yet.
    pub(crate) fn new<'a>(clients: usize, nodes: usize, keys: impl Iterator<Item = &'a ObjectKey> + Clone) -> Self {
        let client = |index: usize| Lane { kind: LaneKind::Client, name: format!("client {index}") };
        let node = |index: usize| Lane { kind: LaneKind::Node, name: format!("n{}", index + 1) };
        let story = Story {
            lanes: (0..clients).map(client).chain((0..nodes).map(node)).collect(),
            keys: keys.clone().map(ToString::to_string).collect(),
            ..Story::default()
        };
        Self {
            story,
            keys: Keys::new(keys),
            clients,
            talks: BTreeMap::new(),
            doing: vec![None; clients],
            holding: BTreeMap::new(),
            faults: BTreeMap::new(),
            had: BTreeMap::new(),
        }
    }

    /// The lane of a node.
    pub(crate) fn node(&self, index: usize) -> LaneIndex {
        LaneIndex(self.clients + index)
    }

    /// The lane of a client.
    pub(crate) fn client(&self, index: usize) -> LaneIndex {
        LaneIndex(index)
    }

    /// The number of a key.
    pub(crate) fn key(&self, key: &ObjectKey) -> Option<u32> {
        self.keys.number(key)
    }

    /// A key comes up that was not among those of the plan.
    pub(crate) fn learns_key(&mut self, key: &ObjectKey) {
        let number = u32::try_from(self.story.keys.len()).expect("a run has few keys");
        self.story.keys.push(key.to_string());
        self.keys.learn(key, number);
    }

    /// The latest writes that the writer of a write had seen.
    pub(crate) fn parents(&self, write: u32) -> Vec<u32> {
        self.story.writes.get(write as usize).map_or_else(Vec::new, |write| write.parents.clone())
    }

    /// A part of the run begins.
    pub(crate) fn phase(&mut self, at: u64, text: &str) {
        self.story.phases.push(Phase { at, text: text.to_owned() });
    }

    /// A node says something to a peer; `lives` are the asker's and the other's.
    pub(crate) fn peer_says(&mut self, at: u64, ends: [usize; 2], lives: [u32; 2], message: &PeerMessage) -> Ticket {
        let mut described = self.keys.to_peer(message);
        let [from, to] = ends.map(|end| self.node(end));
        let talk = exchange(message).map(|(number, side)| match side {
            Side::Question => self.asks((from, lives[0], number.0), &described.about),
            Side::Answer => self.answers((to, lives[1], number.0), &mut described),
        });
        self.says(at, [from, to], described, talk.flatten())
    }

    /// A client asks a node.
    pub(crate) fn client_asks(&mut self, at: u64, client: usize, node: usize, message: &ClientMessage) -> Ticket {
        let mut described = self.keys.to_node(message);
        // A delete's message has no value that would say which write it is.
        let doing = self.doing[client].map(|operation| &self.story.operations[operation].about);
        if let (true, Some(about)) = (described.kind == "delete", doing) {
            described.about = about.clone();
        }
        let (from, to) = (LaneIndex(client), self.node(node));
        let talk = self.asks((from, 0, message.id.0), &described.about);
        self.says(at, [from, to], described, talk)
    }

    /// A node answers a client.
    pub(crate) fn node_answers(&mut self, at: u64, node: usize, client: usize, message: &NodeMessage) -> Ticket {
        let mut described = self.keys.to_client(message);
        let (from, to) = (self.node(node), LaneIndex(client));
        let RequestId(number) = message.id;
        let talk = self.answers((to, 0, number), &mut described);
        self.says(at, [from, to], described, talk)
    }

    fn asks(&mut self, asked: Asked, about: &About) -> Option<u32> {
        let next = u32::try_from(self.talks.len()).ok()?;
        Some(self.talks.entry(asked).or_insert_with(|| (next, about.clone())).0)
    }

    /// An answer is about what its question was, unless it says so itself.
    fn answers(&mut self, asked: Asked, described: &mut Described) -> Option<u32> {
        let (talk, about) = self.talks.get(&asked)?;
        if described.about.keys.is_empty() {
            described.about.keys.clone_from(&about.keys);
        }
        if described.about.writes.is_empty() && !matches!(described.kind, "held" | "found") {
            described.about.writes.clone_from(&about.writes);
        }
        Some(*talk)
    }

    fn says(&mut self, at: u64, [from, to]: [LaneIndex; 2], mut described: Described, talk: Option<u32>) -> Ticket {
        // A forged value may name a write that there is not.
        described.about.writes.retain(|write| (*write as usize) < self.story.writes.len());
        let ticket = Ticket(u32::try_from(self.story.messages.len()).ok());
        let (label, Described { kind, about, detail }) = (described.label(), described);
        let kind = kind.to_owned();
        let message =
            Message { from, to, sent: at, arrived: None, lost: None, kind, label, detail, talk, copy: false, about };
        self.story.messages.push(message);
        ticket
    }

    /// The network makes a second message of one.
    pub(crate) fn copied(&mut self, Ticket(original): Ticket) -> Ticket {
        let copy = original.and_then(|original| self.story.messages.get(original as usize)).cloned();
        let Some(copy) = copy else { return Ticket(None) };
        let ticket = Ticket(u32::try_from(self.story.messages.len()).ok());
        self.story.messages.push(Message { copy: true, arrived: None, lost: None, ..copy });
        ticket
    }

    /// A message arrives.
    pub(crate) fn arrived(&mut self, at: u64, ticket: Ticket) {
        if let Some(message) = self.under_way(ticket) {
            message.arrived = Some(at);
        }
    }

    /// A message is lost.
    pub(crate) fn lost(&mut self, at: u64, ticket: Ticket, why: &str) {
        if let Some(message) = self.under_way(ticket) {
            message.lost = Some(Loss { at, why: why.to_owned() });
        }
    }

    fn under_way(&mut self, Ticket(number): Ticket) -> Option<&mut Message> {
        let message = self.story.messages.get_mut(number? as usize)?;
        (message.arrived.is_none() && message.lost.is_none()).then_some(message)
    }

    /// A client begins to do something; `writes` are those that it makes.
    pub(crate) fn begins(&mut self, at: u64, client: usize, request: &Request, writes: Vec<u32>) {
        let described = self.keys.request(request);
        let about = About { keys: described.about.keys, writes };
        let text = Described { about: about.clone(), ..described }.label();
        self.doing[client] = Some(self.story.operations.len());
        let client = LaneIndex(client);
        let fate = Fate::UnderWay;
        let outcome = "under way when the run ended".to_owned();
        let operation = Operation { client, begun: at, ended: None, text, outcome, fate, about, shown: Vec::new() };
        self.story.operations.push(operation);
    }

    /// What a client was doing is over.
    pub(crate) fn ends(&mut self, at: u64, client: usize, result: &Result<Response, Error>) {
        let Some(operation) = self.doing[client].take() else { return };
        let operation = &mut self.story.operations[operation];
        let Ended { fate, outcome, shown: About { keys, writes: mut shown } } =
            self.keys.ended(&operation.about, result);
        shown.retain(|write| (*write as usize) < self.story.writes.len());
        // What a scan is about is known when it ends.
        if operation.about.keys.is_empty() {
            operation.about.keys = keys;
        }
        *operation = Operation { ended: Some(at), fate, outcome, shown, ..operation.clone() };
    }

    /// A write is begun. Writes come in the order of their numbers.
    pub(crate) fn writes(&mut self, number: u32, write: Write) {
        assert_eq!(number as usize, self.story.writes.len(), "writes are numbered as they begin");
        self.story.writes.push(write);
    }

    /// A client learns what became of its write.
    pub(crate) fn write_ends(&mut self, at: u64, write: u32, fate: Fate) {
        if let Some(write) = self.story.writes.get_mut(write as usize) {
            (write.ended, write.fate) = (Some(at), fate);
        }
    }

    /// A fault of the plan begins.
    pub(crate) fn fault_begins(&mut self, index: usize, fault: Fault) {
        self.faults.insert(index, self.story.faults.len());
        self.story.faults.push(fault);
    }

    /// A fault of the plan ends.
    pub(crate) fn fault_ends(&mut self, at: u64, index: usize) {
        if let Some(fault) = self.faults.remove(&index) {
            self.story.faults[fault].until = Some(at);
        }
    }

    /// A process starts.
    pub(crate) fn starts(&mut self, at: u64, node: usize, incarnation: String, start: &str) {
        let node = self.node(node);
        let (start, end) = (start.to_owned(), String::new());
        self.story.lives.push(Life { node, from: at, until: None, incarnation, start, end });
    }

    /// A process ends.
    pub(crate) fn dies(&mut self, at: u64, node: usize, how: &str) {
        let node = self.node(node);
        let life = self.story.lives.iter_mut().rev().find(|life| life.node == node && life.until.is_none());
        if let Some(life) = life {
            (life.until, life.end) = (Some(at), how.to_owned());
        }
    }

    /// Something worth knowing.
    pub(crate) fn note(&mut self, at: u64, lane: LaneIndex, text: &str, about: About) {
        self.story.notes.push(Note { lane, at, text: text.to_owned(), about });
    }

    /// The run is over.
    pub(crate) fn finish(mut self, ending: Ending) -> Story {
        let Ending { lasted, events, failure, held } = ending;
        let story = &mut self.story;
        // A page that lacks a key is about that key, if this is what failed.
        if let Some(failure) = &failure {
            let last = story.operations.iter_mut().filter(|operation| operation.ended == Some(failure.at));
            last.filter(|operation| operation.about.keys.is_empty())
                .for_each(|operation| operation.about.keys.clone_from(&failure.about.keys));
        }
        for number in held.iter().flat_map(|held| &held.writes) {
            if let Some(write) = story.writes.get_mut(*number as usize) {
                write.current = true;
            }
        }
        Story { lasted, events, failure, held, ..self.story }
    }
}

/// Of the writes that a writer had seen, those that no other of them had seen.
pub(crate) fn direct_parents(seen: &[u32], parents_of: impl Fn(u32) -> Vec<u32>) -> Vec<u32> {
    let behind: BTreeSet<u32> = seen.iter().flat_map(|write| parents_of(*write)).collect();
    seen.iter().copied().filter(|write| !behind.contains(write)).collect()
}

impl Write {
    /// A write that begins.
    pub(crate) fn begun(key: u32, kind: WriteKind, client: usize, at: u64) -> Self {
        Self {
            key,
            kind,
            client: LaneIndex(client),
            begun: at,
            ended: None,
            fate: Fate::UnderWay,
            w: 0,
            durability: String::new(),
            parents: Vec::new(),
            current: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_ring::wire::{ExchangeId, ReplicaError};
    use quorate_ring::{BucketName, Key};

    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new(&BucketName::new("carts").expect("valid"), &Key::new(name.to_owned()).expect("valid"))
    }

    fn recorder() -> Recorder {
        Recorder::new(1, 2, [key("alice"), key("bob")].iter())
    }

    fn question() -> PeerMessage {
        PeerMessage::Read { exchange: ExchangeId(9), timeout_millis: 10, key: key("bob"), stand_in: false }
    }

    #[test]
    fn an_answer_is_about_what_its_question_was_and_in_the_same_conversation() {
        let mut recorder = recorder();
        let asked = recorder.peer_says(5, [0, 1], [0, 0], &question());
        recorder.arrived(8, asked);
        let answer = PeerMessage::ReadReply { exchange: ExchangeId(9), result: Err(ReplicaError::Overloaded) };
        let answered = recorder.peer_says(9, [1, 0], [0, 0], &answer);
        recorder.lost(11, answered, "the link is cut");
        let story = recorder.finish(Ending { lasted: 20, ..Ending::default() });
        let [question, answer] = &story.messages[..] else { panic!("two messages: {story:?}") };
        assert_eq!((question.label.as_str(), question.arrived), ("read k1", Some(8)));
        assert_eq!((answer.about.keys.as_slice(), answer.talk), (&[1][..], question.talk));
        assert_eq!((answer.arrived, answer.lost.as_ref().map(|lost| lost.at)), (None, Some(11)));
    }

    #[test]
    fn a_message_arrives_or_is_lost_once_and_its_copy_apart_from_it() {
        let mut recorder = recorder();
        let original = recorder.peer_says(5, [0, 1], [0, 0], &question());
        let copy = recorder.copied(original);
        recorder.arrived(7, original);
        recorder.lost(9, original, "too late");
        recorder.lost(9, copy, "its connection is gone");
        let story = recorder.finish(Ending::default());
        assert!(story.messages[0].arrived == Some(7) && story.messages[0].lost.is_none());
        assert!(story.messages[1].copy && story.messages[1].arrived.is_none() && story.messages[1].lost.is_some());
    }

    #[test]
    fn of_what_a_writer_had_seen_only_the_latest_are_its_parents() {
        let parents: [&[u32]; 4] = [&[], &[0], &[], &[1, 2]];
        let of = |write: u32| parents[write as usize].to_vec();
        assert_eq!(direct_parents(&[0, 1, 2], of), [1, 2]);
        assert_eq!(direct_parents(&[0, 1, 2, 3], of), [3]);
        assert_eq!(direct_parents(&[], of), [0; 0]);
    }
}
