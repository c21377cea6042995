//! [`Scan`]: all keys of a bucket, in ring order, with a cursor that stays good.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use quorate_ring::limits::SCAN_ITEMS_MAX;
use quorate_ring::wire::{Request, Response, ScanItem};
use quorate_ring::{BucketName, Key, ObjectKey, PartitionId};
use tokio::task::JoinHandle;

use crate::bucket::Bucket;
use crate::client::unexpected;
use crate::routing::Target;
use crate::{Error, Found};

/// How many partitions are read ahead, unless the scan says otherwise. Each holds at most a page of about 1 MiB.
const AHEAD: usize = 16;
/// How many keys a page has at most, unless the scan says otherwise.
const PAGE_ITEMS: u32 = 256;

/// One key of a scan, with what a read would have found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    key: Key,
    found: Found,
}

impl Entry {
    /// The key.
    pub fn key(&self) -> &[u8] {
        self.key.as_bytes()
    }

    /// Its siblings and their context; at least one.
    pub fn found(&self) -> &Found {
        &self.found
    }
}

/// Some keys, and where the scan goes on behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The keys, at least one.
    pub entries: Vec<Entry>,
    /// Where the next page starts. Kept as text, it can be gone on from in another process, also after the ring has changed.
    pub cursor: Cursor,
}

/// A place in a scan: everything before it was handed out. Its text form ([`Display`](fmt::Display), [`FromStr`]) is stable.
///
/// ```
/// use quorate_client::Cursor;
///
/// let cursor: Cursor = "q1:photos:17:616263".parse()?;
/// assert_eq!(cursor.to_string(), "q1:photos:17:616263");
/// # Ok::<(), quorate_client::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    bucket: BucketName,
    /// Up to 65,536: one behind the last partition is the end.
    partition: u32,
    after: Option<Key>,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "q1:{}:{}:", self.bucket, self.partition)?;
        self.after.iter().flat_map(|key| key.as_bytes()).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse_cursor(text).ok_or_else(|| wrong_cursor(text))
    }
}

fn wrong_cursor(text: &str) -> Error {
    Error::InvalidCursor { text: text.chars().take(80).collect() }
}

fn parse_cursor(text: &str) -> Option<Cursor> {
    let mut parts = text.strip_prefix("q1:")?.splitn(3, ':');
    let (bucket, partition, after) = (parts.next()?, parts.next()?, parts.next()?);
    let partition = partition.parse().ok().filter(|partition| *partition <= 65_536)?;
    let after = match after {
        "" => None,
        after => Some(Key::new(unhex(after)?).ok()?),
    };
    Some(Cursor { bucket: BucketName::new(bucket).ok()?, partition, after })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some((digit(*high)? * 16 + digit(*low)?) as u8)).collect();
    if rest.is_empty() { bytes } else { None }
}

/// A page that is being fetched; given up when dropped.
struct Fetch {
    partition: u32,
    after: Option<ObjectKey>,
    task: JoinHandle<Result<Response, Error>>,
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A walk over all keys of a bucket, in ring order, that reads some partitions ahead.
///
/// Every key that is there throughout is handed out exactly once; keys written or deleted meanwhile may or may not be.
///
/// ```no_run
/// # async fn run(client: quorate_client::Client) -> Result<(), quorate_client::Error> {
/// let photos = client.bucket("photos")?;
/// let mut scan = photos.scan();
/// while let Some(page) = scan.next_page().await? {
///     for entry in &page.entries {
///         println!("{}: {} siblings", String::from_utf8_lossy(entry.key()), entry.found().values().len());
///     }
///     println!("so far to {}", page.cursor); // `photos.scan().from(cursor)` goes on from here.
/// }
/// # Ok(())
/// # }
/// ```
pub struct Scan {
    bucket: Bucket,
    r: Option<u8>,
    page_items: u32,
    ahead: usize,
    timeout: Option<Duration>,
    /// The first place that is neither handed out nor under way.
    start: Cursor,
    /// Pages under way, in ring order; the first is the one to hand out next.
    fetches: VecDeque<Fetch>,
    /// Entries of the last page that were not handed out yet by [`Scan::next`], and where that page ends.
    rest: (VecDeque<Entry>, Option<Cursor>),
}

impl Scan {
    pub(crate) fn new(bucket: Bucket) -> Self {
        let start = Cursor { bucket: bucket.name.clone(), partition: 0, after: None };
        let (fetches, rest) = (VecDeque::new(), Default::default());
        Self { bucket, r: None, page_items: PAGE_ITEMS, ahead: AHEAD, timeout: None, start, fetches, rest }
    }

    /// How many replicas must answer for each page. Default: the cluster's, a majority.
    #[must_use]
    pub fn r(mut self, r: u8) -> Self {
        self.r = Some(r);
        self
    }

    /// Most keys of a page, from 1 to 1,024. Default 256.
    #[must_use]
    pub fn page_items(mut self, items: usize) -> Self {
        self.page_items = u32::try_from(items.clamp(1, SCAN_ITEMS_MAX)).expect("at most a thousand");
        self
    }

    /// How many partitions to read at once. Default 16. More is faster while the cluster has room, and holds more in memory.
    #[must_use]
    pub fn ahead(mut self, partitions: usize) -> Self {
        self.ahead = partitions.max(1);
        self
    }

    /// How long each page may take. Default: the client's.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Goes on from here. A cursor of another bucket shows as an error of the first page.
    #[must_use]
    pub fn from(mut self, cursor: Cursor) -> Self {
        self.start = cursor;
        self.fetches.clear();
        self.rest = Default::default();
        self
    }

    /// The next keys; `None` at the end. After an error it may be called again and goes on where it was.
    ///
    /// # Errors
    /// Any of a read.
    pub async fn next_page(&mut self) -> Result<Option<Page>, Error> {
        if let (entries, Some(cursor)) = std::mem::take(&mut self.rest)
            && !entries.is_empty()
        {
            return Ok(Some(Page { entries: entries.into(), cursor }));
        }
        loop {
            self.fetch_ahead()?;
            let Some(fetch) = self.fetches.front_mut() else {
                return Ok(None);
            };
            // Awaiting a reference: if the caller gives up here, the page is still there next time.
            let page = (&mut fetch.task).await.unwrap_or(Err(Error::Closed));
            let (partition, after) = (fetch.partition, fetch.after.clone());
            self.fetches.pop_front();
            match page {
                Ok(Response::Page { items, next }) => {
                    let cursor = self.advance(partition, next);
                    if !items.is_empty() {
                        return Ok(Some(Page { entries: items.into_iter().map(entry).collect(), cursor }));
                    }
                }
                Ok(other) => return Err(unexpected("a page of a scan", &other)),
                Err(error) => {
                    self.fetch_first(partition, after); // So that the scan goes on here if the caller tries again.
                    return Err(error);
                }
            }
        }
    }

    /// The next key; `None` at the end.
    ///
    /// # Errors
    /// As [`next_page`](Self::next_page).
    pub async fn next(&mut self) -> Result<Option<Entry>, Error> {
        if self.rest.0.is_empty() {
            let page = self.next_page().await?;
            self.rest = page.map(|page| (page.entries.into(), Some(page.cursor))).unwrap_or_default();
        }
        Ok(self.rest.0.pop_front())
    }

    /// Notes that a page was taken, begins to fetch what follows it in its partition, and says where the scan is.
    fn advance(&mut self, partition: u32, next: Option<ObjectKey>) -> Cursor {
        let bucket = self.bucket.name.clone();
        match next {
            Some(after) => {
                let cursor = Cursor { bucket, partition, after: Some(after.key()) };
                self.fetch_first(partition, Some(after));
                cursor
            }
            None => Cursor { bucket, partition: partition + 1, after: None },
        }
    }

    /// Begins to fetch partitions until enough are under way.
    fn fetch_ahead(&mut self) -> Result<(), Error> {
        let client = &self.bucket.client.inner;
        if self.start.bucket != self.bucket.name {
            return Err(wrong_cursor(&self.start.to_string()));
        }
        client.check_quorum(self.r, None)?;
        let partitions = client.router().ring().partitions().get();
        while self.start.partition < partitions && self.fetches.len() < self.ahead {
            let after = self.start.after.take().map(|key| ObjectKey::new(&self.bucket.name, &key));
            let fetch = self.fetch(self.start.partition, after);
            self.fetches.push_back(fetch);
            self.start.partition += 1;
        }
        Ok(())
    }

    fn fetch_first(&mut self, partition: u32, after: Option<ObjectKey>) {
        let fetch = self.fetch(partition, after);
        self.fetches.push_front(fetch);
    }

    fn fetch(&self, partition: u32, after: Option<ObjectKey>) -> Fetch {
        let client = self.bucket.client.inner.clone();
        let id =
            PartitionId::new(u16::try_from(partition).expect("the caller has compared it with the ring's partitions"));
        let (bucket, limit, r) = (self.bucket.name.clone(), self.page_items, self.r);
        let request = Request::Scan { bucket, partition: id, after: after.clone(), limit, r };
        let timeout = self.timeout.unwrap_or(client.timeout);
        let task = tokio::spawn(async move { client.run(request, Target::Partition(id), timeout).await });
        Fetch { partition, after, task }
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("bucket", &self.bucket.name).field("start", &self.start).finish_non_exhaustive()
    }
}

fn entry(item: ScanItem) -> Entry {
    Entry { key: item.key.key(), found: Found::new(item.values, item.context) }
}
