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
/// A dot is vouched for only with a container whose vector covers it. One that is not in the log any more, or is kept in a container that
/// does not cover it, cannot be named to the peer: the piece says so. One whose key cannot be read is left to the next question: until then
/// it may have been mended, or have come from another.
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

    /// The log cannot be read: none of the dots can be named.
    pub fn handle_unreadable(&mut self) {
        for (index, _) in std::mem::take(&mut self.dots) {
            self.pieces[index].unlogged = true;
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

    /// Takes a key's filled container; `None` if it cannot be read. What the piece's clock says anyway is not sent with every key.
    pub fn handle_read(&mut self, key: &ObjectKey, container: Option<Container<StoredValue>>) {
        let Some((index, dots)) = self.touched.remove(key) else { return };
        self.reading -= 1;
        let piece = &mut self.pieces[index];
        // To send all of the partition instead would come to the same key, and no further.
        let Some(mut container) = container else { return };
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
        container.strip(piece.clock.base());
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

#[cfg(test)]
mod tests {
    use quorate_ring::version::{Actor, Incarnation};
    use quorate_ring::{BucketName, Key, NodeId, Value};

    use super::*;

    fn dot(node: u32, counter: u64) -> Dot {
        Dot { actor: Actor::new(NodeId::new(node).expect("not 0"), Incarnation::new(1)), counter }
    }

    fn clock(dots: impl IntoIterator<Item = Dot>) -> NodeClock {
        let mut clock = NodeClock::new();
        dots.into_iter().for_each(|dot| assert!(clock.add(dot), "{dot} comes once"));
        clock
    }

    fn key() -> ObjectKey {
        ObjectKey::new(&BucketName::new("b").expect("valid"), &Key::new("k").expect("valid"))
    }

    /// To one who has nothing, where the log says of all events that they touched one key, which is to be read next.
    fn answer(live: &NodeClock, durable: &NodeClock) -> Answer {
        let nothing = NodeClock::new();
        let asked = (PartitionId::new(0), &nothing, live, durable);
        let mut answer = Answer::new(ExchangeId(1), std::iter::once(asked));
        let touched = answer.dots().map(|_| Some(key().encoded().clone())).collect();
        answer.handle_found(touched);
        assert_eq!(answer.next_reads(), [key()]);
        answer
    }

    #[test]
    fn a_key_is_sent_without_what_the_clock_of_its_piece_says_and_is_whole_once_filled_with_it() {
        let durable = clock([dot(1, 1), dot(1, 2), dot(2, 1)]);
        let mut live = durable.clone();
        assert!(live.add(dot(2, 2)), "it is new");
        let mut container = Container::empty();
        container.add(dot(2, 2), StoredValue { value: Value::new("v").expect("small"), expires_at: None });
        container.fill(live.base());

        let mut answer = answer(&live, &durable);
        answer.handle_read(&key(), Some(container.clone()));
        let mut pieces = answer.into_pieces();
        let object = &mut pieces[0].objects[0];
        assert_eq!(object.dots.len(), 4);
        assert_eq!(object.container.vector().iter().collect::<Vec<_>>(), [(dot(2, 2).actor, 2)]);
        object.container.fill(durable.base());
        assert_eq!(object.container, container);
    }

    #[test]
    fn a_key_that_cannot_be_read_is_no_reason_to_send_the_whole_partition() {
        let clock = clock([dot(1, 1)]);
        let mut answer = answer(&clock, &clock);
        answer.handle_read(&key(), None);
        assert!(answer.is_done());
        let piece = answer.into_pieces().remove(0);
        assert!(piece.objects.is_empty() && !piece.unlogged && !piece.more);
    }
}
