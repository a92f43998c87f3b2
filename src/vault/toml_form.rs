//! The difference between TOML 1.0 and 1.1: this program's parser reads both, and other programs only 1.0.

use toml_parser::Source;
use toml_parser::lexer::TokenKind;

/// Checks that a document which parses is one of TOML 1.0. Times without seconds, the other difference, have no place in a
/// `vault.toml`.
///
/// # Errors
/// Why it is not.
pub(super) fn check(text: &str) -> Result<(), &'static str> {
    if text.starts_with('\u{feff}') {
        return Err("it begins with a byte order mark");
    }
    // The brackets that are open, and whether a comma came last.
    let (mut open, mut is_after_comma) = (Vec::new(), false);
    for token in Source::new(text).lex() {
        let is_in_inline_table = open.last() == Some(&TokenKind::LeftCurlyBracket);
        match token.kind() {
            TokenKind::LeftCurlyBracket | TokenKind::LeftSquareBracket => open.push(token.kind()),
            TokenKind::RightCurlyBracket if is_after_comma => return Err("an inline table ends with a comma"),
            TokenKind::RightCurlyBracket | TokenKind::RightSquareBracket => drop(open.pop()),
            TokenKind::Newline | TokenKind::Comment if is_in_inline_table => {
                return Err("an inline table has several lines");
            }
            TokenKind::BasicString | TokenKind::MlBasicString => {
                let span = token.span();
                if has_new_escape(text.get(span.start()..span.end()).unwrap_or_default()) {
                    return Err(r"a string has one of the escapes \e and \x");
                }
            }
            _ => {}
        }
        if !matches!(token.kind(), TokenKind::Whitespace) {
            is_after_comma = token.kind() == TokenKind::Comma;
        }
    }
    Ok(())
}

fn has_new_escape(string: &str) -> bool {
    let mut characters = string.chars();
    while let Some(next) = characters.next() {
        if next == '\\' && matches!(characters.next(), Some('e' | 'x')) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_in_toml_1_1_is_refused() {
        for good in [
            "a = 1 # { x, }\n[[b]]\nc = {d = 1, e = [\n1,\n]}\r\n",
            "a = \"\\\\e {,}\"\nb = '\\e \\x41'\nc = '''\n\\x41 {,}\n'''\nd = {e = \"\"\"\n\"\"\"}\n",
            "a = {}\nb = [ {c = \"\\u00e9\"} , ]\n",
        ] {
            assert!(toml::from_str::<toml::Table>(good).is_ok(), "{good}");
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "a = {b = 1,}\n",
            "a = {b = 1 , }\n",
            "a = {\nb = 1}\n",
            "a = {b = 1 # comment\n}\n",
            "a = [{b = [1]\n}]\n",
            "a = \"\\e\"\n",
            "a = \"\"\"\\\\\\x41\"\"\"\n",
            "\"\\x41\" = 1\n",
            "\u{feff}a = 1\n",
        ] {
            assert!(toml::from_str::<toml::Table>(bad).is_ok(), "{bad}");
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
