//! Facts about a value that decide how a cluster handles it, where a local run does not.

/// The most bytes of a value that a cluster takes which keeps its secrets in Azure Key Vault.
pub const MOST_IN_AZURE: usize = 25 << 10;

/// The most bytes of a value that a cluster takes which keeps its secrets in AWS Secrets Manager or Google's Secret Manager.
pub const MOST_IN_AWS_OR_GOOGLE: usize = 64 << 10;

/// About the most bytes that the file secrets of one pod have together: they reach it as one argument of a program, in base64.
pub const MOST_IN_THE_FILES_OF_A_POD: usize = 96 << 10;

/// The facts about one value. They do not contain it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueTraits {
    /// The number of bytes.
    pub length: usize,
    /// True if it can be the value of a variable: UTF-8 text without a NUL byte.
    pub is_text: bool,
    /// True if the last byte is a newline.
    pub ends_in_newline: bool,
    /// True if Kubernetes changes the value of a variable: it reads `$$` as `$`, and replaces `$(NAME)` if there is such a variable.
    pub is_expanded: bool,
}

impl ValueTraits {
    /// Looks at a value.
    pub fn of(value: &[u8]) -> Self {
        let is_reference = |start: usize| value.iter().rposition(|byte| *byte == b')').is_some_and(|end| end > start);
        let first_reference = value.windows(2).position(|pair| pair == b"$(");
        Self {
            length: value.len(),
            is_text: std::str::from_utf8(value).is_ok() && !value.contains(&0),
            ends_in_newline: value.ends_with(b"\n"),
            is_expanded: value.windows(2).any(|pair| pair == b"$$") || first_reference.is_some_and(is_reference),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_kubernetes_changes_are_recognised() {
        for value in ["a$$b", "$(HOME)", "x $(A) y", "$$", "$$(HOME)", "$($)", "$((A))", "$(A $(B)"] {
            assert!(ValueTraits::of(value.as_bytes()).is_expanded, "{value}");
        }
        for value in ["", "$(", "$", "a$b", "${HOME}", "$HOME", "(A)", "$ (A)", "$(A", ")$("] {
            assert!(!ValueTraits::of(value.as_bytes()).is_expanded, "{value}");
        }
    }

    #[test]
    fn only_text_without_a_nul_byte_can_be_a_variable() {
        let is_text = |value: &[u8]| ValueTraits::of(value).is_text;
        assert_eq!(
            [is_text(b""), is_text("ä".as_bytes()), is_text(b"\xff"), is_text(b"a\0")],
            [true, true, false, false]
        );
    }

    #[test]
    fn only_the_last_byte_is_looked_at_for_a_newline() {
        let ends = |value: &[u8]| ValueTraits::of(value).ends_in_newline;
        assert_eq!(
            [ends(b""), ends(b"a\nb"), ends(b"a\n"), ends(b"\n"), ends(b"a\n ")],
            [false, false, true, true, false]
        );
    }
}
