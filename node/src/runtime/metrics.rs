//! What a node tells a monitoring system: its status as OpenMetrics text, over HTTP, to whoever may reach the address that was configured
//! for it. It holds no data of users and needs no certificate, so keep the address to where your monitoring is.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use quorate_ring::wire::NodeStatus;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::datagrams::Datagrams;
use super::error::RunError;
use super::shared::Shared;
use super::status;
use super::traffic;
use crate::membership::Standing;
use crate::storage::rocks::StoreMemory;

/// Most connections at once. One more waits.
const CONNECTIONS_MAX: usize = 16;
/// How long a connection may take to ask, so that silent ones do not keep the others out.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// Opens the socket.
pub(super) async fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|source| RunError::BindMetrics { address, source })
}

/// Answers until the node ends.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // No file descriptors are left, for instance: they may be again.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            let answers = service_fn(|request| answer(&shared, request));
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(ASK_TIMEOUT).keep_alive(false);
            if let Err(error) = builder.serve_connection(TokioIo::new(stream), answers).await {
                tracing::debug!(%error, "a connection for metrics ended");
            }
            drop(permit);
        });
    }
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let told = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            let status = status::status(shared).await;
            (
                StatusCode::OK,
                CONTENT,
                text_of(&status, shared.store.memory(), shared.traffic.bytes(), &shared.datagrams),
            )
        }
        (&Method::GET, _) => (StatusCode::NOT_FOUND, "text/plain", "the metrics are at /metrics\n".to_owned()),
        _ => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "metrics are read with GET\n".to_owned()),
    };
    let (code, content, text) = told;
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content));
    Ok(response)
}

/// A status as OpenMetrics text, with the memory of the store, what links to peers have carried, and what is thought of peers.
fn text_of(status: &NodeStatus, memory: StoreMemory, traffic: traffic::Bytes, datagrams: &Datagrams) -> String {
    let mut metrics = Metrics { registry: Registry::with_prefix("quorate") };
    add_requests(&mut metrics, status);
    add_machine(&mut metrics, status);
    add_store_memory(&mut metrics, memory);
    add_traffic(&mut metrics, traffic);
    add_sync(&mut metrics, status);
    add_hints(&mut metrics, status);
    add_standings(&mut metrics, datagrams);
    let mut text = String::new();
    encode(&mut text, &metrics.registry).expect("a string takes any text");
    text
}

struct Metrics {
    registry: Registry,
}

impl Metrics {
    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        self.registry.register(name, help, counter);
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<Unit>, value: f64) {
        let gauge = Gauge::<f64, std::sync::atomic::AtomicU64>::default();
        gauge.set(value);
        match unit {
            Some(unit) => self.registry.register_with_unit(name, help, unit, gauge),
            None => self.registry.register(name, help, gauge),
        }
    }

    fn gauges(&mut self, name: &str, help: &str, values: impl Iterator<Item = (Labels, f64)>) {
        let family = Family::<Labels, Gauge<f64, std::sync::atomic::AtomicU64>>::default();
        values.for_each(|(labels, value)| _ = family.get_or_create(&labels).set(value));
        self.registry.register(name, help, family);
    }
}

fn add_requests(metrics: &mut Metrics, status: &NodeStatus) {
    let kinds = [("get", status.gets), ("put", status.puts), ("delete", status.deletes)];
    let family = Family::<Labels, Counter<u64>>::default();
    for (kind, count) in kinds {
        family.get_or_create(&vec![("kind", kind.to_owned())]).inc_by(count);
    }
    metrics.registry.register("requests", "Requests that this node coordinated, items of batches singly", family);
    metrics.counter("errors", "Requests that it answered with an error", status.errors);
    metrics.counter("overloads", "Requests that it refused early, as it worked on too many", status.overloads);
    metrics.counter("repairs", "Stale replicas that its reads found and repaired", status.repairs);
    metrics.gauge("requests_in_flight", "Requests that it coordinates now", None, status.in_flight as f64);
}

fn add_machine(metrics: &mut Metrics, status: &NodeStatus) {
    let seconds = |millis: u64| Duration::from_millis(millis).as_secs_f64();
    metrics.gauge("uptime", "How long the process has run", Some(Unit::Seconds), seconds(status.uptime_millis));
    metrics.gauge(
        "cpu",
        "CPU time of the process so far",
        Some(Unit::Seconds),
        Duration::from_micros(status.cpu_micros).as_secs_f64(),
    );
    metrics.gauge("memory", "Memory of the process", Some(Unit::Bytes), status.memory_bytes as f64);
    metrics.gauge("disk", "Size of the store on its disk", Some(Unit::Bytes), status.disk_bytes as f64);
    metrics.gauge("keys", "Keys in the store, estimated", None, status.keys_about as f64);
    let peers = status.peers.iter().map(|peer| (peer.node.to_string(), peer.connected));
    let peers = peers.map(|(peer, connected)| (vec![("peer", peer)], f64::from(u8::from(connected))));
    metrics.gauges("peer_connected", "Whether there is a connection to a peer: 1 or 0", peers);
}

fn add_store_memory(metrics: &mut Metrics, memory: StoreMemory) {
    let parts = [("block_cache", memory.block_cache), ("memtables", memory.memtables), ("tables", memory.tables)];
    let parts = parts.into_iter().map(|(part, bytes)| (vec![("part", part.to_owned())], bytes as f64));
    metrics.gauges(
        "store_memory_bytes",
        "Memory that parts of the store hold, without what shards have at hand",
        parts,
    );
}

fn add_traffic(metrics: &mut Metrics, traffic: traffic::Bytes) {
    metrics.counter("peer_sent_bytes", "Bytes of UDP datagrams to peers, with all that is in them", traffic.sent);
    metrics.counter("peer_received_bytes", "Bytes of UDP datagrams from peers", traffic.received);
}

fn add_sync(metrics: &mut Metrics, status: &NodeStatus) {
    let sync = &status.sync;
    // For as long as it runs, if it never was.
    let age = sync.age_millis.unwrap_or(status.uptime_millis);
    metrics.gauge(
        "convergence_age",
        "For how long some replica may have been behind: since it was last seen to hold the same as every peer",
        Some(Unit::Seconds),
        Duration::from_millis(age).as_secs_f64(),
    );
    let complete = f64::from(u8::from(status.complete));
    metrics.gauge(
        "complete",
        "Whether it counts for reads, having lost nothing that it has not got back: 1 or 0",
        None,
        complete,
    );
    metrics.gauge(
        "partitions_behind",
        "Partitions that it has not caught up with after a start that may have lost something",
        None,
        f64::from(sync.partitions_behind),
    );
    metrics.gauge(
        "partitions_differing",
        "Partitions in which it was last seen to differ from a peer, once for each peer",
        None,
        f64::from(sync.partitions_differing),
    );
    metrics.counter("exchanges", "Comparisons of clocks with peers that came to their end", sync.exchanges);
    metrics.counter("sync_keys_received", "Keys that anti-entropy brought", sync.keys_received);
    metrics.counter("sync_value_bytes_received", "Bytes of their values", sync.bytes_received);
    metrics.counter("transfers", "Whole partitions that it received", sync.transfers);
    let scrub = &sync.scrub;
    metrics.counter("scrub_rounds", "Times that the scrub went through all that is stored", scrub.rounds);
    metrics.gauge("scrub_partitions", "Partitions scrubbed in this round", None, f64::from(scrub.partitions_scrubbed));
    metrics.gauge(
        "keys_unreadable",
        "Keys that cannot be read now: a fault of the disk",
        None,
        scrub.keys_unreadable as f64,
    );
    metrics.counter("faults_mended", "Faults of the disk that were mended", scrub.faults_mended);
    metrics.counter(
        "ranges_differing",
        "Ranges in which replicas with the same clock had different contents: a fault of a disk",
        scrub.ranges_differing,
    );
    metrics.counter(
        "scrub_pages_uncompared",
        "Pages that the scrub passed without having compared them with every other replica",
        scrub.pages_uncompared,
    );
    metrics.counter(
        "scrub_pages_unreadable",
        "Pages that the scrub could not read: the disk is damaged there",
        scrub.pages_unreadable,
    );
}

fn add_hints(metrics: &mut Metrics, status: &NodeStatus) {
    let each = |value: fn(&quorate_ring::wire::HintStatus) -> f64| {
        let hints = status.hints.iter().map(move |hints| (vec![("target", hints.target.to_string())], value(hints)));
        hints.collect::<Vec<_>>().into_iter()
    };
    metrics.gauges("hints", "Keys that it keeps for a node that was away", each(|hints| hints.count as f64));
    metrics.gauges("hint_bytes", "Bytes of these", each(|hints| hints.bytes as f64));
    let seconds = |hints: &quorate_ring::wire::HintStatus| Duration::from_millis(hints.age_millis).as_secs_f64();
    metrics.gauges("hint_age_seconds", "Age of the oldest of these", each(seconds));
}

fn add_standings(metrics: &mut Metrics, datagrams: &Datagrams) {
    let standings = datagrams.standings();
    let is = |wanted: Standing| {
        let peers = standings.iter().map(move |(peer, standing)| (peer, f64::from(u8::from(*standing == wanted))));
        peers.map(|(peer, value)| (vec![("peer", peer.to_string())], value)).collect::<Vec<_>>().into_iter()
    };
    let suspected = "Whether a peer is suspected, as somebody could not reach it: 1 or 0";
    metrics.gauges("peer_suspected", suspected, is(Standing::Suspected));
    metrics.gauges("peer_down", "Whether a peer is down by the failure detector: 1 or 0", is(Standing::Down));
    let dropped = "Datagrams of the failure detector that this node dropped, sent or received";
    metrics.counter("datagrams_dropped", dropped, datagrams.dropped());
}
