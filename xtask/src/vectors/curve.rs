//! Keys and signatures in forms that a reader must refuse.

use ed25519_dalek::{SigningKey, VerifyingKey};
use sha2::{Digest, Sha512};

/// The order of the group of Ed25519, little-endian.
pub(super) const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// A point of Curve25519 with order eight, little-endian.
pub(super) const X25519_OF_ORDER_EIGHT: [u8; 32] = [
    0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d,
    0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
];

/// Returns a point of Ed25519 that is not of small order, written with a number that is too large by the field's prime.
pub(super) fn not_canonical() -> [u8; 32] {
    let points = (2..19).map(|small: u8| {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (0xed + small, 0x7f);
        bytes
    });
    let mut sound = points.filter(|bytes| VerifyingKey::from_bytes(bytes).is_ok_and(|key| !key.is_weak()));
    sound.next().expect("one of them is a point")
}

/// Returns an author's signature whose first half is the neutral element: the equation holds, and a strict verifier refuses it.
pub(super) fn small_order_signature(author: &SigningKey, message: &[u8]) -> [u8; 64] {
    let mut signature = [0; 64];
    signature[0] = 1;
    let challenge: [u8; 64] = Sha512::new()
        .chain_update(&signature[..32])
        .chain_update(author.verifying_key().as_bytes())
        .chain_update(message)
        .finalize()
        .into();
    let digest: [u8; 64] = Sha512::digest(author.to_bytes()).into();
    let mut secret: [u8; 32] = digest[..32].try_into().expect("a half");
    secret[0] &= 0xf8;
    secret[31] = secret[31] & 0x7f | 0x40;
    let (challenge, secret) = (reduced(&challenge), reduced(&secret));
    signature[32..].copy_from_slice(&product(&challenge, &secret));
    signature
}

/// Returns a number modulo the order.
fn reduced(number: &[u8]) -> [u8; 32] {
    let mut one = [0; 32];
    one[0] = 1;
    let mut sum = [0; 32];
    for bit in bits(number) {
        sum = plus(&sum, &sum);
        if bit {
            sum = plus(&sum, &one);
        }
    }
    sum
}

fn product(one: &[u8; 32], other: &[u8; 32]) -> [u8; 32] {
    let mut sum = [0; 32];
    for bit in bits(one) {
        sum = plus(&sum, &sum);
        if bit {
            sum = plus(&sum, other);
        }
    }
    sum
}

/// Returns the bits of a number, the highest first.
fn bits(number: &[u8]) -> impl Iterator<Item = bool> + '_ {
    number.iter().rev().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
}

/// Adds modulo the order.
fn plus(one: &[u8; 32], other: &[u8; 32]) -> [u8; 32] {
    let (mut sum, mut carry) = ([0; 32], 0);
    for index in 0..32 {
        let total = u16::from(one[index]) + u16::from(other[index]) + carry;
        (sum[index], carry) = (total as u8, total >> 8);
    }
    if sum.iter().rev().ge(ORDER.iter().rev()) { minus(&sum) } else { sum }
}

fn minus(number: &[u8; 32]) -> [u8; 32] {
    let (mut difference, mut borrow) = ([0; 32], 0);
    for index in 0..32 {
        let total = i16::from(number[index]) - i16::from(ORDER[index]) - borrow;
        (difference[index], borrow) = (total.rem_euclid(256) as u8, i16::from(total < 0));
    }
    difference
}

/// Returns Bech32 text of 32 bytes whose last character has a padding bit that is not zero.
pub(super) fn padded(prefix: &str, bytes: &[u8]) -> String {
    use bech32::primitives::iter::{ByteIterExt, Fe32IterExt};
    let prefix = bech32::Hrp::parse(prefix).expect("a prefix");
    let mut letters: Vec<bech32::Fe32> = bytes.iter().copied().bytes_to_fes().collect();
    let last = letters.last_mut().expect("not empty");
    *last = bech32::Fe32::try_from(last.to_u8() | 1).expect("below 32");
    letters.into_iter().with_checksum::<bech32::Bech32>(&prefix).chars().collect()
}
