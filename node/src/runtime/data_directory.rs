//! A node's data directory: the store, whose it is, and the marker beside it that proves that nothing was lost.
//!
//! ```text
//! <data>/store/    RocksDB, with the identity in it
//! <data>/MARKER    see `crate::start`
//! ```

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use quorate_ring::version::Incarnation;
use quorate_ring::wire::Durability;

use crate::replica::Recovered;
use crate::replica::layout::Damaged;
use crate::start::{
    self, Evidence, Expected, Forced, IDENTITY_KEY, Identity, MadeBy, Marker, NotOurs, Standing, Verdict,
};
use crate::storage::rocks::{DamagedLog, OpenError, RocksOptions, RocksStore};
use crate::storage::{Batch, Column, Operation, OperationId, Storage as _, StorageError};

/// The fingerprint of no ring: where a node that is to join has not found its cluster yet.
pub const RING_UNKNOWN: u64 = 0;

const MARKER: &str = "MARKER";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// RocksDB cannot open the store.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store is not this node's.
    #[error("cannot use the data directory {directory}: {source}")]
    NotOurs {
        /// Which directory.
        directory: PathBuf,
        /// Whose it is.
        source: NotOurs,
    },
    /// The store has data but says not whose it is.
    #[error("the store in {directory} has data but no identity; it was not made by a node")]
    Anonymous {
        /// Which directory.
        directory: PathBuf,
    },
    /// A stored clock is damaged.
    #[error("the store in {directory} is damaged: {source}")]
    Damaged {
        /// Which directory.
        directory: PathBuf,
        /// What is wrong.
        source: Damaged,
    },
    /// The store cannot be read or written.
    #[error("the store in {directory} failed: {source}")]
    Storage {
        /// Which directory.
        directory: PathBuf,
        /// What it said.
        source: StorageError,
    },
    /// There is something else in the directory's place.
    #[error("cannot use {directory} as data directory: it is no directory")]
    NoDirectory {
        /// Where it should be.
        directory: PathBuf,
    },
    /// A file beside the store cannot be read or written.
    #[error("cannot use {file}: {source}")]
    File {
        /// Which file.
        file: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The operating system gave no random numbers.
    #[error("the operating system gives no random numbers: {0}")]
    Random(String),
}

/// An open data directory.
pub struct DataDirectory {
    path: PathBuf,
    expected: Expected,
    /// The marker that lies beside the store now.
    marker: Option<Marker>,
    /// The store, for handles and figures.
    pub store: Arc<RocksStore>,
    /// How this start was judged.
    pub verdict: Verdict,
    /// What the store remembers beside its objects.
    pub recovered: Recovered,
}

impl DataDirectory {
    /// Opens a directory, which is made if it is not there, judges the start, and leaves this start's marker.
    ///
    /// # Errors
    /// Why it cannot be used. It is then unchanged, save that it may have been made.
    pub fn open(
        path: &Path,
        mut expected: Expected,
        options: &RocksOptions,
        forced: Forced,
    ) -> Result<Self, DataError> {
        fs::create_dir_all(path).map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => DataError::NoDirectory { directory: path.to_owned() },
            _ => DataError::File { file: path.to_owned(), source },
        })?;
        let store = Arc::new(open_store(path, options)?);
        let (identity, recovered) = recover(path, &store, &mut expected)?;
        let evidence = evidence(path)?;
        let verdict = start::judge(identity.as_ref(), &evidence, Incarnation::new(random()?), forced);
        let remembered = identity.into_iter().flat_map(|identity| [Some(identity.marker), identity.previous]).flatten();
        let marker = remembered.into_iter().find(|marker| evidence.nonce == Some(marker.nonce));
        let mut directory = Self { path: path.to_owned(), expected, marker, store, verdict, recovered };
        directory.leave_marker(MadeBy::Start)?;
        Ok(directory)
    }

    /// The fingerprint of the ring that the cluster began with.
    pub const fn first_ring(&self) -> u64 {
        self.expected.ring
    }

    /// Remembers which ring the cluster began with, which a node that joins is told.
    ///
    /// # Errors
    /// That this could not be stored.
    pub fn remember_first_ring(&mut self, fingerprint: u64) -> Result<(), DataError> {
        self.expected.ring = fingerprint;
        self.leave_marker(MadeBy::Start)
    }

    /// Ends a run after the last write of the last handle: syncs everything and leaves the marker that proves it.
    ///
    /// # Errors
    /// That something could not be synced. The next start then takes a new incarnation.
    pub fn close(mut self) -> Result<(), DataError> {
        self.leave_marker(MadeBy::CleanStop)?;
        let directory = self.path;
        self.store.shutdown().map_err(|source| DataError::Storage { directory, source })
    }

    /// Remembers whether the store has all that was ever acknowledged from it.
    ///
    /// # Errors
    /// That this could not be stored.
    pub fn remember_standing(&mut self, standing: Standing) -> Result<(), DataError> {
        if self.verdict.standing == standing {
            return Ok(());
        }
        self.verdict.standing = standing;
        self.leave_marker(MadeBy::Start)
    }

    /// Remembers that something was lost with these incarnations, which the store did not know.
    ///
    /// # Errors
    /// That this could not be stored.
    pub fn remember_loss(&mut self, lost: &[Incarnation]) -> Result<(), DataError> {
        let new = start::remember_lost(&mut self.verdict.ancestors, self.verdict.incarnation, lost);
        if !new && self.verdict.standing == Standing::Lost {
            return Ok(());
        }
        self.verdict.standing = Standing::Lost;
        self.leave_marker(MadeBy::Start)
    }

    /// After a failed sync nothing proves that all is there: the next start takes a loss for possible.
    ///
    /// # Errors
    /// That the marker could not be removed.
    pub fn doubt(&self) -> Result<(), DataError> {
        remove_marker(&self.path)
    }

    /// Makes a new marker file, has the store remember it, synced, with everything written before, and puts it in the old one's place.
    ///
    /// The store remembers both, as a crash or a full disk may leave either.
    fn leave_marker(&mut self, made_by: MadeBy) -> Result<(), DataError> {
        let nonce = random()?;
        let (new, path) = (self.path.join("MARKER.new"), self.path.join(MARKER));
        let file = |source| DataError::File { file: path.clone(), source };
        let place = write_marker(&new, nonce).map_err(file)?;
        let marker = Marker { made_by, nonce, place, boot: boot() };
        let identity = Identity {
            cluster: self.expected.cluster.clone(),
            node: self.expected.node,
            partitions: self.expected.partitions,
            ring: self.expected.ring,
            incarnation: self.verdict.incarnation,
            ancestors: self.verdict.ancestors.clone(),
            standing: self.verdict.standing,
            marker: marker.clone(),
            previous: self.marker.take(),
        };
        self.store_identity(&identity).map_err(|source| DataError::Storage { directory: self.path.clone(), source })?;
        put_in_place(&self.path, &new, &path).map_err(file)?;
        self.marker = Some(marker);
        Ok(())
    }

    fn store_identity(&self, identity: &Identity) -> Result<(), StorageError> {
        let (wake, woken) = mpsc::channel();
        let mut handle = self.store.handle(Arc::new(move || {
            let _ = wake.send(()); // The receiver is gone only when the write is done.
        }));
        let mut batch = Batch::default();
        batch.put(Column::Metadata, Bytes::from_static(IDENTITY_KEY), start::encode(identity));
        handle.submit(OperationId(0), Operation::Write { batch, durability: Durability::Synced });
        handle.flush();
        loop {
            if let Some((_, result)) = handle.poll_completion() {
                return result.map(|_| ());
            }
            // The store wakes us; the bound is for the case that it was faster than the first look.
            let _ = woken.recv_timeout(Duration::from_millis(10));
        }
    }
}

/// Opens the store. If its log is damaged, what was written behind that place is lost: the marker goes first, so that this start, and the
/// next one if this dies, is judged as one that may follow a loss.
fn open_store(path: &Path, options: &RocksOptions) -> Result<RocksStore, DataError> {
    let store = path.join("store");
    let reason = match RocksStore::open(&store, options) {
        Err(OpenError::Damaged { reason, .. }) => reason,
        opened => return Ok(opened?),
    };
    remove_marker(path)?;
    let options = RocksOptions { damaged_log: DamagedLog::CutOff, ..options.clone() };
    let store = RocksStore::open(&store, &options)?;
    tracing::error!(
        %reason,
        "the store's log is damaged: what was written behind that place is lost here, and reads do not count on this node until it has caught \
         up with all peers; look after the disk"
    );
    Ok(store)
}

/// Without one nothing proves that all is there.
fn remove_marker(path: &Path) -> Result<(), DataError> {
    let file = path.join(MARKER);
    match fs::remove_file(&file) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(DataError::File { file, source }),
        _ => Ok(()),
    }
}

fn recover(
    path: &Path,
    store: &RocksStore,
    expected: &mut Expected,
) -> Result<(Option<Identity>, Recovered), DataError> {
    let directory = || path.to_owned();
    let entries = store.handle(Arc::new(|| {})).recover();
    let entries = entries.map_err(|source| DataError::Storage { directory: directory(), source })?;
    let recovered = Recovered::read(&entries);
    let recovered = recovered.map_err(|source| DataError::Damaged { directory: directory(), source })?;
    let identity = entries.iter().find(|(key, _)| key == IDENTITY_KEY).map(|(_, value)| {
        start::check(value, expected).or_else(|problem| match problem {
            // Which ring it goes by now is in the store, and may have changed.
            NotOurs::Ring { found, .. } if recovered.layout.is_some() || expected.ring == RING_UNKNOWN => {
                expected.ring = found;
                start::check(value, expected)
            }
            problem => Err(problem),
        })
    });
    let identity = identity.transpose().map_err(|source| DataError::NotOurs { directory: directory(), source })?;
    if identity.is_none() && !entries.is_empty() {
        return Err(DataError::Anonymous { directory: directory() });
    }
    Ok((identity, recovered))
}

fn evidence(path: &Path) -> Result<Evidence, DataError> {
    let file = path.join(MARKER);
    let nonce = match fs::read_to_string(&file) {
        Ok(text) => u64::from_str_radix(text.trim(), 16).ok(),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(source) => return Err(DataError::File { file, source }),
    };
    let place = fs::metadata(&file).map(|metadata| place(&metadata)).unwrap_or_default();
    Ok(Evidence { nonce, place, boot: boot() })
}

/// Writes a new marker file and says where it lies. An old one that was never put in place is removed first, as the new one must
/// be a new file.
fn write_marker(new: &Path, nonce: u64) -> std::io::Result<String> {
    match fs::remove_file(new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::File::create(new)?;
    writeln!(file, "{nonce:016x}")?;
    file.sync_all()?;
    Ok(place(&fs::metadata(new)?))
}

fn put_in_place(directory: &Path, new: &Path, path: &Path) -> std::io::Result<()> {
    fs::rename(new, path)?;
    fs::File::open(directory)?.sync_all()
}

/// Inode and time of birth, which a rename keeps and a copy does not. Where the file system has no times of birth, the inode alone.
/// The device is left out: its number may change with every boot.
fn place(metadata: &fs::Metadata) -> String {
    let born = metadata.created().ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    let born = born.map(|born| format!(" born {}.{:09}", born.as_secs(), born.subsec_nanos()));
    format!("inode {}{}", metadata.ino(), born.unwrap_or_default())
}

/// This boot of the machine. Where it cannot be told every crash counts as the machine's.
fn boot() -> String {
    fs::read_to_string(BOOT_ID).map_or_else(|_| String::new(), |id| id.trim().to_owned())
}

/// A random number of the operating system's.
pub(super) fn random() -> Result<u64, DataError> {
    getrandom::u64().map_err(|error| DataError::Random(error.to_string()))
}
