//! The only constructor of child processes' commands: it withholds what a child must not inherit.
//!
//! `clippy.toml` disallows `Command::new` everywhere else, so that a new kind of child cannot forget it.

use std::ffi::OsStr;
use std::process::Command;

/// Makes the commands of child processes.
pub struct Spawner {
    variables: Vec<&'static str>,
}

impl Spawner {
    /// Returns a spawner whose children do not inherit `variables`.
    pub fn new(variables: impl IntoIterator<Item = &'static str>) -> Self {
        Self { variables: variables.into_iter().collect() }
    }

    /// Returns a spawner whose children inherit everything: for the supervisor alone.
    ///
    /// The process in front withheld what it had to when it started the supervisor. A variable of such a name that is left is
    /// a secret that the user asked to have there.
    pub(crate) fn for_supervisor() -> Self {
        Self::new([])
    }

    /// Returns the command of a program. A variable that the caller sets is passed on, whatever its name.
    #[expect(clippy::disallowed_methods, reason = "this is the place that makes commands")]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for variable in &self.variables {
            command.env_remove(variable);
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_inherits_no_withheld_variable_unless_it_is_set() {
        let spawner = Spawner::new(["KEY", "OTHER"]);
        let mut command = spawner.command("program");
        command.env("OTHER", "a secret of that name");
        let variables: Vec<_> = command.get_envs().collect();
        let other = (OsStr::new("OTHER"), Some(OsStr::new("a secret of that name")));
        assert_eq!(variables, [(OsStr::new("KEY"), None), other]);
    }
}
