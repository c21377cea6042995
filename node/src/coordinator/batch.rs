//! Collecting the answers to a batch's items.

use quorate_ring::wire::{RequestError, Response};

use super::ReplyTo;
use crate::limits::BATCH_REPLY_BYTES;

/// A batch whose items are requests of their own.
///
/// Answers are sent on when all are there, or as a part when they have grown large, so that no message outgrows its bound.
#[derive(Debug)]
pub struct Batch {
    /// Who gets the answers.
    pub reply_to: ReplyTo,
    open: usize,
    bytes: usize,
    results: Vec<(u32, Result<Response, RequestError>)>,
}

impl Batch {
    /// A batch of this many items. An empty one is not run.
    pub fn new(reply_to: ReplyTo, items: usize) -> Self {
        assert!(0 < items, "an empty batch is answered at once");
        Self { reply_to, open: items, bytes: 0, results: Vec::new() }
    }

    /// Takes an item's answer; gives what is to be sent on now, if anything.
    pub fn handle_result(&mut self, index: u32, result: Result<Response, RequestError>) -> Option<Response> {
        assert!(0 < self.open, "every item is answered once");
        self.open -= 1;
        self.bytes += bytes_of(&result);
        self.results.push((index, result));
        let due = self.open == 0 || BATCH_REPLY_BYTES <= self.bytes;
        due.then(|| {
            self.bytes = 0;
            Response::Many(std::mem::take(&mut self.results))
        })
    }

    /// Whether every item is answered.
    pub fn is_done(&self) -> bool {
        self.open == 0
    }
}

fn bytes_of(result: &Result<Response, RequestError>) -> usize {
    match result {
        Ok(Response::Found { values, .. }) => values.iter().map(|value| value.as_bytes().len()).sum(),
        _ => 0,
    }
}
