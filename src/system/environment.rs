//! The environment. A client can influence it (sshd's `AcceptEnv`), so each variable that byteback
//! reads is named by its caller, and none configures the server half.
#![allow(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]

use std::ffi::OsString;

/// The variable's value, any bytes; `None` when it is not set.
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The variable's value if it is set and UTF-8.
pub fn text(name: &str) -> Option<String> {
    variable(name)?.into_string().ok()
}
