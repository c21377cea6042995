//! Redis Cluster: three masters, each with one replica, their logs synced every second, and no snapshots nor rewriting of logs beside.
//! Each client has a connection to each master, as `WAIT` holds up a connection until the replica has answered.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_tests::wait::until;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::server::{Server, free_port, version};
use super::{Settings, Store, measure as measure_all};

const MASTERS: usize = 3;
const SLOTS: u16 = 16_384;
/// Of each master, as `redis-cli --cluster create` gives them out.
const FIRST_SLOTS: [u16; MASTERS] = [0, 5_461, 10_923];
const START: Duration = Duration::from_secs(60);

type Connection = Mutex<BufReader<TcpStream>>;

#[derive(Clone)]
struct Redis {
    /// Of each client, one to each master.
    connections: Arc<Vec<[Connection; MASTERS]>>,
    replicated: Replicated,
}

/// When a write is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Replicated {
    /// When the master has it.
    Later,
    /// When the replica has it, too.
    Before,
}

pub(super) async fn measure(settings: &Settings) {
    let Some(version) = version("redis-server", "redis-server redis-tools") else {
        return;
    };
    println!("| **{version}** | | | | | |");
    let directory = tempfile::TempDir::with_prefix("quorate-bench-redis-").expect("a temporary directory");
    let ports: Vec<u16> = (0..2 * MASTERS).map(|_| free_port()).collect();
    let servers: Vec<Server> = ports
        .iter()
        .map(|port| {
            let (port, bus) = (port.to_string(), free_port().to_string());
            let arguments = ["--port", &port, "--cluster-port", &bus, "--bind", "127.0.0.1", "--save", ""];
            let of_cluster = ["--cluster-enabled", "yes", "--appendonly", "yes", "--appendfsync", "everysec"];
            let unburdened = ["--auto-aof-rewrite-percentage", "0"];
            let arguments = [&arguments[..], &of_cluster, &unburdened].concat();
            Server::start("redis-server", &directory.path().join(&port), &arguments)
        })
        .collect();
    form(&ports);
    let connections = connect(&ports[..MASTERS], settings.clients).await;
    let way = |replicated| Redis { connections: connections.clone(), replicated };
    let puts = [
        ("put: SET and WAIT 1, logs synced every second", way(Replicated::Before)),
        ("put: SET alone, which a failover may lose", way(Replicated::Later)),
    ];
    let gets = [("get from the master", way(Replicated::Later))];
    let processes: Vec<u32> = servers.iter().map(Server::id).collect();
    measure_all(settings, &processes, &puts, &gets).await;
}

/// Makes a cluster of them, in which the first are the masters in the order of their slots.
fn form(ports: &[u16]) {
    let all_say = |ports: &[u16], asked: &[&str], wanted: &str| {
        let says = |port: &u16| cli(*port, asked).contains(wanted);
        until(&format!("all of Redis say {wanted}"), START, || ports.iter().all(says).then_some(()));
    };
    all_say(ports, &["ping"], "PONG");
    let addresses = ports.iter().map(|port| format!("127.0.0.1:{port}"));
    let arguments = ["--cluster", "create"].map(str::to_owned).into_iter().chain(addresses);
    let arguments = arguments.chain(["--cluster-replicas", "1", "--cluster-yes"].map(str::to_owned));
    let output = Command::new("redis-cli").args(arguments).output().expect("redis-cli is there");
    assert!(output.status.success(), "redis-cli: {}", String::from_utf8_lossy(&output.stdout));
    all_say(ports, &["cluster", "info"], "cluster_state:ok");
    all_say(&ports[..MASTERS], &["info", "replication"], "state=online");
}

fn cli(port: u16, arguments: &[&str]) -> String {
    let output = Command::new("redis-cli").args(["-p", &port.to_string()]).args(arguments).output();
    String::from_utf8_lossy(&output.expect("redis-cli is there").stdout).into_owned()
}

async fn connect(masters: &[u16], clients: u64) -> Arc<Vec<[Connection; MASTERS]>> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        let mut of_client = Vec::new();
        for port in masters {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).await.expect("it listens");
            stream.set_nodelay(true).expect("TCP knows the option");
            of_client.push(Mutex::new(BufReader::new(stream)));
        }
        connections.push(of_client.try_into().unwrap_or_else(|_| unreachable!("one for each master")));
    }
    Arc::new(connections)
}

impl Redis {
    fn connection(&self, client: u64, key: &str) -> &Connection {
        let slot = slot(key.as_bytes());
        let master = FIRST_SLOTS.partition_point(|first| *first <= slot) - 1;
        &self.connections[client as usize][master]
    }
}

impl Store for Redis {
    async fn put(&self, client: u64, key: String, value: Bytes) -> Result<(), String> {
        let mut connection = self.connection(client, &key).lock().await;
        let mut asked = command(&[b"SET", key.as_bytes(), &value]);
        if self.replicated == Replicated::Before {
            asked.extend(command(&[b"WAIT", b"1", b"0"]));
        }
        connection.write_all(&asked).await.map_err(|error| error.to_string())?;
        expect(&mut connection, "+OK").await?;
        match self.replicated {
            Replicated::Before => expect(&mut connection, ":1").await,
            Replicated::Later => Ok(()),
        }
    }

    async fn get(&self, client: u64, key: String, value: Bytes) -> Result<(), String> {
        let mut connection = self.connection(client, &key).lock().await;
        let asked = command(&[b"GET", key.as_bytes()]);
        connection.write_all(&asked).await.map_err(|error| error.to_string())?;
        let header = line(&mut connection).await?;
        // A put that is under way.
        if header == "$-1" {
            return Ok(());
        }
        let mut found = vec![0; value.len() + 2];
        if header != format!("${}", value.len()) {
            return Err(format!("a get was answered {header}"));
        }
        connection.read_exact(&mut found).await.map_err(|error| error.to_string())?;
        if found[..value.len()] == value[..] { Ok(()) } else { Err("a get found something else".to_owned()) }
    }
}

/// A command in Redis' protocol.
fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).into_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

async fn expect(connection: &mut BufReader<TcpStream>, wanted: &str) -> Result<(), String> {
    let found = line(connection).await?;
    if found == wanted { Ok(()) } else { Err(format!("answered {found:?} in place of {wanted:?}")) }
}

async fn line(connection: &mut BufReader<TcpStream>) -> Result<String, String> {
    let mut line = String::new();
    connection.read_line(&mut line).await.map_err(|error| error.to_string())?;
    Ok(line.trim_end().to_owned())
}

/// CRC-16/XMODEM of the key, by which Redis Cluster places it.
fn slot(key: &[u8]) -> u16 {
    let crc = key.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    });
    crc % SLOTS
}
