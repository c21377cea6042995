//! The threads for reads that would block a shard, for lookups and for scans.
//!
//! Their queue has no bound of its own: it holds at most what the shards have outstanding, which they bound.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use super::engine::Engine;
use super::handle::Outbox;
use super::journal::Journal;
use crate::storage::{Column, OperationId, Scan};

/// The reading threads and their queue.
pub(super) struct Readers {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What a reader does.
pub(super) struct Job {
    pub(super) id: OperationId,
    pub(super) what: What,
    pub(super) journal: Arc<Mutex<Journal>>,
    pub(super) outbox: Arc<Outbox>,
}

/// What a reader reads.
pub(super) enum What {
    Entry(Column, Bytes),
    Entries(Column, Vec<Bytes>),
    Page(Scan),
}

#[derive(Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    changed: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    stopping: bool,
}

impl Readers {
    pub(super) fn start(engine: &Arc<Engine>, threads: usize) -> io::Result<Self> {
        let readers = Self { queue: Arc::default(), threads: Mutex::default() };
        for _ in 0..threads.max(1) {
            let (queue, engine) = (Arc::clone(&readers.queue), Arc::clone(engine));
            let thread = thread::Builder::new().name("store-read".to_owned()).spawn(move || queue.run(&engine));
            match thread {
                Ok(thread) => readers.threads().push(thread),
                Err(error) => {
                    readers.stop();
                    return Err(error);
                }
            }
        }
        Ok(readers)
    }

    /// Reads later, in the threads, and completes into the jobs' outboxes. All jobs of a turn come at once: waking a thread for each would
    /// cost more than most reads do.
    pub(super) fn read(&self, engine: &Engine, new: Vec<Job>) {
        if new.is_empty() {
            return; // As in most turns: no lock.
        }
        let mut jobs = self.queue.jobs();
        if jobs.stopping {
            drop(jobs);
            let refusal = Err(engine.poison("the store was shut down"));
            return new.into_iter().for_each(|job| job.outbox.send_all([job.id], &refusal));
        }
        match new.len() {
            1 => self.queue.changed.notify_one(),
            _ => self.queue.changed.notify_all(),
        }
        jobs.waiting.extend(new);
    }

    /// Ends the threads once the queue is empty. A second call does nothing.
    pub(super) fn stop(&self) {
        self.queue.jobs().stopping = true;
        self.queue.changed.notify_all();
        for thread in std::mem::take(&mut *self.threads()) {
            // A panic of a reader was reported where it happened, and costs only its job.
            let _ = thread.join();
        }
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn run(&self, engine: &Engine) {
        while let Some(Job { id, what, journal, outbox }) = self.next_job() {
            let outcome = engine.usable().and_then(|()| match &what {
                What::Entry(column, key) => engine.read(*column, key),
                What::Entries(column, keys) => engine.look_up(*column, keys, &journal),
                What::Page(scan) => engine.scan(scan, &journal),
            });
            outbox.send_all([id], &outcome);
        }
    }

    /// The next job, or nothing when the queue is empty and the threads are to end.
    fn next_job(&self) -> Option<Job> {
        let idle = |jobs: &mut Jobs| jobs.waiting.is_empty() && !jobs.stopping;
        let mut jobs = self.changed.wait_while(self.jobs(), idle).unwrap_or_else(PoisonError::into_inner);
        jobs.waiting.pop_front()
    }

    /// A panic elsewhere leaves the queue whole: jobs are only ever pushed and popped.
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
