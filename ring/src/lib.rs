//! Quorate's pure values: who owns what ([`Ring`], [`PreferenceList`], [`claim`]), which version wins ([`version`]), and what
//! is said on the wire ([`wire`]).
//!
//! Nothing here does I/O, reads a clock, draws a random number or keeps global state, so every other package, the simulator
//! and other tools can build on it in seconds.

pub mod claim;
mod key;
pub mod layout;
pub mod limits;
mod node_id;
mod position;
mod preference_list;
mod quorum;
mod ring;
mod stored_value;
mod time;
mod ttl;
pub mod version;
pub mod wire;

pub use key::{BucketName, InvalidKey, InvalidValue, Key, ObjectKey, Value};
pub use node_id::{Capacity, ClusterName, InvalidName, NodeId, ZoneName};
pub use position::{InvalidPartitionCount, PartitionCount, PartitionId, Position};
pub use preference_list::{PreferenceList, Replica, ReplicaKind};
pub use quorum::{InvalidQuorum, Quorum};
pub use ring::{InvalidRing, Member, Ring};
pub use stored_value::StoredValue;
pub use time::{Time, WallTime};
pub use ttl::{InvalidTtl, Ttl};
