//! The four scopes of Flyte's documentation, and the order in which a run looks through them.

use std::fmt;

use super::{Domain, Project, SecretName};

/// The projects and domains that a secret applies to, ordered from the widest to the narrowest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Every project and domain.
    Organization,
    /// One project, all its domains.
    Project(Project),
    /// One domain, in all projects.
    Domain(Domain),
    /// One project in one domain.
    ProjectDomain(Project, Domain),
}

impl Scope {
    /// The scope that `-p` and `-d` name; neither of them means the organization.
    pub fn new(project: Option<Project>, domain: Option<Domain>) -> Self {
        match (project, domain) {
            (None, None) => Scope::Organization,
            (Some(project), None) => Scope::Project(project),
            (None, Some(domain)) => Scope::Domain(domain),
            (Some(project), Some(domain)) => Scope::ProjectDomain(project, domain),
        }
    }

    /// The project it is limited to, if any.
    pub fn project(&self) -> Option<&Project> {
        match self {
            Scope::Project(project) | Scope::ProjectDomain(project, _) => Some(project),
            Scope::Organization | Scope::Domain(_) => None,
        }
    }

    /// The domain it is limited to, if any.
    pub fn domain(&self) -> Option<&Domain> {
        match self {
            Scope::Domain(domain) | Scope::ProjectDomain(_, domain) => Some(domain),
            Scope::Organization | Scope::Project(_) => None,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Organization => f.write_str("organization"),
            Scope::Project(project) => write!(f, "project {project}"),
            Scope::Domain(domain) => write!(f, "domain {domain}"),
            Scope::ProjectDomain(project, domain) => write!(f, "project {project}, domain {domain}"),
        }
    }
}

/// A secret's full name: at most one secret of a name exists in a scope.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretId {
    /// The scope.
    pub scope: Scope,
    /// The name.
    pub name: SecretName,
}

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret {} ({})", self.name, self.scope)
    }
}

/// The project and domain a task runs in, from which the scopes it can see follow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunScope {
    /// The run's project, if one is known.
    pub project: Option<Project>,
    /// The run's domain, if one is known.
    pub domain: Option<Domain>,
}

impl RunScope {
    /// The scopes to look in, narrowest first: project and domain, project, domain, organization.
    ///
    /// A cluster walks the same order; its open-source backend has no project-only scope and skips that step.
    pub fn walk(&self) -> Vec<Scope> {
        let mut scopes = Vec::with_capacity(4);
        if let (Some(project), Some(domain)) = (&self.project, &self.domain) {
            scopes.push(Scope::ProjectDomain(project.clone(), domain.clone()));
        }
        scopes.extend(self.project.clone().map(Scope::Project));
        scopes.extend(self.domain.clone().map(Scope::Domain));
        scopes.push(Scope::Organization);
        scopes
    }
}

/// Which scopes a list shows: as in Flyte, a filter matches what is scoped to that project (or domain), whatever the
/// other part.
#[derive(Debug, Clone, Default)]
pub struct ScopeFilter {
    /// Only secrets scoped to this project.
    pub project: Option<Project>,
    /// Only secrets scoped to this domain.
    pub domain: Option<Domain>,
}

impl ScopeFilter {
    /// Returns `true` if a secret of this scope is shown.
    pub fn matches(&self, scope: &Scope) -> bool {
        let project = self.project.as_ref().is_none_or(|wanted| scope.project() == Some(wanted));
        let domain = self.domain.as_ref().is_none_or(|wanted| scope.domain() == Some(wanted));
        project && domain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(project: Option<&str>, domain: Option<&str>) -> RunScope {
        RunScope {
            project: project.map(|p| p.parse().expect("a good project")),
            domain: domain.map(|d| d.parse().expect("a good domain")),
        }
    }

    fn walked(scope: &RunScope) -> Vec<String> {
        scope.walk().iter().map(Scope::to_string).collect()
    }

    #[test]
    fn the_walk_is_narrowest_first() {
        assert_eq!(
            walked(&run(Some("p"), Some("d"))),
            ["project p, domain d", "project p", "domain d", "organization"]
        );
        assert_eq!(walked(&run(Some("p"), None)), ["project p", "organization"]);
        assert_eq!(walked(&run(None, Some("d"))), ["domain d", "organization"]);
        assert_eq!(walked(&run(None, None)), ["organization"]);
    }

    #[test]
    fn a_filter_ignores_the_part_it_does_not_name() {
        let scopes = run(Some("p"), Some("d")).walk();
        let shown = |filter: ScopeFilter| scopes.iter().map(|s| filter.matches(s)).collect::<Vec<_>>();
        let (project, domain) = ("p".parse().ok(), "d".parse().ok());
        assert_eq!(shown(ScopeFilter::default()), [true, true, true, true]);
        assert_eq!(shown(ScopeFilter { project: project.clone(), domain: None }), [true, true, false, false]);
        assert_eq!(shown(ScopeFilter { project: None, domain: domain.clone() }), [true, false, true, false]);
        assert_eq!(shown(ScopeFilter { project, domain }), [true, false, false, false]);
    }
}
