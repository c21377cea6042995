//! `quorate demo`: guided tours of a real cluster on this machine: of what it survives, and of nodes that come and go.
//!
//! The nodes are processes of this same program; the tour is a client like any other. Whatever happens, also Ctrl-C, nothing is
//! left running, and nothing is left on the disk unless that was asked for.

mod records;
mod tell;
mod tour;

use std::path::PathBuf;

use clap::Args;
use quorate_ring::PartitionCount;

use self::tell::Teller;
use self::tour::Tour;
use super::exit::Failure;
use super::interrupt::interrupted;
use super::local::{LocalCluster, Place};

/// How many nodes there are at first: as many as replicas, so that every node holds every key.
const NODES: u32 = 3;

/// Shows a real cluster on this machine, and what it survives, in less than a minute
///
/// With --elastic: how nodes join, leave, die and are replaced while an application goes on writing and reading.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// The tour of a cluster that grows and shrinks: two nodes join, one leaves, one is killed and replaced, under load
    #[arg(long)]
    elastic: bool,
    /// Leave the cluster running after the tour, until Ctrl-C
    #[arg(long)]
    stay: bool,
    /// How many records to load
    #[arg(long, value_name = "NUMBER", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    records: u64,
    /// Put everything into this new directory and keep it [default: a temporary directory, removed at the end]
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
}

impl DemoArguments {
    /// Runs the tour.
    ///
    /// # Errors
    /// What failed, or was not as promised.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        // Declared first, so removed last: the processes in it must be gone by then.
        let place = Place::make(self.dir, "quorate-demo-")?;
        let mut cluster = LocalCluster::prepare(place.path(), NODES, PartitionCount::default())?;
        let mut teller = Teller::default();
        let after = match place {
            Place::Temporary(_) => "removed at the end",
            Place::Kept(_) => "kept",
        };
        teller.open(&format!("Everything is in {}, which is {after}.", place.path().display()))?;
        let tour = Tour::new(&mut cluster, &mut teller, self.records);
        let tour = async { if self.elastic { tour.run_elastic().await } else { tour.run().await } };
        tokio::select! {
            result = tour => result?,
            () = interrupted() => return Err(Failure::local("interrupted; the nodes were stopped")),
        }
        if self.stay {
            tell_how_to_connect(&cluster, &teller)?;
            interrupted().await;
        }
        cluster.stop().await?;
        teller.verdict()
    }
}

fn tell_how_to_connect(cluster: &LocalCluster, teller: &Teller) -> Result<(), Failure> {
    teller.say("\nThe cluster stays until Ctrl-C. In another terminal:")?;
    teller.command(&format!("export QUORATE_CONFIG={}", cluster.file("client.toml").display()))?;
    teller.command("quorate status")?;
    teller.command("quorate put greeting hello")?;
    teller.command("quorate get greeting")
}
