//! Private keys in text that is shown: a word of the user's, or a line of a file, may be one in the wrong place.

use std::borrow::Cow;

/// The text that is shown in the place of a key.
const INSTEAD: &str = "(a private key)";

/// The beginnings of keys, in lower case: a key in the wrong place may be in either case.
const PREFIXES: [&str; 3] = ["age-secret-key-", "age-plugin-", "flyte-author-key-"];

/// The fewest characters in a row that are data. `AGE-SECRET-KEY-1…` in a message has fewer, and so have names of programs.
const LEAST_DATA: usize = 16;

/// The beginning and the end of the label of a private key in the formats of ssh.com, OpenSSH, OpenSSL and PGP, in lower case.
const LABEL: (&str, &str) = ("---- begin ", "private key");
const PEM_LABEL: &str = "-----begin ";

/// The longest label between these two.
const MOST_LABEL: usize = 40;

/// The bytes of the shortest text that has a key in it: one that is all label.
const LEAST_TEXT: usize = LABEL.0.len() + LABEL.1.len();

/// Returns the text with each private key replaced.
pub(crate) fn without_keys(text: &str) -> Cow<'_, str> {
    // Most cells of a table are shorter than any key, and each key has a hyphen.
    if text.len() < LEAST_TEXT || !text.contains('-') {
        return Cow::Borrowed(text);
    }
    let folded = text.to_ascii_lowercase();
    let mut result = String::new();
    let mut at = 0;
    while let Some((start, end)) = next_key(text, &folded, at) {
        result.push_str(&text[at..start]);
        result.push_str(INSTEAD);
        at = end;
    }
    if at == 0 { Cow::Borrowed(text) } else { Cow::Owned(result + &text[at..]) }
}

/// Tells whether a text has a private key in it.
pub(crate) fn has_key(text: &str) -> bool {
    next_key(text, &text.to_ascii_lowercase(), 0).is_some()
}

/// Returns where the next key is. `folded` is the text in lower case, and as long.
fn next_key(text: &str, folded: &str, from: usize) -> Option<(usize, usize)> {
    let lines = PREFIXES.iter().filter_map(|prefix| line_key(text, folded, from, prefix));
    let blocks = [LABEL.0, PEM_LABEL].into_iter().filter_map(|start| block_key(folded, from, start));
    lines.chain(blocks).min()
}

/// Returns where the next key in Bech32 is.
fn line_key(text: &str, folded: &str, from: usize, prefix: &str) -> Option<(usize, usize)> {
    folded[from..].match_indices(prefix).find_map(|(index, _)| {
        let start = from + index;
        let rest = &text[start + prefix.len()..];
        let run = &rest[..rest.find(|c| !is_of_key(c)).unwrap_or(rest.len())];
        let data = |part: &str| part.chars().filter(char::is_ascii_alphanumeric).count() >= LEAST_DATA;
        run.split('-').any(data).then_some((start, start + prefix.len() + run.len()))
    })
}

/// Returns true for the characters of a key, and for others that may be in it without being seen, or stand for such a one.
fn is_of_key(c: char) -> bool {
    const ESCAPE: char = '\u{1b}';
    c.is_ascii_alphanumeric() || "-\\{}".contains(c) || !c.is_ascii() || (c.is_control() && c != '\n' && c != ESCAPE)
}

/// Returns where the next block of a private key is: up to the last line of it, or all that follows.
fn block_key(folded: &str, from: usize, begins: &str) -> Option<(usize, usize)> {
    folded[from..].match_indices(begins).find_map(|(index, _)| {
        let start = from + index;
        let label = folded[start..].find(LABEL.1).filter(|&length| length <= begins.len() + MOST_LABEL)?;
        let inside = start + label + LABEL.1.len();
        let is_label =
            |&(end, _): &(usize, &str)| folded[end..].find(LABEL.1).is_some_and(|length| length <= MOST_LABEL);
        let last = folded[inside..].match_indices("-- end ").map(|(end, word)| (inside + end, word));
        let pem = folded[inside..].match_indices("--end ").map(|(end, word)| (inside + end, word));
        let end = last.chain(pem).filter(is_label).map(|(end, _)| end).min();
        let end = end.map_or(folded.len(), |end| {
            let after = end + folded[end..].find(LABEL.1).unwrap_or_default() + LABEL.1.len();
            let rest = folded[after..].strip_prefix(" block").unwrap_or(&folded[after..]);
            let rest = [" ----", "-----"].iter().find_map(|dashes| rest.strip_prefix(dashes)).unwrap_or(rest);
            folded.len() - rest.len()
        });
        Some((start, end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_replaced_wherever_it_is() {
        let data = "QYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQY";
        let block = |label: &str| format!("-----BEGIN {label}-----\nb3Bl\nbnNz\n-----END {label}-----");
        for key in [
            format!("AGE-SECRET-KEY-1{data}"),
            format!("age-secret-key-1{}", data.to_lowercase()),
            format!("AGE-SECRET-KEY-PQ-1{data}{data}"),
            format!("AGE-PLUGIN-FIDO2-HMAC-1{data}"),
            format!("FLYTE-AUTHOR-KEY-1{data}"),
            // An l in the place of the 1, and a zero-width space.
            format!("AGE-SECRET-KEY-l{data}"),
            format!("AGE-SECRET-KEY-1{}\u{200b}{data}", &data[..4]),
            format!(r"AGE-SECRET-KEY-1{}\u{{200b}}{data}", &data[..4]),
            block("PRIVATE KEY"),
            block("OPENSSH PRIVATE KEY"),
            block("RSA PRIVATE KEY"),
            block("PGP PRIVATE KEY BLOCK"),
            "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nP2/5\n---- END SSH2 ENCRYPTED PRIVATE KEY ----".to_owned(),
        ] {
            for (before, after) in
                [("", ""), ("é \"", "\" é"), ("x=", "\ny"), ("a/", "/b"), ("\u{1b}[33m", "\u{1b}[0m")]
            {
                let text = format!("{before}{key}{after}");
                assert_eq!(without_keys(&text), format!("{before}{INSTEAD}{after}"), "{text}");
                assert_eq!(without_keys(&format!("{text} {text}")).matches(INSTEAD).count(), 2, "{text}");
                assert!(has_key(&text));
            }
        }
        assert_eq!(without_keys("a -----BEGIN EC PRIVATE KEY-----\\nb3Bl\\nbnNz"), format!("a {INSTEAD}"));
    }

    #[test]
    fn no_key_is_shorter_than_the_shortest_text_that_is_looked_at() {
        assert!(has_key(&format!("{}{}", LABEL.0, LABEL.1)) && LEAST_TEXT <= PEM_LABEL.len() + LABEL.1.len());
        assert!(PREFIXES.iter().all(|prefix| LEAST_TEXT <= prefix.len() + LEAST_DATA));
    }

    #[test]
    fn words_about_keys_stay() {
        for text in [
            "",
            "line 2 is not an age identity (AGE-SECRET-KEY-1…)",
            "a post-quantum identity (AGE-SECRET-KEY-PQ-1…), AGE-PLUGIN-YUBIKEY-1…, FLYTE-AUTHOR-KEY-1…",
            "from AGE-SECRET-KEY-1 to the end of its line, which is long enough",
            "age-plugin-fido2-hmac is not installed",
            "age-secret-key-backup.txt",
            "age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqy",
            "it begins with -----BEGIN, and not with a PRIVATE KEY",
            "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----",
        ] {
            assert_eq!(without_keys(text), text);
            assert!(!has_key(text));
        }
    }
}
