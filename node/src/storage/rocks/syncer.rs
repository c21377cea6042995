//! Group commit: one thread that syncs the log for all shards.
//!
//! ```text
//!            written                 interval over, or a synced write waits
//! clean ----------------> dirty ------------------------------------------> syncing --+
//!   ^                       ^              written meanwhile                   |      | failed: poison
//!   |                       +--------------------------------------------------+      v
//!   +--------------------------------------------------------------------------+    stopped
//! ```
//!
//! While one sync runs, the synced writes of all shards gather, and the next sync is for all of them. When all is clean the
//! thread sleeps.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::engine::Engine;
use super::handle::Outbox;
use crate::storage::{Completion, OperationId};

/// The syncing thread and what it waits for.
pub(super) struct Syncer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    engine: Arc<Engine>,
    interval: Duration,
    /// Whether something was written since the last sync began. Outside the lock: most turns only find it set.
    dirty: AtomicBool,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    writes: Vec<SyncedWrites>,
    stopping: bool,
}

/// The synced writes of one turn of one shard.
struct SyncedWrites {
    ids: Vec<OperationId>,
    outbox: Arc<Outbox>,
}

impl Syncer {
    pub(super) fn start(engine: Arc<Engine>, interval: Duration) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            engine,
            interval,
            dirty: AtomicBool::new(false),
            waiting: Mutex::default(),
            changed: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("store-sync".to_owned()).spawn(move || of_thread.run())?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Something was written: it is to be synced within the interval.
    pub(super) fn written(&self) {
        // A swap, also when it was set before: it orders the write before the sync that clears the flag.
        if !self.shared.dirty.swap(true, Ordering::AcqRel) {
            drop(self.shared.waiting());
            self.shared.changed.notify_one();
        }
    }

    /// The writes complete into the outbox once a sync that begins after this call is done.
    pub(super) fn sync_for(&self, ids: Vec<OperationId>, outbox: &Arc<Outbox>) {
        let mut waiting = self.shared.waiting();
        if waiting.stopping {
            drop(waiting);
            let error = self.shared.engine.poison("the store was shut down");
            return outbox.send_all(ids, &Err(error));
        }
        waiting.writes.push(SyncedWrites { ids, outbox: Arc::clone(outbox) });
        self.shared.changed.notify_one();
    }

    /// Syncs what there is and ends the thread. A second call does nothing.
    pub(super) fn stop(&self) {
        self.shared.waiting().stopping = true;
        self.shared.changed.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            self.shared.engine.poison("the syncing thread panicked");
        }
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let (writes, stopping) = self.next_group();
            if self.dirty.swap(false, Ordering::AcqRel) || !writes.is_empty() {
                self.sync(writes);
            }
            if stopping {
                return;
            }
        }
    }

    /// Sleeps until a sync is due, and takes the writes that wait for it.
    fn next_group(&self) -> (Vec<SyncedWrites>, bool) {
        let at_rest = |waiting: &mut Waiting| {
            waiting.writes.is_empty() && !waiting.stopping && !self.dirty.load(Ordering::Acquire)
        };
        let unhurried = |waiting: &mut Waiting| waiting.writes.is_empty() && !waiting.stopping;
        let waiting = self.changed.wait_while(self.waiting(), at_rest).unwrap_or_else(PoisonError::into_inner);
        let (mut waiting, _) =
            self.changed.wait_timeout_while(waiting, self.interval, unhurried).unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut waiting.writes), waiting.stopping)
    }

    fn sync(&self, writes: Vec<SyncedWrites>) {
        let outcome = self.engine.sync().map(|()| Completion::Written);
        for SyncedWrites { ids, outbox } in writes {
            outbox.send_all(ids, &outcome);
        }
    }

    /// A panic elsewhere leaves the list whole: it is only ever pushed to and taken.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
