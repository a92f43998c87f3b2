//! Lines that a POSIX shell reads: `export NAME='value'`.

use zeroize::Zeroizing;

use super::entry::{self, Unfit};
use crate::secret::{SecretName, SecretValue};

/// Writes a script.
///
/// # Errors
/// Each secret whose name is no variable's, or whose value no variable can hold.
pub fn render(secrets: &[(SecretName, SecretValue)]) -> Result<Zeroizing<Vec<u8>>, Vec<Unfit>> {
    let mut script = Zeroizing::new(Vec::new());
    entry::each(secrets, |name, value| {
        entry::refuse_nul(name, value)?;
        let is_variable = !name.as_str().contains('-') && !name.as_str().starts_with(|c: char| c.is_ascii_digit());
        if !is_variable {
            return Err(Unfit { name: name.clone(), reason: "its name is not one that a shell's variable can have" });
        }
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
