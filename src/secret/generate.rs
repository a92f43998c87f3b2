//! Values made of random bytes, which are the caller's to get.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{MAX_VALUE_BYTES, SecretValue};

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// How to make a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipe {
    /// This many letters and digits, of 62 each as likely as the others.
    Alphanumeric(usize),
    /// A UUID, version 4.
    Uuid,
    /// This many bytes, as twice as many digits in lower case.
    Hex(usize),
    /// This many bytes in base64, padded, in one line.
    Base64(usize),
}

/// Why text is not a [`Recipe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// It is not one of the words.
    #[error("it is a number of characters, such as 32, or one of uuid, hex:BYTES and base64:BYTES")]
    Unknown,
    /// It makes nothing, or more than a value holds.
    #[error("a value has 1 to {MAX_VALUE_BYTES} bytes")]
    Length,
}

impl FromStr for Recipe {
    type Err = RecipeError;

    fn from_str(text: &str) -> Result<Self, RecipeError> {
        let number = |digits: &str| match digits.bytes().all(|digit| digit.is_ascii_digit()) && !digits.is_empty() {
            true => digits.parse().map_err(|_| RecipeError::Length),
            false => Err(RecipeError::Unknown),
        };
        let recipe = match text.split_once(':') {
            None if text == "uuid" => Recipe::Uuid,
            None => Recipe::Alphanumeric(number(text)?),
            Some(("hex", bytes)) => Recipe::Hex(number(bytes)?),
            Some(("base64", bytes)) => Recipe::Base64(number(bytes)?),
            Some(_) => return Err(RecipeError::Unknown),
        };
        let length = match recipe {
            Recipe::Uuid => Some(36),
            Recipe::Alphanumeric(length) => Some(length),
            Recipe::Hex(bytes) => bytes.checked_mul(2),
            Recipe::Base64(bytes) => base64::encoded_len(bytes, true),
        };
        if length.is_some_and(|length| (1..=MAX_VALUE_BYTES).contains(&length)) {
            Ok(recipe)
        } else {
            Err(RecipeError::Length)
        }
    }
}

impl Recipe {
    /// Makes a value of the bytes that `fill` gives.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn make<E>(self, mut fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<SecretValue, E> {
        let mut random = |length| {
            let mut bytes = Zeroizing::new(vec![0; length]);
            fill(&mut bytes).map(|()| bytes)
        };
        let text = match self {
            Recipe::Alphanumeric(length) => {
                let mut text = Zeroizing::new(Vec::with_capacity(length));
                while text.len() < length {
                    let bytes = random(length - text.len())?;
                    text.extend(bytes.iter().filter_map(|&byte| letter(byte)));
                }
                text
            }
            Recipe::Uuid => uuid(&random(16)?),
            Recipe::Hex(length) => Zeroizing::new(random(length)?.iter().flat_map(|&byte| hex(byte)).collect()),
            Recipe::Base64(length) => Zeroizing::new(STANDARD.encode(&*random(length)?).into_bytes()),
        };
        Ok(SecretValue::new(text).expect("a recipe makes no more than a value holds"))
    }
}

/// One of the alphabet for a byte; none for those that are left when the alphabet has been laid out as often as it goes
/// into 256, which would make the first ones likelier.
fn letter(byte: u8) -> Option<u8> {
    const WHOLE: usize = 256 / ALPHABET.len() * ALPHABET.len();
    (usize::from(byte) < WHOLE).then(|| ALPHABET[usize::from(byte) % ALPHABET.len()])
}

fn hex(byte: u8) -> [u8; 2] {
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// RFC 9562: the version and the variant are not random.
fn uuid(random: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(36));
    for (index, &byte) in random.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push(b'-');
        }
        text.extend(hex(match index {
            6 => byte & 0x0f | 0x40,
            8 => byte & 0x3f | 0x80,
            _ => byte,
        }));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// The value that a recipe makes of these bytes, repeated as often as needed.
    fn made(recipe: &str, bytes: &[u8]) -> String {
        let mut source = bytes.iter().copied().cycle();
        let recipe: Recipe = recipe.parse().expect("a recipe");
        let fill = |buffer: &mut [u8]| -> Result<(), ()> {
            buffer.iter_mut().zip(&mut source).for_each(|(to, from)| *to = from);
            Ok(())
        };
        String::from_utf8(recipe.make(fill).expect("filled").expose().to_vec()).expect("ASCII")
    }

    #[test]
    fn each_letter_stands_for_as_many_bytes() {
        let mut counts = BTreeMap::<_, usize>::new();
        for byte in 0..=255 {
            *counts.entry(letter(byte)).or_default() += 1;
        }
        assert_eq!(counts.remove(&None), Some(8));
        assert_eq!(counts.len(), 62);
        assert!(counts.values().all(|&count| count == 4), "{counts:?}");
    }

    #[test]
    fn bytes_that_stand_for_none_are_passed_over_and_made_up_for() {
        assert_eq!(made("6", &[248, 0, 255, 61, 62, 247]), "A9A9A9");
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(made("1000", &all).len(), 1000);
    }

    #[test]
    fn each_form_has_its_bytes() {
        assert_eq!(made("hex:3", &[0x00, 0xaf, 0xff]), "00afff");
        assert_eq!(made("base64:4", &[0xff]), "/////w==");
        assert_eq!(made("uuid", &[0xff]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(made("uuid", &[0x00]), "00000000-0000-4000-8000-000000000000");
        let all: Vec<u8> = (0..16).collect();
        assert_eq!(made("uuid", &all), "00010203-0405-4607-8809-0a0b0c0d0e0f");
    }

    #[test]
    fn a_recipe_for_nothing_or_too_much_is_refused() {
        for unknown in ["", "-1", "+1", "1.5", "x", "UUID", "uuid:1", "hex", "hex:", "hex:x", "words:6", " 32"] {
            assert_eq!(unknown.parse::<Recipe>(), Err(RecipeError::Unknown), "{unknown}");
        }
        let long = "9".repeat(30);
        for length in
            ["0", "hex:0", "base64:0", "1048577", "hex:524289", "base64:786433", &long, &format!("hex:{long}")]
        {
            assert_eq!(length.parse::<Recipe>(), Err(RecipeError::Length), "{length}");
        }
        for most in ["1048576", "hex:524288", "base64:786432"] {
            assert_eq!(made(most, &[7]).len(), MAX_VALUE_BYTES, "{most}");
        }
    }

    #[test]
    fn no_value_is_made_without_randomness() {
        assert_eq!(Recipe::Uuid.make(|_| Err("none")), Err("none"));
    }
}
