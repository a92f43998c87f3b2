//! Values that the user asked to see.

use zeroize::Zeroizing;

use super::error::CommandError;
use super::sanitize::acts;
use super::ui::Ui;

/// Prints a value: byte for byte to a pipe or a file. On a terminal, characters that would act on it are written by their
/// numbers, and the last line ends.
pub(crate) fn reveal(ui: &Ui, value: &[u8]) -> Result<(), CommandError> {
    if !ui.shows_data() {
        return ui.data(value);
    }
    let (shown, is_exact) = visible(value);
    ui.data(shown.as_bytes())?;
    if !is_exact {
        ui.say(
            "flyte-local: some characters are written by their numbers here; to a file or a pipe the value is exact",
        );
    }
    Ok(())
}

/// The value in whole lines of harmless text, and whether that is the value itself.
fn visible(value: &[u8]) -> (Zeroizing<String>, bool) {
    let mut shown = Zeroizing::new(String::with_capacity(value.len() + 1));
    let mut is_exact = true;
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            if acts(character) && !matches!(character, '\n' | '\t') {
                shown.extend(character.escape_unicode());
                is_exact = false;
            } else {
                shown.push(character);
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
            is_exact = false;
        }
    }
    if !shown.ends_with('\n') {
        shown.push('\n');
    }
    (shown, is_exact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visible_text_ends_its_line_and_has_no_controls() {
        let shown = |value: &[u8]| {
            let (shown, is_exact) = visible(value);
            (shown.to_string(), is_exact)
        };
        assert_eq!(shown(b"hunter2"), ("hunter2\n".to_owned(), true));
        assert_eq!(shown("a\tb\nnaïve 日本\n".as_bytes()), ("a\tb\nnaïve 日本\n".to_owned(), true));
        assert_eq!(shown(b""), ("\n".to_owned(), true));
        assert_eq!(shown(b"\x1b]0;title\x07"), ("\\u{1b}]0;title\\u{7}\n".to_owned(), false));
        assert_eq!(shown("a\u{9b}31m\u{202e}b\r\n".as_bytes()), ("a\\u{9b}31m\\u{202e}b\\u{d}\n".to_owned(), false));
        assert_eq!(shown(b"\xff\xc3a"), ("\\xff\\xc3a\n".to_owned(), false));
        let long = [b'x'; 5000];
        assert_eq!(shown(&long).0.len(), 5001, "nothing is cut");
    }
}
