//! What requests cost: what all nodes have used of their machines meanwhile, and this program of its own.
//!
//! Each node tells its own counts in its status. All that it does counts, also what it does by itself: syncing, compacting, comparing with its peers.

use std::collections::BTreeMap;

use quorate_client::Client;
use quorate_node::runtime::cpu_micros;
use quorate_ring::NodeId;
use quorate_ring::wire::{NodeStatus, Usage};
use serde::Serialize;

use crate::cli::human;

/// Counts, or shares of them; what is not known of all nodes is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Cost<T> {
    /// CPU time of all nodes, in microseconds.
    pub(super) cpu_micros_nodes: Option<T>,
    /// CPU time of this program, in microseconds.
    pub(super) cpu_micros_bench: Option<T>,
    /// How often threads of nodes left a core.
    pub(super) context_switches: Option<T>,
    /// Bytes of UDP datagrams from node to node.
    pub(super) bytes_between_nodes: Option<T>,
    /// Bytes of UDP datagrams between nodes and clients, both ways.
    pub(super) bytes_with_clients: Option<T>,
    /// Bytes that nodes had written to disks.
    pub(super) disk_bytes_written: Option<T>,
    /// Bytes that nodes had read from disks.
    pub(super) disk_bytes_read: Option<T>,
}

/// What was counted since the start of each process, at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    cost: Cost<u64>,
    /// Resident bytes of each node that tells them.
    pub(super) memory: BTreeMap<NodeId, u64>,
}

impl<T: Copy> Cost<T> {
    fn zip<U: Copy, V>(self, other: Cost<U>, with: impl Fn(T, U) -> Option<V>) -> Cost<V> {
        let both = |one: Option<T>, other: Option<U>| one.zip(other).and_then(|(one, other)| with(one, other));
        Cost {
            cpu_micros_nodes: both(self.cpu_micros_nodes, other.cpu_micros_nodes),
            cpu_micros_bench: both(self.cpu_micros_bench, other.cpu_micros_bench),
            context_switches: both(self.context_switches, other.context_switches),
            bytes_between_nodes: both(self.bytes_between_nodes, other.bytes_between_nodes),
            bytes_with_clients: both(self.bytes_with_clients, other.bytes_with_clients),
            disk_bytes_written: both(self.disk_bytes_written, other.disk_bytes_written),
            disk_bytes_read: both(self.disk_bytes_read, other.disk_bytes_read),
        }
    }
}

impl Cost<u64> {
    const NOTHING: Self = Self {
        cpu_micros_nodes: Some(0),
        cpu_micros_bench: Some(0),
        context_switches: Some(0),
        bytes_between_nodes: Some(0),
        bytes_with_clients: Some(0),
        disk_bytes_written: Some(0),
        disk_bytes_read: Some(0),
    };

    /// Of one node, whose share of this program's time is nothing.
    fn of(status: &NodeStatus) -> Self {
        let usage: Option<Usage> = status.usage;
        Self {
            // A node that serves has used some, so that 0 says that its kernel does not tell.
            cpu_micros_nodes: Some(status.cpu_micros).filter(|micros| 0 < *micros),
            cpu_micros_bench: Some(0),
            context_switches: usage.and_then(|usage| usage.context_switches),
            bytes_between_nodes: usage.map(|usage| usage.peer_bytes_sent),
            bytes_with_clients: usage.map(|usage| usage.client_bytes_sent + usage.client_bytes_received),
            disk_bytes_written: usage.and_then(|usage| usage.disk_bytes_written),
            disk_bytes_read: usage.and_then(|usage| usage.disk_bytes_read),
        }
    }

    /// For each of so many operations.
    pub(super) fn each(self, operations: u64) -> Cost<f64> {
        self.zip(Self::NOTHING, |count, _| Some(count as f64 / operations.max(1) as f64))
    }
}

impl Cost<f64> {
    /// CPU of all nodes, in a cell of a table.
    pub(super) fn cpu_cell(&self) -> String {
        self.cpu_micros_nodes.map_or_else(|| "unknown".to_owned(), |micros| format!("{micros:.1} µs"))
    }

    /// In two lines.
    pub(super) fn describe(&self) -> String {
        let known =
            |number: Option<f64>, text: &dyn Fn(f64) -> String| number.map_or_else(|| "unknown".to_owned(), text);
        let micros = |number| known(number, &|micros| format!("{micros:.1} µs"));
        let bytes = |number| known(number, &|bytes| human::bytes(bytes.round() as u64));
        format!(
            "CPU for each: {} of all nodes, {} of this program\n\
             of all nodes for each: context switches {}; between them {}; with clients {}; written to disk {}, read {}\n",
            micros(self.cpu_micros_nodes),
            micros(self.cpu_micros_bench),
            known(self.context_switches, &|count| format!("{count:.1}")),
            bytes(self.bytes_between_nodes),
            bytes(self.bytes_with_clients),
            bytes(self.disk_bytes_written),
            bytes(self.disk_bytes_read),
        )
    }
}

impl Counts {
    /// Asks all nodes.
    pub(super) async fn ask(client: Client) -> Self {
        let statuses: Vec<_> = client.statuses().await.into_iter().map(|(node, status)| (node, status.ok())).collect();
        let add = |sum: Cost<u64>, status: Option<&NodeStatus>| {
            sum.zip(status.map(Cost::of).unwrap_or_default(), u64::checked_add)
        };
        let nodes = statuses.iter().map(|(_, status)| status.as_ref()).fold(Cost::NOTHING, add);
        let memory = statuses.into_iter().filter_map(|(node, status)| Some((node, status?.memory_bytes)));
        Self {
            cost: Cost { cpu_micros_bench: cpu_micros(), ..nodes },
            memory: memory.filter(|(_, bytes)| 0 < *bytes).collect(),
        }
    }

    /// What was used since then. Of a node that was started anew meanwhile nobody knows it.
    pub(super) fn since(&self, before: &Self) -> Cost<u64> {
        self.cost.zip(before.cost, u64::checked_sub)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(cost: Cost<u64>) -> Counts {
        Counts { cost, memory: BTreeMap::new() }
    }

    #[test]
    fn what_is_not_known_stays_unknown() {
        let (before, after) = (counts(Cost::NOTHING), counts(Cost { disk_bytes_read: None, ..Cost::NOTHING }));
        let cost = after.since(&before).each(10);
        assert_eq!((cost.disk_bytes_read, cost.disk_bytes_written), (None, Some(0.0)));
        assert!(cost.describe().contains("written to disk 0 B, read unknown"), "{}", cost.describe());
    }

    #[test]
    fn a_node_that_was_started_anew_makes_its_counts_unknown() {
        let before = counts(Cost { context_switches: Some(100), ..Cost::NOTHING });
        let after = counts(Cost { context_switches: Some(7), bytes_with_clients: Some(300), ..Cost::NOTHING });
        let cost = after.since(&before).each(3);
        assert_eq!((cost.context_switches, cost.bytes_with_clients), (None, Some(100.0)));
    }
}
