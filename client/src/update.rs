//! [`Update`]: read, merge, write, until no sibling is left.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use quorate_ring::version::ContextToken;
use quorate_ring::wire::{Durability, PutItem, Request, RequestError};
use quorate_ring::{InvalidKey, InvalidTtl, ObjectKey, Ttl, Value};

use crate::bucket::{found, stored};
use crate::client::Client;
use crate::routing::Target;
use crate::{Error, Found, Stored, Time};

/// How often an update reads, merges and writes before it gives up.
const ATTEMPTS_MAX: u32 = 16;
/// The longest pause between two attempts; the first is a sixteenth of it.
const PAUSE_MAX: Duration = Duration::from_millis(80);

/// An update of one key, sent when awaited. It gives the merged value as it was stored.
///
/// `merge` is called with the key's siblings: none, if there is no such key yet; one, normally; several, after concurrent writes. It
/// may be called again with what is there after a write that met others or whose outcome is unknown. So it must do no harm when
/// its own earlier result is among the siblings: add to a set, keep a maximum, set a field; but not "add one to a counter".
///
/// # Errors
/// Awaiting it gives [`Error::Contention`] if others kept writing; [`Error::OutcomeUnknown`] if the time is over before it could be
/// seen whether the last write happened; and any other [`Error`].
#[must_use = "nothing is sent before it is awaited"]
pub struct Update<'a> {
    key: Result<ObjectKey, InvalidKey>,
    merge: Merge<'a>,
    timeout: Option<Duration>,
    access: Access,
}

type Merge<'a> = Box<dyn FnMut(&[Bytes]) -> Bytes + Send + 'a>;

/// How an update reads and writes.
#[derive(Debug)]
struct Access {
    client: Client,
    r: Option<u8>,
    w: Option<u8>,
    durability: Option<Durability>,
    strict: bool,
    ttl: Result<Option<Ttl>, InvalidTtl>,
}

/// What one attempt at writing left to do.
enum Written {
    Alone(Stored),
    /// Others wrote too: so many siblings.
    Beside(u32),
    /// What is there must be seen first.
    Unclear(Error),
}

impl<'a> Update<'a> {
    pub(crate) fn new<B: Into<Bytes>>(
        client: Client,
        key: Result<ObjectKey, InvalidKey>,
        mut merge: impl FnMut(&[Bytes]) -> B + Send + 'a,
    ) -> Self {
        let access = Access { client, r: None, w: None, durability: None, strict: false, ttl: Ok(None) };
        Self { key, merge: Box::new(move |siblings| merge(siblings).into()), timeout: None, access }
    }

    /// How many replicas must answer each read. Default: the cluster's, a majority.
    pub fn r(mut self, r: u8) -> Self {
        self.access.r = Some(r);
        self
    }

    /// How many replicas must have stored each write. Default: the cluster's, a majority.
    pub fn w(mut self, w: u8) -> Self {
        self.access.w = Some(w);
        self
    }

    /// Where they must have stored it. Default: the cluster's.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.access.durability = Some(durability);
        self
    }

    /// Counts the key's primaries only. Without this, the next nodes of the preference list stand in for primaries that are away.
    pub fn strict(mut self) -> Self {
        self.access.strict = true;
        self
    }

    /// How long the merged value lives, as for [`Put::ttl`](crate::Put::ttl). Default: for ever.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.access.ttl = Ttl::try_from(ttl).map(Some);
        self
    }

    /// How long all of it may take. Default: the client's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    async fn send(self) -> Result<Updated, Error> {
        let Self { key, mut merge, timeout, access } = self;
        let (key, client) = (key?, &access.client.inner);
        client.check_quorum(access.r, access.w)?;
        access.ttl?;
        let deadline = client.now() + timeout.unwrap_or(client.timeout);
        let mut last = None;
        for attempt in 1..=ATTEMPTS_MAX {
            let found = match access.read(&key, deadline).await {
                Ok(found) => found,
                // Out of time to look: what the last write came to is what matters to the caller.
                Err(error) => return Err(last.unwrap_or(error)),
            };
            // Whatever fails now, an earlier write may have happened: that is what the caller must know.
            let value = match Value::new(merge(found.values())) {
                Ok(value) => value,
                Err(error) => return Err(last.unwrap_or(error.into())),
            };
            let written = match access.write(&key, &value, found.context(), deadline).await {
                Ok(written) => written,
                Err(error) => return Err(last.unwrap_or(error)),
            };
            match written {
                Written::Alone(stored) => return Ok(Updated { value: value.into_bytes(), attempts: attempt, stored }),
                Written::Beside(siblings) => last = Some(Error::Contention { attempts: attempt, siblings }),
                Written::Unclear(error) => last = Some(error),
            }
            access.pause(attempt).await;
        }
        Err(last.expect("there was an attempt, and it did not end the update"))
    }
}

impl Access {
    async fn read(&self, key: &ObjectKey, deadline: Time) -> Result<Found, Error> {
        let client = &self.client.inner;
        let request = Request::Get { key: key.clone(), r: self.r, strict: self.strict };
        found(client.run(request, Target::from(key), deadline.since(client.now())).await?)
    }

    async fn write(
        &self,
        key: &ObjectKey,
        value: &Value,
        context: ContextToken,
        deadline: Time,
    ) -> Result<Written, Error> {
        let client = &self.client.inner;
        let ttl_millis = self.ttl?.map(Ttl::as_millis);
        let item = PutItem { key: key.clone(), value: value.clone(), context: Some(context), ttl_millis };
        let request = Request::Put { item, w: self.w, durability: self.durability, strict: self.strict };
        match client.run(request, Target::from(key), deadline.since(client.now())).await {
            Ok(response) => match stored(response)? {
                stored if stored.siblings() <= 1 => Ok(Written::Alone(stored)),
                stored => Ok(Written::Beside(stored.siblings())),
            },
            Err(Error::Node { error: RequestError::TooManySiblings { siblings, .. }, .. }) => {
                Ok(Written::Beside(siblings))
            }
            Err(error @ Error::OutcomeUnknown { .. }) => Ok(Written::Unclear(error)),
            Err(error) => Err(error),
        }
    }

    /// Longer after each attempt, and other for each client, so that those who met do not meet again.
    async fn pause(&self, attempt: u32) {
        let longest = (PAUSE_MAX / 16).saturating_mul(1 << attempt.min(8)).min(PAUSE_MAX);
        let part = self.client.inner.next_seed().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
        tokio::time::sleep(longest * u32::try_from(part).expect("ten bits") / 1024).await;
    }
}

impl<'a> IntoFuture for Update<'a> {
    type Output = Result<Updated, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl fmt::Debug for Update<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Update").field("key", &self.key).field("access", &self.access).finish_non_exhaustive()
    }
}

/// What an update came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated {
    value: Bytes,
    attempts: u32,
    stored: Stored,
}

impl Updated {
    /// The merged value, as it is stored now.
    pub fn value(&self) -> &Bytes {
        &self.value
    }

    /// How often it had to read, merge and write.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Covers the value, for the next write without a read between them.
    pub fn context(&self) -> Option<ContextToken> {
        self.stored.context()
    }
}
