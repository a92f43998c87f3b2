//! The binding, and its comparison with the place.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::header::Parsed;
use super::limits::limit;
use super::times::Time;
use super::{Reader, Vault, Wrong};

/// A binding that belongs in its place.
pub(super) struct Binding {
    pub(super) vault: String,
    pub(super) project: Option<String>,
    pub(super) domain: Option<String>,
    pub(super) name: String,
    pub(super) secret_type: String,
    pub(super) created: (String, Time),
    pub(super) updated: (String, Time),
    pub(super) recipients: Option<String>,
    pub(super) proof: Option<Proof>,
}

/// The members that only a signed binding has, as they are written.
pub(super) struct Proof {
    pub(super) author: String,
    pub(super) commitment: Vec<u8>,
    pub(super) signature: Option<Vec<u8>>,
}

/// The members of an object in their order, each as it is written.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collector;
        impl<'de> Visitor<'de> for Collector {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collector)
    }
}

const KNOWN: [&str; 11] = [
    "vault",
    "project",
    "domain",
    "name",
    "type",
    "created",
    "updated",
    "recipients",
    "author",
    "commitment",
    "signature",
];

/// Returns the levels of nesting in JSON, and whether an escape of half a surrogate pair is in it.
fn form(json: &str) -> (usize, bool) {
    let bytes = json.as_bytes();
    let (mut depth, mut deepest, mut at, mut has_half, mut is_string) = (0_usize, 0, 0, false, false);
    let unit =
        |at: usize| json.get(at..at + 6).and_then(|text| u16::from_str_radix(text.strip_prefix("\\u")?, 16).ok());
    while at < bytes.len() {
        let mut step = 1;
        match bytes[at] {
            b'"' => is_string = !is_string,
            b'\\' if is_string => match (unit(at), unit(at + 6)) {
                (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => step = 12,
                (Some(0xd800..=0xdfff), _) => has_half = true,
                _ => step = 2,
            },
            b'[' | b'{' if !is_string => depth += 1,
            b']' | b'}' if !is_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
        at += step;
    }
    (deepest, has_half)
}

impl Reader {
    fn members(&self, body: &[u8]) -> Option<Vec<(String, Box<RawValue>)>> {
        let lossy = String::from_utf8_lossy(body);
        if std::str::from_utf8(body).is_err() && !self.is(Wrong::NotUtf8) {
            return None;
        }
        let text = match lossy.strip_prefix('\u{feff}') {
            Some(text) if self.is(Wrong::ByteOrderMark) => text,
            _ => &lossy,
        };
        let (depth, has_half) = form(text);
        let most = if self.is(Wrong::LessNesting) { 31 } else { 32 };
        if (depth > most && !self.is(Wrong::AnyNesting)) || (has_half && !self.is(Wrong::HalfSurrogates)) {
            return None;
        }
        let Members(members) = if self.is(Wrong::TextAfterObject) {
            serde_json::Deserializer::from_str(text).into_iter().next()?.ok()?
        } else {
            serde_json::from_str(text).ok()?
        };
        let is_readable = |raw: &RawValue| raw.get().parse::<f64>().map_or(true, f64::is_finite);
        if self.is(Wrong::ReadsNumbers) && !members.iter().all(|(_, raw)| is_readable(raw)) {
            return None;
        }
        let count = |name: &str| members.iter().filter(|(other, _)| other == name).count();
        let is_sound = members.iter().all(|(name, _)| match KNOWN.contains(&name.as_str()) {
            true => count(name) == 1 || self.is(Wrong::FirstMember) || self.is(Wrong::LastMember),
            false if self.is(Wrong::UnknownMembersOnce) => count(name) == 1,
            false => !self.is(Wrong::KnownMembersOnly),
        });
        let is_written = |name: &str| !self.is(Wrong::RawMemberNames) || text.contains(&format!("\"{name}\""));
        (is_sound && members.iter().all(|(name, _)| is_written(name))).then_some(members)
    }

    pub(super) fn binding(&self, stanzas: &[Parsed], vault: &Vault, place: &str) -> Option<Binding> {
        let (is_signed, body) = self.only_binding(stanzas)?;
        let members = self.members(body)?;
        let find = |name: &str| {
            let is_it = |found: &String| {
                found == name || (self.is(Wrong::AnyCaseOfMembers) && found.eq_ignore_ascii_case(name))
            };
            let mut found = members.iter().filter(|(found, _)| is_it(found));
            let last = self.is(Wrong::LastMember) || self.is(Wrong::AnyCaseOfMembers);
            let member = if last { found.next_back() } else { found.next() };
            member.map(|(_, raw)| raw.get())
        };
        let text = |raw: &str| match self.is(Wrong::RawValues) {
            true => Some(raw.trim_matches('"').to_owned()),
            false => serde_json::from_str::<String>(raw).ok(),
        };
        let required = |name: &str| text(find(name)?);
        let is_name = |name: &str, most: usize| {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            (1..=most).contains(&name.len()) && name.bytes().all(is_allowed)
        };
        let scope = |name: &str| match find(name) {
            None if self.is(Wrong::RequiresScope) => None,
            None | Some("null") => Some(None),
            Some("\"\"") if self.is(Wrong::EmptyProject) => Some(None),
            Some(raw) => text(raw).filter(|name| is_name(name, limit("bytes of a project or domain"))).map(Some),
        };
        let time = |name: &str| {
            let text = required(name)?;
            let time = self.time(&text)?;
            Some((text, time))
        };
        let is_proven = is_signed || self.is(Wrong::AnyTag);
        let recipients = match find("recipients").filter(|_| is_proven) {
            None if self.is(Wrong::RequiresRecipients) && is_proven => return None,
            None => None,
            Some("null") if self.is(Wrong::NullRecipients) => None,
            Some(raw) => Some(text(raw).filter(|digest| self.is(Wrong::AnyRecipients) || is_digest(digest))?),
        };
        let binding = Binding {
            vault: required("vault")?,
            project: scope("project")?,
            domain: scope("domain")?,
            name: required("name").filter(|name| is_name(name, limit("bytes of a secret's name")))?,
            secret_type: required("type")?,
            created: time("created")?,
            updated: time("updated")?,
            recipients,
            proof: self.proof(is_signed, &required)?,
        };
        let is_type = ["regular", "image_pull"].contains(&&*binding.secret_type) || self.is(Wrong::AnyType);
        (is_type && self.are_ordered(&binding) && self.is_in_place(&binding, vault, place)).then_some(binding)
    }

    fn are_ordered(&self, binding: &Binding) -> bool {
        let (created, updated) = (&binding.created, &binding.updated);
        match self.wrong {
            Some(Wrong::AnyOrderOfTimes) => true,
            Some(Wrong::ComparesTimesAsText) => updated.0 >= created.0,
            Some(Wrong::StrictOrderOfTimes) => updated.1 > created.1,
            _ => updated.1 >= created.1,
        }
    }

    fn is_in_place(&self, binding: &Binding, vault: &Vault, place: &str) -> bool {
        let parts: Vec<&str> = place.split('/').collect();
        let after = |word: &str| {
            let directories = &parts[..parts.len() - 1];
            let at = directories.chunks(2).position(|pair| pair[0] == word)?;
            directories.get(2 * at + 1).copied()
        };
        (binding.vault == vault.id || self.is(Wrong::AnyVault))
            && (binding.project.as_deref() == after("project") || self.is(Wrong::AnyProject))
            && (binding.domain.as_deref() == after("domain") || self.is(Wrong::AnyDomain))
            && (parts.last() == Some(&&*binding.name) || self.is(Wrong::AnyName))
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
