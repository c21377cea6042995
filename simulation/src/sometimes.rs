//! What must have happened at least once in a campaign: one that never met its faults has tested nothing, and says so.

use std::fmt;

macro_rules! sometimes {
    ($($name:ident $text:literal;)*) => {
        /// Something that should sometimes happen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Sometimes {
            $(#[doc = $text] $name,)*
        }

        impl Sometimes {
            /// All of them.
            pub const ALL: [Self; [$(stringify!($name)),*].len()] = [$(Self::$name),*];

            /// What happened, in a line.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

sometimes! {
    Siblings "a read returned several siblings";
    Deleted "a delete was acknowledged";
    Merged "a read found that a write with context left one value of several";
    WritesTogether "writes that waited for one key were stored as one";
    Forwarded "a write at a node that is no primary was forwarded";
    Hedged "a read asked one more replica because those asked were slow";
    HedgeDenied "a slow read asked nobody else, as the budget of hedges was spent";
    RankedAway "a read left out a replica that is much slower than others";
    Probed "a read asked a slow replica besides, to see whether it is quick again";
    BackgroundWaited "a batch of background work waited for the budget";
    Repaired "a stale replica was repaired";
    RepairAwaited "a read waited until those that were behind had stored what they lacked";
    ClocksSame "anti-entropy found two replicas' clocks the same";
    CaughtUpOnKey "anti-entropy brought a key that a replica had missed";
    PartitionTransferred "a page of a whole partition was transferred to a replica that had lost it";
    TransferOfPages "a whole partition was transferred in more than one page";
    TransferResumed "a transfer of a whole partition went on where it had broken";
    CaughtUp "a shard that may have lost something caught up with all its peers";
    ReadQuorumFailed "a read was refused for want of answers";
    WriteQuorumFailed "a write was refused for want of replicas";
    OutcomeUnknown "a client does not know what became of its write";
    WriteFailed "a client's write definitely failed";
    TimedOut "a client's request was not over by its deadline";
    Retried "a client asked more than one node for one request";
    BatchSplit "a batch was split over the shards of a node";
    PageCut "a scan's page was not the last of its partition";
    ProcessCrashed "a process crashed and came back";
    CrashedInTurn "a process crashed between two outputs of one turn";
    CleanlyRestarted "a node was stopped cleanly and came back as the same actor";
    PowerLost "a node lost power, and with it writes that were flushed";
    StorageFailed "a store failed for good";
    Paused "a node was paused";
    DiskSlow "a disk was slow";
    Partitioned "some nodes were cut off from others";
    ClientCutOff "a client was cut off from some nodes";
    Reset "a connection was reset";
    MessageLost "a message was lost";
    EpochsOverlapped "a node went by several live epochs";
    MembersChanged "members had changed, and all nodes knew it";
    RivalCommits "two committed different epochs after the same one";
    ReplicaReleased "a node removed a partition that it held no more";
    ViewRefused "a replica took no write from a node with another view of the ring";
    MessageDuplicated "a message arrived twice";
    MessageReordered "a message overtook another";
    AnsweredCatchingUp "a replica that had not caught up answered a read";
    DiskReplaced "a node's disks were replaced by empty ones";
    LossFound "a node learnt from a peer that its store is not what it was";
    HintMade "a node kept a write for one that was away";
    HintDelivered "a node was handed what others had kept for it";
    HintRefused "a node refused to stand in for another";
    StandInReplaced "another stood in where one that stood in could not";
    FallbackCoordinated "a node that is no primary coordinated a write, as no primary could be reached";
    ReadStandIn "a read asked another in the place of a primary that could not be reached";
    ReadStandInLate "a read that was under way did";
    HintsFull "a node had no room for a hint";
    HintNotTaken "a node did not take what another had kept for it";
    TenureContinued "a fallback made a further event in the place of the primaries before they had the first";
    ExpiredOnRead "a value that had expired was met where it was stored, and removed";
    ExpiredByJump "a value expired before its time, by a wall clock that was ahead";
    ExpiredInMerge "a value arrived at a replica by whose clock it had expired";
    RangeDiffered "two replicas with the same clock were found to hold different contents";
    ObjectMended "what a disk had lost or rotted of a key was mended from others";
    GapClosed "events that nobody had any more were closed, as all replicas agreed";
    SweepTidied "the sweep had a key stored with less, or removed, that nobody remembered";
    NodeSuspected "a node was suspected by another";
    SuspicionRefuted "a node refuted a suspicion";
    NodeDown "a node was taken to be down by another";
    NodeBack "a node that was taken to be down came back";
    LayoutByCopy "a whole copy of the layout was sent, to or by a node of the first version";
    LayoutByDelta "what a copy of the layout lacked was sent, and no more";
    DatagramLost "a datagram was lost";
    Excused "a write's loss was excused, as as many nodes lost power or disks, or were removed as dead, as it was acknowledged by";
}

/// How often each happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tallies([u64; Sometimes::ALL.len()]);

impl Default for Tallies {
    fn default() -> Self {
        Self([0; Sometimes::ALL.len()])
    }
}

impl Tallies {
    /// Counts one.
    pub const fn note(&mut self, what: Sometimes) {
        self.0[what as usize] += 1;
    }

    /// How often it happened.
    pub const fn count(&self, what: Sometimes) -> u64 {
        self.0[what as usize]
    }

    /// One for each that happened at all.
    #[must_use]
    pub fn happened(&self) -> Self {
        Self(self.0.map(|count| u64::from(0 < count)))
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
