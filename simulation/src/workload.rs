//! Your own load: what each client does next, how siblings become one value, and what must be so when everything is healed.
//!
//! An application implements [`Workload`] and hands it to a [`Cluster`](crate::Cluster). Its clients then go through the production
//! client's routing and retries and the production core, under the faults and delays of the run; whatever it decides by chance it
//! draws from the [`Stream`] it is given, so that a seed stays one history. Every oracle watches it as it watches any other load:
//! the simulator puts a number of its own before each value and takes it away again before the application sees it.

mod mix;

use std::any::Any;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
pub use mix::Mix;
pub use quorate_client::{Error, Outcome as WriteOutcome};
use quorate_ring::Value;
pub use quorate_ring::{InvalidKey, Key};

use crate::choices::Stream;
use crate::oracle::truth::WriteId;
pub use crate::plan::load::{Asked, Context, Whom};

/// An application: all its clients, which share this one object as they would share a test's notebook.
///
/// ```
/// use std::time::Duration;
/// use bytes::Bytes;
/// use quorate_simulation::choices::Stream;
/// use quorate_simulation::workload::{Held, Key, Step, Workload};
/// use quorate_simulation::Cluster;
///
/// /// Each client increments one counter ten times, by reading it, merging, and writing it.
/// #[derive(Default)]
/// struct Increments {
///     begun: [u32; 2],
/// }
///
/// impl Workload for Increments {
///     fn next(&mut self, client: usize, _now: Duration, _draw: &mut Stream) -> Option<Step> {
///         let key = Key::new(format!("counter {client}")).ok()?;
///         self.begun[client] += 1;
///         (self.begun[client] <= 10).then(|| Step::update(&key))
///     }
///
///     fn merge(&mut self, _client: usize, _key: &Key, siblings: &[Bytes], _draw: &mut Stream) -> Option<Bytes> {
///         let largest = siblings.iter().map(|sibling| sibling[0]).max().unwrap_or_default();
///         Some(Bytes::from(vec![largest + 1]))
///     }
///
///     fn check(&mut self, held: &Held) -> Result<(), String> {
///         let counted = |siblings: &Vec<Bytes>| *siblings == [vec![10]];
///         if held.values().all(counted) { Ok(()) } else { Err(format!("counters are {held:?}")) }
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let report = Cluster::of(5).clients(2).workload(Increments::default()).run(7)?;
/// report.verdict()?;
/// # Ok(())
/// # }
/// ```
pub trait Workload: Any {
    /// What a client does next, once the last thing it did is over; nothing if it is done for good.
    ///
    /// `now` is how long the run has lasted. After the time that the run is given, clients are not asked any more.
    fn next(&mut self, client: usize, now: Duration, draw: &mut Stream) -> Option<Step>;

    /// Makes one value of what a read returned, for a [`Step::update`]: it is then written with the context of that read, and so
    /// takes the siblings' place. There are none if the key holds nothing. `None` writes nothing, which is also the default.
    fn merge(&mut self, client: usize, key: &Key, siblings: &[Bytes], draw: &mut Stream) -> Option<Bytes> {
        let _ = (client, key, siblings, draw);
        None
    }

    /// A client got an answer. An update gets two: what was read, and what became of the write.
    fn answered(&mut self, client: usize, key: &Key, answer: &Answer<'_>) {
        let _ = (client, key, answer);
    }

    /// Checks what every key holds when everything is healed and repaired.
    ///
    /// # Errors
    /// What is wrong, in words: it becomes the run's [`objection`](crate::Outcome::objection).
    fn check(&mut self, held: &Held) -> Result<(), String> {
        let _ = held;
        Ok(())
    }
}

/// The siblings of each key that was ever asked for; keys of which no replica can be read any more are left out.
pub type Held = BTreeMap<Key, Vec<Bytes>>;

/// An answer that a client got.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// To a read.
    Found {
        /// All siblings: none if the key holds nothing, more than one if nobody has merged concurrent writes yet.
        siblings: &'a [Bytes],
    },
    /// To a write or delete: it is acknowledged.
    Stored {
        /// How many siblings the key has after it, where it was stored first.
        siblings: u32,
    },
    /// To anything. [`Error::outcome`] says whether a write may have happened all the same.
    Failed(&'a Error),
}

/// How long a client waits for an answer, unless its step says otherwise.
const WITHIN: Duration = Duration::from_secs(1);
/// How long it waits at least: one that does not wait at all would never get on.
const WITHIN_MIN: Duration = Duration::from_millis(1);

/// One thing that a client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub(crate) key: Key,
    pub(crate) what: What,
    pub(crate) after: Duration,
    pub(crate) within: Duration,
    pub(crate) ask: Whom,
    pub(crate) r: Option<u8>,
    pub(crate) w: Option<u8>,
    pub(crate) durability: Option<Asked>,
}

/// What a step does with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Get,
    Put { value: Bytes, context: Context },
    Update,
    Delete,
}

impl Step {
    /// Reads a key.
    pub fn get(key: &Key) -> Self {
        Self::new(key, What::Get)
    }

    /// Writes a key with the context of the client's last read or write of it, however old; without if there is none.
    pub fn put(key: &Key, value: impl Into<Bytes>) -> Self {
        Self::new(key, What::Put { value: value.into(), context: Context::Last })
    }

    /// Writes a key without a context: beside whatever is there.
    pub fn put_blind(key: &Key, value: impl Into<Bytes>) -> Self {
        Self::new(key, What::Put { value: value.into(), context: Context::Blind })
    }

    /// Reads a key, has [`Workload::merge`] make one value of what is there, and writes that with the context of the read.
    pub fn update(key: &Key) -> Self {
        Self::new(key, What::Update)
    }

    /// Deletes what the client last saw of a key; reads it if the client has not seen anything of it yet.
    pub fn delete(key: &Key) -> Self {
        Self::new(key, What::Delete)
    }

    fn new(key: &Key, what: What) -> Self {
        let (after, within) = (Duration::ZERO, WITHIN);
        Self { key: key.clone(), what, after, within, ask: Whom::Best, r: None, w: None, durability: None }
    }

    /// So long after the client's last step is over; at once unless this is said.
    #[must_use]
    pub fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    /// How long the client waits for an answer, at least a millisecond: a second unless this is said. An update is given it for
    /// both its halves together.
    #[must_use]
    pub fn within(self, within: Duration) -> Self {
        Self { within: within.max(WITHIN_MIN), ..self }
    }

    /// Whom the client asks first.
    #[must_use]
    pub fn ask(self, ask: Whom) -> Self {
        Self { ask, ..self }
    }

    /// Another R than the cluster's, from 1 to N.
    #[must_use]
    pub fn r(self, r: u8) -> Self {
        Self { r: Some(r), ..self }
    }

    /// Another W than the cluster's, from 1 to N.
    #[must_use]
    pub fn w(self, w: u8) -> Self {
        Self { w: Some(w), ..self }
    }

    /// Where a write must be to count.
    #[must_use]
    pub fn durability(self, durability: Asked) -> Self {
        Self { durability: Some(durability), ..self }
    }
}

/// Bytes of a write's number before an application's value.
const NUMBER_BYTES: usize = 4;

/// An application's value as it is stored: behind the number by which the oracles know its write.
pub(crate) fn labelled(id: WriteId, value: &[u8]) -> Value {
    let mut bytes = Vec::with_capacity(NUMBER_BYTES + value.len());
    bytes.extend_from_slice(&id.0.to_le_bytes());
    bytes.extend_from_slice(value);
    Value::new(bytes).expect("a workload's values are at most 8 MiB less the number of a write")
}

/// The application's part of a stored value.
pub(crate) fn unlabelled(value: &Value) -> Bytes {
    let bytes = value.as_bytes();
    bytes.slice(NUMBER_BYTES.min(bytes.len())..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applications_see_their_values_without_the_number() {
        let value = labelled(WriteId(77), b"apples");
        assert_eq!(WriteId::of(&value), Some(WriteId(77)));
        assert_eq!(unlabelled(&value), "apples");
        assert_eq!(unlabelled(&labelled(WriteId(1), b"")), "");
    }
}
