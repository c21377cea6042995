//! One Quorate storage node.
//!
//! The package is two things. Its **core** is the protocol as a deterministic state machine per shard, [`Shard`]: messages,
//! requests, storage completions and the time go in, and messages, replies and storage operations come out. It does no I/O and
//! builds without the feature `runtime` in seconds; the simulator runs exactly this code. The **runtime** (feature `runtime`)
//! gives the core threads, QUIC, RocksDB and a command line.
//!
//! ```text
//!            Input                        Output
//! client ──▶ ClientRequest ─┐        ┌──▶ Reply    ──▶ client
//! peers  ──▶ PeerMessage   ─┤ Shard  ├──▶ SendPeer ──▶ peers
//! store  ──▶ Completed     ─┤        └──▶ Store    ──▶ store
//! time   ──▶ handle_time   ─┘
//! ```
//!
//! Inside the core, requests are run by [`coordinator`] machines, one per client request; a node's data is kept by the
//! [`replica`] side, one operation per key at a time.

pub mod admission;
pub mod anti_entropy;
pub mod coordinator;
pub mod handoff;
pub mod limits;
pub mod membership;
pub mod replica;
#[cfg(feature = "runtime")]
pub mod runtime;
pub mod scrub;
pub mod shard;
pub mod start;
pub mod storage;

pub use quorate_ring::Time;
pub use shard::{Input, Output, Progress, SessionId, Shard, ShardConfig};
