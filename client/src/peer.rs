//! The way to one node: opens a connection, says hello, and opens the next one when that is lost.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::Endpoint;
use quorate_ring::wire::{Hello, Protocol, Role, Welcome};
use quorate_ring::{ClusterName, NodeId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::ConnectProblem;
use crate::link::{Link, LinkEnd, LinkTasks};
use crate::transport::{Credentials, FrameReceiver, FrameSender, node_server_name, quic};

/// The pause before a lost node is tried again; doubled each time it fails.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// The longest pause, so that a node that comes back is found soon.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long a handshake and the welcome may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// What is needed to open connections: sockets, certificates, the cluster's name.
pub(crate) struct Dialer {
    pub(crate) cluster: ClusterName,
    pub(crate) credentials: Credentials,
    endpoints: Mutex<Endpoints>,
}

/// One socket for each family of addresses, opened when first needed.
#[derive(Default)]
struct Endpoints {
    v4: Option<Endpoint>,
    v6: Option<Endpoint>,
}

/// A stream that was opened, and which node is at its other end.
pub(crate) struct Dialed {
    pub(crate) link: Link,
    pub(crate) tasks: LinkTasks,
}

impl Dialer {
    pub(crate) fn new(cluster: ClusterName, credentials: Credentials) -> Self {
        Self { cluster, credentials, endpoints: Mutex::default() }
    }

    /// Opens a stream to whoever listens at `host:port` and holds the name `name`.
    pub(crate) async fn dial(&self, address: &str, name: &str) -> Result<Dialed, ConnectProblem> {
        let wrong = |reason: String| ConnectProblem::Address { address: address.to_owned(), reason };
        let resolved = tokio::net::lookup_host(address).await.map_err(|error| wrong(error.to_string()))?;
        let mut last = wrong("it has no address of the internet".to_owned());
        for remote in resolved {
            match timeout(DIAL_TIMEOUT, self.dial_in_any(remote, name)).await {
                Ok(Ok(dialed)) => return Ok(dialed),
                Ok(Err(problem)) => last = problem,
                Err(_) => last = ConnectProblem::Silent,
            }
        }
        Err(last)
    }

    /// In the newest version of the protocol; in an older one, where the node takes only that.
    async fn dial_in_any(&self, remote: SocketAddr, name: &str) -> Result<Dialed, ConnectProblem> {
        let newest = Protocol::NEWEST;
        match self.dial_one(remote, name, newest).await {
            Err(ConnectProblem::Refused(refusal)) => match newest.instead(&refusal) {
                Some(older) => self.dial_one(remote, name, older).await,
                None => Err(refusal.into()),
            },
            result => result,
        }
    }

    async fn dial_one(&self, remote: SocketAddr, name: &str, protocol: Protocol) -> Result<Dialed, ConnectProblem> {
        let endpoint = self.endpoint(remote)?;
        let connecting = endpoint.connect_with(self.credentials.client_config(remote), remote, name);
        let connecting = connecting.map_err(|error| ConnectProblem::of_connect(&error, &remote.to_string()))?;
        let explain = |error| ConnectProblem::of_connection(&error, &self.credentials, name);
        let connection = connecting.await.map_err(explain)?;
        let (sender, receiver) = connection.open_bi().await.map_err(explain)?;
        let (mut sender, mut receiver) = (FrameSender::new(sender), FrameReceiver::new(receiver));
        self.greet(&mut sender, &mut receiver, (name, protocol)).await?;
        let (credentials, name) = (self.credentials.clone(), name.to_owned());
        let explain = move |end: LinkEnd| {
            let problem = match end {
                LinkEnd::Finished => ConnectProblem::Lost { reason: "the node closed the stream".to_owned() },
                LinkEnd::Send(error) => ConnectProblem::of_send(&error, &credentials, &name),
                LinkEnd::Receive(error) => ConnectProblem::of_receive(&error, &credentials, &name),
            };
            connection.close(quinn::VarInt::from_u32(0), b"the stream ended"); // Also keeps the connection until then.
            problem
        };
        let (link, tasks) = Link::start(sender, receiver, explain);
        Ok(Dialed { link, tasks })
    }

    async fn greet(
        &self,
        sender: &mut FrameSender,
        receiver: &mut FrameReceiver,
        (name, protocol): (&str, Protocol),
    ) -> Result<(), ConnectProblem> {
        let hello = Hello { protocol: protocol.number(), cluster: self.cluster.clone(), role: Role::Client };
        let explain = |error| ConnectProblem::of_send(&error, &self.credentials, name);
        sender.send(&hello).await.map_err(explain)?;
        match receiver.receive::<Welcome>().await {
            Ok(Some(Welcome::Accepted { .. })) => receiver.accept_large_frames(),
            Ok(Some(Welcome::Refused(refusal))) => return Err(refusal.into()),
            Ok(None) => return Err(ConnectProblem::Lost { reason: "the node closed the stream at once".to_owned() }),
            Err(error) => return Err(ConnectProblem::of_receive(&error, &self.credentials, name)),
        }
        Ok(())
    }

    fn endpoint(&self, remote: SocketAddr) -> Result<Endpoint, ConnectProblem> {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = if remote.is_ipv4() { &mut endpoints.v4 } else { &mut endpoints.v6 };
        if let Some(endpoint) = slot {
            return Ok(endpoint.clone());
        }
        let wrong =
            |error: std::io::Error| ConnectProblem::Address { address: remote.to_string(), reason: error.to_string() };
        Ok(slot.insert(quic::client_endpoint(remote).map_err(wrong)?).clone())
    }

    /// Closes all connections and waits, for a moment, until the nodes know.
    pub(crate) async fn close(&self) {
        let endpoints = std::mem::take(&mut *self.endpoints.lock().unwrap_or_else(PoisonError::into_inner));
        for endpoint in [endpoints.v4, endpoints.v6].into_iter().flatten() {
            endpoint.close(quinn::VarInt::from_u32(0), b"the client was closed");
            // Not reaching everybody is no failure: the others notice by themselves.
            let _ = timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
        }
    }
}

/// How a node can be reached now.
#[derive(Clone)]
pub(crate) enum Reach {
    /// Not known yet: the first connection is being opened.
    Connecting,
    /// Through this.
    Open(Link),
    /// Not, and why. It is being tried again.
    Down(ConnectProblem),
}

/// A node and the task that keeps a connection to it. Dropping it ends both.
pub(crate) struct Peer {
    reach: watch::Receiver<Reach>,
    address: watch::Sender<String>,
    task: JoinHandle<()>,
}

impl Peer {
    /// Begins to connect. `on_change` is told each time the node becomes reachable or not.
    pub(crate) fn start(
        dialer: Arc<Dialer>,
        node: NodeId,
        address: String,
        on_change: impl Fn(NodeId, &Reach) + Send + Sync + 'static,
    ) -> Self {
        let (sender, reach) = watch::channel(Reach::Connecting);
        let (address, addresses) = watch::channel(address);
        let task = tokio::spawn(async move { keep_connected(&dialer, node, addresses, &sender, on_change).await });
        Self { reach, address, task }
    }

    /// Uses another address from the next connection on.
    pub(crate) fn move_to(&self, address: &str) {
        self.address.send_if_modified(|current| {
            let other = current != address;
            if other {
                address.clone_into(current);
            }
            other
        });
    }

    /// How the node can be reached now.
    pub(crate) fn reach(&self) -> Reach {
        self.reach.borrow().clone()
    }

    /// Waits until it is known whether the node can be reached.
    pub(crate) fn known(&self) -> impl Future<Output = Reach> + Send + 'static {
        let mut reach = self.reach.clone();
        async move {
            match reach.wait_for(|reach| !matches!(reach, Reach::Connecting)).await {
                Ok(reach) => reach.clone(),
                Err(_) => Reach::Down(ConnectProblem::Lost { reason: "the client was closed".to_owned() }),
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_connected(
    dialer: &Dialer,
    node: NodeId,
    mut addresses: watch::Receiver<String>,
    reach: &watch::Sender<Reach>,
    on_change: impl Fn(NodeId, &Reach),
) {
    let tell = |now: Reach| {
        on_change(node, &now);
        reach.send_replace(now);
    };
    let name = node_server_name(&dialer.cluster, node);
    let mut pause = PAUSE_FIRST;
    loop {
        let address = addresses.borrow_and_update().clone();
        let problem = match dialer.dial(&address, &name).await {
            Ok(Dialed { link, mut tasks }) => {
                tracing::debug!(%node, address, "connected");
                pause = PAUSE_FIRST;
                tell(Reach::Open(link));
                tasks.closed().await
            }
            Err(problem) => problem,
        };
        tracing::debug!(%node, address, %problem, "not connected");
        tell(Reach::Down(problem));
        tokio::select! {
            () = sleep(pause) => {}
            _ = addresses.changed() => {}
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
