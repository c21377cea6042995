//! How far a change of the cluster is: a bar for each node, and a line of the load, redrawn where they stand. Where there is no terminal a
//! line every few seconds, so that logs stay readable.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use quorate_ring::NodeId;

use super::super::super::tell::INDENT;
use super::load::Figures;
use crate::cli::human;

/// Time between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(2);
const REDRAWS_PER_SECOND: u8 = 10;
/// How long the rest takes is only guessed once this part of the whole is done: the beginning is uneven.
const GUESS_FROM: u64 = 20;

/// What one node has of what it is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// Partitions that it holds all of.
    pub(super) held: u64,
    /// Partitions that it is to hold; none for one that leaves.
    pub(super) to_hold: u64,
    /// Bytes of its files.
    pub(super) bytes: u64,
}

/// The bars of one change.
pub(super) struct Bars {
    /// On a terminal.
    screen: Option<Screen>,
    nodes: BTreeMap<NodeId, Seen>,
    line_due: Instant,
}

struct Screen {
    all: MultiProgress,
    nodes: BTreeMap<NodeId, ProgressBar>,
    load: ProgressBar,
}

/// How a node began, and how it is.
struct Seen {
    first: Share,
    last: Share,
    /// When it was last seen to hold no more than at first.
    begun: Instant,
    ended: Option<Instant>,
}

impl Seen {
    fn new(share: Share, now: Instant) -> Self {
        Self { first: share, last: share, begun: now, ended: None }
    }

    /// Whether it is to hold more than it did at first.
    fn gains(&self) -> bool {
        self.first.held < self.last.to_hold
    }

    /// What is held never shrinks while one change is carried out: an answer that is older than another is not shown.
    fn note(&mut self, share: Share, now: Instant) {
        self.last = Share { held: self.last.held.max(share.held).min(share.to_hold), ..share };
        if self.first.held == self.last.held {
            self.begun = now;
        }
        if self.last.held == self.last.to_hold {
            self.ended.get_or_insert(now);
        }
    }

    fn figures(&self, now: Instant) -> String {
        let Share { held, to_hold, bytes } = self.last;
        if to_hold == 0 {
            return "leaves, and serves until the others have all".to_owned();
        }
        let mut told = format!("{} of {} partitions", human::count(held), human::count(to_hold));
        if self.first.held < held {
            let took = self.ended.unwrap_or(now).saturating_duration_since(self.begun);
            let rate = human::rate(held - self.first.held, took);
            told += &format!(", {} on disk, {} partitions/s", human::bytes(bytes), human::count(rate));
            let enough_seen = (to_hold - self.first.held).div_ceil(GUESS_FROM) <= held - self.first.held;
            if enough_seen && held < to_hold && 0 < rate {
                told += &format!(", {} left", human::duration(Duration::from_secs((to_hold - held).div_ceil(rate))));
            }
        }
        told
    }
}

impl Bars {
    /// Nothing is shown yet.
    pub(super) fn start() -> Self {
        let screen = std::io::stderr().is_terminal().then(|| {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND));
            let load = all.add(ProgressBar::new_spinner());
            load.set_style(style(&format!("{INDENT}load {{msg}}")));
            Screen { all, nodes: BTreeMap::new(), load }
        });
        Self { screen, nodes: BTreeMap::new(), line_due: Instant::now() + LINE_INTERVAL }
    }

    /// Notes what a node has.
    pub(super) fn note(&mut self, node: NodeId, share: Share) {
        let now = Instant::now();
        self.nodes.entry(node).or_insert_with(|| Seen::new(share, now)).note(share, now);
    }

    /// Shows how far the change is, and how the load fares, if it is time to.
    pub(super) fn show(&mut self, load: Figures) {
        let now = Instant::now();
        match &mut self.screen {
            Some(screen) => screen.draw(&self.nodes, load, now),
            None if self.line_due <= now => {
                self.line_due = now + LINE_INTERVAL;
                for (node, seen) in self.nodes.iter().filter(|(_, seen)| seen.gains()) {
                    anstream::eprintln!("{INDENT}{node}: {}", seen.figures(now));
                }
                anstream::eprintln!("{INDENT}load: {}", load.told());
            }
            None => {}
        }
    }

    /// Removes the bars, and gives what each node has received that was to hold more, in lines.
    pub(super) fn finish(self) -> String {
        let now = Instant::now();
        let gain = self.nodes.iter().filter(|(_, seen)| seen.gains());
        let lines: Vec<_> = gain.map(|(node, seen)| format!("{node}: {}\n", seen.figures(now))).collect();
        lines.concat()
    }
}

impl Screen {
    fn draw(&mut self, nodes: &BTreeMap<NodeId, Seen>, load: Figures, now: Instant) {
        for (node, seen) in nodes {
            let bar = self.nodes.entry(*node).or_insert_with(|| {
                let bar = self.all.insert_before(&self.load, ProgressBar::new(0));
                bar.set_style(style(&format!("{INDENT}{{prefix:4}} [{{bar:30}}] {{msg}}")));
                bar.set_prefix(node.to_string());
                bar
            });
            bar.set_length(seen.last.to_hold);
            bar.set_position(seen.last.held);
            bar.set_message(seen.figures(now));
        }
        self.load.set_message(load.told());
        self.load.tick();
    }
}

impl Drop for Screen {
    /// What is printed next stands where the bars were, whatever ended them.
    fn drop(&mut self) {
        // It only fails where there is no terminal any more.
        let _ = self.all.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are valid").progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(held: u64) -> Share {
        Share { held, to_hold: 100, bytes: held * 1024 }
    }

    #[test]
    fn a_bar_tells_what_is_held_and_how_long_the_rest_takes() {
        let begun = Instant::now();
        let mut seen = Seen::new(share(0), begun);
        assert_eq!(seen.figures(begun), "0 of 100 partitions");
        seen.note(share(0), begun);
        let later = begun + Duration::from_secs(2);
        seen.note(share(40), later);
        let told = "40 of 100 partitions, 40.0 KiB on disk, 20 partitions/s, 3.0 s left";
        assert_eq!(seen.figures(later), told);
        seen.note(share(30), later);
        assert_eq!(seen.figures(later), told.replace("40.0 KiB", "30.0 KiB"));
        seen.note(share(100), begun + Duration::from_secs(4));
        let long_after = begun + Duration::from_secs(60);
        assert_eq!(seen.figures(long_after), "100 of 100 partitions, 100.0 KiB on disk, 25 partitions/s");
    }

    #[test]
    fn who_leaves_is_to_hold_nothing() {
        let mut seen = Seen::new(Share { held: 0, to_hold: 0, bytes: 5 }, Instant::now());
        seen.note(Share { held: 7, to_hold: 0, bytes: 5 }, Instant::now());
        assert!(!seen.gains());
        assert_eq!(seen.figures(Instant::now()), "leaves, and serves until the others have all");
    }
}
