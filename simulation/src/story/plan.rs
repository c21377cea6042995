//! A plan and its faults in words.

use super::words::listed;
use crate::plan::fault::{Fault, Pair};
use crate::plan::{Carrier, Plan};

/// The command that runs the plan of a seed.
pub(crate) fn repeat(plan: &Plan) -> String {
    format!("quorate-sim run --seed {}", plan.seed)
}

/// A plan in a few lines.
pub(crate) fn summary(plan: &Plan) -> Vec<String> {
    let cluster = &plan.cluster;
    let steps: usize = plan.clients.iter().map(|client| client.steps.len()).sum();
    let mut kinds: Vec<&str> = plan.faults.iter().map(|fault| fault.fault.id().number()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let carrier = match plan.network.carrier {
        Carrier::Streams => "over streams".to_owned(),
        Carrier::Datagrams { lost, duplicated } => {
            format!("over datagrams, of a thousand of which {lost} are lost and {duplicated} doubled")
        }
    };
    vec![
        format!(
            "{} of {}, N = {}, R = {}, W = {}, {}",
            counted(cluster.nodes as usize, "node"),
            counted(usize::from(cluster.shards), "shard"),
            cluster.n,
            cluster.r,
            cluster.w,
            format!("{:?}", plan.durability()).to_lowercase()
        ),
        format!(
            "{} with {} on {}",
            counted(plan.clients.len(), "client"),
            counted(steps, "step"),
            counted(cluster.keys, "key")
        ),
        format!(
            "{} ({}); {carrier}",
            counted(plan.faults.len(), "fault"),
            listed(kinds.into_iter().map(str::to_owned), "none")
        ),
    ]
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn node(number: &u32) -> String {
    format!("n{number}")
}

fn nodes(numbers: &[u32]) -> String {
    listed(numbers.iter().map(node), "no node")
}

fn link([one, other]: &Pair) -> String {
    format!("n{one}-n{other}")
}

fn links(pairs: &[Pair]) -> String {
    listed(pairs.iter().map(link), "no link")
}

/// A fault in words.
pub(crate) fn fault(fault: &Fault) -> String {
    match fault {
        Fault::SlowLinks { links: slow, factor } => format!("{factor} times as slow: {}", links(slow)),
        Fault::Corrupt { link: on, per_mille, .. } => format!("{per_mille} of 1000 messages corrupted on {}", link(on)),
        Fault::Islands { islands } => {
            let islands: Vec<String> = islands.iter().map(|island| nodes(island)).collect();
            format!("split into {}", islands.join(" | "))
        }
        Fault::OneWay { blocked } => {
            let ways = blocked.iter().map(|[from, to]| format!("n{from} to n{to}"));
            format!("nothing passes from {}", listed(ways, "no node"))
        }
        Fault::Cut { links: cut } => format!("cut: {}", links(cut)),
        Fault::CutClient { client, nodes: from } => format!("client {client} cut off from {}", nodes(from)),
        Fault::Flap { link: on, each } => format!("{} flaps every {each}", link(on)),
        Fault::Clog { links: clogged } => format!("clogged: {}", links(clogged)),
        Fault::Narrow { link: on, bytes_per_second, .. } => format!("{} at {bytes_per_second} bytes/s", link(on)),
        Fault::LoseEach { message, nth } => format!("each {nth}. message of {message:?} lost"),
        Fault::Reset { link: on } => format!("{} reset", link(on)),
        Fault::ResetClient { client, node } => format!("client {client} to n{node} reset"),
        Fault::LoseReplies { client, node } => format!("n{node}'s replies to client {client} lost"),
        Fault::FanOut { node, reaches } => format!("n{node}'s next write reaches {reaches} peers only"),
        Fault::Crash { node, .. } => format!("n{node} crashes"),
        Fault::CrashAt { node, inputs, .. } => format!("n{node} crashes within its input after {inputs}"),
        Fault::Stop { node } => format!("n{node} is stopped"),
        Fault::Upgrade { node, protocol } => format!("n{node} starts again with version {protocol} of the protocol"),
        Fault::PowerLoss { nodes: dark, torn, .. } => {
            let torn = if *torn { " within a batch" } else { "" };
            format!("{} lose power{torn}", nodes(dark))
        }
        Fault::ReplaceDisks { node } => format!("n{node} gets empty disks"),
        Fault::OldCopy { node } => format!("n{node} gets a copy of its store from when this begins"),
        Fault::SwapDisks { nodes: [one, other] } => format!("n{one} and n{other} have each other's disks"),
        Fault::Pause { node } => format!("n{node} stands still"),
        Fault::Stutter { node, runs, stands } => format!("n{node} runs {runs}, stands {stands}, and so on"),
        Fault::Clock { node, jump_millis, drift_ppm } => {
            format!("n{node}'s clock jumps {jump_millis} ms and drifts {drift_ppm} ppm")
        }
        Fault::Strobe { node, by_millis, each } => {
            format!("n{node}'s wall clock jumps {by_millis} ms and back, every {each}")
        }
        Fault::Horizon { node } => format!("all expires but on n{node}, which is cut off"),
        Fault::WriteFailure { node } => format!("n{node}'s next write fails"),
        Fault::SyncFailure { node } => format!("n{node}'s next sync fails"),
        Fault::LyingSync { node } => format!("n{node}'s syncs lie"),
        Fault::ReadFailure { node } => format!("n{node}'s next read fails"),
        Fault::Rot { node, key } => format!("k{key} rots on n{node}"),
        Fault::Misdirect { node, keys: [one, other] } => format!("a write of k{one} lands on k{other} on n{node}"),
        Fault::Forget { node, key } => format!("n{node} forgets k{key} in the end"),
        Fault::Members { by, join, leave, remove, weigh } => {
            let named = |what: &str, nodes: &[u32]| {
                let nodes: Vec<String> = nodes.iter().map(|node| format!("n{node}")).collect();
                (!nodes.is_empty()).then(|| format!("{} {what}", nodes.join(", ")))
            };
            let weighed = weigh.iter().map(|weighed| format!("n{} weighs {}", weighed.node, weighed.capacity));
            let moves = [named("join", join), named("leave", leave), named("are removed", remove)];
            format!("at n{by}: {}", moves.into_iter().flatten().chain(weighed).collect::<Vec<_>>().join("; "))
        }
        Fault::DiskFull { node } => format!("n{node}'s disk is full"),
        Fault::SlowDisk { node } => format!("n{node}'s disk is slow"),
        Fault::StallDisk { node } => format!("n{node}'s disk stalls"),
        Fault::Quorum { r, w } => format!("R = {r}, W = {w} from now on"),
        Fault::Stranger { node } => format!("a stranger connects to n{node}"),
    }
}
