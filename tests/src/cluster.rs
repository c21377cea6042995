//! A cluster of nodes in one temporary directory, and clients of it.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_client::Client;
use quorate_client::transport::Credentials;
use quorate_ring::wire::NodeStatus;
use quorate_ring::{ClusterName, NodeId};
use tempfile::TempDir;

use crate::{Network, Node, Quorate, certificates, ports, wait};

/// What a cluster is made with.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    nodes: u32,
    name: String,
    cluster_lines: String,
    node_lines: String,
    network: bool,
    zones: Vec<String>,
}

/// Nodes, their files, and what is needed to reach them. Everything ends and vanishes when it is dropped; if that is because a test
/// fails, the nodes' logs are shown.
#[derive(Debug)]
pub struct Cluster {
    // Before the directory, so that the processes have ended when it is removed.
    nodes: Vec<Node>,
    network: Option<Network>,
    options: ClusterOptions,
    name: String,
    directory: TempDir,
}

/// Lines under `[node]` with which nodes go through all that they store about once a second.
pub const SCRUBBING: &str = "scrub_pause_millis = 10\nscrub_round_seconds = 1\n";

impl ClusterOptions {
    /// A cluster named `it` of this many nodes, each with two shards, all else by default.
    pub fn new(nodes: u32) -> Self {
        let node_lines = "shards = 2\n".to_owned();
        Self {
            nodes,
            name: "it".to_owned(),
            cluster_lines: String::new(),
            node_lines,
            network: false,
            zones: Vec::new(),
        }
    }

    /// The cluster's name.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// A line under `[cluster]` in every node's configuration.
    #[must_use]
    pub fn cluster_line(mut self, line: &str) -> Self {
        self.cluster_lines += &format!("{line}\n");
        self
    }

    /// Lines under `[node]` in every node's configuration, instead of `shards = 2`.
    #[must_use]
    pub fn node_lines(self, lines: &str) -> Self {
        Self { node_lines: format!("{lines}\n"), ..self }
    }

    /// Nodes go through all that they store about once a second, so that a test can wait until they have.
    #[must_use]
    pub fn scrubbing(mut self) -> Self {
        self.node_lines += SCRUBBING;
        self.cluster_line("partitions = 128")
    }

    /// Nodes reach each other, and clients reach them, through a [`Network`] that can be cut.
    #[must_use]
    pub fn network(self) -> Self {
        Self { network: true, ..self }
    }

    /// The nodes that the cluster begins with are in these zones, in turn: of six nodes and `["a", "b", "c"]` n1 and n4 are in a.
    #[must_use]
    pub fn zones(self, zones: &[&str]) -> Self {
        Self { zones: zones.iter().map(ToString::to_string).collect(), ..self }
    }

    fn zone_of(&self, number: u32) -> Option<&str> {
        let mut zones = self.zones.iter().cycle();
        zones.nth(number as usize - 1).map(String::as_str)
    }

    /// Makes the files of the cluster, and starts nothing.
    ///
    /// # Panics
    /// If they cannot be made; with a [`ClusterOptions::network`], outside a runtime.
    pub fn prepare(self) -> Cluster {
        let directory = TempDir::with_prefix("quorate-tests-").expect("a temporary directory");
        certificates::write(&self.name, directory.path());
        let nodes = (1..=self.nodes).map(|number| Node::new(number, ports::free_address(), directory.path()));
        let nodes: Vec<Node> = nodes.collect();
        let network = self.network.then(|| Network::new(nodes.iter().map(|node| (node.number(), node.address()))));
        let cluster = Cluster { nodes, network, name: self.name.clone(), options: self, directory };
        cluster.write_files();
        cluster
    }

    /// Starts a cluster and waits until all its nodes have found each other.
    ///
    /// # Panics
    /// If they do not.
    pub async fn start(self) -> Cluster {
        let mut cluster = self.prepare();
        cluster.start_all();
        cluster.connected().await;
        cluster
    }
}

impl Cluster {
    /// A cluster of this many nodes with default settings, see [`ClusterOptions::start`].
    pub async fn start(nodes: u32) -> Self {
        ClusterOptions::new(nodes).start().await
    }

    /// A node, by its number from 1.
    ///
    /// # Panics
    /// If there is none.
    pub fn node(&mut self, number: u32) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.number() == number).expect("the cluster has such a node")
    }

    /// All nodes.
    pub fn nodes(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    /// What is between the nodes.
    ///
    /// # Panics
    /// If the cluster was made without a [`ClusterOptions::network`].
    pub fn network(&self) -> &Network {
        self.network.as_ref().expect("the test asked for a network")
    }

    /// Starts all nodes that do not run, each once the one before serves.
    ///
    /// # Panics
    /// If one does not start.
    pub fn start_all(&mut self) {
        self.nodes.iter_mut().for_each(|node| {
            if !node.is_running() {
                node.start();
            }
        });
    }

    /// Stops all nodes that run, in order.
    ///
    /// # Panics
    /// If one does not stop well.
    pub fn stop_all(&mut self) {
        for node in self.nodes.iter_mut().filter_map(|node| node.is_running().then_some(node)) {
            let ended = node.stop();
            assert_eq!(ended.code, 0, "{}", ended.log);
        }
    }

    /// Where the nodes are reached.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| self.address(node).to_string()).collect()
    }

    fn address(&self, node: &Node) -> SocketAddr {
        self.network.as_ref().map_or(node.address(), |network| network.address(node.number()))
    }

    /// A file in the cluster's directory.
    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A command of the binary that reaches this cluster.
    pub fn quorate<A: Into<OsString>>(&self, arguments: impl IntoIterator<Item = A>) -> Quorate {
        Quorate::new(arguments).arg("--config").arg(self.file("client.toml"))
    }

    /// The certificate and key of this cluster's clients.
    ///
    /// # Panics
    /// If they cannot be read.
    pub fn credentials(&self) -> Credentials {
        let (ca, certificate, key) = (self.file("ca.pem"), self.file("client.pem"), self.file("client.key"));
        Credentials::load(&ca, &certificate, &key).expect("`quorate cert` made them")
    }

    /// The cluster's name.
    ///
    /// # Panics
    /// If the test gave it an impossible one.
    pub fn name(&self) -> ClusterName {
        ClusterName::new(&self.name).expect("the test's own name")
    }

    /// A connected client.
    ///
    /// # Panics
    /// If no node can be reached.
    pub async fn client(&self) -> Client {
        self.client_within(Duration::from_secs(5)).await
    }

    /// A connected client that waits this long for each request.
    ///
    /// # Panics
    /// If no node can be reached.
    pub async fn client_within(&self, timeout: Duration) -> Client {
        let builder =
            Client::builder().seeds(self.addresses()).cluster(self.name.clone()).credentials(self.credentials());
        builder.timeout(timeout).connect().await.expect("at least one node can be reached")
    }

    /// Waits until every node that runs is connected to every other that runs.
    ///
    /// # Panics
    /// If they are not in time.
    pub async fn connected(&mut self) {
        let running: Vec<_> =
            self.nodes.iter_mut().filter_map(|node| node.is_running().then_some(node.number())).collect();
        let client = self.client().await;
        let all = async || {
            let statuses = client.statuses().await;
            let up = |number: u32| {
                let status = status_of(&statuses, number)?;
                let connected = |peer: u32| {
                    peer == number || status.peers.iter().any(|other| other.node.number() == peer && other.connected)
                };
                running.iter().all(|&peer| connected(peer)).then_some(())
            };
            running.iter().all(|&number| up(number).is_some()).then_some(())
        };
        wait::until_async("all nodes are connected", wait::BOUND, all).await;
        client.close().await;
    }

    /// What a node says of itself.
    ///
    /// # Panics
    /// If it does not.
    pub async fn status(&self, number: u32) -> NodeStatus {
        let client = self.client().await;
        let node = NodeId::new(number).expect("not 0");
        let answers = client.statuses().await;
        client.close().await;
        let (_, answer) = answers.into_iter().find(|(of, _)| *of == node).expect("the cluster has such a node");
        answer.unwrap_or_else(|error| panic!("n{number} does not tell its status: {error}"))
    }

    /// Makes the files of a node that is to join, and starts nothing. It is no member until somebody makes it one.
    ///
    /// # Panics
    /// If there is no certificate for its number, or its files cannot be made.
    pub fn add(&mut self, number: u32) -> &mut Node {
        let node = Node::new(number, ports::free_address(), self.directory.path());
        let text = format!(
            "[cluster]\nname = \"{}\"\n{}join = {:?}\n\n[node]\nid = {number}\nlisten = \"{}\"\ndata = \"n{number}.data\"\n{}",
            self.name,
            self.options.cluster_lines,
            self.addresses(),
            node.address(),
            self.options.node_lines,
        );
        fs::write(node.config(), text).expect("the temporary directory can be written");
        self.nodes.push(node);
        self.node(number)
    }

    /// Gives a node that has left the cluster and was stopped: what is done with all nodes is not done with it any more.
    ///
    /// # Panics
    /// If there is none, or it runs.
    pub fn take_out(&mut self, number: u32) -> Node {
        let index = self.nodes.iter().position(|node| node.number() == number);
        let mut node = self.nodes.remove(index.expect("the cluster has such a node"));
        assert!(!node.is_running(), "n{number} still runs");
        node
    }

    fn write_files(&self) {
        let options = &self.options;
        let write = |path: &Path, text: String| fs::write(path, text).expect("the temporary directory can be written");
        let member = |node: &Node| {
            let zone = options.zone_of(node.number()).map(|zone| format!(", zone = \"{zone}\"")).unwrap_or_default();
            format!("{{ node = {}, address = \"{}\"{zone} }}", node.number(), self.address(node))
        };
        let members: Vec<_> = self.nodes.iter().map(member).collect();
        for node in &self.nodes {
            let text = format!(
                "[cluster]\nname = \"{}\"\n{}members = [\n    {},\n]\n\n[node]\nid = {}\ndata = \"n{}.data\"\n{}{}",
                self.name,
                options.cluster_lines,
                members.join(",\n    "),
                node.number(),
                node.number(),
                self.network.as_ref().map_or_else(String::new, |_| format!("listen = \"{}\"\n", node.address())),
                options.node_lines,
            );
            write(&node.config(), text);
        }
        let client = format!(
            "[client]\nseeds = {:?}\ncluster = \"{}\"\nca = \"ca.pem\"\ncertificate = \"client.pem\"\nkey = \"client.key\"\n",
            self.addresses(),
            self.name
        );
        write(&self.file("client.toml"), client);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.nodes.iter().for_each(Node::show_log);
        }
    }
}

fn status_of<E>(answers: &[(NodeId, Result<NodeStatus, E>)], number: u32) -> Option<&NodeStatus> {
    let (_, answer) = answers.iter().find(|(node, _)| node.number() == number)?;
    answer.as_ref().ok()
}
