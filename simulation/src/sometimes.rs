//! What must have happened at least once in a campaign: one that never met its faults has tested nothing, and says so.

use std::fmt;

/// Something that should sometimes happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Sometimes {
    /// A read returned several siblings.
    Siblings,
    /// A delete was acknowledged.
    Deleted,
    /// A read found that a write with context left one value of several.
    Merged,
    /// A write at a node that is no primary was forwarded.
    Forwarded,
    /// A read asked one more replica because those asked were slow.
    Hedged,
    /// A stale replica was repaired.
    Repaired,
    /// A read was refused for want of answers.
    ReadQuorumFailed,
    /// A write was refused for want of replicas.
    WriteQuorumFailed,
    /// A client does not know what became of its write.
    OutcomeUnknown,
    /// A client's write definitely failed.
    WriteFailed,
    /// A client's request was not over by its deadline.
    TimedOut,
    /// A client asked more than one node for one request.
    Retried,
    /// A batch was split over the shards of a node.
    BatchSplit,
    /// A scan's page was not the last of its partition.
    PageCut,
    /// A process crashed and came back.
    ProcessCrashed,
    /// ... between two outputs of one turn.
    CrashedInTurn,
    /// A node was stopped cleanly and came back as the same actor.
    CleanlyRestarted,
    /// A node lost power, and with it writes that were flushed.
    PowerLost,
    /// A store failed for good.
    StorageFailed,
    /// A node was paused.
    Paused,
    /// A disk was slow.
    DiskSlow,
    /// Some nodes were cut off from others.
    Partitioned,
    /// A client was cut off from some nodes.
    ClientCutOff,
    /// A connection was reset.
    Reset,
    /// A message was lost.
    MessageLost,
    /// A message arrived twice.
    MessageDuplicated,
    /// A message overtook another.
    MessageReordered,
    /// A replica that had not caught up answered a read.
    AnsweredCatchingUp,
    /// A node's disks were replaced by empty ones.
    DiskReplaced,
    /// A node learnt from a peer that its store is not what it was.
    LossFound,
    /// A write's loss was excused, as more nodes lost power or disks than it was acknowledged by.
    Excused,
}

impl Sometimes {
    /// All of them.
    pub const ALL: [Self; 31] = [
        Self::Siblings,
        Self::Deleted,
        Self::Merged,
        Self::Forwarded,
        Self::Hedged,
        Self::Repaired,
        Self::ReadQuorumFailed,
        Self::WriteQuorumFailed,
        Self::OutcomeUnknown,
        Self::WriteFailed,
        Self::TimedOut,
        Self::Retried,
        Self::BatchSplit,
        Self::PageCut,
        Self::ProcessCrashed,
        Self::CrashedInTurn,
        Self::CleanlyRestarted,
        Self::PowerLost,
        Self::StorageFailed,
        Self::Paused,
        Self::DiskSlow,
        Self::Partitioned,
        Self::ClientCutOff,
        Self::Reset,
        Self::MessageLost,
        Self::MessageDuplicated,
        Self::MessageReordered,
        Self::AnsweredCatchingUp,
        Self::DiskReplaced,
        Self::LossFound,
        Self::Excused,
    ];
}

/// How often each happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tallies([u64; Sometimes::ALL.len()]);

impl Tallies {
    /// Counts one.
    pub const fn note(&mut self, what: Sometimes) {
        self.0[what as usize] += 1;
    }

    /// How often it happened.
    pub const fn count(&self, what: Sometimes) -> u64 {
        self.0[what as usize]
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, more)| *sum += more);
    }

    /// What never happened.
    pub fn never(&self) -> Vec<Sometimes> {
        Sometimes::ALL.into_iter().filter(|what| self.count(*what) == 0).collect()
    }
}

impl fmt::Display for Tallies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, what) in Sometimes::ALL.into_iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{what:?} {}", self.count(what))?;
        }
        Ok(())
    }
}
