//! What waits to be written to one stream: frames are gathered during a turn and handed over as one buffer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use quorate_client::transport::{FrameSender, SendError};
use quorate_ring::wire::frame::{self, FrameError};
use serde::Serialize;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Most bytes that may wait for one stream. A reader so far behind is cut off: its connection is closed, and it may come again.
pub(super) const QUEUED_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What a stream is reset with when its reader is too far behind.
const CUT_OFF: u32 = 1;
/// Buffers handed over at once.
const BUFFERS_MAX: usize = 64;

/// The end that a shard or session writes to. Clones share the stream; each gathers its own buffer.
#[derive(Clone)]
pub(super) struct Outbox {
    buffer: Vec<u8>,
    sender: UnboundedSender<Bytes>,
    queued: Arc<AtomicUsize>,
    cut: Arc<Notify>,
}

/// The end that the stream's writer task drains.
pub(super) struct Drain {
    receiver: UnboundedReceiver<Bytes>,
    queued: Arc<AtomicUsize>,
    cut: Arc<Notify>,
}

/// Makes the two ends.
pub(super) fn outbox() -> (Outbox, Drain) {
    let (sender, receiver) = unbounded_channel();
    let queued = Arc::new(AtomicUsize::new(0));
    let cut = Arc::new(Notify::new());
    (Outbox { buffer: Vec::new(), sender, queued: queued.clone(), cut: cut.clone() }, Drain { receiver, queued, cut })
}

impl Outbox {
    /// Gathers a message.
    ///
    /// # Errors
    /// That it fits no frame.
    pub(super) fn push<T: Serialize>(&mut self, message: &T) -> Result<(), FrameError> {
        frame::encode(message, &mut self.buffer).map(|_| ())
    }

    /// Whether anything was gathered since the last flush.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Hands over what was gathered. `false` if the stream is over: its reader is gone, or was so far behind that it is cut off now.
    pub(super) fn flush(&mut self) -> bool {
        if self.buffer.is_empty() {
            return true;
        }
        let buffer = Bytes::from(std::mem::take(&mut self.buffer));
        let queued = self.queued.fetch_add(buffer.len(), Ordering::Relaxed) + buffer.len();
        if QUEUED_BYTES_MAX < queued {
            self.cut.notify_one();
            return false;
        }
        self.sender.send(buffer).is_ok()
    }
}

impl Drain {
    /// Writes to the stream what comes, until every outbox is dropped or the stream ends. A stream whose reader is too far behind is
    /// reset, so that both sides know that it is over.
    ///
    /// # Errors
    /// Why the stream ended.
    pub(super) async fn run(self, sender: &mut FrameSender) -> Result<(), SendError> {
        let cut = self.cut.clone();
        let ended = tokio::select! {
            result = self.write(sender) => Some(result),
            () = cut.notified() => None,
        };
        ended.unwrap_or_else(|| {
            sender.reset(CUT_OFF);
            Err(SendError::Closed)
        })
    }

    async fn write(mut self, sender: &mut FrameSender) -> Result<(), SendError> {
        let mut buffers = Vec::with_capacity(BUFFERS_MAX);
        while self.receiver.recv_many(&mut buffers, BUFFERS_MAX).await != 0 {
            for buffer in buffers.drain(..) {
                let bytes = buffer.len();
                sender.send_encoded(buffer).await?;
                self.queued.fetch_sub(bytes, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}
