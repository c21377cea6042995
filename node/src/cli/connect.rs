//! How commands reach a cluster: where its nodes are, who this client is and whom it trusts. Each setting comes from a flag,
//! else the environment, else the file given with `--config`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use quorate_client::transport::{Credentials, CredentialsError};
use quorate_client::{Client, Error, Outcome, Tried};
use quorate_node::runtime::config::Source;
use quorate_ring::wire::RequestError;
use quorate_ring::{BucketName, ClusterName};
use serde::Deserialize;
use toml::Spanned;

use super::exit::{Failure, FailureKind, Format};
use super::human;

/// Where the cluster is, and who this client is.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectArguments {
    /// TOML file with the settings below, under `[client]`; paths in it are relative to it
    #[arg(long, value_name = "FILE", env = "QUORATE_CONFIG")]
    config: Option<PathBuf>,
    /// Any nodes of the cluster to begin with, as host:port, separated by commas
    #[arg(long, value_name = "HOST:PORT", env = "QUORATE_SEEDS", value_delimiter = ',')]
    seeds: Vec<String>,
    /// The cluster's name
    #[arg(long, value_name = "NAME", env = "QUORATE_CLUSTER", value_parser = ClusterName::new)]
    cluster: Option<ClusterName>,
    /// PEM file with the certificate of the cluster's authority
    #[arg(long, value_name = "FILE", env = "QUORATE_CA")]
    ca: Option<PathBuf>,
    /// PEM file with this client's certificate
    #[arg(long, value_name = "FILE", env = "QUORATE_CERTIFICATE")]
    certificate: Option<PathBuf>,
    /// PEM file with the private key of the certificate
    // Not `key`, which is what is read or written: of two arguments with one id only one can be given.
    #[arg(id = "private_key", long = "key", value_name = "FILE", env = "QUORATE_KEY")]
    key: Option<PathBuf>,
    /// How long to wait for each request, as 500ms, 5s or 2m (5 is 5 seconds)
    #[arg(long, value_name = "TIME", env = "QUORATE_TIMEOUT", default_value = "5s", value_parser = human::parse_duration, allow_hyphen_values = true)]
    timeout: Duration,
    /// Print JSON, also for errors (on standard error)
    #[arg(long)]
    json: bool,
}

/// Which bucket a command works on.
#[derive(Clone, Debug, Args)]
pub(crate) struct BucketArguments {
    /// The bucket: a namespace of keys
    #[arg(long, value_name = "NAME", env = "QUORATE_BUCKET", default_value = "default", value_parser = BucketName::new)]
    pub(crate) bucket: BucketName,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientFile {
    client: ClientSection,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ClientSection {
    seeds: Vec<String>,
    cluster: Option<Spanned<String>>,
    ca: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

/// All settings, from wherever each came.
struct Settings {
    seeds: Vec<String>,
    cluster: ClusterName,
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl ConnectArguments {
    /// How results are printed.
    pub(crate) fn format(&self) -> Format {
        if self.json { Format::Json } else { Format::Human }
    }

    /// How long to wait for each request.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A setting that says which cluster is meant, if one is given: by its flag, and by the environment's variable for it.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let settings = [
            ("--config (or QUORATE_CONFIG)", self.config.is_some()),
            ("--seeds (or QUORATE_SEEDS)", !self.seeds.is_empty()),
            ("--cluster (or QUORATE_CLUSTER)", self.cluster.is_some()),
            ("--ca (or QUORATE_CA)", self.ca.is_some()),
            ("--certificate (or QUORATE_CERTIFICATE)", self.certificate.is_some()),
            ("--key (or QUORATE_KEY)", self.key.is_some()),
        ];
        settings.into_iter().find(|(_, is_given)| *is_given).map(|(setting, _)| setting)
    }

    /// Connects to the cluster.
    ///
    /// # Errors
    /// Which setting is missing or wrong, or what each seed said.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        self.connect_within(self.timeout).await
    }

    /// Connects to the cluster, waiting for no request longer than this.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub(crate) async fn connect_within(&self, most: Duration) -> Result<Client, Failure> {
        let settings = self.settings()?;
        let credentials = Credentials::load(&settings.ca, &settings.certificate, &settings.key);
        let credentials = credentials.map_err(|error| credentials_failure(&error, "cert client NAME", "client"))?;
        let builder =
            Client::builder().seeds(settings.seeds).cluster(settings.cluster.as_str()).credentials(credentials);
        builder.timeout(self.timeout.min(most)).connect().await.map_err(|error| failure(&error))
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let source = self.config.as_deref().map(Source::read).transpose().map_err(Failure::invalid)?;
        let file = source.as_ref().map(|source| source.parse::<ClientFile>()).transpose().map_err(Failure::invalid)?;
        let section = file.map(|file| file.client).unwrap_or_default();
        let cluster = match (&self.cluster, &section.cluster, &source) {
            (Some(cluster), ..) => Some(cluster.clone()),
            (None, Some(named), Some(source)) => {
                let name = ClusterName::new(named.get_ref());
                Some(name.map_err(|error| Failure::invalid(source.error(named.span(), format!("cluster: {error}"))))?)
            }
            _ => None,
        };
        let path = |flag: &Option<PathBuf>, named: Option<String>| {
            flag.clone().or_else(|| Some(source.as_ref()?.resolve(named?)))
        };
        // An empty flag or variable names nobody, as if it were not there.
        let named = |seeds: &[String]| seeds.iter().any(|seed| !seed.trim().is_empty());
        let mut seeds = if named(&self.seeds) { self.seeds.clone() } else { section.seeds };
        seeds.retain(|seed| !seed.trim().is_empty());
        Ok(Settings {
            seeds: if seeds.is_empty() { return Err(missing("seeds", "QUORATE_SEEDS")) } else { seeds },
            cluster: cluster.ok_or_else(|| missing("cluster", "QUORATE_CLUSTER"))?,
            ca: path(&self.ca, section.ca).ok_or_else(|| missing("ca", "QUORATE_CA"))?,
            certificate: path(&self.certificate, section.certificate)
                .ok_or_else(|| missing("certificate", "QUORATE_CERTIFICATE"))?,
            key: path(&self.key, section.key).ok_or_else(|| missing("key", "QUORATE_KEY"))?,
        })
    }
}

/// Whose certificates cannot be used, and the command that makes what is missing.
pub(crate) fn credentials_failure(error: &CredentialsError, makes_own: &str, whose: &str) -> Failure {
    Failure::local(error).help(match error {
        CredentialsError::Unreadable { what: "CA certificate", .. } | CredentialsError::Authority { .. } => {
            "`quorate cert init` makes a cluster's CA (ca.pem) once; every node and client needs a copy of it"
                .to_owned()
        }
        _ => format!("`quorate {makes_own}` makes a {whose}'s certificate and key"),
    })
}

fn missing(setting: &str, variable: &str) -> Failure {
    Failure::invalid(format!("--{setting} is not given, or empty")).help(format!(
        "give --{setting}, set {variable}, or name a file with --config (or QUORATE_CONFIG) that has {setting} under [client]"
    ))
}

/// What a failed request means for the command: its exit code, and what to do.
pub(crate) fn failure(error: &Error) -> Failure {
    if error.outcome() == Outcome::Unknown {
        return Failure::new(FailureKind::OutcomeUnknown, error)
            .help("read the key: if the write is not there, write again with the context of that read");
    }
    match error {
        Error::Unreachable { tried } => Failure::new(
            FailureKind::Unavailable,
            listed("no node could be reached", tried),
        )
        .help(
            "check the addresses, that the nodes run, and that cluster, ca and certificate are those of this cluster",
        ),
        Error::Timeout { after, tried } => {
            let waited = format!("no answer within {} ms", after.as_millis());
            Failure::new(FailureKind::Unavailable, listed(&waited, tried))
                .help("`quorate status` shows how the nodes are; try again, or give more time with --timeout")
        }
        Error::Node { error: answer, .. } => node_failure(error, answer),
        Error::InvalidRing(_) | Error::Unexpected { .. } | Error::Closed => {
            Failure::new(FailureKind::Unavailable, error)
        }
        Error::Credentials(_) => Failure::local(error),
        Error::InvalidContext(_) => Failure::invalid(error).help(CONTEXT_HELP),
        _ => Failure::invalid(error),
    }
}

/// What everybody who was tried said, a line each.
fn listed(what: &str, tried: &[Tried]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in tried.iter().map(|tried| format!("\n  {tried}")) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    if lines.is_empty() { what.to_owned() } else { format!("{what}:{}", lines.concat()) }
}

const CONTEXT_HELP: &str = "pass a context exactly as `quorate get` of the same bucket and key printed it";

fn node_failure(error: &Error, answer: &RequestError) -> Failure {
    match answer {
        RequestError::Context(_) => Failure::invalid(error).help(CONTEXT_HELP),
        RequestError::Invalid { .. } | RequestError::TooManySiblings { .. } => Failure::invalid(error),
        RequestError::ReadQuorum { .. } => Failure::new(FailureKind::Unavailable, error)
            .help("`quorate status` shows which nodes are missing; a smaller --r reads from fewer"),
        RequestError::WriteQuorum { .. } => Failure::new(FailureKind::Unavailable, error)
            .help("`quorate status` shows which nodes are missing; a smaller --w is satisfied with fewer"),
        _ => Failure::new(FailureKind::Unavailable, error)
            .help("`quorate status` shows how the nodes are; try again later"),
    }
}
