//! Where a value comes from: an argument, a file, a prompt, or standard input.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use zeroize::Zeroizing;

use super::context::{Context, split};
use super::error::{CliError, Exit};
use super::prompt;
use flyte_local::secret::{MAX_VALUE_BYTES, SecretName, SecretValue};
use flyte_local::storage::Directory;

#[derive(Args)]
pub(crate) struct ValueArgs {
    /// The value; it stays in your shell's history, which the prompt and --from-file avoid
    #[arg(value_name = "VALUE", conflicts_with_all = ["value_option", "from_file"])]
    value: Option<Hidden>,
    /// The value, as an option
    #[arg(long = "value", id = "value_option", value_name = "VALUE", conflicts_with = "from_file")]
    #[arg(allow_hyphen_values = true)]
    value_option: Option<Hidden>,
    /// Take the value from a file, byte for byte
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// From standard input, keep the newline at the end
    #[arg(long)]
    raw: bool,
}

/// A value on its way from the command line: nothing prints it, and it is wiped.
#[derive(Clone)]
struct Hidden(Zeroizing<String>);

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl ValueArgs {
    /// Gets the value. With none given, asks for it on a terminal; otherwise reads standard input, less one newline at
    /// its end unless `--raw`.
    pub(crate) fn read(self, context: &Context<'_>, name: &SecretName) -> Result<SecretValue, CliError> {
        let given = self.value.or(self.value_option);
        let bytes = match (given, self.from_file) {
            (Some(text), _) => Zeroizing::new(text.0.as_bytes().to_vec()),
            (None, Some(path)) => from_file(&path)?,
            (None, None) if std::io::stdin().is_terminal() => prompt::hidden(&format!("value of {name}: "))?,
            (None, None) => from_stdin(self.raw)?,
        };
        SecretValue::new(bytes).map_err(|error| {
            CliError::new(Exit::Failed, error.to_string())
                .hint(format!("nothing was written; see what there is: {} get secret", context.command))
        })
    }
}

fn from_file(path: &std::path::Path) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let missing = || CliError::new(Exit::NotFound, format!("there is no file {}", path.display()));
    // A link is followed here: the path is the user's own.
    let real = match std::fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
        Err(error) => return Err(CliError::from_io(&format!("read {}", path.display()), &error)),
    };
    if real.is_dir() {
        let message = format!("{} is a directory, and a value is one file", path.display());
        return Err(CliError::new(Exit::Failed, message));
    }
    let (directory, file) = split(&real).ok_or_else(missing)?;
    let directory = Directory::open(directory).map_err(|error| CliError::from_storage(&error))?;
    let bytes = directory.read(file, MAX_VALUE_BYTES).map_err(|error| CliError::from_storage(&error))?;
    bytes.ok_or_else(missing)
}

fn from_stdin(raw: bool) -> Result<Zeroizing<Vec<u8>>, CliError> {
    // Not through std's reader, whose buffer would keep the value's first 8 KiB for the rest of the process. One byte
    // over the limit, and one for the newline, are enough to know that it is too long.
    let mut bytes = Zeroizing::new(vec![0; MAX_VALUE_BYTES + 2]);
    let mut length = 0;
    while length < bytes.len() {
        match rustix::io::read(rustix::stdio::stdin(), &mut bytes[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(CliError::from_io("read standard input", &error.into())),
        }
    }
    if !raw && bytes[..length].ends_with(b"\n") {
        length -= 1;
    }
    bytes.truncate(length);
    Ok(bytes)
}
