//! Where people start: a cluster of their choice, their load, what goes wrong, and what they learn.

mod disturbance;

use std::any::Any;
use std::time::Duration;

pub use disturbance::{Disturbance, UnknownDisturbance};

use crate::choices::Choices;
use crate::delay::{Delay, Shape};
use crate::engine::{Outcome, Simulation, Trace};
use crate::insight::Insight;
use crate::oracle::Violation;
use crate::plan::fault::{Fault, TimedFault};
use crate::plan::hints::HintPlan;
use crate::plan::load::{Asked, ClientPlan};
use crate::plan::span::Span;
use crate::plan::{Carrier, ClusterPlan, DiskPlan, InvalidPlan, NetworkPlan, Plan};
use crate::workload::{Mix, Workload};

/// A cluster to be simulated, with its clients, network, and faults.
///
/// What is not said is: N = 3, R = W = 2, 10 clients with the load of a [`Mix`], messages that take half a millisecond as a median
/// with a long tail, 10 seconds of virtual time, and no faults.
///
/// How stale would reads be with R = W = 1, if the cluster is split for a second every five?
///
/// ```
/// use std::time::Duration;
/// use quorate_simulation::builder::Disturbance;
/// use quorate_simulation::workload::Mix;
/// use quorate_simulation::Cluster;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let report = Cluster::of(5)
///     .n(3)
///     .r(1)
///     .w(1)
///     .clients(4)
///     .lasting(Duration::from_secs(5))
///     .workload(Mix::default().keys(10).reads_per_mille(800))
///     .disturb(Disturbance::Partitions, Duration::from_secs(5), Duration::from_secs(1))
///     .run(7)?;
/// report.verdict()?;
/// println!("{}", report.insight);
/// assert!(0 < report.insight.staleness.stale, "one replica is not enough to see every write");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Cluster<W = Mix> {
    nodes: u32,
    quorum: [u8; 3],
    durability: Asked,
    latency: Delay,
    clients: u32,
    lasting: Duration,
    faults: Vec<TimedFault>,
    disturbances: Vec<(Disturbance, Duration, Duration)>,
    trace: Trace,
    workload: W,
}

impl Cluster {
    /// A cluster of so many nodes, with the load of a [`Mix`].
    pub fn of(nodes: u32) -> Self {
        Self {
            nodes,
            quorum: [3, 2, 2],
            durability: Asked::Buffered,
            latency: Delay { shape: Shape::LogNormal, median: Span::from_micros(500) },
            clients: 10,
            lasting: Duration::from_secs(10),
            faults: Vec::new(),
            disturbances: Vec::new(),
            trace: Trace::Off,
            workload: Mix::default(),
        }
    }
}

impl<W: Workload> Cluster<W> {
    /// How many replicas a key has.
    #[must_use]
    pub const fn n(mut self, n: u8) -> Self {
        self.quorum[0] = n;
        self
    }

    /// How many replicas must answer a read.
    #[must_use]
    pub const fn r(mut self, r: u8) -> Self {
        self.quorum[1] = r;
        self
    }

    /// How many replicas must have stored a write.
    #[must_use]
    pub const fn w(mut self, w: u8) -> Self {
        self.quorum[2] = w;
        self
    }

    /// Where a write must be to count: with the process unless this is said.
    #[must_use]
    pub const fn durability(mut self, durability: Asked) -> Self {
        self.durability = durability;
        self
    }

    /// How long a message takes one way, between nodes and between clients and nodes alike; [`crate::latency`] reads a trace.
    #[must_use]
    pub fn latency(self, latency: Delay) -> Self {
        Self { latency, ..self }
    }

    /// How many clients there are, each of which does one thing after the other.
    #[must_use]
    pub const fn clients(mut self, clients: u32) -> Self {
        self.clients = clients;
        self
    }

    /// After how long clients begin nothing more, and everything is healed and checked.
    #[must_use]
    pub const fn lasting(mut self, lasting: Duration) -> Self {
        self.lasting = lasting;
        self
    }

    /// One fault at its time, lasting so long.
    #[must_use]
    pub fn fault(mut self, at: Duration, lasting: Duration, fault: Fault) -> Self {
        self.faults.push(TimedFault { at: at.into(), lasting: lasting.into(), fault });
        self
    }

    /// Faults of a kind again and again: about one in each `every`, each lasting so long. Whom they hit, the seed decides.
    #[must_use]
    pub fn disturb(mut self, disturbance: Disturbance, every: Duration, lasting: Duration) -> Self {
        self.disturbances.push((disturbance, every, lasting));
        self
    }

    /// Has the run's story told, as [`Outcome::story`].
    #[must_use]
    pub const fn told(mut self) -> Self {
        self.trace = Trace::On;
        self
    }

    /// Another load.
    #[must_use]
    pub fn workload<Other: Workload>(self, workload: Other) -> Cluster<Other> {
        let Self { nodes, quorum, durability, latency, clients, lasting, faults, disturbances, trace, workload: _ } =
            self;
        Cluster { nodes, quorum, durability, latency, clients, lasting, faults, disturbances, trace, workload }
    }

    /// Runs it. The same seed gives the same run, on every machine.
    ///
    /// # Errors
    /// [`InvalidPlan`] if there cannot be such a cluster, or such a fault.
    ///
    /// # Panics
    /// If the workload asks for an R or W that cannot be, or writes a value larger than a store takes. A bug in the production core
    /// may panic too.
    pub fn run(self, seed: u64) -> Result<Report<W>, InvalidPlan> {
        let mut choices = Choices::new(seed);
        let plan = self.plan(&mut choices);
        plan.check()?;
        if plan.clients.is_empty() {
            return Err(InvalidPlan {
                place: "clients".to_owned(),
                problem: "there are none, expected 1 or more".to_owned(),
            });
        }
        let simulation = Simulation::new(plan.clone(), choices, self.trace);
        let simulation = simulation.with_insight().with_workload(Box::new(self.workload), self.lasting);
        let (mut outcome, workload) = simulation.run_workload();
        let workload = workload.and_then(|workload: Box<dyn Any>| workload.downcast().ok());
        let workload = *workload.expect("the workload that was handed in is handed back");
        let insight = outcome.insight.take().expect("it was asked for");
        Ok(Report { plan, outcome, insight, workload })
    }

    fn plan(&self, choices: &mut Choices) -> Plan {
        let [n, r, w] = self.quorum;
        let mut plan = Plan {
            seed: choices.seed(),
            cluster: ClusterPlan {
                nodes: self.nodes,
                shards: 1,
                n,
                r,
                w,
                partitions: self.nodes.clamp(16, u32::from(u16::MAX)).next_power_of_two(),
                durability: self.durability,
                keys: 1,
                core_without: Vec::new(),
                core_gray: None,
                hints: HintPlan::default(),
                sweeps: true,
                transfer_page: None,
                members: None,
                zones: None,
                protocols: Vec::new(),
            },
            network: NetworkPlan {
                carrier: Carrier::Streams,
                delay: self.latency.clone(),
                detection: Delay::constant(Span::from_millis(100)),
            },
            disk: disk(),
            faults: self.faults.clone(),
            clients: (0..self.clients).map(|_| ClientPlan::default()).collect(),
        };
        let mut stream = choices.stream("disturbances");
        for (disturbance, every, lasting) in &self.disturbances {
            plan.faults.extend(disturbance.draw(&plan, *every, *lasting, self.lasting, &mut stream));
        }
        plan.faults.sort_by_key(|fault| fault.at);
        plan
    }
}

/// A disk of the kind that servers have.
fn disk() -> DiskPlan {
    let delay = |shape, micros| Delay { shape, median: Span::from_micros(micros) };
    DiskPlan {
        write: delay(Shape::Exponential, 30),
        completion: Delay::constant(Span::from_micros(10)),
        sync: delay(Shape::LogNormal, 1_000),
        background_sync: Span::from_millis(1_000),
    }
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report<W> {
    /// What was run: the cluster, and every fault with its time.
    pub plan: Plan,
    /// What the oracles found, and everything else that is known of any run.
    pub outcome: Outcome,
    /// What is to be learnt.
    pub insight: Insight,
    /// The load, as it is after the run.
    pub workload: W,
}

/// What was wrong with a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Quorate broke a promise.
    #[error("{0}")]
    Violation(#[from] Violation),
    /// The workload's own check failed.
    #[error("the workload's own check: {0}")]
    Objection(String),
}

impl<W> Report<W> {
    /// Whether everything held that should.
    ///
    /// # Errors
    /// What did not: a promise of Quorate's, or else what the workload checks itself.
    pub fn verdict(&self) -> Result<(), Wrong> {
        match (&self.outcome.violation, &self.outcome.objection) {
            (Some(violation), _) => Err(Wrong::Violation(violation.clone())),
            (None, Some(objection)) => Err(Wrong::Objection(objection.clone())),
            (None, None) => Ok(()),
        }
    }
}
