//! A crash at every single step of one operation (P8): each node, at each input it takes, after each part of that input's outputs.

use super::moves::Operation;
use super::{Covered, Failure, run};
use crate::catalogue::FaultId;
use crate::plan::Plan;
use crate::plan::fault::Fault;
use crate::scenario::script::{Scenario, islands, power_loss};

/// How the node dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Its process dies.
    Process,
    /// And while it is down the machine loses power, and what was not synced.
    Power,
}

const OPERATIONS: [Operation; 4] = [Operation::Blind, Operation::Put, Operation::Delete, Operation::Get];
/// Each part of up to four outputs.
const OUTPUTS: [u16; 7] = [0, 250, 333, 500, 667, 750, 1_000];
/// More inputs than any node takes in one operation.
const INPUTS_MAX: u32 = 100;

/// Tries them all. Before the operation, one replica lacks a write, so that there is something to repair; after it, another client
/// reads.
///
/// # Errors
/// The first that ended otherwise than it has to.
pub fn crashes() -> Result<Covered, Failure> {
    let mut covered = Covered::default();
    for operation in OPERATIONS {
        for node in 1..=3 {
            let inputs = (0..INPUTS_MAX).take_while(|inputs| dies(operation, node, *inputs));
            for inputs in inputs {
                for (outputs, death) in
                    OUTPUTS.into_iter().flat_map(|part| [(part, Death::Process), (part, Death::Power)])
                {
                    let plan = plan(operation, Fault::CrashAt { node, inputs, outputs }, death);
                    let words =
                        || format!("{operation:?}, n{node} dies at input {inputs} after {outputs} of 1,000, {death:?}");
                    run(&plan, words, &mut covered)?;
                }
            }
        }
    }
    Ok(covered)
}

/// Whether a node takes so many inputs in the course of an operation.
fn dies(operation: Operation, node: u32, inputs: u32) -> bool {
    let plan = plan(operation, Fault::CrashAt { node, inputs, outputs: 0 }, Death::Process);
    0 < crate::run_watched(plan).fired.count(FaultId::P8)
}

fn plan(operation: Operation, crash: Fault, death: Death) -> Plan {
    let mut run = Scenario::of(3);
    run.at(50).client(0).asking(1).puts(0);
    run.between(60, 90, islands(&[&[1, 2], &[3]]));
    run.at(70).client(1).asking(2).puts(0);
    run.at(150).client(0).asking(2).gets(0);
    let node = crash.nodes()[0];
    run.between(500, 501, crash);
    if death == Death::Power {
        run.between(515, 530, power_loss(&[node]));
    }
    let doing = run.at(500).client(0).asking(1).within(100);
    match operation {
        Operation::Blind => doing.blindly().puts(0),
        Operation::Put => doing.puts(0),
        Operation::Delete => doing.deletes(0),
        Operation::Get => doing.with_quorum(3).gets(0),
    };
    run.at(900).client(1).asking(2).gets(0);
    run.until(1_300);
    run.plan
}
