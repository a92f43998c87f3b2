//! Likely causes of an identity that is missing or cut: in CI a variable may be empty, and a copy may lack its end.

use super::environment::is_set_and_empty;
use super::error::CommandError;

/// The length of an age identity, `AGE-SECRET-KEY-1…`: 32 bytes in Bech32.
const IDENTITY_LENGTH: usize = 74;

/// Returns a cause for each of these variables that is set and empty, so that it does not count.
pub(crate) fn empty_variables(names: [&str; 2]) -> Vec<String> {
    let empty = names.into_iter().filter(|name| is_set_and_empty(name));
    let cause = |name| format!("{name} is set and empty; in CI, a pull request from a fork gets no secrets");
    empty.map(cause).collect()
}

/// Adds the likely cause to the error for bytes that are not an identity. It shows nothing of them but a number of characters. `is_variable`
/// says that they come from a variable.
pub(crate) fn explained(error: CommandError, bytes: &[u8], is_variable: bool) -> CommandError {
    match likely_cause(bytes, is_variable) {
        Some(cause) => error.because(cause),
        None => error,
    }
}

fn likely_cause(bytes: &[u8], is_variable: bool) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    if text.is_empty() && is_variable {
        return Some("it has only white space; in CI, a pull request from a fork gets no secrets".to_owned());
    }
    let is_key = |line: &&str| {
        line.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-1")
            && line.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let key = text.lines().map(str::trim).find(is_key);
    if let Some(length) = key.map(str::len).filter(|length| *length < IDENTITY_LENGTH) {
        return Some(format!("the key has {length} characters of {IDENTITY_LENGTH}: the copy is probably cut"));
    }
    if text.starts_with("-----BEGIN ") {
        if !text.contains("-----END ") {
            return Some("it has no line -----END …-----: the copy is probably cut".to_owned());
        }
        if !text.contains('\n') {
            return Some("it is all on one line: the copy has probably lost its line ends".to_owned());
        }
    }
    None
}
