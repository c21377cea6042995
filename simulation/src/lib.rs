//! Quorate's production core under virtual time, network and disks.
//!
//! A run has a cluster of production [`Shard`](quorate_node::Shard)s, applications that use the production client's routing and
//! retries, and one thread. Time, the network, the disks and the faults come from a [`Plan`] and from decisions that all follow from
//! one seed, so a seed is one history, byte for byte. While it runs, and after everything is healed, the [`oracle`] checks that
//! what was promised holds.
//!
//! Those who want to know what Quorate would do for them start with a [`Cluster`]: their N, R, W and latencies, their own load and
//! merge if they bring a [`Workload`], and an [`insight`] into how stale, how divergent and how available all that would be. Those
//! who test Quorate itself run seeds:
//!
//! ```
//! use quorate_simulation::run;
//!
//! let (one, other) = (run(7), run(7));
//! assert_eq!(one.violation, None);
//! assert_eq!(one.history, other.history);
//! ```

pub mod builder;
pub mod capacity;
pub mod catalogue;
pub mod choices;
mod client;
mod clock;
pub mod delay;
pub mod engine;
pub mod insight;
pub mod latency;
pub mod minimise;
mod node;
pub mod oracle;
pub mod plan;
mod queue;
pub mod scenario;
pub mod small_scope;
pub mod sometimes;
pub mod story;
pub mod workload;
pub mod zoo;

pub use builder::{Cluster, Report};
use choices::Choices;
pub use engine::{Outcome, Spread, Trace};
pub use minimise::minimise;
pub use plan::Plan;
pub use workload::Workload;

/// Runs the plan that a seed draws.
pub fn run(seed: u64) -> Outcome {
    let mut choices = Choices::new(seed);
    let plan = Plan::swarm(&mut choices);
    run_plan(plan, choices, Trace::Off)
}

/// Runs a plan with the decisions that its seed draws, and collects what its clients are told.
pub fn run_watched(plan: Plan) -> Outcome {
    let choices = Choices::new(plan.seed);
    engine::Simulation::new(plan, choices, Trace::Off).watched().run()
}

/// Runs a plan with these decisions.
pub fn run_plan(plan: Plan, choices: Choices, trace: Trace) -> Outcome {
    engine::Simulation::new(plan, choices, trace).run()
}
