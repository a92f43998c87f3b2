//! TOML files, parsed within bounds.
//!
//! The time of the parser grows with the keys and values of a file more than with its bytes: 256 KiB of `a.a.a.a = 1` take
//! twenty times as long as 256 KiB of good settings. So the characters that begin a key or a value are counted first.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::de::{DeTable, Deserializer, ValueDeserializer};

use crate::file_form::FileForm;

/// The characters of a message's line that are shown. A file may be one long line.
const SHOWN: usize = 200;

/// The characters without which a file has neither keys nor values.
const MARKS: [u8; 5] = [b'.', b',', b'=', b'[', b'{'];

/// The reason why a file could not be parsed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TomlError {
    /// It has more marks than it may have.
    TooManyMarks,
    /// It is not TOML, because it is in this form.
    Form(FileForm),
    /// It is not UTF-8, not TOML, or does not have the expected members: the position, and the reason.
    Syntax(String),
}

/// A file whose syntax is good. Its members are not known yet.
pub(crate) struct TomlFile<'a> {
    text: &'a str,
    table: toml::Spanned<DeTable<'a>>,
}

impl<'a> TomlFile<'a> {
    /// Parses a file with at most `most` of the characters `.`, `,`, `=`, `[` and `{`, wherever they are.
    pub(crate) fn parse(bytes: &'a [u8], most: usize) -> Result<Self, TomlError> {
        if bytes.iter().filter(|byte| MARKS.contains(byte)).count() > most {
            return Err(TomlError::TooManyMarks);
        }
        // Only then: the marks of a merge conflict may be lines of a string.
        let failed = |error| FileForm::recognise_text(bytes).map_or(error, TomlError::Form);
        let text = std::str::from_utf8(bytes).map_err(|error| failed(TomlError::Syntax(error.to_string())))?;
        let table = DeTable::parse(text).map_err(|error| failed(syntax(&error)))?;
        Ok(Self { text, table })
    }

    /// Returns the text of the file.
    pub(crate) fn text(&self) -> &str {
        self.text
    }

    /// Returns a member that is a number; `None` if it is not one.
    pub(crate) fn number(&self, member: &str) -> Option<u32> {
        let value = self.table.get_ref().get(member)?.clone();
        u32::deserialize(ValueDeserializer::from(value)).ok()
    }

    /// Returns all members.
    pub(crate) fn members<T: DeserializeOwned>(self) -> Result<T, TomlError> {
        T::deserialize(Deserializer::from(self.table)).map_err(|mut error| {
            error.set_input(Some(self.text));
            syntax(&error)
        })
    }
}

/// Parses a file and returns its members: see [`TomlFile::parse`].
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], most: usize) -> Result<T, TomlError> {
    TomlFile::parse(bytes, most)?.members()
}

fn syntax(error: &toml::de::Error) -> TomlError {
    let text = error.to_string();
    let lines = text.trim_end().lines().map(|line| match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    });
    TomlError::Syntax(lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Members {
        a: u32,
    }

    #[test]
    fn marks_are_counted_wherever_they_are() {
        let parsed = |text: &str, most: usize| parse::<Members>(text.as_bytes(), most);
        assert_eq!(parsed("a = 1 # .,[{", 5), Ok(Members { a: 1 }));
        assert_eq!(parsed("a = 1 # .,[{", 4), Err(TomlError::TooManyMarks));
        // The bytes need not be text.
        assert_eq!(parse::<Members>(b"\xff..", 1), Err(TomlError::TooManyMarks));
    }

    #[test]
    fn conflict_marks_are_reported_unless_they_are_lines_of_a_string() {
        let marks = "<<<<<<< ours\n=======\n>>>>>>> theirs\n";
        assert!(TomlFile::parse(format!("a = \"\"\"\n{marks}\"\"\"\n").as_bytes(), 100).is_ok());
        let error = TomlFile::parse(format!("a = 1\n{marks}").as_bytes(), 100).err();
        assert_eq!(error, Some(TomlError::Form(FileForm::ConflictMarks { line: 2 })));
    }

    #[test]
    fn an_error_names_its_place_and_does_not_repeat_a_long_line() {
        let error = |text: &str| match parse::<Members>(text.as_bytes(), 100) {
            Err(TomlError::Syntax(text)) => text,
            other => panic!("{other:?}"),
        };
        assert!(
            error("a = 1\nb = 1").starts_with("TOML parse error at line 2, column 1\n"),
            "{}",
            error("a = 1\nb = 1")
        );
        assert!(error("a = 1\nb = 1").contains("unknown field `b`"));
        assert!(error("").contains("missing field `a`"));
        assert!(error("a = \"x\"").contains("invalid type"));
        for long in [format!("a = \"{}\"", "é".repeat(100_000)), format!("{} = 1", "k".repeat(100_000))] {
            assert!(error(&long).len() < 2_000, "{}", error(&long).len());
        }
    }

    #[test]
    fn a_number_is_found_before_the_other_members_are_known() {
        let number = |text: &str| TomlFile::parse(text.as_bytes(), 100).ok().and_then(|file| file.number("a"));
        assert_eq!(number("a = 3\nb = []"), Some(3));
        for other in ["", "a = \"3\"", "a = -1", "a = 4294967296", "b = 1"] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
