//! Each story told in order, at one level of detail: values are parsed, decided on, then carried out.

pub mod admin;
pub mod backup;
pub mod enrol;
mod figures;
pub mod prune;
pub mod receive;
pub mod restore;
pub mod server;
pub mod setup_client;
pub mod setup_server;
pub mod snapshot;
