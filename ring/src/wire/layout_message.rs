//! How nodes come to the same copy of the layout, and how an operator changes it.

use serde::{Deserialize, Serialize};

use crate::NodeId;
use crate::layout::{Change, Delta, EpochId, Layout, Summary};

/// About the layout, from a node to a peer. Nobody waits for an answer: what is lost is said again to somebody soon.
///
/// ```text
/// Digest ──▶ other hash: Summary ──▶ what that lacks: Delta, with a Summary if something is lacking here ──▶ what that lacks: Delta
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LayoutMessage {
    /// My copy has this hash. Who has another one sends it. The second message on a link, and said to a few when the copy changes.
    #[serde(rename = "d")]
    Digest {
        /// Over the encoded copy.
        hash: u64,
        /// The number of the last epoch that all my writes go by: who knows that all have acknowledged a later one takes none of them.
        last: u64,
    },
    /// My requests go by the epoch of this number from now on: said to all when it changes, and again to who refuses one.
    #[serde(rename = "e")]
    Epoch {
        /// The number.
        last: u64,
    },
    /// My copy. Who has something that it lacks sends its own back, as [`Self::Back`].
    #[serde(rename = "c")]
    Copy(Box<Layout>),
    /// My copy, which has something that yours lacks. Nothing is sent back: two whose disks are slow would go on for ever.
    #[serde(rename = "b")]
    Back(Box<Layout>),
    /// What I know has this. Said to who has a copy of another hash.
    #[serde(rename = "s")]
    Summary(Box<Summary>),
    /// What my copy has and yours lacks, as you told.
    #[serde(rename = "D")]
    Delta {
        /// Nothing, if that is so little.
        delta: Option<Box<Delta>>,
        /// What I know, if yours has something that I lack. It is answered without one, so that it ends.
        summary: Option<Box<Summary>>,
    },
}

/// What an operator asks to be done with the layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LayoutChange {
    /// Stage that this is wished of a node.
    #[serde(rename = "w")]
    Wish {
        /// Which.
        node: NodeId,
        /// What.
        change: Change,
    },
    /// Carry out what is staged, if it still is what was looked at.
    #[serde(rename = "c")]
    Commit {
        /// The epoch that it was going to be.
        epoch: EpochId,
    },
    /// Stage nothing any more.
    #[serde(rename = "r")]
    Revert,
}
