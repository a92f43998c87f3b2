//! The command line, the whole of it on one page. The only part that parses flags, prints, prompts or reads the
//! environment.

mod acceptance;
mod answers;
mod arguments;
mod commands;
mod context;
mod docker;
mod environment;
mod error;
mod explain;
mod files;
mod flyte_words;
mod help;
mod hidden;
mod identities;
mod identity_causes;
mod identity_place;
mod inject;
mod input;
mod interpreter;
mod key_filter;
mod lent;
mod listing;
mod near;
mod new_identity;
mod notices;
mod on_cluster;

mod passphrases;
mod pasted;
mod paths;
mod progress;
mod prompt;
mod reencrypt;
mod report;
mod retired;
mod reveal;
mod rollback;
mod sanitize;
mod secret_reader;
mod shell;
mod span;
mod table;
mod tasks;
mod ui;
mod usage;
mod value_input;
mod variables;

use std::ffi::OsString;
use std::mem::ManuallyDrop;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use arguments::GlobalArgs;
use commands::{check, create, delete, edit, exec, export, flyte, get, identity, import, init, lock, push, recipient};
use commands::{rekey, run, serve, supervise, try_mount, unlock, update, update_identity, update_vault};
use context::Context;
use error::CommandError;
use report::ErrorReport;
use ui::Ui;

/// Secrets for Flyte tasks that run on this machine
///
/// Keeps each secret in a separate age-encrypted file, in a tree that mirrors Flyte's scopes. Runs Flyte 2 tasks with
/// the secrets they declare, as a cluster does.
#[derive(Parser)]
#[command(name = "flyte-local", version, max_term_width = 80)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Args),
    /// Create a secret, a recipient or an identity
    #[command(subcommand, arg_required_else_help = true, disable_help_subcommand = true)]
    Create(Create),
    /// List secrets, show one, or show recipients and keys
    #[command(subcommand, arg_required_else_help = true, disable_help_subcommand = true)]
    Get(Get),
    /// Change a secret or identity, or trust an author
    #[command(subcommand, arg_required_else_help = true, disable_help_subcommand = true)]
    Update(Update),
    /// Edit a secret's value in an editor
    #[command(subcommand, arg_required_else_help = true, disable_help_subcommand = true)]
    Edit(Edit),
    /// Delete a secret or remove a recipient
    #[command(subcommand, arg_required_else_help = true, disable_help_subcommand = true)]
    Delete(Delete),
    Run(run::Args),
    Flyte(flyte::Args),
    Exec(exec::Args),
    Import(import::Args),
    Export(export::Args),
    Serve(serve::Args),
    /// Send secrets to a cluster
    #[command(subcommand, arg_required_else_help = true, disable_help_subcommand = true)]
    Push(Push),
    Rekey(rekey::Args),
    Unlock(unlock::Args),
    Lock(lock::Args),
    Check(check::Args),
}

#[derive(Subcommand)]
enum Create {
    Secret(Box<create::Args>),
    Recipient(recipient::CreateRecipientArgs),
    Identity(identity::CreateIdentityArgs),
}

#[derive(Subcommand)]
enum Get {
    Secret(get::Args),
    Recipient(recipient::GetRecipientsArgs),
    Identity(identity::GetIdentityArgs),
}

#[derive(Subcommand)]
enum Update {
    Secret(update::Args),
    Identity(update_identity::Args),
    Vault(update_vault::Args),
}

#[derive(Subcommand)]
enum Edit {
    Secret(edit::Args),
}

#[derive(Subcommand)]
enum Push {
    Secret(push::Args),
}

#[derive(Subcommand)]
enum Delete {
    Secret(delete::Args),
    Recipient(recipient::DeleteRecipientArgs),
}

/// Parses the arguments, runs the command, reports an error: the exit code follows from the result alone.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    flyte_local::launch::forbid_dumps();
    let ui = Ui::new(environment::no_color(), environment::columns());
    ui.tell_panics();
    let arguments = flyte::apart(arguments.into_iter().collect());
    let result = if is_version(&arguments) {
        ui.data(VERSION.as_bytes()).map(|()| ExitCode::SUCCESS).map_err(in_words)
    } else if arguments.get(1).is_some_and(|argument| argument == hidden::TRY_MOUNT) {
        try_mount::run(&ui).map_err(in_words)
    } else if supervise::is_asked_for(&arguments) {
        supervise::run(arguments).map_err(in_words)
    } else {
        match parse(&arguments) {
            Ok(cli) => dispatch(cli, &ui),
            Err(error) => {
                usage::report(help::composed(error, Cli::command(), &arguments), &arguments, &ui).map_err(in_words)
            }
        }
    };
    let code = result.unwrap_or_else(|error| {
        ui.error(&error);
        ExitCode::from(error.code())
    });
    ui.forget_mask();
    flyte_local::launch::wipe_stack();
    code
}

/// The output of clap for `--version`. clap describes each command before it prints this.
const VERSION: &str = concat!("flyte-local ", env!("CARGO_PKG_VERSION"), "\n");

fn is_version(arguments: &[OsString]) -> bool {
    matches!(arguments, [_, option] if option == "--version" || option == "-V")
}

/// As [`clap::Parser::try_parse_from`], but the description of the commands is not dropped. It holds nothing of the user's, and
/// to free it piece by piece, each of them wiped, takes almost as long as to make it.
fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let mut command = ManuallyDrop::new(Cli::command());
    let mut matches = command.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// Puts an error into words where no command line leads to a vault.
fn in_words(error: CommandError) -> ErrorReport {
    error.report("flyte-local")
}

/// Runs the command, and puts its error into words: here it is known what a hint begins with.
fn dispatch(cli: Cli, ui: &Ui) -> Result<ExitCode, ErrorReport> {
    let context = Context::new(cli.global, ui).map_err(in_words)?;
    perform(&context, cli.command).map_err(|error| error.report(&context.command))
}

fn perform(context: &Context<'_>, command: Command) -> Result<ExitCode, CommandError> {
    match command {
        Command::Init(args) => init::run(context, args)?,
        Command::Create(Create::Secret(args)) => create::run(context, *args)?,
        Command::Create(Create::Recipient(args)) => recipient::create(context, args)?,
        Command::Create(Create::Identity(args)) => identity::create(context, args)?,
        Command::Get(Get::Secret(args)) => get::run(context, args)?,
        Command::Get(Get::Recipient(args)) => recipient::get(context, args)?,
        Command::Get(Get::Identity(args)) => identity::get(context, args)?,
        Command::Update(Update::Secret(args)) => update::run(context, args)?,
        Command::Update(Update::Identity(args)) => update_identity::run(context, args)?,
        Command::Update(Update::Vault(args)) => update_vault::run(context, args)?,
        Command::Edit(Edit::Secret(args)) => edit::run(context, args)?,
        Command::Delete(Delete::Secret(args)) => delete::run(context, args)?,
        Command::Delete(Delete::Recipient(args)) => recipient::delete(context, args)?,
        Command::Run(args) => return run::run(context, args),
        Command::Flyte(args) => return flyte::run(context, args),
        Command::Exec(args) => return exec::run(context, args),
        Command::Serve(args) => return serve::run(context, args),
        Command::Rekey(args) => rekey::run(context, args)?,
        Command::Check(args) => check::run(context, args)?,
        Command::Import(args) => import::run(context, args)?,
        Command::Export(args) => export::run(context, args)?,
        Command::Push(Push::Secret(args)) => push::run(context, args)?,
        Command::Unlock(args) => unlock::run(context, args)?,
        Command::Lock(args) => lock::run(context, args)?,
    }
    Ok(ExitCode::SUCCESS)
}
