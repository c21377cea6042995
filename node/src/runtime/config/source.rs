//! A TOML file with its text at hand, so that every complaint can say where it points.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::ConfigError;

/// A configuration file that was read.
#[derive(Clone, Debug)]
pub struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError::Read`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
            what: "the configuration",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { path: path.to_owned(), text })
    }

    /// Decodes the text; wrap fields in [`toml::Spanned`] to be able to complain about them later.
    ///
    /// # Errors
    /// [`ConfigError::At`] where the text is no TOML, or not of this shape.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        toml::from_str(&self.text).map_err(|error| {
            let (span, message) = (error.span().unwrap_or_default(), one_line(error.message()));
            match self.field_before(span.start) {
                Some(field) => self.error(span, format!("{field}: {message}")),
                None => self.error(span, message),
            }
        })
    }

    /// The field whose value begins here.
    fn field_before(&self, place: usize) -> Option<&str> {
        let line = self.text.get(..place)?.rsplit('\n').next()?;
        line.trim_end().strip_suffix('=').map(str::trim)
    }

    /// A complaint about a range of bytes of the text.
    pub fn error(&self, span: Range<usize>, message: impl Into<String>) -> ConfigError {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        ConfigError::At { path: self.path.clone(), line, column, message: message.into() }
    }

    /// A path of the file: relative ones are relative to the file's own directory.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }
}

/// The library's messages may have several lines; ours have one.
fn one_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join(", ")
}
