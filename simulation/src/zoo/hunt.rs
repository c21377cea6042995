//! Running seeds with a planted bug until one fails.
//!
//! Seeds are run by the program itself, a slice at a time, in a process of its own: a bug may as well abort or hang it.

#![expect(
    clippy::disallowed_methods,
    reason = "runs processes, a thread that reads what they say, and the clock that bounds them"
)]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::Error;

/// How many seeds are run first: of a bug that hangs the program it is known only in which slice it did.
const SLICE_SEEDS_FIRST: u64 = 8;
/// How many are run at a time at most; each slice is twice the one before.
const SLICE_SEEDS_MAX: u64 = 512;

/// How long seeds take on this machine now. Those that take far longer hang.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    seed: Duration,
}

impl Pace {
    /// How many seeds are timed.
    const TIMED: u32 = 64;
    /// Longer than anybody's pause of a busy machine.
    const PATIENCE: Duration = Duration::from_secs(20);
    /// So many times as long as usual is still no hang: seeds differ, and so does what else the machine does.
    const SLOWER: u32 = 20;

    /// Times the program that has no bug.
    pub(super) fn of(program: &Path) -> Result<Self, Error> {
        let began = Instant::now();
        slice(program, 0, u64::from(Self::TIMED), Self { seed: Self::PATIENCE })?;
        Ok(Self { seed: began.elapsed() / Self::TIMED })
    }

    fn bound(self, seeds: u64) -> Duration {
        let seeds = u32::try_from(seeds).unwrap_or(u32::MAX);
        Self::PATIENCE.saturating_add(self.seed.saturating_mul(Self::SLOWER).saturating_mul(seeds))
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catch {
    /// The seed that failed; of those that hung, the first that may have.
    pub first: u64,
    /// The seed that failed; of those that hung, the last that may have.
    pub last: u64,
    /// How.
    pub what: String,
}

/// How a hunt ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Hunted {
    /// What was found, if anything was.
    pub(super) catch: Option<Catch>,
    /// How long it took.
    pub(super) took: Duration,
    /// What fails without the bug too. It says nothing of the bug, and is passed over.
    pub(super) unplanted: Vec<Catch>,
}

/// Runs seeds from 0 until one fails that passes with the program that has no bug.
pub(super) fn hunt(planted: &Path, clean: &Path, seeds: u64, pace: Pace) -> Result<Hunted, Error> {
    let began = Instant::now();
    let (mut first, mut count) = (0, SLICE_SEEDS_FIRST);
    let mut hunted = Hunted::default();
    while hunted.catch.is_none() && first < seeds {
        let slice_seeds = count.min(seeds - first);
        let catch = slice(planted, first, slice_seeds, pace)?;
        first = catch.as_ref().map_or(first + slice_seeds, |catch| catch.last + 1);
        count = SLICE_SEEDS_MAX.min(2 * count);
        let Some(catch) = catch else { continue };
        match slice(clean, catch.first, catch.last - catch.first + 1, pace)? {
            None => hunted.catch = Some(catch),
            Some(own) => hunted.unplanted.push(own),
        }
    }
    hunted.took = began.elapsed();
    Ok(hunted)
}

/// Whether a named scenario fails with a bug. A scenario that hangs, or dies, fails.
pub(super) fn fails(planted: &Path, scenario: &str, pace: Pace) -> Result<bool, Error> {
    let failed = |source| Error::Process { program: planted.display().to_string(), source };
    let mut command = Command::new(planted);
    command.args(["scenario", scenario]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(failed)?;
    let lines = listen(child.stdout.take());
    let until = Instant::now() + pace.bound(SLICE_SEEDS_FIRST);
    while let Err(RecvTimeoutError::Timeout) | Ok(_) =
        lines.recv_timeout(until.saturating_duration_since(Instant::now()))
    {
        if until <= Instant::now() {
            child.kill().map_err(failed)?;
            break;
        }
    }
    Ok(!child.wait().map_err(failed)?.success())
}

/// Runs some seeds, until the first that fails.
fn slice(program: &Path, first: u64, count: u64, pace: Pace) -> Result<Option<Catch>, Error> {
    let failed = |source| Error::Process { program: program.display().to_string(), source };
    let mut child = command(program, first, count).spawn().map_err(failed)?;
    let lines = listen(child.stdout.take());
    let bound = pace.bound(count);
    let until = Instant::now() + bound;
    let mut catch = None;
    loop {
        match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => catch = failure(&line),
            Err(RecvTimeoutError::Timeout) => {
                let what = format!("a hang: {count} seeds took more than {} s", bound.as_secs());
                catch = Some(Catch { first, last: first + count - 1, what });
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if catch.is_some() {
            child.kill().map_err(failed)?;
            break;
        }
    }
    let died = died(&mut child).map_err(failed)?;
    if let (None, true) = (&catch, died) {
        catch = Some(Catch { first, last: first + count - 1, what: "the process died".to_owned() });
    }
    Ok(catch)
}

fn command(program: &Path, first: u64, count: u64) -> Command {
    let mut command = Command::new(program);
    command.args([
        "campaign",
        "--threads",
        "1",
        "--stop-at-first",
        "--first",
        &first.to_string(),
        "--seeds",
        &count.to_string(),
    ]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// What a line says of a seed that failed: `seed 7: O7, a read missed an acknowledged write: ...`.
fn failure(line: &str) -> Option<Catch> {
    let (seed, what) = line.strip_prefix("seed ")?.split_once(": ")?;
    let seed = seed.parse().ok()?;
    Some(Catch { first: seed, last: seed, what: what.to_owned() })
}

/// Whether the program ended in another way than by saying that it passed, or failed.
fn died(child: &mut Child) -> std::io::Result<bool> {
    Ok(!matches!(child.wait()?.code(), Some(0 | 1)))
}

fn listen(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let lines = pipe.into_iter().flat_map(|pipe| BufReader::new(pipe).lines());
        // Who no longer listens has heard enough.
        lines.map_while(Result::ok).try_for_each(|line| sender.send(line)).ok();
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_seed_is_read_from_its_line() {
        let what = "O7, a read missed an acknowledged write: WriteId(3) of key 0".to_owned();
        assert_eq!(failure(&format!("seed 12: {what}")), Some(Catch { first: 12, last: 12, what }));
        assert_eq!(failure("500 seeds, 0 failed, 12 events in 1.0 s: 12 a second"), None);
    }
}
