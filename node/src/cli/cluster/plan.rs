//! What a commit of all that is staged would do; doing it; and staging nothing any more.

use std::time::Duration;

use clap::Args;
use quorate_client::Client;
use quorate_ring::layout::{Change, EpochId, InvalidCommit, Layout, Proposal};
use quorate_ring::wire::LayoutChange;
use quorate_ring::{NodeId, Ring};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::copies::{Copies, change, describe_change, describe_wish, wished_role};
use crate::cli::connect::ConnectArguments;
use crate::cli::exit::{Failure, FailureKind, Format};
use crate::cli::table::{Align, Table};
use crate::cli::{human, output};

/// How long word of what was staged may take to come to the member that commits it.
const WORD_TIME: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);
/// Below this a plan's balance is worth a warning.
const BALANCE_LEAST: f64 = 0.9;

/// Shows what a commit of all that is staged would do
///
/// Partitions are counted as replicas: those that a node holds before and after, and those that it is to receive.
#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
}

/// Carries out what is staged, while the cluster serves
///
/// Returns at once; `quorate wait --stable` returns when it is done.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  quorate cluster commit\n  quorate cluster commit --plan 2-9f86d081884c7d65")]
pub(crate) struct CommitArguments {
    /// Only if it still is this, as `quorate cluster plan` named it
    #[arg(long, value_name = "PLAN", value_parser = parse_plan)]
    plan: Option<EpochId>,
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
}

/// Stages nothing any more
#[derive(Debug, Args)]
pub(crate) struct RevertArguments {
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
}

#[derive(Serialize)]
struct JsonPlan<'a> {
    plan: String,
    staged: Vec<JsonWish<'a>>,
    replicas_moved: usize,
    replicas_moved_least: usize,
    owners_moved: usize,
    moved_fraction: f64,
    balance: f64,
    members: Vec<JsonMember<'a>>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct JsonWish<'a> {
    node: u32,
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonMember<'a> {
    node: u32,
    address: &'a str,
    zone: Option<&'a str>,
    capacity: u32,
    replicas_before: usize,
    replicas_after: usize,
    replicas_received: usize,
}

/// One node, as it is and as it would be.
struct Row {
    node: NodeId,
    before: usize,
    after: usize,
    received: usize,
}

impl PlanArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connect.connect().await?;
        let copies = Copies::gather(&client).await?;
        let proposal = propose(&copies.merged)?;
        let warnings = warnings(&client, &copies, &proposal).await;
        client.close().await;
        show(&copies.merged, &proposal, warnings, self.connect.format())
    }
}

impl CommitArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connect.connect().await?;
        let Committed { layout, proposal, warnings } = commit(&client, self.plan).await?;
        client.close().await;
        show(&layout, &proposal, warnings, self.connect.format())?;
        match self.connect.format() {
            Format::Json => Ok(()),
            Format::Human => output::print("committed: `quorate wait --stable` returns when it is done\n"),
        }
    }
}

impl RevertArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connect.connect().await?;
        let copies = Copies::gather(&client).await?;
        let layout = change(&client, copies.keeper()?, LayoutChange::Revert).await?;
        client.close().await;
        match self.connect.format() {
            Format::Json => output::print_json(&serde_json::json!({ "staged": [] })),
            Format::Human => output::print(&format!("nothing is staged any more\n{}", describe_change(&layout))),
        }
    }
}

/// What was committed.
pub(crate) struct Committed {
    /// As it was before.
    layout: Layout,
    proposal: Proposal,
    warnings: Vec<String>,
}

impl Committed {
    /// In words and a table, as `quorate cluster commit` shows it.
    pub(crate) fn describe(&self) -> String {
        describe(&self.layout, &self.proposal, &self.warnings)
    }
}

/// Commits all that is staged, if it still is this plan.
///
/// # Errors
/// If nothing is staged, something else than the plan, or no member can be reached that may commit it.
pub(crate) async fn commit(client: &Client, plan: Option<EpochId>) -> Result<Committed, Failure> {
    let copies = Copies::gather(client).await?;
    let proposal = propose(&copies.merged)?;
    let epoch = proposal.epoch.id();
    if plan.is_some_and(|plan| plan != epoch) {
        return Err(Failure::invalid(InvalidCommit::Stale));
    }
    let keeper = copies.keeper()?;
    wait_for_word(client, keeper, epoch).await?;
    let warnings = warnings(client, &copies, &proposal).await;
    change(client, keeper, LayoutChange::Commit { epoch }).await?;
    Ok(Committed { layout: copies.merged, proposal, warnings })
}

/// What a plan is called: the epoch that it would be.
fn name_of(epoch: EpochId) -> String {
    format!("{}-{:016x}", epoch.number, epoch.hash)
}

fn parse_plan(text: &str) -> Result<EpochId, String> {
    let epoch = |(number, hash): (&str, &str)| {
        Some(EpochId { number: number.parse().ok()?, hash: u64::from_str_radix(hash, 16).ok()? })
    };
    text.split_once('-').and_then(epoch).ok_or_else(|| {
        format!("a plan is named as `quorate cluster plan` names it, such as 2-9f86d081884c7d65, not {text:?}")
    })
}

fn propose(layout: &Layout) -> Result<Proposal, Failure> {
    layout.propose().map_err(|problem| match problem {
        InvalidCommit::NothingStaged => Failure::invalid(&problem)
            .help("stage something first, with `quorate cluster join`, `leave`, `replace` or `set`"),
        problem => Failure::invalid(&problem),
    })
}

/// Waits until the member that is to commit knows of all that is staged.
async fn wait_for_word(client: &Client, keeper: NodeId, epoch: EpochId) -> Result<(), Failure> {
    let end = Instant::now() + WORD_TIME;
    loop {
        let copies = Copies::gather(client).await?;
        if propose(&copies.merged)?.epoch.id() != epoch {
            return Err(Failure::invalid(InvalidCommit::Stale));
        }
        let knows = |layout: &Layout| layout.propose().is_ok_and(|proposal| proposal.epoch.id() == epoch);
        if copies.of.get(&keeper).is_some_and(knows) {
            return Ok(());
        }
        if end <= Instant::now() {
            let message = format!("word of what is staged has not come to {keeper}, which is to commit it");
            return Err(Failure::new(FailureKind::Unavailable, message).help("`quorate status` shows who is connected"));
        }
        sleep(PAUSE).await;
    }
}

fn rows(before: &Ring, after: &Ring) -> Vec<Row> {
    let nodes = before.members().iter().chain(after.members()).map(|member| member.node);
    let nodes: std::collections::BTreeSet<NodeId> = nodes.collect();
    let held = |ring: &Ring, node| ring.partitions_of(node).count();
    let received = |node| after.partitions_of(node).filter(|partition| !before.is_primary(node, *partition)).count();
    let row = |node| Row { node, before: held(before, node), after: held(after, node), received: received(node) };
    nodes.into_iter().map(row).collect()
}

async fn warnings(client: &Client, copies: &Copies, proposal: &Proposal) -> Vec<String> {
    let plan = &proposal.plan;
    let mut warnings = Vec::new();
    if 1 < copies.merged.live().len() {
        warnings.push("another change is still being carried out: this one is done after it".to_owned());
    }
    let silent: Vec<String> =
        copies.silent.iter().filter(|node| plan.ring.member(**node).is_some()).map(ToString::to_string).collect();
    if !silent.is_empty() {
        let names = silent.join(", ");
        warnings.push(format!(
            "{names} cannot be reached: the change is not done before all members have taken part in it"
        ));
    }
    for (node, wish) in copies.merged.staged() {
        if wish.change == (Change::Leave { forced: false }) && copies.silent.contains(&node) {
            warnings.push(format!(
                "{node} cannot be reached: it has to be up to leave in order, or be removed with --force"
            ));
        }
    }
    warnings.extend(away(client, copies).await);
    if plan.balance < BALANCE_LEAST.min(plan.balance_max) {
        warnings.push(format!(
            "the fullest node would hold {:.0} % more than the mean",
            (1.0 / plan.balance - 1.0) * 100.0
        ));
    }
    if plan.balance_max < BALANCE_LEAST {
        warnings.push(
            "a node or zone is too large for its capacity to be used: no partition is held twice in it".to_owned(),
        );
    }
    warnings
}

/// Those that are to join and are not there yet.
async fn away(client: &Client, copies: &Copies) -> Vec<String> {
    let Some(asked) = copies.of.keys().next() else { return Vec::new() };
    let Ok(status) = client.status(*asked).await else { return Vec::new() };
    let is_new = |node: &NodeId| {
        copies.merged.last().ring.member(*node).is_none() && wished_role(&copies.merged, *node).is_some()
    };
    let away = status.peers.iter().filter(|peer| !peer.connected && is_new(&peer.node));
    let describe = |peer: &quorate_ring::wire::PeerStatus| {
        let problem = peer.problem.as_deref().unwrap_or("not connected yet");
        format!("{} is to join and is not there: {problem}", peer.node)
    };
    away.map(describe).collect()
}

fn show(layout: &Layout, proposal: &Proposal, warnings: Vec<String>, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => output::print_json(&json(layout, proposal, warnings)),
        Format::Human => output::print(&describe(layout, proposal, &warnings)),
    }
}

fn describe(layout: &Layout, Proposal { plan, epoch }: &Proposal, warnings: &[String]) -> String {
    let mut table = Table::new([
        ("node", Align::Left),
        ("address", Align::Left),
        ("zone", Align::Left),
        ("capacity", Align::Right),
        ("replicas now", Align::Right),
        ("then", Align::Right),
        ("received", Align::Right),
    ]);
    for Row { node, before, after, received } in rows(&layout.last().ring, &plan.ring) {
        let role = wished_role(layout, node);
        table.row([
            node.to_string(),
            role.map_or("leaves".to_owned(), |role| role.address.clone()),
            role.and_then(|role| role.zone.as_ref()).map_or("-".to_owned(), ToString::to_string),
            role.map_or("-".to_owned(), |role| role.capacity.weight().to_string()),
            human::count(before as u64),
            human::count(after as u64),
            human::count(received as u64),
        ]);
    }
    let staged: Vec<String> = layout.staged().map(|(node, wish)| describe_wish(layout, node, &wish.change)).collect();
    let warnings: String = warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
    format!(
        "plan {}: {}\n{}{} replicas of partitions are copied, {:.1} % of all data (at least {}); balance {:.3} (mean by highest load, 1 is \
         best)\n{warnings}",
        name_of(epoch.id()),
        staged.join(", "),
        table.render(""),
        human::count(plan.moved_replicas as u64),
        plan.moved_fraction() * 100.0,
        human::count(plan.moved_replicas_min as u64),
        plan.balance,
    )
}

fn json<'a>(layout: &'a Layout, Proposal { plan, epoch }: &Proposal, warnings: Vec<String>) -> JsonPlan<'a> {
    let member = |row: Row| {
        let role = wished_role(layout, row.node);
        JsonMember {
            node: row.node.number(),
            address: role.map_or("", |role| &role.address),
            zone: role.and_then(|role| role.zone.as_ref()).map(|zone| zone.as_str()),
            capacity: role.map_or(0, |role| role.capacity.weight()),
            replicas_before: row.before,
            replicas_after: row.after,
            replicas_received: row.received,
        }
    };
    let wish = |(node, wish): (NodeId, &'a quorate_ring::layout::Wish)| match &wish.change {
        Change::Take(role) => {
            let what = if layout.last().ring.member(node).is_some() { "set" } else { "join" };
            JsonWish { node: node.number(), what, address: Some(&role.address) }
        }
        Change::Leave { forced } => {
            JsonWish { node: node.number(), what: if *forced { "leave_forced" } else { "leave" }, address: None }
        }
    };
    JsonPlan {
        plan: name_of(epoch.id()),
        staged: layout.staged().map(wish).collect(),
        replicas_moved: plan.moved_replicas,
        replicas_moved_least: plan.moved_replicas_min,
        owners_moved: plan.moved_owners,
        moved_fraction: plan.moved_fraction(),
        balance: plan.balance,
        members: rows(&layout.last().ring, &plan.ring).into_iter().map(member).collect(),
        warnings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_named_as_it_is_read() {
        let epoch = EpochId { number: 12, hash: 0xfe };
        assert_eq!(parse_plan(&name_of(epoch)), Ok(epoch));
        for wrong in ["", "2", "2-", "-1", "2-xyz", "x-1"] {
            assert!(parse_plan(wrong).is_err(), "{wrong}");
        }
    }
}
