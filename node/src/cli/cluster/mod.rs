//! `quorate cluster`: who takes part. A change is staged, looked at, then committed; the cluster carries it out while it serves.

pub(crate) mod change;
pub(crate) mod copies;
pub(crate) mod plan;

use clap::{Args, Subcommand};

use self::change::{JoinArguments, LeaveArguments, ReplaceArguments, SetArguments};
use self::plan::{CommitArguments, PlanArguments, RevertArguments};
use super::exit::{Failure, Format};

const EXAMPLES: &str = "\
Examples, a fourth node, and a dead one that is replaced:
  quorate cluster join 4 10.0.0.4:7401 --zone b
  quorate cluster plan
  quorate cluster commit && quorate wait --stable --at-most 1h

  quorate cluster replace 2 5 10.0.0.5:7401 --force
  quorate cluster commit

A node that joins is started with a configuration that has cluster.join in place of cluster.members, before or after it is made a member. \
One that has left can be stopped once `quorate wait --stable` returns.";

/// Changes who takes part in the cluster, while it serves
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ClusterArguments {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    Join(JoinArguments),
    Leave(LeaveArguments),
    Replace(ReplaceArguments),
    Set(SetArguments),
    Plan(PlanArguments),
    Commit(CommitArguments),
    Revert(RevertArguments),
}

impl ClusterArguments {
    pub(crate) fn format(&self) -> Format {
        match &self.command {
            ClusterCommand::Join(arguments) => arguments.connect.format(),
            ClusterCommand::Leave(arguments) => arguments.connect.format(),
            ClusterCommand::Replace(arguments) => arguments.connect.format(),
            ClusterCommand::Set(arguments) => arguments.connect.format(),
            ClusterCommand::Plan(arguments) => arguments.connect.format(),
            ClusterCommand::Commit(arguments) => arguments.connect.format(),
            ClusterCommand::Revert(arguments) => arguments.connect.format(),
        }
    }

    /// Runs the command.
    ///
    /// # Errors
    /// If the cluster cannot be reached, or cannot be changed so.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.command {
            ClusterCommand::Join(arguments) => arguments.run().await,
            ClusterCommand::Leave(arguments) => arguments.run().await,
            ClusterCommand::Replace(arguments) => arguments.run().await,
            ClusterCommand::Set(arguments) => arguments.run().await,
            ClusterCommand::Plan(arguments) => arguments.run().await,
            ClusterCommand::Commit(arguments) => arguments.run().await,
            ClusterCommand::Revert(arguments) => arguments.run().await,
        }
    }
}
