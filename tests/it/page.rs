//! Paged lists: the pages make up the whole list, wherever it is cut, and whatever others write in between.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use crate::support::{Random, Sandbox};
use flyte_local::secret::{Domain, Project, Scope, ScopeFilter, SecretId, SecretName};
use flyte_local::vault::Vault;

/// A vault with `count` secrets in scopes of every kind, of which some names are prefixes of others.
fn vault(sandbox: &Sandbox, count: usize) -> Vault {
    let mut script = String::new();
    let places = ["", " -p p", " -p p-2", " -d d", " -d d2", " -p p -d d", " -p p -d d2", " -p q -d d"];
    for number in 0..count {
        script.push_str(&format!(
            "{} create secret n{number} v{}\n",
            crate::support::FLYTE_LOCAL,
            places[number % places.len()]
        ));
    }
    let mut shell = sandbox.program("sh");
    assert!(shell.args(["-ec", &script]).output().expect("sh starts").status.success());
    sandbox.open_unpinned_vault().expect("it opens")
}

/// The sort key of lists: the organization first.
fn key(id: &SecretId) -> (Option<Project>, Option<Domain>, SecretName) {
    (id.scope.project().cloned(), id.scope.domain().cloned(), id.name.clone())
}

/// Returns all listed secrets, page after page.
fn pages(vault: &Vault, filter: &ScopeFilter, limit: usize) -> Vec<SecretId> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = vault.page(filter, after.as_ref(), limit).expect("a page");
        assert!(page.listing.secrets.len() <= limit && page.listing.refused.is_empty());
        assert!(page.last.is_none() || page.listing.secrets.len() == limit, "a page is short, but not the last");
        found.extend(page.listing.secrets.into_iter().map(|metadata| metadata.id));
        match page.last {
            Some(last) => after = Some(last),
            None => return found,
        }
    }
}

#[test]
fn all_pages_together_are_the_list() {
    let sandbox = Sandbox::in_memory();
    sandbox.ok(&["init"]);
    let vault = vault(&sandbox, 60);
    let part = |text: Option<&str>| text.map(|text| text.parse().expect("a name"));
    for (project, domain) in [(None, None), (Some("p"), None), (None, Some("d")), (Some("p"), Some("d2"))] {
        let filter =
            ScopeFilter { project: part(project), domain: domain.map(|domain| domain.parse().expect("a name")) };
        let whole = vault.list(&filter).expect("a list").secrets.into_iter().map(|metadata| metadata.id);
        let whole: Vec<_> = whole.collect();
        assert!(whole.len() >= 7 && whole.is_sorted_by_key(key));
        for limit in (1..=whole.len() + 1).chain([1000]) {
            assert_eq!(pages(&vault, &filter, limit), whole, "{project:?} {domain:?} {limit}");
        }
    }
}

#[test]
fn a_page_may_begin_after_a_secret_that_does_not_exist() {
    let sandbox = Sandbox::in_memory();
    sandbox.ok(&["init"]);
    let vault = vault(&sandbox, 16);
    let whole: Vec<_> =
        vault.list(&ScopeFilter::default()).expect("a list").secrets.into_iter().map(|m| m.id).collect();
    let name = |text: &str| text.parse().expect("a name");
    for scope in [
        Scope::Organization,
        Scope::Project("p".parse().expect("a project")),
        Scope::Project("o".parse().expect("a project")),
        Scope::Domain("d1".parse().expect("a domain")),
        Scope::ProjectDomain("z".parse().expect("a project"), "z".parse().expect("a domain")),
    ] {
        for after in ["0", "n10", "n5x", "z"] {
            let after = SecretId { scope: scope.clone(), name: name(after) };
            let page = vault.page(&ScopeFilter::default(), Some(&after), 1000).expect("a page");
            let found: Vec<_> = page.listing.secrets.into_iter().map(|metadata| metadata.id).collect();
            let expected: Vec<_> = whole.iter().filter(|id| key(id) > key(&after)).cloned().collect();
            assert_eq!(found, expected, "{after}");
        }
    }
}

#[test]
fn a_secret_that_stays_is_listed_once_while_others_come_and_go() {
    let sandbox = Sandbox::in_memory();
    sandbox.ok(&["init"]);
    let vault = vault(&sandbox, 40);
    let mut random = Random::seeded();
    let stays = |id: &SecretId| id.name.as_str().starts_with('n');
    let whole = vault.list(&ScopeFilter::default()).expect("a list").secrets;
    let whole: Vec<_> = whole.into_iter().map(|metadata| metadata.id).collect();
    let (mut found, mut after, mut others, mut made) = (Vec::new(), None, Vec::new(), 0);
    loop {
        let page = vault.page(&ScopeFilter::default(), after.as_ref(), 1 + random.below(4) as usize).expect("a page");
        found.extend(page.listing.secrets.into_iter().map(|metadata| metadata.id).filter(stays));
        let Some(last) = page.last else { break };
        after = Some(last);
        // A secret before or after the start of the next page, in its scope or in another, which may be new.
        let other = format!("{}{}", ["a", "z"][random.below(2) as usize], made);
        made += 1;
        let scope: &[&str] = match random.below(5) {
            0 => &[],
            1 => &["-p", "p"],
            2 => &["-p", "new", "-d", "d"],
            3 => &["-d", "d2"],
            _ => &["-p", "q", "-d", "d"],
        };
        sandbox.ok(&[&["create", "secret", &other, "v"], scope].concat());
        others.push((other, scope));
        if random.below(2) == 0 {
            let (gone, scope) = others.swap_remove(random.below(others.len() as u64) as usize);
            sandbox.ok(&[&["delete", "secret", &gone], scope].concat());
        }
    }
    assert_eq!(found, whole);
}

#[test]
fn a_refused_file_does_not_count_as_a_secret_of_the_page() {
    let sandbox = Sandbox::in_memory();
    sandbox.ok(&["init"]);
    let vault = vault(&sandbox, 16);
    for place in ["org/a", "org/n0a", "org/z"] {
        std::fs::write(sandbox.secret_file(place), b"no secret").expect("written");
    }
    let first = vault.page(&ScopeFilter::default(), None, 1).expect("a page");
    assert_eq!((first.listing.secrets.len(), first.listing.refused.len()), (1, 1));
    let rest = vault.page(&ScopeFilter::default(), first.last.as_ref(), 1000).expect("a page");
    assert_eq!((rest.listing.secrets.len(), rest.listing.refused.len(), rest.last), (15, 2, None));
}
