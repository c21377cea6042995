//! The records that a bench reads and writes, and what it asks of them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use quorate_client::{Bucket, Cursor, Error, Put, Write};
use quorate_ring::version::ContextToken;
use quorate_ring::wire::Durability;
use quorate_ring::{Key, ObjectKey, PartitionCount, Position};
use rand::rngs::ChaCha8Rng;
use rand::{Rng, RngExt, SeedableRng};

use super::choosing::Chooser;
use super::workload::{Kind, Workload};

/// Values are pieces of so many bytes more than one needs, so that no two in a row are the same, and none compresses.
const SPARE_BYTES: usize = 64 * 1024;

/// How requests are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quorums {
    pub(super) r: Option<u8>,
    pub(super) w: Option<u8>,
    pub(super) durability: Option<Durability>,
    pub(super) strict: bool,
}

/// The records, and the requests of a workload to them.
pub(super) struct Records {
    bucket: Bucket,
    partitions: PartitionCount,
    quorums: Quorums,
    workload: Workload,
    noise: Bytes,
    drawn: Mutex<Drawn>,
    known: Mutex<Known>,
}

/// What chance has come to.
struct Drawn {
    random: ChaCha8Rng,
    chooser: Chooser,
}

/// What is known of the records.
struct Known {
    /// The number of the next one.
    next: u64,
    /// Those that are being stored.
    underway: BTreeSet<u64>,
    /// Those of which nobody knows whether they are.
    failed: BTreeSet<u64>,
    /// Contexts to write with. Without one a record is read first, as an application would.
    contexts: Vec<Option<ContextToken>>,
}

/// One request of a workload.
pub(super) struct Request {
    pub(super) kind: Kind,
    record: u64,
    value: Bytes,
    /// How many records of a scan.
    length: u32,
}

/// Why a request did not do what it was to.
#[derive(Debug)]
pub(super) enum Wrong {
    Failed(Error),
    /// It was stored, and is not there.
    Missing(u64),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Missing(record) => write!(f, "{} is not there", key(*record)),
        }
    }
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Records {
    /// Those of a workload, of which the first are stored.
    pub(super) fn new(
        bucket: Bucket,
        partitions: PartitionCount,
        quorums: Quorums,
        workload: Workload,
        seed: u64,
    ) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut noise = vec![0; workload.value_bytes + SPARE_BYTES];
        random.fill(&mut noise[..]);
        let chooser = Chooser::new(workload.distribution);
        let known =
            Known { next: workload.records, underway: BTreeSet::new(), failed: BTreeSet::new(), contexts: Vec::new() };
        Self {
            bucket,
            partitions,
            quorums,
            workload,
            noise: noise.into(),
            drawn: Mutex::new(Drawn { random, chooser }),
            known: Mutex::new(known),
        }
    }

    fn drawn(&self) -> MutexGuard<'_, Drawn> {
        self.drawn.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn value(&self, random: &mut impl Rng) -> Bytes {
        let from = random.random_range(0..SPARE_BYTES);
        self.noise.slice(from..from + self.workload.value_bytes)
    }

    /// The writes that store some records, each with a context or none.
    pub(super) fn batch(&self, records: impl IntoIterator<Item = (u64, Option<ContextToken>)>) -> Vec<Write> {
        let mut drawn = self.drawn();
        let write = |(record, context)| Write::new(key(record), self.value(&mut drawn.random)).context(context);
        records.into_iter().map(write).collect()
    }

    /// A record was written with such an answer.
    pub(super) fn note_context(&self, record: u64, context: Option<ContextToken>) {
        self.known().set_context(record, context);
    }

    /// What is asked next.
    pub(super) fn draw(&self) -> Request {
        let (mut drawn, mut known) = (self.drawn(), self.known());
        let Drawn { random, chooser } = &mut *drawn;
        let kind = self.workload.draw(random);
        let record = match kind {
            Kind::Insert => known.begin_insert(),
            _ => known.stored_from(chooser.choose(random, known.stored())),
        };
        let length = random.random_range(1..=self.workload.scan_max);
        Request { kind, record, value: self.value(random), length }
    }

    /// Does it.
    ///
    /// # Errors
    /// What went wrong.
    pub(super) async fn run(&self, request: Request) -> Result<(), Wrong> {
        let Request { kind, record, value, length } = request;
        match kind {
            Kind::Read => self.read(record).await.map(|_| ()),
            Kind::Update => {
                let known = self.known().take_context(record);
                let context = match known {
                    Some(context) => context,
                    None => self.read(record).await?,
                };
                self.write(record, value, Some(context)).await
            }
            Kind::ReadModifyWrite => {
                let context = self.read(record).await?;
                self.write(record, value, Some(context)).await
            }
            Kind::Insert => {
                let result = self.write(record, value, None).await;
                self.known().end_insert(record, result.is_ok());
                result
            }
            Kind::Scan => self.scan(record, length as usize).await,
        }
    }

    async fn read(&self, record: u64) -> Result<ContextToken, Wrong> {
        let mut get = self.bucket.get(key(record));
        if let Some(r) = self.quorums.r {
            get = get.r(r);
        }
        let found = if self.quorums.strict { get.strict() } else { get }.await?;
        if found.is_empty() { Err(Wrong::Missing(record)) } else { Ok(found.context()) }
    }

    async fn write(&self, record: u64, value: Bytes, context: Option<ContextToken>) -> Result<(), Wrong> {
        let put: Put = self.bucket.put(key(record), value).context(context);
        let put = self.quorums.w.into_iter().fold(put, Put::w);
        let put = self.quorums.durability.into_iter().fold(put, Put::durability);
        let stored = if self.quorums.strict { put.strict() } else { put }.await?;
        self.note_context(record, stored.context());
        Ok(())
    }

    /// Reads so many records from one on, in the order of the ring; fewer at its end.
    async fn scan(&self, record: u64, length: usize) -> Result<(), Wrong> {
        let mut scan = self.bucket.scan().from(self.cursor(record)?).page_items(length).ahead(1);
        if let Some(r) = self.quorums.r {
            scan = scan.r(r);
        }
        let mut read = 0;
        while read < length {
            let Some(page) = scan.next_page().await? else { break };
            read += page.entries.len();
        }
        Ok(())
    }

    /// The place behind a record.
    fn cursor(&self, record: u64) -> Result<Cursor, Error> {
        let name = quorate_ring::BucketName::new(self.bucket.name()).expect("it is the name of a bucket");
        let key = Key::new(key(record)).expect("it is short");
        let partition = self.partitions.partition_of(Position::of(&ObjectKey::new(&name, &key)));
        let hex: String = key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("q1:{}:{}:{hex}", self.bucket.name(), partition.number()).parse()
    }
}

impl Known {
    /// How many records from the first on are stored, all of them.
    fn stored(&self) -> u64 {
        self.underway.first().copied().unwrap_or(self.next)
    }

    fn begin_insert(&mut self) -> u64 {
        let record = self.next;
        self.next += 1;
        self.underway.insert(record);
        record
    }

    fn end_insert(&mut self, record: u64, is_stored: bool) {
        self.underway.remove(&record);
        if !is_stored {
            self.failed.insert(record);
        }
    }

    /// This record, or the next that is stored.
    fn stored_from(&self, record: u64) -> u64 {
        let stored = self.stored();
        let next = (record..stored).chain(0..record).find(|record| !self.failed.contains(record));
        next.unwrap_or(record)
    }

    fn set_context(&mut self, record: u64, context: Option<ContextToken>) {
        let place = usize::try_from(record).expect("64 bits");
        if self.contexts.len() <= place {
            self.contexts.resize(place + 1, None);
        }
        self.contexts[place] = context;
    }

    /// What two write with at the same time would make siblings, so each is used once.
    fn take_context(&mut self, record: u64) -> Option<ContextToken> {
        self.contexts.get_mut(usize::try_from(record).expect("64 bits"))?.take()
    }
}

/// The key of a record.
pub(super) fn key(record: u64) -> String {
    format!("user{record:012}")
}
