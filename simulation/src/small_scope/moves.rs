//! The moves of the search, and the plan of a sequence of them.

use std::fmt;

use super::Scope;
use crate::plan::Plan;
use crate::plan::fault::Fault;
use crate::scenario::script::{Scenario, crash, empty_disks, islands, power_loss};

/// One step of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// A client asks a node.
    Ask {
        /// Which client.
        client: usize,
        /// Which node.
        node: u32,
        /// What for.
        operation: Operation,
    },
    /// A fault begins.
    Begin {
        /// Whose.
        node: u32,
        /// Which.
        trouble: Trouble,
    },
    /// The fault of a node ends.
    End {
        /// Whose.
        node: u32,
    },
}

/// What is asked of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A write that does not say what its client has seen.
    Blind,
    /// A write with the last context the client has.
    Put,
    /// A delete with the last context the client has.
    Delete,
    /// A read.
    Get,
}

/// What happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Its links are cut.
    Isolated,
    /// What is sent to and by it waits, and comes at the end.
    Clogged,
    /// Its process dies, and starts at the end.
    Crashed,
    /// It loses power and all that was not synced, and starts at the end.
    WithoutPower,
    /// It gets empty disks, and starts at the end.
    Emptied,
}

const NODES: u32 = 3;
const CLIENTS: usize = 2;
const OPERATIONS: [Operation; 4] = [Operation::Blind, Operation::Put, Operation::Delete, Operation::Get];
const TROUBLES: [Trouble; 5] =
    [Trouble::Isolated, Trouble::Clogged, Trouble::Crashed, Trouble::WithoutPower, Trouble::Emptied];
/// Longer than anything that a step sets going.
const STEP_MILLIS: u64 = 500;
const WITHIN_MILLIS: u64 = 100;
/// Later than the end of all sequences.
const NEVER_MILLIS: u64 = 50_000;

/// A sequence of moves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position(Vec<Move>);

impl Position {
    /// Nothing has happened yet.
    pub fn start() -> Self {
        Self::default()
    }

    /// Makes a move.
    pub fn push(&mut self, next: Move) {
        self.0.push(next);
    }

    /// Takes the last move back.
    pub fn pop(&mut self) {
        self.0.pop();
    }

    /// All moves from here, but those that are others under another name.
    pub fn moves(&self, left: Scope) -> Vec<Move> {
        let mut moves = Vec::new();
        let named = self.0.iter().map(|known| known.node()).max().unwrap_or(0);
        let nodes = 1..=NODES.min(named + 1);
        if 0 < left.operations {
            for node in nodes.clone() {
                moves.extend(self.asks(node));
            }
        }
        for node in nodes {
            match self.trouble(node) {
                Some(_) => moves.push(Move::End { node }),
                None if 0 < left.faults => {
                    moves.extend(TROUBLES.map(|trouble| Move::Begin { node, trouble }));
                }
                None => {}
            }
        }
        moves
    }

    fn asks(&self, node: u32) -> impl Iterator<Item = Move> {
        let acted =
            |client: usize| self.0.iter().any(|known| matches!(known, Move::Ask { client: by, .. } if *by == client));
        let clients = if acted(0) { CLIENTS } else { 1 };
        let acted = [acted(0), acted(1)];
        let choices = (0..clients).flat_map(|client| OPERATIONS.map(|operation| (client, operation)));
        // Without a context a put is a blind one and a delete a read; blind ones are alike whoever makes them, but for what
        // is remembered.
        let is_own = move |(client, operation): &(usize, Operation)| match operation {
            Operation::Put | Operation::Delete => acted[*client],
            Operation::Blind | Operation::Get => true,
        };
        choices.filter(is_own).map(move |(client, operation)| Move::Ask { client, node, operation })
    }

    /// The fault that a node has now.
    fn trouble(&self, node: u32) -> Option<Trouble> {
        self.0.iter().rev().find_map(|known| match known {
            Move::Begin { node: whose, trouble } if *whose == node => Some(Some(*trouble)),
            Move::End { node: whose } if *whose == node => Some(None),
            _ => None,
        })?
    }

    /// The faults that go on, in words, and who may still be named or act: what of a sequence matters beside the state it led to.
    pub fn open(&self) -> String {
        let named = self.0.iter().map(|known| known.node()).max();
        let acted = |client| self.0.iter().any(|known| matches!(known, Move::Ask { client: by, .. } if *by == client));
        format!("{:?} {named:?} {:?}", [1, 2, 3].map(|node| self.trouble(node)), [acted(0), acted(1)])
    }

    /// The plan of the sequence.
    pub fn plan(&self) -> Plan {
        let mut run = Scenario::of(NODES);
        // Where a sweep is would tell states apart that are the same otherwise.
        run.plan.cluster.sweeps = false;
        run.plan.clients.resize_with(CLIENTS, Default::default);
        let time = |index: usize| 50 + STEP_MILLIS * index as u64;
        for (index, next) in self.0.iter().enumerate() {
            match *next {
                Move::Ask { client, node, operation } => {
                    let doing = run.at(time(index)).client(client).asking(node).within(WITHIN_MILLIS);
                    match operation {
                        Operation::Blind => doing.blindly().puts(0),
                        Operation::Put => doing.puts(0),
                        Operation::Delete => doing.deletes(0),
                        Operation::Get => doing.gets(0),
                    };
                }
                Move::Begin { node, trouble } => {
                    let ends = (index..self.0.len()).find(|later| self.0[*later] == Move::End { node });
                    let end = ends.map_or(NEVER_MILLIS, time);
                    run.between(time(index), end, trouble.of(node));
                }
                Move::End { .. } => {}
            }
        }
        run.until(time(self.0.len()));
        run.plan
    }
}

impl Move {
    fn node(&self) -> u32 {
        match self {
            Self::Ask { node, .. } | Self::Begin { node, .. } | Self::End { node } => *node,
        }
    }
}

impl Trouble {
    fn of(self, node: u32) -> Fault {
        let others: Vec<u32> = (1..=NODES).filter(|other| *other != node).collect();
        match self {
            Self::Isolated => islands(&[&[node], &others]),
            Self::Clogged => Fault::Clog { links: others.iter().map(|other| [node, *other]).collect() },
            Self::Crashed => crash(node),
            Self::WithoutPower => power_loss(&[node]),
            Self::Emptied => empty_disks(node),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, next) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", then " })?;
            match next {
                Move::Ask { client, node, operation } => write!(f, "client {client} {operation:?} at n{node}"),
                Move::Begin { node, trouble } => write!(f, "n{node} {trouble:?}"),
                Move::End { node } => write!(f, "n{node} as before"),
            }?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_that_are_others_under_another_name_are_left_out() {
        let scope = Scope { operations: 4, faults: 3 };
        let mut position = Position::start();
        let first = position.moves(scope);
        assert_eq!(first.len(), 2 + TROUBLES.len(), "client 0 and n1, and nothing to put or delete on");
        position.push(Move::Ask { client: 0, node: 1, operation: Operation::Get });
        let second = position.moves(scope);
        assert_eq!(second.len(), 2 * (4 + 2) + 2 * TROUBLES.len(), "two nodes, and two clients");
        position.push(Move::Begin { node: 2, trouble: Trouble::Isolated });
        let third = position.moves(Scope { operations: 0, faults: 0 });
        assert_eq!(third, [Move::End { node: 2 }]);
    }
}
