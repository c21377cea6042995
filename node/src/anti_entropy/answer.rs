//! What is being put together for a peer that asks for what it lacks.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use quorate_ring::limits::{FETCH_BYTES_MAX, FETCH_DOTS_MAX};
use quorate_ring::version::{Container, Dot, NodeClock};
use quorate_ring::wire::{ExchangeId, Piece, PieceObject};
use quorate_ring::{ObjectKey, PartitionId, StoredValue};

use crate::limits::ANSWER_READS_MAX;

/// An answer to a `Fetch`.
///
/// ```text
/// Looking up the dots ──found──▶ Reading the keys, a few at a time ──all, or bytes enough──▶ (sent)
/// ```
///
/// A dot is vouched for only with a container whose vector covers it. One that is not in the log any more, or whose key cannot be read, or
/// is kept in a container that does not cover it, cannot be named to the peer: the piece says so.
pub struct Answer {
    /// The number of the question.
    pub exchange: ExchangeId,
    pieces: Vec<Piece>,
    /// The dots that are looked up, in the order of the lookup, each with the index of its piece.
    dots: Vec<(usize, Dot)>,
    /// Keys that are to be read, each with the index of its piece.
    keys: VecDeque<(usize, ObjectKey)>,
    /// The dots that touched each key.
    touched: BTreeMap<ObjectKey, (usize, Vec<Dot>)>,
    reading: usize,
    bytes: usize,
}

impl Answer {
    /// The answer about these partitions: of each the asker's clock, this replica's, and what of that is durable.
    pub fn new<'a>(
        exchange: ExchangeId,
        partitions: impl Iterator<Item = (PartitionId, &'a NodeClock, &'a NodeClock, &'a NodeClock)>,
    ) -> Self {
        let mut answer = Self {
            exchange,
            pieces: Vec::new(),
            dots: Vec::new(),
            keys: VecDeque::new(),
            touched: BTreeMap::new(),
            reading: 0,
            bytes: 0,
        };
        for (partition, theirs, own, durable) in partitions {
            let room = FETCH_DOTS_MAX - answer.dots.len();
            if room == 0 {
                break;
            }
            let mut missing = own.missing_from(theirs);
            let index = answer.pieces.len();
            answer.dots.extend(missing.by_ref().take(room).map(|dot| (index, dot)));
            let more = missing.next().is_some();
            let clock = durable.clone();
            let piece = Piece { partition, clock, objects: Vec::new(), closed: Vec::new(), unlogged: false, more };
            answer.pieces.push(piece);
        }
        answer
    }

    /// The dots to look up, each with its partition.
    pub fn dots(&self) -> impl Iterator<Item = (PartitionId, Dot)> + '_ {
        self.dots.iter().map(|(index, dot)| (self.pieces[*index].partition, *dot))
    }

    /// Takes what the log says of the dots, in their order: the key, nothing if the event was closed, or that it is not there.
    pub fn handle_found(&mut self, found: Vec<Option<Bytes>>) {
        for ((index, dot), entry) in std::mem::take(&mut self.dots).into_iter().zip(found) {
            let piece = &mut self.pieces[index];
            match entry.map(|bytes| if bytes.is_empty() { None } else { Some(ObjectKey::decode(bytes)) }) {
                Some(None) => piece.closed.push(dot),
                Some(Some(Ok(key))) => {
                    let keys = &mut self.keys;
                    let touched = self.touched.entry(key).or_insert_with_key(|key| {
                        keys.push_back((index, key.clone()));
                        (index, Vec::new())
                    });
                    touched.1.push(dot);
                }
                Some(Some(Err(_))) | None => piece.unlogged = true,
            }
        }
    }

    /// The keys to read now.
    pub fn next_reads(&mut self) -> Vec<ObjectKey> {
        if FETCH_BYTES_MAX <= self.bytes {
            for (index, key) in self.keys.drain(..) {
                self.touched.remove(&key);
                self.pieces[index].more = true;
            }
        }
        let count = self.keys.len().min(ANSWER_READS_MAX.saturating_sub(self.reading));
        self.reading += count;
        self.keys.drain(..count).map(|(_, key)| key).collect()
    }

    /// Takes a key's filled container; `None` if it cannot be read.
    pub fn handle_read(&mut self, key: &ObjectKey, container: Option<Container<StoredValue>>) {
        let Some((index, dots)) = self.touched.remove(key) else { return };
        self.reading -= 1;
        let piece = &mut self.pieces[index];
        let Some(container) = container else {
            piece.unlogged = true;
            return;
        };
        // Several are read at once, and only now it is known how large each is: all together might not fit a message.
        if FETCH_BYTES_MAX <= self.bytes {
            piece.more = true;
            return;
        }
        let touched = dots.len();
        let dots: Vec<Dot> = dots.into_iter().filter(|dot| container.vector().covers(dot)).collect();
        piece.unlogged |= dots.len() < touched;
        self.bytes +=
            container.values().map(|(_, value)| value.value.as_bytes().len()).sum::<usize>() + key.encoded().len();
        piece.objects.push(PieceObject { key: key.clone(), container, dots });
    }

    /// Whether everything is there that is to be sent.
    pub fn is_done(&self) -> bool {
        self.dots.is_empty() && self.keys.is_empty() && self.reading == 0
    }

    /// What is to be sent.
    pub fn into_pieces(self) -> Vec<Piece> {
        self.pieces
    }
}
