//! Everything that is said between peers and between clients and nodes, and how it is framed.
//!
//! A stream begins with a [`Hello`] from the side that opened it and a [`Welcome`] in answer; then
//!
//! ```text
//! client -> node   ClientMessage     node -> client   NodeMessage
//! node  <-> node   PeerMessage
//! ```
//!
//! each in one [`frame`]. Messages are MessagePack. The names of variants on the wire are given explicitly and, like the order
//! of fields, are part of the protocol: golden bytes pin both. Decoding never panics and allocates no more than the bytes
//! received account for.

pub(crate) mod bounded;
mod client_message;
mod error;
pub mod frame;
mod hello;
mod hint_message;
mod layout_message;
mod peer_message;
mod scrub_message;
mod sync_message;

pub use client_message::{
    ClientMessage, Durability, HintStatus, MemberDescription, NodeMessage, NodeStatus, PeerStatus, PutItem, Request,
    RequestId, Response, RingDescription, ScanItem, ScrubStatus, StartKind, SyncStatus, Usage,
};
pub use error::{ReplicaAnswer, RequestError};
pub use hello::{Hello, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, Protocol, Refusal, Role, Welcome};
pub use hint_message::{Handed, HintMessage, Taken};
pub use layout_message::{LayoutChange, LayoutMessage};
pub use peer_message::{ExchangeId, PeerMessage, ReplicaError, ReplicaPage, ReplicaRead, StoredObject};
pub use scrub_message::{HeldObject, Likeness, NamedKeys, ScrubMessage, ScrubObjects, ScrubRange};
pub use sync_message::{Piece, PieceObject, SyncMessage, TransferPage};
