//! [`Builder`]: describes a client, and connects it through whichever seed answers.
#![expect(clippy::disallowed_methods, reason = "a client may be described by its environment")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate_ring::wire::{Request, Response, RingDescription};
use quorate_ring::{ClusterName, ZoneName};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{Client, unexpected};
use crate::error::{Said, Tried};
use crate::operation::Fate;
use crate::peer::{Dialed, Dialer};
use crate::routing::Router;
use crate::transport::{Credentials, cluster_server_name};
use crate::{ConnectProblem, Error};

/// How long a request may take unless it says otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Describes a client. Cluster, seeds and credentials are needed, the rest has defaults.
///
/// ```no_run
/// # async fn run() -> Result<(), quorate_client::Error> {
/// use std::path::Path;
/// use std::time::Duration;
///
/// use quorate_client::Client;
/// use quorate_client::transport::Credentials;
///
/// let client = Client::builder()
///     .cluster("demo")
///     .seeds(["10.0.0.1:7401", "10.0.0.2:7401"])
///     .credentials(Credentials::load(Path::new("ca.pem"), Path::new("client.pem"), Path::new("client.key"))?)
///     .timeout(Duration::from_secs(2))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Builder {
    seeds: Vec<String>,
    cluster: Option<String>,
    credentials: Option<Credentials>,
    timeout: Option<Duration>,
    zone: Option<String>,
}

impl Builder {
    /// Addresses (`host:port`) of some nodes. One that answers is enough: it tells of all the others. Give several, so that one
    /// node's absence does not keep the client from starting.
    #[must_use]
    pub fn seeds<S: Into<String>>(mut self, seeds: impl IntoIterator<Item = S>) -> Self {
        self.seeds = seeds.into_iter().map(Into::into).collect();
        self
    }

    /// The name of the cluster. Nodes of another are refused, so that a mistaken address does no harm.
    #[must_use]
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.cluster = Some(name.into());
        self
    }

    /// This client's certificate and key, and the cluster's CA.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// How long a request may take, all its attempts together, unless it says otherwise. Default 5 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The zone that this client is in, by the name that nodes have it in. Requests go to primaries of this zone first; others are asked where
    /// these are slow or away. Without it all primaries share the load.
    #[must_use]
    pub fn zone(mut self, name: impl Into<String>) -> Self {
        self.zone = Some(name.into());
        self
    }

    /// A description from the environment: `QUORATE_SEEDS` (separated by commas), `QUORATE_CLUSTER`, and the PEM files `QUORATE_CA`,
    /// `QUORATE_CERTIFICATE` and `QUORATE_KEY`; and, if it is set, `QUORATE_ZONE`.
    ///
    /// # Errors
    /// [`Error::Configuration`] naming the variable that is missing; [`Error::Credentials`] for what is wrong with a file.
    pub fn from_env() -> Result<Self, Error> {
        let variable = |name: &str| {
            let missing = |_| Error::Configuration { what: format!("the environment variable {name} is not set") };
            std::env::var(name).map_err(missing)
        };
        let (seeds, cluster) = (variable("QUORATE_SEEDS")?, variable("QUORATE_CLUSTER")?);
        let (ca, certificate, key) =
            (variable("QUORATE_CA")?, variable("QUORATE_CERTIFICATE")?, variable("QUORATE_KEY")?);
        let credentials = Credentials::load(Path::new(&ca), Path::new(&certificate), Path::new(&key))?;
        let seeds = seeds.split(',').map(str::trim).filter(|seed| !seed.is_empty());
        let described = Self::default().seeds(seeds).cluster(cluster).credentials(credentials);
        Ok(Self { zone: std::env::var("QUORATE_ZONE").ok(), ..described })
    }

    /// Asks all seeds at once for the ring, and takes the first answer.
    ///
    /// # Errors
    /// [`Error::Configuration`] if something needed is missing; [`Error::Unreachable`], with what each seed said, if none answers.
    pub async fn connect(self) -> Result<Client, Error> {
        let missing = |what: &str| Error::Configuration { what: format!("a client needs {what}") };
        let cluster = ClusterName::new(&self.cluster.ok_or_else(|| missing("the name of its cluster"))?)?;
        let zone = self.zone.as_deref().map(ZoneName::new).transpose()?;
        let credentials =
            self.credentials.ok_or_else(|| missing("credentials: the cluster's CA, a certificate and its key"))?;
        if self.seeds.is_empty() {
            return Err(missing("at least one seed, as host:port"));
        }
        let dialer = Arc::new(Dialer::new(cluster, credentials));
        let request_timeout = self.timeout.unwrap_or(TIMEOUT);
        let description = ask_seeds(&dialer, &self.seeds, request_timeout).await?;
        Ok(Client::start(Router::new(description)?.near(zone), dialer, self.seeds, request_timeout))
    }
}

/// Asks all of these addresses at once for the ring, and takes the first answer.
///
/// # Errors
/// [`Error::Unreachable`], with what each said, if none answers.
pub(crate) async fn ask_seeds(
    dialer: &Arc<Dialer>,
    seeds: &[String],
    within: Duration,
) -> Result<RingDescription, Error> {
    let mut asked = JoinSet::new();
    for (index, seed) in seeds.iter().cloned().enumerate() {
        let dialer = dialer.clone();
        asked.spawn(async move {
            let silent = || Err(Said::NotSent(ConnectProblem::Silent));
            (index, timeout(within, ask_at(&dialer, &seed, &Request::Ring)).await.unwrap_or_else(|_| silent()))
        });
    }
    let mut said: Vec<Option<Said>> = seeds.iter().map(|_| None).collect();
    while let Some(result) = asked.join_next().await {
        let Ok((index, result)) = result else { continue };
        match result {
            Ok(Response::Ring(description)) => return Ok(description),
            Ok(other) => return Err(unexpected("a ring", &other)),
            Err(problem) => said[index] = Some(problem),
        }
    }
    let tried = seeds.iter().cloned().zip(said);
    let tried = tried.map(|(whom, said)| Tried { whom, said: said.unwrap_or(Said::Silent) });
    Err(Error::Unreachable { tried: tried.collect() })
}

/// Asks whoever listens at this address, which need not be a member of any ring.
pub(crate) async fn ask_at(dialer: &Dialer, address: &str, request: &Request) -> Result<Response, Said> {
    // Which node it is nobody knows yet; that it is one of this cluster is what the certificate must say.
    let name = cluster_server_name(&dialer.cluster);
    let Dialed { link, tasks } = dialer.dial(address, &name).await.map_err(Said::NotSent)?;
    let pending = link.ask(request, u32::MAX).map_err(Said::NotSent)?;
    let answer = pending.await;
    drop(tasks); // The way to a member is opened again under its own name, when the ring is known.
    match answer {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(Said::Refused(error)),
        Err(Fate::NotSent(problem)) => Err(Said::NotSent(problem)),
        Err(Fate::Unknown(problem)) => Err(Said::Lost(problem)),
    }
}
