//! The story of one run as data: who said what to whom, what was durable when, what went wrong, and which promise did not hold.
//!
//! A `Recorder` collects it while the engine runs, if the run is traced. [`Story::to_text`] tells it in a screenful,
//! [`Story::to_html`] draws it in one file that needs no network. It is the same for the same run, byte for byte. All times are
//! microseconds of virtual time since the run began; lanes, keys and writes are named by their numbers.

mod describe;
mod html;
pub(crate) mod plan;
mod recorder;
#[cfg(test)]
mod sample;
mod stores;
mod telling;
mod text;
mod words;

use serde::Serialize;

pub(crate) use recorder::{Ending, Recorder, Ticket, direct_parents};

/// A run, told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Story {
    /// Which run: `seed 4711`.
    pub title: String,
    /// The command that repeats it.
    pub repeat: String,
    /// The plan in a few lines.
    pub plan: Vec<String>,
    /// The promise that did not hold, if one did not.
    pub failure: Option<Failure>,
    /// When it ended.
    pub lasted: u64,
    /// How many events the engine had.
    pub events: u64,
    /// Load, healing, and the checks.
    pub phases: Vec<Phase>,
    /// Who takes part: clients, then nodes.
    pub lanes: Vec<Lane>,
    /// The keys' names.
    pub keys: Vec<String>,
    /// What was said, by when it was sent.
    pub messages: Vec<Message>,
    /// What clients did, by when it began.
    pub operations: Vec<Operation>,
    /// What went wrong on purpose, by when it began.
    pub faults: Vec<Fault>,
    /// When processes ran, by when they started.
    pub lives: Vec<Life>,
    /// What became durable, by when.
    pub stores: Vec<Store>,
    /// What else is worth knowing, by when.
    pub notes: Vec<Note>,
    /// The writes, each at the place of its number.
    pub writes: Vec<Write>,
    /// What nodes held at the end.
    pub held: Vec<Held>,
}

/// What something is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct About {
    /// Which keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<u32>,
    /// Which writes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<u32>,
}

impl About {
    /// About one key and maybe one write to it.
    pub fn key(key: u32, write: Option<u32>) -> Self {
        Self { keys: vec![key], writes: write.into_iter().collect() }
    }

    fn meets(&self, other: &Self) -> bool {
        self.writes.iter().any(|write| other.writes.contains(write))
    }

    fn shares_key(&self, other: &Self) -> bool {
        self.keys.iter().any(|key| other.keys.contains(key))
    }
}

/// A promise that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Which check found it: `O1`.
    pub oracle: String,
    /// What went wrong, in a few words.
    pub name: String,
    /// What was promised, in a sentence.
    pub promise: String,
    /// What was seen.
    pub what: String,
    /// When.
    pub at: u64,
    /// What it is about.
    #[serde(flatten)]
    pub about: About,
}

/// A part of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Phase {
    /// When it began.
    pub at: u64,
    /// What it is.
    pub text: String,
}

/// Who takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lane {
    /// What kind of participant.
    pub kind: LaneKind,
    /// Its name.
    pub name: String,
}

/// The place of a lane in [`Story::lanes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct LaneIndex(pub usize);

/// What kind of participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LaneKind {
    /// An application.
    Client,
    /// A node of the cluster.
    Node,
}

/// Something said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Who says it.
    pub from: LaneIndex,
    /// To whom.
    pub to: LaneIndex,
    /// When.
    pub sent: u64,
    /// When it arrived, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrived: Option<u64>,
    /// When and why it was lost, if it was. What neither arrived nor was lost was on its way when the run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<Loss>,
    /// Of what kind: `replicate`.
    pub kind: String,
    /// Kind and subject: `replicate k3 w17`.
    pub label: String,
    /// What else it says.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Which conversation it is part of: question and answer have the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub talk: Option<u32>,
    /// Whether the network made it from another.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub copy: bool,
    /// What it is about.
    #[serde(flatten)]
    pub about: About,
}

/// How a message was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// When.
    pub at: u64,
    /// Why.
    pub why: String,
}

/// Something a client did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// Whose.
    pub client: LaneIndex,
    /// When it began.
    pub begun: u64,
    /// When it ended, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<u64>,
    /// What: `put k3 = w17`.
    pub text: String,
    /// What came of it, in words.
    pub outcome: String,
    /// What came of it.
    pub fate: Fate,
    /// Keys it is on, and writes it makes.
    #[serde(flatten)]
    pub about: About,
    /// The writes that it showed, if it is a read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<u32>,
}

/// What came of an operation, as far as its client knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It is under way.
    #[default]
    UnderWay,
    /// It was done; a write was acknowledged.
    Done,
    /// It definitely did not happen.
    Failed,
    /// It may have happened or not.
    Unknown,
}

/// Something that was made to go wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Its number in the catalogue: `N7`.
    pub id: String,
    /// What it is.
    pub text: String,
    /// Whom it meets.
    pub lanes: Vec<LaneIndex>,
    /// When it begins.
    pub from: u64,
    /// When it is over; `None` if it lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// The life of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Life {
    /// Of which node.
    pub node: LaneIndex,
    /// When it started.
    pub from: u64,
    /// When it ended, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Its incarnation.
    pub incarnation: String,
    /// What it started on: `an empty store`.
    pub start: String,
    /// How it ended.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub end: String,
}

/// Writes became more durable at a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Store {
    /// Where.
    pub node: LaneIndex,
    /// When.
    pub at: u64,
    /// How durable.
    pub kind: StoreKind,
    /// Which writes.
    #[serde(flatten)]
    pub about: About,
}

/// How durable something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// It survives the process.
    Flushed,
    /// It survives the machine.
    Synced,
}

/// Something worth knowing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Where.
    pub lane: LaneIndex,
    /// When.
    pub at: u64,
    /// What.
    pub text: String,
    /// What it is about.
    #[serde(flatten)]
    pub about: About,
}

/// A write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Write {
    /// On which key.
    pub key: u32,
    /// What it does.
    pub kind: WriteKind,
    /// Whose.
    pub client: LaneIndex,
    /// When it began.
    pub begun: u64,
    /// When its client learnt what became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<u64>,
    /// What became of it.
    pub fate: Fate,
    /// W.
    pub w: u8,
    /// The durability it asked for.
    pub durability: String,
    /// The latest writes that its writer had seen; what those had seen goes without saying.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<u32>,
    /// Whether a primary held its value at the end.
    pub current: bool,
}

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WriteKind {
    /// Adds a value.
    Put,
    /// Takes away what its writer had seen.
    Delete,
}

/// What a primary of a key held of it at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Who.
    pub node: LaneIndex,
    /// Of which key.
    pub key: u32,
    /// The siblings.
    pub writes: Vec<u32>,
}

impl Story {
    /// Tells the run in at most [`TEXT_LINES_MAX`] lines of [`TEXT_COLUMNS_MAX`] columns.
    pub fn to_text(&self) -> String {
        text::tell(self)
    }

    /// Draws the run in one HTML file that needs no network. Nothing that the run contains is taken for markup or script.
    pub fn to_html(&self) -> String {
        html::draw(self)
    }
}

pub use text::{TEXT_COLUMNS_MAX, TEXT_LINES_MAX};
