//! `quorate wait`: returns when all replicas hold the same, or what is kept for others is delivered.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;
use quorate_ring::NodeId;
use quorate_ring::version::Incarnation;
use quorate_ring::wire::NodeStatus;

use super::connect::ConnectArguments;
use super::exit::{Failure, FailureKind, Format};
use super::status::Answer;
use super::{human, output};

/// How often the nodes are asked.
const PAUSE: Duration = Duration::from_millis(200);

/// Waits until all that was written before is on every replica, or every hint made before is delivered
///
/// With --converged every node must be up, must have found since the wait began that each of its peers has received the same as it, and
/// must keep no hint that was made before. With --hints every node must be up and have delivered the hints that it kept when the wait
/// began; a node that they are for may be behind otherwise. What is written meanwhile is not waited for. Exit code 3 if it takes too
/// long; what is waited for is said then.
#[derive(Debug, Args)]
pub(crate) struct WaitArguments {
    /// Wait for all replicas to hold the same
    #[arg(long, required_unless_present = "hints")]
    converged: bool,
    /// Wait for the hints that nodes keep for others now to be delivered
    #[arg(long, conflicts_with = "converged")]
    hints: bool,
    /// How long to wait at most, as 500ms, 5s or 2m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = human::parse_duration)]
    at_most: Duration,
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
}

impl WaitArguments {
    /// Runs the command.
    ///
    /// # Errors
    /// If it takes too long: what is waited for.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connect.connect().await?;
        let began = Instant::now();
        let mut marks = Marks::new();
        let waits_for = loop {
            let answers: Vec<Answer> = client.statuses().await;
            let lacks = |answer: &Answer| match self.hints {
                true => keeps(answer, &mut marks),
                false => lacks(answer, began.elapsed()),
            };
            let waits_for: Vec<String> = answers.iter().filter_map(lacks).collect();
            if waits_for.is_empty() || self.at_most <= began.elapsed() {
                break waits_for;
            }
            tokio::time::sleep(PAUSE.min(self.at_most.saturating_sub(began.elapsed()))).await;
        };
        client.close().await;
        if !waits_for.is_empty() {
            let message = format!("after {}: {}", human::duration(began.elapsed()), waits_for.join("; "));
            return Err(Failure::new(FailureKind::Unavailable, message));
        }
        match self.connect.format() {
            Format::Json => {
                output::print_json(&serde_json::json!({ (if self.hints { "delivered" } else { "converged" }): true }))
            }
            Format::Human => {
                let what =
                    if self.hints { "every hint from before is delivered" } else { "all replicas hold the same" };
                output::print(&format!("{what}, after {}\n", human::duration(began.elapsed())))
            }
        }
    }
}

/// Of each node, its incarnation and the least number of a hint that it made after the wait began.
type Marks = BTreeMap<NodeId, (Incarnation, u64)>;

/// What a node keeps from before the wait began.
fn keeps((node, answer): &Answer, marks: &mut Marks) -> Option<String> {
    match answer {
        Err(error) => Some(format!("{node} is down: {error}")),
        Ok(status) => kept_by(*node, status, marks),
    }
}

fn kept_by(node: NodeId, status: &NodeStatus, marks: &mut Marks) -> Option<String> {
    let &mut (incarnation, mark) = marks.entry(node).or_insert((status.incarnation, status.hints_mark));
    if !status.hints_counted {
        return Some(format!("{node} looks for the hints that it kept before its start"));
    }
    // Numbers begin anew with a start; those from before it count as 0.
    let mark = if incarnation == status.incarnation { mark } else { 1 };
    let kept = status.hints.iter().find(|hints| hints.outstanding_from < mark)?;
    Some(format!("{node} keeps {} hints for {}", kept.count, kept.target))
}

/// What a node still lacks, if it lacks something, a while after the wait began.
fn lacks((node, answer): &Answer, waited: Duration) -> Option<String> {
    match answer {
        Err(error) => Some(format!("{node} is down: {error}")),
        Ok(status) => lack_of(*node, status, u64::try_from(waited.as_millis()).unwrap_or(u64::MAX)),
    }
}

fn lack_of(node: NodeId, status: &NodeStatus, waited_millis: u64) -> Option<String> {
    let away: Vec<String> =
        status.peers.iter().filter(|peer| !peer.connected).map(|peer| peer.node.to_string()).collect();
    if !away.is_empty() {
        return Some(format!("{node} cannot reach {}", away.join(" and ")));
    }
    if 0 < status.sync.partitions_behind {
        return Some(format!("{node} has not caught up with {} partitions", status.sync.partitions_behind));
    }
    if let Some(hints) = status.hints.iter().find(|hints| waited_millis <= hints.age_millis) {
        return Some(format!("{node} keeps {} hints for {}", hints.count, hints.target));
    }
    let compared = status.sync.age_millis.is_some_and(|age| age < waited_millis);
    (!compared).then(|| match status.sync.partitions_differing {
        0 => format!("{node} has not been compared with all its peers since"),
        partitions => format!("{node} differs from its peers in {partitions} partitions"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_ring::ClusterName;
    use quorate_ring::version::Incarnation;
    use quorate_ring::wire::{HintStatus, PeerStatus, StartKind, SyncStatus};

    fn node(number: u32) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    fn status() -> NodeStatus {
        NodeStatus {
            node: node(1),
            cluster: ClusterName::new("c").expect("valid"),
            release: String::new(),
            incarnation: Incarnation::new(1),
            start: StartKind::First,
            complete: true,
            uptime_millis: 0,
            shards: 1,
            partitions: 8,
            peers: vec![PeerStatus { node: node(2), connected: true, problem: None }],
            gets: 0,
            puts: 0,
            deletes: 0,
            errors: 0,
            repairs: 0,
            in_flight: 0,
            keys_about: 0,
            disk_bytes: 0,
            memory_bytes: 0,
            cpu_micros: 0,
            sync: SyncStatus { age_millis: Some(99), ..SyncStatus::default() },
            hints: Vec::new(),
            hints_counted: true,
            hints_mark: 0,
        }
    }

    #[test]
    fn a_node_that_was_compared_since_lacks_nothing() {
        assert_eq!(lack_of(node(1), &status(), 100), None);
        assert!(lack_of(node(1), &status(), 99).is_some(), "it may have been compared before the wait began");
    }

    #[test]
    fn hints_made_after_the_wait_began_are_not_waited_for() {
        let mut marks = Marks::new();
        let kept =
            |outstanding_from| HintStatus { target: node(3), count: 7, bytes: 70, age_millis: 100, outstanding_from };
        let before = NodeStatus { hints_mark: 5, hints: vec![kept(2)], ..status() };
        assert_eq!(kept_by(node(1), &before, &mut marks).as_deref(), Some("n1 keeps 7 hints for n3"));
        let after = NodeStatus { hints_mark: 9, hints: vec![kept(5)], ..status() };
        assert_eq!(kept_by(node(1), &after, &mut marks), None);
        let restarted = |outstanding_from, hints_counted| NodeStatus {
            incarnation: Incarnation::new(2),
            hints: vec![kept(outstanding_from)],
            hints_counted,
            ..status()
        };
        assert!(kept_by(node(1), &restarted(1, false), &mut marks).is_some(), "it has not found all yet");
        assert!(kept_by(node(1), &restarted(0, true), &mut marks).is_some(), "one is from before the start");
        assert_eq!(kept_by(node(1), &restarted(1, true), &mut marks), None);
    }

    #[test]
    fn what_is_waited_for_is_named() {
        let mut away = status();
        away.peers[0].connected = false;
        assert_eq!(lack_of(node(1), &away, 100).as_deref(), Some("n1 cannot reach n2"));
        let mut behind = status();
        behind.sync.partitions_behind = 3;
        assert_eq!(lack_of(node(1), &behind, 100).as_deref(), Some("n1 has not caught up with 3 partitions"));
        let mut hints = status();
        hints.hints = vec![HintStatus { target: node(3), count: 7, bytes: 70, age_millis: 100, outstanding_from: 0 }];
        assert_eq!(lack_of(node(1), &hints, 100).as_deref(), Some("n1 keeps 7 hints for n3"));
        hints.hints[0].age_millis = 99;
        assert_eq!(lack_of(node(1), &hints, 100), None, "it was made meanwhile");
        let mut never = status();
        never.sync = SyncStatus { partitions_differing: 2, ..SyncStatus::default() };
        assert_eq!(lack_of(node(1), &never, 100).as_deref(), Some("n1 differs from its peers in 2 partitions"));
    }
}
