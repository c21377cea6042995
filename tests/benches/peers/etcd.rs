//! etcd: three members, each put synced by a majority before its answer. As its own client does, the load speaks gRPC over one connection to
//! each member, and asks them in turn.
//!
//! Two calls with three fields are written by hand over HTTP/2: a whole gRPC library would have its code made from etcd's files by a
//! compiler that every build then needs.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use quorate_tests::wait::until_async;
use tokio::net::TcpStream;

use super::server::{Server, free_port, version};
use super::{Settings, Store, measure as measure_all};

const MEMBERS: usize = 3;
const START: Duration = Duration::from_secs(60);
/// A message of gRPC begins with a byte that says that it is not compressed, and four with its length.
const HEADER_BYTES: usize = 5;

#[derive(Clone)]
struct Etcd {
    members: Arc<[SendRequest<Bytes>; MEMBERS]>,
    reads: Reads,
}

/// Of what a get may know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// Of all that was answered before it was asked.
    Linearizable,
    /// Of what the member has that was asked.
    Serializable,
}

pub(super) async fn measure(settings: &Settings) {
    let Some(version) = version("etcd", "etcd-server") else {
        return;
    };
    println!("| **{version}** | | | | | |");
    let directory = tempfile::TempDir::with_prefix("quorate-bench-etcd-").expect("a temporary directory");
    let urls: Vec<[String; 2]> =
        (0..MEMBERS).map(|_| [free_port(), free_port()].map(|port| format!("http://127.0.0.1:{port}"))).collect();
    let named = urls.iter().enumerate().map(|(number, [_, peer])| format!("m{number}={peer}"));
    let named = named.collect::<Vec<_>>().join(",");
    let servers: Vec<Server> = urls
        .iter()
        .enumerate()
        .map(|(number, [client, peer])| {
            let name = format!("m{number}");
            let itself = ["--name", &name, "--data-dir", "data", "--initial-cluster", &named];
            let heard = ["--listen-client-urls", client, "--advertise-client-urls", client];
            let peers = ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer];
            let quiet = ["--logger", "zap", "--log-level", "error"];
            Server::start("etcd", &directory.path().join(&name), &[&itself[..], &heard, &peers, &quiet].concat())
        })
        .collect();
    let etcd = connect(&urls).await;
    let puts = [("put, synced by a majority", etcd.clone())];
    let serializable = Etcd { reads: Reads::Serializable, ..etcd.clone() };
    let gets = [("get, linearizable", etcd), ("get, serializable: from one member", serializable)];
    let processes: Vec<u32> = servers.iter().map(Server::id).collect();
    measure_all(settings, &processes, &puts, &gets).await;
}

async fn connect(urls: &[[String; 2]]) -> Etcd {
    let mut members = Vec::new();
    for [client, _] in urls {
        let address = client.trim_start_matches("http://");
        let connected = async || TcpStream::connect(address).await.ok();
        let stream = until_async("etcd listens", START, connected).await;
        stream.set_nodelay(true).expect("TCP knows the option");
        let (member, connection) = h2::client::handshake(stream).await.expect("etcd speaks HTTP/2");
        tokio::spawn(connection);
        members.push(member);
    }
    let members = members.try_into().unwrap_or_else(|_| unreachable!("one for each member"));
    let etcd = Etcd { members: Arc::new(members), reads: Reads::Linearizable };
    for member in 0..MEMBERS as u64 {
        let put = async || etcd.put(member, "first".to_owned(), Bytes::from_static(b"value")).await.ok();
        until_async("etcd has a leader", START, put).await;
    }
    etcd
}

impl Store for Etcd {
    async fn put(&self, client: u64, key: String, value: Bytes) -> Result<(), String> {
        let mut message = message(key.len() + value.len());
        put_field(&mut message, 1, key.as_bytes());
        put_field(&mut message, 2, &value);
        self.call(client, "/etcdserverpb.KV/Put", message).await.map(|_| ())
    }

    async fn get(&self, client: u64, key: String, value: Bytes) -> Result<(), String> {
        let mut message = message(key.len());
        put_field(&mut message, 1, key.as_bytes());
        if self.reads == Reads::Serializable {
            message.put_slice(&[7 << 3, 1]);
        }
        let answer = self.call(client, "/etcdserverpb.KV/Range", message).await?;
        // The value is the last field of the pair, behind which is their count. Without a pair, a put is under way.
        let found = answer.windows(value.len()).rev().any(|window| window == &value[..]);
        if found || answer.len() < value.len() { Ok(()) } else { Err("a get found something else".to_owned()) }
    }
}

impl Etcd {
    async fn call(&self, client: u64, path: &str, mut message: BytesMut) -> Result<BytesMut, String> {
        let length = u32::try_from(message.len() - HEADER_BYTES).expect("small");
        message[1..HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
        let request = Request::post(format!("http://127.0.0.1{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("valid");
        let failed = |error: h2::Error| error.to_string();
        let member = self.members[client as usize % MEMBERS].clone();
        let mut member = member.ready().await.map_err(failed)?;
        let (answer, mut asked) = member.send_request(request, false).map_err(failed)?;
        asked.send_data(message.freeze(), true).map_err(failed)?;
        let answer = answer.await.map_err(failed)?;
        check(answer.headers())?;
        let mut body = answer.into_body();
        let mut all = BytesMut::new();
        while let Some(part) = body.data().await {
            let part = part.map_err(failed)?;
            body.flow_control().release_capacity(part.len()).map_err(failed)?;
            all.extend_from_slice(&part);
        }
        check(&body.trailers().await.map_err(failed)?.unwrap_or_default())?;
        Ok(all)
    }
}

/// A call that failed has its status where it ends, with its headers or behind them.
fn check(headers: &HeaderMap) -> Result<(), String> {
    match headers.get("grpc-status") {
        Some(status) if status != "0" => Err(format!("etcd answered {headers:?}")),
        _ => Ok(()),
    }
}

/// The start of a message, with room for its header.
fn message(bytes: usize) -> BytesMut {
    let mut message = BytesMut::with_capacity(HEADER_BYTES + 16 + bytes);
    message.put_bytes(0, HEADER_BYTES);
    message
}

/// A field of bytes, as protocol buffers have it.
fn put_field(message: &mut BytesMut, number: u8, bytes: &[u8]) {
    message.put_u8(number << 3 | 2);
    let mut length = bytes.len();
    while 0x80 <= length {
        message.put_u8((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    message.put_u8(length as u8);
    message.put_slice(bytes);
}
