//! What waits to be written to one stream: frames are gathered during a turn and handed over as one buffer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use quorate_client::transport::{FrameSender, SendError};
use quorate_ring::wire::frame::{self, FrameError};
use serde::Serialize;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Most bytes that may wait for one stream. A reader so far behind is cut off: its connection is closed, and it may come again.
pub(super) const QUEUED_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Buffers handed over at once.
const BUFFERS_MAX: usize = 64;

/// The end that a shard or session writes to. Clones share the stream; each gathers its own buffer.
#[derive(Clone)]
pub(super) struct Outbox {
    buffer: Vec<u8>,
    sender: UnboundedSender<Bytes>,
    queued: Arc<AtomicUsize>,
}

/// The end that the stream's writer task drains.
pub(super) struct Drain {
    receiver: UnboundedReceiver<Bytes>,
    queued: Arc<AtomicUsize>,
}

/// Makes the two ends.
pub(super) fn outbox() -> (Outbox, Drain) {
    let (sender, receiver) = unbounded_channel();
    let queued = Arc::new(AtomicUsize::new(0));
    (Outbox { buffer: Vec::new(), sender, queued: queued.clone() }, Drain { receiver, queued })
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

    /// Hands over what was gathered. `false` if the reader is so far behind that it should be cut off, or gone.
    pub(super) fn flush(&mut self) -> bool {
        if self.buffer.is_empty() {
            return true;
        }
        let buffer = Bytes::from(std::mem::take(&mut self.buffer));
        let queued = self.queued.fetch_add(buffer.len(), Ordering::Relaxed) + buffer.len();
        self.sender.send(buffer).is_ok() && queued <= QUEUED_BYTES_MAX
    }
}

impl Drain {
    /// Writes to the stream what comes, until every outbox is dropped or the stream ends.
    ///
    /// # Errors
    /// Why the stream ended.
    pub(super) async fn run(mut self, sender: &mut FrameSender) -> Result<(), SendError> {
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
