//! [`Bucket`] and the requests of single keys: get, put, delete. Each is described first and sent when awaited.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use quorate_ring::limits::{BUCKET_BYTES_MAX, KEY_BYTES_MAX};
use quorate_ring::version::ContextToken;
use quorate_ring::wire::{Durability, PutItem, Request, Response};
use quorate_ring::{BucketName, InvalidKey, InvalidTtl, InvalidValue, ObjectKey, Ttl, Value};

use crate::client::{Client, unexpected};
use crate::many::{GetMany, PutMany, Write};
use crate::routing::Target;
use crate::scan::Scan;
use crate::update::Update;
use crate::{Error, Found, Stored};

/// What awaiting a described request gives.
pub type RequestFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A namespace of keys. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bucket {
    pub(crate) client: Client,
    pub(crate) name: BucketName,
}

impl Bucket {
    pub(crate) fn new(client: Client, name: &str) -> Result<Self, Error> {
        Ok(Self { client, name: BucketName::new(name)? })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Reads a key: its siblings, and the context to replace them with.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Get {
        let (client, key) = (self.client.clone(), self.object_key(key.as_ref()));
        Get { client, key, r: None, strict: false, repaired: false, timeout: None }
    }

    /// Writes a key. Without a [`context`](Put::context) it replaces nothing: the value lives beside those that are there.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Put {
        let (client, key, value) = (self.client.clone(), self.object_key(key.as_ref()), Value::new(value));
        Put {
            client,
            key,
            value,
            context: None,
            ttl: Ok(None),
            w: None,
            durability: None,
            strict: false,
            timeout: None,
        }
    }

    /// Deletes what the context covers; without one, reads the key and deletes what it saw. Values written meanwhile stay.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Delete {
        let (client, key) = (self.client.clone(), self.object_key(key.as_ref()));
        Delete { client, key, context: None, w: None, durability: None, strict: false, timeout: None }
    }

    /// Reads a key, merges its siblings with `merge` and writes the result in their place, again until no sibling is left. See
    /// [`Update`] for what `merge` must keep to.
    pub fn update<'a, B: Into<Bytes>>(
        &self,
        key: impl AsRef<[u8]>,
        merge: impl FnMut(&[Bytes]) -> B + Send + 'a,
    ) -> Update<'a> {
        Update::new(self.client.clone(), self.object_key(key.as_ref()), merge)
    }

    /// Reads many keys, with one message for each node that holds some of them. The results are in the order of the keys.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> GetMany {
        GetMany::new(self.client.clone(), keys.into_iter().map(|key| self.object_key(key.as_ref())).collect())
    }

    /// Writes many keys, each on its own, with one message for each node that holds some of them. The results are in the order of
    /// the items: pairs of key and value, or [`Write`]s.
    pub fn put_many<I: Into<Write>>(&self, items: impl IntoIterator<Item = I>) -> PutMany {
        PutMany::new(self, items.into_iter().map(Into::into))
    }

    /// Walks all keys of the bucket, in the order of the ring.
    pub fn scan(&self) -> Scan {
        Scan::new(self.clone())
    }

    /// Joins the bucket and a key in one allocation.
    pub(crate) fn object_key(&self, key: &[u8]) -> Result<ObjectKey, InvalidKey> {
        const { assert!(BUCKET_BYTES_MAX <= u8::MAX as usize, "the length of a bucket's name fits its byte") };
        if KEY_BYTES_MAX < key.len() {
            return Err(InvalidKey::KeyTooLong { bytes: key.len() });
        }
        let name = self.name.as_str().as_bytes();
        let mut encoded = Vec::with_capacity(1 + name.len() + key.len());
        encoded.push(name.len() as u8);
        encoded.extend_from_slice(name);
        encoded.extend_from_slice(key);
        ObjectKey::decode(encoded.into())
    }
}

/// A read of one key, sent when awaited.
///
/// # Errors
/// Awaiting it gives any [`Error`] of a read: nothing is changed by it, so it may always be tried again.
#[derive(Debug)]
#[must_use = "nothing is sent before it is awaited"]
pub struct Get {
    client: Client,
    key: Result<ObjectKey, InvalidKey>,
    r: Option<u8>,
    strict: bool,
    repaired: bool,
    timeout: Option<Duration>,
}

impl Get {
    /// How many replicas must answer. Default: the cluster's, a majority.
    pub fn r(mut self, r: u8) -> Self {
        self.r = Some(r);
        self
    }

    /// Counts the key's primaries only: where too few of them can be reached, it fails. Without this, the next nodes of the
    /// preference list stand in for primaries that are away.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Reads all the key's primaries, whatever R is, and has those that are behind store what they lack before it answers. It fails
    /// where one of them cannot be reached. For what must not be read older elsewhere afterwards; without it the same is done after
    /// the answer.
    pub fn repaired(mut self) -> Self {
        self.repaired = true;
        self
    }

    /// How long it may take, all attempts together. Default: the client's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    async fn send(self) -> Result<Found, Error> {
        let (key, client) = (self.key?, self.client.inner);
        client.check_quorum(self.r, None)?;
        let target = Target::from(&key);
        let timeout = self.timeout.unwrap_or(client.timeout);
        let request = match self.repaired {
            true => Request::GetRepaired { key },
            false => Request::Get { key, r: self.r, strict: self.strict },
        };
        found(client.run(request, target, timeout).await?)
    }
}

impl IntoFuture for Get {
    type Output = Result<Found, Error>;
    type IntoFuture = RequestFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// A write of one key, sent when awaited.
///
/// # Errors
/// Awaiting it gives any [`Error`]. With [`Error::OutcomeUnknown`] it may have happened: read before writing again.
#[derive(Debug)]
#[must_use = "nothing is sent before it is awaited"]
pub struct Put {
    client: Client,
    key: Result<ObjectKey, InvalidKey>,
    value: Result<Value, InvalidValue>,
    context: Option<ContextToken>,
    ttl: Result<Option<Ttl>, InvalidTtl>,
    w: Option<u8>,
    durability: Option<Durability>,
    strict: bool,
    timeout: Option<Duration>,
}

impl Put {
    /// Replaces exactly the values that the read saw which gave this context ([`Found::context`], [`Stored::context`]).
    pub fn context(mut self, context: impl Into<Option<ContextToken>>) -> Self {
        self.context = context.into();
        self
    }

    /// How long the value lives: a millisecond to ten years from its write, by the clock of the node that coordinates it. A part of a
    /// millisecond counts as a whole one. Default: for ever.
    ///
    /// Expired, it is gone as if deleted, and does not come back. Nodes whose clocks are wrong show it for longer, or less long, by as
    /// much as they are wrong.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Ttl::try_from(ttl).map(Some);
        self
    }

    /// How many replicas must have stored it. Default: the cluster's, a majority.
    pub fn w(mut self, w: u8) -> Self {
        self.w = Some(w);
        self
    }

    /// Where they must have stored it. Default: the cluster's.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Counts the key's primaries only: where too few of them can be reached, it fails. Without this, the next nodes of the
    /// preference list stand in for primaries that are away.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// How long it may take, all attempts together. Default: the client's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    async fn send(self) -> Result<Stored, Error> {
        let Self { client, key, value, context, ttl, w, durability, strict, timeout } = self;
        let ttl_millis = ttl?.map(Ttl::as_millis);
        let (item, client) = (PutItem { key: key?, value: value?, context, ttl_millis }, client.inner);
        client.check_quorum(None, w)?;
        let target = Target::from(&item.key);
        let timeout = timeout.unwrap_or(client.timeout);
        stored(client.run(Request::Put { item, w, durability, strict }, target, timeout).await?)
    }
}

impl IntoFuture for Put {
    type Output = Result<Stored, Error>;
    type IntoFuture = RequestFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// A deletion of one key, sent when awaited.
///
/// # Errors
/// As for [`Put`].
#[derive(Debug)]
#[must_use = "nothing is sent before it is awaited"]
pub struct Delete {
    client: Client,
    key: Result<ObjectKey, InvalidKey>,
    context: Option<ContextToken>,
    w: Option<u8>,
    durability: Option<Durability>,
    strict: bool,
    timeout: Option<Duration>,
}

impl Delete {
    /// Deletes exactly the values that the read saw which gave this context. Without one, the key is read first.
    pub fn context(mut self, context: impl Into<Option<ContextToken>>) -> Self {
        self.context = context.into();
        self
    }

    /// How many replicas must have stored it. Default: the cluster's, a majority.
    pub fn w(mut self, w: u8) -> Self {
        self.w = Some(w);
        self
    }

    /// Where they must have stored it. Default: the cluster's.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Counts the key's primaries only: where too few of them can be reached, it fails. Without this, the next nodes of the
    /// preference list stand in for primaries that are away.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// How long it may take, the read included. Default: the client's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    async fn send(self) -> Result<Stored, Error> {
        let Self { client, key, context, w, durability, strict, timeout } = self;
        let (key, client) = (key?, client.inner);
        client.check_quorum(None, w)?;
        let deadline = client.now() + timeout.unwrap_or(client.timeout);
        let target = Target::from(&key);
        let context = match context {
            Some(context) => context,
            None => {
                let request = Request::Get { key: key.clone(), r: None, strict };
                let found = found(client.run(request, target, deadline.since(client.now())).await?)?;
                if found.is_empty() {
                    return Ok(Stored::nothing());
                }
                found.context()
            }
        };
        let request = Request::Delete { key, context, w, durability, strict };
        stored(client.run(request, target, deadline.since(client.now())).await?)
    }
}

impl IntoFuture for Delete {
    type Output = Result<Stored, Error>;
    type IntoFuture = RequestFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

pub(crate) fn found(response: Response) -> Result<Found, Error> {
    match response {
        Response::Found { values, context } => Ok(Found::new(values, context)),
        other => Err(unexpected("values", &other)),
    }
}

pub(crate) fn stored(response: Response) -> Result<Stored, Error> {
    match response {
        Response::Stored { siblings, context } => Ok(Stored::new(siblings, context)),
        other => Err(unexpected("that a write is stored", &other)),
    }
}
