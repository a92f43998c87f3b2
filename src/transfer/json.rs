//! A JSON object of names and values.
//!
//! A number, `true` and `false` are taken literally, so that nothing is lost. A value without one obvious text is refused:
//! `null`, an array or a nested object. So is a name that occurs twice.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::ser::{Formatter, PrettyFormatter};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::entry::{self, Entry, FirstErrors, FormatError, SyntaxError};
use crate::json_escape::unicode_escape;
use crate::secret::{SecretName, SecretValue};

/// Reads a file.
///
/// # Errors
/// The refused values, or the position of the JSON syntax error.
pub fn parse(bytes: &[u8]) -> Result<Vec<Entry>, FirstErrors<SyntaxError>> {
    let text = entry::text(bytes).map_err(FirstErrors::from)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut full = None;
    let members = deserializer.deserialize_map(MembersVisitor(&mut full));
    let members = members.and_then(|members| deserializer.end().map(|()| members)).map_err(|error| {
        if let Some(full) = full {
            return FirstErrors::from(SyntaxError { line: error.line().max(1), ..full });
        }
        let reason = if error.is_data() { "it is not a JSON object" } else { "it is not JSON" };
        // The parser's message is dropped, because it may repeat the file's text.
        FirstErrors::from(SyntaxError {
            line: error.line().max(1),
            column: Some(error.column()).filter(|&column| column > 0),
            reason,
        })
    })?;

    let (mut entries, mut malformed) = (Vec::new(), FirstErrors::default());
    let (mut at, mut line) = (0, 1);
    for (name, raw) in members {
        // The value's position in the text.
        let offset = raw.get().as_ptr().addr() - text.as_ptr().addr();
        line += entry::lines_in(&text.as_bytes()[at..offset]);
        at = offset;
        match value(raw) {
            Ok(value) => entries.push(Entry { line, name, value: Some(value), replaces: None }),
            Err(reason) => malformed.push(|| SyntaxError { line, column: None, reason }),
        }
    }
    if !malformed.is_empty() {
        return Err(malformed);
    }
    entry::refuse_repeated(&entries)?;
    Ok(entries)
}

fn value(raw: &RawValue) -> Result<Zeroizing<String>, &'static str> {
    match raw.get().as_bytes()[0] {
        b'"' => serde_json::from_str(raw.get()).map(Zeroizing::new).map_err(|_| "its value is not text"),
        b'{' | b'[' => Err("its value is an object or an array, not a single value"),
        b'n' => Err("its value is null: write \"\" for an empty one, or leave it out"),
        _ => Ok(Zeroizing::new(raw.get().to_owned())),
    }
}

/// Collects the members of an object, including repeated names. The error is kept if there are too many: the parser's own
/// error does not carry it.
struct MembersVisitor<'a>(&'a mut Option<SyntaxError>);

impl<'de> Visitor<'de> for MembersVisitor<'_> {
    type Value = Vec<(Zeroizing<String>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if let Err(error) = entry::require_room(members.len(), 1) {
                *self.0 = Some(error);
                return Err(A::Error::custom(error.reason));
            }
            members.push((Zeroizing::new(name), map.next_value()?));
        }
        Ok(members)
    }
}

/// Writes an object. It is YAML too: characters that a YAML parser takes for line ends, or does not allow, are escaped.
///
/// # Errors
/// Each secret whose value is not text.
pub fn render(secrets: &[(SecretName, SecretValue)]) -> Result<Zeroizing<Vec<u8>>, Vec<FormatError>> {
    let mut members = std::collections::BTreeMap::new();
    entry::each(secrets, |name, value| {
        members.insert(name.as_str(), entry::as_text(name, value)?);
        Ok(())
    })?;
    let mut file = Zeroizing::new(Vec::new());
    let formatter = PrintableFormatter(PrettyFormatter::new());
    let mut serializer = serde_json::Serializer::with_formatter(&mut *file, formatter);
    members.serialize(&mut serializer).expect("text, into memory");
    file.push(b'\n');
    Ok(file)
}

/// Writes an object over several lines, and escapes what YAML 1.1 does not print: `c-printable` without its line ends.
struct PrintableFormatter(PrettyFormatter<'static>);

impl Formatter for PrintableFormatter {
    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, is_first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, is_first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let is_escaped =
            |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
        for part in fragment.split_inclusive(is_escaped) {
            let plain = part.trim_end_matches(is_escaped);
            writer.write_all(plain.as_bytes())?;
            for character in part[plain.len()..].chars() {
                writer.write_all(unicode_escape(character).as_bytes())?;
            }
        }
        Ok(())
    }
}
