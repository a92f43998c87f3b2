//! JSON's `\uXXXX` escapes.

/// Returns a character as JSON can write it in ASCII: `\uXXXX`, twice for a character beyond U+FFFF.
pub fn unicode_escape(character: char) -> String {
    character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_beyond_u_ffff_is_a_surrogate_pair() {
        assert_eq!(unicode_escape('é'), "\\u00e9");
        assert_eq!(unicode_escape('🔑'), "\\ud83d\\udd11");
    }
}
