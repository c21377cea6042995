//! A node is killed in the middle of a load, and comes back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate_client::{Bucket, Client, Error, Said};
use quorate_ring::NodeId;
use quorate_ring::version::Incarnation;
use quorate_ring::wire::{ReplicaAnswer, RequestError, StartKind};

use super::super::tell::INDENT;
use super::{PACKAGES, Tour, records};
use crate::cli::connect::failure;
use crate::cli::exit::Failure;
use crate::cli::load::write::{Mode, Written};
use crate::cli::{human, local, status};

/// How often the load is looked at, to kill the node in its middle.
const WATCH_INTERVAL: Duration = Duration::from_millis(5);
/// The edition of the second load: every value differs from the first load's.
const SECOND: u64 = 2;

impl Tour<'_> {
    /// Kills a node in the middle of a load that overwrites everything. Gives the incarnation that died.
    pub(super) async fn crash(&mut self, client: &Client, packages: &Bucket) -> Result<Incarnation, Failure> {
        let victim = self.victim();
        self.teller.step(&format!("Kill {victim} in the middle of a second load"))?;
        let incarnation = client.status(victim).await.map_err(|error| failure(&error))?.incarnation;
        let process = self.cluster.process_id(victim).unwrap_or_default();
        self.teller.say("The second load reads every record and overwrites it with a new edition.")?;
        self.teller.command(&format!("quorate load --bucket {PACKAGES} packages-2.jsonl &"))?;
        self.teller.command(&format!("kill -9 {process}"))?;
        let written = Arc::new(Written::default());
        let half = self.records / 2;
        let load = records::store(packages, self.records, SECOND, Mode::Replace, &written);
        let kill = async {
            while written.records.load(Ordering::Relaxed) < half {
                tokio::time::sleep(WATCH_INTERVAL).await;
            }
            let at = written.records.load(Ordering::Relaxed);
            self.cluster.kill(victim).map(|_| at)
        };
        let (took, at) = tokio::try_join!(load, kill)?;
        let (stored, retried, settled) = (
            written.records.load(Ordering::Relaxed),
            written.retried.load(Ordering::Relaxed),
            written.settled.load(Ordering::Relaxed),
        );
        self.teller.say(&format!(
            "{victim} died after {} records; the load went on and took {}. Of the requests that {victim} had in hand, {retried} had \
             surely done\nnothing and were sent again; of {settled} nobody could know, so they were read and then written again.",
            human::count(at),
            human::duration(took)
        ))?;
        let failed = self.records - stored;
        let told = format!("{} stored, {} failed", human::count(stored), human::count(failed));
        self.teller.promise("a crash stops no writes", failed == 0, told)?;
        let check = records::verify(packages, self.records, SECOND, 2).await?;
        self.teller.promise("two nodes of three serve everything", check.all_right(), check.told())?;
        self.ask_for_all(packages).await?;
        Ok(incarnation)
    }

    /// Asks for more than there can be.
    async fn ask_for_all(&mut self, packages: &Bucket) -> Result<(), Failure> {
        let victim = self.victim();
        self.teller.say("Who insists on all three nodes is told what is missing:")?;
        let key = records::key_of(0);
        self.teller.command(&format!("quorate get --bucket {PACKAGES} --r 3 {key}"))?;
        match packages.get(key).r(3).await {
            Ok(_) => self.teller.promise("an error names the missing node", false, "the read succeeded"),
            Err(error) => {
                self.teller.say(&format!("error: {}", failure(&error).message))?;
                let named = blames(&error, victim);
                let seen = if named { format!("it names {victim}") } else { format!("it does not name {victim}") };
                self.teller.promise("an error names the missing node", named, seen)
            }
        }
    }

    /// Merges what was written twice, if anything was.
    async fn merge(&mut self, packages: &Bucket, check: records::Check) -> Result<(), Failure> {
        if check.doubled().is_empty() {
            return Ok(());
        }
        let victim = self.victim();
        self.teller.say(&format!(
            "{} of the writes that {victim} had in hand when it died turn out to have happened: beside the second attempt, and never\n\
             hidden. Such a key has the same value twice, until somebody writes it with the context of a read:",
            human::count(check.doubled().len() as u64)
        ))?;
        records::merge(packages, check.doubled(), SECOND).await?;
        let check = records::verify(packages, self.records, SECOND, 3).await?;
        let once = check.all_right() && check.doubled().is_empty();
        self.teller.promise("siblings merge into one value", once, check.told())
    }

    /// Brings the node back, and shows that it catches up.
    pub(super) async fn come_back(
        &mut self,
        client: &Client,
        packages: &Bucket,
        before: Incarnation,
    ) -> Result<(), Failure> {
        let victim = self.victim();
        self.teller.step(&format!("Bring {victim} back"))?;
        self.teller.command(&format!("quorate node --config {victim}.toml"))?;
        let took = self.cluster.start(victim).await?;
        let answers = local::meet(client).await?;
        self.teller.say(&format!("{victim} serves again after {} ms.", took.as_millis()))?;
        self.teller.command("quorate status")?;
        self.teller.print(&status::describe(&answers, INDENT))?;
        self.teller.say(
            "It goes on with its data but as a new incarnation: a node that cannot prove that it stopped in order never writes under\n\
             its old identity again, since giving the name of a lost write to a new one is how such stores lose data.",
        )?;
        let status = client.status(victim).await.map_err(|error| failure(&error))?;
        let renewed = status.incarnation != before && status.start == StartKind::ProcessCrash;
        let seen = format!("{before} became {}", status.incarnation);
        self.teller.promise("a crashed node returns as a new incarnation", renewed, seen)?;
        self.teller.say(&format!("Reads that ask all three find what {victim} missed, and mend it:"))?;
        let check = records::verify(packages, self.records, SECOND, 3).await?;
        let repairs: u64 =
            client.statuses().await.iter().flat_map(|(_, answer)| answer).map(|status| status.repairs).sum();
        let told = format!("{}; {} stale copies mended", check.told(), human::count(repairs));
        self.teller.promise("all three nodes have every record", check.all_right(), told)?;
        self.merge(packages, check).await
    }
}

/// Whether an error says that this node is the one that was missing.
fn blames(error: &Error, missing: NodeId) -> bool {
    let said_by_node = |error: &RequestError| match error {
        RequestError::ReadQuorum { answers, .. } => {
            answers.iter().any(|(node, answer)| *node == missing && *answer != ReplicaAnswer::Done)
        }
        _ => false,
    };
    match error {
        Error::Node { error, .. } => said_by_node(error),
        Error::Timeout { tried, .. } => {
            tried.iter().any(|tried| matches!(&tried.said, Said::Refused(error) if said_by_node(error)))
        }
        _ => false,
    }
}
