//! What reads find and what writes leave: values and contexts.

use bytes::Bytes;
use quorate_ring::Value;
use quorate_ring::version::ContextToken;

/// What a read found: the siblings of a key, and the context that covers exactly these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    values: Vec<Bytes>,
    context: ContextToken,
}

impl Found {
    pub(crate) fn new(values: Vec<Value>, context: ContextToken) -> Self {
        Self { values: values.into_iter().map(Value::into_bytes).collect(), context }
    }

    /// The siblings: none if there is no such key, one normally, several after concurrent writes.
    pub fn values(&self) -> &[Bytes] {
        &self.values
    }

    /// The siblings, taken out.
    pub fn into_values(self) -> Vec<Bytes> {
        self.values
    }

    /// The value, if there is exactly one.
    pub fn single(&self) -> Option<&Bytes> {
        match self.values.as_slice() {
            [value] => Some(value),
            _ => None,
        }
    }

    /// Whether there is no such key.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// For the write that replaces what was found. Of a key that is not there it is worth passing too: it covers what was deleted.
    pub fn context(&self) -> ContextToken {
        self.context.clone()
    }
}

/// That a write is stored, and what it left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    siblings: u32,
    context: Option<ContextToken>,
}

impl Stored {
    pub(crate) fn new(siblings: u32, context: Option<ContextToken>) -> Self {
        Self { siblings, context }
    }

    /// Nothing was there to be deleted, and nothing was written.
    pub(crate) fn nothing() -> Self {
        Self { siblings: 0, context: None }
    }

    /// How many values the key has now, as the coordinator sees it. More than one: others wrote at the same time; read and merge.
    pub fn siblings(&self) -> u32 {
        self.siblings
    }

    /// Covers the value just written, for the next write without a read between them. `None` if there are values that this writer
    /// has not seen: replacing them would lose them.
    pub fn context(&self) -> Option<ContextToken> {
        self.context.clone()
    }
}
