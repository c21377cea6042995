//! What the engine notes for the run's insight, if somebody wants it. Without a recorder all of this is a comparison and nothing else.

use quorate_client::Error;
use quorate_ring::Value;

use super::{Phase, Simulation};
use crate::client::Task;
use crate::insight::{Recorder, kind_of};
use crate::oracle::bits::Bits;
use crate::oracle::truth::{Fate, WriteId};

impl Simulation {
    /// Whoever collects, while clients work and faults happen.
    fn observer(&mut self) -> Option<&mut Recorder> {
        self.insight.as_deref_mut().filter(|_| self.phase == Phase::Load)
    }

    pub(super) fn observe_begins(&mut self, client: usize) {
        let (now, among_faults) = (self.now, !self.active.is_empty());
        if let Some(recorder) = self.observer() {
            recorder.begins(client, now, among_faults);
        }
    }

    pub(super) fn observe_ends(&mut self, client: usize, task: &Task, error: Option<&Error>) {
        let (now, among_faults) = (self.now, !self.active.is_empty());
        let kind = kind_of(task, &self.truth);
        if let (Some(recorder), Some(kind)) = (self.observer(), kind) {
            recorder.ends(client, kind, error, now, among_faults);
        }
    }

    pub(super) fn observe_fate(&mut self, id: WriteId, fate: Fate) {
        let (now, key) = (self.now, self.truth.write(id).key);
        if let Some(recorder) = self.observer().filter(|_| fate == Fate::Acknowledged) {
            recorder.acknowledged(key, id, now);
        }
    }

    pub(super) fn observe_read(&mut self, client: usize, key: usize, values: &[Value], ghost: &Bits) {
        if let Some(recorder) = self.insight.as_deref_mut().filter(|_| self.phase == Phase::Load) {
            recorder.read(client, key, values, ghost, &self.truth);
        }
    }
}
