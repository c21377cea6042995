//! Taking out faults, clients and steps.

use std::ops::Range;

use crate::plan::Plan;
use crate::plan::fault::Fault;
use crate::plan::span::Span;

/// How many steps all clients have together.
pub(super) fn steps(plan: &Plan) -> usize {
    plan.clients.iter().map(|client| client.steps.len()).sum()
}

pub(super) fn without_faults(plan: &Plan, range: Range<usize>) -> Plan {
    let mut plan = plan.clone();
    plan.faults.drain(range);
    plan
}

/// Without some clients and the faults that are theirs. One client is always left: it makes the checks at the end.
pub(super) fn without_clients(plan: &Plan, range: Range<usize>) -> Plan {
    let mut plan = plan.clone();
    let gone = |client: u32| range.contains(&(client as usize));
    plan.faults.retain(|fault| !fault.fault.client().is_some_and(gone));
    plan.faults.iter_mut().filter_map(|fault| client_of(&mut fault.fault)).for_each(|client| {
        if range.end <= *client as usize {
            *client -= u32::try_from(range.len()).expect("as many clients as numbers");
        }
    });
    plan.clients.drain(range);
    if plan.clients.is_empty() {
        plan.clients.push(Default::default());
    }
    plan
}

/// Without some steps, counted over all clients; those after them come earlier.
pub(super) fn without_steps(plan: &Plan, range: Range<usize>) -> Plan {
    let mut plan = plan.clone();
    let mut index = 0..;
    plan.clients.iter_mut().for_each(|client| {
        client.steps.retain(|_| !index.next().is_some_and(|index| range.contains(&index)));
    });
    plan
}

/// Without some steps; the next one waits for as long as they would have.
pub(super) fn without_steps_in_the_same_time(plan: &Plan, range: Range<usize>) -> Plan {
    let mut plan = plan.clone();
    let mut index = 0..;
    for client in &mut plan.clients {
        let mut waited = Span::default();
        client.steps.retain_mut(|step| {
            let gone = index.next().is_some_and(|index| range.contains(&index));
            let after = Span::from_micros(waited.as_micros() + step.after.as_micros());
            waited = if gone { after } else { Span::default() };
            step.after = after;
            !gone
        });
    }
    plan
}

/// The steps of one client done by another, before or after its own.
pub(super) fn merged_clients(plan: &Plan) -> Vec<Plan> {
    let count = plan.clients.len();
    let pairs = (0..count).flat_map(|into| (0..count).map(move |from| (into, from)));
    pairs.filter(|(into, from)| into != from).map(|(into, from)| merged(plan, into, from)).collect()
}

fn merged(plan: &Plan, into: usize, from: usize) -> Plan {
    let mut plan = plan.clone();
    let moved = std::mem::take(&mut plan.clients[from].steps);
    plan.clients[into].steps.extend(moved);
    plan.faults.iter_mut().filter_map(|fault| client_of(&mut fault.fault)).for_each(|client| {
        if *client as usize == from {
            *client = u32::try_from(into).expect("as many clients as numbers");
        }
    });
    without_clients(&plan, from..from + 1)
}

fn client_of(fault: &mut Fault) -> Option<&mut u32> {
    match fault {
        Fault::CutClient { client, .. } | Fault::ResetClient { client, .. } | Fault::LoseReplies { client, .. } => {
            Some(client)
        }
        _ => None,
    }
}
