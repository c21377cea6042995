//! Watching a change until it is done: what each node holds, and how the load fares.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use quorate_client::Client;
use quorate_ring::layout::Layout;
use quorate_ring::wire::NodeStatus;
use quorate_ring::{NodeId, PartitionId, Ring};
use tokio::time::timeout;

use super::super::Tour;
use super::bars::{Bars, Share};
use super::load::SteadyLoad;
use crate::cli::cluster::copies::{Copies, wished_role};
use crate::cli::demo::tell::Teller;
use crate::cli::exit::Failure;
use crate::cli::wait::{Lacking, lacks, unstable};

/// A change that is not done after this time never is. With the demo's records it takes a few seconds.
const CHANGE_TIME_MAX: Duration = Duration::from_secs(60);
/// How often the bars are drawn, and the nodes asked.
const PAUSE: Duration = Duration::from_millis(100);
/// Who does not answer in this time is asked again, and its bar stays as it is.
const ANSWER_TIME: Duration = Duration::from_millis(500);

/// What was seen at one look.
struct Look {
    lacking: Lacking,
    shares: Vec<(NodeId, Share)>,
}

/// Shows how a change is carried out, until it is. Gives how long that took.
pub(super) async fn until_stable(teller: &Teller, client: &Client, load: &SteadyLoad) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let mut bars = Bars::start();
    let mut draw = tokio::time::interval(PAUSE);
    loop {
        let look = look(client);
        tokio::pin!(look);
        // Who is away is waited for; the load's line goes on meanwhile.
        let Look { lacking, shares } = loop {
            tokio::select! {
                seen = &mut look => break seen?,
                _ = draw.tick() => bars.show(load.figures()),
            }
        };
        shares.into_iter().for_each(|(node, share)| bars.note(node, share));
        if lacking.is_empty() {
            break;
        }
        if CHANGE_TIME_MAX < begun.elapsed() {
            let waits_for = lacking.into_values().collect::<Vec<_>>().join("; ");
            return Err(Failure::local(format!("the change is not done after {CHANGE_TIME_MAX:?}: {waits_for}")));
        }
        draw.tick().await;
        bars.show(load.figures());
    }
    teller.say(&bars.finish())?;
    Ok(begun.elapsed())
}

async fn look(client: &Client) -> Result<Look, Failure> {
    let _ = client.ring().await; // Without an answer it goes by the one it knows.
    let copies = Copies::gather_within(client, ANSWER_TIME).await?;
    let layout = &copies.merged;
    let members: BTreeSet<NodeId> =
        layout.live().iter().flat_map(|epoch| epoch.ring.members()).map(|member| member.node).collect();
    let asked: Vec<_> =
        members.into_iter().map(|node| (node, tokio::spawn(ask(client.clone(), layout, node)))).collect();
    let mut shares = Vec::new();
    for (node, status) in asked {
        if let Ok(Some(status)) = status.await {
            shares.push((node, share(node, layout, &status)));
        }
    }
    let mut lacking = unstable(&copies, client);
    for node in copies.silent.iter().filter(|node| layout.last().ring.member(**node).is_some()) {
        lacking.entry(*node).or_insert_with(|| format!("{node} does not answer"));
    }
    Ok(Look { lacking, shares })
}

/// Asks a member how it is; one that joins, which the client does not know yet, where it listens.
fn ask(client: Client, layout: &Layout, node: NodeId) -> impl Future<Output = Option<NodeStatus>> + Send + use<> {
    let known = client.known_ring().members.iter().any(|member| member.node == node);
    let address = wished_role(layout, node).map(|role| role.address.clone()).filter(|_| !known);
    async move {
        let answer = async {
            match address {
                Some(address) => client.status_at(&address).await.ok(),
                None => client.status(node).await.ok(),
            }
        };
        timeout(ANSWER_TIME, answer).await.ok()?
    }
}

/// What a node has of what it is to hold.
fn share(node: NodeId, layout: &Layout, status: &NodeStatus) -> Share {
    let last = layout.last();
    let held_by = |ring: &Ring| ring.partitions_of(node).collect::<Vec<PartitionId>>();
    let to_hold = held_by(&last.ring);
    let before = &layout.live()[0].ring;
    let new = to_hold.iter().filter(|partition| !before.is_primary(node, **partition)).count();
    let lacking = match layout.live() {
        [_] => 0,
        _ if layout.progress_of(node).synced == last.id() => 0,
        // What is received before all write by the new ring may not be all, and does not count.
        _ if layout.acknowledged_by_all().id() != last.id() => new,
        _ => new.min(status.sync.partitions_behind as usize),
    };
    Share { held: (to_hold.len() - lacking) as u64, to_hold: to_hold.len() as u64, bytes: status.disk_bytes }
}

impl Tour<'_> {
    /// Waits until all replicas hold what was written before. Gives how long that took.
    pub(super) async fn until_converged(&self, client: &Client) -> Result<Duration, Failure> {
        let begun = Instant::now();
        loop {
            let members = client.known_ring().members;
            let mut answers = client.statuses().await;
            // One that has left need not be there.
            for status in answers.iter_mut().filter_map(|(_, answer)| answer.as_mut().ok()) {
                status.peers.retain(|peer| members.iter().any(|member| member.node == peer.node));
            }
            let lacking: Vec<_> = answers.iter().filter_map(|answer| lacks(answer, begun.elapsed())).collect();
            if lacking.is_empty() {
                return Ok(begun.elapsed());
            }
            if CHANGE_TIME_MAX < begun.elapsed() {
                let lacking = lacking.join("; ");
                return Err(Failure::local(format!("the replicas differ after {CHANGE_TIME_MAX:?}: {lacking}")));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
