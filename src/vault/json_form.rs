//! The form of a binding's JSON, unknown members included. Parsers differ there, and a file that one reader accepts must not be
//! refused by another.

/// How deep arrays and objects may be nested, the binding itself included.
const MAX_DEPTH: usize = 32;

/// Checks that a binding is in UTF-8, is not nested too deeply, and has no escape of half a surrogate pair.
///
/// # Errors
/// Why it is refused.
pub(super) fn check(json: &[u8]) -> Result<(), &'static str> {
    let text = std::str::from_utf8(json).map_err(|_| "it is not UTF-8")?;
    let (mut depth, mut is_in_string) = (0_usize, false);
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        match next {
            '"' => is_in_string = !is_in_string,
            '\\' if is_in_string => rest = after_escape(rest)?,
            '[' | '{' if !is_in_string => depth += 1,
            ']' | '}' if !is_in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err("it is nested too deeply");
        }
    }
    Ok(())
}

/// Returns what follows an escape, of whose kinds only that of a surrogate is looked at. `rest` begins after the backslash.
fn after_escape(rest: &str) -> Result<&str, &'static str> {
    const HALF: &str = "it has an escape of half a surrogate pair";
    let unit = |text: &str| text.strip_prefix('u').and_then(|digits| u16::from_str_radix(digits.get(..4)?, 16).ok());
    match unit(rest) {
        Some(0xd800..=0xdbff) => {
            let second = rest[5..].strip_prefix('\\').ok_or(HALF)?;
            if matches!(unit(second), Some(0xdc00..=0xdfff)) { Ok(&second[5..]) } else { Err(HALF) }
        }
        Some(0xdc00..=0xdfff) => Err(HALF),
        _ => Ok(rest.char_indices().nth(1).map_or("", |(end, _)| &rest[end..])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_utf_8_without_half_surrogates_and_deep_nesting_passes() {
        let nested = |depth: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
        for good in [
            r#"{"a":"\ud83d\ude00 \\ud800 \" [[[ é \u00e9"}"#,
            r#"{"\\":"\\\\\"{","\/":[{},"]"]}"#,
            &nested(MAX_DEPTH),
            &format!(r#"{{"a":[{}1]}}"#, "[],".repeat(1000)),
        ] {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in [
            r#"{"a":"\ud83d"}"#,
            r#"{"a":"\ud83dx"}"#,
            r#"{"a":"\ud83d\ud83d"}"#,
            r#"{"a":"\ude00\ud83d"}"#,
            r#"{"\udc00":1}"#,
            r#"{"a":"\\\ud800\\"}"#,
            r#"{"a":"\ud83d\"#,
            &nested(MAX_DEPTH + 1),
        ] {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(check(b"{\"a\":\"\xff\"}").is_err());
        // Malformed in other ways: the parser refuses these.
        assert_eq!(check(br#"{"a":"\"#), Ok(()));
        assert_eq!(check(br#"{"a":"\u12"#), Ok(()));
    }
}
