//! A story as one HTML file: the page's own markup, style and script, and the story as JSON in it.
//!
//! The page sets what it shows as text, never as markup. What stands in the file itself is escaped here, and a content security
//! policy forbids the page to load anything.

use serde::Serialize;

use super::Story;
use super::telling::Telling;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
/// In the order in which the parts use each other.
const SCRIPTS: [&str; 8] = [
    include_str!("page/story.js"),
    include_str!("page/time.js"),
    include_str!("page/draw.js"),
    include_str!("page/overview.js"),
    include_str!("page/point.js"),
    include_str!("page/panel.js"),
    include_str!("page/siblings.js"),
    include_str!("page/page.js"),
];

#[derive(Serialize)]
struct Data<'a> {
    #[serde(flatten)]
    story: &'a Story,
    telling: Telling,
}

/// Draws a story.
pub(super) fn draw(story: &Story) -> String {
    let data = Data { story, telling: Telling::of(story) };
    let json = serde_json::to_string(&data).expect("a story has only string keys and finite numbers");
    let script = format!("'use strict';\n(() => {{\n{}}})();\n", SCRIPTS.join("\n"));
    fill(PAGE, |name| match name {
        "title" => escaped(&story.title),
        "style" => STYLE.to_owned(),
        "verdict" => verdict(story),
        "text" => escaped(&story.to_text()),
        "story" => for_script(&json),
        "script" => script.clone(),
        _ => String::new(),
    })
}

fn verdict(story: &Story) -> String {
    let (class, badge, name) = match &story.failure {
        Some(failure) => ("failed", format!("{} failed", failure.oracle), capital(&failure.name)),
        None => ("passed", "passed".to_owned(), "Every check held".to_owned()),
    };
    format!("<span class=\"badge {class}\">{}</span> <h1>{}</h1>", escaped(&badge), escaped(&name))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// Fills in a page's `{{name}}`s, once: what is filled in is not looked at again.
fn fill(page: &str, content: impl Fn(&str) -> String) -> String {
    let mut parts = page.split("{{");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("}}").expect("every mark in the page ends");
        filled.push_str(&content(name));
        filled.push_str(rest);
    }
    filled
}

/// A text as the content of an element or of a quoted attribute.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// JSON as the content of a script element, which it can neither end nor turn into a comment. These letters occur only in strings,
/// where JSON has another way to write them.
fn for_script(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            '<' => safe.push_str("\\u003c"),
            '>' => safe.push_str("\\u003e"),
            '&' => safe.push_str("\\u0026"),
            '\u{2028}' => safe.push_str("\\u2028"),
            '\u{2029}' => safe.push_str("\\u2029"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::sample;

    const HOSTILE: &str =
        "</script><script>alert(1)</script><!--<img src=x onerror='alert(\"2\")'>{{story}}&amp;\u{2028}";

    fn hostile() -> Story {
        let mut story = sample::lost_write();
        let failure = story.failure.as_mut().expect("it failed");
        let texts = [&mut story.title, &mut story.repeat, &mut failure.what, &mut failure.name, &mut failure.oracle];
        texts.into_iter().for_each(|text| *text = HOSTILE.to_owned());
        story.keys.iter_mut().for_each(|key| *key = HOSTILE.to_owned());
        story.messages.iter_mut().for_each(|message| message.detail = HOSTILE.to_owned());
        story.operations.iter_mut().for_each(|operation| operation.outcome = HOSTILE.to_owned());
        story
    }

    fn embedded(page: &str) -> &str {
        let (_, rest) = page.split_once("id=\"story\">").expect("the page has the story");
        rest.split_once("</script>").expect("which ends").0
    }

    #[test]
    fn hostile_texts_stay_texts() {
        let (page, plain) = (hostile().to_html(), sample::lost_write().to_html());
        assert!(!page.contains("<img") && !page.contains("alert(1)</script>"));
        assert_eq!(page.matches("</script").count(), plain.matches("</script").count());
        assert_eq!(page.matches("<script").count(), plain.matches("<script").count());
        assert_eq!(page.matches("<!--").count(), plain.matches("<!--").count());
    }

    #[test]
    fn the_embedded_story_is_the_story() {
        let story = hostile();
        let page = story.to_html();
        let read: serde_json::Value = serde_json::from_str(embedded(&page)).expect("it is JSON");
        assert_eq!(read["title"], HOSTILE);
        assert_eq!(read["messages"].as_array().map(Vec::len), Some(story.messages.len()));
        assert_eq!(read["keys"][0], HOSTILE);
    }

    #[test]
    fn the_page_needs_nothing_from_anywhere() {
        let page = sample::lost_write().to_html();
        for outside in ["http://", "https://", " src=", "@import", "url(", "<link"] {
            let found = page.replace("http://www.w3.org/2000/svg", "").contains(outside);
            assert!(!found, "{outside:?}");
        }
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn a_story_is_the_same_page_each_time() {
        assert_eq!(sample::large(500).to_html(), sample::large(500).to_html());
    }
}
