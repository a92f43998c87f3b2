//! A YAML mapping of names and values: one document, in which every value is text.
//!
//! An unquoted value is taken literally, so that nothing is lost, however some version of YAML would read `8080`, `yes` or
//! `010`. A value without one obvious text is refused: `null`, an empty one, a sequence or a nested mapping. So is a name
//! that occurs twice. Aliases are refused, so that none can expand without limit.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};
use zeroize::Zeroizing;

use super::entry::{self, Entry, FirstErrors, SyntaxError};

/// The characters that begin or end a token in braces or brackets.
const MARKS: [u8; 14] = *b"#,:[]{}\"'!&*?|";

/// The most of these characters in a file. The parser keeps the tokens of a mapping in braces until it ends: they take about
/// 500 bytes for each mark.
const MOST_MARKS: usize = 300_000;

const TOO_MANY_MARKS: &str = "it has more than 300000 of the characters # , : [ ] { } \" ' ! & * ? |";

/// Reads a file.
///
/// # Errors
/// Too many marks, the first position that is refused, or the names that occur twice.
pub fn parse(bytes: &[u8]) -> Result<Vec<Entry>, FirstErrors<SyntaxError>> {
    let text = entry::text(bytes)?;
    if bytes.iter().filter(|byte| MARKS.contains(byte)).count() > MOST_MARKS {
        return Err(SyntaxError { line: 1, column: None, reason: TOO_MANY_MARKS }.into());
    }
    let entries = YamlReader(Parser::new_from_str(text)).entries()?;
    entry::refuse_repeated(&entries)?;
    Ok(entries)
}

struct YamlReader<'a>(Parser<'a, saphyr_parser::StrInput<'a>>);

impl<'a> YamlReader<'a> {
    fn entries(&mut self) -> Result<Vec<Entry>, SyntaxError> {
        const NO_MAPPING: &str = "it is not a YAML mapping";
        let start = loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(_), _) => {}
                found => break found,
            }
        };
        match start {
            (Event::MappingStart(_, None), _) => {}
            (_, at) => return Err(malformed(at, NO_MAPPING)),
        }
        let mut entries = Vec::new();
        loop {
            let (name, at) = match self.next()? {
                (Event::MappingEnd, _) => break,
                (Event::Scalar(name, _, _, None), at) => (Zeroizing::new(name.into_owned()), at),
                (_, at) => return Err(malformed(at, "a name is not plain text")),
            };
            entry::require_room(entries.len(), at.line())?;
            let value = self.value()?;
            entries.push(Entry { line: at.line(), name, value: Some(value), replaces: None });
        }
        loop {
            match self.next()? {
                (Event::DocumentEnd, _) => {}
                (Event::StreamEnd, _) => return Ok(entries),
                (_, at) => return Err(malformed(at, "there is a second document")),
            }
        }
    }

    fn value(&mut self) -> Result<Zeroizing<String>, SyntaxError> {
        let (event, at) = self.next()?;
        match event {
            Event::Scalar(value, style, _, tag) => {
                let value = Zeroizing::new(value.into_owned());
                scalar(value, style, tag.as_deref()).map_err(|reason| malformed(at, reason))
            }
            Event::Alias(_) => Err(malformed(at, "its value is an alias: write the value itself")),
            _ => Err(malformed(at, "its value is a mapping or a sequence, not a single value")),
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Marker), SyntaxError> {
        match self.0.next() {
            Some(Ok((event, span))) => Ok((event, span.start)),
            // The parser's message is dropped, because it may repeat the file's text.
            Some(Err(error)) => Err(malformed(*error.marker(), "it is not YAML")),
            None => Err(SyntaxError { line: 1, column: None, reason: "it ends too early" }),
        }
    }
}

fn scalar(value: Zeroizing<String>, style: ScalarStyle, tag: Option<&Tag>) -> Result<Zeroizing<String>, &'static str> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(value),
        Some(_) => Err("its value has a tag other than !!str"),
        None if style == ScalarStyle::Plain && matches!(value.as_str(), "" | "~" | "null" | "Null" | "NULL") => {
            Err("its value is null: write '' for an empty one, or leave it out")
        }
        None => Ok(value),
    }
}

fn malformed(at: Marker, reason: &'static str) -> SyntaxError {
    SyntaxError { line: at.line().max(1), column: Some(at.col() + 1), reason }
}
