//! The lines that `dump` writes and `load` reads, one JSON object for each key:
//!
//! ```text
//! {"key":"cart:7","value":{"items":[1,2]}}        the value's bytes are exactly the JSON text after "value":
//! {"key":"note","value_text":"plain text"}        the value is text, but no JSON text that fits a line
//! {"key_base64":"AP8=","value_base64":"iVBORw=="} the key or the value is no text (RFC 4648, standard alphabet, padded)
//! {"key":"cart:9","siblings":[{"value":1},{"value":2}]}
//! ```
//!
//! Both directions keep every byte of a value: JSON is never parsed into numbers and written anew. Of a line that `dump` wrote,
//! `load` stores what was there; of a compact line that `load` read, `dump` writes the same line, if its key is escaped no more
//! than JSON asks for.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quorate_ring::{Key, Value};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// What one line holds: a key and its values, more than one only if they are siblings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The key.
    pub(crate) key: Key,
    /// Its values, at least one.
    pub(crate) values: Vec<Value>,
}

/// Why a line was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; expected {{\"key\":\"...\",\"value\":...}}")]
pub(crate) struct BadLine {
    reason: String,
}

impl BadLine {
    /// For this reason.
    pub(crate) fn new(reason: impl ToString) -> Self {
        Self { reason: reason.to_string() }
    }
}

impl Record {
    /// Reads a line, with or without its line break.
    ///
    /// # Errors
    /// [`BadLine`], saying what is wrong with it.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, BadLine> {
        let text = std::str::from_utf8(line).map_err(|error| BadLine::new(format!("no UTF-8 text: {error}")))?;
        let line: Line<'_> = serde_json::from_str(text).map_err(|error| BadLine::new(without_line(&error)))?;
        let key = match (line.key, line.key_base64) {
            (Some(key), None) => key.into_owned().into_bytes(),
            (None, Some(encoded)) => decode(&encoded)?,
            _ => return Err(BadLine::new("there must be one of \"key\" and \"key_base64\"")),
        };
        let single = OneValue { value: line.value, value_text: line.value_text, value_base64: line.value_base64 };
        let values = match line.siblings {
            None => vec![single.decode()?],
            Some(siblings) if single.is_empty() && !siblings.is_empty() => {
                siblings.into_iter().map(OneValue::decode).collect::<Result<_, _>>()?
            }
            Some(_) => return Err(BadLine::new("\"siblings\" is a list of at least one, and stands alone")),
        };
        Ok(Self { key: Key::new(key).map_err(BadLine::new)?, values })
    }

    /// Appends this record's line, with its line break.
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        let (key, key_base64) = match std::str::from_utf8(self.key.as_bytes()) {
            Ok(text) => (Some(text.into()), None),
            Err(_) => (None, Some(STANDARD.encode(self.key.as_bytes()).into())),
        };
        let mut line = Line { key, key_base64, ..Line::default() };
        match self.values.as_slice() {
            [value] => {
                let one = OneValue::encode(value.as_bytes());
                (line.value, line.value_text, line.value_base64) = (one.value, one.value_text, one.value_base64);
            }
            siblings => line.siblings = Some(siblings.iter().map(|value| OneValue::encode(value.as_bytes())).collect()),
        }
        serde_json::to_writer(&mut *to, &line).expect("strings and raw JSON can be written, and memory takes them");
        to.push(b'\n');
    }
}

/// A value in the form that it has in a line; for `--json` output.
pub(crate) fn value_for_json(value: &[u8]) -> impl Serialize + '_ {
    OneValue::encode(value)
}

/// A key in the form that it has in a line; for `--json` output.
pub(crate) fn key_for_json(key: &[u8]) -> KeyForJson<'_> {
    KeyForJson(key)
}

/// The `key` or `key_base64` field.
pub(crate) struct KeyForJson<'a>(&'a [u8]);

impl Serialize for KeyForJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, text) = match std::str::from_utf8(self.0) {
            Ok(text) => ("key", Cow::Borrowed(text)),
            Err(_) => ("key_base64", Cow::Owned(STANDARD.encode(self.0))),
        };
        serializer.collect_map([(name, text)])
    }
}

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key_base64: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "even_null", skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value_text: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value_base64: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    siblings: Option<Vec<OneValue<'a>>>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct OneValue<'a> {
    #[serde(borrow, default, deserialize_with = "even_null", skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value_text: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value_base64: Option<Cow<'a, str>>,
}

impl<'a> OneValue<'a> {
    fn is_empty(&self) -> bool {
        self.value.is_none() && self.value_text.is_none() && self.value_base64.is_none()
    }

    fn decode(self) -> Result<Value, BadLine> {
        let bytes = match (self.value, self.value_text, self.value_base64) {
            (Some(raw), None, None) => raw.get().as_bytes().to_vec(),
            (None, Some(text), None) => text.into_owned().into_bytes(),
            (None, None, Some(encoded)) => decode(&encoded)?,
            _ => return Err(BadLine::new("there must be one of \"value\", \"value_text\" and \"value_base64\"")),
        };
        Value::new(bytes).map_err(BadLine::new)
    }

    fn encode(value: &'a [u8]) -> Self {
        let Ok(text) = std::str::from_utf8(value) else {
            return Self { value_base64: Some(STANDARD.encode(value).into()), ..Self::default() };
        };
        match json_text(text) {
            Some(raw) => Self { value: Some(raw), ..Self::default() },
            None => Self { value_text: Some(text.into()), ..Self::default() },
        }
    }
}

/// The text as JSON that can stand in a line and is read back to the last byte: no line break in it, no space around it.
fn json_text(text: &str) -> Option<&RawValue> {
    if text.trim_ascii().len() != text.len() || text.contains(['\n', '\r']) {
        return None;
    }
    serde_json::from_str::<&RawValue>(text).ok()
}

/// `null` is a value like any other, not the absence of one.
fn even_null<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn decode(encoded: &str) -> Result<Vec<u8>, BadLine> {
    STANDARD.decode(encoded).map_err(|error| BadLine::new(format!("no base64: {error}")))
}

/// The message of serde_json, which counts lines inside one line.
fn without_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

/// Whether a line holds nothing, and may be skipped.
pub(crate) fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(record: &Record) -> String {
        let mut line = Vec::new();
        record.write(&mut line);
        String::from_utf8(line).expect("lines are text")
    }

    #[test]
    fn compact_line_comes_back_byte_for_byte() {
        for line in [
            r#"{"key":"a","value":{"b":[1,2.50,1e400,-0.0],"c":"\u00e9\/"}}"#,
            r#"{"key":"ä \"q\" \\ ","value":null}"#,
            r#"{"key":"n","value":123456789012345678901234567890}"#,
            r#"{"key":"inner spaces","value":{ "a" : 1 }}"#,
            r#"{"key":"s","siblings":[{"value":1},{"value_text":"x y"},{"value_base64":"/w=="}]}"#,
            r#"{"key_base64":"AP8=","value_text":"two\nlines"}"#,
        ] {
            let record = Record::parse(line.as_bytes()).expect(line);
            assert_eq!(written(&record), format!("{line}\n"));
        }
    }

    #[test]
    fn value_is_stored_as_the_text_that_stood_there() {
        let record = Record::parse(br#" { "key" : "a" , "value" :  {"x": 1.0}  } "#).expect("valid");
        assert_eq!(record.values[0].as_bytes().as_ref(), br#"{"x": 1.0}"#);
    }

    #[test]
    fn bad_lines_say_what_is_wrong() {
        for (line, expected) in [
            (r#"{"key":"a""#, "EOF while parsing an object at column 10"),
            (r#"{"key":"a"}"#, "one of \"value\", \"value_text\""),
            (r#"{"value":1}"#, "one of \"key\" and"),
            (r#"{"key":"a","value":1,"ttl":3}"#, "unknown field `ttl`"),
            (r#"{"key":"","value":1}"#, "the key is empty"),
            (r#"{"key":7,"value":1}"#, "invalid type: integer `7`"),
            (r#"{"key":"a","siblings":[]}"#, "at least one"),
            (r#"{"key":"a","value":1,"siblings":[{"value":1}]}"#, "stands alone"),
            (r#"{"key":"a","value_base64":"?"}"#, "no base64"),
            (r#"[1]"#, "expected"),
        ] {
            let error = Record::parse(line.as_bytes()).expect_err(line).to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
        assert!(Record::parse(b"{\"key\":\"\xff\",\"value\":1}").is_err());
        assert!(Record::parse(format!("{{\"key\":\"{}\",\"value\":1}}", "k".repeat(4097)).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn every_record_comes_back_through_its_line(
            key in prop::collection::vec(any::<u8>(), 1..20),
            values in prop::collection::vec(prop_oneof![
                prop::collection::vec(any::<u8>(), 0..20),
                "[ \\[\\]{}0-9,\"\n]{0,12}".prop_map(String::into_bytes),
            ], 1..4),
        ) {
            let values = values.into_iter().map(|value| Value::new(value).expect("small")).collect();
            let record = Record { key: Key::new(key).expect("short"), values };
            let line = written(&record);
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert_eq!(Record::parse(line.as_bytes()), Ok(record));
        }
    }
}
