//! The credentials that Docker has for a registry: stored in its configuration, or kept by a helper program.

use crate::cli::environment::{permissions, search_path};
use crate::cli::explain::untrusted;
use flyte_local::process::Spawner;
use flyte_local::storage::require_program_in_path;
use flyte_local::transfer::docker::{CredentialSource, DockerConfig, HelperAnswer, auth};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long a credential helper may take: it may ask its user for a password.
const PATIENCE: Duration = Duration::from_secs(60);

/// Far more than a helper answers.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Returns the credentials for a registry, or the reason why there are none.
pub(super) fn credentials(
    spawner: &Spawner,
    config: &DockerConfig,
    registry: &str,
) -> Result<Zeroizing<String>, String> {
    match config.source(registry) {
        CredentialSource::Stored(stored) => Ok(Zeroizing::new(stored.to_owned())),
        CredentialSource::Nowhere => Err("there are no credentials for it".to_owned()),
        CredentialSource::Helper(helper) => {
            // A path would start a program outside PATH.
            if !helper.chars().all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c)) {
                return Err(format!("{helper:?} is not the name of a credential helper"));
            }
            let program = format!("docker-credential-{helper}");
            let permissions = permissions().map_err(|error| error.report("flyte-local").reasons())?;
            require_program_in_path(program.as_ref(), search_path().as_deref(), permissions)
                .map_err(|error| untrusted(&error, None).reasons())?;
            let answer = ask_helper(spawner, &program, &["get"], registry, PATIENCE)?;
            let answer = HelperAnswer::parse(&answer)
                .ok_or_else(|| format!("{program} gave an answer that is not in the format of credential helpers"))?;
            Ok(auth(&answer.username, answer.secret.as_bytes()))
        }
    }
}

/// Returns the answer of a credential helper, or the reason why there is none. Its messages are for the terminal, and what it says on standard
/// output is not shown, as it may be a password.
fn ask_helper(
    spawner: &Spawner,
    program: &str,
    arguments: &[&str],
    registry: &str,
    patience: Duration,
) -> Result<Zeroizing<Vec<u8>>, String> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("{program} is not in PATH"),
        _ => format!("{program}: {error}"),
    };
    let mut command = spawner.command(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let answer = answer_of(&mut child, registry, Instant::now() + patience);
    if !matches!(answer, Ok(Some(_))) {
        let _ = child.kill();
        let _ = child.wait();
    }
    match answer.map_err(failed)? {
        None => Err(format!("{program} took longer than {} s, or its answer was too long", patience.as_secs())),
        Some((_, status)) if !status.success() => Err(match status.code() {
            Some(code) => format!("{program} ended with code {code}"),
            None => format!("{program} was killed"),
        }),
        Some((answer, _)) => Ok(answer),
    }
}

type Answered = (Zeroizing<Vec<u8>>, std::process::ExitStatus);

/// Returns the output and the exit status of a helper, or `None` if it has not ended in time.
fn answer_of(child: &mut Child, registry: &str, until: Instant) -> std::io::Result<Option<Answered>> {
    // It may end before it has read it. A name that a pipe does not hold at once would be for no registry.
    let _ = child.stdin.take().expect("piped").write_all(&registry.as_bytes()[..registry.len().min(4096)]);
    let mut output = child.stdout.take().expect("piped");
    let mut answer = Zeroizing::new(vec![0; MAX_ANSWER_BYTES]);
    let mut length = 0;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let ready = match poll(&mut [PollFd::new(&output, PollFlags::IN)], Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => continue,
            ready => ready?,
        };
        if ready == 0 || length == answer.len() {
            return Ok(None);
        }
        match output.read(&mut answer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    answer.truncate(length);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some((answer, status)));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks a helper that is this shell script.
    fn asked(script: &str, patience: Duration) -> Result<Vec<u8>, String> {
        ask_helper(&Spawner::new([]), "sh", &["-c", script], "ghcr.io", patience).map(|answer| answer.to_vec())
    }

    #[test]
    fn a_helper_is_asked_once_and_gets_no_newline() {
        let asked = |script| asked(script, PATIENCE);
        assert_eq!(asked("cat; echo; echo more"), Ok(b"ghcr.io\nmore\n".to_vec()));
        assert_eq!(asked("exec <&-; echo answer"), Ok(b"answer\n".to_vec()));
        assert_eq!(asked("echo hunter2; exit 3"), Err("sh ended with code 3".to_owned()));
        assert_eq!(asked("kill -9 $$"), Err("sh was killed".to_owned()));
    }

    #[test]
    fn a_helper_that_does_not_end_in_time_is_killed() {
        let instant = Duration::from_millis(50);
        let patience = [("exec sleep 1000", instant), ("exec >&-; exec sleep 1000", instant), ("exec yes", PATIENCE)];
        for (script, patience) in patience {
            let refused = asked(script, patience).expect_err("no answer");
            assert!(refused.contains("took longer than"), "{script}: {refused}");
        }
    }
}
