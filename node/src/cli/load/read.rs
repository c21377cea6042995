//! The reading side of `load`: lines from a file or standard input, plain or gzip, parsed and dealt out in batches.
//!
//! All lines of one key go to the same writer in the file's order, and no batch holds a key twice, so that the last line of a
//! key wins whatever the concurrency.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use quorate_ring::Key;
use quorate_ring::limits::BATCH_BYTES_MAX;
use tokio::sync::mpsc;

use crate::cli::exit::Failure;
use crate::cli::json_lines::{BadLine, Record, is_blank};

/// Longest line that is read. Room for a key's siblings in base64; a longer line is refused before it fills the memory.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A batch is sent on when its keys and values have this many bytes, however few they are: a quarter of what one message to a
/// node may have.
const BATCH_BYTES: usize = BATCH_BYTES_MAX / 4;
const BUFFER_BYTES: usize = 256 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A record and where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Numbered {
    /// The number of its line, from 1.
    pub(crate) line: u64,
    /// What the line held.
    pub(crate) record: Record,
}

/// What a reader does with a line that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadLines {
    /// Stop there.
    Refuse,
    /// Count them.
    Skip,
}

/// Where lines come from.
pub(super) struct Input {
    name: PathBuf,
    lines: Box<dyn BufRead + Send>,
    /// Bytes of the file read so far, before decompression.
    pub(super) consumed: Arc<AtomicU64>,
    /// Bytes of the file, if it is one.
    pub(super) bytes: Option<u64>,
}

impl Input {
    /// Opens a file, or standard input for `-`; gzip is recognised by its first two bytes.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let consumed = Arc::new(AtomicU64::new(0));
        let (name, source, bytes): (_, Box<dyn Read + Send>, _) = if path == Path::new("-") {
            (PathBuf::from("standard input"), Box::new(io::stdin()), None)
        } else {
            let file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
            let bytes = file.metadata().ok().filter(|metadata| metadata.is_file()).map(|metadata| metadata.len());
            (path.to_owned(), Box::new(file), bytes)
        };
        let mut plain = BufReader::with_capacity(BUFFER_BYTES, Counting { source, consumed: consumed.clone() });
        let start = plain.fill_buf().map_err(|error| Failure::file("read", &name, &error))?;
        let lines: Box<dyn BufRead + Send> = if start.starts_with(&GZIP_MAGIC) {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(plain)))
        } else {
            Box::new(plain)
        };
        Ok(Self { name, lines, consumed, bytes })
    }

    /// The next line without its end; `None` at the input's end.
    fn next_line(&mut self, line: &mut Vec<u8>) -> Result<Option<Result<(), BadLine>>, Failure> {
        line.clear();
        let read = self.lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', line);
        match read.map_err(|error| Failure::file("read", &self.name, &error))? {
            0 => Ok(None),
            _ if line.last() != Some(&b'\n') && LINE_BYTES_MAX <= line.len() as u64 => {
                self.lines.skip_until(b'\n').map_err(|error| Failure::file("read", &self.name, &error))?;
                Ok(Some(Err(BadLine::new(format!("the line is longer than {LINE_BYTES_MAX} bytes")))))
            }
            _ => Ok(Some(Ok(()))),
        }
    }
}

/// Counts what is read, for the progress.
struct Counting {
    source: Box<dyn Read + Send>,
    consumed: Arc<AtomicU64>,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.consumed.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// What became of the input.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReadSummary {
    /// Lines that held a record.
    pub(super) records: u64,
    /// Lines that were skipped.
    pub(super) skipped: u64,
}

/// Deals out the records of an input to writers, until it ends or a writer is gone. Blocks: belongs on a thread of its own.
///
/// # Errors
/// If the input cannot be read, or has a bad line that is not to be skipped.
pub(super) fn deal(
    mut input: Input,
    bad_lines: BadLines,
    batch_records: usize,
    writers: &[mpsc::Sender<Vec<Numbered>>],
) -> Result<ReadSummary, Failure> {
    let mut hands: Vec<_> = writers.iter().map(|_| Hand::default()).collect();
    let mut summary = ReadSummary::default();
    let mut line = Vec::new();
    let mut number = 0;
    while let Some(read) = input.next_line(&mut line)? {
        number += 1;
        if is_blank(&line) {
            continue;
        }
        match read.and_then(|()| Record::parse(&line)) {
            Ok(record) => {
                summary.records += 1;
                let writer = writer_of(&record.key, writers.len());
                if !hands[writer].add(Numbered { line: number, record }, batch_records, &writers[writer]) {
                    return Ok(summary);
                }
            }
            Err(_) if bad_lines == BadLines::Skip => summary.skipped += 1,
            Err(error) => return Err(refused(&input.name, number, &error)),
        }
    }
    for (hand, writer) in hands.iter_mut().zip(writers) {
        hand.send(writer);
    }
    Ok(summary)
}

fn refused(name: &Path, number: u64, error: &BadLine) -> Failure {
    Failure::invalid(format!("{}: line {number}: {error}", name.display()))
        .help("correct the line, or count and skip such lines with --skip-bad; lines before it may have been stored")
}

fn writer_of(key: &Key, writers: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    (hasher.finish() % writers as u64) as usize
}

/// The batch being filled for one writer.
#[derive(Default)]
struct Hand {
    records: Vec<Numbered>,
    keys: std::collections::BTreeSet<Key>,
    bytes: usize,
}

impl Hand {
    /// Adds a record, sending on what has to go before or now. `false` if the writer is gone.
    fn add(&mut self, record: Numbered, batch_records: usize, writer: &mpsc::Sender<Vec<Numbered>>) -> bool {
        if self.keys.contains(&record.record.key) && !self.send(writer) {
            return false;
        }
        self.keys.insert(record.record.key.clone());
        let values = record.record.values.iter().map(|value| value.as_bytes().len());
        self.bytes += record.record.key.as_bytes().len() + values.sum::<usize>();
        self.records.push(record);
        let full = batch_records <= self.records.len() || BATCH_BYTES <= self.bytes;
        !full || self.send(writer)
    }

    fn send(&mut self, writer: &mpsc::Sender<Vec<Numbered>>) -> bool {
        self.keys.clear();
        self.bytes = 0;
        let records = std::mem::take(&mut self.records);
        records.is_empty() || writer.blocking_send(records).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// All batches of all writers, each as (line, value) pairs.
    fn dealt(
        input: &[u8],
        bad_lines: BadLines,
        writers: usize,
        batch: usize,
    ) -> Result<Vec<Vec<(u64, String)>>, Failure> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("input");
        fs::write(&path, input).expect("written");
        let (senders, mut receivers): (Vec<_>, Vec<_>) = (0..writers).map(|_| mpsc::channel(1000)).unzip();
        deal(Input::open(&path)?, bad_lines, batch, &senders)?;
        let text = |value: &quorate_ring::Value| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let pair = |numbered: &Numbered| (numbered.line, text(&numbered.record.values[0]));
        let mut batches = Vec::new();
        for receiver in &mut receivers {
            while let Ok(batch) = receiver.try_recv() {
                batches.push(batch.iter().map(pair).collect());
            }
        }
        Ok(batches)
    }

    #[test]
    fn lines_of_one_key_stay_in_order_and_in_batches_of_their_own() {
        let input = br#"{"key":"a","value":1}

            {"key":"b","value":2}
            {"key":"a","value":3}"#;
        let batches = dealt(input, BadLines::Refuse, 1, 100).expect("read");
        assert_eq!(batches, [vec![(1, "1".into()), (3, "2".into())], vec![(4, "3".into())]]);
    }

    #[test]
    fn gzip_is_recognised_by_its_first_bytes() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(b"{\"key\":\"a\",\"value\":1}\n").expect("written");
        let batches = dealt(&encoder.finish().expect("whole"), BadLines::Refuse, 3, 100).expect("read");
        assert_eq!(batches, [vec![(1, "1".into())]]);
    }

    #[test]
    fn bad_line_is_named_by_its_number_or_skipped() {
        let input = b"{\"key\":\"a\",\"value\":1}\n\nnonsense\n{\"key\":\"b\",\"value\":2}\n";
        let failure = dealt(input, BadLines::Refuse, 1, 100).expect_err("refused");
        assert!(failure.message.contains("input: line 3: expected ident"), "{}", failure.message);
        let batches = dealt(input, BadLines::Skip, 1, 1).expect("read");
        assert_eq!(batches, [vec![(1, "1".into())], vec![(4, "2".into())]]);
    }
}
