//! The product against the real thing: btrfs in a loop device, a private sshd on loopback, stock rsync.
//!
//! Run by `make test`, as root, inside `tests/sandbox`. Each test makes a world of its own (a store, its Unix
//! user, its sshd, its clients) and may do with it what it likes; nothing is shared but the sandbox.
#![allow(clippy::disallowed_methods, reason = "tests start programs and read their environment")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]
#![allow(clippy::print_stderr, reason = "a failed test shows the server's logs")]
#![allow(clippy::print_stdout, reason = "a deed that another user did tells what it found")]
#![allow(unreachable_pub, reason = "a test program exports nothing; pub says what is for the other modules")]

mod admin;
mod attacks;
mod bombs;
mod cage;
mod changes;
mod client;
mod compare;
mod elsewhere;
mod find;
mod forger;
mod former;
mod growth;
mod limits;
mod load;
mod matrix;
mod prune;
mod restore;
mod run;
mod setup;
mod soak;
mod space;
mod store;
mod torture;
mod trouble;
mod versions;
mod ways;
mod world;

mod backup;
