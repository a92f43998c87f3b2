//! Refuses requests that a web page could have made: a page may make a browser connect to this machine, and with DNS
//! rebinding even read the answers.

use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;

/// The names of this machine's loopback.
const LOOPBACK: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// Returns the reason to refuse a request, by its head; `None` lets it in.
pub(super) fn objection(head: &Parts) -> Option<&'static str> {
    if head.headers.contains_key(ORIGIN) {
        // Browsers set it on all requests of a page; Flyte's clients never do.
        return Some("it came from a web page: it has an Origin");
    }
    // HTTP/2 has it in the address. If a request has both, both count.
    let mut hosts = head.headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default().parse());
    if head.headers.get_all(HOST).iter().count() > 1 {
        return Some("it has more than one Host");
    }
    let in_address = head.uri.authority().cloned();
    let is_named = in_address.is_some() || head.headers.contains_key(HOST);
    let is_loopback = in_address.iter().all(is_loopback) && hosts.all(|host| host.is_ok_and(|host| is_loopback(&host)));
    (!is_named || !is_loopback).then_some("it is for another host: its Host is not a name of the loopback")
}

fn is_loopback(authority: &Authority) -> bool {
    !authority.as_str().contains('@') && LOOPBACK.iter().any(|name| authority.host().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn objection_to(uri: &str, headers: &[(&str, &str)]) -> Option<&'static str> {
        let request = headers.iter().fold(Request::post(uri), |request, (name, value)| request.header(*name, *value));
        objection(&request.body(()).expect("a request").into_parts().0)
    }

    #[test]
    fn a_name_of_the_loopback_is_let_in() {
        for host in ["127.0.0.1:30081", "localhost", "LocalHost:80", "[::1]:30081"] {
            assert_eq!(objection_to("/x", &[("host", host)]), None, "{host}");
            assert_eq!(objection_to(&format!("http://{host}/x"), &[]), None, "{host}");
        }
    }

    #[test]
    fn any_other_name_is_refused() {
        let others = ["evil.example", "127.0.0.1.evil.example", "localhost.", "0.0.0.0", "10.0.0.1:30081", "", "a b"];
        for host in others.into_iter().chain(["localhost@evil.example", "evil.example@localhost", "[::1", "é"]) {
            assert!(objection_to("/x", &[("host", host)]).is_some(), "{host}");
        }
        assert!(objection_to("/x", &[]).is_some());
        for second in ["evil.example", "localhost"] {
            assert!(objection_to("/x", &[("host", "localhost"), ("host", second)]).is_some());
        }
        assert!(objection_to("http://evil.example/x", &[("host", "localhost")]).is_some());
        assert!(objection_to("http://localhost/x", &[("host", "evil.example")]).is_some());
    }

    #[test]
    fn requests_of_a_web_page_are_refused() {
        for origin in ["http://localhost:30081", "null", "https://evil.example", ""] {
            assert!(objection_to("/x", &[("host", "localhost"), ("origin", origin)]).is_some(), "{origin}");
        }
    }
}
