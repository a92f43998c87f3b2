//! Times, as numbers: the year, month, day, hour, minute and second, and the nanoseconds.

use super::{Reader, Wrong};

pub(crate) type Time = ([u32; 6], u32);

impl Reader {
    pub(crate) fn time(&self, text: &str) -> Option<Time> {
        let text = if self.is(Wrong::AnyLetters) { text.to_uppercase().replace(' ', "T") } else { text.to_owned() };
        let text = match text.strip_suffix("+00:00") {
            Some(text) if self.is(Wrong::Offsets) => format!("{text}Z"),
            _ => text,
        };
        let (whole, fraction) = text.strip_suffix('Z')?.split_at_checked(19)?;
        let marks: Vec<(usize, u8)> = vec![(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        let is_shaped = whole.bytes().enumerate().all(|(at, byte)| match marks.iter().find(|mark| mark.0 == at) {
            Some((_, mark)) => byte == *mark,
            None => byte.is_ascii_digit(),
        });
        if !is_shaped {
            return None;
        }
        let number = |from: usize, to: usize| whole[from..to].parse::<u32>().ok();
        let [year, month, day] = [number(0, 4)?, number(5, 7)?, number(8, 10)?];
        let [hour, minute, second] = [number(11, 13)?, number(14, 16)?, number(17, 19)?];
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) || self.is(Wrong::AnyLeapDay);
        let days = match month {
            _ if self.is(Wrong::AnyDay) => 31,
            2 if is_leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let is_year = (1..=9998).contains(&year)
            || (year == 0 && self.is(Wrong::YearZero))
            || (year == 9999 && self.is(Wrong::Year9999));
        let is_time = (hour < 24 || self.is(Wrong::Hour24)) && minute < 60;
        let is_second = second < 60 || (second == 60 && self.is(Wrong::LeapSeconds));
        let is_date = is_year && (1..=12).contains(&month) && (1..=days).contains(&day);
        if !is_date || !is_time || !is_second || (year < 1970 && self.is(Wrong::UnixYears)) {
            return None;
        }
        Some(([year, month, day, hour, minute, second], self.fraction(fraction)?))
    }

    fn fraction(&self, text: &str) -> Option<u32> {
        let text = if self.is(Wrong::Comma) { text.replace(',', ".") } else { text.to_owned() };
        if text.is_empty() {
            return Some(0);
        }
        let digits = text.strip_prefix('.')?;
        let is_long = digits.len() > 9 && !self.is(Wrong::AnyFraction);
        let is_empty = digits.is_empty() && !self.is(Wrong::EmptyFraction);
        if is_long || is_empty || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let precision = if self.is(Wrong::Milliseconds) { 3 } else { 9 };
        let digits = &digits[..digits.len().min(precision)];
        format!("{digits:0<9}").parse().ok()
    }
}
