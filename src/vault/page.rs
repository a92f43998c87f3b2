//! A list in parts, for a client that asks for so many at a time.

use super::read::secret_names;
use super::{Listing, Vault, VaultError};
use crate::secret::{Domain, Project, Scope, ScopeFilter, SecretId};

/// A part of a list.
#[derive(Debug)]
pub struct Page {
    /// Its secrets, in the order of [`Vault::list`].
    pub listing: Listing,
    /// The last place that was looked at, if there are more after it: what the next page comes after.
    pub last: Option<SecretId>,
}

/// By project and domain, the organization first.
fn order(scope: &Scope) -> (Option<&Project>, Option<&Domain>) {
    (scope.project(), scope.domain())
}

impl Vault {
    /// At most `limit` secrets in scopes that `filter` shows: the first ones after `after`, which need not be there any more.
    /// A client that follows the pages sees each secret once that was there all the time, whatever others write meanwhile.
    ///
    /// Only the names of secrets before and after the page are read, and those of scopes that come before not
    /// even that.
    ///
    /// # Errors
    /// As [`Vault::list`].
    pub fn page(&self, filter: &ScopeFilter, after: Option<&SecretId>, limit: usize) -> Result<Page, VaultError> {
        self.require_itself()?;
        let mut listing = Listing { secrets: Vec::new(), refused: Vec::new() };
        let mut last = None;
        let is_before = |scope: &Scope| after.is_some_and(|after| order(scope) < order(&after.scope));
        let mut scopes = self.scopes()?;
        scopes.retain(|scope| filter.matches(scope) && !is_before(scope));
        scopes.sort_unstable_by(|one, other| order(one).cmp(&order(other)));
        for scope in scopes {
            let Some(directory) = self.scope_directory(&scope)? else { continue };
            let mut names = secret_names(&directory)?;
            if let Some(after) = after.filter(|after| after.scope == scope) {
                names.retain(|name| *name > after.name);
            }
            names.sort_unstable();
            for name in names {
                if listing.secrets.len() == limit {
                    return Ok(Page { listing, last });
                }
                let id = SecretId { scope: scope.clone(), name };
                match self.peek(&directory, &id) {
                    Ok(header) => listing.secrets.extend(header.map(|header| header.metadata)),
                    Err(error) => listing.refused.push(error),
                }
                last = Some(id);
            }
        }
        Ok(Page { listing, last: None })
    }
}
