//! A secret's value from an argument, a file, a prompt or standard input.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use zeroize::Zeroizing;

use super::context::Context;
use super::docker::{DockerArgs, check_document};
use super::error::{CommandError, Exit};
use super::input::{Hidden, SAY_EMPTY, from_file, from_stdin, too_large};
use super::pasted;
use super::paths::user_path;
use super::prompt::{self, Asked};
use super::ui::Ui;
use flyte_local::secret::{Recipe, SecretName, SecretType, SecretValue};

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
    #[arg(long, value_name = "FILE", value_parser = user_path())]
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

impl ValueArgs {
    /// Says what looks pasted wrong about a value that these arguments gave; `--raw` asked for a newline at its end.
    pub(crate) fn teller(&self, ui: &Ui) -> impl Fn(&SecretName, &SecretValue) + use<> {
        let (ui, is_raw) = (ui.clone(), self.raw);
        move |name, value| {
            let value = value.expose();
            pasted::tell(&ui, name, value.strip_suffix(b"\n").filter(|_| is_raw).unwrap_or(value));
        }
    }

    /// Gets the value of a secret of this type. With none given, asks for it on a terminal; otherwise reads standard input,
    /// less one newline at its end unless `--raw`.
    pub(crate) fn read(
        self,
        context: &Context<'_>,
        name: &SecretName,
        secret_type: SecretType,
    ) -> Result<SecretValue, CommandError> {
        let is_image_pull = secret_type == SecretType::ImagePull;
        let misplaced = |option: &str| {
            Err(CommandError::new(Exit::Usage, format!("{option} does not apply to secrets of type {secret_type}")))
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
            (Some(text), _) => Zeroizing::new(text.expose().as_bytes().to_vec()),
            (None, Some(path)) => from_file(&path)?,
            (None, None) if is_image_pull => match self.docker.read(context)? {
                Some(document) => document,
                None => from_stdin(self.raw, "give its parts instead: --registry HOST --username NAME")?,
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
