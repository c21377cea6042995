//! A request that a shard is working on: one of the machines of [`crate::coordinator`].

use quorate_ring::version::Container;
use quorate_ring::wire::ReplicaPage;
use quorate_ring::{BucketName, ObjectKey, PartitionId, StoredValue};

use crate::Time;
use crate::coordinator::ReplyTo;
use crate::coordinator::asking::Asking;
use crate::coordinator::batch::Batch;
use crate::coordinator::forward::Forward;
use crate::coordinator::read::Read;
use crate::coordinator::write::Write;

/// A page that is asked for.
#[derive(Clone, Debug)]
pub(super) struct PageQuestion {
    pub(super) bucket: BucketName,
    pub(super) partition: PartitionId,
    pub(super) after: Option<ObjectKey>,
    pub(super) limit: u32,
}

/// A request being worked on.
#[derive(Debug)]
pub(super) enum Coordination {
    Get(Read<ObjectKey, Container<StoredValue>>),
    Page(Read<PageQuestion, ReplicaPage>),
    Write(Write),
    Forward(Forward),
    Batch(Batch),
}

impl Coordination {
    /// Whom it waits for, if it is a read.
    pub(super) const fn asking_mut(&mut self) -> Option<&mut Asking> {
        match self {
            Self::Get(read) => Some(&mut read.asking),
            Self::Page(read) => Some(&mut read.asking),
            Self::Write(_) | Self::Forward(_) | Self::Batch(_) => None,
        }
    }

    /// How many more a read can ask.
    pub(super) fn left_to_ask(&self) -> usize {
        match self {
            Self::Get(read) => read.left_to_ask(),
            Self::Page(read) => read.left_to_ask(),
            Self::Write(_) | Self::Forward(_) | Self::Batch(_) => 0,
        }
    }

    /// Who gets the answer.
    pub(super) const fn reply_to(&self) -> ReplyTo {
        match self {
            Self::Get(read) => read.reply_to,
            Self::Page(read) => read.reply_to,
            Self::Write(write) => write.reply_to,
            Self::Forward(forward) => forward.reply_to,
            Self::Batch(batch) => batch.reply_to,
        }
    }

    /// Bytes of the values that it holds.
    pub(super) const fn bytes_mut(&mut self) -> Option<&mut usize> {
        match self {
            Self::Get(read) => Some(&mut read.bytes),
            Self::Page(read) => Some(&mut read.bytes),
            Self::Write(write) => Some(&mut write.bytes),
            Self::Forward(_) | Self::Batch(_) => None,
        }
    }

    /// When it ends. A batch ends with its items.
    pub(super) const fn deadline(&self) -> Option<Time> {
        match self {
            Self::Get(read) => Some(read.deadline),
            Self::Page(read) => Some(read.deadline),
            Self::Write(write) => Some(write.deadline),
            Self::Forward(forward) => Some(forward.deadline),
            Self::Batch(_) => None,
        }
    }
}
