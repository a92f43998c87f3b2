//! The only constructor of child processes' commands: it withholds what a child must not inherit.
//!
//! `clippy.toml` disallows `Command::new` everywhere else, so that a new kind of child cannot forget it.

use std::ffi::OsStr;
use std::process::Command;

/// Makes the commands of child processes.
pub struct Spawner {
    variables: Vec<&'static str>,
    take_away: Box<dyn Fn() + Send + Sync>,
}

impl Spawner {
    /// Returns a spawner whose children do not inherit `variables`.
    ///
    /// It calls `take_away` before it makes a command, to take from descriptors what a child must not read there.
    pub fn new(
        variables: impl IntoIterator<Item = &'static str>,
        take_away: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self { variables: variables.into_iter().collect(), take_away: Box::new(take_away) }
    }

    /// Returns a spawner whose children inherit everything: for the supervisor alone.
    ///
    /// The process in front withheld what it had to when it started the supervisor. A variable of such a name that is left is
    /// a secret that the user asked to have there.
    pub(crate) fn for_supervisor() -> Self {
        Self::new([], || ())
    }

    /// Returns the command of a program. A variable that the caller sets is passed on, whatever its name.
    #[expect(clippy::disallowed_methods, reason = "this is the place that makes commands")]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        (self.take_away)();
        let mut command = Command::new(program);
        for variable in &self.variables {
            command.env_remove(variable);
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_command_inherits_no_withheld_variable_unless_it_is_set() {
        let spawner = Spawner::new(["KEY", "OTHER"], || ());
        let mut command = spawner.command("program");
        command.env("OTHER", "a secret of that name");
        let variables: Vec<_> = command.get_envs().collect();
        let other = (OsStr::new("OTHER"), Some(OsStr::new("a secret of that name")));
        assert_eq!(variables, [(OsStr::new("KEY"), None), other]);
    }

    #[test]
    fn descriptors_are_emptied_before_each_command() {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let spawner = Spawner::new([], move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        spawner.command("program");
        spawner.command("program");
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }
}
