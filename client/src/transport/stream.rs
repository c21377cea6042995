//! Messages on a QUIC stream, each in one frame ([`quorate_ring::wire::frame`]).
//!
//! The sender gathers messages into one buffer and hands it over whole, so that many small messages cost one call and share
//! packets. The receiver takes all the chunks that have arrived at once and hands out message by message.

use std::collections::VecDeque;

use bytes::Bytes;
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};
use quorate_ring::limits::FRAME_BYTES_MAX;
use quorate_ring::wire::frame::{self, Decoder, FrameError, HELLO_BYTES_MAX};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Chunks taken from the stream in one call: what a few dozen packets carry.
const CHUNKS_MAX: usize = 32;

/// Why a message could not be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The message cannot be framed: this side is at fault, nothing was sent of it, and the stream is as before.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The other side no longer reads this stream.
    #[error("the other side stopped reading the stream (code {code})")]
    Stopped {
        /// What it gave as the reason.
        code: u64,
    },
    /// The stream was finished before.
    #[error("the stream is closed")]
    Closed,
    /// The connection is gone.
    #[error("the connection is gone: {0}")]
    Connection(ConnectionError),
}

impl From<WriteError> for SendError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => Self::Stopped { code: code.into_inner() },
            WriteError::ConnectionLost(error) => Self::Connection(error),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::Closed,
        }
    }
}

/// Why a message could not be received.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// What came is no sound frame, or no message of the kind expected: the other side is at fault.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The other side finished the stream inside a frame.
    #[error("the stream ended inside a frame, {bytes} bytes into it")]
    Truncated {
        /// How much of the frame was there.
        bytes: usize,
    },
    /// The other side abandoned the stream.
    #[error("the other side reset the stream (code {code})")]
    Reset {
        /// What it gave as the reason.
        code: u64,
    },
    /// This side has stopped the stream before.
    #[error("the stream is closed")]
    Closed,
    /// The connection is gone.
    #[error("the connection is gone: {0}")]
    Connection(ConnectionError),
}

impl From<ReadError> for ReceiveError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::Reset { code: code.into_inner() },
            ReadError::ConnectionLost(error) => Self::Connection(error),
            ReadError::ClosedStream | ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected => Self::Closed,
        }
    }
}

/// The sending half of a stream: [`push`](Self::push) messages, then [`flush`](Self::flush).
#[derive(Debug)]
pub struct FrameSender {
    stream: SendStream,
    buffer: Vec<u8>,
}

impl FrameSender {
    /// Sends on this stream.
    pub fn new(stream: SendStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Appends a message to the buffer and returns how many bytes it takes.
    ///
    /// # Errors
    /// [`SendError::Frame`] if it does not fit a frame; those before it stay.
    pub fn push<T: Serialize + ?Sized>(&mut self, message: &T) -> Result<usize, SendError> {
        Ok(frame::encode(message, &mut self.buffer)?)
    }

    /// Appends frames that were encoded elsewhere.
    pub fn push_encoded(&mut self, frames: &[u8]) {
        self.buffer.extend_from_slice(frames);
    }

    /// How many bytes wait for a flush.
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Hands all that was pushed to the connection as one buffer, without copying it. Waits while the other side, or the
    /// network, is behind by more than the connection's windows.
    ///
    /// Not cancellation safe: dropped in the middle, it leaves the stream inside a frame, and the stream must be reset.
    ///
    /// # Errors
    /// Any but [`SendError::Frame`]; the stream is then of no more use.
    pub async fn flush(&mut self) -> Result<(), SendError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let frames = Bytes::from(std::mem::take(&mut self.buffer));
        Ok(self.stream.write_chunk(frames).await?)
    }

    /// Hands over frames that were encoded elsewhere, without copying them, behind those that were pushed. Not cancellation
    /// safe, like [`flush`](Self::flush).
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub async fn send_encoded(&mut self, frames: Bytes) -> Result<(), SendError> {
        self.flush().await?;
        Ok(self.stream.write_chunk(frames).await?)
    }

    /// Pushes one message and flushes.
    ///
    /// # Errors
    /// As [`push`](Self::push) and [`flush`](Self::flush).
    pub async fn send<T: Serialize + ?Sized>(&mut self, message: &T) -> Result<(), SendError> {
        self.push(message)?;
        self.flush().await
    }

    /// Says that nothing more will come. What was flushed is still delivered.
    pub fn finish(&mut self) {
        // It fails only if the stream was finished or reset before, which is as well.
        let _ = self.stream.finish();
    }

    /// Abandons the stream: what was not delivered yet may be lost.
    pub fn reset(&mut self, code: u32) {
        let _ = self.stream.reset(VarInt::from_u32(code));
    }

    /// Which of the streams of one priority class is served first: higher goes before lower, 0 is the default.
    pub fn set_priority(&mut self, priority: i32) {
        let _ = self.stream.set_priority(priority);
    }

    /// Waits until the other side has everything (after [`finish`](Self::finish)), or reads no more.
    pub async fn delivered(&mut self) {
        let _ = self.stream.stopped().await;
    }
}

/// The receiving half of a stream.
///
/// Until [`accept_large_frames`](Self::accept_large_frames) it takes no frame above 4 KiB, so that strangers cannot make this side
/// hold much before they have said who they are.
#[derive(Debug)]
pub struct FrameReceiver {
    stream: RecvStream,
    arrived: VecDeque<Bytes>,
    decoder: Decoder,
}

impl FrameReceiver {
    /// Receives from this stream.
    pub fn new(stream: RecvStream) -> Self {
        Self { stream, arrived: VecDeque::new(), decoder: Decoder::with_limit(HELLO_BYTES_MAX) }
    }

    /// From the next frame on, takes frames up to [`FRAME_BYTES_MAX`].
    pub fn accept_large_frames(&mut self) {
        self.decoder.set_limit(FRAME_BYTES_MAX);
    }

    /// Waits for the next message; `None` when the other side has finished the stream. Cancellation safe.
    ///
    /// # Errors
    /// [`ReceiveError`]; the stream is then of no more use.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ReceiveError> {
        match self.receive_payload().await? {
            Some(payload) => Ok(Some(frame::decode(&payload)?)),
            None => Ok(None),
        }
    }

    /// Waits for the next frame and hands out its payload undecoded. Cancellation safe.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub async fn receive_payload(&mut self) -> Result<Option<Bytes>, ReceiveError> {
        loop {
            if let Some(payload) = self.arrived_payload()? {
                return Ok(Some(payload));
            }
            let mut chunks: [Bytes; CHUNKS_MAX] = Default::default();
            let Some(count) = self.stream.read_chunks(&mut chunks).await? else {
                return self.ended();
            };
            self.arrived.extend(chunks.into_iter().take(count));
        }
    }

    /// The next message if it has wholly arrived, without waiting: drain these before doing something once for all of them.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn arrived<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ReceiveError> {
        match self.arrived_payload()? {
            Some(payload) => Ok(Some(frame::decode(&payload)?)),
            None => Ok(None),
        }
    }

    /// The payload of the next frame if it has wholly arrived.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn arrived_payload(&mut self) -> Result<Option<Bytes>, ReceiveError> {
        loop {
            if let Some(payload) = self.decoder.next()? {
                return Ok(Some(payload));
            }
            let Some(chunk) = self.arrived.pop_front() else {
                return Ok(None);
            };
            self.decoder.extend(chunk);
        }
    }

    fn ended(&self) -> Result<Option<Bytes>, ReceiveError> {
        match self.decoder.buffered_bytes() {
            0 => Ok(None),
            bytes => Err(ReceiveError::Truncated { bytes }),
        }
    }

    /// Tells the other side that nothing more of this stream will be read.
    pub fn stop(&mut self, code: u32) {
        let _ = self.stream.stop(VarInt::from_u32(code));
    }
}
