//! What clients make of the answers: the truth learns what became of each write, and each read is checked.

use quorate_client::{Error, Outcome};
use quorate_node::Time;
use quorate_ring::wire::{RequestError, Response, ScanItem};
use quorate_ring::{ObjectKey, PartitionId};

use super::event::Event;
use super::workload::place;
use super::{Phase, Simulation};
use crate::client::{Answer, Doing, Needed, Seen, Task, Then};
use crate::oracle::bits::Bits;
use crate::oracle::reads::{self, Promise};
use crate::oracle::truth::{Fate, Kind, WriteId};
use crate::oracle::{Oracle, Violation, availability};
use crate::sometimes::Sometimes;

impl Simulation {
    /// A thing is done: the truth learns of writes, reads are checked, and the next thing waits its time.
    pub(super) fn done(
        &mut self,
        client: usize,
        doing: Doing,
        result: Result<Response, Error>,
    ) -> Result<(), Violation> {
        let Doing { task, needed, operation, .. } = doing;
        self.watch_ends(client, &task, &result);
        self.tell_ends(client, &result);
        self.observe_ends(client, &task, result.as_ref().err());
        self.tell_applied(client, &result);
        if let Err(error) = &result {
            self.note_error(error);
            if needed == Needed::Yes {
                availability::check_failure(&task, error)?;
            }
        }
        availability::check_deadline(&task, operation.deadline(), self.now)?;
        match task {
            Task::Write(id) => self.write_done(client, id, result.map_err(|error| error.outcome())),
            Task::PutMany(writes) => self.put_many_done(client, &writes, result)?,
            Task::Get { key, required, then } => {
                if let Ok(Response::Found { values, context }) = result {
                    self.found(client, key, &required, &values, context)?;
                    let left = operation.deadline().since(self.now);
                    match then {
                        Then::Rest => {}
                        Then::Write(put) => return self.begin_write(client, &put, left, needed),
                        Then::Merge => return self.merge_applied(client, key, &values, left),
                    }
                }
            }
            Task::Forge if result.is_ok() => {
                return Err(Violation::new(Oracle::Origin, "a context that no node made was accepted"));
            }
            Task::Forge => {}
            Task::GetMany(keys) => self.get_many_done(client, &keys, result)?,
            Task::Scan { partition, after, keys } => {
                if let Ok(Response::Page { items, next }) = result {
                    self.page_done(partition, after.as_ref(), &keys, &items, next.as_ref())?;
                }
            }
        }
        self.rest(client);
        Ok(())
    }

    /// A client rests until its next step.
    fn rest(&mut self, client: usize) {
        if self.application.is_some() {
            return self.rest_applied(client);
        }
        let next = self.clients[client].next;
        if let Some(step) = self.plan.clients[client].steps.get(next) {
            let at = (self.now + step.after.duration()).max(Time::default() + step.at.duration());
            self.queue.push(at, Event::ClientWake { client, doing: 0 });
        }
    }

    fn found(
        &mut self,
        client: usize,
        key: usize,
        required: &Bits,
        values: &[quorate_ring::Value],
        context: quorate_ring::version::ContextToken,
    ) -> Result<(), Violation> {
        let promise = if self.phase == Phase::Healed { Promise::Everything } else { Promise::Quorum };
        let shown = reads::check(&self.truth, key, required, values, promise)?;
        self.observe_read(client, key, values, &shown.ghost);
        if 1 < values.len() {
            self.tallies.note(Sometimes::Siblings);
        }
        if shown.excused {
            self.tallies.note(Sometimes::Excused);
        }
        self.clients[client].memory.insert(key, Seen { context, ghost: shown.ghost });
        Ok(())
    }

    fn write_done(&mut self, client: usize, id: WriteId, result: Result<Response, Outcome>) {
        let fate = match &result {
            Ok(_) => Fate::Acknowledged,
            Err(Outcome::NothingChanged) => Fate::Failed,
            Err(Outcome::Unknown) => Fate::Unknown,
        };
        match fate {
            Fate::Failed => self.tallies.note(Sometimes::WriteFailed),
            Fate::Unknown => self.tallies.note(Sometimes::OutcomeUnknown),
            _ => {}
        }
        self.truth.end(id, fate);
        self.tell_fate(id, fate);
        self.observe_fate(id, fate);
        let write = self.truth.write(id);
        let (key, kind, index, mut ghost) = (write.key, write.kind, write.index, write.ghost.clone());
        if let Ok(Response::Stored { siblings, context }) = result {
            match kind {
                Kind::Delete => self.tallies.note(Sometimes::Deleted),
                Kind::Put if siblings == 1 && 1 < ghost.iter().count() => self.tallies.note(Sometimes::Merged),
                Kind::Put => {}
            }
            ghost.insert(index);
            if let Some(context) = context {
                self.clients[client].memory.insert(key, Seen { context, ghost });
            }
        }
    }

    fn put_many_done(
        &mut self,
        client: usize,
        writes: &[WriteId],
        result: Result<Response, Error>,
    ) -> Result<(), Violation> {
        let results = match result {
            Ok(Response::Many(results)) => results,
            Ok(other) => return Err(Violation::new(Oracle::Codec, format_args!("{other:?} to a batch"))),
            Err(error) => {
                let outcome = error.outcome();
                writes.iter().for_each(|id| self.write_done(client, *id, Err(outcome)));
                return Ok(());
            }
        };
        check_indices(&results, writes.len())?;
        for ((_, result), id) in results.into_iter().zip(writes) {
            let outcome =
                |error: RequestError| if error.nothing_changed() { Outcome::NothingChanged } else { Outcome::Unknown };
            self.write_done(client, *id, result.map_err(outcome));
        }
        Ok(())
    }

    fn get_many_done(
        &mut self,
        client: usize,
        keys: &[(usize, Bits)],
        result: Result<Response, Error>,
    ) -> Result<(), Violation> {
        let Ok(Response::Many(results)) = result else { return Ok(()) };
        check_indices(&results, keys.len())?;
        for ((_, result), (key, required)) in results.into_iter().zip(keys) {
            if let Ok(Response::Found { values, context }) = result {
                self.found(client, *key, required, &values, context)?;
            }
        }
        Ok(())
    }

    fn page_done(
        &mut self,
        partition: PartitionId,
        after: Option<&ObjectKey>,
        keys: &[(usize, Bits)],
        items: &[ScanItem],
        next: Option<&ObjectKey>,
    ) -> Result<(), Violation> {
        if next.is_some() {
            self.tallies.note(Sometimes::PageCut);
        }
        let mut found: Vec<(&ObjectKey, &ScanItem)> = items.iter().map(|item| (&item.key, item)).collect();
        let in_order = found.is_sorted_by(|before, after| place(before.0) < place(after.0));
        let in_page = |key: &ObjectKey| next.is_none_or(|next| place(key) <= place(next));
        if !in_order
            || !found.iter().all(|(key, _)| in_page(key) && after.is_none_or(|after| place(after) < place(key)))
        {
            return Err(Violation::new(
                Oracle::Origin,
                format_args!("a page of {partition} out of its order or range"),
            ));
        }
        for (key, required) in keys {
            let name = &self.truth.keys[*key].key;
            if in_page(name) {
                let item = found.iter().position(|(known, _)| *known == name).map(|index| found.remove(index).1);
                let values = item.map_or(&[][..], |item| &item.values);
                reads::check(&self.truth, *key, required, values, Promise::Quorum)?;
            }
        }
        match found.first() {
            Some((key, _)) => Err(Violation::new(Oracle::Origin, format_args!("{key:?} is not of the page's range"))),
            None => Ok(()),
        }
    }
}

fn check_indices(results: &[Answer], items: usize) -> Result<(), Violation> {
    let each_once = results.len() == items && (0_u32..).zip(results).all(|(index, (known, _))| index == *known);
    match each_once {
        true => Ok(()),
        false => Err(Violation::new(Oracle::Codec, "a batch's items are not answered once each")),
    }
}
