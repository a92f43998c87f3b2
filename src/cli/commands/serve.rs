//! `serve`

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use directories::BaseDirs;
use jiff::Timestamp;

use crate::cli::context::Context;
use crate::cli::environment::inherited;
use crate::cli::error::CommandError;
use crate::cli::explain;
use crate::cli::hidden;
use crate::cli::shell::quoted;
use crate::cli::ui::Ui;
use flyte_local::launch::{self, Surroundings};
use flyte_local::service::{Event, Host, Server};
use flyte_local::vault::VaultError;

/// The one beside that of Flyte's own sandbox.
const DEFAULT_PORT: u16 = 30081;

/// Let the `flyte` command and SDK use this vault
///
/// Answers as Flyte's secret service does, on this machine and to you alone: it refuses connections of other users
/// (on Linux) and requests that a web page sends. Secrets can be created, updated, deleted and listed; their values
/// never come back. So no identity is needed, and no passphrase is prompted for.
///
/// With a command, serves only that command and ends with it. The command finds the service in its environment, which
/// has precedence over any configuration file (`flyte-local flyte` leaves Flyte's command with its own cluster). Without a command, prints the endpoint and serves until it is stopped.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local serve -- flyte create secret my_secret
  flyte-local serve -- flyte get secret
  flyte-local serve -- sh                      starts a session
  flyte-local serve                            and in another terminal:
  flyte --endpoint dns:///127.0.0.1:30081 --insecure get secret")]
pub(crate) struct Args {
    /// The port on 127.0.0.1; 0 takes any free one
    ///
    /// The default is 30081; with a command, any free port.
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Log each call to stderr, also while a command runs
    ///
    /// A line has the method and the secret's name.
    #[arg(long)]
    log: bool,
    /// The command and its arguments
    #[arg(last = true, value_names = ["COMMAND", "ARGS"])]
    command: Vec<OsString>,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<ExitCode, CommandError> {
    let vault = context.open_vault_to_write()?;
    let port = args.port.unwrap_or(if args.command.is_empty() { DEFAULT_PORT } else { 0 });
    let server = Server::bind(port).map_err(|error| {
        let error = CommandError::from_io(&format!("serve on port {port}"), &error);
        error.hint("choose another port: --port N, or --port 0 for a free one")
    })?;
    let endpoint = format!("dns:///{}", server.address());
    let logs = args.log || args.command.is_empty();
    let log = Arc::new(Log { ui: context.ui.clone(), command: context.command.clone(), logs, told: Mutex::default() });
    let failed = |error| CommandError::from_io("serve", &error);
    let Some((program, arguments)) = args.command.split_first() else {
        context.ui.data(format!("{endpoint}\n").as_bytes())?;
        context.ui.say(&format!("serving {} to your user only; stop with Ctrl-C", vault.path().display()));
        context.ui.hint(&format!("in another terminal: flyte --endpoint {endpoint} --insecure get secret"));
        let variables = environment(&endpoint).into_iter().filter(|(name, _)| is_proxied() || !NO_PROXY.contains(name));
        let variables = variables.map(|(name, value)| format!(" {name}={}", quoted(Path::new(&value))));
        context.ui.hint(&format!(
            "or, for everything that a shell starts: export{}; unset {API_KEY}",
            variables.collect::<String>()
        ));
        return server.serve(vault, log).map(|()| ExitCode::SUCCESS).map_err(failed);
    };
    let mut command = context.spawner()?.command(program);
    command.args(arguments).envs(environment(&endpoint)).env_remove(API_KEY);
    let supervisor = hidden::supervisor(context.spawner()?)?;
    let run = || launch::run(supervisor, &command, Surroundings::default(), |_| ());
    match server.serve_during(vault, log, run).map_err(failed)? {
        Ok(ended) => Ok(ExitCode::from(ended.exit_code())),
        Err(error) => Err(error.into()),
    }
}

/// Returns the variables that lead the SDK to an endpoint.
fn environment(endpoint: &str) -> Vec<(&'static str, OsString)> {
    // It looks there before it looks into any configuration file.
    let mut variables = vec![("FLYTE_ADMIN_ENDPOINT", endpoint.into()), ("FLYTE_ADMIN_INSECURE", "true".into())];
    if !is_flyte_configured() {
        // But nowhere, without any such file.
        variables.push((CONFIG, "/dev/null".into()));
    }
    variables.extend(without_proxy());
    variables
}

/// It names a cluster and its credentials, and overrides the endpoint in the SDK.
const API_KEY: &str = "FLYTE_API_KEY";

/// A configuration file of Flyte's.
const CONFIG: &str = "FLYTECTL_CONFIG";

/// Tells whether the SDK finds a configuration file in any working directory.
fn is_flyte_configured() -> bool {
    let home = BaseDirs::new();
    let at_home =
        |directory| home.as_ref().is_some_and(|home| home.home_dir().join(directory).join("config.yaml").exists());
    ["UCTL_CONFIG", CONFIG].into_iter().any(|name| given(name).is_some()) || at_home(".union") || at_home(".flyte")
}

/// The hosts to which no proxy leads. Programs differ in which of the first two they read; gRPC's own overrides both.
const NO_PROXY: [&str; 3] = ["NO_PROXY", "no_proxy", "no_grpc_proxy"];

/// Tells whether a variable leads clients to a proxy.
fn is_proxied() -> bool {
    const PROXIES: [&str; 6] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "grpc_proxy", "GRPC_PROXY"];
    PROXIES.into_iter().any(|name| given(name).is_some())
}

/// Adds the loopback to the hosts without a proxy: otherwise a proxy would get the values.
fn without_proxy() -> Vec<(&'static str, OsString)> {
    let [upper, lower, grpc] = NO_PROXY.map(given);
    let (own, other) = (upper.clone().or(lower.clone()), lower.or(upper));
    let hosts = [Some(own.unwrap_or_default()), Some(other.unwrap_or_default()), grpc];
    let with_loopback = |mut hosts: OsString| {
        hosts.push(if hosts.is_empty() { "127.0.0.1" } else { ",127.0.0.1" });
        hosts
    };
    NO_PROXY.into_iter().zip(hosts).filter_map(|(name, hosts)| Some((name, with_loopback(hosts?)))).collect()
}

/// Returns the value of a variable that is not empty.
fn given(name: &str) -> Option<OsString> {
    use std::os::unix::ffi::OsStringExt;
    inherited(name).filter(|value| !value.is_empty()).map(|value| OsString::from_vec(value.to_vec()))
}

/// Prints the calls for the user.
struct Log {
    ui: Ui,
    command: String,
    /// Set if successful calls are logged too.
    logs: bool,
    /// Lines that were printed already. A web page or a damaged file could repeat them endlessly.
    told: Mutex<BTreeSet<String>>,
}

impl Host for Log {
    fn explain(&self, error: &VaultError) -> String {
        explain::vault(error, &self.command).plain()
    }

    fn happened(&self, event: &Event<'_>) {
        let line = match event {
            Event::Called { .. } if !self.logs => return,
            Event::Called { method, about, failed } => {
                let about = about.map(|about| format!(" {about}")).unwrap_or_default();
                format!("{method}{about}: {}", failed.unwrap_or("done"))
            }
            Event::LeftOut(error) => format!("left out of the list: {}", self.explain(error)),
            Event::Stranger(Some(user)) => format!("refused a connection of user {user}"),
            Event::Stranger(None) => "refused a connection whose owner is unknown; it may be closed already".to_owned(),
            Event::Refused(reason) => format!("refused a request: {reason}"),
        };
        let is_known =
            !matches!(event, Event::Called { .. }) && self.told.lock().is_ok_and(|mut told| !told.insert(line.clone()));
        if !is_known {
            self.ui.say(&format!("{:.0} {line}", Timestamp::now()));
        }
    }
}
