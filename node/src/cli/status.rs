//! `quorate status`: how all nodes of the cluster are, each asked itself.

use std::time::Duration;

use clap::Args;
use quorate_client::Error;
use quorate_ring::NodeId;
use quorate_ring::wire::{HintStatus, NodeStatus, ScrubStatus, StartKind, SyncStatus, Usage};
use serde::Serialize;

use super::cluster::copies::{Copies, describe_change};
use super::connect::ConnectArguments;
use super::exit::{Failure, FailureKind, Format};
use super::table::{Align, Table};
use super::{human, output};

/// Shows how all nodes are; exit code 3 if any cannot be reached
#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
}

/// Digits of an incarnation in the table: enough to see that it changed.
const INCARNATION_DIGITS: usize = 8;

/// A node's answer, or why there is none.
pub(crate) type Answer = (NodeId, Result<NodeStatus, Error>);

#[derive(Serialize)]
struct JsonStatus<'a> {
    node: u32,
    up: bool,
    #[serde(flatten)]
    status: Option<JsonFigures<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Serialize)]
struct JsonFigures<'a> {
    cluster: &'a str,
    release: &'a str,
    incarnation: String,
    start: &'static str,
    complete: bool,
    uptime_millis: u64,
    shards: u16,
    partitions: u32,
    gets: u64,
    puts: u64,
    deletes: u64,
    errors: u64,
    overloads: u64,
    repairs: u64,
    in_flight: u64,
    keys_about: u64,
    disk_bytes: u64,
    memory_bytes: u64,
    cpu_micros: u64,
    sync: JsonSync,
    hints: Vec<JsonHints>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<JsonUsage>,
    peers: Vec<JsonPeer<'a>>,
}

#[derive(Serialize)]
struct JsonSync {
    age_millis: Option<u64>,
    partitions_behind: u32,
    partitions_differing: u32,
    exchanges: u64,
    keys_received: u64,
    bytes_received: u64,
    transfers: u64,
    scrub: JsonScrub,
}

#[derive(Serialize)]
struct JsonScrub {
    partitions_scrubbed: u32,
    partitions: u32,
    rounds: u64,
    round_age_millis: Option<u64>,
    keys_unreadable: u64,
    ranges_differing: u64,
    faults_mended: u64,
    pages_uncompared: u64,
    pages_unreadable: u64,
}

#[derive(Serialize)]
struct JsonHints {
    target: u32,
    count: u64,
    bytes: u64,
    age_millis: u64,
}

#[derive(Serialize)]
struct JsonUsage {
    context_switches: Option<u64>,
    disk_bytes_read: Option<u64>,
    disk_bytes_written: Option<u64>,
    peer_bytes_sent: u64,
    peer_bytes_received: u64,
    client_bytes_sent: u64,
    client_bytes_received: u64,
}

#[derive(Serialize)]
struct JsonPeer<'a> {
    node: u32,
    connected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
}

impl StatusArguments {
    /// Runs the command.
    ///
    /// # Errors
    /// If no node, or not every node, can be reached.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connect.connect().await?;
        let answers: Vec<Answer> = client.statuses().await;
        // Whoever answered is asked; if nobody did, that is what is told below.
        let change = Copies::gather(&client).await.map(|copies| describe_change(&copies.merged)).unwrap_or_default();
        client.close().await;
        match self.connect.format() {
            Format::Json => answers.iter().try_for_each(|(node, answer)| output::print_json(&json(*node, answer)))?,
            Format::Human => output::print(&format!("{}{change}", describe(&answers, "")))?,
        }
        let missing: Vec<_> =
            answers.iter().filter(|(_, answer)| answer.is_err()).map(|(node, _)| node.to_string()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!("{} of {} nodes cannot be reached: {}", missing.len(), answers.len(), missing.join(", "));
        Err(Failure::new(FailureKind::Unavailable, message))
    }
}

/// All answers as tables, and what is wrong as sentences.
pub(crate) fn describe(answers: &[Answer], indent: &str) -> String {
    let mut table = Table::new([
        ("node", Align::Left),
        ("up for", Align::Right),
        ("started", Align::Left),
        ("incarnation", Align::Right),
        ("keys, about", Align::Right),
        ("disk", Align::Right),
        ("memory", Align::Right),
        ("gets", Align::Right),
        ("puts", Align::Right),
        ("deletes", Align::Right),
        ("errors", Align::Right),
        ("repairs", Align::Right),
        ("in sync", Align::Right),
        ("hints", Align::Right),
        ("scrubbed", Align::Right),
        ("peers", Align::Right),
    ]);
    let mut problems = Vec::new();
    for (node, answer) in answers {
        match answer {
            Ok(status) => {
                table.row(cells(status));
                let lost = status.peers.iter().filter(|peer| !peer.connected);
                problems.extend(lost.map(|peer| {
                    let problem = peer.problem.as_deref().unwrap_or("not connected");
                    format!("{node} cannot reach {}: {problem}", peer.node)
                }));
                problems.extend(faults(status));
            }
            Err(error) => {
                table.row([node.to_string(), "down".to_owned()]);
                problems.push(format!("{node} is down: {error}"));
            }
        }
    }
    let problems: Vec<_> = problems.iter().map(|problem| format!("{indent}{problem}\n")).collect();
    table.render(indent) + &describe_hints(answers, indent) + &problems.concat()
}

/// What nodes keep for others, if any do: the table above has only the sums.
fn describe_hints(answers: &[Answer], indent: &str) -> String {
    let mut table = Table::new([
        ("hints kept by", Align::Left),
        ("for", Align::Left),
        ("count", Align::Right),
        ("bytes", Align::Right),
        ("oldest", Align::Right),
    ]);
    let statuses: Vec<_> = answers.iter().filter_map(|(_, answer)| answer.as_ref().ok()).collect();
    for (keeper, hints) in statuses.iter().flat_map(|status| status.hints.iter().map(|hints| (status.node, hints))) {
        table.row([
            keeper.to_string(),
            hints.target.to_string(),
            human::count(hints.count),
            human::bytes(hints.bytes),
            human::duration(Duration::from_millis(hints.age_millis)),
        ]);
    }
    if table.is_empty() { String::new() } else { table.render(indent) }
}

/// What a node's disk has done wrong. Each is a fault, however well it was mended.
fn faults(status: &NodeStatus) -> Vec<String> {
    let (node, scrub) = (status.node, &status.sync.scrub);
    let told = [
        (
            scrub.keys_unreadable,
            "keys cannot be read there; others answer, and they are mended when all replicas can be asked",
        ),
        (scrub.faults_mended, "faults of its disk were found and mended since its start: look after the disk"),
        (
            scrub.pages_unreadable,
            "times a part of its store could not be read at all, a damaged place once in every sweep: where others hold replicas, stop \
             it, move its data directory away, and start it on an empty one; keep the old one until it has caught up",
        ),
    ];
    let told = told.into_iter().filter(|(count, _)| 0 < *count);
    told.map(|(count, what)| format!("{node}: {} {what}", human::count(count))).collect()
}

fn cells(status: &NodeStatus) -> Vec<String> {
    let connected = status.peers.iter().filter(|peer| peer.connected).count();
    vec![
        status.node.to_string(),
        human::duration(Duration::from_millis(status.uptime_millis)),
        match status.complete {
            true => start_text(status.start).to_owned(),
            false => format!("{}, catching up", start_text(status.start)),
        },
        status.incarnation.to_string().chars().take(INCARNATION_DIGITS).collect(),
        human::count(status.keys_about),
        human::bytes(status.disk_bytes),
        human::bytes(status.memory_bytes),
        human::count(status.gets),
        human::count(status.puts),
        human::count(status.deletes),
        human::count(status.errors),
        human::count(status.repairs),
        match status.sync.age_millis {
            Some(age) => format!("{} ago", human::duration(Duration::from_millis(age))),
            None => "never".to_owned(),
        },
        human::count(status.hints.iter().map(|hints| hints.count).sum()),
        match (status.sync.scrub.partitions_scrubbed, status.sync.scrub.partitions) {
            (_, 0) => "-".to_owned(),
            (done, all) => format!("{} %", u64::from(done) * 100 / u64::from(all)),
        },
        format!("{connected}/{}", status.peers.len()),
    ]
}

/// How a process began, in a few words.
pub(crate) fn start_text(start: StartKind) -> &'static str {
    match start {
        StartKind::First => "empty",
        StartKind::Clean => "after a clean stop",
        StartKind::ProcessCrash => "after a crash",
        StartKind::PossibleLoss => "after a possible loss",
    }
}

fn json(node: NodeId, answer: &Result<NodeStatus, Error>) -> JsonStatus<'_> {
    JsonStatus {
        node: node.number(),
        up: answer.is_ok(),
        status: answer.as_ref().ok().map(figures),
        problem: answer.as_ref().err().map(ToString::to_string),
    }
}

fn figures(status: &NodeStatus) -> JsonFigures<'_> {
    JsonFigures {
        cluster: status.cluster.as_str(),
        release: &status.release,
        incarnation: status.incarnation.to_string(),
        start: match status.start {
            StartKind::First => "first",
            StartKind::Clean => "clean",
            StartKind::ProcessCrash => "process_crash",
            StartKind::PossibleLoss => "possible_loss",
        },
        complete: status.complete,
        uptime_millis: status.uptime_millis,
        shards: status.shards,
        partitions: status.partitions,
        gets: status.gets,
        puts: status.puts,
        deletes: status.deletes,
        errors: status.errors,
        overloads: status.overloads,
        repairs: status.repairs,
        in_flight: status.in_flight,
        keys_about: status.keys_about,
        disk_bytes: status.disk_bytes,
        memory_bytes: status.memory_bytes,
        cpu_micros: status.cpu_micros,
        sync: json_sync(status.sync),
        hints: status.hints.iter().map(json_hints).collect(),
        usage: status.usage.map(json_usage),
        peers: status
            .peers
            .iter()
            .map(|peer| JsonPeer {
                node: peer.node.number(),
                connected: peer.connected,
                problem: peer.problem.as_deref(),
            })
            .collect(),
    }
}

fn json_sync(sync: SyncStatus) -> JsonSync {
    JsonSync {
        age_millis: sync.age_millis,
        partitions_behind: sync.partitions_behind,
        partitions_differing: sync.partitions_differing,
        exchanges: sync.exchanges,
        keys_received: sync.keys_received,
        bytes_received: sync.bytes_received,
        transfers: sync.transfers,
        scrub: json_scrub(sync.scrub),
    }
}

fn json_scrub(scrub: ScrubStatus) -> JsonScrub {
    JsonScrub {
        partitions_scrubbed: scrub.partitions_scrubbed,
        partitions: scrub.partitions,
        rounds: scrub.rounds,
        round_age_millis: scrub.round_age_millis,
        keys_unreadable: scrub.keys_unreadable,
        ranges_differing: scrub.ranges_differing,
        faults_mended: scrub.faults_mended,
        pages_uncompared: scrub.pages_uncompared,
        pages_unreadable: scrub.pages_unreadable,
    }
}

fn json_hints(hints: &HintStatus) -> JsonHints {
    JsonHints { target: hints.target.number(), count: hints.count, bytes: hints.bytes, age_millis: hints.age_millis }
}

fn json_usage(usage: Usage) -> JsonUsage {
    JsonUsage {
        context_switches: usage.context_switches,
        disk_bytes_read: usage.disk_bytes_read,
        disk_bytes_written: usage.disk_bytes_written,
        peer_bytes_sent: usage.peer_bytes_sent,
        peer_bytes_received: usage.peer_bytes_received,
        client_bytes_sent: usage.client_bytes_sent,
        client_bytes_received: usage.client_bytes_received,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use quorate_ring::ClusterName;
    use quorate_ring::version::Incarnation;
    use quorate_ring::wire::PeerStatus;

    use super::*;

    pub(crate) fn node(number: u32) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    /// A node that has been compared with its only peer, and keeps nothing.
    pub(crate) fn status() -> NodeStatus {
        NodeStatus {
            node: node(1),
            cluster: ClusterName::new("c").expect("valid"),
            release: String::new(),
            incarnation: Incarnation::new(1),
            start: StartKind::First,
            complete: true,
            uptime_millis: 0,
            shards: 1,
            partitions: 8,
            peers: vec![PeerStatus { node: node(2), connected: true, problem: None }],
            gets: 0,
            puts: 0,
            deletes: 0,
            errors: 0,
            overloads: 0,
            repairs: 0,
            in_flight: 0,
            keys_about: 0,
            disk_bytes: 0,
            memory_bytes: 0,
            cpu_micros: 0,
            sync: SyncStatus { age_millis: Some(99), ..SyncStatus::default() },
            hints: Vec::new(),
            hints_counted: true,
            hints_mark: 0,
            usage: None,
        }
    }

    #[test]
    fn hints_are_told_with_whom_they_are_for_and_how_old_they_are() {
        let hint = |number, count| HintStatus {
            target: node(number),
            count,
            bytes: 2048,
            age_millis: 90_000,
            outstanding_from: 0,
        };
        let keeps = NodeStatus { hints: vec![hint(2, 303), hint(3, 1)], ..status() };
        let text = anstream::adapter::strip_str(&describe(&[(node(1), Ok(keeps))], "")).to_string();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let told = [
            vec!["n1", "n2", "303", "2.0", "KiB", "1", "min", "30", "s"],
            vec!["n1", "n3", "1", "2.0", "KiB", "1", "min", "30", "s"],
        ];
        assert!(told.iter().all(|row| rows.contains(row)), "{text}");
        let none = describe(&[(node(1), Ok(status()))], "");
        assert!(!none.contains("hints kept by"), "{none}");
    }
}
