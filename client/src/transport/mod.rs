//! What nodes and clients share to speak over QUIC: certificates and the names in them ([`credentials`], [`name`]), settings of
//! connections and sockets ([`quic`]), frames on streams ([`stream`]) and what failures to connect mean ([`problem`]).
//!
//! Both sides of every connection present a certificate signed by the cluster's CA (TLS 1.3, RFC 8446, carried by QUIC, RFC
//! 9001). Nothing here knows about requests, rings or retries.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the border of I/O")]

pub mod credentials;
pub mod name;
pub mod problem;
pub mod quic;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod socket;
pub mod stream;

pub use credentials::{Credentials, CredentialsError};
pub use name::{client_server_name, cluster_server_name, node_server_name, peer_holds_name};
pub use problem::ConnectProblem;
pub use stream::{FrameReceiver, FrameSender, ReceiveError, SendError};
