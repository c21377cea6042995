//! Everything that happened in a run, in order.

use quorate_simulation::story::{LaneIndex, Story};

/// A line for each thing, with its time.
pub(crate) fn lines(story: &Story) -> Vec<String> {
    let name = |lane: LaneIndex| story.lanes.get(lane.0).map_or("?", |lane| lane.name.as_str());
    let mut told: Vec<(u64, String)> = Vec::new();
    told.extend(story.phases.iter().map(|phase| (phase.at, format!("-- {}", phase.text))));
    for fault in &story.faults {
        told.push((fault.from, format!("fault {} begins: {}", fault.id, fault.text)));
        told.extend(fault.until.map(|until| (until, format!("fault {} ends: {}", fault.id, fault.text))));
    }
    for life in &story.lives {
        let who = name(life.node);
        told.push((life.from, format!("{who} starts on {} as {}", life.start, life.incarnation)));
        told.extend(life.until.map(|until| (until, format!("{who} ends: {}", life.end))));
    }
    for operation in &story.operations {
        let (who, what) = (name(operation.client), &operation.text);
        told.push((operation.begun, format!("{who} begins {what}")));
        told.extend(operation.ended.map(|ended| (ended, format!("{who} ends {what}: {}", operation.outcome))));
    }
    for message in &story.messages {
        let (from, to, label) = (name(message.from), name(message.to), &message.label);
        told.push((message.sent, format!("{from} -> {to}: {label} {}", message.detail).trim_end().to_owned()));
        told.extend(message.arrived.map(|at| (at, format!("{from} => {to}: {label} arrives"))));
        told.extend(message.lost.as_ref().map(|loss| (loss.at, format!("{from} -x {to}: {label} lost, {}", loss.why))));
    }
    for store in &story.stores {
        let writes: Vec<String> = store.about.writes.iter().map(|write| format!("w{write}")).collect();
        let kind = format!("{:?}", store.kind).to_lowercase();
        told.push((store.at, format!("{} has {kind} {}", name(store.node), writes.join(", "))));
    }
    told.extend(story.notes.iter().map(|note| (note.at, format!("{}: {}", name(note.lane), note.text))));
    // Stable: what happened at one time stays in the order it was collected in.
    told.sort_by_key(|(at, _)| *at);
    told.into_iter().map(|(at, what)| format!("{:>12.3} ms  {what}", at as f64 / 1e3)).collect()
}
