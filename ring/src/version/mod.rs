//! Which version wins: dots, clocks, containers and contexts.

mod container;
mod context;
mod dot;
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
