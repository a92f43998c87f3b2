//! Names that differ little from one that was typed.

/// The most names that are offered.
const MOST: usize = 3;

/// Returns those of `known` that are close to what was typed, the closest first. Case, and '-' for '_', count for nothing.
pub(crate) fn near<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let wanted = plain(typed);
    // A very short name with another letter is another name.
    let allowed = (wanted.chars().count() / 3).min(3);
    let measured = known.into_iter().filter(|name| *name != typed).map(|name| {
        let distance = strsim::damerau_levenshtein(&wanted, &plain(name));
        (distance, name)
    });
    let mut found: Vec<_> = measured.filter(|(distance, _)| *distance <= allowed).collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(|(_, name)| name).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 7] = ["api_key", "api_keys", "app_key", "apikey", "API-KEY", "db_url", "key"];

    #[test]
    fn the_closest_names_come_first_and_at_most_three() {
        assert_eq!(near("api_kye", NAMES), ["API-KEY", "api_key", "api_keys"]);
        assert_eq!(near("db_ulr", NAMES), ["db_url"]);
    }

    #[test]
    fn names_that_are_far_are_not_offered() {
        assert!(near("token", NAMES).is_empty());
        assert!(near("", NAMES).is_empty());
        assert_eq!(near("kex", NAMES), ["key"]);
        assert!(near("abc", NAMES).is_empty());
        assert!(near("b", ["a"]).is_empty());
        assert_eq!(near("A", ["a"]), ["a"]);
    }

    #[test]
    fn the_typed_name_itself_is_not_offered() {
        assert_eq!(near("db_url", NAMES), Vec::<&str>::new());
        assert_eq!(near("DB-URL", NAMES), ["db_url"]);
    }
}
