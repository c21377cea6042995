//! QUIC as clients and nodes speak it: a message of a put's size there, one of its answer's size back, on one stream of one connection. Both
//! ends are of this process, each with a thread of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream};
use quorate_client::transport::quic::endpoint;
use quorate_client::transport::{Credentials, cluster_server_name};
use quorate_tests::{Cluster, ClusterOptions};
use tokio::runtime::{Builder, Runtime};

use super::{BATCHES, VALUE_BYTES, measured};

/// What a put has beside its value: frame, key, context.
const PUT_OVERHEAD_BYTES: usize = 170;
/// A frame that says that it is stored, with a context.
const ANSWER_BYTES: usize = 120;
const CHUNKS: usize = 32;

pub(super) fn measure() {
    let cluster = ClusterOptions::new(1).prepare();
    for bytes in VALUE_BYTES {
        let asked = bytes + PUT_OVERHEAD_BYTES;
        let address = serve(&cluster, asked);
        let runtime = runtime();
        let (connection, mut there, mut back) = runtime.block_on(connect(&cluster, address));
        for batch in BATCHES {
            let messages = Bytes::from(vec![0xa5; asked * batch]);
            measured(&format!("QUIC: a round trip of {asked} and {ANSWER_BYTES} B, {batch} at a time"), batch, || {
                runtime.block_on(round_trip(&mut there, &mut back, &messages, ANSWER_BYTES * batch));
            });
        }
        connection.close(0_u32.into(), b"done");
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("the operating system gives a runtime")
}

/// Answers each so many bytes on a stream, until the connection is closed.
fn serve(cluster: &Cluster, asked: usize) -> SocketAddr {
    let file = |name: &str| cluster.file(name);
    let credentials =
        Credentials::load(&file("ca.pem"), &file("n1.pem"), &file("n1.key")).expect("they were just made");
    let runtime = runtime();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = {
        let _entered = runtime.enter();
        endpoint(any, Some(credentials.server_config(Some(any)))).expect("a free port")
    };
    let address = server.local_addr().expect("it is bound");
    thread::spawn(move || {
        runtime.block_on(async move {
            let connection = server.accept().await.expect("it is open").await.expect("the same certificates");
            let (back, there) = connection.accept_bi().await.expect("the client opens one");
            answer(there, back, asked).await;
        });
    });
    address
}

async fn answer(mut there: RecvStream, mut back: SendStream, asked: usize) {
    let mut chunks: [Bytes; CHUNKS] = Default::default();
    let mut received = 0;
    // It ends with an error, as the client closes the connection.
    while let Ok(Some(count)) = there.read_chunks(&mut chunks).await {
        received += chunks[..count].iter().map(Bytes::len).sum::<usize>();
        let answers = vec![0x5a; received / asked * ANSWER_BYTES];
        received %= asked;
        if back.write_chunk(answers.into()).await.is_err() {
            return;
        }
    }
}

async fn connect(cluster: &Cluster, address: SocketAddr) -> (Connection, SendStream, RecvStream) {
    let client = endpoint((Ipv4Addr::LOCALHOST, 0).into(), None).expect("a free port");
    let config = cluster.credentials().client_config(address);
    let connecting = client.connect_with(config, address, &cluster_server_name(&cluster.name())).expect("valid");
    let connection = connecting.await.expect("the same certificates");
    let (there, back) = connection.open_bi().await.expect("streams are allowed");
    (connection, there, back)
}

async fn round_trip(there: &mut SendStream, back: &mut RecvStream, messages: &Bytes, mut wanted: usize) {
    there.write_chunk(messages.clone()).await.expect("the other end reads");
    let mut chunks: [Bytes; CHUNKS] = Default::default();
    while 0 < wanted {
        let count = back.read_chunks(&mut chunks).await.expect("the other end answers").expect("it does not finish");
        wanted -= chunks[..count].iter().map(Bytes::len).sum::<usize>();
    }
}
