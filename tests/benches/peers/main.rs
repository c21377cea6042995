//! Quorate beside Redis Cluster and etcd, one after the other on this machine: the same load from the same program, which asks each of them as
//! its own clients do.
//!
//! ```text
//! cargo bench -p quorate-tests --bench peers -- --seconds 5 --records 100000 --clients 64 quorate redis etcd
//! ```
//!
//! Each of the clients asks, waits for its answer, and asks again. A put is of a new key, a get of any that was written. What is compared
//! best is the CPU of all the servers for one request, for the load shares the machine with them; and no more than what a row says: the
//! stores promise different things.

mod etcd;
#[path = "../load/mod.rs"]
mod load;
mod quorate;
mod redis;
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::task::JoinSet;

use load::{closed_loop_of, key, mixed, value};

/// Sizes of values: a small record, and a page of text.
const VALUE_BYTES: [usize; 2] = [100, 1024];

/// What the program was asked for.
pub(crate) struct Settings {
    seconds: u64,
    records: u64,
    /// How many clients ask at a time.
    pub(crate) clients: u64,
    wanted: Vec<String>,
}

/// A way to ask a store.
pub(crate) trait Store: Clone + Send + Sync + 'static {
    /// Writes a key.
    fn put(&self, client: u64, key: String, value: Bytes) -> impl Future<Output = Result<(), String>> + Send;
    /// Reads a key, which must have the value.
    fn get(&self, client: u64, key: String, value: Bytes) -> impl Future<Output = Result<(), String>> + Send;
}

fn main() {
    let settings = Settings::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("the operating system gives a runtime").block_on(compare(&settings));
}

impl Settings {
    fn parse() -> Self {
        let mut settings = Self { seconds: 5, records: 100_000, clients: 64, wanted: Vec::new() };
        // `cargo bench` adds a flag of its own.
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(argument) = arguments.next() {
            let place = match argument.as_str() {
                "--seconds" => &mut settings.seconds,
                "--records" => &mut settings.records,
                "--clients" => &mut settings.clients,
                "quorate" | "redis" | "etcd" => {
                    settings.wanted.push(argument);
                    continue;
                }
                _ => panic!("unknown argument {argument}; they are at the top of the bench's source"),
            };
            let number = arguments.next().and_then(|number| number.parse().ok()).filter(|number| 0 < *number);
            *place = number.unwrap_or_else(|| panic!("{argument} takes a number from 1"));
        }
        settings
    }

    fn wants(&self, name: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|wanted| wanted == name)
    }
}

async fn compare(settings: &Settings) {
    println!("{} clients, each waits for its answer; {} records of each size", settings.clients, settings.records);
    println!("| what | a second | CPU of the servers for each | requests for a second of their CPU | p50 | p99 |");
    println!("|---|---|---|---|---|---|");
    if settings.wants("quorate") {
        quorate::measure(settings).await;
    }
    if settings.wants("redis") {
        redis::measure(settings).await;
    }
    if settings.wants("etcd") {
        etcd::measure(settings).await;
    }
}

/// Measures every way to put and every way to get of these servers. The first way to put loads the records.
pub(crate) async fn measure<S: Store>(settings: &Settings, servers: &[u32], puts: &[(&str, S)], gets: &[(&str, S)]) {
    for bytes in VALUE_BYTES {
        let records = Records { prefix: format!("{bytes}:"), value: value(bytes), written: Arc::default() };
        load(settings, &puts[0].1, &records).await;
        for (what, store) in puts {
            let (store, records) = (store.clone(), records.clone());
            let put = move |client| put_next(store.clone(), records.clone(), client);
            row(settings, servers, &format!("{what}, {bytes} B"), put).await;
        }
        for (what, store) in gets {
            let (store, records) = (store.clone(), records.clone());
            let get = move |client| get_any(store.clone(), records.clone(), client);
            row(settings, servers, &format!("{what}, {bytes} B"), get).await;
        }
    }
}

/// Records of one size.
#[derive(Clone)]
struct Records {
    prefix: String,
    value: Bytes,
    /// How many were begun to be written.
    written: Arc<AtomicU64>,
}

async fn load<S: Store>(settings: &Settings, store: &S, records: &Records) {
    let mut tasks = JoinSet::new();
    for client in 0..settings.clients {
        let (store, records, wanted) = (store.clone(), records.clone(), settings.records);
        tasks.spawn(async move {
            while records.written.load(Ordering::Relaxed) < wanted {
                put_next(store.clone(), records.clone(), client).await.expect("the servers are well");
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("records can be written");
    }
}

async fn put_next<S: Store>(store: S, records: Records, client: u64) -> Result<(), String> {
    let number = records.written.fetch_add(1, Ordering::Relaxed);
    store.put(client, records.prefix + &key(number), records.value).await
}

async fn get_any<S: Store>(store: S, records: Records, client: u64) -> Result<(), String> {
    static CHANCE: AtomicU64 = AtomicU64::new(0);
    let number = mixed(CHANCE.fetch_add(1, Ordering::Relaxed)) % records.written.load(Ordering::Relaxed);
    store.get(client, records.prefix + &key(number), records.value).await
}

async fn row<F: Future<Output = Result<(), String>> + Send>(
    settings: &Settings,
    servers: &[u32],
    what: &str,
    request: impl Fn(u64) -> F + Clone + Send + 'static,
) {
    let measured = closed_loop_of(servers, settings.seconds, settings.clients, request).await;
    measured.assert_none_failed();
    let micros = measured.micros_of_servers();
    println!(
        "| {what} | {:.0} | {micros:.1} µs | {:.0} | {:.1} ms | {:.1} ms |",
        measured.rate,
        1e6 / micros,
        measured.millis(0.5),
        measured.millis(0.99)
    );
}
