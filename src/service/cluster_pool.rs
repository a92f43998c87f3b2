//! Cluster pools, of which a vault has none: whether a request names one.
//!
//! The SDK tells a service the pool before it calls it, in `SelectClusterRequest`, and in no other message. Only one field of that
//! message matters here, so it is found without the message's description.

use bytes::{Buf, Bytes};
use connectrpc::{CodecFormat, Payload};

/// The number of `cluster_pool_id`.
const FIELD: u64 = 7;

/// The field's names in JSON.
const NAMES: [&str; 2] = ["clusterPoolId", "cluster_pool_id"];

/// Tells whether a `SelectClusterRequest` asks for a cluster pool.
pub(super) fn is_named(request: &Payload) -> bool {
    match request.format() {
        CodecFormat::Json => is_in_json(request.bytes()),
        _ => is_in_protobuf(request.bytes().clone()).unwrap_or(false),
    }
}

fn is_in_json(body: &[u8]) -> bool {
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_slice(body) else { return false };
    NAMES.iter().any(|name| fields.get(*name).is_some_and(|value| !value.is_null()))
}

/// `None` for what is not a message.
fn is_in_protobuf(mut rest: Bytes) -> Option<bool> {
    while rest.has_remaining() {
        let tag = varint(&mut rest)?;
        if tag >> 3 == FIELD {
            return Some(true);
        }
        let length = match tag & 7 {
            0 => varint(&mut rest).map(|_| 0)?,
            1 => 8,
            2 => usize::try_from(varint(&mut rest)?).ok()?,
            5 => 4,
            _ => return None,
        };
        rest = (length <= rest.len()).then(|| rest.slice(length..))?;
    }
    Some(false)
}

fn varint(rest: &mut Bytes) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = rest.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(body: &'static [u8]) -> Option<bool> {
        is_in_protobuf(Bytes::from_static(body))
    }

    #[test]
    fn a_pool_is_found_behind_any_field() {
        assert_eq!(named(b""), Some(false));
        assert_eq!(named(b"\x40\x08"), Some(false), "an operation");
        assert_eq!(named(b"\x0a\x03\x0a\x01o\x40\x08"), Some(false), "an organization");
        assert_eq!(named(b"\x40\x08\x3a\x03\x12\x01p"), Some(true), "a pool");
        assert_eq!(named(b"\x0a\x04\x3a\x02\x12\x00"), Some(false), "the bytes of another message");
        for cut in [&b"\x40"[..], b"\x0a\x05ab", b"\x0b", b"\x09\x00", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"]
        {
            assert_eq!(named(cut), None, "{cut:?}");
        }
    }

    #[test]
    fn a_pool_is_found_in_json() {
        assert!(is_in_json(br#"{"clusterPoolId": {"name": "p"}}"#));
        assert!(is_in_json(br#"{"cluster_pool_id": {}}"#));
        for other in [&br#"{"orgId": {"name": "clusterPoolId"}}"#[..], br#"{"clusterPoolId": null}"#, b"[]", b""] {
            assert!(!is_in_json(other));
        }
    }
}
