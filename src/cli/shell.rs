//! Text as it can be typed in a shell.

use std::path::Path;

use flyte_local::secret::Scope;

/// A path as it can be typed in a shell.
pub(crate) fn quoted(path: &Path) -> String {
    // One that begins with a dash would be an option.
    let here = if path.as_os_str().as_encoded_bytes().starts_with(b"-") { "./" } else { "" };
    let text = format!("{here}{}", path.display());
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%,:=~".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Returns ` -p P -d D`, as far as the scope has them.
pub(crate) fn scope_flags(scope: &Scope) -> String {
    let project = scope.project().map(|project| format!(" -p {project}"));
    let domain = scope.domain().map(|domain| format!(" -d {domain}"));
    project.unwrap_or_default() + &domain.unwrap_or_default()
}
