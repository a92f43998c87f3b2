//! The files that a run lends to the container of a task.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::source::{RunSecrets, key_of};
use crate::cli::error::{CommandError, Exit};
use flyte_local::flyte::{Declared, VariableName};

impl RunSecrets {
    /// Makes a directory with these secrets as files and a shell script that exports the variables; returns its path.
    pub(super) fn lend_to_container(
        &self,
        secrets: &[Declared],
        variables: &BTreeMap<String, Zeroizing<Vec<u8>>>,
    ) -> Result<String, CommandError> {
        let loan = self.injector.lend()?;
        let path = loan.path();
        let filled = (|| {
            for secret in secrets {
                self.injector.lend_file(&loan, &key_of(secret)?, secret.group.as_deref(), &self.scope())?;
            }
            if !variables.is_empty() {
                loan.share(&["variables"], &exports(variables)?)?;
            }
            Ok(path.clone())
        })();
        if filled.is_err() {
            self.injector.take_back(path.as_ref());
        }
        filled
    }
}

/// Returns a script of the shell that exports the variables.
fn exports(variables: &BTreeMap<String, Zeroizing<Vec<u8>>>) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    // Each quote becomes four bytes; a vector that grows leaves copies of its content.
    let most: usize = variables.iter().map(|(name, value)| name.len() + 4 * value.len() + 16).sum();
    let mut script = Zeroizing::new(Vec::with_capacity(most));
    for (name, value) in variables {
        // The shell would execute any other name.
        let name: VariableName =
            name.parse().map_err(|error| CommandError::new(Exit::Failed, format!("{name}: {error}")))?;
        script.extend_from_slice(format!("export {name}='").as_bytes());
        for &byte in value.iter() {
            script.extend_from_slice(if byte == b'\'' { b"'\\''" } else { std::slice::from_ref(&byte) });
        }
        script.extend_from_slice(b"'\n");
    }
    Ok(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_exports_values_as_they_are() {
        let of = |name: &str, value: &str| (name.to_owned(), Zeroizing::new(value.as_bytes().to_vec()));
        let script = exports(&BTreeMap::from([of("A", "it's $HOME\n"), of("B", "")])).expect("good names");
        assert_eq!(String::from_utf8_lossy(&script), "export A='it'\\''s $HOME\n'\nexport B=''\n");
        assert!(exports(&BTreeMap::from([of("A;x", "")])).is_err());
    }
}
