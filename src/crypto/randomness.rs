//! Randomness, where age takes it.
//!
//! age, and std for its hash sets, panic where the system gives no random bytes. This is not a bug, so it becomes an error
//! here.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The operating system gave no random bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random bytes{}", .0.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
pub struct RandomnessError(Option<String>);

thread_local! {
    static IS_WANTED: Cell<bool> = const { Cell::new(false) };
}

/// Returns `true` if a panic with this payload becomes an error here, and must not be reported as a bug.
pub fn is_lack_of_randomness(payload: &(dyn Any + Send)) -> bool {
    IS_WANTED.get() && reason(payload).is_some()
}

/// Does what asks for randomness and panics without.
pub(super) fn with_randomness<T>(act: impl FnOnce() -> T) -> Result<T, RandomnessError> {
    IS_WANTED.set(true);
    // Values that `act` began to make are dropped without being used.
    let done = catch_unwind(AssertUnwindSafe(act));
    IS_WANTED.set(false);
    done.map_err(|payload| reason(&*payload).unwrap_or_else(|| resume_unwind(payload)))
}

/// From the words of rand_core, rand and std; no other payload is looked at further, as it might hold a value.
fn reason(payload: &(dyn Any + Send)) -> Option<RandomnessError> {
    if let Some(text) = payload.downcast_ref::<String>() {
        let reason =
            ["Error: ", "could not initialize thread_rng: "].iter().find_map(|words| text.strip_prefix(words))?;
        return Some(RandomnessError(Some(reason.to_owned())));
    }
    let text = payload.downcast_ref::<&str>()?;
    text.starts_with("failed to generate random data").then_some(RandomnessError(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As rand_core does it.
    fn without_randomness(words: &str) {
        panic!("Error: {words}");
    }

    #[test]
    fn missing_randomness_is_an_error_and_any_other_panic_stays_a_panic() {
        assert_eq!(with_randomness(|| 7), Ok(7));
        let error = with_randomness(|| without_randomness("no luck")).expect_err("there is none");
        assert_eq!(error.to_string(), "the system gave no random bytes: no luck");
        assert!(catch_unwind(|| with_randomness(|| panic!("a bug"))).is_err());
        assert_eq!(with_randomness(|| is_lack_of_randomness(&"Error: within".to_owned())), Ok(true));
        assert!(!is_lack_of_randomness(&"Error: outside".to_owned()), "what is not within stays a panic");
    }
}
