//! The project and domain of a run.

use super::Context;
use crate::cli::arguments::RunScopeArgs;
use crate::cli::environment::{permissions, variable};
use crate::cli::error::CommandError;
use flyte_local::config::Config;
use flyte_local::secret::{Domain, Project, RunScope};

impl Context<'_> {
    /// Returns the run's project and domain, from options or variables.
    pub(crate) fn chosen_scope(&self, scope: &RunScopeArgs) -> Result<RunScope, CommandError> {
        Ok(RunScope {
            project: match scope.project.clone() {
                None => variable::<Project>("FLYTE_LOCAL_PROJECT", "a project")?,
                project => project,
            },
            domain: match scope.domain.clone() {
                None => variable::<Domain>("FLYTE_LOCAL_DOMAIN", "a domain")?,
                domain => domain,
            },
        })
    }

    /// Returns the project and domain of `config.toml`.
    pub(crate) fn config_scope(&self) -> Result<RunScope, CommandError> {
        let config = match &self.configuration {
            Some(directory) => Config::load(directory, permissions()?)?,
            None => Config::default(),
        };
        Ok(RunScope { project: config.project, domain: config.domain })
    }
}
