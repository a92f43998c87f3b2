//! Where a value comes from: an argument, a file, a prompt, or standard input.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use zeroize::Zeroizing;

use super::docker::{DockerArgs, check_document};
use super::error::{CommandError, Exit};
use super::passphrases;
use super::prompt::{self, Asked};
use super::ui::Ui;
use flyte_local::process::Spawner;
use flyte_local::secret::{MAX_VALUE_BYTES, Recipe, SecretName, SecretType, SecretValue};
use flyte_local::storage::read_users_file;

#[derive(Args)]
pub(crate) struct ValueArgs {
    /// The value [default: a hidden prompt, or standard input]
    ///
    /// A value given as an argument stays in the shell's history. A prompt, a file or standard input avoids that.
    #[arg(value_name = "VALUE", conflicts_with_all = ["value_option", "from_file"])]
    value: Option<Hidden>,
    /// The value, even if it begins with '-'
    #[arg(long = "value", id = "value_option", value_name = "VALUE", conflicts_with = "from_file")]
    #[arg(allow_hyphen_values = true)]
    value_option: Option<Hidden>,
    /// Read the value from a file or a pipe, byte for byte
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// Keep the newline at the end of standard input
    #[arg(long)]
    raw: bool,
    /// Generate a random value, which is not shown
    ///
    /// The value has 32 letters and digits unless SPEC says otherwise. SPEC is a number of letters and digits,
    /// `uuid`, `hex:N` or `base64:N`. The last two are N random bytes, encoded as by `openssl rand -hex N` and
    /// `openssl rand -base64 N`.
    #[arg(long, value_name = "SPEC", num_args = 0..=1, require_equals = true, default_missing_value = "32")]
    #[arg(conflicts_with_all = ["value", "value_option", "from_file", "raw"])]
    generate: Option<Recipe>,
    #[command(flatten)]
    docker: DockerArgs,
}

/// A value on its way from the command line: nothing prints it, and it is wiped.
#[derive(Clone)]
pub(super) struct Hidden(Zeroizing<String>);

impl Hidden {
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl ValueArgs {
    /// Gets the value of a secret of this type. With none given, asks for it on a terminal; otherwise reads standard input,
    /// less one newline at its end unless `--raw`.
    pub(crate) fn read(
        self,
        ui: &Ui,
        spawner: &Spawner,
        name: &SecretName,
        secret_type: SecretType,
    ) -> Result<SecretValue, CommandError> {
        let is_image_pull = secret_type == SecretType::ImagePull;
        let misplaced = |option: &str| {
            Err(CommandError::new(Exit::Usage, format!("{option} is not for secrets of type {secret_type}")))
        };
        match (self.docker.given(), self.generate) {
            (Some(option), _) if !is_image_pull => {
                let error = misplaced(option);
                return error.map_err(|error| error.hint("for an image pull secret, add --type image_pull"));
            }
            (Some(option), Some(_)) => return misplaced(&format!("--generate with {option}")),
            (None, Some(_)) if is_image_pull => return misplaced("--generate"),
            (None, Some(recipe)) => {
                let made = recipe.make(getrandom::getrandom);
                return made.map_err(|error| CommandError::from_io("get random bytes", &error.into()));
            }
            _ => {}
        }
        let given = self.value.or(self.value_option);
        let bytes = match (given, self.from_file) {
            (Some(text), _) => Zeroizing::new(text.0.as_bytes().to_vec()),
            (None, Some(path)) => from_file(&path)?,
            (None, None) if is_image_pull => match self.docker.read(ui, spawner)? {
                Some(document) => document,
                None => from_stdin(self.raw, "give what it is made of: --registry HOST --username NAME")?,
            },
            (None, None) if std::io::stdin().is_terminal() => {
                prompt::hidden(&format!("value of {name}: "), Asked::Value)?
            }
            (None, None) => from_stdin(self.raw, SAY_EMPTY)?,
        };
        let value = SecretValue::new(bytes).map_err(|_| too_large())?;
        if is_image_pull {
            check_document(value.expose())?;
        }
        Ok(value)
    }
}

fn from_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let shown = path.display();
    if path.is_dir() {
        return Err(CommandError::new(Exit::Failed, format!("{shown} is a directory, and a value is one file")));
    }
    let bytes = read_users_file(path, MAX_VALUE_BYTES).map_err(|error| match error.is_too_large() {
        true => too_large(),
        false => CommandError::from(error),
    })?;
    let Some(bytes) = bytes else {
        let error = CommandError::new(Exit::NotFound, format!("there is no file {shown}"));
        return Err(if path == Path::new("-") {
            error.hint("to read standard input, leave --from-file out")
        } else {
            error
        });
    };
    // A file may be empty; a pipe is when what should have written to it failed.
    if bytes.is_empty() && !path.is_file() { Err(nothing_came(&format!("{shown}")).hint(SAY_EMPTY)) } else { Ok(bytes) }
}

/// Reads standard input; `hint` is for when there is nothing.
pub(super) fn from_stdin(raw: bool, hint: &str) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    // One byte over the limit, and one for the newline, are enough to know that it is too long.
    let mut bytes = read_stdin(MAX_VALUE_BYTES + 2)?;
    if bytes.is_empty() {
        return Err(nothing_came("standard input").hint(hint));
    }
    if !raw && bytes.ends_with(b"\n") {
        bytes.pop();
    }
    Ok(bytes)
}

/// Standard input to its end, or to its first `limit` bytes. Not through std's reader, whose buffer would keep a value's
/// first 8 KiB for the rest of the process.
pub(crate) fn read_stdin(limit: usize) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    passphrases::require_stdin()?;
    let mut bytes = Zeroizing::new(vec![0; limit]);
    let mut length = 0;
    while length < bytes.len() {
        match rustix::io::read(rustix::stdio::stdin(), &mut bytes[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(CommandError::from_io("read standard input", &error.into())),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// `false | flyte-local update secret NAME` must not empty a secret.
pub(crate) fn nothing_came(whence: &str) -> CommandError {
    CommandError::new(Exit::Failed, format!("nothing came from {whence}"))
}

const SAY_EMPTY: &str = "for an empty value, say so: --value ''";

pub(super) fn too_large() -> CommandError {
    CommandError::new(
        Exit::Failed,
        format!("the value is larger than 1 MiB ({MAX_VALUE_BYTES} bytes), the most a secret holds"),
    )
    .hint("nothing was changed")
}
