//! Who takes part, as a node's connections see it: made anew of each copy of the layout.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_ring::layout::{Change, Epoch, Layout, Placement, Role};
use quorate_ring::wire::{MemberDescription, RingDescription};
use quorate_ring::{ClusterName, NodeId};

/// One copy of the layout, and what follows from it for one node.
pub(super) struct View {
    pub(super) layout: Arc<Layout>,
    pub(super) placement: Arc<Placement>,
    /// The ring that this node reads by, as clients are told it: all of its members hold what they are asked for.
    pub(super) description: RingDescription,
    /// Every other node that takes part, is wished to, or did a moment ago.
    pub(super) peers: BTreeMap<NodeId, PeerView>,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PeerView {
    /// Where it is reached.
    pub(super) address: String,
    pub(super) part: Part,
}

/// What part it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// It is a member, or is wished to be one.
    Expected,
    /// It was removed by force, or takes no part any more: it is heard, and not missed.
    Parting,
}

impl View {
    /// What a copy says to a node. `parting` are those that took part until a moment ago, and where they are reached.
    pub(super) fn new(
        own: NodeId,
        cluster: &ClusterName,
        layout: Arc<Layout>,
        parting: impl Iterator<Item = (NodeId, String)>,
    ) -> Self {
        let placement = Arc::new(layout.placement(own));
        let mut peers = peers(own, &layout, &placement);
        for (node, address) in parting {
            peers.entry(node).or_insert(PeerView { address, part: Part::Parting });
        }
        let description = describe(cluster, &layout, &placement);
        Self { layout, placement, description, peers }
    }

    /// Whether a node is a member by a live epoch, or is wished to be one.
    pub(super) fn takes_part(&self, node: NodeId) -> bool {
        self.placement.member(node).is_some() || role(self.layout.wished(node).map(|wish| &wish.change)).is_some()
    }
}

fn peers(own: NodeId, layout: &Layout, placement: &Placement) -> BTreeMap<NodeId, PeerView> {
    let mut peers = BTreeMap::new();
    let mut add = |node: NodeId, address: &str| {
        let part = if placement.is_removed(node) { Part::Parting } else { Part::Expected };
        peers.entry(node).or_insert_with(|| PeerView { address: address.to_owned(), part });
    };
    // What the newest epoch says of a node counts, and of one that is in none what is wished.
    for epoch in layout.live().iter().rev() {
        roles(epoch).for_each(|(node, role)| add(node, &role.address));
    }
    for (node, wish) in layout.staged() {
        role(Some(&wish.change)).into_iter().for_each(|role| add(node, &role.address));
    }
    peers.remove(&own);
    peers
}

fn role(change: Option<&Change>) -> Option<&Role> {
    match change {
        Some(Change::Take(role)) => Some(role),
        Some(Change::Leave { .. }) | None => None,
    }
}

/// The members of an epoch, by rising id, as its ring has them.
fn roles(epoch: &Epoch) -> impl Iterator<Item = (NodeId, &Role)> {
    epoch.wishes().filter_map(|(node, wish)| role(Some(&wish.change)).map(|role| (node, role)))
}

fn describe(cluster: &ClusterName, layout: &Layout, placement: &Placement) -> RingDescription {
    let read = placement.read_epoch();
    let epoch = layout.live().iter().find(|epoch| epoch.id() == read).expect("a placement is of its layout's epochs");
    let member = |(node, role): (NodeId, &Role)| MemberDescription {
        node,
        address: role.address.clone(),
        zone: role.zone.clone(),
        capacity: role.capacity,
    };
    RingDescription {
        cluster: cluster.clone(),
        replicas: epoch.ring.replicas(),
        partitions: epoch.ring.partitions(),
        members: roles(epoch).map(member).collect(),
        owners: epoch.ring.owners().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use quorate_ring::{Capacity, PartitionCount};

    use super::*;

    fn node(number: u32) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    fn role(number: u32) -> Role {
        Role { address: format!("h{number}:1"), zone: None, capacity: Capacity::default() }
    }

    fn layout() -> Layout {
        let roles = (1..=4).map(|number| (node(number), role(number))).collect();
        Layout::new(PartitionCount::new(8).expect("a power of two"), 3, roles).expect("enough")
    }

    fn view(layout: Layout) -> View {
        View::new(node(1), &ClusterName::new("c").expect("valid"), Arc::new(layout), std::iter::empty())
    }

    fn peers(view: &View) -> Vec<(u32, &str, Part)> {
        view.peers.iter().map(|(node, peer)| (node.number(), &*peer.address, peer.part)).collect()
    }

    #[test]
    fn whoever_is_wished_to_take_part_is_a_peer_before_it_is_a_member() {
        let mut layout = layout();
        layout.wish(node(1), node(7), Change::Take(role(7)));
        let view = view(layout);
        assert!(view.takes_part(node(7)) && !view.takes_part(node(8)));
        assert_eq!(view.peers.keys().map(|node| node.number()).collect::<Vec<_>>(), [2, 3, 4, 7]);
        assert_eq!(view.description.members.len(), 4, "clients hear of members only");
    }

    #[test]
    fn an_address_counts_once_it_is_committed() {
        let mut layout = layout();
        layout.wish(node(1), node(2), Change::Take(Role { address: "new:1".to_owned(), ..role(2) }));
        assert_eq!(peers(&view(layout.clone()))[0], (2, "h2:1", Part::Expected));
        let proposed = layout.propose().expect("it can be").epoch.id();
        layout.commit(node(1), proposed).expect("it was proposed just now");
        assert_eq!(peers(&view(layout))[0], (2, "new:1", Part::Expected));
    }

    #[test]
    fn who_was_removed_by_force_is_not_missed() {
        let mut layout = layout();
        layout.wish(node(1), node(4), Change::Leave { forced: true });
        let proposed = layout.propose().expect("it can be").epoch.id();
        layout.commit(node(1), proposed).expect("it was proposed just now");
        assert_eq!(peers(&view(layout))[2], (4, "h4:1", Part::Parting));
    }
}
