//! Laws of [`Operation`] against a dumb world of nodes that answer, refuse, fall silent and go away as generated.

use proptest::prelude::*;
use quorate_ring::version::ContextToken;
use quorate_ring::wire::{PutItem, ReplicaAnswer};
use quorate_ring::{BucketName, Key, ObjectKey, Value};

use super::*;
use crate::fixture::{description, node};

/// What a node does with an attempt.
#[derive(Clone, Copy, Debug)]
enum Act {
    Answer,
    Overloaded,
    Stopping,
    Invalid,
    QuorumUnknown,
    StorageFailed,
    NotSent,
    Lost,
    Silent,
}

const ACTS: [Act; 9] = [
    Act::Answer,
    Act::Overloaded,
    Act::Stopping,
    Act::Invalid,
    Act::QuorumUnknown,
    Act::StorageFailed,
    Act::NotSent,
    Act::Lost,
    Act::Silent,
];

impl Act {
    fn changes_nothing(self) -> bool {
        matches!(self, Self::Overloaded | Self::Stopping | Self::StorageFailed | Self::NotSent)
    }

    fn happen(self, operation: &mut Operation, now: Time, attempt: AttemptId, by: NodeId) {
        let what = || "a bound".to_owned();
        let answers = || vec![(node(1), ReplicaAnswer::Silent)];
        let problem = ConnectProblem::Silent;
        let result = match self {
            Self::Silent => return,
            Self::NotSent => return operation.handle_lost(attempt, Fate::NotSent(problem)),
            Self::Lost => return operation.handle_lost(attempt, Fate::Unknown(problem)),
            Self::Answer => Ok(Response::Many(Vec::new())),
            Self::Overloaded => Err(RequestError::Overloaded { node: by, what: what() }),
            Self::Stopping => Err(RequestError::Stopping { node: by }),
            Self::Invalid => Err(RequestError::Invalid { reason: what() }),
            Self::StorageFailed => Err(RequestError::StorageFailed { node: by, reason: what() }),
            Self::QuorumUnknown if is_read(operation.request()) => {
                Err(RequestError::ReadQuorum { needed: 2, reached: 1, answers: answers() })
            }
            Self::QuorumUnknown => Err(RequestError::WriteQuorum { needed: 2, reached: 1, answers: answers() }),
        };
        operation.handle_reply(now, attempt, result);
    }
}

fn key() -> ObjectKey {
    ObjectKey::new(&BucketName::new("carts").expect("valid"), &Key::new("ann").expect("valid"))
}

fn read() -> Request {
    Request::Get { key: key(), r: None, strict: false }
}

fn write() -> Request {
    let item =
        PutItem { key: key(), value: Value::new("v").expect("small"), context: None::<ContextToken>, ttl_millis: None };
    Request::Put { item, w: None, durability: None, strict: false }
}

/// A finished run: when it ended and how, and who was asked when.
struct Run {
    ended: Time,
    result: Result<Response, Error>,
    asked: Vec<(Time, NodeId)>,
}

/// Drives an operation to its end in virtual time. `act` says what a node does with the nth attempt, and how many microseconds later.
fn run(request: Request, timeout: Duration, seed: u64, act: impl Fn(usize, NodeId) -> (Act, u64)) -> Run {
    run_by(&router(), request, timeout, seed, act)
}

fn router() -> Router {
    Router::new(description(5, 3)).expect("possible")
}

/// One that has no hedge left.
fn spent() -> Router {
    let mut router = router();
    while router.may_hedge() {
        router.note_asked(node(1), Time::default(), Access::Read, 1);
    }
    router
}

fn run_by(
    router: &Router,
    request: Request,
    timeout: Duration,
    seed: u64,
    act: impl Fn(usize, NodeId) -> (Act, u64),
) -> Run {
    let target = Target::of(&request);
    let begun = Time::from_micros(1_000_000);
    let mut operation = Operation::new(request, target, begun + timeout, begun, seed);
    let (mut now, mut asked) = (begun, Vec::new());
    let mut coming: Vec<(Time, AttemptId, NodeId, Act)> = Vec::new();
    for _ in 0..100_000 {
        match operation.next_step(router, now) {
            Step::Done(result) => return Run { ended: now, result, asked },
            Step::Send { attempt, to, timeout_millis, connect_within } => {
                assert!(0 < timeout_millis);
                assert!(now + connect_within < begun + timeout, "what has no connection by then was not sent");
                let (act, micros) = act(asked.len(), to);
                coming.push((now + Duration::from_micros(micros), attempt, to, act));
                asked.push((now, to));
            }
            Step::WaitUntil(until) => {
                assert!(now < until, "a wait for the past would spin");
                coming.sort_by_key(|(time, ..)| *time);
                if coming.first().is_some_and(|(time, ..)| *time <= until) {
                    let (time, attempt, by, act) = coming.remove(0);
                    now = now.max(time);
                    act.happen(&mut operation, now, attempt, by);
                } else {
                    now = until;
                }
            }
        }
    }
    panic!("the operation does not end");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn write_is_repeated_only_when_nothing_changed_and_all_end_by_the_deadline(
        writes: bool,
        millis in 1u64..5_000,
        seed: u64,
        script in proptest::collection::vec((0..ACTS.len(), 0u64..3_000_000), 1..40),
    ) {
        let timeout = Duration::from_millis(millis);
        let act = |attempt: usize, _: NodeId| {
            let (act, micros) = script[attempt % script.len()];
            (ACTS[act], micros)
        };
        let run = run(if writes { write() } else { read() }, timeout, seed, act);
        let deadline = Time::from_micros(1_000_000) + timeout;
        prop_assert!(run.ended <= deadline);
        prop_assert!(run.asked.len() <= ATTEMPTS_MAX as usize);
        if !writes {
            let unknown = matches!(run.result, Err(Error::OutcomeUnknown { .. }));
            prop_assert!(!unknown);
            return Ok(());
        }
        for attempt in 0..run.asked.len().saturating_sub(1) {
            prop_assert!(act(attempt, node(1)).0.changes_nothing(), "attempt {} was repeated", attempt);
        }
        let last = act(run.asked.len() - 1, node(1));
        let in_time = run.asked[run.asked.len() - 1].0 + Duration::from_micros(last.1) < deadline;
        let unknown = match last.0 {
            Act::Answer | Act::Invalid | Act::Overloaded | Act::Stopping | Act::NotSent | Act::StorageFailed => !in_time,
            Act::Silent | Act::Lost | Act::QuorumUnknown => true,
        };
        if run.asked[run.asked.len() - 1].0 + Duration::from_micros(last.1) != deadline {
            prop_assert_eq!(matches!(run.result, Err(Error::OutcomeUnknown { .. })), unknown, "{:?}", run.result);
        }
        if let Err(error) = run.result {
            prop_assert_eq!(error.outcome() == crate::Outcome::Unknown, unknown);
        }
    }

    #[test]
    fn read_finds_the_one_node_that_answers(good in 1u32..=5, act in prop::sample::select(vec![
        Act::Overloaded, Act::Stopping, Act::QuorumUnknown, Act::StorageFailed, Act::NotSent, Act::Lost,
    ]), seed: u64) {
        let act = |_: usize, by: NodeId| (if by == node(good) { Act::Answer } else { act }, 100);
        let run = run(read(), Duration::from_secs(2), seed, act);
        prop_assert!(run.result.is_ok());
        let mut distinct: Vec<_> = run.asked.iter().map(|(_, by)| *by).collect();
        distinct.sort_unstable();
        distinct.dedup();
        prop_assert_eq!(distinct.len(), run.asked.len(), "nobody is asked twice before everybody was asked");
    }

    #[test]
    fn write_finds_the_one_node_that_can_be_reached(good in 1u32..=5, seed: u64) {
        let act = |_: usize, by: NodeId| (if by == node(good) { Act::Answer } else { Act::NotSent }, 100);
        prop_assert!(run(write(), Duration::from_secs(2), seed, act).result.is_ok());
    }
}

#[test]
fn silent_node_costs_a_read_a_third_of_its_time_or_half_a_second() {
    for (millis, slice_millis) in [(300, 100), (10_000, 500)] {
        let act = |attempt: usize, _: NodeId| (if attempt == 0 { Act::Silent } else { Act::Answer }, 100);
        let run = run_by(&spent(), read(), Duration::from_millis(millis), 7, act);
        assert!(run.result.is_ok());
        assert_eq!(run.ended.since(run.asked[0].0), Duration::from_micros(slice_millis * 1000 + 100));
        assert_eq!(run.asked.len(), 2);
    }
}

#[test]
fn a_node_that_is_late_for_once_costs_a_read_twice_what_its_slow_answers_take() {
    let mut router = router();
    for (number, millis) in (1..=5).flat_map(|number| (0..100).map(move |millis| (number, millis))) {
        router.note_took(node(number), Time::from_micros(millis * 1000), Duration::from_millis(4), Heard::Answer);
    }
    let act = |attempt: usize, _: NodeId| (if attempt == 0 { Act::Silent } else { Act::Answer }, 100);
    let run = run_by(&router, read(), Duration::from_secs(10), 7, act);
    let took = run.ended.since(run.asked[0].0);
    assert!(run.result.is_ok() && run.asked.len() == 2);
    assert!(Duration::from_millis(5) < took && took < Duration::from_millis(17), "{took:?}");
}

#[test]
fn late_answer_of_a_slow_node_is_taken() {
    let act = |attempt: usize, _: NodeId| if attempt == 0 { (Act::Answer, 150_000) } else { (Act::Silent, 0) };
    let run = run_by(&spent(), read(), Duration::from_millis(300), 7, act);
    assert!(run.result.is_ok());
    assert_eq!((run.asked.len(), run.ended.since(run.asked[0].0)), (2, Duration::from_millis(150)));
}

#[test]
fn write_waits_for_its_node_to_the_deadline() {
    let run = run(write(), Duration::from_secs(2), 7, |_, _| (Act::Silent, 0));
    assert!(matches!(run.result, Err(Error::OutcomeUnknown { said: Said::Silent, .. })));
    assert_eq!((run.asked.len(), run.ended.since(run.asked[0].0)), (1, Duration::from_secs(2)));
}

#[test]
fn a_write_that_is_refused_time_and_again_never_ends_as_of_unknown_outcome() {
    for (seed, timeout) in (0..200).zip([500, 1_000, 2_000, 10_000].into_iter().cycle()) {
        let timeout = Duration::from_millis(timeout);
        let micros = (timeout / 9).min(Duration::from_millis(240)).as_micros();
        let answers_in = u64::try_from(micros).expect("within seconds");
        let run = run(write(), timeout, seed, |_, _| (Act::Overloaded, answers_in));
        let error = run.result.expect_err("all refuse");
        assert_eq!(error.outcome(), crate::Outcome::NothingChanged, "{error}");
        assert!(timeout / 2 < run.ended.since(run.asked[0].0), "it has gone on trying");
    }
}

#[test]
fn pauses_grow_while_nodes_are_overloaded() {
    let run = run(read(), Duration::from_secs(20), 7, |_, _| (Act::Overloaded, 0));
    let pauses: Vec<Duration> = run.asked.windows(2).map(|pair| pair[1].0.since(pair[0].0)).collect();
    assert!(pauses[0] < Duration::from_millis(6) && *pauses.last().expect("many") >= Duration::from_millis(500));
    assert!((20..60).contains(&run.asked.len()), "{}", run.asked.len());
    assert!(matches!(run.result, Err(Error::Node { error: RequestError::Overloaded { .. }, .. })), "{:?}", run.result);
}

#[test]
fn unreachable_names_everybody_once() {
    let run = run(read(), Duration::from_secs(1), 7, |_, _| (Act::NotSent, 0));
    let error = run.result.expect_err("nobody was reached");
    let Error::Unreachable { tried } = &error else { panic!("{error}") };
    assert_eq!(tried.len(), 5);
    assert!(error.is_transient());
    for number in 1..=5 {
        assert!(
            error
                .to_string()
                .contains(&format!("n{number} (127.0.0.1:{}): not reached: nothing answers there", 7400 + number)),
            "{error}"
        );
    }
}

#[test]
fn same_seed_same_history() {
    let act = |attempt: usize, _: NodeId| (ACTS[1 + attempt % 2], 10);
    let history = |seed| run(read(), Duration::from_secs(1), seed, act).asked;
    assert_eq!(history(3), history(3));
    assert_ne!(history(3), history(4));
}
