//! The difference between TOML 1.0 and 1.1, for a parser that reads both.

/// Returns `true` if a document, which parses, has a line break or a last comma in an inline table, or the escapes `\e` or `\x`.
pub(super) fn is_1_1(text: &str) -> bool {
    let (mut rest, mut open, mut last) = (text, Vec::new(), ' ');
    while let Some(next) = rest.chars().next() {
        let is_inline = open.last() == Some(&'{');
        match next {
            '#' => {
                if is_inline {
                    return true;
                }
                rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
                continue;
            }
            '"' | '\'' => {
                let triple = next.to_string().repeat(3);
                let quote = if rest.starts_with(&triple) { &triple[..] } else { &triple[..1] };
                let (string, after) = split_string(&rest[quote.len()..], quote, next == '"');
                if next == '"' && has_new_escape(string) {
                    return true;
                }
                (rest, last) = (after, next);
                continue;
            }
            '\n' if is_inline => return true,
            '}' if last == ',' => return true,
            '[' | '{' => open.push(next),
            ']' | '}' => drop(open.pop()),
            _ => {}
        }
        if !next.is_whitespace() {
            last = next;
        }
        rest = &rest[next.len_utf8()..];
    }
    false
}

/// Splits after the quote that ends a string.
fn split_string<'a>(text: &'a str, quote: &str, has_escapes: bool) -> (&'a str, &'a str) {
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with(quote) {
            return (&text[..at], &text[at + quote.len()..]);
        }
        let next = text[at..].chars().next().expect("not at the end");
        at += next.len_utf8();
        if has_escapes && next == '\\' {
            at += text[at..].chars().next().map_or(0, char::len_utf8);
        }
    }
    (text, "")
}

fn has_new_escape(string: &str) -> bool {
    string.replace("\\\\", "").contains("\\e") || string.replace("\\\\", "").contains("\\x")
}
