//! `quorate demo --elastic`: nodes join, leave, die and are replaced while an application goes on. The layout is changed by the very calls
//! that `quorate cluster` makes.

mod bars;
mod load;
mod watch;

use std::time::{Duration, Instant};

use quorate_client::{Bucket, Client};
use quorate_ring::NodeId;
use quorate_ring::layout::{Change, Role};

use self::load::SteadyLoad;
use super::{PACKAGES, Tour, records};
use crate::cli::cluster::change::wish;
use crate::cli::cluster::copies::Copies;
use crate::cli::cluster::plan::commit;
use crate::cli::connect::failure;
use crate::cli::exit::Failure;
use crate::cli::human;

/// The bucket that the application writes to all the time.
const EVENTS: &str = "events";
/// How long the application is alone with three nodes, so that there are figures to compare with.
const ALONE: Duration = Duration::from_secs(2);
/// How long a dead node is only missed, before it is replaced.
const DEAD: Duration = Duration::from_secs(4);
/// By when the application's client must go by a ring without a node that has left. It asks every three seconds.
const FOLLOWING_TIME_MAX: Duration = Duration::from_secs(20);
/// How often it is looked whether it does.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Nodes as the tour goes through them.
const JOINING: [u32; 2] = [4, 5];
const LEAVING: u32 = 3;
const REPLACEMENT: u32 = 6;

impl Tour<'_> {
    /// Goes through all steps.
    ///
    /// # Errors
    /// What kept the tour from going on. Promises that did not hold are the teller's.
    pub(in super::super) async fn run_elastic(mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        let client = self.start_nodes().await?;
        let packages = client.bucket(PACKAGES).map_err(|error| failure(&error))?;
        self.load(&packages).await?;
        // The application has a client of its own: it learns of changes as any other does.
        let application = self.connect().await?;
        let load = self.begin_load(&application).await?;
        self.two_join(&client, &load).await?;
        self.one_leaves(&client, &application, &load).await?;
        self.one_dies(&load).await?;
        self.it_is_replaced(&client, &load).await?;
        self.read_all_back(&client, load).await?;
        application.close().await;
        client.close().await;
        self.teller.sum_up(begun.elapsed())
    }

    async fn begin_load(&mut self, application: &Client) -> Result<SteadyLoad, Failure> {
        self.teller.step("An application writes and reads all the time, from now on to the end")?;
        let events = application.bucket(EVENTS).map_err(|error| failure(&error))?;
        let load = SteadyLoad::start(events);
        tokio::time::sleep(ALONE).await;
        let told = load.figures().told();
        self.promise_of_load("with three nodes the application meets no error", &load, told)?;
        Ok(load)
    }

    async fn two_join(&mut self, client: &Client, load: &SteadyLoad) -> Result<(), Failure> {
        self.teller.step("Two more nodes join")?;
        load.begin_step();
        let mut changes = Vec::new();
        for id in JOINING.map(node) {
            let address = self.start_new(id).await?;
            self.teller.command(&format!("quorate cluster join {} {address}", id.number()))?;
            changes.push((id, Change::Take(Role { address, zone: None, capacity: Default::default() })));
        }
        let took = self.carry_out(client, changes, load).await?;
        let told = format!("{} in {}", load.figures().told(), human::duration(took));
        self.promise_of_load("two nodes join, and no request fails", load, told)
    }

    async fn one_leaves(&mut self, client: &Client, application: &Client, load: &SteadyLoad) -> Result<(), Failure> {
        let leaving = node(LEAVING);
        self.teller.step(&format!("{leaving} leaves, and is then stopped"))?;
        load.begin_step();
        self.teller.command(&format!("quorate cluster leave {LEAVING}"))?;
        let took = self.carry_out(client, vec![(leaving, Change::Leave { forced: false })], load).await?;
        until_left(application, leaving).await?;
        self.cluster.stop_these(&[leaving]).await?;
        let told = format!("{} in {}", load.figures().told(), human::duration(took));
        self.promise_of_load("a node leaves, and no request fails", load, told)
    }

    async fn one_dies(&mut self, load: &SteadyLoad) -> Result<(), Failure> {
        let victim = self.victim();
        self.teller.step(&format!("{victim} dies for good"))?;
        load.begin_step();
        self.teller.command(&format!("kill -9 {}", self.cluster.process_id(victim).unwrap_or_default()))?;
        self.cluster.kill(victim)?;
        tokio::time::sleep(DEAD).await;
        let after = load.figures();
        self.teller.say(&format!(
            "Of {} writes that {victim} had in hand nobody could know: they were read and then written again.",
            human::count(after.settled)
        ))?;
        self.promise_of_load("a node is killed, and no request fails", load, after.told())
    }

    async fn it_is_replaced(&mut self, client: &Client, load: &SteadyLoad) -> Result<(), Failure> {
        let (old, new) = (self.victim(), node(REPLACEMENT));
        self.teller.step(&format!("{new} takes the place of {old}"))?;
        load.begin_step();
        let address = self.start_new(new).await?;
        self.teller.command(&format!("quorate cluster replace {} {REPLACEMENT} {address} --force", old.number()))?;
        let role = Role { address, zone: None, capacity: Default::default() };
        let changes = vec![(new, Change::Take(role)), (old, Change::Leave { forced: true })];
        let took = self.carry_out(client, changes, load).await?;
        let told = format!("{} in {}", load.figures().told(), human::duration(took));
        self.promise_of_load("a dead node is replaced, and no request fails", load, told)
    }

    async fn read_all_back(&mut self, client: &Client, load: SteadyLoad) -> Result<(), Failure> {
        self.teller.step("Read back everything that was ever acknowledged")?;
        let acknowledged = load.finish().await;
        self.teller.command("quorate wait --converged")?;
        let took = self.until_converged(client).await?;
        self.teller.say(&format!("All replicas hold the same, after {}.", human::duration(took)))?;
        let before = repairs(client).await;
        let bucket = |name: &str| -> Result<Bucket, Failure> { client.bucket(name).map_err(|error| failure(&error)) };
        self.teller.command(&format!("quorate get --bucket {EVENTS} --r 3 ..."))?;
        let loaded = records::verify(&bucket(PACKAGES)?, self.records, 1, 3).await?;
        let written = records::verify_these(&bucket(EVENTS)?, &acknowledged, 3).await?;
        self.teller.promise(
            "what was loaded before the changes is there, by its hash",
            loaded.all_right(),
            loaded.told(),
        )?;
        self.teller.promise(
            "what was written during them is there, by its hash",
            written.all_right(),
            written.told(),
        )?;
        let stale = repairs(client).await.saturating_sub(before);
        let told = format!("three replicas of each record were compared, {} were behind", human::count(stale));
        self.teller.promise("the replicas hold the same", stale == 0, told)
    }

    /// Starts a node that is no member yet, and gives where it listens.
    async fn start_new(&mut self, id: NodeId) -> Result<String, Failure> {
        let address = self.cluster.add(id)?;
        self.teller.command(&format!("quorate node --config {id}.toml"))?;
        self.cluster.start(id).await?;
        Ok(address)
    }

    /// Stages changes and commits them, and shows how they are carried out until they are. Gives how long that took.
    async fn carry_out(
        &mut self,
        client: &Client,
        changes: Vec<(NodeId, Change)>,
        load: &SteadyLoad,
    ) -> Result<Duration, Failure> {
        wish(client, &Copies::gather(client).await?, changes).await?;
        self.teller.command("quorate cluster commit && quorate wait --stable")?;
        self.teller.say(&commit(client, None).await?.describe())?;
        watch::until_stable(self.teller, client, load).await
    }

    fn promise_of_load(&mut self, what: &str, load: &SteadyLoad, told: String) -> Result<(), Failure> {
        let told = load.first_error().map_or(told.clone(), |error| format!("{told}; the first: {error}"));
        let figures = load.figures();
        self.teller.promise(what, figures.errors == 0 && 0 < figures.operations, told)
    }
}

fn node(number: u32) -> NodeId {
    NodeId::new(number).expect("the tour's nodes are counted from 1")
}

/// Replicas that were found behind by reads, at all nodes.
async fn repairs(client: &Client) -> u64 {
    client.statuses().await.iter().flat_map(|(_, answer)| answer).map(|status| status.repairs).sum()
}

/// Waits until a client goes by a ring without this node.
async fn until_left(client: &Client, left: NodeId) -> Result<(), Failure> {
    let begun = Instant::now();
    while client.known_ring().members.iter().any(|member| member.node == left) {
        if FOLLOWING_TIME_MAX < begun.elapsed() {
            let message = format!("the application still asks {left}, {FOLLOWING_TIME_MAX:?} after it has left");
            return Err(Failure::local(message));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(())
}
