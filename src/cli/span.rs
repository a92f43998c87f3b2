//! Spans of time as people type them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A span of time as people type it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span(pub(crate) Duration);

const UNITS: [(&str, u64); 4] = [("d", 86400), ("h", 3600), ("m", 60), ("s", 1)];

/// A week.
const LONGEST: u64 = 7 * 86400;

#[derive(Debug, thiserror::Error)]
#[error("a time is a number and s, m, h or d, from 1s to 7d")]
pub(crate) struct SpanError;

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let unit = UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
        let (number, unit) = unit.ok_or(SpanError)?;
        let digits = number.bytes().all(|byte| byte.is_ascii_digit()).then_some(number);
        let seconds = digits.and_then(|number| number.parse::<u64>().ok()?.checked_mul(*unit));
        let seconds = seconds.filter(|seconds| (1..=LONGEST).contains(seconds)).ok_or(SpanError)?;
        Ok(Self(Duration::from_secs(seconds)))
    }
}

impl fmt::Display for Span {
    /// Writes its two largest units.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_secs();
        let mut parts = Vec::new();
        for (unit, seconds) in UNITS {
            parts.push((rest / seconds, unit));
            rest %= seconds;
        }
        let first = parts.iter().position(|(number, _)| *number > 0).unwrap_or(parts.len() - 1);
        let words = parts[first..].iter().take(2).enumerate();
        let words: Vec<_> = words
            .filter(|(index, part)| *index == 0 || part.0 > 0)
            .map(|(_, (n, unit))| format!("{n}{unit}"))
            .collect();
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_parsed_and_displayed() {
        let shown = |text: &str| text.parse::<Span>().map(|time| time.to_string()).map_err(drop);
        assert_eq!(shown("8h"), Ok("8h".to_owned()));
        assert_eq!(shown("90m"), Ok("1h 30m".to_owned()));
        assert_eq!(shown("86401s"), Ok("1d".to_owned()));
        assert_eq!(shown("7d"), Ok("7d".to_owned()));
        for bad in
            ["", "8", "h", "0s", "8d", "-1h", "+1h", "1.5h", "8 h", "99999999999999999999h", "18446744073709551615d"]
        {
            assert_eq!(shown(bad), Err(()), "{bad}");
        }
    }
}
