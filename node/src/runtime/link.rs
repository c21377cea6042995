//! Links: the one connection between this node and each peer, and what is said on it.
//!
//! The node with the lower number dials, so that two nodes do not end with two connections. A link has two streams: the foreground,
//! for what clients wait for, and the background. Beside them it carries the datagrams of the failure detector.
//!
//! ```text
//! (lower)  Away ──dial──▶ Greeting ──welcome──▶ Up ──any stream or the connection ends──▶ Away (dial again, later and later)
//! (higher) Away ──────────accepted────────────▶ Up ──────────────────────────────────────▶ Away
//! ```
//!
//! A newer link to a peer replaces an older one: the peer may have come back before the loss of its last connection was noticed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, Endpoint};
use quorate_client::transport::{
    ConnectProblem, FrameReceiver, FrameSender, ReceiveError, SendError, node_server_name,
};
use quorate_ring::NodeId;
use quorate_ring::version::Incarnation;
use quorate_ring::wire::{PeerMessage, Protocol, Refusal, Welcome};

use super::accept;
use super::outbox::outbox;
use super::shared::Shared;
use super::turn::{Event, LinkStreams};
use crate::shard::split;

/// How long dialing may take. A node that starts meanwhile answers the next dial sooner than the packets of this one are repeated.
const DIAL_TIME: Duration = Duration::from_secs(2);
/// The first pause between dials; each is twice the one before.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The two halves of a greeted stream.
pub(super) struct Streams {
    pub(super) sender: FrameSender,
    pub(super) receiver: FrameReceiver,
}

/// Who is at the other end of a link.
#[derive(Clone, Copy)]
pub(super) struct Peer {
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    /// What is spoken with it.
    pub(super) protocol: Protocol,
}

/// What a dial that was welcomed brings.
struct Dialed {
    connection: Connection,
    peer: Peer,
    foreground: Streams,
    background: Streams,
}

/// Keeps a link to a peer with a higher number, for as long as it takes part and the node runs.
pub(super) async fn keep(shared: Arc<Shared>, endpoint: Endpoint, peer: NodeId) {
    let mut pause = PAUSE_MIN;
    while !shared.is_stopping() {
        let Some(address) = shared.view().peers.get(&peer).map(|peer| peer.address.clone()) else { return };
        match dial(&shared, &endpoint, peer, &address).await {
            Ok(Dialed { connection, peer, foreground, background }) => {
                pause = PAUSE_MIN;
                run(&shared, peer, &connection, foreground, background).await;
            }
            Err(problem) => shared.disconnected(peer, problem),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.parted_from(peer) => return,
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Tries the addresses that a name stands for, one after the other.
async fn dial(shared: &Shared, endpoint: &Endpoint, peer: NodeId, address: &str) -> Result<Dialed, String> {
    let looking_up = tokio::time::timeout(DIAL_TIME, tokio::net::lookup_host(address)).await;
    let found = looking_up.map_err(|_| format!("looking up {address} takes too long"))?;
    let found = found.map_err(|error| format!("cannot resolve {address}: {error}"))?;
    let mut problem = format!("{address} has no address");
    for remote in found {
        match tokio::time::timeout(DIAL_TIME, connect_in_any(shared, endpoint, peer, remote)).await {
            Ok(Ok(dialed)) => return Ok(dialed),
            Ok(Err(reason)) => problem = reason,
            Err(_) => problem = format!("{address} does not answer"),
        }
    }
    Err(problem)
}

/// Why there is no link.
enum Failed {
    Refused(Refusal),
    Other(String),
}

impl From<Failed> for String {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Refused(refusal) => format!("refused: {refusal}"),
            Failed::Other(problem) => problem,
        }
    }
}

impl From<String> for Failed {
    fn from(problem: String) -> Self {
        Self::Other(problem)
    }
}

/// Connects in the newest version of the protocol; in an older one, where the peer takes only that.
async fn connect_in_any(
    shared: &Shared,
    endpoint: &Endpoint,
    peer: NodeId,
    remote: SocketAddr,
) -> Result<Dialed, String> {
    let newest = Protocol::NEWEST;
    match connect(shared, endpoint, (peer, newest), remote).await {
        Err(Failed::Refused(refusal)) => match newest.instead(&refusal) {
            Some(older) => Ok(connect(shared, endpoint, (peer, older), remote).await?),
            None => Err(Failed::Refused(refusal).into()),
        },
        result => Ok(result?),
    }
}

async fn connect(
    shared: &Shared,
    endpoint: &Endpoint,
    (peer, protocol): (NodeId, Protocol),
    remote: SocketAddr,
) -> Result<Dialed, Failed> {
    let name = node_server_name(&shared.cluster, peer);
    let config = shared.credentials.client_config(remote);
    let connecting = endpoint.connect_with(config, remote, &name).map_err(|error| format!("cannot dial: {error}"))?;
    let problem = |error| ConnectProblem::of_connection(&error, &shared.credentials, &name).to_string();
    let connection = connecting.await.map_err(problem)?;
    let (foreground, peer) = open(shared, &connection, (peer, protocol)).await?;
    let (background, _) = open(shared, &connection, (peer.node, protocol)).await?;
    Ok(Dialed { connection, peer, foreground, background })
}

/// Opens a stream and exchanges greetings on it.
async fn open(
    shared: &Shared,
    connection: &Connection,
    (node, protocol): (NodeId, Protocol),
) -> Result<(Streams, Peer), Failed> {
    let (sender, receiver) = connection.open_bi().await.map_err(|error| error.to_string())?;
    let (mut sender, mut receiver) = (FrameSender::new(sender), FrameReceiver::new(receiver));
    sender.send(&shared.hello(protocol)).await.map_err(|error| error.to_string())?;
    match receiver.receive::<Welcome>().await {
        Ok(Some(Welcome::Accepted { incarnation, protocol: theirs, .. })) => {
            let too_old =
                || format!("the peer speaks protocol version {theirs}, which is too old: bring it to a newer release");
            let protocol = protocol.agree(theirs).ok_or_else(too_old)?;
            receiver.accept_large_frames();
            Ok((Streams { sender, receiver }, Peer { node, incarnation, protocol }))
        }
        Ok(Some(Welcome::Refused(refusal))) => Err(Failed::Refused(refusal)),
        Ok(None) => Err("the peer closed the stream".to_owned().into()),
        Err(error) => Err(error.to_string().into()),
    }
}

/// Runs a link that a peer has dialed; its foreground stream is greeted.
pub(super) async fn accepted(shared: Arc<Shared>, peer: Peer, connection: Connection, foreground: Streams) {
    match tokio::time::timeout(DIAL_TIME, accept::greet(&shared, &connection)).await {
        Ok(Ok(Some(background))) => run(&shared, peer, &connection, foreground, background.streams).await,
        _ => tracing::debug!(peer = %peer.node, "a peer opened no background stream"),
    }
}

/// Runs a link until it ends.
async fn run(
    shared: &Arc<Shared>,
    Peer { node: peer, incarnation, protocol }: Peer,
    connection: &Connection,
    foreground: Streams,
    background: Streams,
) {
    let link = shared.next_link();
    let (mut front, mut back) = (foreground, background);
    front.sender.set_priority(1);
    let (foreground, front_drain) = outbox();
    let (background, back_drain) = outbox();
    let streams = LinkStreams { foreground, background, connection: connection.clone() };
    shared.send_all(|| Event::LinkUp { link, peer, incarnation, protocol, streams: streams.clone() }).await;
    drop(streams);
    shared.peers.connected(peer, link);
    shared.traffic.begin(link, connection);
    let sent = |result: Result<(), SendError>| result.err().map(|error| error.to_string());
    let received = |result: Result<(), ReceiveError>| result.err().map(|error| error.to_string());
    let receive = |mut receiver: FrameReceiver| async move {
        while let Some(message) = receiver.receive::<PeerMessage>().await? {
            if split::is_for_every_shard(&message) {
                shared.send_all(|| Event::Peer { link, from: peer, message: message.clone() }).await;
                continue;
            }
            let shard = shared.slices.shard_of_message(&message);
            shared.send(shard, Event::Peer { link, from: peer, message }).await;
        }
        Ok(())
    };
    let receive_datagrams = async {
        loop {
            match connection.read_datagram().await {
                Ok(datagram) => shared.send_datagram(Event::Datagram { link, from: peer, datagram }),
                Err(error) => break Some(error.to_string()),
            }
        }
    };
    let problem = tokio::select! {
        result = front_drain.run(&mut front.sender) => sent(result),
        result = back_drain.run(&mut back.sender) => sent(result),
        result = receive(front.receiver) => received(result),
        result = receive(back.receiver) => received(result),
        problem = receive_datagrams => problem,
        () = shared.parted_from(peer) => Some("it takes no part in the cluster any more".to_owned()),
    };
    connection.close(0_u32.into(), b"link ended");
    shared.traffic.end(link);
    shared.send_all(|| Event::LinkDown { link, peer }).await;
    shared.link_ended(peer, link, problem.unwrap_or_else(|| "the connection was closed".to_owned()));
}
