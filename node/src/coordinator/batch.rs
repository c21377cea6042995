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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SessionId;
    use quorate_ring::Value;
    use quorate_ring::version::ContextToken;
    use quorate_ring::wire::RequestId;

    fn batch(items: usize) -> Batch {
        Batch::new(ReplyTo::Client { session: SessionId(0), request: RequestId(0) }, items)
    }

    fn found(sizes: &[usize]) -> Result<Response, RequestError> {
        let context = ContextToken::from_bytes(Vec::new().into()).expect("short");
        let values = sizes.iter().map(|&bytes| Value::new(vec![0; bytes]).expect("small")).collect();
        Ok(Response::Found { values, context })
    }

    fn indices(part: Option<Response>) -> Vec<u32> {
        match part {
            Some(Response::Many(results)) => results.into_iter().map(|(index, _)| index).collect(),
            other => panic!("no part: {other:?}"),
        }
    }

    #[test]
    fn small_answers_are_sent_together_when_all_are_there() {
        let mut batch = batch(3);
        assert_eq!(batch.handle_result(2, found(&[1])), None);
        assert_eq!(batch.handle_result(0, Err(RequestError::Invalid { reason: String::new() })), None);
        assert!(!batch.is_done());
        assert_eq!(indices(batch.handle_result(1, found(&[]))), [2, 0, 1]);
        assert!(batch.is_done());
    }

    #[test]
    fn answers_are_sent_as_a_part_as_soon_as_they_are_large_together() {
        let mut batch = batch(5);
        assert_eq!(batch.handle_result(0, found(&[BATCH_REPLY_BYTES / 2])), None);
        assert_eq!(batch.handle_result(1, found(&[1, BATCH_REPLY_BYTES / 2 - 2])), None);
        assert_eq!(indices(batch.handle_result(2, found(&[1]))), [0, 1, 2]);
        assert!(!batch.is_done());
        assert_eq!(batch.handle_result(3, found(&[BATCH_REPLY_BYTES - 1])), None, "what was sent counts no more");
        assert_eq!(indices(batch.handle_result(4, found(&[]))), [3, 4]);
        assert!(batch.is_done());
    }
}
