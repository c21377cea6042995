//! `quorate wait`: returns when all replicas hold the same, or what is kept for others is delivered.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{ArgGroup, Args};
use quorate_client::{Client, Error};
use quorate_ring::NodeId;
use quorate_ring::version::Incarnation;
use quorate_ring::wire::NodeStatus;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::cert::parse_node;
use super::cluster::copies::{ANSWER_TIME, Copies, describe_change};
use super::connect::ConnectArguments;
use super::exit::{Failure, FailureKind, Format};
use super::interrupt::interrupted;
use super::status::Answer;
use super::{human, output};

/// How often the nodes are asked.
const PAUSE: Duration = Duration::from_millis(200);
/// How long saying goodbye to the nodes may take. One that is away would be waited for longer.
const FAREWELL_TIME: Duration = Duration::from_millis(50);

/// Waits until all that was written before is on every replica, every hint made before is delivered, or a change of the ring is done
///
/// With --converged every node must be up, must have found since the wait began that each of its peers has received the same as it, and
/// must keep no hint that was made before. With --hints every node must be up and have delivered the hints that it kept when the wait
/// began; a node that they are for may be behind otherwise. With --hints NODE only those for that node count. With --stable every node that can
/// be reached must go by the same ring, and by no other beside it. What is written meanwhile is not waited for. Exit code 3 if it takes too long; what is waited for is said then, and also at Ctrl-C.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["converged", "hints", "stable"]))]
pub(crate) struct WaitArguments {
    /// Wait for all replicas to hold the same
    #[arg(long)]
    converged: bool,
    /// Wait for the hints that nodes keep now, for all others or for this node, to be delivered
    #[arg(long, value_name = "NODE", num_args = 0..=1, value_parser = parse_node)]
    hints: Option<Option<NodeId>>,
    /// Wait for a change of the cluster's members to be done
    #[arg(long)]
    stable: bool,
    /// How long to wait at most, all in all, as 500ms, 5s or 2h (5 is 5 seconds)
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = human::parse_duration, allow_hyphen_values = true)]
    at_most: Duration,
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
}

/// Why the wait is over.
enum End {
    /// Nothing is lacking, or the time is up.
    Told,
    /// Ctrl-C.
    Interrupted,
}

/// What each node lacks that lacks something.
pub(crate) type Lacking = BTreeMap<NodeId, String>;

impl WaitArguments {
    /// Runs the command.
    ///
    /// # Errors
    /// If it takes too long, or is interrupted: what is waited for.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let began = Instant::now();
        let mut lacking = Lacking::new();
        let end = tokio::select! {
            waited = self.wait(began, &mut lacking) => waited.map(|()| End::Told)?,
            () = interrupted() => End::Interrupted,
        };
        let waited = human::duration(began.elapsed());
        let waits_for = lacking.into_values().collect::<Vec<_>>().join("; ");
        match end {
            End::Interrupted if waits_for.is_empty() => {
                let message = format!("interrupted after {waited}, before all nodes had answered");
                Err(Failure::new(FailureKind::Interrupted, message))
            }
            End::Interrupted => {
                let message = format!("interrupted after {waited}, with this still to come: {waits_for}");
                Err(Failure::new(FailureKind::Interrupted, message))
            }
            End::Told if waits_for.is_empty() => self.print_done(&waited),
            End::Told => {
                let failure = Failure::new(FailureKind::Unavailable, format!("after {waited}: {waits_for}"));
                Err(failure.help("`quorate status` shows how the nodes are; start those that are down, or wait longer with --at-most"))
            }
        }
    }

    /// Returns when nothing is lacking, or the time is up.
    async fn wait(&self, began: Instant, lacking: &mut Lacking) -> Result<(), Failure> {
        let deadline = began + self.at_most;
        let client = self.connect.connect_within(self.at_most).await?;
        if self.stable {
            return wait_stable(client, deadline, lacking).await;
        }
        let nodes = self.asked(&client)?;
        let mut marks = Marks::new();
        loop {
            let members = client.known_ring().members;
            for (node, mut answer) in ask(&client, &nodes, deadline).await {
                // One that is to join is no member yet, and need not be there.
                if let Some(Ok(status)) = &mut answer {
                    status.peers.retain(|peer| members.iter().any(|member| member.node == peer.node));
                }
                match answer.map(|answer| self.lack(&(node, answer), &mut marks, began.elapsed())) {
                    Some(Some(lack)) => _ = lacking.insert(node, lack),
                    Some(None) => _ = lacking.remove(&node),
                    // What it lacked when it last spoke says more.
                    None => _ = lacking.entry(node).or_insert_with(|| format!("{node} has not answered")),
                }
            }
            if lacking.is_empty() || deadline <= Instant::now() {
                break;
            }
            sleep_until(deadline.min(Instant::now() + PAUSE)).await;
        }
        // Whoever does not hear it notices by itself.
        let _ = timeout(FAREWELL_TIME, client.close()).await;
        Ok(())
    }

    /// Who has to answer: all, but one whose hints are waited for, which keeps none for itself.
    fn asked(&self, client: &Client) -> Result<Vec<NodeId>, Failure> {
        let members: Vec<NodeId> = client.known_ring().members.iter().map(|member| member.node).collect();
        match self.hints.flatten() {
            None => Ok(members),
            Some(target) if members.contains(&target) => {
                Ok(members.into_iter().filter(|node| *node != target).collect())
            }
            Some(target) => {
                let names = members.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                Err(Failure::invalid(format!("{target} is no member of the cluster; its members are {names}")))
            }
        }
    }

    fn lack(&self, answer: &Answer, marks: &mut Marks, waited: Duration) -> Option<String> {
        match self.hints {
            Some(target) => keeps(answer, target, marks),
            None => lacks(answer, waited),
        }
    }

    fn print_done(&self, waited: &str) -> Result<(), Failure> {
        match self.connect.format() {
            Format::Json => {
                let what = match (self.stable, &self.hints) {
                    (true, _) => "stable",
                    (false, Some(_)) => "delivered",
                    (false, None) => "converged",
                };
                output::print_json(&serde_json::json!({ what: true }))
            }
            Format::Human => {
                let what = match self.hints {
                    None if self.stable => "all nodes go by one ring".to_owned(),
                    None => "all replicas hold the same".to_owned(),
                    Some(None) => "no hint from before is kept any more".to_owned(),
                    Some(Some(target)) => format!("no hint for {target} from before is kept any more"),
                };
                output::print(&format!("{what}, after {waited}\n"))
            }
        }
    }
}

/// Returns when all go by one ring, or the time is up.
async fn wait_stable(client: Client, deadline: Instant, lacking: &mut Lacking) -> Result<(), Failure> {
    let mut heard = false;
    loop {
        // A member that is silent must not take all the time there is: what the others say would be lost with it.
        let answer_time = ANSWER_TIME.min((deadline - Instant::now()) / 2);
        // Those who have joined are asked, too.
        let asked = timeout_at(deadline, async {
            let _ = client.ring().await; // Without an answer it goes by the one it knows.
            Copies::gather_within(&client, answer_time).await
        });
        match asked.await {
            Ok(Ok(copies)) => {
                *lacking = unstable(&copies, &client);
                heard = true;
            }
            Ok(Err(failure)) if deadline <= Instant::now() => return Err(failure),
            Ok(Err(_)) | Err(_) => {}
        }
        // Nobody lacks anything as long as nobody has been heard, which says nothing.
        if heard && lacking.is_empty() || deadline <= Instant::now() {
            break;
        }
        sleep_until(deadline.min(Instant::now() + PAUSE)).await;
    }
    let _ = timeout(FAREWELL_TIME, client.close()).await;
    let silent = || Failure::new(FailureKind::Unavailable, "no member of the cluster has answered in time");
    heard.then_some(()).ok_or_else(silent)
}

/// Who goes by another ring than the last one alone.
pub(crate) fn unstable(copies: &Copies, client: &Client) -> Lacking {
    let last = copies.merged.last();
    let mut lacking = Lacking::new();
    for (node, layout) in &copies.of {
        match layout.live() {
            [only] if only.id() == last.id() => {}
            [.., newest] if newest.id() == last.id() => {
                let change = describe_change(&copies.merged);
                let change = change.lines().next().filter(|_| 1 < copies.merged.live().len());
                let change =
                    change.map_or_else(|| "has not heard that the change is done".to_owned(), ToOwned::to_owned);
                lacking.insert(*node, format!("{node}: {change}"));
            }
            _ => _ = lacking.insert(*node, format!("{node} has not heard of epoch {}", last.number())),
        }
    }
    let known = client.known_ring();
    for member in last.ring.members() {
        if !known.members.iter().any(|known| known.node == member.node) {
            lacking.entry(member.node).or_insert_with(|| format!("{} does not serve yet", member.node));
        }
    }
    lacking
}

/// Asks these nodes at once. Of one that has not answered by the deadline there is nothing.
async fn ask(client: &Client, nodes: &[NodeId], deadline: Instant) -> Vec<(NodeId, Option<Result<NodeStatus, Error>>)> {
    let ask = |node: NodeId| {
        let client = client.clone();
        (node, tokio::spawn(async move { timeout_at(deadline, client.status(node)).await.ok() }))
    };
    let asked: Vec<_> = nodes.iter().copied().map(ask).collect();
    let mut answers = Vec::with_capacity(asked.len());
    for (node, answer) in asked {
        // A task is only lost with the whole runtime.
        answers.push((node, answer.await.unwrap_or(Some(Err(Error::Closed)))));
    }
    answers
}

/// Of each node, its incarnation and the least number of a hint that it made after the wait began.
type Marks = BTreeMap<NodeId, (Incarnation, u64)>;

/// What a node keeps from before the wait began, for this target or for any.
fn keeps((node, answer): &Answer, target: Option<NodeId>, marks: &mut Marks) -> Option<String> {
    match answer {
        Err(error) => Some(format!("{node} is down: {error}")),
        Ok(status) => kept_by(*node, status, target, marks),
    }
}

fn kept_by(node: NodeId, status: &NodeStatus, target: Option<NodeId>, marks: &mut Marks) -> Option<String> {
    let &mut (incarnation, mark) = marks.entry(node).or_insert((status.incarnation, status.hints_mark));
    if !status.hints_counted {
        return Some(format!("{node} looks for the hints that it kept before its start"));
    }
    // Numbers begin anew with a start; those from before it count as 0.
    let mark = if incarnation == status.incarnation { mark } else { 1 };
    let mut kept = status.hints.iter().filter(|hints| target.is_none_or(|target| hints.target == target));
    let kept = kept.find(|hints| hints.outstanding_from < mark)?;
    Some(format!("{node} keeps {} hints for {}", kept.count, kept.target))
}

/// What a node still lacks, if it lacks something, a while after the wait began.
pub(crate) fn lacks((node, answer): &Answer, waited: Duration) -> Option<String> {
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
    use crate::cli::status::tests::{node, status};
    use quorate_ring::wire::{HintStatus, SyncStatus};

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
        assert_eq!(kept_by(node(1), &before, None, &mut marks).as_deref(), Some("n1 keeps 7 hints for n3"));
        assert!(kept_by(node(1), &before, Some(node(3)), &mut marks).is_some());
        assert_eq!(kept_by(node(1), &before, Some(node(2)), &mut marks), None, "they are for another");
        let after = NodeStatus { hints_mark: 9, hints: vec![kept(5)], ..status() };
        assert_eq!(kept_by(node(1), &after, None, &mut marks), None);
        let restarted = |outstanding_from, hints_counted| NodeStatus {
            incarnation: Incarnation::new(2),
            hints: vec![kept(outstanding_from)],
            hints_counted,
            ..status()
        };
        assert!(kept_by(node(1), &restarted(1, false), None, &mut marks).is_some(), "it has not found all yet");
        assert!(kept_by(node(1), &restarted(0, true), None, &mut marks).is_some(), "one is from before the start");
        assert_eq!(kept_by(node(1), &restarted(1, true), None, &mut marks), None);
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
