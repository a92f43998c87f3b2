//! A list in parts, for a client that asks for so many at a time.

use super::many::{Weight, in_order};
use super::open_scopes::OpenScopes;
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
        let is_before = |scope: &Scope| after.is_some_and(|after| order(scope) < order(&after.scope));
        let mut scopes = self.scopes()?;
        scopes.retain(|scope| filter.matches(scope) && !is_before(scope));
        scopes.sort_unstable_by(|one, other| order(one).cmp(&order(other)));
        let mut places = Places { vault: self, after, scopes: scopes.into_iter(), ids: Vec::new().into_iter() };
        let mut listing = Listing { secrets: Vec::new(), refused: Vec::new() };
        let mut last = None;
        loop {
            // A file that is refused takes no room on the page.
            let room = limit - listing.secrets.len();
            let ids = places.take(room.saturating_add(usize::from(room == 0)))?;
            if ids.is_empty() {
                return Ok(Page { listing, last: None });
            }
            if room == 0 {
                return Ok(Page { listing, last });
            }
            let look = |scopes: &mut OpenScopes<'_>, id: &SecretId| scopes.header(id);
            in_order(
                &ids,
                Weight::Header,
                || OpenScopes::of(self),
                look,
                |header| {
                    match header {
                        Ok(header) => listing.secrets.extend(header.map(|header| header.metadata)),
                        Err(error) => listing.refused.push(error),
                    }
                    Ok::<_, VaultError>(())
                },
            )?;
            last = ids.into_iter().next_back();
        }
    }
}

/// The places of secrets that are still to be looked at, in their order.
struct Places<'a> {
    vault: &'a Vault,
    after: Option<&'a SecretId>,
    scopes: std::vec::IntoIter<Scope>,
    /// Those of the scope that was read last.
    ids: std::vec::IntoIter<SecretId>,
}

impl Places<'_> {
    /// Takes the next ones, at most so many. No more scopes are read than it takes.
    fn take(&mut self, limit: usize) -> Result<Vec<SecretId>, VaultError> {
        let mut taken = Vec::new();
        loop {
            taken.extend(self.ids.by_ref().take(limit - taken.len()));
            if taken.len() == limit {
                return Ok(taken);
            }
            let Some(scope) = self.scopes.next() else { return Ok(taken) };
            let Some(directory) = self.vault.scope_directory(&scope)? else { continue };
            let mut names = secret_names(&directory)?;
            if let Some(after) = self.after.filter(|after| after.scope == scope) {
                names.retain(|name| *name > after.name);
            }
            names.sort_unstable();
            let ids: Vec<_> = names.into_iter().map(|name| SecretId { scope: scope.clone(), name }).collect();
            self.ids = ids.into_iter();
        }
    }
}
