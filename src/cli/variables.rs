//! The part of the rule on variables that needs the environment of the caller. `flyte_local::variables` has the names.

use super::environment::inherited;
use super::ui::Ui;

/// Returns true, and says so, if the caller has this variable with another value. It stays unless the user named the secret;
/// `how` says how to name it.
pub(crate) fn stays(ui: &Ui, variable: &str, value: &[u8], how: &str) -> bool {
    let is_set = inherited(variable).is_some_and(|there| there.as_slice() != value);
    if is_set {
        ui.say(&format!(
            "flyte-local: {variable} is already set and stays as it is; for the value of the secret: {how}"
        ));
    }
    is_set
}
