//! Secrets: their names, scopes, types and values.
//!
//! Pure newtypes: nothing here reads a disk, a clock or the environment. Each is parsed once, at the edge; a value of
//! one of these types is a good one, so no later code checks it again.

mod generate;
mod name;
mod scope;
mod value;

pub use generate::{Recipe, RecipeError};
pub use name::{Domain, NameError, Project, SecretName};
pub use scope::{RunScope, Scope, ScopeFilter, SecretId};
pub use value::{MAX_VALUE_BYTES, SecretType, SecretValue, ValueTooLargeError};
