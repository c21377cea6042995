//! Batches: many keys with one message for each node.

use std::future::IntoFuture;
use std::time::Duration;

use bytes::Bytes;
use quorate_ring::version::ContextToken;
use quorate_ring::wire::{Durability, PutItem, Request, Response};
use quorate_ring::{InvalidKey, InvalidTtl, ObjectKey, Ttl, Value};

use crate::bucket::{Bucket, RequestFuture, found, stored};
use crate::client::Client;
use crate::{Error, Found, Stored};

/// One write of a [`put_many`](Bucket::put_many).
#[derive(Clone, Debug)]
pub struct Write {
    key: Bytes,
    value: Bytes,
    context: Option<ContextToken>,
    ttl: Result<Option<Ttl>, InvalidTtl>,
}

impl Write {
    /// A write of this key. Without a context it replaces nothing.
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), value: value.into(), context: None, ttl: Ok(None) }
    }

    /// Replaces exactly what the read saw which gave this context.
    #[must_use]
    pub fn context(mut self, context: impl Into<Option<ContextToken>>) -> Self {
        self.context = context.into();
        self
    }

    /// How long the value lives, as for [`Put::ttl`](crate::Put::ttl). Default: for ever.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Ttl::try_from(ttl).map(Some);
        self
    }
}

impl<K: Into<Bytes>, V: Into<Bytes>> From<(K, V)> for Write {
    fn from((key, value): (K, V)) -> Self {
        Self::new(key, value)
    }
}

/// Items of a batch: those that can be sent, and for each item whether it is one of them or what is wrong with it.
#[derive(Debug, Default)]
struct Items {
    requests: Vec<Request>,
    checked: Vec<Result<(), Error>>,
}

impl Items {
    fn push(&mut self, request: Result<Request, Error>) {
        self.checked.push(request.map(|request| self.requests.push(request)));
    }

    /// A result for each item, in their order.
    async fn send<T>(
        self,
        client: &Client,
        timeout: Option<Duration>,
        read: fn(Response) -> Result<T, Error>,
    ) -> Vec<Result<T, Error>> {
        let client = &client.inner;
        if client.check_open().is_err() {
            return self.checked.iter().map(|_| Err(Error::Closed)).collect();
        }
        let mut results = client.run_batch(self.requests, timeout.unwrap_or(client.timeout)).await.into_iter();
        let mut next = || read(results.next().expect("a batch has a result for each request")?);
        self.checked.into_iter().map(|checked| checked.and_then(|()| next())).collect()
    }
}

/// A read of many keys, sent when awaited. It gives a result for each key, in their order: some may fail.
#[derive(Debug)]
#[must_use = "nothing is sent before it is awaited"]
pub struct GetMany {
    client: Client,
    keys: Vec<Result<ObjectKey, InvalidKey>>,
    r: Option<u8>,
    strict: bool,
    timeout: Option<Duration>,
}

impl GetMany {
    pub(crate) fn new(client: Client, keys: Vec<Result<ObjectKey, InvalidKey>>) -> Self {
        Self { client, keys, r: None, strict: false, timeout: None }
    }

    /// How many replicas must answer for each. Default: the cluster's, a majority.
    pub fn r(mut self, r: u8) -> Self {
        self.r = Some(r);
        self
    }

    /// Counts the keys' primaries only. Without this, the next nodes of the preference lists stand in for primaries that are away.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// How long all of it may take. Default: the client's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    async fn send(self) -> Vec<Result<Found, Error>> {
        let Self { client, keys, r, strict, timeout } = self;
        let mut items = Items::default();
        for key in keys {
            let quorum = client.inner.check_quorum(r, None).map_err(Error::from);
            items.push(quorum.and_then(|()| Ok(Request::Get { key: key?, r, strict })));
        }
        items.send(&client, timeout, found).await
    }
}

impl IntoFuture for GetMany {
    type Output = Vec<Result<Found, Error>>;
    type IntoFuture = RequestFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// A write of many keys, sent when awaited. It gives a result for each item, in their order: some may fail.
#[derive(Debug)]
#[must_use = "nothing is sent before it is awaited"]
pub struct PutMany {
    client: Client,
    items: Vec<Result<PutItem, Error>>,
    w: Option<u8>,
    durability: Option<Durability>,
    strict: bool,
    timeout: Option<Duration>,
}

impl PutMany {
    pub(crate) fn new(bucket: &Bucket, writes: impl Iterator<Item = Write>) -> Self {
        let item = |write: Write| {
            let (key, value) = (bucket.object_key(&write.key)?, Value::new(write.value)?);
            Ok(PutItem { key, value, context: write.context, ttl_millis: write.ttl?.map(Ttl::as_millis) })
        };
        let (client, items) = (bucket.client.clone(), writes.map(item).collect());
        Self { client, items, w: None, durability: None, strict: false, timeout: None }
    }

    /// How many replicas must have stored each. Default: the cluster's, a majority.
    pub fn w(mut self, w: u8) -> Self {
        self.w = Some(w);
        self
    }

    /// Where they must have stored each. Default: the cluster's.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Counts the keys' primaries only. Without this, the next nodes of the preference lists stand in for primaries that are away.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// How long all of it may take. Default: the client's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    async fn send(self) -> Vec<Result<Stored, Error>> {
        let Self { client, items: writes, w, durability, strict, timeout } = self;
        let mut items = Items::default();
        for write in writes {
            let quorum = client.inner.check_quorum(None, w).map_err(Error::from);
            items.push(quorum.and_then(|()| Ok(Request::Put { item: write?, w, durability, strict })));
        }
        items.send(&client, timeout, stored).await
    }
}

impl IntoFuture for PutMany {
    type Output = Vec<Result<Stored, Error>>;
    type IntoFuture = RequestFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
