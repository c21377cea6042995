//! What a run is: its cluster, its clients' steps, its network and disks, and every fault with its time. All of it is data that a
//! person can read and edit ([`mod@file`]). What it does not say, such as each message's delay, is drawn from its seed, by the name
//! of what is drawn, so that a plan still means the same after a line of it is gone, or after a change of unrelated code.

pub mod fault;
pub mod file;
pub mod hints;
pub mod load;
pub mod span;
mod swarm;

use std::num::NonZeroU32;

use quorate_ring::limits::SCAN_ITEMS_MAX;
use quorate_ring::wire::{Durability, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, Protocol};
use quorate_ring::{PartitionCount, Quorum, Ttl};
use serde::{Deserialize, Serialize};

use self::fault::TimedFault;
use self::hints::HintPlan;
use self::load::{Asked, ClientPlan};
use self::span::Span;
use crate::delay::Delay;

/// A run, before it is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Plan {
    /// Of all that is drawn while it runs.
    pub seed: u64,
    /// The cluster.
    pub cluster: ClusterPlan,
    /// How messages travel.
    pub network: NetworkPlan,
    /// How disks work.
    pub disk: DiskPlan,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Vec<TimedFault>,
    /// What clients do.
    pub clients: Vec<ClientPlan>,
}

/// The cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClusterPlan {
    /// How many nodes.
    pub nodes: u32,
    /// How many shards each has.
    pub shards: u8,
    /// N.
    pub n: u8,
    /// The default R.
    pub r: u8,
    /// The default W.
    pub w: u8,
    /// Q.
    pub partitions: u32,
    /// Where a write must be to count, unless it says otherwise.
    pub durability: Asked,
    /// How many keys there are.
    pub keys: usize,
    /// The nodes that stay down while it is checked that the others can serve, after the load and before everything is healed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub core_without: Vec<u32>,
    /// A node that then stands still, and that nobody knows to be away: the others must serve all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_gray: Option<u32>,
    /// How little nodes keep for others.
    #[serde(default, skip_serializing_if = "HintPlan::is_usual")]
    pub hints: HintPlan,
    /// Whether nodes sweep through what they store and compare it; they do unless it is said.
    #[serde(default = "sweeps", skip_serializing_if = "is_usual")]
    pub sweeps: bool,
    /// Most objects in a page of a partition that is received as a whole; without it as many as usual, which is all that a plan has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer_page: Option<u32>,
    /// How many of the nodes, the first, are members at the start; the others wait to join. Without it all are, and members never change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<u32>,
    /// In how many zones the nodes are, in turn, where members change. Without it each is one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zones: Option<NonZeroU32>,
    /// Which version of the protocol each node speaks at the start, from the first; those that are not named speak the newest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protocols: Vec<u16>,
}

const fn sweeps() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_usual(sweeps: &bool) -> bool {
    *sweeps
}

/// How messages travel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NetworkPlan {
    /// What carries them.
    pub carrier: Carrier,
    /// How long they take.
    pub delay: Delay,
    /// How long it takes to notice that a connection is gone.
    pub detection: Delay,
}

/// What carries messages between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Carrier {
    /// Streams as of QUIC: in order, nothing lost but with the connection.
    Streams,
    /// Worse than what the core is made for: each message on its own. The core must never be wrong even so.
    Datagrams {
        /// Lost, of a thousand.
        lost: u64,
        /// Arrive twice, of a thousand.
        duplicated: u64,
    },
}

/// How disks work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DiskPlan {
    /// Until a turn's operations are done.
    pub write: Delay,
    /// From then until the shard learns of it.
    pub completion: Delay,
    /// From the wish to sync to the sync.
    pub sync: Delay,
    /// Between two syncs that nobody waits for.
    pub background_sync: Span,
}

/// What a plan says that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct InvalidPlan {
    /// Where.
    pub place: String,
    /// What, and what could be.
    pub problem: String,
}

/// Most nodes of a plan.
pub const NODES_MAX: u32 = 1_000;
/// Most keys of a plan.
pub const KEYS_MAX: usize = 1_000_000;

impl Plan {
    /// N, and the default R and W.
    ///
    /// # Panics
    /// If the plan was not checked.
    pub fn quorum(&self) -> Quorum {
        Quorum::new(self.cluster.n, self.cluster.r, self.cluster.w).expect("the plan was checked")
    }

    /// Q.
    ///
    /// # Panics
    /// If the plan was not checked.
    pub fn partitions(&self) -> PartitionCount {
        PartitionCount::new(self.cluster.partitions).expect("the plan was checked")
    }

    /// Which version of the protocol a node speaks at the start, by its index.
    pub(crate) fn protocol(&self, node: usize) -> Protocol {
        self.cluster.protocols.get(node).map_or(Protocol::NEWEST, |version| spoken(*version))
    }

    /// Where a write must be to count, unless it says otherwise.
    pub fn durability(&self) -> Durability {
        self.cluster.durability.into()
    }

    /// Checks that it can be run.
    ///
    /// # Errors
    /// The first thing that cannot be.
    pub fn check(&self) -> Result<(), InvalidPlan> {
        let cluster = &self.cluster;
        let wrong = |place: &str, problem: String| Err(InvalidPlan { place: place.to_owned(), problem });
        if i64::try_from(self.seed).is_err() {
            return wrong("seed", format!("{}, expected at most {}", self.seed, i64::MAX));
        }
        if let Err(error) = Quorum::new(cluster.n, cluster.r, cluster.w) {
            return wrong("cluster", error.to_string());
        }
        if let Err(error) = PartitionCount::new(cluster.partitions) {
            return wrong("cluster.partitions", error.to_string());
        }
        if cluster.nodes < u32::from(cluster.n) || NODES_MAX < cluster.nodes {
            return wrong("cluster.nodes", format!("{}, expected n to {NODES_MAX}", cluster.nodes));
        }
        if cluster.members.is_some_and(|members| members < u32::from(cluster.n) || cluster.nodes < members) {
            return wrong("cluster.members", format!("expected n to {}", cluster.nodes));
        }
        if cluster.transfer_page.is_some_and(|objects| objects == 0 || SCAN_ITEMS_MAX < objects as usize) {
            return wrong("cluster.transfer-page", format!("expected 1 to {SCAN_ITEMS_MAX}"));
        }
        if cluster.partitions < cluster.nodes {
            return wrong("cluster.partitions", format!("{}, expected one for each node", cluster.partitions));
        }
        if cluster.shards == 0 || cluster.keys == 0 || KEYS_MAX < cluster.keys {
            return wrong("cluster", format!("shards and keys are at least 1, and keys at most {KEYS_MAX}"));
        }
        if self.clients.is_empty() {
            return wrong(
                "clients",
                "there are none, expected at least one: it makes the checks at the end".to_owned(),
            );
        }
        self.check_nodes("cluster.core-without", &cluster.core_without)?;
        self.check_nodes("cluster.core-gray", cluster.core_gray.as_slice())?;
        if (cluster.nodes as usize) < cluster.protocols.len() {
            return wrong(
                "cluster.protocols",
                format!("{}, where there are {} nodes", cluster.protocols.len(), cluster.nodes),
            );
        }
        cluster.protocols.iter().try_for_each(|version| check_protocol("cluster.protocols", *version))?;
        cluster.hints.check()?;
        for (index, fault) in self.faults.iter().enumerate() {
            self.check_fault(&format!("fault {}", index + 1), fault)?;
        }
        for (client, plan) in self.clients.iter().enumerate() {
            for (index, step) in plan.steps.iter().enumerate() {
                self.check_step(&format!("client {client}, step {}", index + 1), step)?;
            }
        }
        Ok(())
    }

    fn check_fault(&self, place: &str, fault: &TimedFault) -> Result<(), InvalidPlan> {
        self.check_nodes(place, &fault.fault.nodes())?;
        let wrong = |problem: String| Err(InvalidPlan { place: place.to_owned(), problem });
        if let Some(client) = fault.fault.client().filter(|client| self.clients.len() <= *client as usize) {
            return wrong(format!("client {client}, where there are {} from 0", self.clients.len()));
        }
        match &fault.fault {
            fault::Fault::Rot { key, .. } | fault::Fault::Forget { key, .. } => self.check_keys(place, &[*key]),
            fault::Fault::Misdirect { keys, .. } => self.check_keys(place, keys),
            fault::Fault::Quorum { r, w } => match Quorum::new(self.cluster.n, *r, *w) {
                Ok(_) => Ok(()),
                Err(error) => wrong(error.to_string()),
            },
            fault::Fault::Upgrade { protocol, .. } => check_protocol(place, *protocol),
            fault::Fault::Members { .. } if self.cluster.members.is_none() => {
                wrong("members change, where the cluster does not say how many there are at the start".to_owned())
            }
            fault::Fault::Narrow { bytes_per_second: 0, .. } => wrong("no bandwidth at all; cut the link".to_owned()),
            fault::Fault::LoseEach { nth: 0, .. } => wrong("nth is 0, expected 1 or more".to_owned()),
            fault::Fault::SlowLinks { links, .. }
            | fault::Fault::Cut { links }
            | fault::Fault::Clog { links }
            | fault::Fault::OneWay { blocked: links }
                if links.iter().any(|[one, other]| one == other) =>
            {
                wrong("a link joins two different nodes".to_owned())
            }
            fault::Fault::Corrupt { link, .. }
            | fault::Fault::Flap { link, .. }
            | fault::Fault::Narrow { link, .. }
            | fault::Fault::SwapDisks { nodes: link }
            | fault::Fault::Reset { link }
                if link[0] == link[1] =>
            {
                wrong("two different nodes are needed".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn check_step(&self, place: &str, step: &load::Step) -> Result<(), InvalidPlan> {
        self.check_keys(place, &step.action.keys())?;
        if let load::Whom::Node(node) = step.ask {
            self.check_nodes(place, &[node])?;
        }
        let (r, w) = step.action.quorum();
        let wrong = |problem: String| Err(InvalidPlan { place: place.to_owned(), problem });
        match self.quorum().with(r, w) {
            Err(error) => wrong(error.to_string()),
            Ok(_) if step.action.ttl().is_some_and(|ttl| Ttl::try_from(ttl.duration()).is_err()) => {
                wrong("its ttl is nothing, or more than ten years".to_owned())
            }
            Ok(_) if step.within.is_zero() => wrong("within is nothing, expected the time it may take".to_owned()),
            Ok(_) => Ok(()),
        }
    }

    fn check_nodes(&self, place: &str, nodes: &[u32]) -> Result<(), InvalidPlan> {
        match nodes.iter().find(|node| !(1..=self.cluster.nodes).contains(node)) {
            Some(node) => Err(InvalidPlan {
                place: place.to_owned(),
                problem: format!("node {node}, where there are 1 to {}", self.cluster.nodes),
            }),
            None => Ok(()),
        }
    }

    fn check_keys(&self, place: &str, keys: &[usize]) -> Result<(), InvalidPlan> {
        match keys.iter().find(|key| self.cluster.keys <= **key) {
            Some(key) => Err(InvalidPlan {
                place: place.to_owned(),
                problem: format!("key {key}, where there are {} from 0", self.cluster.keys),
            }),
            None => Ok(()),
        }
    }
}

/// A version of a plan that was checked.
pub(crate) fn spoken(version: u16) -> Protocol {
    Protocol::new(version).expect("the plan was checked")
}

fn check_protocol(place: &str, version: u16) -> Result<(), InvalidPlan> {
    match Protocol::new(version) {
        Some(_) => Ok(()),
        None => Err(InvalidPlan {
            place: place.to_owned(),
            problem: format!("version {version}, expected {PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION}"),
        }),
    }
}
