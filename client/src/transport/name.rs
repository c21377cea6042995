//! The names that certificates carry, and who holds them.
//!
//! | holder | names (DNS) |
//! |---|---|
//! | node 7 of cluster `demo` | `n7.demo.quorate`, `demo.quorate` |
//! | a client of it | `client.demo.quorate` |
//!
//! The cluster's own name is held by all its nodes, so that a client can reach a seed without knowing which node it is.

use quorate_ring::{ClusterName, NodeId};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;

/// The name that only this node of the cluster holds.
pub fn node_server_name(cluster: &ClusterName, node: NodeId) -> String {
    format!("{node}.{cluster}.quorate")
}

/// The name that every node of the cluster holds.
pub fn cluster_server_name(cluster: &ClusterName) -> String {
    format!("{cluster}.quorate")
}

/// The name that clients of the cluster hold.
pub fn client_server_name(cluster: &ClusterName) -> String {
    format!("client.{cluster}.quorate")
}

/// Whether the other side's certificate, which the handshake has verified, carries this name.
///
/// `false` too while the handshake is not complete.
pub fn peer_holds_name(connection: &quinn::Connection, name: &str) -> bool {
    let Some(identity) = connection.peer_identity() else {
        return false;
    };
    let Ok(chain) = identity.downcast::<Vec<CertificateDer<'static>>>() else {
        return false;
    };
    chain.first().is_some_and(|certificate| certificate_holds_name(certificate, name))
}

fn certificate_holds_name(certificate: &CertificateDer<'_>, name: &str) -> bool {
    let (Ok(certificate), Ok(name)) = (ParsedCertificate::try_from(certificate), ServerName::try_from(name)) else {
        return false;
    };
    verify_server_name(&certificate, &name).is_ok()
}
