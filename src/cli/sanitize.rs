//! Makes text harmless that may come from a file of another user: it does nothing to a terminal, and shows no private key.

use super::key_filter::without_keys;
use flyte_local::json_escape::unicode_escape;

/// Returns the text without anything that acts on a terminal, without private keys, and not too long. Each line is cut separately, so that a long
/// one does not hide those after it.
pub(crate) fn harmless(text: &str) -> String {
    // More than a vault has recipients and authors, twice.
    const MOST_LINES: usize = 1000;
    let mut result = String::new();
    for (index, line) in without_keys(text).split('\n').enumerate() {
        if index == MOST_LINES {
            result.push_str("\n…");
            break;
        }
        if index > 0 {
            result.push('\n');
        }
        harmless_line(line, &mut result);
    }
    result
}

fn harmless_line(line: &str, result: &mut String) {
    // Room for the longest name of a recipient, each of its characters by its number, and the longest key, of RSA.
    const MOST_BYTES: usize = 2000;
    let start = result.len();
    for character in line.chars() {
        if result.len() - start >= MOST_BYTES {
            return result.push('…');
        }
        if acts(character) {
            result.extend(character.escape_unicode());
        } else {
            result.push(character);
        }
    }
}

/// JSON with the same in JSON's own escapes: it stays the same document. serde escapes the control characters below
/// U+0020 alone.
pub(crate) fn harmless_json(json: &str) -> String {
    let mut result = String::with_capacity(json.len());
    for character in json.chars() {
        // Between strings, JSON has white space and ASCII only.
        if acts(character) && !character.is_ascii_whitespace() {
            result.push_str(&unicode_escape(character));
        } else {
            result.push(character);
        }
    }
    result
}

/// Tells whether a character does more to a terminal or a reader than show itself: controls, also the eight-bit
/// ones that some terminals obey; marks that turn the direction of what follows; characters without a width, which
/// make two names look the same; and line ends other than a newline.
pub(crate) fn acts(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Joins lines: a second line could pass for flyte-local's own.
pub(crate) fn one_line(message: &str) -> String {
    message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_the_same_document_without_control_characters() {
        let document = serde_json::json!({ "a": "x\u{9b}31m \u{202e}é\u{200b}\u{e0041}\u{1b}\n", "b": [1] });
        for text in [format!("{document}"), format!("{document:#}")] {
            let safe = harmless_json(&text);
            assert!(!safe.chars().any(|c| acts(c) && c != '\n'), "{safe}");
            assert!(safe.contains('é'));
            assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).expect("JSON"), document);
        }
    }

    #[test]
    fn control_characters_are_shown_as_numbers() {
        assert_eq!(harmless("a\u{1b}[31m\u{202e}b\u{200b}\r\u{9b}"), r"a\u{1b}[31m\u{202e}b\u{200b}\u{d}\u{9b}");
        assert_eq!(harmless("naïve 日本\n"), "naïve 日本\n");
    }
}
