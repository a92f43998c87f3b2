//! The secrets that a run hands to programs outside of its tasks: the container of a task, and the builder of an image.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::source::{RunSecrets, key_of};
use crate::cli::error::{CommandError, Exit};
use crate::cli::lent::Loan;
use flyte_local::flyte::{BuildSecrets, Declared, VariableName};
use flyte_local::launch;

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

impl RunSecrets {
    /// Returns what the builder of an image finds: variables, and files for values that no variable can hold.
    pub(super) fn provide_to_build(&self, secrets: &[Declared]) -> Result<BuildSecrets, CommandError> {
        self.injector.task_starts();
        let (mut provided, mut loan) = (BuildSecrets::default(), None);
        let filled = secrets.iter().enumerate().try_for_each(|(index, secret)| {
            let Err(error) = self.add_to_build(secret, index, &mut provided, &mut loan) else { return Ok(()) };
            if let Some(variable) = self.left_to_the_shell(secret, &error) {
                provided.shell.push(variable);
            } else if error.is_not_found() {
                // The builder may find a file of the user's.
                provided.missing.push(index);
                provided.why_missing.push(self.injector.report(&error).plain());
            } else {
                return Err(error);
            }
            Ok(())
        });
        provided.directory = loan.as_ref().map(Loan::path);
        if let (Err(_), Some(directory)) = (&filled, &provided.directory) {
            self.injector.take_back(directory.as_ref());
        }
        filled?;
        provided.notes = self.notes_on_short_values();
        Ok(provided)
    }

    fn add_to_build<'a>(
        &'a self,
        secret: &Declared,
        index: usize,
        build: &mut BuildSecrets,
        loan: &mut Option<Loan<'a>>,
    ) -> Result<(), CommandError> {
        let (key, run) = (key_of(secret)?, self.scope());
        let resolved = self.injector.value(&key, &run)?;
        let (value, variable) = (resolved.value.expose(), secret.variable.clone().unwrap_or_default());
        // The builder does not find an empty variable.
        let text = std::str::from_utf8(value).ok().filter(|text| !text.is_empty() && !text.contains('\0'));
        if let Some(text) = text.filter(|text| !launch::is_too_large_for_a_variable(&variable, text.len())) {
            build.variables.insert(variable, Zeroizing::new(text.to_owned()));
            return Ok(());
        }
        let loan = match loan {
            Some(loan) => loan,
            None => loan.insert(self.injector.lend()?),
        };
        // The name of a group need not be that of a file.
        build.files.insert(variable, loan.keep(&index.to_string(), value)?);
        Ok(())
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
