//! Who writes and which write: [`Incarnation`], [`Actor`], and [`Dot`], the identity of one write event.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::NodeId;

/// One life of a node's store. A node whose store may have lost anything starts under a new one, drawn at random, so that no
/// dot is ever issued twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(u64);

impl Incarnation {
    /// The incarnation with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// In hexadecimal, whole.
impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Who issues dots: one incarnation of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// Which node.
    pub node: NodeId,
    /// Which of its lives.
    pub incarnation: Incarnation,
}

impl Actor {
    /// The actor that this node is in this incarnation.
    pub const fn new(node: NodeId, incarnation: Incarnation) -> Self {
        Self { node, incarnation }
    }
}

/// Whole: `n1.3fa9c04b7d21e6f8`.
impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.incarnation)
    }
}

/// Short: `n1.3fa9…`, enough to tell a node's few incarnations apart.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4;
        let digits = self.incarnation.to_string();
        match digits.get(..SHOWN) {
            Some(shown) if SHOWN < digits.len() => write!(f, "{}.{shown}…", self.node),
            _ => write!(f, "{}.{digits}", self.node),
        }
    }
}

/// The identity of one write event on one partition: the actor that coordinated it, and its number among that actor's events
/// there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// Who issued it.
    pub actor: Actor,
    /// From 1, without gaps at the actor itself.
    #[serde(deserialize_with = "counter")]
    pub counter: u64,
}

impl Dot {
    /// The actor's event with this number.
    pub const fn new(actor: Actor, counter: u64) -> Self {
        Self { actor, counter }
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:{}", self.actor, self.counter)
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.actor, self.counter)
    }
}

fn counter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match u64::deserialize(deserializer)? {
        0 => Err(serde::de::Error::custom("a dot's counter is 0; it starts at 1")),
        counter => Ok(counter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_are_shown_short_and_debugged_whole() {
        let node = NodeId::new(1).expect("not 0");
        let long = Actor::new(node, Incarnation::new(0x3fa9_c04b_7d21_e6f8));
        assert_eq!((long.to_string(), format!("{long:?}")), ("n1.3fa9…".to_owned(), "n1.3fa9c04b7d21e6f8".to_owned()));
        assert_eq!(Dot::new(Actor::new(node, Incarnation::new(0xa)), 7).to_string(), "n1.a:7");
    }

    #[test]
    fn an_incarnation_is_its_number() {
        assert_eq!(Incarnation::new(0xa).number(), 10);
    }

    #[test]
    fn dot_zero_is_refused() {
        let bytes = rmp_serde::to_vec(&((1, 2), 0)).expect("encodes");
        assert!(rmp_serde::from_slice::<Dot>(&bytes).is_err());
    }
}
