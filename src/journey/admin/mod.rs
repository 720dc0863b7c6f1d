//! Looking after a server, one file for each sub-command of `byteback-admin`.

pub mod check;
pub mod full_run;
