//! `.env` files, as `python-dotenv` reads them with `interpolate=False`. A test compares the two.
//!
//! It differs in two ways. A line that `python-dotenv` skips with a warning is an error here. And `python-dotenv` expands
//! `${VAR}` by default, even in single quotes, so that a secret would depend on the user's environment; here the
//! characters are kept, and [`is_expanded`] reports them.

use zeroize::Zeroizing;

use super::entry::{self, Entry, FirstErrors, FormatError, SpecialNames, SyntaxError};
use crate::secret::{SecretName, SecretValue};

/// Reads a file. If a name occurs twice, the last value counts, in the place of the first.
///
/// # Errors
/// The lines that cannot be parsed, or the first entry that is too many.
pub fn parse(bytes: &[u8]) -> Result<Vec<Entry>, FirstErrors<SyntaxError>> {
    // Line ends are translated as Python does when it opens a text file.
    let text = Zeroizing::new(entry::text(bytes).map_err(FirstErrors::from)?.replace("\r\n", "\n"));
    let text = Zeroizing::new(text.replace('\r', "\n"));
    let (mut entries, mut malformed) = (Vec::<Entry>::new(), FirstErrors::default());
    let mut places = std::collections::BTreeMap::new();
    let mut reader = DotenvReader { rest: &text, line: 1 };
    loop {
        reader.take(is_space);
        if reader.rest.is_empty() {
            break;
        }
        let line = reader.line;
        match reader.assignment() {
            Ok(None) => {}
            Ok(Some((name, value))) => {
                let new = Entry { line, name: Zeroizing::new(name.to_owned()), value, replaces: None };
                match places.entry(name) {
                    std::collections::btree_map::Entry::Vacant(place) => {
                        entry::require_room(entries.len(), line)?;
                        place.insert(entries.len());
                        entries.push(new);
                    }
                    std::collections::btree_map::Entry::Occupied(place) => {
                        let old = &mut entries[*place.get()];
                        *old = Entry { replaces: Some(old.line), ..new };
                    }
                }
            }
            Err(reason) => {
                malformed.push(|| SyntaxError { line, column: None, reason });
                reader.take(|c| c != '\n');
                reader.take_one("\n");
            }
        }
    }
    if malformed.is_empty() { Ok(entries) } else { Err(malformed) }
}

/// The rest of a file.
struct DotenvReader<'a> {
    rest: &'a str,
    line: usize,
}

/// A name, and its value unless the name is alone on the line.
type Assignment<'a> = (&'a str, Option<Zeroizing<String>>);

impl<'a> DotenvReader<'a> {
    /// Parses to the end of a line: `None` for a comment.
    fn assignment(&mut self) -> Result<Option<Assignment<'a>>, &'static str> {
        if let Some(after) = self.rest.strip_prefix("export").filter(|after| after.starts_with(is_blank)) {
            self.rest = after;
            self.take(is_blank);
        }
        let name = self.name()?;
        self.take(is_blank);
        let value = if self.take_one("=") { Some(self.value()?) } else { None };
        // A comment may follow anything but an unquoted value, which has already dropped its own.
        self.take(is_blank);
        if self.rest.starts_with('#') {
            self.take(|c| c != '\n');
        }
        if !self.rest.is_empty() && !self.take_one("\n") {
            return Err("unexpected text after the name or its value");
        }
        Ok(name.map(|name| (name, value)))
    }

    fn name(&mut self) -> Result<Option<&'a str>, &'static str> {
        if self.rest.starts_with('#') {
            return Ok(None);
        }
        let name = if let Some(after) = self.rest.strip_prefix('\'') {
            // Nothing is consumed on an error, because the next line may be good.
            if !after.contains('\'') {
                return Err("a quoted name is not closed");
            }
            self.rest = after;
            let name = self.take(|c| c != '\'');
            self.take_one("'");
            name
        } else {
            self.take(|c| !is_space(c) && c != '=' && c != '#')
        };
        if name.is_empty() { Err("the name is missing") } else { Ok(Some(name)) }
    }

    /// Parses the value after the `=`.
    fn value(&mut self) -> Result<Zeroizing<String>, &'static str> {
        let is_apart = !self.take(is_blank).is_empty();
        match self.rest.chars().next() {
            None | Some('\n') => Ok(Zeroizing::default()),
            Some('#') if is_apart => Ok(Zeroizing::default()),
            Some(quote @ ('\'' | '"')) => self.quoted(quote),
            Some(_) => Ok(Zeroizing::new(unquoted(self.take(|c| c != '\n')).to_owned())),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Zeroizing<String>, &'static str> {
        let start = &self.rest[1..];
        // Large enough from the start: a string that grows leaves a copy behind.
        let mut value = Zeroizing::new(String::with_capacity(end_of_quotes(start, quote).ok_or(NO_END)?));
        let mut characters = start.chars();
        loop {
            match characters.next().ok_or(NO_END)? {
                c if c == quote => break,
                '\\' => {
                    let escaped = characters.next().ok_or(NO_END)?;
                    match unescaped(escaped, quote) {
                        Some(character) => value.push(character),
                        None => value.extend(['\\', escaped]),
                    }
                }
                c => value.push(c),
            }
        }
        let rest = characters.as_str();
        self.line += entry::lines_in(&start.as_bytes()[..start.len() - rest.len()]);
        self.rest = rest;
        Ok(value)
    }

    /// Takes the characters that pass, up to the first that does not.
    fn take(&mut self, passes: impl Fn(char) -> bool) -> &'a str {
        let (taken, rest) = self.rest.split_at(self.rest.find(|c| !passes(c)).unwrap_or(self.rest.len()));
        self.line += entry::lines_in(taken.as_bytes());
        self.rest = rest;
        taken
    }

    /// Takes this text, and returns true, if the rest begins with it.
    fn take_one(&mut self, what: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(what) else { return false };
        self.line += entry::lines_in(what.as_bytes());
        self.rest = rest;
        true
    }
}

const NO_END: &str = "a quoted value is not closed";

/// Returns the number of bytes before the quote that ends a value.
fn end_of_quotes(text: &str, quote: char) -> Option<usize> {
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            c if c == quote => return Some(index),
            _ => {}
        }
    }
    None
}

/// Returns the character that a backslash and this character stand for; `None` if both are kept.
fn unescaped(character: char, quote: char) -> Option<char> {
    match (character, quote) {
        ('\\' | '\'', _) => Some(character),
        (_, '\'') => None,
        ('"', _) => Some('"'),
        ('a', _) => Some('\u{7}'),
        ('b', _) => Some('\u{8}'),
        ('f', _) => Some('\u{c}'),
        ('n', _) => Some('\n'),
        ('r', _) => Some('\r'),
        ('t', _) => Some('\t'),
        ('v', _) => Some('\u{b}'),
        _ => None,
    }
}

/// Returns an unquoted value. It ends before a comment, which follows white space.
fn unquoted(line: &str) -> &str {
    let begins_comment = |&(index, _): &(usize, &str)| line[..index].ends_with(is_space);
    let end = line.match_indices('#').find(begins_comment).map_or(line.len(), |(index, _)| index);
    line[..end].trim_end_matches(is_space)
}

/// Python's white space: Unicode's, and four separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

fn is_blank(c: char) -> bool {
    is_space(c) && c != '\n'
}

/// Returns true if `python-dotenv` would expand part of the value, as it does by default: `${NAME}` or `${NAME:-text}`.
pub fn is_expanded(value: &str) -> bool {
    let Some(last) = value.rfind('}') else { return false };
    let mut rest = &value[..=last];
    while let Some((_, name)) = rest.split_once("${") {
        let Some(end) = name.find([':', '}']) else { return false };
        let after = &name[end..];
        if after.starts_with('}') || after.starts_with(":-") {
            return true;
        }
        rest = &after[1..];
    }
    false
}

/// Writes a file that these read alike: python-dotenv, the shells that source it, `uv --env-file`, npm's dotenv and
/// `node --env-file`.
///
/// # Errors
/// Each secret that no such file can hold, or whose name is a special one.
pub fn render(
    secrets: &[(SecretName, SecretValue)],
    special: SpecialNames,
) -> Result<Zeroizing<Vec<u8>>, Vec<FormatError>> {
    let mut file = Zeroizing::new(String::new());
    entry::each(secrets, |name, value| {
        entry::refuse_nul(name, value)?;
        entry::refuse_special_name(name, special)?;
        let value = entry::as_text(name, value)?;
        let quote = quote_for(value).map_err(|reason| FormatError::new(name, reason))?;
        file.extend([name.as_str(), "=", quote, value, quote, "\n"]);
        Ok(())
    })?;
    Ok(Zeroizing::new(file.as_bytes().to_vec()))
}

/// Returns the quote between which every reader takes a value as it is. Nothing is escaped, because no escape has one meaning:
/// npm's dotenv has none but `\n` and `\r`, and a shell has none in single quotes.
fn quote_for(value: &str) -> Result<&'static str, &'static str> {
    if value.contains('\r') {
        return Err("its value has a carriage return, which readers of .env files turn into a line feed");
    }
    if is_expanded(value) {
        return Err("its value has ${…}, which python-dotenv replaces by the value of a variable");
    }
    // zsh expands `=` and `~` at the beginning of a word without quotes.
    if !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "_-./:@%+,".contains(c)) {
        return Ok("");
    }
    let has_ambiguous_backslash = value.contains("\\\\") || value.ends_with('\\');
    match value.contains('\'') {
        false if has_ambiguous_backslash => Err(
            "its value has two backslashes in a row or one at its end, which readers of .env files read differently",
        ),
        false => Ok("'"),
        true if value.contains(['"', '$', '`', '\\']) => Err(
            "its value has a single quote and also \", $, ` or \\, which no quotes hold for every reader of .env files",
        ),
        true => Ok("\""),
    }
}
