//! A Kubernetes Secret, as the YAML that `kubectl apply` takes. Its values are base64, so they may be any bytes.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::entry::FormatError;
use crate::secret::{MAX_VALUE_BYTES, SecretName, SecretValue};

/// Writes the manifest of a Secret called `name`, which must satisfy [`is_name`].
///
/// # Errors
/// The first secret that makes the total exceed 1 MiB, the most that a Kubernetes Secret holds, and also a secret here.
pub fn render(name: &str, secrets: &[(SecretName, SecretValue)]) -> Result<Zeroizing<Vec<u8>>, Vec<FormatError>> {
    let mut manifest = Zeroizing::new(format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: \"{name}\"\ntype: Opaque\ndata:{}\n",
        if secrets.is_empty() { " {}" } else { "" }
    ));
    let mut size = 0;
    for (name, value) in secrets {
        size += value.expose().len();
        if size > MAX_VALUE_BYTES {
            let reason = "with this secret, the values exceed the 1 MiB that a Kubernetes Secret holds";
            return Err(vec![FormatError::new(name, reason)]);
        }
        // Quoted: without quotes, YAML would not read `null` and `1` as text.
        manifest.push_str(&format!("  \"{name}\": \""));
        BASE64_STANDARD.encode_string(value.expose(), &mut manifest);
        manifest.push_str("\"\n");
    }
    Ok(Zeroizing::new(manifest.as_bytes().to_vec()))
}

/// Returns true if Kubernetes accepts the name for a Secret: a DNS subdomain.
pub fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label =
        |label: &str| label.starts_with(good) && label.ends_with(good) && label.chars().all(|c| good(c) || c == '-');
    name.len() <= 253 && name.split('.').all(is_label)
}
