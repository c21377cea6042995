//! `quorate demo`: guided tours of a real cluster on this machine: of what it survives, and of nodes that come and go.
//!
//! The nodes are processes of this same program; the tour is a client like any other. Whatever happens, also Ctrl-C, nothing is
//! left running, and nothing is left on the disk unless that was asked for.

mod cluster;
mod records;
mod tell;
mod tour;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use tempfile::TempDir;

use self::cluster::DemoCluster;
use self::tell::Teller;
use self::tour::Tour;
use super::exit::Failure;
use super::interrupt::interrupted;

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

/// Where the demo's files are.
enum Place {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Place {
    fn make(asked: Option<PathBuf>) -> Result<Self, Failure> {
        let Some(directory) = asked else {
            let made = tempfile::Builder::new().prefix("quorate-demo-").tempdir();
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

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(directory) => directory.path(),
            Self::Kept(directory) => directory,
        }
    }
}

impl DemoArguments {
    /// Runs the tour.
    ///
    /// # Errors
    /// What failed, or was not as promised.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        // Declared first, so removed last: the processes in it must be gone by then.
        let place = Place::make(self.dir)?;
        let mut cluster = DemoCluster::prepare(place.path())?;
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

fn tell_how_to_connect(cluster: &DemoCluster, teller: &Teller) -> Result<(), Failure> {
    teller.say("\nThe cluster stays until Ctrl-C. In another terminal:")?;
    teller.command(&format!("export QUORATE_CONFIG={}", cluster.file("client.toml").display()))?;
    teller.command("quorate status")?;
    teller.command("quorate put greeting hello")?;
    teller.command("quorate get greeting")
}
