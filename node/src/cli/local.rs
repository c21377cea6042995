//! A cluster on this machine, for as long as a command runs: real `quorate node` processes with certificates of their own, in one directory.
//!
//! Nothing outlives the command. Dropping the cluster kills the processes; and should the command itself be killed, the end of their
//! standard input tells them to stop.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use quorate_client::Client;
use quorate_client::transport::Credentials;
use quorate_ring::{ClusterName, NodeId, PartitionCount};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::cert::authority::{Authority, Identity, random_secret};
use super::connect::failure;
use super::exit::Failure;
use super::status::{self, Answer};

/// Name of the cluster.
const CLUSTER: &str = "demo";
/// The certificates need not outlive the day.
const CERTIFICATE_DAYS: u32 = 2;
/// A node that does not serve after this time has failed to start. It usually takes a few tenths of a second.
const START_TIME_MAX: Duration = Duration::from_secs(20);
/// A node that has not stopped in order after this time is killed.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);
/// How often a wait looks whether a process has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// By when all nodes must have found each other.
const MEETING_TIME_MAX: Duration = Duration::from_secs(20);
/// How often they are asked whether they have.
const MEETING_INTERVAL: Duration = Duration::from_millis(50);
/// Lines of a node's log that are shown when it fails.
const LOG_LINES_SHOWN: usize = 5;

/// Where a cluster's files are.
pub(super) enum Place {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Place {
    /// A new directory: this one, or else a temporary one, whose name begins so.
    ///
    /// # Errors
    /// If it cannot be made, or is not empty.
    pub(super) fn make(asked: Option<PathBuf>, prefix: &str) -> Result<Self, Failure> {
        let Some(directory) = asked else {
            let made = tempfile::Builder::new().prefix(prefix).tempdir();
            let cannot = |error| Failure::local(format!("cannot make a temporary directory: {error}"));
            return made.map(Self::Temporary).map_err(cannot);
        };
        fs::create_dir_all(&directory).map_err(|error| Failure::file("make the directory", &directory, &error))?;
        let occupied = fs::read_dir(&directory).is_ok_and(|mut entries| entries.next().is_some());
        match occupied {
            true => Err(Failure::invalid(format!("{} is not empty", directory.display())).help("give a new directory")),
            false => Ok(Self::Kept(directory)),
        }
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Temporary(directory) => directory.path(),
            Self::Kept(directory) => directory,
        }
    }
}

/// Nodes and their files.
pub(super) struct LocalCluster {
    directory: PathBuf,
    executable: PathBuf,
    authority: Authority,
    partitions: PartitionCount,
    nodes: Vec<LocalNode>,
}

struct LocalNode {
    id: NodeId,
    address: String,
    process: Option<Child>,
}

/// What a node goes by when it starts for the first time.
enum Begins {
    /// The list of those that make up the cluster.
    WithAll,
    /// Whom it asks to be told who they are.
    Joining,
}

impl LocalCluster {
    /// Writes certificates, secret and the configurations of so many nodes into a directory; starts nothing.
    ///
    /// # Errors
    /// If files or sockets fail.
    pub(super) fn prepare(directory: &Path, nodes: u32, partitions: PartitionCount) -> Result<Self, Failure> {
        let executable = std::env::current_exe()
            .map_err(|error| Failure::local(format!("cannot find the path of this program: {error}")))?;
        let ids = (1..=nodes).map(|number| NodeId::new(number).expect("counted from 1"));
        let nodes =
            ids.zip(free_addresses(nodes)?).map(|(id, address)| LocalNode { id, address, process: None }).collect();
        let cluster = Self {
            directory: directory.to_owned(),
            executable,
            authority: Authority::create(name(), CERTIFICATE_DAYS)?,
            partitions,
            nodes,
        };
        cluster.write_files()?;
        Ok(cluster)
    }

    /// Makes the files of one node more, which is to join, and starts nothing. Gives where it will listen.
    ///
    /// # Errors
    /// If files or sockets fail.
    pub(super) fn add(&mut self, id: NodeId) -> Result<String, Failure> {
        let address = free_addresses(1)?.remove(0);
        self.nodes.push(LocalNode { id, address: address.clone(), process: None });
        self.write_identity(&Identity::Node(id))?;
        self.write(&format!("{id}.toml"), &self.node_toml(id, &Begins::Joining))?;
        Ok(address)
    }

    /// Starts a node, and waits until it serves.
    ///
    /// # Errors
    /// If it does not, with the end of its log.
    pub(super) async fn start(&mut self, id: NodeId) -> Result<Duration, Failure> {
        let begun = Instant::now();
        let mut process = self.spawn(id)?;
        let output = process.stdout.take().expect("the output was asked to be a pipe");
        self.node(id).process = Some(process);
        let mut ready = first_line_of(output);
        while begun.elapsed() < START_TIME_MAX {
            if let Ok(Ok(())) = tokio::time::timeout(POLL_INTERVAL, &mut ready).await {
                return Ok(begun.elapsed());
            }
            let process = self.node(id).process.as_mut().expect("it was just started");
            if let Ok(Some(status)) = process.try_wait() {
                return Err(self.start_failure(id, &format!("{id} stopped while starting ({status})")));
            }
        }
        Err(self.start_failure(id, &format!("{id} did not serve after {} s", START_TIME_MAX.as_secs())))
    }

    /// Kills a node with SIGKILL, as a crash would.
    ///
    /// # Errors
    /// If it is not running.
    pub(super) fn kill(&mut self, id: NodeId) -> Result<ExitStatus, Failure> {
        let gone = || Failure::local(format!("{id} is not running"));
        let mut process = self.node(id).process.take().ok_or_else(gone)?;
        let killed = process.kill().and_then(|()| process.wait());
        killed.map_err(|error| Failure::local(format!("cannot kill {id}: {error}")))
    }

    /// Stops all nodes in order, as an operator would.
    ///
    /// # Errors
    /// Which did not stop, or not well.
    pub(super) async fn stop(&mut self) -> Result<(), Failure> {
        let ids: Vec<_> = self.ids().collect();
        self.stop_these(&ids).await
    }

    /// Stops these nodes in order.
    ///
    /// # Errors
    /// Which did not stop, or not well.
    pub(super) async fn stop_these(&mut self, ids: &[NodeId]) -> Result<(), Failure> {
        // The end of its input tells a node to stop.
        ids.iter().filter_map(|id| self.node(*id).process.as_mut()?.stdin.take()).for_each(drop);
        let begun = Instant::now();
        for &id in ids {
            while let Some(process) = &mut self.node(id).process {
                match process.try_wait() {
                    Ok(Some(status)) if status.success() => self.node(id).process = None,
                    Ok(Some(status)) => {
                        return Err(self.start_failure(id, &format!("{id} did not stop well ({status})")));
                    }
                    _ if STOP_TIME_MAX < begun.elapsed() => {
                        return Err(self.start_failure(id, &format!("{id} did not stop after {STOP_TIME_MAX:?}")));
                    }
                    _ => tokio::time::sleep(POLL_INTERVAL).await,
                }
            }
        }
        Ok(())
    }

    /// Which nodes there are, running or not.
    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.iter().map(|node| node.id)
    }

    /// Where each node listens.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.address.clone()).collect()
    }

    /// A node's process id.
    pub(super) fn process_id(&self, id: NodeId) -> Option<u32> {
        self.nodes.iter().find(|node| node.id == id)?.process.as_ref().map(Child::id)
    }

    /// A client that waits for no request longer than this.
    ///
    /// # Errors
    /// If the certificates cannot be used, or no node answers.
    pub(super) async fn connect(&self, timeout: Duration) -> Result<Client, Failure> {
        let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(|name| self.file(name));
        let credentials = Credentials::load(&ca, &certificate, &key).map_err(Failure::local)?;
        let builder = Client::builder().seeds(self.addresses()).cluster(CLUSTER).credentials(credentials);
        builder.timeout(timeout).connect().await.map_err(|error| failure(&error))
    }

    /// A file of the cluster's directory.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn node(&mut self, id: NodeId) -> &mut LocalNode {
        self.nodes.iter_mut().find(|node| node.id == id).expect("a command only speaks of its own nodes")
    }

    fn spawn(&self, id: NodeId) -> Result<Child, Failure> {
        let log = self.log(id);
        let log = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|error| Failure::file("write", &log, &error))?;
        let mut command = Command::new(&self.executable);
        command.arg("node").arg("--config").arg(self.file(&format!("{id}.toml"))).arg("--stop-with-stdin");
        // Settings of the person's own environment are meant for another node.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("QUORATE_")) {
            command.env_remove(name);
        }
        // A group of its own: Ctrl-C goes to the command alone, which then stops the nodes itself.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        command.spawn().map_err(|error| Failure::file("start", &self.executable, &error))
    }

    fn log(&self, id: NodeId) -> PathBuf {
        self.file(&format!("{id}.log"))
    }

    fn start_failure(&self, id: NodeId, what: &str) -> Failure {
        let log = fs::read_to_string(self.log(id)).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
        Failure::local(format!("{what}; the end of its log:\n  {}", shown.join("\n  ")))
            .help("`--dir DIRECTORY` keeps the logs")
    }

    fn write_files(&self) -> Result<(), Failure> {
        self.write("ca.pem", self.authority.certificate_pem())?;
        self.write("cluster.secret", &random_secret()?)?;
        let nodes = self.nodes.iter().map(|node| Identity::Node(node.id));
        for identity in nodes.chain([Identity::Client("client".to_owned())]) {
            self.write_identity(&identity)?;
        }
        for node in &self.nodes {
            self.write(&format!("{}.toml", node.id), &self.node_toml(node.id, &Begins::WithAll))?;
        }
        self.write("client.toml", &self.client_toml())
    }

    fn write_identity(&self, identity: &Identity) -> Result<(), Failure> {
        let issued = self.authority.issue(identity, CERTIFICATE_DAYS)?;
        let stem = identity.file_stem();
        self.write(&format!("{stem}.pem"), &issued.certificate_pem)?;
        self.write(&format!("{stem}.key"), &issued.key_pem)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.file(name);
        fs::write(&path, text).map_err(|error| Failure::file("write", &path, &error))
    }

    fn node_toml(&self, id: NodeId, begins: &Begins) -> String {
        let member = |node: &LocalNode| {
            format!("[[cluster.members]]\nnode = {}\naddress = \"{}\"\n", node.id.number(), node.address)
        };
        let (others, own): (Vec<_>, Vec<_>) = self.nodes.iter().partition(|node| node.id != id);
        let (cluster, listen) = match begins {
            Begins::WithAll => {
                let members: String = self.nodes.iter().map(member).collect();
                (format!("partitions = {}\n{members}", self.partitions.get()), String::new())
            }
            Begins::Joining => {
                let running = others.iter().filter(|node| node.process.is_some());
                let addresses: Vec<&str> = running.map(|node| node.address.as_str()).collect();
                let listen = own.iter().map(|node| format!("listen = \"{}\"\n", node.address));
                (format!("join = {addresses:?}\n"), listen.collect())
            }
        };
        format!(
            "[cluster]\nname = \"{CLUSTER}\"\n{cluster}\n[node]\nid = {}\ndata = \"{id}\"\n{listen}shards = 1\n",
            id.number()
        )
    }

    fn client_toml(&self) -> String {
        format!(
            "[client]\nseeds = {:?}\ncluster = \"{CLUSTER}\"\nca = \"ca.pem\"\ncertificate = \"client.pem\"\nkey = \"client.key\"\n",
            self.addresses()
        )
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        for process in self.nodes.iter_mut().filter_map(|node| node.process.as_mut()) {
            // Both fail only if the process is gone, which is what is wanted.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Waits until all nodes answer and are connected to all others.
///
/// # Errors
/// What is known of them, if that takes too long.
pub(super) async fn meet(client: &Client) -> Result<Vec<Answer>, Failure> {
    let begun = Instant::now();
    loop {
        let answers = client.statuses().await;
        let met = answers
            .iter()
            .all(|(_, answer)| answer.as_ref().is_ok_and(|status| status.peers.iter().all(|peer| peer.connected)));
        if met {
            return Ok(answers);
        }
        if MEETING_TIME_MAX < begun.elapsed() {
            let seen = status::describe(&answers, "  ");
            return Err(Failure::local(format!(
                "the nodes have not found each other after {MEETING_TIME_MAX:?}:\n{seen}"
            )));
        }
        tokio::time::sleep(MEETING_INTERVAL).await;
    }
}

fn name() -> ClusterName {
    ClusterName::new(CLUSTER).expect("the name is valid")
}

/// Addresses that were free a moment ago. All sockets are open at once, so that no address is given twice.
fn free_addresses(count: u32) -> Result<Vec<String>, Failure> {
    let cannot = |error| Failure::local(format!("cannot find a free UDP port on 127.0.0.1: {error}"));
    let sockets: Result<Vec<_>, _> = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0")).collect();
    let addresses: Result<Vec<_>, _> = sockets.map_err(cannot)?.iter().map(UdpSocket::local_addr).collect();
    Ok(addresses.map_err(cannot)?.iter().map(ToString::to_string).collect())
}

/// Resolves when the process has printed its first line, which a node does when it serves. The rest is read and dropped, so
/// that the process never waits for a reader.
fn first_line_of(output: impl std::io::Read + Send + 'static) -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(output).lines();
        if let Some(Ok(_)) = lines.next() {
            // The command may have given up waiting.
            let _ = sender.send(());
        }
        lines.for_each(drop);
    });
    receiver
}
