//! Stories made by hand, for the tests of how stories are told: a small one that can be checked by eye, and one as large as wished.

use super::{
    About, Failure, Fate, Fault, Held, Lane, LaneIndex, LaneKind, Life, Loss, Message, Note, Operation, Phase, Store,
    StoreKind, Story, Write, WriteKind,
};

fn lanes(clients: usize, nodes: usize) -> Vec<Lane> {
    let client = (0..clients).map(|index| Lane { kind: LaneKind::Client, name: format!("client {index}") });
    client.chain((1..=nodes).map(|index| Lane { kind: LaneKind::Node, name: format!("n{index}") })).collect()
}

fn message(ends: [usize; 2], times: [u64; 2], kind: &str, about: &About, talk: u32) -> Message {
    let writes: String = about.writes.iter().map(|write| format!(" w{write}")).collect();
    Message {
        from: LaneIndex(ends[0]),
        to: LaneIndex(ends[1]),
        sent: times[0],
        arrived: Some(times[1]),
        lost: None,
        kind: kind.to_owned(),
        label: format!("{kind} k{}{writes}", about.keys[0]),
        detail: "event n1:5; has seen {n1: 5}".to_owned(),
        talk: Some(talk),
        copy: false,
        about: about.clone(),
    }
}

fn lost(message: Message, at: u64, why: &str) -> Message {
    Message { arrived: None, lost: Some(Loss { at, why: why.to_owned() }), ..message }
}

fn operation(client: usize, times: [u64; 2], text: &str, fate: Fate, about: &About) -> Operation {
    let outcome = match fate {
        Fate::Done => "acknowledged",
        Fate::Failed => "failed: 1 of the 2 replicas needed stored the write",
        _ => "timed out: the outcome is unknown",
    };
    Operation {
        client: LaneIndex(client),
        begun: times[0],
        ended: Some(times[1]),
        text: text.to_owned(),
        outcome: outcome.to_owned(),
        fate,
        about: about.clone(),
        shown: Vec::new(),
    }
}

fn write(key: u32, client: usize, times: [u64; 2], fate: Fate, parents: &[u32], current: bool) -> Write {
    let begun = Write::begun(key, WriteKind::Put, client, times[0]);
    let durability = "Buffered".to_owned();
    Write { ended: Some(times[1]), fate, w: 2, durability, parents: parents.to_vec(), current, ..begun }
}

fn store(node: usize, at: u64, kind: StoreKind, about: &About) -> Store {
    Store { node: LaneIndex(node), at, kind, about: about.clone() }
}

fn fault(id: &str, text: &str, lanes: &[usize], from: u64, until: Option<u64>) -> Fault {
    let lanes = lanes.iter().map(|lane| LaneIndex(*lane)).collect();
    Fault { id: id.to_owned(), text: text.to_owned(), lanes, from, until }
}

fn life(node: usize, from: u64, until: Option<u64>, start: &str, end: &str) -> Life {
    let incarnation = format!("{:016x}", from.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ node as u64);
    Life { node: LaneIndex(node), from, until, incarnation, start: start.to_owned(), end: end.to_owned() }
}

/// Two clients, three nodes: a replica said that it had stored a write before it had, and lost power.
pub(super) fn lost_write() -> Story {
    let [first, other, second] = [About::key(0, Some(0)), About::key(1, Some(1)), About::key(0, Some(2))];
    let read = About::key(0, None);
    let (flushed, synced) = (StoreKind::Flushed, StoreKind::Synced);
    let mut final_read = operation(1, [2_020_000, 2_021_400], "get k0", Fate::Done, &read);
    (final_read.outcome, final_read.shown) = ("showed w0".to_owned(), vec![0]);
    Story {
        title: "seed 4711".to_owned(),
        repeat: "quorate-sim run --seed 4711".to_owned(),
        plan: vec!["3 nodes, N = 3, R = 2, W = 2".to_owned(), "2 clients on 2 keys".to_owned()],
        failure: Some(Failure {
            oracle: "O1".to_owned(),
            name: "an acknowledged write is lost".to_owned(),
            promise: "after healing, a read of all replicas shows every acknowledged write or a successor".to_owned(),
            what: "w2 of k0 (w = 2, Buffered) is neither among the values read nor behind one of them".to_owned(),
            at: 2_021_400,
            about: second.clone(),
        }),
        lasted: 2_021_400,
        events: 143,
        phases: vec![
            Phase { at: 0, text: "load and faults".to_owned() },
            Phase { at: 15_000, text: "everything heals".to_owned() },
            Phase { at: 2_020_000, text: "checks".to_owned() },
        ],
        lanes: lanes(2, 3),
        keys: vec!["carts/alice".to_owned(), "carts/bob".to_owned()],
        messages: lost_write_messages([&first, &other, &second, &read]),
        operations: vec![
            operation(0, [1_000, 2_260], "put k0 w0", Fate::Done, &first),
            operation(1, [2_500, 3_700], "put k1 w1", Fate::Done, &other),
            operation(0, [4_000, 5_300], "put k0 w2", Fate::Done, &second),
            final_read,
        ],
        faults: vec![
            fault("N7", "split into n1 n2 | n3", &[2, 3, 4], 2_450, Some(15_000)),
            fault("P7", "n1 and n2 lose power", &[2, 3], 5_600, Some(9_000)),
        ],
        lives: vec![
            life(2, 0, Some(5_600), "an empty store", "lost power"),
            life(3, 0, Some(5_600), "an empty store", "lost power"),
            life(4, 0, None, "an empty store", ""),
            life(2, 9_000, None, "what was synced", ""),
            life(3, 9_200, None, "what was synced", ""),
        ],
        stores: vec![
            store(2, 1_350, flushed, &first),
            store(3, 1_780, flushed, &first),
            store(4, 2_000, flushed, &first),
            store(2, 2_300, synced, &first),
            store(3, 2_350, synced, &first),
            store(3, 2_850, flushed, &other),
            store(2, 3_200, flushed, &other),
            store(2, 4_450, flushed, &second),
        ],
        notes: vec![Note {
            lane: LaneIndex(2),
            at: 9_000,
            text: "starts without w2, which its store had held".to_owned(),
            about: second,
        }],
        writes: vec![
            write(0, 0, [1_000, 2_260], Fate::Done, &[], true),
            write(1, 1, [2_500, 3_700], Fate::Done, &[], false),
            write(0, 0, [4_000, 5_300], Fate::Done, &[0], false),
        ],
        held: (2..5).map(|node| Held { node: LaneIndex(node), key: 0, writes: vec![0] }).collect(),
    }
}

fn lost_write_messages([first, other, second, read]: [&About; 4]) -> Vec<Message> {
    vec![
        message([0, 2], [1_000, 1_210], "put", first, 0),
        message([2, 3], [1_400, 1_650], "replicate", first, 1),
        message([2, 4], [1_400, 1_900], "replicate", first, 1),
        message([3, 2], [1_800, 2_010], "replicated", first, 1),
        message([2, 0], [2_010, 2_260], "stored", first, 0),
        message([4, 2], [2_050, 2_400], "replicated", first, 1),
        message([1, 3], [2_500, 2_700], "put", other, 2),
        message([3, 2], [2_900, 3_100], "replicate", other, 3),
        message([2, 3], [3_250, 3_500], "replicated", other, 3),
        lost(message([3, 4], [2_900, 2_900], "replicate", other, 3), 2_900, "the link is cut"),
        message([3, 1], [3_500, 3_700], "stored", other, 2),
        message([0, 2], [4_000, 4_220], "put", second, 4),
        lost(message([2, 4], [4_500, 4_500], "replicate", second, 5), 4_500, "the link is cut"),
        message([2, 3], [4_500, 4_800], "replicate", second, 5),
        message([3, 2], [4_810, 5_050], "replicated", second, 5),
        message([2, 0], [5_050, 5_300], "stored", second, 4),
        message([1, 3], [2_020_000, 2_020_200], "get", read, 6),
        message([3, 2], [2_020_300, 2_020_500], "read", read, 7),
        message([3, 4], [2_020_300, 2_020_600], "read", read, 7),
        message([2, 3], [2_020_700, 2_020_950], "held", first, 7),
        message([4, 3], [2_020_800, 2_021_150], "held", first, 7),
        message([3, 1], [2_021_200, 2_021_400], "found", first, 6),
    ]
}

/// A small generator, so that the story is the same each time.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).expect("below a small bound")
    }
}

const CLIENTS: usize = 6;
const NODES: usize = 5;
const KEYS: u32 = 12;

/// Six clients, five nodes, twelve keys, and at least so many events.
pub(super) fn large(events: usize) -> Story {
    let mut draw = Draw(7);
    let mut story = Story {
        title: format!("a story of {events} events"),
        lanes: lanes(CLIENTS, NODES),
        keys: (0..KEYS).map(|key| format!("shop/item {key}")).collect(),
        ..lost_write()
    };
    (story.messages, story.operations, story.stores, story.notes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    (story.writes, story.faults, story.held) = (Vec::new(), Vec::new(), Vec::new());
    let mut now = 0;
    while story.messages.len() + story.operations.len() + story.stores.len() < events {
        now += 100 + draw.below(900);
        add_write(&mut story, &mut draw, now);
    }
    story.lasted = now + 20_000;
    (story.phases[1].at, story.phases[2].at) = (now + 9_000, now + 15_000);
    story.lives = (0..NODES).map(|node| life(CLIENTS + node, 0, None, "an empty store", "")).collect();
    for round in 0..12 {
        let (from, node) = (now / 12 * round, CLIENTS + draw.index(NODES));
        let (id, text) = [("N7", "a split"), ("P5", "paused"), ("D7", "the disk is slow")][draw.index(3)];
        story.faults.push(fault(id, text, &[node, CLIENTS], from, Some(from + now / 20)));
    }
    let last = u32::try_from(story.writes.len() - 1).expect("few");
    let key = story.writes[last as usize].key;
    let failure = story.failure.as_mut().expect("the sample fails");
    (failure.at, failure.about) = (story.lasted, About::key(key, Some(last)));
    story.held = (0..3).map(|node| Held { node: LaneIndex(CLIENTS + node), key, writes: Vec::new() }).collect();
    story
}

fn add_write(story: &mut Story, draw: &mut Draw, now: u64) {
    let number = u32::try_from(story.writes.len()).expect("few");
    let (client, node) = (draw.index(CLIENTS), draw.index(NODES));
    let key = u32::try_from(draw.below(u64::from(KEYS))).expect("few");
    let about = About::key(key, Some(number));
    let fate = [Fate::Done, Fate::Done, Fate::Done, Fate::Failed, Fate::Unknown][draw.index(5)];
    let ended = now + 1_500 + draw.below(3_000);
    story.operations.push(operation(client, [now, ended], &format!("put k{key} w{number}"), fate, &about));
    let coordinator = CLIENTS + node;
    let talk = 2 * number;
    story.messages.push(message([client, coordinator], [now, now + 200], "put", &about, talk));
    story.stores.push(store(coordinator, now + 300, StoreKind::Flushed, &about));
    for other in 1..3 {
        let replica = CLIENTS + (node + other) % NODES;
        let (sent, arrived) = (now + 300, now + 500 + draw.below(900));
        let replicate = message([coordinator, replica], [sent, arrived], "replicate", &about, talk + 1);
        if draw.below(8) == 0 {
            story.messages.push(lost(replicate, arrived, "the link is cut"));
            continue;
        }
        story.messages.push(replicate);
        story.stores.push(store(replica, arrived + 50, StoreKind::Flushed, &about));
        let reply = message([replica, coordinator], [arrived + 60, arrived + 300], "replicated", &about, talk + 1);
        story.messages.push(reply);
    }
    story.messages.push(message([coordinator, client], [ended - 100, ended], "stored", &about, talk));
    story.stores.push(store(coordinator, ended + 4_000, StoreKind::Synced, &about));
    let mine = |write: &Write| write.key == key;
    let parent = story.writes.iter().rposition(mine).filter(|_| draw.below(3) != 0);
    let parents: Vec<u32> = parent.and_then(|parent| u32::try_from(parent).ok()).into_iter().collect();
    story.writes.push(write(key, client, [now, ended], fate, &parents, draw.below(20) == 0));
}
