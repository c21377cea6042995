//! Names and weights of the members of a cluster.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::NAME_BYTES_MAX;

/// A node of a cluster: a number from 1 that its operator gives it and that it keeps for good. Shown as `n7`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(NonZeroU32);

impl NodeId {
    /// The node with this number; `None` for 0.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// Why a cluster's or a zone's name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is no valid name: 1 to {NAME_BYTES_MAX} of the characters a-z, 0-9 and '-', with a letter or digit at both ends"
)]
pub struct InvalidName {
    /// What was given, cut to a readable length.
    pub name: String,
}

fn check_name(name: &str) -> Result<Box<str>, InvalidName> {
    let bytes = name.as_bytes();
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = bytes.first().is_some_and(alphanumeric) && bytes.last().is_some_and(alphanumeric);
    if ends && bytes.len() <= NAME_BYTES_MAX && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-') {
        return Ok(name.into());
    }
    Err(InvalidName { name: name.chars().take(NAME_BYTES_MAX + 1).collect() })
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks a name: 1 to 63 of `a-z 0-9 -`, a letter or digit at both ends (a DNS label).
            ///
            /// # Errors
            /// [`InvalidName`] with the rule.
            pub fn new(name: &str) -> Result<Self, InvalidName> {
                check_name(name).map(Self)
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = String::deserialize(deserializer)?;
                Self::new(&name).map_err(serde::de::Error::custom)
            }
        }
    };
}

name_type! {
    /// The name of a cluster. Nodes and clients of one name refuse those of another.
    ClusterName
}
name_type! {
    /// The name of a zone: nodes that fail together (a rack, a room, a region). Replicas are spread over zones.
    ZoneName
}

/// How much a node holds beside its peers: twice the capacity, twice the partitions. From 1; default 100, so that nodes can be
/// tuned by the percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Capacity(NonZeroU32);

impl Capacity {
    /// This weight; `None` for 0.
    pub const fn new(weight: u32) -> Option<Self> {
        match NonZeroU32::new(weight) {
            Some(weight) => Some(Self(weight)),
            None => None,
        }
    }

    /// The weight.
    pub const fn weight(self) -> u32 {
        self.0.get()
    }
}

impl From<NonZeroU32> for Capacity {
    fn from(weight: NonZeroU32) -> Self {
        Self(weight)
    }
}

impl Default for Capacity {
    fn default() -> Self {
        Self(NonZeroU32::new(100).expect("100 is not 0"))
    }
}
