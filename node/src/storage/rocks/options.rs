//! How RocksDB is tuned: for point reads and writes by keys that are hashes, on a node with little memory.

use std::time::Duration;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, DEFAULT_COLUMN_FAMILY_NAME,
    Env, LogLevel, Options,
};

use crate::storage::Column;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Log bytes after which the oldest memtables are written out, so that opening a store replays no more than this.
const LOG_BYTES_MAX: u64 = 64 * MIB as u64;
/// Memtable of the dot log, of the metadata and of the hints, and of the journal. All are overwritten or deleted soon, so most of one never
/// reaches the disk.
const SMALL_MEMTABLE_BYTES: usize = 8 * MIB;
/// Two or three values of a kilobyte share a block; smaller ones would make the indexes large.
const BLOCK_BYTES: usize = 8 * KIB;
/// One lookup in a hundred of a key that is not there reads a block in vain.
const BLOOM_BITS_PER_KEY: f64 = 10.0;
/// Share of a memtable spent on a filter, which spares lookups of absent keys the walk down its skip list: a quarter of a
/// microsecond instead of a whole one, and every put begins with such a lookup.
const MEMTABLE_BLOOM_SHARE: f64 = 0.02;

/// What may differ between nodes. All have defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RocksOptions {
    /// Bytes of the cache of blocks, which are taken as blocks are read, and as objects are written out. Default 256 MiB; give it what memory the machine
    /// can spare.
    /// Filters and indexes are held outside of it, at about one and a half bytes per key.
    pub cache_bytes: usize,
    /// Bytes of single objects, read of late, that each shard has at hand in front of all that. Default 64 MiB.
    pub hot_bytes: usize,
    /// Bytes of recent objects held in memory before they are written out; up to three times this while the disk lags. Default
    /// 32 MiB. More makes fewer and larger files. Replicas are written the same, so give each node of a cluster another number: those with
    /// the same write out and compact at the same moments.
    pub memtable_bytes: usize,
    /// Bytes of the youngest clocks and log entries that a shard keeps in its journal, before they become entries of their columns. Default
    /// 16 MiB: what some 100,000 events leave, which is those of a few seconds; about as much again is held in memory.
    pub journal_bytes: usize,
    /// How long a buffered write may wait to be synced in the background, and so what a power loss may take. Default 100 ms.
    pub sync_interval: Duration,
    /// Threads that read what is not in memory. Default 2; about as many as the disk serves well at once.
    pub reader_threads: usize,
    /// Files held open. Default 512, which is within the usual limit of 1,024 per process.
    pub open_files_max: u16,
    /// What is done about a log that is damaged. Default [`DamagedLog::Refused`].
    pub damaged_log: DamagedLog,
}

/// What is done about a log that is damaged elsewhere than in its last record, which a process that dies may leave torn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DamagedLog {
    /// The store is not opened. After the death of a process alone all that was written is in the log, so something is lost.
    #[default]
    Refused,
    /// It is opened with the writes before the damage: a prefix of them, as after the machine lost power. Those behind are gone.
    CutOff,
}

impl Default for RocksOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 256 * MIB,
            hot_bytes: 64 * MIB,
            memtable_bytes: 32 * MIB,
            journal_bytes: 16 * MIB,
            sync_interval: Duration::from_millis(100),
            reader_threads: 2,
            open_files_max: 512,
            damaged_log: DamagedLog::Refused,
        }
    }
}

/// What objects are stored with beside, which the library has no setter for: their blocks are in the cache from when a memtable is written out. What
/// was just written is asked again soon, and would have to be read from the disk by another thread.
pub(super) const OF_OBJECTS_BESIDE: [(&str, &str); 1] =
    [("block_based_table_factory", "{prepopulate_block_cache=kFlushOnly;}")];

/// The name of the journal's family.
pub(super) const JOURNAL: &str = "journal";

/// The name of a column's family, which is on the disk.
pub(super) const fn family_name(column: Column) -> &'static str {
    match column {
        Column::Objects => "objects",
        Column::DotLog => "dot_log",
        Column::Metadata => "metadata",
        Column::Hints => "hints",
    }
}

impl RocksOptions {
    /// What holds for the whole database.
    pub(super) fn of_database(&self) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        // Also of a store that an earlier release made, which had fewer columns.
        options.create_missing_column_families(true);
        options.set_max_open_files(i32::from(self.open_files_max));
        options.set_max_background_jobs(2);
        // A compaction takes seconds of a core, and requests come first: at the same priority they queued behind it until they timed out. Whoever
        // writes memtables out yields less (`at_lower_priority`): a full memtable that is not written out holds up every write.
        let mut environment = Env::new().expect("the default environment is always there");
        environment.lower_thread_pool_cpu_priority();
        options.set_env(&environment);
        options.set_max_total_wal_size(LOG_BYTES_MAX);
        // Either way a prefix of the writes, which is what the contract promises.
        options.set_wal_recovery_mode(match self.damaged_log {
            DamagedLog::Refused => DBRecoveryMode::TolerateCorruptedTailRecords,
            DamagedLog::CutOff => DBRecoveryMode::PointInTime,
        });
        options.set_paranoid_checks(true);
        // Obsolete files are deleted by the background threads and never by the shard that happens to end an iterator.
        options.set_avoid_unnecessary_blocking_io(true);
        // A compaction hands its output to the disk as it goes, so that a sync of the log does not wait behind all of it.
        options.set_bytes_per_sync(MIB as u64);
        // No statistics: they would wake an idle node.
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options.set_log_level(LogLevel::Warn);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(MIB);
        options
    }

    /// The column families, which share one cache.
    pub(super) fn families(&self) -> Vec<ColumnFamilyDescriptor> {
        // Lookups in it take no lock and move nothing, for a table of as many places as there are blocks of the usual size.
        let cache = Cache::new_hyper_clock_cache(self.cache_bytes, BLOCK_BYTES);
        let columns = Column::ALL.into_iter().map(|column| {
            let options = match column {
                Column::Objects => of_objects(&cache, self.memtable_bytes),
                Column::DotLog | Column::Metadata | Column::Hints => of_family(&cache, SMALL_MEMTABLE_BYTES),
            };
            ColumnFamilyDescriptor::new(family_name(column), options)
        });
        // Most records are removed while they are in the memtable still.
        let journal = ColumnFamilyDescriptor::new(JOURNAL, of_family(&cache, 2 * self.journal_bytes));
        let unused = ColumnFamilyDescriptor::new(DEFAULT_COLUMN_FAMILY_NAME, of_family(&cache, MIB));
        columns.chain([journal, unused]).collect()
    }
}

fn of_objects(cache: &Cache, memtable_bytes: usize) -> Options {
    let mut options = of_family(cache, memtable_bytes);
    options.set_max_write_buffer_number(3);
    // Objects come in the order of hashes, so each compaction of the newest files rewrites all of the level below. Few large
    // compactions write half as much as many small ones; reads pay with up to eight filters to ask.
    options.set_level_zero_file_num_compaction_trigger(8);
    options.set_max_bytes_for_level_base(512 * MIB as u64);
    // The first two levels are rewritten soon; compressing them would cost more than it saves.
    let mut levels = [DBCompressionType::Lz4; 7];
    levels[..2].fill(DBCompressionType::None);
    options.set_compression_per_level(&levels);
    options
}

fn of_family(cache: &Cache, memtable_bytes: usize) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(BLOCK_BYTES);
    table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    table.set_whole_key_filtering(true);
    table.set_format_version(6);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(memtable_bytes);
    options.set_compression_type(DBCompressionType::None);
    options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_SHARE);
    options.set_memtable_whole_key_filtering(true);
    options
}
