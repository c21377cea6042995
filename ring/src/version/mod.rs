//! Which version wins: dots, node clocks, containers and contexts.
//!
//! The version of a value is a [`Dot`]: which actor coordinated its write, and the how-manieth write of that actor on the
//! partition it was. The causal past does not live beside each value, but once per partition and replica, in the
//! [`NodeClock`]; what is stored of a key, its [`Container`], says only what the clock's base does not say already. So a quiet
//! key costs one dot, and a deleted key nothing (Goncalves, Almeida, Baquero, Fonte: "DottedDB: Anti-Entropy without Merkle
//! Trees, Deletes without Tombstones", SRDS 2017; "Concise Server-Wide Causality Management for Eventually Consistent Data
//! Stores", DAIS 2015).
//!
//! # The rules
//!
//! For each event in this order, as one step of the replica, with the data and the clock written in one batch:
//!
//! - **Read**: take the stored container (or [`Container::empty`]) and *fill* it with the clock's base. Merge the filled
//!   containers of several replicas with [`Container::sync`]. The merged vector, sealed with [`ContextKey::seal`], is the context.
//! - **Put**, at the coordinating replica: fill; *discard* what the request's context covers; *issue* the actor's next dot; *add*
//!   the value under it. The filled result and the dot go to the other replicas. *Strip* with the base; store.
//! - **Delete**: as a put, but *record* the dot in place of adding a value. If the stripped container is empty, remove the key.
//! - **Receive** a filled container, with its event or as a repair: fill; *sync*; only now add the event's dot and the dots of the
//!   received values to the clock; strip with the new base; store. Filled after the adding, the stored container would claim to
//!   know the new event without its value, and drop it as obsolete.
//! - **Join** a peer's clock only after all the containers that it vouches for were received. The vector of a container never
//!   goes into the clock: it speaks for one key, the clock for the partition.
//!
//! Filling and stripping go by the clock's contiguous [`NodeClock::base`] alone: an event beyond it says nothing of those in the
//! gap before it. What was stored with a vector can be stripped again when the base has grown; until then it only costs bytes.
//!
//! Each of these rules, broken alone, is caught by the test `version_laws`, which compares random histories with a model that
//! keeps whole sets of events.
//!
//! # Example
//!
//! Two replicas of a partition, and one key.
//!
//! ```
//! use quorate_ring::NodeId;
//! use quorate_ring::version::{Actor, Container, Dot, Incarnation, NodeClock, VersionVector};
//!
//! struct Replica {
//!     own: Actor,
//!     clock: NodeClock,
//!     stored: Container<&'static str>,
//! }
//!
//! impl Replica {
//!     fn read(&self) -> Container<&'static str> {
//!         let mut container = self.stored.clone();
//!         container.fill(self.clock.base());
//!         container
//!     }
//!
//!     /// A put, or a delete if there is no value. Returns what is sent to the other replicas.
//!     fn write(&mut self, value: Option<&'static str>, context: &VersionVector) -> (Dot, Container<&'static str>) {
//!         let mut container = self.read();
//!         container.discard(context);
//!         let dot = self.clock.issue(self.own);
//!         match value {
//!             Some(value) => container.add(dot, value),
//!             None => container.record(dot),
//!         }
//!         self.store(container.clone());
//!         (dot, container)
//!     }
//!
//!     fn receive(&mut self, (dot, received): (Dot, Container<&'static str>)) {
//!         let mut container = self.read();
//!         let seen: Vec<Dot> = received.dots().chain([dot]).collect();
//!         container.sync(received);
//!         for dot in seen {
//!             self.clock.add(dot);
//!         }
//!         self.store(container);
//!     }
//!
//!     fn store(&mut self, mut container: Container<&'static str>) {
//!         container.strip(self.clock.base());
//!         self.stored = container;
//!     }
//! }
//!
//! # fn main() -> Result<(), &'static str> {
//! let replica = |number| -> Result<Replica, &'static str> {
//!     let own = Actor::new(NodeId::new(number).ok_or("nodes count from 1")?, Incarnation::new(0x3fa9));
//!     Ok(Replica { own, clock: NodeClock::new(), stored: Container::empty() })
//! };
//! let (mut one, mut two) = (replica(1)?, replica(2)?);
//! let nothing = VersionVector::new();
//!
//! // Two puts that do not know of each other: both are kept.
//! let (tea, milk) = (one.write(Some("tea"), &nothing), two.write(Some("milk"), &nothing));
//! one.receive(milk);
//! two.receive(tea);
//! assert_eq!(one.read().siblings(), 2);
//! assert_eq!(one.read(), two.read());
//! assert!(one.stored.vector().is_empty(), "the clock says it all");
//!
//! // A put with the context of a read replaces exactly what the read saw.
//! let seen = one.read().vector().clone();
//! let both = two.write(Some("tea with milk"), &seen);
//! one.receive(both);
//! assert!(one.read().values().map(|(_, value)| *value).eq(["tea with milk"]));
//!
//! // A delete with a context leaves nothing to store, and no tombstone to collect.
//! let seen = two.read().vector().clone();
//! let (dot, gone) = one.write(None, &seen);
//! assert!(one.stored.is_empty());
//! two.receive((dot, gone));
//! assert!(two.stored.is_empty());
//! # Ok(())
//! # }
//! ```

mod container;
mod context;
mod dot;
#[cfg(test)]
mod golden;
mod node_clock;
mod version_vector;

pub use container::Container;
pub use context::{ContextKey, ContextToken, InvalidContext};
pub use dot::{Actor, Dot, Incarnation};
pub use node_clock::NodeClock;
pub use version_vector::VersionVector;

#[cfg(test)]
mod testing {
    //! Short names of actors, dots, vectors and keys for the tests of this module.

    use super::{Actor, Dot, Incarnation, VersionVector};
    use crate::{BucketName, Key, NodeId, ObjectKey};

    pub(super) fn actor(node: u32) -> Actor {
        Actor::new(NodeId::new(node).expect("not 0"), Incarnation::new(1))
    }

    pub(super) fn dot(node: u32, counter: u64) -> Dot {
        Dot::new(actor(node), counter)
    }

    pub(super) fn vector(dots: &[(u32, u64)]) -> VersionVector {
        dots.iter().map(|&(node, counter)| dot(node, counter)).collect()
    }

    pub(super) fn object_key(key: &str) -> ObjectKey {
        ObjectKey::new(&BucketName::new("b").expect("valid"), &Key::new(key.to_owned()).expect("valid"))
    }
}
