//! Frames: how messages lie one behind the other in a stream of bytes.
//!
//! ```text
//! bytes  0..4   length of the payload, little-endian
//!        4..8   checksum: the low 32 bits of the xxh3 of everything behind it (version and payload), little-endian
//!        8      version of the frame, 1
//!        9..    payload: one message in MessagePack
//! ```
//!
//! Nothing in a frame is believed before it is checked: the length and the version as soon as the header is there, and before
//! any memory is set aside; then the checksum; then, by [`decode`], the message. After an error the stream cannot be
//! understood any more and must be closed. What a message may hold is not decided here but by its type.

use std::io;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::limits::FRAME_BYTES_MAX;

/// The version of frames that this build writes, and the only one it reads.
pub const FRAME_VERSION: u8 = 1;
/// Bytes of a frame before its payload.
pub const HEADER_BYTES: usize = 9;
/// Most bytes of payload that a [`Decoder`] should accept before a stream's [`super::Hello`] and [`super::Welcome`] are through,
/// so that strangers cannot fill a node's memory. Both fit with much to spare.
pub const HELLO_BYTES_MAX: usize = 4 * 1024;
/// Deepest nesting of arrays and maps in a message. The deepest of ours, a batch's answer with its errors, has about ten levels;
/// without a bound, a few bytes per level would end a thread's stack.
const DEPTH_MAX: usize = 32;
/// Where the part of a frame that the checksum covers starts.
const VERSION_INDEX: usize = 8;

/// What is wrong with a frame or with the message in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The payload is larger than allowed.
    #[error("a frame with {bytes} bytes of payload, where at most {max} are allowed; send less in one message")]
    TooLarge {
        /// How large it is, or was announced to be.
        bytes: usize,
        /// How large it may be.
        max: usize,
    },
    /// The bytes received are not those that were sent.
    #[error(
        "a frame's checksum is wrong: it was damaged on the way, or the other side speaks something else; reconnect"
    )]
    Checksum,
    /// The other side writes frames that this build does not know.
    #[error(
        "a frame of version {found}, where this side reads version {FRAME_VERSION}: the other side runs another release or is \
         no Quorate at all; check its address and release"
    )]
    Version {
        /// Which version.
        found: u8,
    },
    /// The payload is not a message of the kind expected here.
    #[error("a malformed message: {0}; run the same release on both sides")]
    Malformed(String),
}

/// Appends a frame with this message to the buffer and returns how many bytes it has, its header included.
///
/// # Errors
/// [`FrameError::TooLarge`] if the message does not fit a frame. The buffer is then as it was before. Messages of this crate meet
/// no other error; a type that MessagePack cannot hold is [`FrameError::Malformed`].
pub fn encode<T: Serialize + ?Sized>(message: &T, buffer: &mut Vec<u8>) -> Result<usize, FrameError> {
    let start = buffer.len();
    let result = append_frame(message, buffer);
    if result.is_err() {
        buffer.truncate(start);
    }
    result
}

fn append_frame<T: Serialize + ?Sized>(message: &T, buffer: &mut Vec<u8>) -> Result<usize, FrameError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER_BYTES]);
    rmp_serde::encode::write(buffer, message).map_err(|error| FrameError::Malformed(error.to_string()))?;
    let frame = &mut buffer[start..];
    let bytes = frame.len() - HEADER_BYTES;
    if FRAME_BYTES_MAX < bytes {
        return Err(FrameError::TooLarge { bytes, max: FRAME_BYTES_MAX });
    }
    let length = u32::try_from(bytes).expect("a frame is smaller than 64 MiB, checked above");
    frame[VERSION_INDEX] = FRAME_VERSION;
    let checksum = checksum(&frame[VERSION_INDEX..]);
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[4..8].copy_from_slice(&checksum.to_le_bytes());
    Ok(frame.len())
}

/// Reads the message out of a frame's payload.
///
/// # Errors
/// [`FrameError::Malformed`] if the payload is not exactly one message of this type, or breaks a bound of it.
pub fn decode<'de, T: Deserialize<'de>>(payload: &'de [u8]) -> Result<T, FrameError> {
    let malformed = |error: rmp_serde::decode::Error| FrameError::Malformed(error.to_string());
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(payload);
    deserializer.set_max_depth(DEPTH_MAX);
    let message = T::deserialize(&mut deserializer).map_err(malformed)?;
    // The deserializer does not tell where it is. Reading one more number fails with this very error only at the end.
    match u8::deserialize(&mut deserializer) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Ok(message)
        }
        _ => Err(FrameError::Malformed("there are bytes behind the message".to_owned())),
    }
}

/// Cuts a stream of bytes, as it arrives, into payloads.
///
/// Feed it with [`push`](Self::push) or [`extend`](Self::extend), then call [`next`](Self::next) until it has no more. A frame
/// that lies wholly in one received chunk is handed out as a part of that chunk; one that is spread over several is put together
/// in a buffer, which grows by what is received and never by what is announced.
///
/// ```
/// use quorate_ring::wire::frame::{self, Decoder};
///
/// let mut stream = Vec::new();
/// frame::encode(&"a message", &mut stream)?;
/// let mut decoder = Decoder::new();
/// decoder.push(&stream[..5]);
/// assert_eq!(decoder.next()?, None);
/// decoder.push(&stream[5..]);
/// let payload = decoder.next()?.ok_or("all is there")?;
/// assert_eq!(frame::decode::<String>(&payload)?, "a message");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    /// The start of the stream's rest: frames put together from several chunks.
    gathered: BytesMut,
    /// What comes behind it: the chunk received last.
    chunk: Bytes,
    payload_bytes_max: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder that takes frames up to [`FRAME_BYTES_MAX`].
    pub fn new() -> Self {
        Self::with_limit(FRAME_BYTES_MAX)
    }

    /// A decoder that takes frames with at most this many bytes of payload, for instance [`HELLO_BYTES_MAX`].
    pub fn with_limit(payload_bytes_max: usize) -> Self {
        let payload_bytes_max = payload_bytes_max.min(FRAME_BYTES_MAX);
        Self { gathered: BytesMut::new(), chunk: Bytes::new(), payload_bytes_max }
    }

    /// Changes how large payloads may be from the next frame on, at most [`FRAME_BYTES_MAX`].
    pub fn set_limit(&mut self, payload_bytes_max: usize) {
        self.payload_bytes_max = payload_bytes_max.min(FRAME_BYTES_MAX);
    }

    /// How many bytes were received and not yet handed out.
    pub fn buffered_bytes(&self) -> usize {
        self.gathered.len() + self.chunk.len()
    }

    /// Takes in bytes received, copying them.
    pub fn push(&mut self, bytes: &[u8]) {
        self.gather(self.chunk.len());
        self.gathered.extend_from_slice(bytes);
    }

    /// Takes in a chunk received, without copying it if everything before it was handed out.
    pub fn extend(&mut self, chunk: Bytes) {
        self.gather(self.chunk.len());
        self.chunk = chunk;
    }

    /// The payload of the next frame, or `None` until more bytes are there. After an error it answers with the same error.
    ///
    /// # Errors
    /// Any but [`FrameError::Malformed`]. The stream must then be closed.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator ends for good with `None`, this one goes on after it"
    )]
    pub fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        while !self.gathered.is_empty() {
            let wanted = wanted_bytes(&self.gathered, self.payload_bytes_max)?;
            if let Some(bytes) = wanted.filter(|&bytes| bytes <= self.gathered.len()) {
                check(&self.gathered[..bytes])?;
                return Ok(Some(payload_of(self.take_gathered(bytes))));
            }
            // Only what this frame lacks, so that those behind it can be taken from the chunk as they are.
            let missing = wanted.unwrap_or(HEADER_BYTES) - self.gathered.len();
            if self.chunk.is_empty() {
                return Ok(None);
            }
            self.gather(missing.min(self.chunk.len()));
        }
        match wanted_bytes(&self.chunk, self.payload_bytes_max)? {
            Some(bytes) if bytes <= self.chunk.len() => {
                check(&self.chunk[..bytes])?;
                Ok(Some(payload_of(self.chunk.split_to(bytes))))
            }
            _ => {
                self.gather(self.chunk.len());
                Ok(None)
            }
        }
    }

    fn gather(&mut self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.gathered.extend_from_slice(&self.chunk.split_to(bytes));
        if self.chunk.is_empty() {
            self.chunk = Bytes::new(); // An empty part would still hold on to the memory of the whole.
        }
    }

    fn take_gathered(&mut self, bytes: usize) -> Bytes {
        if bytes == self.gathered.len() {
            // The allocation goes with the frame, rather than that a large frame's memory stays with the stream.
            return std::mem::take(&mut self.gathered).freeze();
        }
        self.gathered.split_to(bytes).freeze()
    }
}

/// How many bytes the frame that starts here has in all; `None` until its header is there.
fn wanted_bytes(bytes: &[u8], payload_bytes_max: usize) -> Result<Option<usize>, FrameError> {
    let Some((header, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let found = header[VERSION_INDEX];
    if found != FRAME_VERSION {
        return Err(FrameError::Version { found });
    }
    let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    let bytes = usize::try_from(length).unwrap_or(usize::MAX);
    if payload_bytes_max < bytes {
        return Err(FrameError::TooLarge { bytes, max: payload_bytes_max });
    }
    Ok(Some(HEADER_BYTES + bytes))
}

fn check(frame: &[u8]) -> Result<(), FrameError> {
    let stated = u32::from_le_bytes([frame[4], frame[5], frame[6], frame[7]]);
    if checksum(&frame[VERSION_INDEX..]) == stated { Ok(()) } else { Err(FrameError::Checksum) }
}

fn checksum(version_and_payload: &[u8]) -> u32 {
    (xxh3_64(version_and_payload) & u64::from(u32::MAX)) as u32
}

fn payload_of(mut frame: Bytes) -> Bytes {
    frame.split_off(HEADER_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(messages: &[&str]) -> Vec<u8> {
        let mut stream = Vec::new();
        for message in messages {
            let before = stream.len();
            assert_eq!(encode(message, &mut stream).map(|bytes| before + bytes), Ok(stream.len()));
        }
        stream
    }

    fn drain(decoder: &mut Decoder, found: &mut Vec<String>) -> Result<(), FrameError> {
        while let Some(payload) = decoder.next()? {
            found.push(decode(&payload)?);
        }
        Ok(())
    }

    #[test]
    fn header_is_as_documented() {
        let mut stream = Vec::new();
        assert_eq!(encode(&7u8, &mut stream), Ok(10));
        let checksum = (xxh3_64(&[1, 7]) as u32).to_le_bytes();
        assert_eq!(stream, [&[1, 0, 0, 0][..], &checksum, &[1, 7]].concat());
    }

    #[test]
    fn any_cut_of_the_stream_gives_the_same_messages() {
        let long = "x".repeat(300);
        let messages = ["", "a", &long, "b", "c"];
        let stream = frames(&messages);
        for size in 1..=stream.len() {
            let (mut pushed, mut extended) = (Decoder::new(), Decoder::new());
            let (mut from_pushed, mut from_extended) = (Vec::new(), Vec::new());
            for part in stream.chunks(size) {
                pushed.push(part);
                drain(&mut pushed, &mut from_pushed).expect("whole frames");
                extended.extend(Bytes::copy_from_slice(part));
                drain(&mut extended, &mut from_extended).expect("whole frames");
            }
            assert_eq!((&from_pushed[..], &from_extended[..]), (&messages.map(String::from)[..], &from_pushed[..]));
            assert_eq!((pushed.buffered_bytes(), extended.buffered_bytes()), (0, 0));
        }
    }

    #[test]
    fn chunks_that_were_not_drained_in_between_keep_their_order() {
        let messages = ["one", "two", "three", "four"];
        let mut decoder = Decoder::new();
        for (index, part) in frames(&messages).chunks(4).enumerate() {
            if index % 2 == 0 { decoder.extend(Bytes::copy_from_slice(part)) } else { decoder.push(part) }
        }
        let mut found = Vec::new();
        drain(&mut decoder, &mut found).expect("whole frames");
        assert_eq!(found, messages);
    }

    #[test]
    fn frame_inside_one_chunk_is_not_copied() {
        let chunk = Bytes::from(frames(&["first", "second"]));
        let mut decoder = Decoder::new();
        decoder.extend(chunk.clone());
        let payload = decoder.next().expect("sound").expect("whole");
        assert_eq!(payload.as_ptr(), chunk[HEADER_BYTES..].as_ptr());
    }

    #[test]
    fn announced_length_is_refused_from_the_header_alone() {
        let mut decoder = Decoder::with_limit(HELLO_BYTES_MAX);
        decoder.push(&[0x01, 0x10, 0, 0, 9, 9, 9, 9, FRAME_VERSION]);
        let refused = Err(FrameError::TooLarge { bytes: 4097, max: 4096 });
        assert_eq!((decoder.next(), decoder.next()), (refused.clone(), refused));
        decoder.set_limit(usize::MAX);
        assert_eq!(decoder.next(), Ok(None), "within the limit of the crate");

        let mut decoder = Decoder::with_limit(usize::MAX);
        decoder.push(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, FRAME_VERSION]);
        assert!(matches!(decoder.next(), Err(FrameError::TooLarge { max: FRAME_BYTES_MAX, .. })));
    }

    #[test]
    fn memory_follows_what_is_received_not_what_is_announced() {
        let mut decoder = Decoder::new();
        let length = u32::try_from(FRAME_BYTES_MAX).expect("small").to_le_bytes();
        decoder.push(&[&length[..], &[0, 0, 0, 0, FRAME_VERSION]].concat());
        for _ in 0..100 {
            assert_eq!(decoder.next(), Ok(None));
            decoder.extend(Bytes::from(vec![0; 100]));
        }
        assert_eq!(decoder.next(), Ok(None));
        assert!(decoder.gathered.capacity() <= 2 * decoder.buffered_bytes(), "{}", decoder.gathered.capacity());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let stream = frames(&["message"]);
        for bit in 0..stream.len() * 8 {
            let mut damaged = stream.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let mut decoder = Decoder::new();
            decoder.push(&damaged);
            assert!(!matches!(decoder.next(), Ok(Some(_))), "bit {bit}");
        }
    }

    #[test]
    fn other_version_is_named() {
        let mut stream = frames(&["message"]);
        stream[VERSION_INDEX] = 2;
        let mut decoder = Decoder::new();
        decoder.push(&stream);
        assert_eq!(decoder.next(), Err(FrameError::Version { found: 2 }));
    }

    #[test]
    fn message_too_large_leaves_the_buffer_as_it_was() {
        let mut buffer = frames(&["before"]);
        let before = buffer.clone();
        let bytes = Bytes::from(vec![0; FRAME_BYTES_MAX]);
        let refused = FrameError::TooLarge { bytes: FRAME_BYTES_MAX + 5, max: FRAME_BYTES_MAX };
        assert_eq!(encode(&bytes, &mut buffer), Err(refused));
        assert_eq!(buffer, before);
        assert_eq!(encode(&bytes.slice(5..), &mut buffer), Ok(HEADER_BYTES + FRAME_BYTES_MAX), "the largest that fits");
    }

    #[test]
    fn bytes_behind_the_message_are_refused() {
        assert_eq!(decode::<u8>(&[7]), Ok(7));
        for payload in [&[7, 7][..], &[7, 0xcd], &[7, 0xc1], &[7, 0x91], &[7, 0xdf, 0xff, 0xff, 0xff, 0xff]] {
            assert!(matches!(decode::<u8>(payload), Err(FrameError::Malformed(_))), "{payload:?}");
        }
        assert!(matches!(decode::<u8>(&[]), Err(FrameError::Malformed(_))));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| [vec![0x91; depth], vec![0x90]].concat();
        assert!(decode::<serde::de::IgnoredAny>(&nested(DEPTH_MAX - 2)).is_ok());
        assert!(decode::<serde::de::IgnoredAny>(&nested(DEPTH_MAX)).is_err());
        assert!(decode::<serde::de::IgnoredAny>(&nested(10_000_000)).is_err());
    }

    #[test]
    fn claimed_elements_are_not_believed() {
        for marker in [0xdd, 0xdf] {
            let payload = [marker, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3];
            assert!(decode::<Vec<u16>>(&payload).is_err());
            assert!(decode::<Vec<(u32, String)>>(&payload).is_err());
            assert!(decode::<Bytes>(&payload).is_err());
        }
    }
}
