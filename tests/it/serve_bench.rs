//! The cost of `serve`, compared with the same calls through the library; `scripts/bench-serve` runs it.

use std::time::Instant;

use crate::support::http::Connection;
use crate::support::{Random, Sandbox};
use flyte_local::secret::{Scope, ScopeFilter, SecretId, SecretType, SecretValue};
use flyte_local::vault::Vault;
use serde_json::json;

const SECRETS: usize = 10_000;

/// The seconds for which each way is measured in a round.
const SLICE: f64 = 0.2;

const ROUNDS: usize = 10;

/// The numbers of projects over which the secrets are spread.
const PROJECTS: [usize; 2] = [10, 1];

fn id(index: usize, projects: usize) -> SecretId {
    let project = format!("p{}", index % projects).parse().expect("a good name");
    SecretId { scope: Scope::new(Some(project), None), name: format!("secret-{index}").parse().expect("a good name") }
}

/// Returns the calls per second.
fn rate(mut call: impl FnMut()) -> f64 {
    let (start, mut calls) = (Instant::now(), 0);
    while start.elapsed().as_secs_f64() < SLICE {
        call();
        calls += 1;
    }
    f64::from(calls) / start.elapsed().as_secs_f64()
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Reads page by page, from the first to the last, repeatedly.
struct Walk<'a> {
    vault: &'a Vault,
    after: Option<SecretId>,
    token: String,
}

impl Walk<'_> {
    fn library(&mut self, limit: usize) {
        let page = self.vault.page(&ScopeFilter::default(), self.after.as_ref(), limit).expect("listed");
        assert!(!page.listing.secrets.is_empty());
        self.after = page.last;
    }

    fn service(&mut self, connection: &mut Connection, limit: usize) {
        let reply = connection.call("ListSecrets", &json!({ "limit": limit, "token": self.token }).to_string());
        assert_eq!(reply.status, 200);
        // The reply is not parsed, which would be measured too: the token is the first or the last field.
        let text = String::from_utf8(reply.body).expect("text");
        let token = text.rsplit(r#""token":""#).next().filter(|rest| rest.len() < 100);
        self.token = token.and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned();
    }
}

#[test]
#[ignore = "by hand: scripts/bench-serve"]
fn by_hand_requests_a_second() {
    for projects in PROJECTS {
        // Other benchmarks measure the disk.
        let sandbox = Sandbox::in_memory();
        sandbox.ok(&["init"]);
        let mut vault = sandbox.open_vault();
        let value = SecretValue::new(b"a value".to_vec().into()).expect("it is small");
        for index in 0..SECRETS {
            vault
                .writer()
                .expect("writable")
                .create_secret(&id(index, projects), SecretType::Regular, &value)
                .expect("created");
        }
        let serving = sandbox.serve();
        let mut connection = serving.connect();
        let mut random = Random::from_seed(7);
        let mut walk = Walk { vault: &vault, after: None, token: String::new() };
        println!("{SECRETS} secrets in {projects} projects, calls a second{:14}library    serve    ratio", "");
        for limit in [None, Some(10), Some(100), Some(1000)] {
            let (mut library, mut service) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                (walk.after, walk.token) = (None, String::new());
                let mut pick = || id(random.below(SECRETS as u64) as usize, projects);
                match limit {
                    None => {
                        library.push(rate(|| drop(vault.metadata(&pick()).expect("it is there"))));
                        service.push(rate(|| {
                            let id = pick();
                            let project = id.scope.project().expect("it has one");
                            let request =
                                json!({ "id": { "name": id.name.to_string(), "project": project.to_string() } });
                            assert_eq!(connection.call("GetSecret", &request.to_string()).status, 200);
                        }));
                    }
                    Some(limit) => {
                        library.push(rate(|| walk.library(limit)));
                        service.push(rate(|| walk.service(&mut connection, limit)));
                    }
                }
            }
            let ratio = median(service.iter().zip(&library).map(|(one, other)| one / other).collect());
            let what = limit.map_or("GetSecret".to_owned(), |limit| format!("ListSecrets, {limit} a page"));
            println!("  {what:44}{:>12.0}{:>9.0}{ratio:>9.2}", median(library), median(service));
        }
    }
}
