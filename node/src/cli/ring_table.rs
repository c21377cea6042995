//! `quorate ring`: who owns how much of the ring, and who holds a key.

use clap::Args;
use quorate_client::Client;
use quorate_ring::layout::Layout;
use quorate_ring::wire::{MemberDescription, RingDescription};
use quorate_ring::{Key, Member, ObjectKey, Position, ReplicaKind, Ring};
use serde::Serialize;

use super::cluster::copies::{Copies, describe_change};
use super::connect::{BucketArguments, ConnectArguments};
use super::exit::{Failure, FailureKind, Format};
use super::keys::key_parser;
use super::table::{Align, Table};
use super::{human, output};

/// Shows the ring: members, their partitions and the balance; with --key, who holds a key
#[derive(Debug, Args)]
pub(crate) struct RingArguments {
    /// Show the partition of this key, and who holds it
    #[arg(long, value_name = "KEY", value_parser = key_parser())]
    key: Option<Key>,
    #[command(flatten)]
    bucket: BucketArguments,
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
}

#[derive(Serialize)]
struct JsonRing<'a> {
    cluster: &'a str,
    replicas: u8,
    partitions: u32,
    balance: f64,
    epochs: Vec<u64>,
    staged: Vec<u32>,
    members: Vec<JsonMember<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<JsonPlace>,
}

#[derive(Serialize)]
struct JsonMember<'a> {
    node: u32,
    address: &'a str,
    zone: Option<&'a str>,
    capacity: u32,
    partitions_owned: u32,
    replicas_held: u32,
}

#[derive(Serialize)]
struct JsonPlace {
    position: String,
    partition: u16,
    primaries: Vec<u32>,
    fallbacks: Vec<u32>,
}

/// How much one member has.
struct Share {
    owned: u32,
    held: u32,
}

impl RingArguments {
    /// Runs the command.
    ///
    /// # Errors
    /// If the cluster cannot be reached.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connect.connect().await?;
        let copies = Copies::gather(&client).await?;
        let printed = self.print(&client, &copies.merged);
        client.close().await;
        printed
    }

    fn print(&self, client: &Client, layout: &Layout) -> Result<(), Failure> {
        let description = client.known_ring();
        let ring = ring_of(&description)?;
        let place = self.key.as_ref().map(|key| place(&ring, &ObjectKey::new(&self.bucket.bucket, key)));
        match self.connect.format() {
            Format::Json => output::print_json(&json(&ring, &description, layout, place)),
            Format::Human => {
                let place = place.map(|place| describe_place(&place)).unwrap_or_default();
                output::print(&format!("{}{}{place}", describe(&ring, &description, ""), describe_change(layout)))
            }
        }
    }
}

/// The ring that a node described.
///
/// # Errors
/// If it described one that cannot be.
pub(crate) fn ring_of(description: &RingDescription) -> Result<Ring, Failure> {
    let members = description.members.iter().map(|member| Member {
        node: member.node,
        zone: member.zone.clone(),
        capacity: member.capacity,
    });
    Ring::new(description.partitions, description.replicas, members.collect(), description.owners.clone())
        .map_err(|error| Failure::new(FailureKind::Unavailable, format!("the cluster described no ring: {error}")))
}

/// The ring as a table and a sentence about its balance.
pub(crate) fn describe(ring: &Ring, description: &RingDescription, indent: &str) -> String {
    let mut table = Table::new([
        ("node", Align::Left),
        ("address", Align::Left),
        ("zone", Align::Left),
        ("capacity", Align::Right),
        ("partitions owned", Align::Right),
        ("share", Align::Right),
        ("replicas held", Align::Right),
    ]);
    let whole = f64::from(ring.partitions().get());
    for (member, share) in description.members.iter().zip(shares(ring)) {
        table.row([
            member.node.to_string(),
            member.address.clone(),
            member.zone.as_ref().map_or("-".to_owned(), ToString::to_string),
            member.capacity.weight().to_string(),
            human::count(share.owned.into()),
            format!("{:.1} %", f64::from(share.owned) * 100.0 / whole),
            human::count(share.held.into()),
        ]);
    }
    format!(
        "{}{indent}cluster {}: {} partitions, {} replicas of each; balance {:.3} (mean by highest load, 1 is best)\n",
        table.render(indent),
        description.cluster,
        human::count(ring.partitions().get().into()),
        ring.replicas(),
        balance(ring)
    )
}

fn shares(ring: &Ring) -> Vec<Share> {
    let mut shares: Vec<_> = ring.members().iter().map(|_| Share { owned: 0, held: 0 }).collect();
    let index = |node| ring.members().iter().position(|member| member.node == node).expect("primaries are members");
    for partition in ring.partitions().partitions() {
        shares[index(ring.owner(partition))].owned += 1;
        ring.primaries(partition).for_each(|node| shares[index(node)].held += 1);
    }
    shares
}

/// Mean load by the highest, where a member's load is what it owns for its capacity.
fn balance(ring: &Ring) -> f64 {
    let capacity: f64 = ring.members().iter().map(|member| f64::from(member.capacity.weight())).sum();
    let mean = f64::from(ring.partitions().get()) / capacity;
    let load = |(share, weight): (Share, u32)| f64::from(share.owned) / f64::from(weight);
    let weights = ring.members().iter().map(|member| member.capacity.weight());
    let highest = shares(ring).into_iter().zip(weights).map(load).fold(0.0, f64::max);
    mean / highest
}

fn place(ring: &Ring, key: &ObjectKey) -> JsonPlace {
    let position = Position::of(key);
    let partition = ring.partition_of(position);
    let of_kind = |kind| {
        let list = ring.preference_list(partition);
        list.iter().filter(|replica| replica.kind == kind).map(|replica| replica.node.number()).collect()
    };
    JsonPlace {
        position: format!("{:016x}", position.point()),
        partition: partition.number(),
        primaries: of_kind(ReplicaKind::Primary),
        fallbacks: of_kind(ReplicaKind::Fallback),
    }
}

fn describe_place(place: &JsonPlace) -> String {
    let nodes = |nodes: &[u32]| match nodes {
        [] => "none".to_owned(),
        nodes => nodes.iter().map(|node| format!("n{node}")).collect::<Vec<_>>().join(", "),
    };
    format!(
        "the key lies at {} in partition {}: primaries {}; fallbacks {}\n",
        place.position,
        place.partition,
        nodes(&place.primaries),
        nodes(&place.fallbacks)
    )
}

fn json<'a>(ring: &Ring, description: &'a RingDescription, layout: &Layout, key: Option<JsonPlace>) -> JsonRing<'a> {
    let member = |(member, share): (&'a MemberDescription, Share)| JsonMember {
        node: member.node.number(),
        address: &member.address,
        zone: member.zone.as_ref().map(|zone| zone.as_str()),
        capacity: member.capacity.weight(),
        partitions_owned: share.owned,
        replicas_held: share.held,
    };
    JsonRing {
        cluster: description.cluster.as_str(),
        replicas: ring.replicas(),
        partitions: ring.partitions().get(),
        balance: balance(ring),
        epochs: layout.live().iter().map(|epoch| epoch.number()).collect(),
        staged: layout.staged().map(|(node, _)| node.number()).collect(),
        members: description.members.iter().zip(shares(ring)).map(member).collect(),
        key,
    }
}
