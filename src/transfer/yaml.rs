//! A YAML mapping of names and values: one document, without anything inside of the mapping but text.
//!
//! What stands without quotes is taken as it is written, so that nothing is lost, whatever a reader of some version of YAML
//! would make of `8080`, `yes` or `010`. What has no one text is refused: `null`, nothing at all, a sequence, a mapping in
//! the mapping, a name that stands there twice. Aliases are refused too: none is ever followed, so none can grow.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};
use zeroize::Zeroizing;

use super::entry::{self, Entry, SyntaxError};

/// Reads a file.
///
/// # Errors
/// The first place that is refused, or each name that stands there twice.
pub fn parse(bytes: &[u8]) -> Result<Vec<Entry>, Vec<SyntaxError>> {
    let text = entry::text(bytes).map_err(|error| vec![error])?;
    let entries = YamlReader(Parser::new_from_str(text)).entries().map_err(|error| vec![error])?;
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
            _ => Err(malformed(at, "its value is not one value, but a mapping or a sequence")),
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Marker), SyntaxError> {
        match self.0.next() {
            Some(Ok((event, span))) => Ok((event, span.start)),
            // The message may repeat what stands there.
            Some(Err(error)) => Err(malformed(*error.marker(), "it is not YAML")),
            None => Err(SyntaxError { line: 1, column: None, reason: "it has no end" }),
        }
    }
}

fn scalar(value: Zeroizing<String>, style: ScalarStyle, tag: Option<&Tag>) -> Result<Zeroizing<String>, &'static str> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(value),
        Some(_) => Err("its value has a tag, and !!str is the only one that is understood"),
        None if style == ScalarStyle::Plain && matches!(value.as_str(), "" | "~" | "null" | "Null" | "NULL") => {
            Err("its value is null: write '' for an empty one, or leave it out")
        }
        None => Ok(value),
    }
}

fn malformed(at: Marker, reason: &'static str) -> SyntaxError {
    SyntaxError { line: at.line().max(1), column: Some(at.col() + 1), reason }
}
