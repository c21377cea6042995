//! The tour's steps, in order, and what they share.

mod crash;
mod elastic;
mod records;
mod siblings;

use std::time::{Duration, Instant};

use quorate_client::{Bucket, Client};
use quorate_ring::NodeId;

use super::tell::{INDENT, Teller};
use crate::cli::connect::failure;
use crate::cli::exit::Failure;
use crate::cli::local::{self, LocalCluster};
use crate::cli::ring_table;

/// How long the demo's requests may take: short, so that what is silent shows soon.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The bucket of the records.
const PACKAGES: &str = "packages";

/// The tour under way.
pub(super) struct Tour<'a> {
    cluster: &'a mut LocalCluster,
    teller: &'a mut Teller,
    records: u64,
}

impl<'a> Tour<'a> {
    /// A tour of a cluster that was prepared and not started.
    pub(super) fn new(cluster: &'a mut LocalCluster, teller: &'a mut Teller, records: u64) -> Self {
        Self { cluster, teller, records }
    }

    /// Goes through all steps.
    ///
    /// # Errors
    /// What kept the tour from going on. Promises that did not hold are the teller's.
    pub(super) async fn run(mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        let client = self.start_nodes().await?;
        let packages = client.bucket(PACKAGES).map_err(|error| failure(&error))?;
        self.load(&packages).await?;
        self.read_back(&packages).await?;
        let before = self.crash(&client, &packages).await?;
        self.come_back(&client, &packages, before).await?;
        self.siblings().await?;
        client.close().await;
        self.teller.sum_up(begun.elapsed())
    }

    async fn start_nodes(&mut self) -> Result<Client, Failure> {
        self.teller.step("Three nodes, over QUIC, each with a RocksDB of its own")?;
        let ids: Vec<_> = self.cluster.ids().collect();
        for (id, address) in ids.into_iter().zip(self.cluster.addresses()) {
            self.teller.command(&format!("quorate node --config {id}.toml"))?;
            let took = self.cluster.start(id).await?;
            let process = self.cluster.process_id(id).unwrap_or_default();
            self.teller.say(&format!("{id} serves on {address} (process {process}) after {} ms", took.as_millis()))?;
        }
        let client = self.connect().await?;
        local::meet(&client).await?;
        self.teller.command("quorate ring")?;
        let description = client.known_ring();
        let ring = ring_table::ring_of(&description)?;
        self.teller.print(&ring_table::describe(&ring, &description, INDENT))?;
        self.teller
            .say("Each key is stored on 3 nodes. A write counts when 2 have it, a read when 2 have answered.")?;
        Ok(client)
    }

    /// A client of its own, that shares nothing with the others.
    async fn connect(&self) -> Result<Client, Failure> {
        self.cluster.connect(TIMEOUT).await
    }

    /// The node that is going to crash.
    fn victim(&self) -> NodeId {
        self.cluster.ids().nth(1).expect("there are three nodes")
    }

    async fn load(&mut self, packages: &Bucket) -> Result<(), Failure> {
        self.teller.step("Load records: acknowledged when 2 of 3 nodes have them")?;
        records::load_first(self.teller, packages, self.records).await
    }

    async fn read_back(&mut self, packages: &Bucket) -> Result<(), Failure> {
        self.teller.step("Read every one of them back")?;
        self.teller.command(&format!("quorate dump --bucket {PACKAGES}"))?;
        let check = records::verify(packages, self.records, 1, 2).await?;
        self.teller.promise("every acknowledged write is read back", check.all_right(), check.told())
    }
}
