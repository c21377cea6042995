//! `quorate cert`: a certificate authority of the cluster's own, and certificates for its nodes and clients.
//!
//! Everything is a plain file in one directory that the operator guards. Nothing is ever overwritten, and private keys are
//! readable by their owner only.

pub(crate) mod authority;
mod files;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use quorate_ring::{ClusterName, NodeId};
use serde::Serialize;

use self::authority::{Authority, Identity, Issued};
use super::exit::{Failure, Format};
use super::output;
use quorate_node::runtime::config::{CA_DEFAULT, SECRET_DEFAULT};

/// The private key of the authority.
pub(crate) const CA_KEY: &str = "ca.key";

/// Makes the certificates and the secret that a cluster needs
#[derive(Debug, Args)]
pub(crate) struct CertArguments {
    #[command(subcommand)]
    command: CertCommand,
}

#[derive(Debug, Subcommand)]
enum CertCommand {
    /// Makes a cluster's certificate authority (ca.pem, ca.key) and its secret (cluster.secret)
    Init(InitArguments),
    /// Makes a node's certificate and key (n1.pem, n1.key)
    Node(NodeArguments),
    /// Makes a client's certificate and key (NAME.pem, NAME.key)
    Client(ClientArguments),
}

#[derive(Debug, Args)]
struct InitArguments {
    /// The cluster's name: 1 to 63 of a-z, 0-9 and '-'
    #[arg(long, env = "QUORATE_CLUSTER", value_parser = ClusterName::new)]
    cluster: ClusterName,
    #[command(flatten)]
    common: CommonArguments,
}

#[derive(Debug, Args)]
struct NodeArguments {
    /// The node's number, from 1
    #[arg(value_parser = parse_node)]
    node: NodeId,
    /// Where to put the certificate and the key [default: the directory of the authority]
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArguments,
}

#[derive(Debug, Args)]
struct ClientArguments {
    /// A name for the client, such as the application's: 1 to 63 of a-z, 0-9 and '-'
    #[arg(value_parser = authority::client_name)]
    name: String,
    /// Where to put the certificate and the key [default: the directory of the authority]
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArguments,
}

#[derive(Debug, Args)]
struct CommonArguments {
    /// The directory of the authority
    #[arg(long, value_name = "DIRECTORY", default_value = "certs")]
    dir: PathBuf,
    /// For how many days the certificate is valid; ten years by default
    #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a command made.
#[derive(Serialize)]
struct Made {
    cluster: String,
    files: Vec<PathBuf>,
    #[serde(skip)]
    next: String,
}

impl CertArguments {
    /// How the command's results are printed.
    pub(crate) fn format(&self) -> Format {
        let common = match &self.command {
            CertCommand::Init(arguments) => &arguments.common,
            CertCommand::Node(arguments) => &arguments.common,
            CertCommand::Client(arguments) => &arguments.common,
        };
        if common.json { Format::Json } else { Format::Human }
    }

    /// Runs the command.
    ///
    /// # Errors
    /// What could not be read, or would have been overwritten.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let format = self.format();
        let made = match self.command {
            CertCommand::Init(arguments) => init(&arguments.common.dir, &arguments.cluster, arguments.common.days)?,
            CertCommand::Node(arguments) => {
                let identity = Identity::Node(arguments.node);
                let mut made = issue(&arguments.common, arguments.out.as_deref(), &identity)?;
                made.next = node_next(arguments.node, &made);
                made
            }
            CertCommand::Client(arguments) => {
                let identity = Identity::Client(arguments.name);
                let mut made = issue(&arguments.common, arguments.out.as_deref(), &identity)?;
                made.next = client_next(&made, &arguments.common.dir);
                made
            }
        };
        match format {
            Format::Json => output::print_json(&made),
            Format::Human => {
                let files: Vec<_> = made.files.iter().map(|file| format!("made {}\n", file.display())).collect();
                output::print(&format!("{}\n{}", files.concat(), made.next))
            }
        }
    }
}

fn init(directory: &Path, cluster: &ClusterName, days: u32) -> Result<Made, Failure> {
    let authority = Authority::create(cluster.clone(), days)?;
    let secret = authority::random_secret()?;
    let files = [CA_DEFAULT, CA_KEY, SECRET_DEFAULT].map(|name| directory.join(name));
    files::refuse_existing(&files)?;
    files::make_directory(directory)?;
    files::write_private(&files[1], &authority.key_pem())?;
    files::write_public(&files[0], authority.certificate_pem())?;
    files::write_private(&files[2], &secret)?;
    let shown = directory.display();
    let next = format!(
        "Next: make a certificate for each node and client,\n  \
           quorate cert node 1 --dir {shown}\n  \
           quorate cert client app --dir {shown}\n\
         and keep {CA_KEY} away from the nodes: whoever has it can join the cluster.\n\
         Each node needs {CA_DEFAULT}, {SECRET_DEFAULT} and its own certificate and key.\n"
    );
    Ok(Made { cluster: cluster.to_string(), files: files.into(), next })
}

fn issue(common: &CommonArguments, out: Option<&Path>, identity: &Identity) -> Result<Made, Failure> {
    let directory = out.unwrap_or(&common.dir);
    let stem = identity.file_stem();
    let files = [directory.join(format!("{stem}.pem")), directory.join(format!("{stem}.key"))];
    files::refuse_existing(&files)?;
    let authority = Authority::load(&common.dir.join(CA_DEFAULT), &common.dir.join(CA_KEY))?;
    let Issued { certificate_pem, key_pem } = authority.issue(identity, common.days)?;
    files::make_directory(directory)?;
    files::write_private(&files[1], &key_pem)?;
    files::write_public(&files[0], &certificate_pem)?;
    Ok(Made { cluster: authority.cluster().to_string(), files: files.into(), next: String::new() })
}

fn node_next(node: NodeId, made: &Made) -> String {
    format!(
        "Next: put both beside {CA_DEFAULT} and {SECRET_DEFAULT} on the machine of {node}, name them in its configuration,\n  \
           [cluster]\n  name = \"{}\"\n  ...\n  [node]\n  id = {}\n  certificate = \"{}\"\n  key = \"{}\"\n\
         and start it:\n  quorate node --config node.toml\n",
        made.cluster,
        node.number(),
        made.files[0].display(),
        made.files[1].display(),
    )
}

fn client_next(made: &Made, directory: &Path) -> String {
    format!(
        "Next: write client.toml (paths are relative to it),\n  \
           [client]\n  seeds = [\"host:port of any nodes\"]\n  cluster = \"{}\"\n  ca = \"{}\"\n  certificate = \"{}\"\n  key = \"{}\"\n\
         and try it:\n  quorate status --config client.toml\n",
        made.cluster,
        directory.join(CA_DEFAULT).display(),
        made.files[0].display(),
        made.files[1].display(),
    )
}

/// A node's number, as `1` or `n1`.
pub(crate) fn parse_node(text: &str) -> Result<NodeId, String> {
    let digits = text.strip_prefix('n').unwrap_or(text);
    digits.parse().ok().and_then(NodeId::new).ok_or_else(|| format!("a node is a number from 1, not {text:?}"))
}
