//! Taking connections: who is it, and may it speak to this node?

use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, Endpoint, Incoming};
use quorate_client::transport::{
    FrameReceiver, FrameSender, ReceiveError, client_server_name, cluster_server_name, node_server_name,
    peer_holds_name,
};
use quorate_ring::NodeId;
use quorate_ring::wire::{Hello, PROTOCOL_VERSION, Protocol, Refusal, Role, Welcome};

use super::link::{self, Peer, Streams};
use super::session;
use super::shared::Shared;

/// How long a stranger has to say who it is, and how long a refusal may take to be read.
const GREETING_TIME: Duration = Duration::from_secs(5);

/// A stream whose other side has been welcomed.
pub(super) struct Greeted {
    pub(super) streams: Streams,
    role: Role,
    /// What is spoken on it.
    pub(super) protocol: Protocol,
}

/// Takes connections until the endpoint is closed.
pub(super) async fn accept(shared: Arc<Shared>, endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(connection(shared.clone(), incoming));
    }
}

async fn connection(shared: Arc<Shared>, incoming: Incoming) {
    let remote = incoming.remote_address();
    let config = Arc::new(shared.credentials.server_config(Some(remote)));
    let accepted = match incoming.accept_with(config) {
        Ok(connecting) => connecting.await,
        Err(error) => Err(error),
    };
    let connection = match accepted {
        Ok(connection) => connection,
        Err(error) => return tracing::debug!(%remote, %error, "a connection failed before it was made"),
    };
    match tokio::time::timeout(GREETING_TIME, greet(&shared, &connection)).await {
        Ok(Ok(Some(Greeted { streams, role: Role::Peer { node, incarnation, .. }, protocol }))) => {
            link::accepted(shared, Peer { node, incarnation, protocol }, connection, streams).await;
        }
        Ok(Ok(Some(greeted))) => client(shared, connection, greeted).await,
        Ok(Ok(None)) => {}
        Ok(Err(error)) => tracing::debug!(%remote, %error, "a connection ended before its greeting"),
        Err(_) => tracing::debug!(%remote, "a connection said nothing and is closed"),
    }
}

/// Serves a client's streams until its connection ends.
async fn client(shared: Arc<Shared>, connection: Connection, first: Greeted) {
    let link = shared.next_link();
    shared.client_traffic.begin(link, &connection);
    tokio::spawn(session::serve(shared.clone(), first));
    while let Ok(Ok(Some(greeted))) = stream(&shared, &connection).await.map(Ok::<_, ReceiveError>) {
        match greeted.role {
            Role::Client => drop(tokio::spawn(session::serve(shared.clone(), greeted))),
            Role::Peer { .. } => break,
        }
    }
    shared.client_traffic.end(link);
}

async fn stream(shared: &Shared, connection: &Connection) -> Result<Option<Greeted>, ReceiveError> {
    greet(shared, connection).await
}

/// Takes the next stream of a connection and its greeting; `None` if it was refused.
pub(super) async fn greet(shared: &Shared, connection: &Connection) -> Result<Option<Greeted>, ReceiveError> {
    let (sender, receiver) = connection.accept_bi().await.map_err(ReceiveError::Connection)?;
    let (mut sender, mut receiver) = (FrameSender::new(sender), FrameReceiver::new(receiver));
    let Some(hello) = receiver.receive::<Hello>().await? else { return Ok(None) };
    let checked = check(shared, connection, &hello);
    let welcome = match &checked {
        Ok(_) => {
            let (node, incarnation) = (shared.node, shared.verdict.incarnation);
            Welcome::Accepted { protocol: PROTOCOL_VERSION, node, incarnation }
        }
        Err(refusal) => Welcome::Refused(refusal.clone()),
    };
    // A failure shows again at the first read or write.
    let _ = sender.send(&welcome).await;
    let protocol = match checked {
        Ok(protocol) => protocol,
        Err(refusal) => return refuse(shared, connection, &hello, &refusal, sender).await,
    };
    receiver.accept_large_frames();
    Ok(Some(Greeted { streams: Streams { sender, receiver }, role: hello.role, protocol }))
}

/// Tells of a refusal, here and there.
async fn refuse(
    shared: &Shared,
    connection: &Connection,
    hello: &Hello,
    refusal: &Refusal,
    mut sender: FrameSender,
) -> Result<Option<Greeted>, ReceiveError> {
    let remote = connection.remote_address();
    let is_unknown = |node: &NodeId| !shared.view().peers.contains_key(node);
    match &hello.role {
        // One that waits to be made a member tries again and again.
        Role::Peer { node, .. } if is_unknown(node) => tracing::debug!(%remote, %refusal, "refused a connection"),
        _ => tracing::warn!(%remote, %refusal, "refused a connection"),
    }
    sender.finish();
    let _ = tokio::time::timeout(GREETING_TIME, sender.delivered()).await;
    Ok(None)
}

/// Whether a stream may be opened; what is spoken on it.
fn check(shared: &Shared, connection: &Connection, hello: &Hello) -> Result<Protocol, Refusal> {
    let too_old = Refusal::Protocol { node: PROTOCOL_VERSION, yours: hello.protocol };
    let protocol = Protocol::NEWEST.agree(hello.protocol).ok_or(too_old)?;
    if hello.cluster != shared.cluster {
        return Err(Refusal::Cluster { node: shared.cluster.clone(), yours: hello.cluster.clone() });
    }
    if shared.is_stopping() {
        return Err(Refusal::Stopping);
    }
    match &hello.role {
        // A node may ask what a client may: one that is to join asks for the layout.
        Role::Client if peer_holds_name(connection, &cluster_server_name(&shared.cluster)) => {}
        Role::Client => holds(connection, &client_server_name(&shared.cluster))?,
        Role::Peer { node, ring, secret, .. } => check_peer(shared, connection, *node, (*ring, *secret))?,
    }
    Ok(protocol)
}

fn check_peer(
    shared: &Shared,
    connection: &Connection,
    node: NodeId,
    (ring, secret): (u64, u64),
) -> Result<(), Refusal> {
    let no_peer = || Refusal::Identity { claimed: format!("{node}, which is no peer of {}", shared.node) };
    if node == shared.node {
        return Err(no_peer());
    }
    holds(connection, &node_server_name(&shared.cluster, node))?;
    if ring != shared.first_ring {
        return Err(Refusal::Ring { node: shared.first_ring, yours: ring });
    }
    if secret != shared.secret {
        return Err(Refusal::Secret);
    }
    if !shared.view().peers.contains_key(&node) {
        return Err(no_peer());
    }
    Ok(())
}

fn holds(connection: &Connection, name: &str) -> Result<(), Refusal> {
    if peer_holds_name(connection, name) { Ok(()) } else { Err(Refusal::Identity { claimed: name.to_owned() }) }
}
