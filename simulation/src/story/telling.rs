//! What matters of a story: of thousands of events the dozen that show why the promise did not hold, and what became of the write
//! or key concerned.

use serde::Serialize;

use super::words::{self, time};
use super::{About, Failure, Fate, LaneIndex, LaneKind, StoreKind, Story, WriteKind};

/// How many events are told.
pub(super) const EVENTS_MAX: usize = 14;
/// Of how many writes it is told what became of them.
const WRITES_MAX: usize = 2;

/// The essence of a story.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Telling {
    /// What became of what the failure is about: a heading, and what is under it.
    pub(super) became: Vec<Paragraph>,
    /// The last events that matter.
    pub(super) events: Vec<Told>,
}

/// Some lines under a heading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Paragraph {
    pub(super) heading: String,
    pub(super) lines: Vec<(String, String)>,
}

/// An event that matters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Told {
    pub(super) at: u64,
    pub(super) who: String,
    pub(super) what: String,
    /// Where it is in the story.
    pub(super) list: &'static str,
    pub(super) index: usize,
    #[serde(skip)]
    weight: u32,
}

impl Telling {
    pub(super) fn of(story: &Story) -> Self {
        match &story.failure {
            Some(failure) => {
                let focus = Focus::of(story, failure);
                Self { became: focus.became(), events: focus.events() }
            }
            None => Self::default(),
        }
    }
}

/// What the failure is about, and the time in which it was made.
struct Focus<'a> {
    story: &'a Story,
    failure: &'a Failure,
    /// When the first write concerned began.
    since: u64,
    /// When the last of them was over: between, faults matter most.
    settled: u64,
    /// The nodes that had to do with it.
    nodes: Vec<LaneIndex>,
}

impl<'a> Focus<'a> {
    fn of(story: &'a Story, failure: &'a Failure) -> Self {
        let writes = || failure.about.writes.iter().filter_map(|write| story.writes.get(*write as usize));
        let since = writes().map(|write| write.begun).min().unwrap_or(0);
        let settled = writes().map(|write| write.ended.unwrap_or(failure.at)).max().unwrap_or(failure.at);
        let mut nodes: Vec<LaneIndex> = story
            .messages
            .iter()
            .filter(|message| message.about.meets(&failure.about))
            .flat_map(|message| [message.from, message.to])
            .chain(story.stores.iter().filter(|store| store.about.meets(&failure.about)).map(|store| store.node))
            .chain(story.held.iter().filter(|held| failure.about.keys.contains(&held.key)).map(|held| held.node))
            .collect();
        nodes.sort_unstable();
        nodes.dedup();
        Self { story, failure, since, settled, nodes }
    }

    fn became(&self) -> Vec<Paragraph> {
        let writes = self.failure.about.writes.iter().take(WRITES_MAX);
        let mut told: Vec<Paragraph> = writes.filter_map(|write| self.write(*write)).collect();
        let held = self.held();
        match (told.last_mut(), held.is_empty()) {
            (Some(last), false) => last.lines.push(("at the end".to_owned(), held)),
            (None, false) => {
                let key = self.failure.about.keys.first().copied().unwrap_or_default();
                let heading = format!("What is left of {}", self.key(key));
                told.push(Paragraph { heading, lines: vec![("at the end".to_owned(), held)] });
            }
            _ => {}
        }
        told
    }

    fn key(&self, key: u32) -> String {
        let name = self.story.keys.get(key as usize).map_or("?", String::as_str);
        format!("{} ({})", words::key(key), words::cut(name, 40))
    }

    fn write(&self, number: u32) -> Option<Paragraph> {
        let write = self.story.writes.get(number as usize)?;
        let what = match write.kind {
            WriteKind::Put => "put",
            WriteKind::Delete => "delete",
        };
        let by = format!(
            "{}, which had seen {}, at {}; W = {}, {}",
            self.story.name(write.client),
            words::writes(&write.parents, "nothing"),
            time(write.begun),
            write.w,
            write.durability.to_lowercase()
        );
        let ended = write.ended.map_or(String::new(), |at| format!(" at {}", time(at)));
        let fate = match write.fate {
            Fate::UnderWay => "still under way when the run ended".to_owned(),
            Fate::Done => format!("acknowledged{ended}"),
            Fate::Failed => format!("definitely failed, as its client was told{ended}"),
            Fate::Unknown => format!("unknown to its client, as it was told{ended}"),
        };
        let lines =
            vec![("made by".to_owned(), by), ("outcome".to_owned(), fate), ("stored".to_owned(), self.stored(number))];
        let heading = format!("What became of {}, a {what} of {}", words::write(number), self.key(write.key));
        Some(Paragraph { heading, lines })
    }

    /// Which nodes had it when, as far as it was noted.
    fn stored(&self, number: u32) -> String {
        let first = |node, kind| {
            let stores = self.story.stores.iter();
            let mut own = stores.filter(|store| store.node == node && store.kind == kind);
            own.find(|store| store.about.writes.contains(&number)).map(|store| time(store.at))
        };
        let nodes = self.nodes.iter().filter(|node| self.is_node(**node)).map(|node| {
            let name = self.story.name(*node);
            match (first(*node, StoreKind::Flushed), first(*node, StoreKind::Synced)) {
                (None, None) => format!("{name} never"),
                (Some(flushed), None) => format!("{name} {flushed}, never synced"),
                (Some(flushed), Some(synced)) => format!("{name} {flushed}, synced {synced}"),
                (None, Some(synced)) => format!("{name} synced {synced}"),
            }
        });
        nodes.collect::<Vec<_>>().join("; ")
    }

    fn held(&self) -> String {
        let held = self.story.held.iter().filter(|held| self.failure.about.keys.contains(&held.key));
        let told = held
            .map(|held| format!("{} holds {}", self.story.name(held.node), words::writes(&held.writes, "no value")));
        told.collect::<Vec<_>>().join("; ")
    }

    fn is_node(&self, lane: LaneIndex) -> bool {
        self.story.lanes.get(lane.0).is_some_and(|lane| lane.kind == LaneKind::Node)
    }

    fn events(&self) -> Vec<Told> {
        let mut all = Vec::new();
        self.operations(&mut all);
        self.messages(&mut all);
        self.stores(&mut all);
        self.faults(&mut all);
        self.lives(&mut all);
        self.notes(&mut all);
        all.retain(|told| told.at <= self.failure.at && 0 < told.weight);
        all.sort_by_key(|told| std::cmp::Reverse((told.weight, told.at)));
        all.truncate(EVENTS_MAX);
        // At one instant, what was the cause of what comes first.
        let order = ["faults", "lives", "operations", "messages", "stores", "notes"];
        all.sort_by_key(|told| (told.at, order.iter().position(|list| *list == told.list), told.index));
        all
    }

    /// How much something matters for what it is about.
    fn weight(&self, about: &About, of_write: u32, of_key: u32) -> u32 {
        let whole = self.failure.about.writes.is_empty();
        match () {
            () if about.meets(&self.failure.about) => of_write,
            () if !about.shares_key(&self.failure.about) => 0,
            () if whole => of_write,
            () => of_key,
        }
    }

    fn operations(&self, all: &mut Vec<Told>) {
        for (index, operation) in self.story.operations.iter().enumerate() {
            let succeeds = |write: &u32| {
                let write = self.story.writes.get(*write as usize);
                write.is_some_and(|write| write.parents.iter().any(|seen| self.failure.about.writes.contains(seen)))
            };
            let elsewhere = !operation.about.keys.is_empty() && !operation.about.shares_key(&self.failure.about);
            let failing = operation.ended == Some(self.failure.at) && !elsewhere;
            let shows = self.failure.about.writes.iter().any(|write| operation.shown.contains(write));
            let weight = match () {
                () if failing => 100,
                () if operation.about.writes.iter().any(succeeds) => 72,
                () if shows => 58,
                () => self.weight(&operation.about, 98, 30),
            };
            let who = self.story.name(operation.client).to_owned();
            let tell = |at, what, weight| Told { at, who: who.clone(), what, list: "operations", index, weight };
            match operation.ended {
                Some(ended) if ended - operation.begun < 1_000 => {
                    let took = ended - operation.begun;
                    let what = format!("{}: {} after {took} µs", operation.text, operation.outcome);
                    all.push(tell(operation.begun, what, weight));
                }
                Some(ended) => {
                    all.push(tell(operation.begun, format!("begins {}", operation.text), weight));
                    all.push(tell(ended, format!("{}: {}", operation.text, operation.outcome), weight));
                }
                None => all.push(tell(operation.begun, format!("begins {}", operation.text), weight)),
            }
        }
    }

    fn messages(&self, all: &mut Vec<Told>) {
        for (index, message) in self.story.messages.iter().enumerate() {
            let between = self.is_node(message.from) && self.is_node(message.to);
            let carries = matches!(message.kind.as_str(), "replicate" | "forward" | "repair");
            let (weight, fate) = match (&message.lost, message.arrived) {
                (Some(lost), _) => (if carries { 80 } else { 45 }, format!("lost: {}", lost.why)),
                (None, Some(at)) => (if carries { 60 } else { 20 }, format!("arrives after {} µs", at - message.sent)),
                (None, None) => (if carries { 70 } else { 25 }, "still on its way at the end".to_owned()),
            };
            let weight = if between { self.weight(&message.about, weight, weight / 4) } else { 0 };
            let copy = if message.copy { " (a duplicate)" } else { "" };
            let what = format!("{} to {}{copy}: {fate}", message.label, self.story.name(message.to));
            let who = self.story.name(message.from).to_owned();
            all.push(Told { at: message.sent, who, what, list: "messages", index, weight });
        }
    }

    fn stores(&self, all: &mut Vec<Told>) {
        for (index, store) in self.story.stores.iter().enumerate() {
            let (verb, weight) = match store.kind {
                StoreKind::Flushed => ("flushes", 78),
                StoreKind::Synced => ("syncs", 64),
            };
            let weight = self.weight(&store.about, weight, 10);
            let shared = store.about.writes.iter().copied().filter(|write| self.failure.about.writes.contains(write));
            let (shared, all_of_it): (Vec<u32>, _) = (shared.collect(), words::writes(&store.about.writes, "a delete"));
            let what = format!("{verb} {}", words::writes(&shared, &all_of_it));
            let who = self.story.name(store.node).to_owned();
            all.push(Told { at: store.at, who, what, list: "stores", index, weight });
        }
    }

    fn concerns(&self, lanes: &[LaneIndex]) -> bool {
        self.failure.about.writes.is_empty() || lanes.iter().any(|lane| self.nodes.contains(lane))
    }

    fn faults(&self, all: &mut Vec<Told>) {
        for (index, fault) in self.story.faults.iter().enumerate() {
            let lasts = fault.until.is_none_or(|until| self.since <= until);
            let critical = lasts && fault.from <= self.settled;
            let weight = match () {
                () if !lasts || !self.concerns(&fault.lanes) => 0,
                () if critical => 84,
                () => 66,
            };
            let until = fault.until.filter(|until| fault.from < *until);
            let until = until.map_or(String::new(), |until| format!(", until {}", time(until)));
            let what = format!("fault {}, {}{until}", fault.id, fault.text);
            let who = self.story.names(&fault.lanes);
            all.push(Told { at: fault.from, who, what, list: "faults", index, weight });
        }
    }

    fn lives(&self, all: &mut Vec<Told>) {
        for (index, life) in self.story.lives.iter().enumerate() {
            let matters = self.concerns(&[life.node]);
            let tell = |at: u64, what, weight| {
                let weight = if matters && self.since <= at { weight } else { 0 };
                Told { at, who: self.story.name(life.node).to_owned(), what, list: "lives", index, weight }
            };
            if 0 < life.from {
                all.push(tell(life.from, format!("starts on {}", life.start), 68));
            }
            if let Some(until) = life.until {
                all.push(tell(until, format!("is down: {}", life.end), 76));
            }
        }
    }

    fn notes(&self, all: &mut Vec<Told>) {
        for (index, note) in self.story.notes.iter().enumerate() {
            let near = self.since <= note.at && self.concerns(&[note.lane]);
            let about_else = !note.about.keys.is_empty() && !note.about.shares_key(&self.failure.about);
            let weight = match () {
                () if note.about.meets(&self.failure.about) => 95,
                () if near && !about_else => 62,
                () => 0,
            };
            let (at, who, what) = (note.at, self.story.name(note.lane).to_owned(), note.text.clone());
            all.push(Told { at, who, what, list: "notes", index, weight });
        }
    }
}
