//! Fills `corpus/` with the golden fixtures, and with clocks and containers, so that fuzzing starts from inputs that mean something.

use std::num::ParseIntError;
use std::path::Path;
use std::{fs, io};

use quorate_ring::version::{Actor, Container, ContextKey, Dot, Incarnation, NodeClock, VersionVector};
use quorate_ring::wire::frame;
use quorate_ring::{NodeId, StoredValue, Value};
use quorate_ring_fuzz::{CONTEXT_KEY, VersionInput, object_key};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fixtures = fs::read_to_string(here.join("../tests/fixtures/wire-v1.txt"))?;
    for line in fixtures.lines() {
        let (name, hex) = line.split_once(' ').ok_or("a line of the fixtures is `name hex`")?;
        let bytes = bytes_of(hex)?;
        let kind = name.split('.').next().unwrap_or(name);
        let (target, mode): (&str, &[u8]) = match kind {
            "hello" | "client" => ("client_message", &[]),
            "welcome" | "node" => ("node_message", &[]),
            "peer" => ("peer_message", &[]),
            "frame" => ("frame_decoder", &[0, 8]), // a stream as it is, in pieces
            _ => return Err(format!("no target takes {name}").into()),
        };
        write(here, target, name, &[mode, &bytes].concat())?;
    }
    for (number, input) in version_inputs().iter().enumerate() {
        let mut stream = Vec::new();
        frame::encode(input, &mut stream)?;
        write(here, "version", &number.to_string(), &stream[frame::HEADER_BYTES..])?;
    }
    Ok(())
}

fn write(here: &Path, target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let directory = here.join("corpus").join(target);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join(name), bytes)
}

/// Two replicas of a partition, with gaps and without, one behind the other and each beside the other.
fn version_inputs() -> Vec<VersionInput> {
    let dot = |node, counter| Dot::new(Actor::new(NodeId::new(node).expect("not 0"), Incarnation::new(9)), counter);
    let clock = |dots: &[(u32, u64)]| {
        let mut clock = NodeClock::new();
        dots.iter().for_each(|&(node, counter)| _ = clock.add(dot(node, counter)));
        clock
    };
    let container = |values: &[(u32, u64)], known: &[(u32, u64)]| {
        let mut container = Container::empty();
        let value = |counter: u64| Value::new(counter.to_be_bytes().to_vec()).expect("small");
        values.iter().for_each(|&(node, counter)| container.add(dot(node, counter), value(counter).into()));
        known.iter().for_each(|&(node, counter)| container.record(dot(node, counter)));
        container
    };
    let early = clock(&[(1, 1), (2, 1), (2, 2)]);
    let late = clock(&[(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 4), (3, 70), (3, 700)]);
    let full = received_up_to(dot(1, u64::MAX));
    let far = clock(&[(1, u64::MAX), (1, u64::MAX - 1), (2, 1)]);
    let small = container(&[(1, 1)], &[]);
    let siblings = container(&[(1, 2), (2, 2), (3, 70)], &[(1, 3)]);
    let deleted = container(&[], &[(1, 1), (2, u64::MAX)]);
    let token = |container: &Container<StoredValue>| ContextKey::new(CONTEXT_KEY).seal(&object_key(), container.vector());
    vec![
        (early.clone(), late.clone(), small.clone(), siblings.clone(), dot(1, 2), token(&small)),
        (late.clone(), far.clone(), siblings.clone(), deleted.clone(), dot(2, 3), token(&siblings)),
        (far.clone(), full, small.clone(), small.clone(), dot(1, u64::MAX), token(&small)),
        (far, NodeClock::new(), deleted.clone(), Container::empty(), dot(1, u64::MAX - 2), token(&deleted)),
        (late, early, small, deleted, dot(4, 1), token(&siblings)),
    ]
}

fn bytes_of(hex: &str) -> Result<Vec<u8>, ParseIntError> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2).unwrap_or("odd"), 16)).collect()
}

/// The clock that has received every event of an actor up to this one, which no test has the time to add one by one.
fn received_up_to(last: Dot) -> NodeClock {
    let base: VersionVector = [last].into_iter().collect();
    let mut stream = Vec::new();
    frame::encode(&(base, [(); 0]), &mut stream).expect("small");
    frame::decode(&stream[frame::HEADER_BYTES..]).expect("a clock without gaps is its base")
}
