//! Faults that come again and again, for those who want to know what a kind of trouble costs and not when it comes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::choices::Stream;
use crate::plan::Plan;
use crate::plan::fault::{Fault, TimedFault};
use crate::plan::span::Span;

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disturbance {
    /// The nodes fall apart into two islands, and each client reaches one of them.
    Partitions,
    /// The process of a node dies, and starts again when the fault is over.
    Crashes,
    /// The process of a node stands still.
    Pauses,
    /// Messages to and from a node take twenty times as long.
    SlowNodes,
}

/// That there is no disturbance of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no kind of disturbance; expected {}", Disturbance::ALL.map(|kind| kind.to_string()).join(", "))]
pub struct UnknownDisturbance {
    name: String,
}

/// How much slower a slow node's links are.
const SLOWER: u32 = 20;
/// Most faults of one kind in a run: those after them do not come.
const FAULTS_MAX: usize = 10_000;

impl Disturbance {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Partitions, Self::Crashes, Self::Pauses, Self::SlowNodes];

    /// The faults of a run that lasts so long.
    pub(super) fn draw(
        self,
        plan: &Plan,
        every: Duration,
        lasting: Duration,
        run: Duration,
        draw: &mut Stream,
    ) -> Vec<TimedFault> {
        let every = Span::from(every).as_micros().max(1);
        let turns = (0..).map(|turn| turn * every).take_while(|from| *from < Span::from(run).as_micros());
        let faults = turns.take(FAULTS_MAX).flat_map(|from| {
            let at = Span::from_micros(from + draw.choose("disturbed after", 0..=every - 1));
            let fault = move |fault| TimedFault { at, lasting: lasting.into(), fault };
            self.faults(plan, draw).into_iter().map(fault)
        });
        faults.collect()
    }

    fn faults(self, plan: &Plan, draw: &mut Stream) -> Vec<Fault> {
        let nodes = plan.cluster.nodes;
        let mut node = || u32::try_from(draw.choose("disturbed node", 1..=u64::from(nodes.max(1)))).expect("a node");
        match self {
            Self::Partitions => partition(plan, draw),
            Self::Crashes => vec![Fault::Crash { node: node(), begun: 500 }],
            Self::Pauses => vec![Fault::Pause { node: node() }],
            Self::SlowNodes => {
                let slow = node();
                let links = (1..=nodes).filter(|node| *node != slow).map(|node| [slow, node]).collect();
                vec![Fault::SlowLinks { links, factor: SLOWER }]
            }
        }
    }
}

/// Two islands, neither empty; each client is cut off from one of them.
fn partition(plan: &Plan, draw: &mut Stream) -> Vec<Fault> {
    if plan.cluster.nodes < 2 {
        return Vec::new();
    }
    let mut apart: Vec<u32> = (1..=plan.cluster.nodes).collect();
    let size = draw.index("size of an island", apart.len() - 1) + 1;
    let island: Vec<u32> = (0..size).map(|_| apart.swap_remove(draw.index("islander", apart.len()))).collect();
    let islands = vec![island, apart];
    let clients = u32::try_from(plan.clients.len()).expect("few clients");
    let cut = (0..clients).map(|client| {
        let nodes = islands[draw.index("island that a client does not reach", 2)].clone();
        Fault::CutClient { client, nodes }
    });
    let mut faults: Vec<Fault> = cut.collect();
    faults.push(Fault::Islands { islands });
    faults
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Partitions => "partitions",
            Self::Crashes => "crashes",
            Self::Pauses => "pauses",
            Self::SlowNodes => "slow-nodes",
        })
    }
}

impl FromStr for Disturbance {
    type Err = UnknownDisturbance;

    fn from_str(name: &str) -> Result<Self, UnknownDisturbance> {
        let known = Self::ALL.into_iter().find(|kind| kind.to_string() == name);
        known.ok_or_else(|| UnknownDisturbance { name: name.to_owned() })
    }
}
