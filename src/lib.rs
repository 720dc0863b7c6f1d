//! byteback: maintenance-free backups of many machines on one btrfs server.
//!
//! Clients push with stock rsync over stock OpenSSH; the server decides everything else. A client is
//! assumed to be hostile: whoever is root on it must not read or harm anything but its own `current`.
//!
//! The rooms, and who may import whom (`tests/layers.rs` checks it):
//!
//! ```text
//! model  <-  protocol, policy  <-  store  <-  journey  <-  bin
//! system (the only door to the machine) is used by store and journey; it imports model and protocol
//! ```
//!
//! - [`model`]: plain values that parse, print and compare. What is in one of them was checked at the door.
//! - [`protocol`]: the languages that cross ssh; each file both prints and parses its own.
//! - [`policy`]: decisions as pure functions, verdict and reason together; "now" is an argument.
//! - [`system`]: files, processes, ssh, confinement, clock, log. `unsafe` lives here, in two small files.
//! - [`store`]: backups at rest.
//! - [`journey`]: each story told in order: setup, backup, receive, snapshot, prune, restore.
//! - [`cli`]: what all programs share.

pub mod cli;
pub mod journey;
pub mod model;
pub mod policy;
pub mod protocol;
pub mod store;
pub mod system;
