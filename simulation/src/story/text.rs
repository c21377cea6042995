//! A story as a screenful of plain text.

use super::telling::{Paragraph, Telling};
use super::words::{cut, time};
use super::{Failure, Fate, Story};

/// A story in words has at most so many lines.
pub const TEXT_LINES_MAX: usize = 40;
/// And each of them at most so many characters.
pub const TEXT_COLUMNS_MAX: usize = 100;

/// Lines that what was promised, seen and planned may each take.
const PARAGRAPH_LINES_MAX: usize = 3;
const LABEL_COLUMNS: usize = 12;
const WHO_COLUMNS_MAX: usize = 12;

/// Tells a story.
pub(super) fn tell(story: &Story) -> String {
    let mut lines = match &story.failure {
        Some(failure) => failed(story, failure),
        None => passed(story),
    };
    lines.push(String::new());
    labelled(&mut lines, "The run", &story.plan.join("; "), PARAGRAPH_LINES_MAX);
    let length = format!("{} of virtual time, {} events", time(story.lasted), story.events);
    labelled(&mut lines, "", &length, 1);
    let reserved = 1;
    if TEXT_LINES_MAX < lines.len() + reserved {
        lines.truncate(TEXT_LINES_MAX - reserved);
    }
    labelled(&mut lines, "Repeat with", &story.repeat, 1);
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn failed(story: &Story, failure: &Failure) -> Vec<String> {
    let telling = Telling::of(story);
    let heading = format!("FAILED  {}: {}, {}", story.title, failure.oracle, failure.name);
    let mut lines = vec![cut(&heading, TEXT_COLUMNS_MAX), String::new()];
    labelled(&mut lines, "Promised", &failure.promise, PARAGRAPH_LINES_MAX);
    labelled(&mut lines, "Seen", &format!("{}, at {}", failure.what, time(failure.at)), PARAGRAPH_LINES_MAX);
    telling.became.iter().for_each(|paragraph| became(&mut lines, paragraph));
    if !telling.events.is_empty() {
        lines.extend([String::new(), "The last events that matter".to_owned()]);
        let who = telling.events.iter().map(|told| told.who.chars().count()).max().unwrap_or(0).min(WHO_COLUMNS_MAX);
        lines.extend(telling.events.iter().map(|told| {
            let line = format!("  {:>13}  {:who$}  {}", time(told.at), cut(&told.who, who), told.what);
            cut(&line, TEXT_COLUMNS_MAX)
        }));
    }
    lines
}

fn became(lines: &mut Vec<String>, paragraph: &Paragraph) {
    lines.extend([String::new(), cut(&paragraph.heading, TEXT_COLUMNS_MAX)]);
    for (label, line) in &paragraph.lines {
        labelled(lines, &format!("  {label}"), line, 2);
    }
}

fn passed(story: &Story) -> Vec<String> {
    let count = |fate| story.operations.iter().filter(|operation| operation.fate == fate).count();
    let heading = format!("passed  {}: every check held", story.title);
    let mut lines = vec![cut(&heading, TEXT_COLUMNS_MAX), String::new()];
    let operations = format!(
        "{} operations: {} done, {} failed, {} with an unknown outcome",
        story.operations.len(),
        count(Fate::Done),
        count(Fate::Failed),
        count(Fate::Unknown)
    );
    labelled(&mut lines, "Clients", &operations, 1);
    let lost = story.messages.iter().filter(|message| message.lost.is_some()).count();
    labelled(&mut lines, "Messages", &format!("{}, of which {lost} were lost", story.messages.len()), 1);
    let mut kinds: Vec<&str> = story.faults.iter().map(|fault| fault.id.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    labelled(&mut lines, "Faults", &format!("{}, of {}", story.faults.len(), kinds.join(", ")), 2);
    lines
}

/// A label, and a text beside it on as many lines as it takes, up to a bound.
fn labelled(lines: &mut Vec<String>, label: &str, text: &str, lines_max: usize) {
    let width = TEXT_COLUMNS_MAX - LABEL_COLUMNS - 1;
    let mut rows = wrapped(text, width);
    if lines_max < rows.len() {
        let rest = rows.split_off(lines_max - 1).join(" ");
        rows.push(cut(&rest, width));
    }
    for (index, row) in rows.iter().enumerate() {
        let label = if index == 0 { label } else { "" };
        lines.push(format!("{label:LABEL_COLUMNS$} {row}").trim_end().to_owned());
    }
}

/// Breaks a text between words, and words that are longer than a line.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    // Times have spaces in them at which they are not broken.
    let clean = cut(text, usize::MAX);
    for word in clean.split(' ').filter(|word| !word.is_empty()) {
        let letters: Vec<char> = word.chars().collect();
        for piece in letters.chunks(width) {
            let row = rows.last_mut().expect("there is always a row");
            let used = row.chars().count();
            if used == 0 || used + 1 + piece.len() <= width {
                row.extend((used != 0).then_some(' ').into_iter().chain(piece.iter().copied()));
            } else {
                rows.push(piece.iter().collect());
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::sample;

    fn assert_fits(text: &str) {
        assert!(text.lines().count() <= TEXT_LINES_MAX, "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= TEXT_COLUMNS_MAX, "{line}");
        }
    }

    #[test]
    fn a_failure_fits_a_screen_and_names_the_promise_the_write_and_the_command() {
        let story = sample::lost_write();
        let text = story.to_text();
        assert_fits(&text);
        for part in ["FAILED", "O1", "acknowledged at", "n2 holds", "never synced", &story.repeat] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
    }

    #[test]
    fn ten_thousand_events_fit_a_screen_too() {
        let text = sample::large(10_000).to_text();
        assert_fits(&text);
        assert!(text.contains("Repeat with"));
    }

    #[test]
    fn texts_without_end_and_without_spaces_fit_and_leave_the_command_in_place() {
        let mut story = sample::lost_write();
        let failure = story.failure.as_mut().expect("it failed");
        failure.what = "x".repeat(5_000);
        failure.promise = "many words ".repeat(500);
        story.plan = vec!["plan".repeat(300); 40];
        story.keys = vec!["key\n".repeat(500)];
        let text = story.to_text();
        assert_fits(&text);
        assert!(text.lines().last().is_some_and(|line| line.starts_with("Repeat with")), "{text}");
    }

    #[test]
    fn a_run_without_failure_says_so_in_a_few_lines() {
        let story = Story { failure: None, ..sample::lost_write() };
        let text = story.to_text();
        assert!(text.starts_with("passed") && text.lines().count() < 12, "{text}");
    }
}
