//! Lines that a POSIX shell reads: `export NAME='value'`.

use zeroize::Zeroizing;

use super::entry::{self, FormatError, SpecialNames};
use crate::secret::{SecretName, SecretValue};

/// Writes a script.
///
/// # Errors
/// Each secret whose name is not a variable's, or is a special one, or whose value no variable can hold.
pub fn render(
    secrets: &[(SecretName, SecretValue)],
    special: SpecialNames,
) -> Result<Zeroizing<Vec<u8>>, Vec<FormatError>> {
    let mut script = Zeroizing::new(Vec::new());
    entry::each(secrets, |name, value| {
        entry::refuse_nul(name, value)?;
        entry::refuse_special_name(name, special)?;
        script.extend_from_slice(format!("export {name}='").as_bytes());
        for &byte in value.expose() {
            match byte {
                b'\'' => script.extend_from_slice(br"'\''"),
                byte => script.push(byte),
            }
        }
        script.extend_from_slice(b"'\n");
        Ok(())
    })?;
    Ok(script)
}
