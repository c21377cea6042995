//! How a start is judged: does this store hold all that was ever acknowledged from it, and may the same actor go on?
//!
//! An actor's counters live in its store. If the store may have lost its last writes, the same actor would give the same dot to two
//! events, and one of them would silently hide the other (riak_kv#679). So the same actor goes on only after a stop that provably
//! left everything on disk; every other start is a new incarnation.
//!
//! The proof is two things that must agree: the [`Identity`] in the store, and a *marker*, a small file beside it that every start
//! and every clean stop makes anew. The identity remembers which markers were made last and where they lay ([`Marker::place`]: inode
//! and time of birth, which a restored copy does not have).
//!
//! ```text
//!  store empty                                        ─▶ First         new actor
//!  marker is the one remembered, made by a clean stop ─▶ Clean         same actor; a new one if the machine was booted since
//!  ... made by a start, on this boot of the machine   ─▶ ProcessCrash  new actor; all that was acknowledged is there
//!  anything else                                      ─▶ PossibleLoss  new actor; reads do not count on it
//! ```
//!
//! An empty store proves nothing: it may be that of a new cluster, or have been emptied. The peers know: each tells the others which
//! incarnations of them it has met ([`quorate_ring::wire::PeerMessage::Known`]), and a node that is told of one that its store does
//! not remember knows that its store is not what it was. Until all that share a partition with it have spoken, reads do not count on it.
//!
//! What neither can see is a whole disk set back below the file system (a snapshot of a virtual machine); the operator of such a node
//! starts it with `--new-incarnation`.

use bytes::Bytes;
use quorate_ring::version::Incarnation;
use quorate_ring::wire::StartKind;
use quorate_ring::{ClusterName, NodeId, PartitionCount};
use serde::{Deserialize, Serialize};

use crate::replica::layout::{self, Damaged};

/// Most earlier incarnations that a store remembers. Far more than the [`quorate_ring::limits::KNOWN_INCARNATIONS_MAX`] that peers
/// do, so that a peer that was long away names none that was forgotten.
pub const ANCESTORS_MAX: usize = 1024;

/// Adds to a store's earlier incarnations, the oldest first, those that peers have met and it did not know. `true` if any is new.
pub fn remember_lost(ancestors: &mut Vec<Incarnation>, own: Incarnation, lost: &[Incarnation]) -> bool {
    let is_new = |incarnation: &&Incarnation| **incarnation != own && !ancestors.contains(*incarnation);
    let new: Vec<Incarnation> = lost.iter().filter(is_new).copied().collect();
    let room = ANCESTORS_MAX.saturating_sub(ancestors.len());
    ancestors.splice(0..0, new.iter().rev().take(room).rev().copied());
    !new.is_empty()
}

/// Where the identity is stored in [`crate::storage::Column::Metadata`].
pub const IDENTITY_KEY: &[u8] = b"identity";

/// Whose store it is, and how it was last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster it belongs to.
    pub cluster: ClusterName,
    /// The node it belongs to.
    pub node: NodeId,
    /// Q, which the order of its objects depends on.
    pub partitions: PartitionCount,
    /// The fingerprint of the ring that its cluster began with.
    pub ring: u64,
    /// The incarnation that last wrote it.
    pub incarnation: Incarnation,
    /// The incarnations before it, oldest first; at most [`ANCESTORS_MAX`].
    pub ancestors: Vec<Incarnation>,
    /// Whether it has all that was ever acknowledged from it.
    pub standing: Standing,
    /// The marker that was made last.
    pub marker: Marker,
    /// The one before it, which still lies there if this process died, or the disk was full, before the new one was put in its place.
    pub previous: Option<Marker>,
}

/// Whether a store has all that was ever acknowledged from it. Reads count on a [`Standing::Proven`] one only.
///
/// ```text
/// (empty) ─▶ Unproven ──every peer that shares a partition has spoken, none knows a foreign incarnation──▶ Proven
///               │                                                                                            │
///               └──────────a peer knows a foreign incarnation, or a start that may follow a loss──────────────▼
///                                                                                                           Lost
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It has.
    #[serde(rename = "p")]
    Proven,
    /// It was empty at its first start: that of a new cluster, or emptied. The peers will tell.
    #[serde(rename = "u")]
    Unproven,
    /// It may have lost something.
    #[serde(rename = "l")]
    Lost,
}

/// A file beside the store that proves that the store was neither moved nor set back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Who made it.
    pub made_by: MadeBy,
    /// A number drawn when it was made; it is also the file's content.
    pub nonce: u64,
    /// Where the file lies: its inode and time of birth, as text.
    pub place: String,
    /// Which boot of the machine it was made in.
    pub boot: String,
}

/// Who made a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MadeBy {
    /// A start: the process ran, or still does.
    #[serde(rename = "s")]
    Start,
    /// A clean stop, after everything was synced.
    #[serde(rename = "c")]
    CleanStop,
}

/// What is found beside the store at a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The marker file's content, if there is such a file.
    pub nonce: Option<u64>,
    /// Where it lies.
    pub place: String,
    /// This boot of the machine.
    pub boot: String,
}

/// Whose store a node expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Of which cluster.
    pub cluster: ClusterName,
    /// Of which node.
    pub node: NodeId,
    /// With this many partitions.
    pub partitions: PartitionCount,
    /// Under the ring of this fingerprint.
    pub ring: u64,
}

/// How a start was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Of which kind it is.
    pub kind: StartKind,
    /// The incarnation that begins or goes on.
    pub incarnation: Incarnation,
    /// The incarnations before it that the store remembers, oldest first.
    pub ancestors: Vec<Incarnation>,
    /// Whether the store has all that was ever acknowledged from it.
    pub standing: Standing,
}

/// Why a store is not this node's to use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    /// It belongs to another node.
    #[error("the store belongs to node {found}, not to {wanted}")]
    Node {
        /// Whose it is.
        found: NodeId,
        /// Who wants it.
        wanted: NodeId,
    },
    /// It belongs to another cluster.
    #[error("the store belongs to cluster {found:?}, not to {wanted:?}")]
    Cluster {
        /// Whose it is.
        found: ClusterName,
        /// Who wants it.
        wanted: ClusterName,
    },
    /// It is laid out for another number of partitions, which cannot be changed.
    #[error(
        "the store has {found} partitions, the configuration says {wanted}; their number is fixed when a cluster is created"
    )]
    Partitions {
        /// What it has.
        found: PartitionCount,
        /// What is configured.
        wanted: PartitionCount,
    },
    /// Its cluster began with another ring, and it has not stored by which it went since.
    #[error(
        "the store was made with other members, zones, capacities or n than are configured (ring {found:016x}, now {wanted:016x}); \
         start it with those it was made with, then change them with `quorate cluster`"
    )]
    Ring {
        /// What it has.
        found: u64,
        /// What is configured.
        wanted: u64,
    },
    /// It cannot be read.
    #[error("the store's identity cannot be read: {0}")]
    Damaged(#[from] Damaged),
}

/// Reads a stored identity and checks that the store is the one expected.
///
/// # Errors
/// Whose store it is, or that this cannot be told.
pub fn check(stored: &[u8], expected: &Expected) -> Result<Identity, NotOurs> {
    let identity: Identity = layout::decode("identity", stored)?;
    if identity.cluster != expected.cluster {
        return Err(NotOurs::Cluster { found: identity.cluster, wanted: expected.cluster.clone() });
    }
    if identity.node != expected.node {
        return Err(NotOurs::Node { found: identity.node, wanted: expected.node });
    }
    if identity.partitions != expected.partitions {
        return Err(NotOurs::Partitions { found: identity.partitions, wanted: expected.partitions });
    }
    if identity.ring != expected.ring {
        return Err(NotOurs::Ring { found: identity.ring, wanted: expected.ring });
    }
    Ok(identity)
}

/// Judges a start. `stored` is the identity of a store that has one; `fresh` is a new random incarnation; `forced` says that the
/// operator knows that the store was set back.
pub fn judge(stored: Option<&Identity>, evidence: &Evidence, fresh: Incarnation, forced: Forced) -> Verdict {
    let Some(identity) = stored else {
        let (kind, standing) = (StartKind::First, Standing::Unproven);
        return Verdict { kind, incarnation: fresh, ancestors: Vec::new(), standing };
    };
    let (kind, standing) = compare(identity, evidence, forced);
    let mut ancestors = identity.ancestors.clone();
    // A disk that lied when it was synced at the stop has shown it by now if the machine was off. A new actor costs little, and cannot
    // give a lost dot to a second event.
    let same_boot = evidence.boot == identity.marker.boot;
    if kind == StartKind::Clean && same_boot {
        return Verdict { kind, incarnation: identity.incarnation, ancestors, standing };
    }
    ancestors.push(identity.incarnation);
    ancestors.drain(..ancestors.len().saturating_sub(ANCESTORS_MAX));
    Verdict { kind, incarnation: fresh, ancestors, standing }
}

fn compare(identity: &Identity, evidence: &Evidence, forced: Forced) -> (StartKind, Standing) {
    let found = |marker: &&Marker| evidence.nonce == Some(marker.nonce) && evidence.place == marker.place;
    let remembered = [Some(&identity.marker), identity.previous.as_ref()].into_iter().flatten().find(found);
    let Some(marker) = remembered.filter(|_| forced == Forced::No) else {
        return (StartKind::PossibleLoss, Standing::Lost);
    };
    match marker.made_by {
        MadeBy::CleanStop => (StartKind::Clean, identity.standing),
        MadeBy::Start if evidence.boot == marker.boot => (StartKind::ProcessCrash, identity.standing),
        MadeBy::Start => (StartKind::PossibleLoss, Standing::Lost),
    }
}

/// Whether the operator demands a new incarnation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forced {
    /// No: the evidence decides.
    #[default]
    No,
    /// Yes: the store was set back in a way that cannot be seen from inside.
    NewIncarnation,
}

/// The identity as it is stored.
pub fn encode(identity: &Identity) -> Bytes {
    layout::encode(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(made_by: MadeBy) -> Identity {
        Identity {
            cluster: ClusterName::new("c").expect("valid"),
            node: NodeId::new(1).expect("not 0"),
            partitions: PartitionCount::default(),
            ring: 3,
            incarnation: Incarnation::new(7),
            ancestors: vec![Incarnation::new(3)],
            standing: Standing::Proven,
            previous: None,
            marker: Marker { made_by, nonce: 5, place: "inode 3".to_owned(), boot: "b1".to_owned() },
        }
    }

    fn evidence() -> Evidence {
        Evidence { nonce: Some(5), place: "inode 3".to_owned(), boot: "b1".to_owned() }
    }

    fn kind(stored: Option<&Identity>, evidence: &Evidence) -> (StartKind, u64, Standing) {
        let verdict = judge(stored, evidence, Incarnation::new(9), Forced::No);
        (verdict.kind, verdict.incarnation.number(), verdict.standing)
    }

    #[test]
    fn only_a_provably_clean_stop_lets_the_actor_go_on() {
        assert_eq!(kind(None, &evidence()), (StartKind::First, 9, Standing::Unproven));
        let (clean, crashed) = (identity(MadeBy::CleanStop), identity(MadeBy::Start));
        assert_eq!(kind(Some(&clean), &evidence()), (StartKind::Clean, 7, Standing::Proven));
        assert_eq!(kind(Some(&crashed), &evidence()), (StartKind::ProcessCrash, 9, Standing::Proven));
        let rebooted = Evidence { boot: "b2".to_owned(), ..evidence() };
        assert_eq!(kind(Some(&clean), &rebooted), (StartKind::Clean, 9, Standing::Proven), "a disk may have lied");
        assert_eq!(kind(Some(&crashed), &rebooted), (StartKind::PossibleLoss, 9, Standing::Lost));
        for other in [
            Evidence { nonce: None, ..evidence() },
            Evidence { nonce: Some(6), ..evidence() },
            Evidence { place: "inode 4".to_owned(), ..evidence() },
        ] {
            assert_eq!(kind(Some(&clean), &other), (StartKind::PossibleLoss, 9, Standing::Lost));
            assert_eq!(kind(Some(&crashed), &other), (StartKind::PossibleLoss, 9, Standing::Lost));
        }
        let forced = judge(Some(&clean), &evidence(), Incarnation::new(9), Forced::NewIncarnation);
        assert_eq!((forced.kind, forced.standing), (StartKind::PossibleLoss, Standing::Lost));
    }

    #[test]
    fn a_start_that_died_before_its_marker_was_in_place_lost_nothing() {
        let mut begun = identity(MadeBy::Start);
        begun.previous = Some(begun.marker.clone());
        begun.marker = Marker { nonce: 6, place: "inode 4".to_owned(), ..begun.marker };
        assert_eq!(kind(Some(&begun), &evidence()), (StartKind::ProcessCrash, 9, Standing::Proven));
        begun.previous = None;
        assert_eq!(kind(Some(&begun), &evidence()), (StartKind::PossibleLoss, 9, Standing::Lost));
    }

    #[test]
    fn the_store_remembers_its_earlier_incarnations() {
        let numbers = |made_by| {
            let verdict = judge(Some(&identity(made_by)), &evidence(), Incarnation::new(9), Forced::No);
            verdict.ancestors.iter().map(|incarnation| incarnation.number()).collect::<Vec<_>>()
        };
        assert_eq!(numbers(MadeBy::CleanStop), [3]);
        assert_eq!(numbers(MadeBy::Start), [3, 7]);
    }

    #[test]
    fn a_loss_is_not_forgotten_by_a_later_clean_stop() {
        let mut clean = identity(MadeBy::CleanStop);
        clean.standing = Standing::Lost;
        assert_eq!(kind(Some(&clean), &evidence()), (StartKind::Clean, 7, Standing::Lost));
    }

    #[test]
    fn a_store_of_someone_else_is_refused() {
        let stored = encode(&identity(MadeBy::Start));
        let expected = Expected {
            cluster: ClusterName::new("c").expect("valid"),
            node: identity(MadeBy::Start).node,
            partitions: PartitionCount::default(),
            ring: 3,
        };
        assert!(check(&stored, &expected).is_ok());
        let node = Expected { node: NodeId::new(2).expect("not 0"), ..expected.clone() };
        assert!(matches!(check(&stored, &node), Err(NotOurs::Node { .. })));
        let cluster = Expected { cluster: ClusterName::new("d").expect("valid"), ..expected.clone() };
        assert!(matches!(check(&stored, &cluster), Err(NotOurs::Cluster { .. })));
        let ring = Expected { ring: 4, ..expected.clone() };
        assert!(matches!(check(&stored, &ring), Err(NotOurs::Ring { .. })));
        let partitions = Expected { partitions: PartitionCount::new(8).expect("valid"), ..expected };
        assert!(matches!(check(&stored, &partitions), Err(NotOurs::Partitions { .. })));
        assert!(matches!(check(&[0], &partitions), Err(NotOurs::Damaged(_))));
    }
}
