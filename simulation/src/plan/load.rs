//! What clients do: each a list of steps, one after the other.

use quorate_ring::wire::Durability;
use serde::{Deserialize, Serialize};

use super::span::Span;

/// A client's part of the load.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClientPlan {
    /// When it begins.
    #[serde(default, skip_serializing_if = "Span::is_zero")]
    pub starts: Span,
    /// What it does.
    pub steps: Vec<Step>,
}

/// One thing that a client does, some time after the one before it is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Step {
    /// How long after.
    #[serde(default, skip_serializing_if = "Span::is_zero")]
    pub after: Span,
    /// Not before this time of the run.
    #[serde(default, skip_serializing_if = "Span::is_zero")]
    pub at: Span,
    /// How long the client waits for an answer.
    pub within: Span,
    /// Whom it asks.
    #[serde(default, skip_serializing_if = "Whom::is_best")]
    pub ask: Whom,
    /// Whether others may stand in for primaries that are away. Not unless it says so: a plan that was written down goes on to do what it
    /// did, and most oracles are sharper for it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sloppy: bool,
    /// What it does.
    #[serde(rename = "do")]
    pub action: Action,
}

/// Whom a client asks first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whom {
    /// A primary of the key, as clients do that know the ring.
    #[default]
    Best,
    /// Anybody, as clients do that do not.
    Anybody,
    /// This node and no other.
    Node(u32),
}

impl Whom {
    fn is_best(&self) -> bool {
        *self == Self::Best
    }
}

/// What a client does. Keys are numbered from 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Action {
    /// Reads a key.
    Get(Get),
    /// Writes a key.
    Put(Put),
    /// Reads a key, and writes it with the context of that read.
    Update(Put),
    /// Deletes a key with the last context the client has of it; reads it if it has none.
    Delete(Delete),
    /// Reads several keys.
    GetMany(GetMany),
    /// Writes several keys, each with the last context the client has of it.
    PutMany(PutMany),
    /// Reads a page of the key's partition.
    Scan(Scan),
    /// Writes with a context that no node made.
    Forge(Forge),
}

/// A read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Get {
    /// Which key.
    pub key: usize,
    /// R, if it asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r: Option<u8>,
    /// Whether all primaries are read, and those that are behind repaired before the answer, in place of that.
    #[serde(default, skip_serializing_if = "is_false")]
    pub repaired: bool,
}

/// A write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Put {
    /// Which key.
    pub key: usize,
    /// Whether it says what it has seen.
    #[serde(default, skip_serializing_if = "Context::is_last")]
    pub context: Context,
    /// How many bytes the value has beside its number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes: usize,
    /// How long the value lives; for ever if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// R of the read before it, and W and durability, where it asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r: Option<u8>,
    /// W.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub w: Option<u8>,
    /// Durability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<Asked>,
}

/// A delete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Delete {
    /// Which key.
    pub key: usize,
    /// W, if it asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub w: Option<u8>,
    /// Durability, if it asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<Asked>,
}

/// A read of several keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GetMany {
    /// Which keys.
    pub keys: Vec<usize>,
    /// R, if it asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r: Option<u8>,
}

/// A write of several keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PutMany {
    /// Which keys.
    pub keys: Vec<usize>,
    /// How many bytes each value has beside its number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes: usize,
    /// How long the value lives; for ever if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// W, if it asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub w: Option<u8>,
    /// Durability, if it asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<Asked>,
}

/// A page of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scan {
    /// A key of the partition to read.
    pub key: usize,
    /// Whether the page begins behind that key, and not with the partition.
    #[serde(default, skip_serializing_if = "is_false")]
    pub behind: bool,
    /// Most objects of the page.
    pub limit: u32,
    /// R, if it asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r: Option<u8>,
}

/// A write with a context that no node made. Cut, bent or of another key, it must be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Forge {
    /// Which key.
    pub key: usize,
    /// What is wrong with it.
    pub how: Forgery,
}

/// What is wrong with a forged context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forgery {
    /// Its end is missing.
    Cut,
    /// One bit is another.
    Bent,
    /// It is of another key.
    OfAnotherKey,
    /// It is made up.
    MadeUp,
}

/// Whether a write says what it has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Context {
    /// With the context of the client's last read or write of the key, however old; none if there is none.
    #[default]
    Last,
    /// Without.
    Blind,
}

impl Context {
    fn is_last(&self) -> bool {
        *self == Self::Last
    }
}

/// Where a write must be to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// With the process.
    Buffered,
    /// On the disk.
    Synced,
}

impl From<Asked> for Durability {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Buffered => Self::Buffered,
            Asked::Synced => Self::Synced,
        }
    }
}

impl Action {
    /// The keys it is about.
    pub fn keys(&self) -> Vec<usize> {
        match self {
            Self::Get(get) => vec![get.key],
            Self::Put(put) | Self::Update(put) => vec![put.key],
            Self::Delete(delete) => vec![delete.key],
            Self::GetMany(many) => many.keys.clone(),
            Self::PutMany(many) => many.keys.clone(),
            Self::Scan(scan) => vec![scan.key],
            Self::Forge(forge) => vec![forge.key],
        }
    }

    /// How long a value that it writes lives, if not for ever.
    pub fn ttl(&self) -> Option<Span> {
        match self {
            Self::Put(put) | Self::Update(put) => put.ttl,
            Self::PutMany(many) => many.ttl,
            _ => None,
        }
    }

    /// The R and W it asks for.
    pub fn quorum(&self) -> (Option<u8>, Option<u8>) {
        match self {
            Self::Get(get) => (get.r, None),
            Self::Put(put) | Self::Update(put) => (put.r, put.w),
            Self::Delete(delete) => (None, delete.w),
            Self::GetMany(many) => (many.r, None),
            Self::PutMany(many) => (None, many.w),
            Self::Scan(scan) => (scan.r, None),
            Self::Forge(_) => (None, None),
        }
    }
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}
