//! Simpler values: what steps ask for, what faults do, and when.

use crate::plan::Plan;
use crate::plan::fault::Fault;
use crate::plan::load::{Action, Context, Get, GetMany, Put, PutMany, Step, Whom};
use crate::plan::span::Span;

/// A way to make places of a plan simpler. Done again to what it made, it changes nothing, or makes it simpler still.
pub(super) struct Change {
    /// How many places there are.
    pub(super) places: fn(&Plan) -> usize,
    /// Makes one simpler.
    pub(super) simplify: fn(&mut Plan, usize),
}

/// All of them, those that take most away first.
pub(super) const CHANGES: [Change; 23] = [
    Change { places: steps, simplify: |plan, place| on_step(plan, place, plain_request) },
    Change { places: steps, simplify: |plan, place| on_step(plan, place, single_key) },
    Change { places: steps, simplify: |plan, place| on_step(plan, place, simpler_action) },
    Change { places: steps, simplify: |plan, place| on_step(plan, place, without_first_key) },
    Change { places: steps, simplify: |plan, place| on_step(plan, place, without_last_key) },
    Change { places: steps, simplify: |plan, place| on_step(plan, place, no_quorum) },
    Change { places: steps, simplify: |plan, place| on_step(plan, place, no_durability) },
    Change { places: steps, simplify: |plan, place| on_step(plan, place, no_bytes) },
    Change { places: steps, simplify: |plan, place| on_step(plan, place, no_ttl) },
    Change { places: steps, simplify: |plan, place| on_step(plan, place, last_context) },
    Change { places: steps, simplify: |plan, place| on_step(plan, place, |step| step.ask = Whom::Best) },
    Change { places: faults, simplify: |plan, place| plain_fault(&mut plan.faults[place].fault) },
    Change { places: faults, simplify: |plan, place| simpler_fault(&mut plan.faults[place].fault) },
    Change { places: faults, simplify: |plan, place| first_member_gone(&mut plan.faults[place].fault) },
    Change { places: faults, simplify: |plan, place| last_member_gone(&mut plan.faults[place].fault) },
    Change { places: waits, simplify: |plan, place| on_wait(plan, place, |_| Span::default()) },
    Change { places: steps, simplify: |plan, place| on_step(plan, place, |step| step.within = Span::from_millis(100)) },
    Change { places: medians, simplify: |plan, place| plan.delays()[place].median = Span::from_millis(1) },
    Change { places: waits, simplify: |plan, place| on_wait(plan, place, in_whole_milliseconds) },
    Change { places: waits, simplify: |plan, place| on_wait(plan, place, rounded) },
    Change { places: waits, simplify: |plan, place| on_wait(plan, place, halved) },
    Change { places: steps, simplify: |plan, place| on_step(plan, place, |step| step.within = rounded(step.within)) },
    Change {
        places: medians,
        simplify: |plan, place| plan.delays()[place].median = rounded(plan.delays()[place].median),
    },
];

fn steps(plan: &Plan) -> usize {
    super::cuts::steps(plan)
}

fn faults(plan: &Plan) -> usize {
    plan.faults.len()
}

fn medians(_: &Plan) -> usize {
    5
}

/// Where a plan says when something is: faults' beginnings and lengths, clients' beginnings, steps' waits.
fn waits(plan: &Plan) -> usize {
    2 * plan.faults.len() + plan.clients.len() + steps(plan)
}

fn on_wait(plan: &mut Plan, place: usize, simpler: impl Fn(Span) -> Span) {
    let of_faults = plan.faults.iter_mut().flat_map(|fault| [&mut fault.at, &mut fault.lasting]);
    let of_clients = plan.clients.iter_mut().flat_map(|client| {
        std::iter::once(&mut client.starts).chain(client.steps.iter_mut().map(|step| &mut step.after))
    });
    if let Some(span) = of_faults.chain(of_clients).nth(place) {
        *span = simpler(*span);
    }
}

fn on_step(plan: &mut Plan, place: usize, simpler: impl Fn(&mut Step)) {
    if let Some(step) = plan.clients.iter_mut().flat_map(|client| &mut client.steps).nth(place) {
        simpler(step);
    }
}

fn plain_request(step: &mut Step) {
    no_quorum(step);
    no_durability(step);
    no_bytes(step);
    no_ttl(step);
    last_context(step);
    step.ask = Whom::Best;
}

fn no_quorum(step: &mut Step) {
    match &mut step.action {
        Action::Get(get) => *get = Get { key: get.key, ..Get::default() },
        Action::Put(put) | Action::Update(put) => (put.r, put.w) = (None, None),
        Action::Delete(delete) => delete.w = None,
        Action::GetMany(many) => many.r = None,
        Action::PutMany(many) => many.w = None,
        Action::Scan(scan) => scan.r = None,
        Action::Forge(_) => {}
    }
}

fn no_durability(step: &mut Step) {
    match &mut step.action {
        Action::Put(put) | Action::Update(put) => put.durability = None,
        Action::Delete(delete) => delete.durability = None,
        Action::PutMany(many) => many.durability = None,
        Action::Get(_) | Action::GetMany(_) | Action::Scan(_) | Action::Forge(_) => {}
    }
}

fn no_bytes(step: &mut Step) {
    match &mut step.action {
        Action::Put(put) | Action::Update(put) => put.bytes = 0,
        Action::PutMany(many) => many.bytes = 0,
        _ => {}
    }
}

fn no_ttl(step: &mut Step) {
    match &mut step.action {
        Action::Put(put) | Action::Update(put) => put.ttl = None,
        Action::PutMany(many) => many.ttl = None,
        _ => {}
    }
}

fn last_context(step: &mut Step) {
    if let Action::Put(put) | Action::Update(put) = &mut step.action {
        put.context = Context::Last;
    }
}

/// One key in place of several.
fn single_key(step: &mut Step) {
    match &step.action {
        Action::GetMany(many) => {
            step.action = Action::Get(Get { key: first(&many.keys), r: many.r, repaired: false });
        }
        Action::PutMany(many) => {
            let PutMany { bytes, ttl, w, durability, .. } = *many;
            step.action = Action::Put(Put { key: first(&many.keys), bytes, ttl, w, durability, ..Put::default() });
        }
        _ => {}
    }
}

fn first(keys: &[usize]) -> usize {
    keys.first().copied().unwrap_or_default()
}

/// Something simpler with the same key: a write without the read before it, a read in place of a scan or a forgery.
fn simpler_action(step: &mut Step) {
    match &step.action {
        Action::Update(put) => step.action = Action::Put(*put),
        Action::Scan(scan) => step.action = Action::Get(Get { key: scan.key, r: scan.r, repaired: false }),
        Action::Forge(forge) => step.action = Action::Get(Get { key: forge.key, ..Get::default() }),
        _ => {}
    }
}

fn without_first_key(step: &mut Step) {
    on_keys(step, |keys| {
        keys.remove(0);
    });
}

fn without_last_key(step: &mut Step) {
    on_keys(step, |keys| {
        keys.pop();
    });
}

fn on_keys(step: &mut Step, change: impl Fn(&mut Vec<usize>)) {
    if let Action::GetMany(GetMany { keys, .. }) | Action::PutMany(PutMany { keys, .. }) = &mut step.action
        && 1 < keys.len()
    {
        change(keys);
    }
}

/// The same fault with nothing special about it.
fn plain_fault(fault: &mut Fault) {
    match fault {
        Fault::Corrupt { per_mille, .. } => *per_mille = 1_000,
        Fault::Crash { begun, .. } => *begun = 0,
        Fault::CrashAt { outputs, .. } => *outputs = 0,
        Fault::PowerLoss { keeps, torn, .. } => (*keeps, *torn) = (0, false),
        Fault::LoseEach { nth, .. } => *nth = 1,
        Fault::Clock { jump_millis, .. } => *jump_millis = 0,
        Fault::FanOut { reaches, .. } => *reaches = 0,
        _ => {}
    }
}

/// A simpler fault that does much the same.
fn simpler_fault(fault: &mut Fault) {
    *fault = match fault {
        Fault::CrashAt { node, inputs: 0, .. } => Fault::Crash { node: *node, begun: 0 },
        Fault::CrashAt { node, inputs, outputs } => {
            Fault::CrashAt { node: *node, inputs: *inputs / 2, outputs: *outputs }
        }
        Fault::Stutter { node, .. } => Fault::Pause { node: *node },
        Fault::Strobe { node, by_millis, .. } => Fault::Clock { node: *node, jump_millis: *by_millis, drift_ppm: 0 },
        Fault::Flap { link, .. } => Fault::Cut { links: vec![*link] },
        Fault::Narrow { link, .. } => Fault::Clog { links: vec![*link] },
        Fault::DiskFull { node } => Fault::WriteFailure { node: *node },
        _ => return,
    };
}

fn first_member_gone(fault: &mut Fault) {
    shorten(fault, |_| 0);
}

fn last_member_gone(fault: &mut Fault) {
    shorten(fault, |length| length - 1);
}

/// Takes a member out of a fault that is of several: which, by how many there are.
fn shorten(fault: &mut Fault, which: impl Fn(usize) -> usize) {
    match fault {
        Fault::SlowLinks { links, .. }
        | Fault::Cut { links }
        | Fault::Clog { links }
        | Fault::OneWay { blocked: links }
            if 1 < links.len() =>
        {
            links.remove(which(links.len()));
        }
        Fault::CutClient { nodes, .. } | Fault::PowerLoss { nodes, .. } if 1 < nodes.len() => {
            nodes.remove(which(nodes.len()));
        }
        _ => {}
    }
}

fn in_whole_milliseconds(span: Span) -> Span {
    Span::from_micros(span.as_micros() / 1_000 * 1_000)
}

/// To one digit that is not zero.
fn rounded(span: Span) -> Span {
    let micros = span.as_micros();
    let unit = 10u64.pow(micros.checked_ilog10().unwrap_or_default());
    Span::from_micros(micros / unit * unit)
}

fn halved(span: Span) -> Span {
    rounded(Span::from_micros(span.as_micros() / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_round_and_then_nothing() {
        assert_eq!(rounded(Span::from_micros(34_567)), Span::from_millis(30));
        assert_eq!(rounded(Span::default()), Span::default());
        let mut span = Span::from_micros(987_654);
        let mut steps = 0;
        while !span.is_zero() {
            assert!(halved(span) < span);
            (span, steps) = (halved(span), steps + 1);
        }
        assert!(steps <= 24, "{steps}");
    }
}
