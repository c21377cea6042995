//! Pages of a partition: read in ring order, each one snapshot of the objects and of the clock beside them.

use bytes::Bytes;
use quorate_ring::limits::SCAN_BYTES_MAX;
use quorate_ring::wire::{ReplicaError, ScrubRange, StoredObject};
use quorate_ring::{BucketName, ObjectKey, PartitionId, WallTime};

use super::layout::Damaged;
use super::{Asker, Page, Replica, Report, Submitted, layout};
use crate::limits::REPLICA_OPERATIONS_MAX;
use crate::storage::{Column, Completion, Operation, Scan, StorageError};

impl Replica {
    /// Takes a question for a page of a partition's bucket, or of all of them.
    pub fn handle_scan(
        &mut self,
        asker: Asker,
        bucket: Option<&BucketName>,
        partition: PartitionId,
        after: Option<&ObjectKey>,
        limit: u32,
    ) {
        let (start, until) = layout::partition(self.partitions, partition);
        let scan = Scan {
            column: Column::Objects,
            from: after.map_or(start, layout::behind),
            until,
            infix: bucket.map(|bucket| layout::bucket_infix(bucket.as_str())).unwrap_or_default(),
            limit: limit as usize,
            bytes_max: SCAN_BYTES_MAX,
            beside: Some(layout::clock(partition)),
        };
        self.scan(asker, partition, scan);
    }

    /// Takes a question for a page of all that is stored in a range, expired or not: of at most so many keys, and ending with the object
    /// that takes it to so many bytes or over.
    pub fn handle_range(&mut self, asker: Asker, range: &ScrubRange, limit: usize, bytes_max: usize) {
        let (start, end) = layout::partition(self.partitions, range.partition);
        let scan = Scan {
            column: Column::Objects,
            from: range.after.as_ref().map_or(start, layout::behind),
            until: range.through.as_ref().map(layout::behind).or(end),
            infix: Bytes::new(),
            limit,
            bytes_max,
            beside: Some(layout::clock(range.partition)),
        };
        self.scan(asker, range.partition, scan);
    }

    fn scan(&mut self, asker: Asker, partition: PartitionId, scan: Scan) {
        let refusal = match &self.poisoned {
            Some(_) => Some(ReplicaError::StorageFailed),
            None if REPLICA_OPERATIONS_MAX <= self.waiting => Some(ReplicaError::Overloaded),
            None => None,
        };
        if let Some(error) = refusal {
            return self.reports.push_back(Report::Page { asker, result: Err(error) });
        }
        self.waiting += 1;
        self.submit(Operation::Scan(scan), Submitted::Scan(asker, partition));
    }

    pub(super) fn scan_completed(
        &mut self,
        asker: Asker,
        partition: PartitionId,
        result: Result<Completion, StorageError>,
    ) {
        self.waiting -= 1;
        // What was released meanwhile may have been removed before it was read.
        if !self.holds(partition) {
            return self.reports.push_back(Report::Page { asker, result: Err(ReplicaError::NotResponsible) });
        }
        let page = match result {
            Ok(Completion::Scanned { entries, last, beside }) => {
                // The scrub, and the merging of pages, is shown what is stored, and does not tell anybody.
                let shown = !matches!(asker, Asker::Scrub(_) | Asker::Scrubber { .. } | Asker::CatchUp { .. });
                let wall = if shown { self.wall } else { WallTime::default() };
                page(entries, last, beside.as_deref(), self.is_complete_for(partition), wall)
                    .map_err(|damaged| damaged.to_string())
            }
            Ok(_) => Err("the store answered a scan with something else".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let result = page.map_err(|reason| {
            self.reports.push_back(Report::Damaged { reason });
            ReplicaError::StorageFailed
        });
        self.reports.push_back(Report::Page { asker, result });
    }
}

fn page(
    entries: Vec<(Bytes, Bytes)>,
    last: bool,
    beside: Option<&[u8]>,
    complete: bool,
    wall: WallTime,
) -> Result<Page, Damaged> {
    let objects = entries.into_iter().map(|(place, stored)| {
        let mut container = layout::decode_container(&stored)?;
        // Their removal is left to whoever meets them next. The object stays even if it is empty now: it may be the end of the page.
        container.expire(wall);
        Ok(StoredObject { key: layout::object_key(&place)?, container })
    });
    let objects = objects.collect::<Result<_, Damaged>>()?;
    let clock = beside.map(layout::decode_clock).transpose()?.unwrap_or_default();
    Ok(Page { objects, clock, last, complete })
}
