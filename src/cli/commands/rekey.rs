//! `rekey`

use serde_json::Value;

use crate::cli::commands::get;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit, GET_ADDED};
use crate::cli::identities::Identities;
use crate::cli::progress::Progress;
use crate::cli::table;
use flyte_local::crypto;
use flyte_local::secret::SecretId;
use flyte_local::vault::{Rekeyed, Vault, VaultError};

/// Re-encrypt secrets whose recipients are out of date
///
/// `create recipient` and `delete recipient` re-encrypt secrets themselves. `rekey` finishes their work after an
/// interruption, and re-encrypts secrets that other users wrote before they knew of a new recipient. You can stop it
/// at any time and run it again: each secret opens with the old recipients or with the new ones. Values, types and
/// times stay the same; the re-encrypted secrets are signed by you.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local rekey --dry-run
  flyte-local rekey")]
pub(crate) struct Args {
    /// List the secrets to re-encrypt; write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<(), CliError> {
    if args.dry_run {
        let found =
            context.open_vault()?.encryption().map_err(|error| CliError::from_vault(&error, &context.command))?;
        context.ui.data(format(context, &found.outdated).as_bytes())?;
        context.ui.say(&format!("{} to be encrypted anew, {} as they should be", found.outdated.len(), found.current));
        return report(context, found.refused);
    }
    let mut vault = context.open_vault_to_write()?;
    let identities = identities(context, &vault)?;
    rekey(context, &mut vault, &identities)
}

/// The identities, unlocked, if one of them is a recipient of the vault: else nothing could be encrypted anew.
pub(super) fn identities(context: &Context<'_>, vault: &Vault) -> Result<Identities, CliError> {
    vault.require_writable().map_err(|error| CliError::from_vault(&error, &context.command))?;
    let identities = context.identities()?;
    identities.unlock_for(vault)?;
    if identities.open(vault) {
        return Ok(identities);
    }
    let error = CliError::new(Exit::CannotDecrypt, "none of your identities is a recipient of this vault");
    Err(error
        .tried(&identities.tried())
        .hint("name another identity with --identity FILE or FLYTE_LOCAL_IDENTITY")
        .hint(GET_ADDED))
}

/// Encrypts anew what has to be, and says so.
pub(super) fn rekey(
    context: &Context<'_>,
    vault: &mut Vault,
    identities: &dyn crypto::Identities,
) -> Result<(), CliError> {
    let mut progress = None;
    let rekeyed = vault.rekey(identities, &mut |total| {
        progress.get_or_insert_with(|| Progress::start(context.ui, total, "encrypting anew")).step();
    });
    drop(progress);
    let Rekeyed { done, failed } = rekeyed.map_err(|error| {
        CliError::from_vault(&error, &context.command)
            .hint(format!("each secret opens as before or for the new recipients; to go on: {} rekey", context.command))
    })?;
    context.ui.say(&match done {
        0 => "no secret had to be encrypted anew".to_owned(),
        1 => "encrypted 1 secret anew".to_owned(),
        done => format!("encrypted {done} secrets anew"),
    });
    report(context, failed)
}

/// What the vault's other users will be asked.
pub(super) fn tell_others(context: &Context<'_>, vault: &Vault) {
    context.ui.say(&format!(
        "on other machines, this change is accepted with: flyte-local update vault --accept --expect {}",
        vault.fingerprint()
    ));
}

/// Tells of the secrets that were left as they are; the first gives the exit code.
fn report(context: &Context<'_>, failed: Vec<VaultError>) -> Result<(), CliError> {
    let mut errors = failed.iter().map(|error| CliError::from_vault(error, &context.command));
    let Some(first) = errors.next() else { return Ok(()) };
    errors.for_each(|error| context.ui.error(&error));
    Err(first)
}

fn format(context: &Context<'_>, ids: &[SecretId]) -> String {
    let rows: Vec<_> = ids.iter().map(get::id_to_cells).collect();
    let json: Value = ids.iter().map(get::id_to_json).collect();
    table::formatted(context.output_format, ["project", "domain", "name"], &rows, &json)
}
