//! Text as it can be typed in a shell.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::sanitize::harmless;
use flyte_local::secret::Scope;

/// Returns a path as it can be typed in a shell. A path that is not UTF-8, or whose characters a hint may not show, is written
/// as bash, zsh and ksh read `$'…'`.
pub(crate) fn quoted(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    // A path that begins with a dash would be an option.
    let here = if bytes.starts_with(b"-") { "./" } else { "" };
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%,:=~".contains(c);
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(plain) => format!("{here}{text}"),
        Ok(text) if harmless(text) == text && !text.contains('\n') => {
            format!("'{here}{}'", text.replace('\'', r"'\''"))
        }
        _ => format!("$'{here}{}'", bytes.iter().map(|&byte| escaped(byte)).collect::<String>()),
    }
}

fn escaped(byte: u8) -> String {
    match byte {
        b'\'' | b'\\' => format!("\\{}", char::from(byte)),
        b' '..=b'~' => char::from(byte).to_string(),
        // Three octal digits end by themselves. Some shells read more than two hexadecimal ones.
        _ => format!("\\{byte:03o}"),
    }
}

/// Returns ` -p P -d D`, as far as the scope has them.
pub(crate) fn scope_flags(scope: &Scope) -> String {
    let project = scope.project().map(|project| format!(" -p {project}"));
    let domain = scope.domain().map(|domain| format!(" -d {domain}"));
    project.unwrap_or_default() + &domain.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a shell reads the text back")]
    fn bash_reads_back_every_quoted_path() {
        for bytes in [
            &b"/home/me/vault"[..],
            b"a b",
            b"-a",
            b"it's",
            b"caf\xc3\xa9",
            b"caf\xe9",
            b"-\xff7",
            b"it's \\ \xff\x01",
            b"new\nline",
            b"\x1b[31m",
            b"\xe2\x80\xae",
        ] {
            let typed = quoted(Path::new(OsStr::from_bytes(bytes)));
            assert_eq!(harmless(&typed), typed);
            let mut bash = std::process::Command::new("bash");
            let read = bash.arg("-c").arg(format!("printf %s {typed}")).output().expect("bash").stdout;
            let expected = if bytes.starts_with(b"-") { [b"./", bytes].concat() } else { bytes.to_vec() };
            assert_eq!(read, expected, "{typed}");
        }
    }

    #[test]
    fn a_plain_path_is_not_quoted() {
        assert_eq!(quoted(Path::new("/home/me/vault")), "/home/me/vault");
        assert_eq!(quoted(Path::new("a b")), "'a b'");
        assert_eq!(quoted(Path::new(OsStr::from_bytes(b"caf\xe9"))), r"$'caf\351'");
    }
}
