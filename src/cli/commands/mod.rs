//! One file a verb: its arguments, and one function.

pub(crate) mod check;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod edit;
pub(crate) mod exec;
pub(crate) mod export;
pub(crate) mod flyte;
pub(crate) mod get;
pub(crate) mod identity;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod lock;
pub(crate) mod push;
pub(crate) mod recipient;
pub(crate) mod rekey;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod supervise;
pub(crate) mod try_mount;
pub(crate) mod unlock;
pub(crate) mod update;
pub(crate) mod update_identity;
pub(crate) mod update_vault;
