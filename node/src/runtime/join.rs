//! How a node that is to join finds the cluster: it asks nodes that are there for the layout, which from then on it has a copy of, and which
//! ring the cluster began with. It goes on asking until one answers, and ends where waiting would not help.

use std::net::SocketAddr;
use std::time::Duration;

use quinn::Endpoint;
use quorate_client::transport::{ConnectProblem, Credentials, FrameReceiver, FrameSender, cluster_server_name};
use quorate_client::{Client, Error};
use quorate_ring::layout::Layout;
use quorate_ring::version::Incarnation;
use quorate_ring::wire::{Hello, Protocol, Refusal, Role, Welcome};

use super::{NodeConfig, RunError, context_key};

/// How long one address may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// The pause before they are asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// What a cluster says to one that is to join.
pub(super) struct Found {
    /// The fingerprint of the ring that it began with.
    pub(super) first_ring: u64,
    /// A copy of its layout.
    pub(super) layout: Layout,
}

/// What kept an address from answering.
enum Problem {
    /// It may pass.
    Passing(String),
    /// It will not.
    Lasting(String),
}

/// Asks until one answers.
///
/// # Errors
/// [`RunError::Join`], if an address says that this node cannot join so.
pub(super) async fn find(
    config: &NodeConfig,
    credentials: &Credentials,
    endpoint: &Endpoint,
    incarnation: Incarnation,
) -> Result<Found, RunError> {
    let mut told = None;
    loop {
        let mut problems = Vec::new();
        for address in &config.cluster.join {
            match ask(config, credentials, endpoint, (address, incarnation)).await {
                Ok(found) => return Ok(found),
                Err(Problem::Lasting(reason)) => {
                    return Err(RunError::Join { address: address.clone(), reason });
                }
                Err(Problem::Passing(reason)) => problems.push(format!("{address}: {reason}")),
            }
        }
        let problems = problems.join("; ");
        if told.as_ref() != Some(&problems) {
            tracing::warn!(problems, "no node of cluster.join answers yet: asking again every second");
            told = Some(problems);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask(
    config: &NodeConfig,
    credentials: &Credentials,
    endpoint: &Endpoint,
    (address, incarnation): (&str, Incarnation),
) -> Result<Found, Problem> {
    // Whoever says that it knows no ring at all is told which it is.
    let first_ring = match greet(config, credentials, endpoint, (address, incarnation, 0)).await? {
        Welcome::Refused(Refusal::Ring { node, .. }) => node,
        Welcome::Refused(refusal) => return Err(of_refusal(&refusal)),
        Welcome::Accepted { .. } => return Err(Problem::Lasting("it does not tell its ring".to_owned())),
    };
    match greet(config, credentials, endpoint, (address, incarnation, first_ring)).await? {
        // It is no member yet, or it is one again: both are fine.
        Welcome::Refused(Refusal::Identity { .. }) | Welcome::Accepted { .. } => {}
        Welcome::Refused(refusal) => return Err(of_refusal(&refusal)),
    }
    let layout = layout(config, credentials, address).await?;
    Ok(Found { first_ring, layout })
}

/// Says who this is, and hears what the node says to that.
async fn greet(
    config: &NodeConfig,
    credentials: &Credentials,
    endpoint: &Endpoint,
    (address, incarnation, ring): (&str, Incarnation, u64),
) -> Result<Welcome, Problem> {
    let resolved = tokio::net::lookup_host(address).await;
    let resolved = resolved.map_err(|error| Problem::Passing(format!("cannot resolve it: {error}")))?;
    let role = Role::Peer { node: config.node, incarnation, ring, secret: context_key(config).fingerprint() };
    let hello = Hello { protocol: Protocol::NEWEST.number(), cluster: config.cluster.name.clone(), role };
    let mut problem = Problem::Passing("it has no address of the internet".to_owned());
    for remote in resolved {
        match tokio::time::timeout(ANSWER_TIME, greet_in_any(config, credentials, endpoint, (remote, &hello))).await {
            Ok(Ok(welcome)) => return Ok(welcome),
            Ok(Err(found)) => problem = of_problem(&found),
            Err(_) => problem = of_problem(&ConnectProblem::Silent),
        }
    }
    Err(problem)
}

/// In an older version of the protocol, where the node takes only that.
async fn greet_in_any(
    config: &NodeConfig,
    credentials: &Credentials,
    endpoint: &Endpoint,
    (remote, hello): (SocketAddr, &Hello),
) -> Result<Welcome, ConnectProblem> {
    let welcome = greet_one(config, credentials, endpoint, (remote, hello)).await?;
    let Welcome::Refused(refusal) = &welcome else { return Ok(welcome) };
    let Some(older) = Protocol::NEWEST.instead(refusal) else { return Ok(welcome) };
    greet_one(config, credentials, endpoint, (remote, &Hello { protocol: older.number(), ..hello.clone() })).await
}

async fn greet_one(
    config: &NodeConfig,
    credentials: &Credentials,
    endpoint: &Endpoint,
    (remote, hello): (SocketAddr, &Hello),
) -> Result<Welcome, ConnectProblem> {
    let name = cluster_server_name(&config.cluster.name);
    let connecting = endpoint.connect_with(credentials.client_config(remote), remote, &name);
    let connecting = connecting.map_err(|error| ConnectProblem::of_connect(&error, &remote.to_string()))?;
    let explain = |error| ConnectProblem::of_connection(&error, credentials, &name);
    let connection = connecting.await.map_err(explain)?;
    let (sender, receiver) = connection.open_bi().await.map_err(explain)?;
    let (mut sender, mut receiver) = (FrameSender::new(sender), FrameReceiver::new(receiver));
    sender.send(hello).await.map_err(|error| ConnectProblem::of_send(&error, credentials, &name))?;
    let welcome = receiver.receive::<Welcome>().await;
    connection.close(0_u32.into(), b"only asked");
    match welcome {
        Ok(Some(welcome)) => Ok(welcome),
        Ok(None) => Err(ConnectProblem::Lost { reason: "the node closed the stream at once".to_owned() }),
        Err(error) => Err(ConnectProblem::of_receive(&error, credentials, &name)),
    }
}

async fn layout(config: &NodeConfig, credentials: &Credentials, address: &str) -> Result<Layout, Problem> {
    let builder = Client::builder().seeds([address]).cluster(config.cluster.name.as_str());
    let client = builder.credentials(credentials.clone()).timeout(ANSWER_TIME).connect().await.map_err(of_error)?;
    let mut problem = Problem::Passing("no member of the cluster can be reached".to_owned());
    // Which of them listens at this address is not known, and any will do.
    for member in client.known_ring().members {
        match client.layout(member.node).await {
            Ok(layout) => {
                client.close().await;
                return Ok(layout);
            }
            Err(error) => problem = of_error(error),
        }
    }
    client.close().await;
    Err(problem)
}

fn of_error(error: Error) -> Problem {
    let reason = error.to_string();
    if error.is_transient() { Problem::Passing(reason) } else { Problem::Lasting(reason) }
}

fn of_problem(problem: &ConnectProblem) -> Problem {
    let reason = problem.to_string();
    if problem.is_transient() { Problem::Passing(reason) } else { Problem::Lasting(reason) }
}

fn of_refusal(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::Stopping => Problem::Passing(refusal.to_string()),
        refusal => Problem::Lasting(refusal.to_string()),
    }
}
