//! `edit secret`

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::Command;

use zeroize::Zeroizing;

use crate::cli::arguments::{ScopeArgs, secret_id};
use crate::cli::context::Context;
use crate::cli::docker::check_document;
use crate::cli::environment::{inherited, permissions, runtime_directory, search_path};
use crate::cli::error::{CommandError, Exit};
use crate::cli::explain::untrusted;
use crate::cli::hidden;
use crate::cli::input::too_large;
use crate::cli::pasted;
use crate::cli::prompt;
use crate::cli::secret_reader::SecretReader;
use crate::cli::shell::scope_flags;
use flyte_local::flyte::SECRETS_DIRECTORY;
use flyte_local::launch::{self, EditError, EditedFile, Ended, MemoryBase};
use flyte_local::process::Spawner;
use flyte_local::secret::{MAX_VALUE_BYTES, SecretName, SecretType, SecretValue};
use flyte_local::storage::{require_closed_path, require_program_in_path};
use flyte_local::vault::{Metadata, Vault, VaultError};

/// More than a value may have, so that a value that is too large can be edited again.
const MAX_EDITED_BYTES: usize = 16 * MAX_VALUE_BYTES;

/// Edit a secret's value in an editor
///
/// The editor is VISUAL or EDITOR, as a shell understands them, or vi. It gets the value in a file in memory, which
/// is removed in every case; if this machine has no directory in memory, nothing is edited. Your editor may keep
/// copies elsewhere: turn off its undo file and its clipboard history (vim: undofile, viminfo).
///
/// Nothing is written if the value is unchanged, the editor fails, or the file is empty. Editors add a newline at the
/// end of a file: if the old value had none, one is removed from the new value. If the secret changed while you were
/// editing, you are asked before it is overwritten.
#[derive(clap::Args)]
#[command(mut_arg("project", |arg| arg.help("The secret's project [default: none]")))]
#[command(mut_arg("domain", |arg| arg.help("The secret's domain [default: none]")))]
#[command(after_help = "\
Examples:
  flyte-local edit secret my_secret
  flyte-local edit secret my_secret -p my_project -d development
  EDITOR='code --wait' flyte-local edit secret my_config")]
pub(crate) struct Args {
    /// The secret's name
    name: SecretName,
    #[command(flatten)]
    scope: ScopeArgs,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<(), CommandError> {
    let editor = editor()?;
    require_trusted_programs(&editor)?;
    let mut vault = context.open_vault_to_write()?;
    let id = secret_id(args.name, args.scope);
    let type_at = |verb: &str| format!("{} {verb} secret {}{}", context.command, id.name, scope_flags(&id.scope));
    // Read before the value, so that an update in between is noticed.
    let known = vault.require_updatable(&id).map_err(|error| {
        let is_missing = matches!(error, VaultError::SecretMissing { .. });
        let error = CommandError::from(error).or_elsewhere(&vault, &id, "edit secret");
        if is_missing { error.hint(format!("or create it: {}", type_at("create"))) } else { error }
    })?;
    let old = SecretReader::new(context).value(&vault, &id)?;
    if std::str::from_utf8(old.expose()).is_err() {
        return Err(CommandError::new(Exit::Failed, format!("{id} is not UTF-8 text, and an editor could damage it"))
            .hint(format!("set its value from a file: {} --from-file FILE", type_at("update"))));
    }
    let (new, is_shortened) = edited(context, &editor, &known, &old)?;
    if new.expose() == old.expose() {
        context.ui.say(&format!("did not change {id}"));
        context.ui.hint("if your editor returns before you are done, make it wait: EDITOR='code --wait'");
        return Ok(());
    }
    if new.expose().is_empty() {
        return Err(CommandError::new(Exit::Failed, "the edited file is empty, so nothing was changed")
            .hint(format!("for an empty value: {} --value ''", type_at("update"))));
    }
    write(context, &mut vault, known, &new)?;
    let how = if is_shortened { ", without the newline at the end of the file" } else { "" };
    context.ui.say(&format!("updated {id}{how}"));
    pasted::tell_change(context.ui, &id.name, old.expose(), new.expose());
    context.tell_if_unreadable(&vault, "it");
    Ok(())
}

/// Returns the edited value, and whether a newline was removed from its end. On a terminal, a value that the secret cannot have
/// is not lost: the user can edit it again.
fn edited(
    context: &Context<'_>,
    editor: &OsStr,
    known: &Metadata,
    old: &SecretValue,
) -> Result<(SecretValue, bool), CommandError> {
    let base = MemoryBase::find(runtime_directory()?.as_deref(), Path::new(SECRETS_DIRECTORY)).map_err(no_memory)?;
    let (name, old) = (known.id.name.as_str(), old.expose());
    let spawner = context.spawner()?;
    let edit = |content: &[u8]| {
        let command = |path: &Path| command(spawner, editor, path);
        let file = EditedFile { name, content, limit: MAX_EDITED_BYTES };
        let edited = launch::edit(hidden::supervisor(spawner)?, command, &base, file);
        edited.map(|new| typed(old, new)).map_err(|error| failed(&error))
    };
    let (mut new, mut is_shortened) = edit(old)?;
    loop {
        let is_document = known.secret_type == SecretType::ImagePull && new.as_slice() != old && !new.is_empty();
        let refused = match check_document(&new) {
            _ if new.len() > MAX_VALUE_BYTES => too_large(),
            Err(error) if is_document => error,
            _ => return SecretValue::new(new).map(|new| (new, is_shortened)).map_err(|_| too_large()),
        };
        if !std::io::stdin().is_terminal() {
            return Err(refused);
        }
        context.tell(&refused);
        if !prompt::confirm("edit it again?")? {
            return Err(CommandError::new(Exit::Failed, "nothing was changed").with_code(refused.code()));
        }
        (new, is_shortened) = edit(&new)?;
    }
}

/// Writes the new value. On a terminal, the user can try again in another way or later, so it is not lost.
fn write(context: &Context<'_>, vault: &mut Vault, known: Metadata, value: &SecretValue) -> Result<(), CommandError> {
    let mut there = There::As(known);
    loop {
        let written = match &there {
            There::As(known) => vault.writer().and_then(|mut writer| writer.update_secret_from(known, value)),
            There::Gone(Metadata { id, secret_type, .. }) => {
                vault.writer().and_then(|mut writer| writer.create_secret(id, *secret_type, value))
            }
        };
        let Err(error) = written else { return Ok(()) };
        let (overtaken, is_missing) = match &error {
            VaultError::Overtaken { metadata } => (Some(metadata.clone()), false),
            error => (None, matches!(error, VaultError::SecretMissing { .. })),
        };
        let told = CommandError::from(error);
        if !std::io::stdin().is_terminal() {
            return Err(told);
        }
        context.tell(&told);
        let question;
        (question, there) = match (overtaken, there) {
            (Some(metadata), _) => ("overwrite it with your version?", There::As(*metadata)),
            (None, There::As(known)) if is_missing => ("create it again with your version?", There::Gone(known)),
            (None, there) => ("try to write it again?", there),
        };
        if !prompt::confirm(question)? {
            return Err(CommandError::new(Exit::Failed, "nothing was changed").with_code(told.code()));
        }
    }
}

/// The state of the secret that is overwritten.
enum There {
    As(Metadata),
    /// Nothing any more.
    Gone(Metadata),
}

/// Returns the new value, and whether a newline was removed from its end.
fn typed(old: &[u8], mut new: Zeroizing<Vec<u8>>) -> (Zeroizing<Vec<u8>>, bool) {
    let is_added = new.ends_with(b"\n") && !old.ends_with(b"\n");
    if is_added {
        // As the other lines end.
        let has_returns = new.ends_with(b"\r\n") && old.windows(2).any(|pair| pair == b"\r\n");
        let length = new.len() - if has_returns { 2 } else { 1 };
        new.truncate(length);
    }
    (new, is_added)
}

/// Returns the user's editor, a command line for a shell.
fn editor() -> Result<OsString, CommandError> {
    let variable = |name| inherited(name).filter(|value| !value.trim_ascii().is_empty());
    match variable("VISUAL").or_else(|| variable("EDITOR")) {
        Some(editor) => Ok(OsString::from_vec(editor.to_vec())),
        None if std::io::stdin().is_terminal() => Ok("vi".into()),
        None => Err(CommandError::new(
            Exit::Usage,
            "no editor to start: VISUAL and EDITOR are not set, and vi needs a terminal",
        )
        .hint("set the value without an editor: flyte-local update secret NAME")),
    }
}

/// Requires that the shell and the editor were not put into `PATH` by just any user. An editor that is more than a program and
/// options is left to the shell, and may start anything from `PATH`.
fn require_trusted_programs(editor: &OsStr) -> Result<(), CommandError> {
    let search_path = search_path();
    let mut words = editor.as_encoded_bytes().trim_ascii().split(u8::is_ascii_whitespace);
    let word = words.next().unwrap_or_default();
    let is_plain = |word: &[u8]| word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-+/".contains(byte));
    let is_option = |word: &[u8]| word.is_empty() || word.starts_with(b"-") && is_plain(word);
    let mut checked = Ok(());
    if is_plain(word) && words.all(is_option) {
        let names = [&b"sh"[..]].into_iter().chain((!word.contains(&b'/')).then_some(word));
        for name in names {
            let name = OsStr::from_bytes(name);
            checked = checked.and(require_program_in_path(name, search_path.as_deref(), permissions()?));
        }
    } else if let Some(search_path) = &search_path {
        checked = require_closed_path(search_path, permissions()?);
    }
    let instead = || Some("name an editor by its whole path with VISUAL or EDITOR".to_owned());
    checked.map_err(|error| untrusted(&error, instead()).into())
}

/// `sh -c 'EDITOR "$@"' EDITOR FILE`, as git does.
fn command(spawner: &Spawner, editor: &OsStr, file: &Path) -> Command {
    let mut line = editor.to_owned();
    line.push(" \"$@\"");
    let mut command = spawner.command("sh");
    command.arg("-c").arg(line).arg(editor).arg(file);
    command
}

fn no_memory(error: launch::DirectoryError) -> CommandError {
    CommandError::new(
        Exit::Failed,
        "found no directory in memory to edit the value in, and flyte-local does not write it to a disk",
    )
    .because(error.to_string())
    .hint("set XDG_RUNTIME_DIR to a directory of mode 0700 on a tmpfs")
    .hint("or set the value without an editor: flyte-local update secret NAME")
}

fn failed(error: &EditError) -> CommandError {
    let told = CommandError::chain(Exit::Failed, error).hint("nothing was changed");
    match error {
        EditError::Failed(Ended::Code(126 | 127)) => told.hint("name an editor with VISUAL or EDITOR"),
        EditError::Failed(ended @ Ended::Signal(_)) => told.with_code(ended.exit_code()),
        EditError::TooLarge => too_large(),
        _ => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_added_newline_is_removed_once() {
        let typed = |old: &str, new: &str| {
            let (typed, is_shortened) = typed(old.as_bytes(), Zeroizing::new(new.as_bytes().to_vec()));
            (String::from_utf8(typed.to_vec()).expect("UTF-8"), is_shortened)
        };
        for (old, new, kept) in [
            ("a", "a", "a"),
            ("a", "b", "b"),
            ("a\n", "b", "b"),
            ("a\n", "b\n", "b\n"),
            ("a\n", "b\n\n", "b\n\n"),
            ("", "", ""),
        ] {
            assert_eq!(typed(old, new), (kept.to_owned(), false), "{old:?} {new:?}");
        }
        for (old, new, kept) in [
            ("a", "a\n", "a"),
            ("a", "a\n\n", "a\n"),
            ("a\nb", "c\n", "c"),
            ("", "\n", ""),
            ("a", "a\r\n", "a\r"),
            ("a\r\nb", "a\r\nc\r\n", "a\r\nc"),
            ("a\r\nb", "a\r\nc\n", "a\r\nc"),
        ] {
            assert_eq!(typed(old, new), (kept.to_owned(), true), "{old:?} {new:?}");
        }
    }
}
