//! `run --clean-env`: of the variables of the caller, only the few that a task needs here.

use std::ffi::{OsStr, OsString};

use crate::cli::environment::variable_names;

/// Variables without which programs do not start or behave as on this machine. `LC_…` belongs to `LANG`: together they decide
/// the encoding of output.
const KEPT: [&str; 6] = ["PATH", "HOME", "LANG", "TERM", "TMPDIR", "VIRTUAL_ENV"];
const KEPT_PREFIXES: [&str; 1] = ["LC_"];

/// The variables by which the SDK is configured. It passes those of its log on to a pod.
const OF_FLYTE: [&str; 5] = ["FLYTECTL_CONFIG", "UCTL_CONFIG", "LOG_LEVEL", "LOG_FORMAT", "USER_LOG_LEVEL"];
const PREFIXES_OF_FLYTE: [&str; 3] = ["FLYTE_", "_F_", "_U_"];

/// Variables with a prefix of Flyte that no pod has: our own, and the user's key to a cluster.
const PREFIX_OF_OURS: &str = "FLYTE_LOCAL";
const CREDENTIAL: &str = "FLYTE_API_KEY";

/// Returns the names of the caller's variables that a task does not get.
pub(crate) fn left_out(keep: &[String]) -> Vec<OsString> {
    variable_names().filter(|name| !keep.iter().any(|kept| kept.as_str() == name) && !is_kept(name)).collect()
}

fn is_kept(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let of_flyte = OF_FLYTE.contains(&name) || starts(&PREFIXES_OF_FLYTE);
    KEPT.contains(&name)
        || starts(&KEPT_PREFIXES)
        || (of_flyte && !name.starts_with(PREFIX_OF_OURS) && name != CREDENTIAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_variables_are_kept_and_all_others_left_out() {
        for name in ["PATH", "LC_ALL", "LANG", "FLYTE_PROJECT", "_F_MAX_QPS", "LOG_LEVEL", "UCTL_CONFIG"] {
            assert!(is_kept(name.as_ref()), "{name}");
        }
        for name in ["PATHS", "AWS_PROFILE", "FLYTE_LOCAL_VAULT", "FLYTE_API_KEY", "LANGUAGE", "PYTHONPATH", ""] {
            assert!(!is_kept(name.as_ref()), "{name}");
        }
    }
}
