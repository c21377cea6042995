//! One page of a scan, filled entry by entry: what belongs in it and where it ends. Both engines fill it, so that they cannot
//! differ in that.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::{Completion, Scan};

/// Bytes of the position that every key of [`super::Column::Objects`] starts with; only its scans have an infix.
const POSITION_BYTES: usize = 8;

/// A page that is being filled from entries in the order of their keys.
pub(super) struct Page<'scan> {
    scan: &'scan Scan,
    entries: Vec<(Bytes, Bytes)>,
    entries_bytes: usize,
    last: bool,
}

impl<'scan> Page<'scan> {
    /// An empty page, which is the last one as long as no further entry is offered.
    pub(super) fn new(scan: &'scan Scan) -> Self {
        Self { scan, entries: Vec::new(), entries_bytes: 0, last: true }
    }

    /// Takes the entry if it belongs in the page; `entry` is asked for its bytes only then. Breaks when no further one is wanted.
    pub(super) fn offer(&mut self, key: &[u8], entry: impl FnOnce() -> (Bytes, Bytes)) -> ControlFlow<()> {
        if self.scan.until.as_ref().is_some_and(|until| until <= key) {
            return ControlFlow::Break(());
        }
        if !self.has_infix(key) {
            return ControlFlow::Continue(());
        }
        if self.is_full() {
            self.last = false;
            return ControlFlow::Break(());
        }
        let (key, value) = entry();
        self.entries_bytes += key.len() + value.len();
        self.entries.push((key, value));
        ControlFlow::Continue(())
    }

    /// The page with the record that was read beside it.
    pub(super) fn finish(self, beside: Option<Bytes>) -> Completion {
        Completion::Scanned { entries: self.entries, last: self.last, beside }
    }

    fn has_infix(&self, key: &[u8]) -> bool {
        let infix = &self.scan.infix;
        infix.is_empty() || key.get(POSITION_BYTES..).is_some_and(|rest| rest.starts_with(infix))
    }

    /// A page always has room for its first entry, however few bytes it may hold, so that every scan gets on.
    fn is_full(&self) -> bool {
        self.entries.len() >= self.scan.limit || (!self.entries.is_empty() && self.entries_bytes >= self.scan.bytes_max)
    }
}
