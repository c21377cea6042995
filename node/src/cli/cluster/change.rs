//! Staging: a node joins, leaves, is replaced by another, or gets another zone, capacity or address.

use std::collections::BTreeSet;

use clap::Args;
use quorate_client::Client;
use quorate_node::runtime::config::check_address;
use quorate_ring::layout::{Change, Epoch, Layout, Role};
use quorate_ring::wire::LayoutChange;
use quorate_ring::{Capacity, NodeId, ZoneName};

use super::copies::{Copies, change, describe_change, wished_role};
use crate::cli::cert::parse_node;
use crate::cli::connect::ConnectArguments;
use crate::cli::exit::{Failure, Format};
use crate::cli::output;

/// Stages that a new node joins
///
/// Nothing moves until `quorate cluster commit`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quorate cluster join 4 10.0.0.4:7401 --zone b --capacity 200")]
pub(crate) struct JoinArguments {
    /// Its number: one that no node of the cluster has had
    #[arg(value_parser = parse_node)]
    node: NodeId,
    /// Where peers and clients reach it, as host:port (UDP)
    #[arg(value_parser = parse_address)]
    address: String,
    #[command(flatten)]
    traits: Traits,
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
}

/// Stages that a node leaves
///
/// It hands over what it holds, and must be up until `quorate wait --stable` returns. A dead one is removed with --force: the others then
/// make up what it held from each other.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  quorate cluster leave 4\n  quorate cluster leave 2 --force")]
pub(crate) struct LeaveArguments {
    /// Its number
    #[arg(value_parser = parse_node)]
    node: NodeId,
    /// It is dead and will not come back: nobody waits for it
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
}

/// Stages that a new node takes the place of another
///
/// It gets the other's zone and capacity unless they are given.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  quorate cluster replace 2 5 10.0.0.5:7401\n  quorate cluster replace 2 5 10.0.0.5:7401 --force"
)]
pub(crate) struct ReplaceArguments {
    /// The number of the one that leaves
    #[arg(value_parser = parse_node)]
    old: NodeId,
    /// The number of the new one: one that no node of the cluster has had
    #[arg(value_parser = parse_node)]
    new: NodeId,
    /// Where peers and clients reach the new one, as host:port (UDP)
    #[arg(value_parser = parse_address)]
    address: String,
    /// The old one is dead and will not come back: nobody waits for it
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    traits: Traits,
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
}

/// Stages that a node gets another zone, capacity or address
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quorate cluster set 3 --capacity 200")]
pub(crate) struct SetArguments {
    /// Its number
    #[arg(value_parser = parse_node)]
    node: NodeId,
    /// Where peers and clients reach it, as host:port (UDP)
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_address)]
    address: Option<String>,
    #[command(flatten)]
    traits: Traits,
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
}

/// What a node is beside where it is.
#[derive(Debug, Args)]
struct Traits {
    /// What it shares its fate with; replicas are spread over zones [default: a zone of its own]
    #[arg(long, value_name = "NAME", value_parser = ZoneName::new)]
    zone: Option<ZoneName>,
    /// Its share of the data beside the others' [default: 100]
    #[arg(long, value_name = "NUMBER", value_parser = parse_capacity)]
    capacity: Option<Capacity>,
}

fn parse_address(text: &str) -> Result<String, String> {
    check_address(text).map(|()| text.to_owned()).map_err(|problem| format!("{problem}, found {text:?}"))
}

fn parse_capacity(text: &str) -> Result<Capacity, String> {
    let wrong = || format!("a capacity is a number from 1, not {text:?}");
    text.parse().ok().and_then(Capacity::new).ok_or_else(wrong)
}

impl JoinArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connect.connect().await?;
        let copies = Copies::gather(&client).await?;
        check_new(&copies.merged, self.node, &self.address)?;
        let Traits { zone, capacity } = self.traits;
        let role = Role { address: self.address, zone, capacity: capacity.unwrap_or_default() };
        stage(&client, &copies, vec![(self.node, Change::Take(role))], self.connect.format()).await
    }
}

impl LeaveArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connect.connect().await?;
        let copies = Copies::gather(&client).await?;
        if !is_member(&copies.merged, self.node) {
            member(&copies.merged, self.node)?;
        }
        check_enough(&copies.merged, self.node)?;
        warn_of_force(&copies, self.node, self.force);
        let leave = Change::Leave { forced: self.force };
        stage(&client, &copies, vec![(self.node, leave)], self.connect.format()).await
    }
}

impl ReplaceArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connect.connect().await?;
        let copies = Copies::gather(&client).await?;
        // One that leaves already, or is staged to, can still be replaced.
        let leaving = copies.merged.live().iter().rev().find_map(|epoch| role_in(epoch, self.old));
        let old = leaving.map_or_else(|| member(&copies.merged, self.old), Ok)?;
        check_new(&copies.merged, self.new, &self.address)?;
        warn_of_force(&copies, self.old, self.force);
        let zone = self.traits.zone.or_else(|| old.zone.clone());
        let role = Role { address: self.address, zone, capacity: self.traits.capacity.unwrap_or(old.capacity) };
        let leave = Change::Leave { forced: self.force };
        let changes = vec![(self.new, Change::Take(role)), (self.old, leave)];
        stage(&client, &copies, changes, self.connect.format()).await
    }
}

impl SetArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        if self.address.is_none() && self.traits.zone.is_none() && self.traits.capacity.is_none() {
            return Err(Failure::invalid("nothing to set: give --zone, --capacity or --address"));
        }
        let client = self.connect.connect().await?;
        let copies = Copies::gather(&client).await?;
        let old = member(&copies.merged, self.node)?.clone();
        if let Some(address) = &self.address {
            check_free(&copies.merged, self.node, address)?;
        }
        let role = Role {
            address: self.address.unwrap_or(old.address),
            zone: self.traits.zone.or(old.zone),
            capacity: self.traits.capacity.unwrap_or(old.capacity),
        };
        stage(&client, &copies, vec![(self.node, Change::Take(role))], self.connect.format()).await
    }
}

/// What a member, or one that is staged to be one, is wished to be.
fn member(layout: &Layout, node: NodeId) -> Result<&Role, Failure> {
    wished_role(layout, node).ok_or_else(|| {
        let members: Vec<String> = takers(layout).map(|(node, _)| node.to_string()).collect();
        Failure::invalid(format!("{node} is no member of the cluster; its members are {}", members.join(", ")))
    })
}

/// Whether a node is a member by a live epoch, even if it leaves.
fn is_member(layout: &Layout, node: NodeId) -> bool {
    layout.live().iter().any(|epoch| epoch.ring.member(node).is_some())
}

fn role_in(epoch: &Epoch, node: NodeId) -> Option<&Role> {
    match &epoch.wish(node)?.change {
        Change::Take(role) => Some(role),
        Change::Leave { .. } => None,
    }
}

/// Those who are wished to take part.
fn takers(layout: &Layout) -> impl Iterator<Item = (NodeId, &Role)> {
    known(layout).into_iter().filter_map(|node| wished_role(layout, node).map(|role| (node, role)))
}

/// Those who have, had, or are staged to have a role.
fn known(layout: &Layout) -> BTreeSet<NodeId> {
    layout.last().wishes().map(|(node, _)| node).chain(layout.staged().map(|(node, _)| node)).collect()
}

fn check_new(layout: &Layout, node: NodeId, address: &str) -> Result<(), Failure> {
    let unused = known(layout).last().map_or(0, |node| node.number()).saturating_add(1);
    if is_member(layout, node) {
        let failure = Failure::invalid(format!("{node} is a member of the cluster"));
        return Err(failure.help(format!(
            "choose a number that no node has had, such as {unused}; `quorate cluster set` changes a member"
        )));
    }
    if layout.is_removed(node) {
        let failure = Failure::invalid(format!("{node} was removed by force, and stays removed"));
        return Err(failure.help(format!("choose a number that no node has had, such as {unused}")));
    }
    check_free(layout, node, address)
}

fn check_free(layout: &Layout, node: NodeId, address: &str) -> Result<(), Failure> {
    match takers(layout).find(|(other, role)| *other != node && role.address == address) {
        Some((other, _)) => Err(Failure::invalid(format!("{address} is the address of {other}"))),
        None => Ok(()),
    }
}

fn check_enough(layout: &Layout, leaving: NodeId) -> Result<(), Failure> {
    let (left, replicas) = (takers(layout).filter(|(node, _)| *node != leaving).count(), layout.last().ring.replicas());
    if usize::from(replicas) <= left {
        return Ok(());
    }
    let message = format!(
        "without {leaving} {left} nodes would be left, and the cluster keeps {replicas} replicas of each key, each on a node of its own"
    );
    Err(Failure::invalid(message)
        .help(format!("have another node join first, or `quorate cluster replace {} NEW ADDRESS`", leaving.number())))
}

/// Nothing is asked back; but what is most likely not meant so is said.
fn warn_of_force(copies: &Copies, node: NodeId, force: bool) {
    let yellow = anstyle::AnsiColor::Yellow.on_default().bold();
    let warn = |text: String| anstream::eprintln!("{yellow}warning:{yellow:#} {text}");
    match (force, copies.of.contains_key(&node)) {
        (true, true) => warn(format!(
            "{node} is up: without --force it hands over what it holds; with it, what only {node} has is lost"
        )),
        (false, false) if copies.silent.contains(&node) => warn(format!(
            "{node} does not answer: it has to be up to leave in order; if it is dead for good, remove it with --force"
        )),
        _ => {}
    }
}

/// Wishes these, one after the other. Gives the layout with them, which nothing goes by before it is committed.
///
/// # Errors
/// What kept the first that failed from being wished.
pub(crate) async fn wish(client: &Client, copies: &Copies, changes: Vec<(NodeId, Change)>) -> Result<Layout, Failure> {
    let keeper = copies.keeper()?;
    let mut layout = copies.merged.clone();
    for (node, wish) in changes {
        layout = change(client, keeper, LayoutChange::Wish { node, change: wish }).await?;
    }
    Ok(layout)
}

async fn stage(
    client: &Client,
    copies: &Copies,
    changes: Vec<(NodeId, Change)>,
    format: Format,
) -> Result<(), Failure> {
    let layout = wish(client, copies, changes).await?;
    client.close().await;
    let staged: Vec<u32> = layout.staged().map(|(node, _)| node.number()).collect();
    match format {
        Format::Json => output::print_json(&serde_json::json!({ "staged": staged })),
        Format::Human if staged.is_empty() => output::print("nothing is staged: the cluster is as it was wished\n"),
        Format::Human => output::print(&format!(
            "{}look at it with `quorate cluster plan`, then carry it out with `quorate cluster commit`\n",
            describe_change(&layout)
        )),
    }
}
