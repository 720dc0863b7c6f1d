//! The only door to the machine: files, processes, ssh, kernel interfaces, clock, environment, log.
//! It knows how things are done, never whether they should be.

pub mod account;
pub mod clock;
pub mod confine;
pub mod console;
pub mod detach;
pub mod environment;
pub mod errand;
pub mod files;
pub mod fork;
pub mod hooks;
pub mod identity;
pub mod image;
pub mod ioctl;
pub mod lock;
pub mod log;
pub mod memory;
pub mod mounts;
pub mod process;
pub mod progress;
pub mod random;
pub mod signals;
pub mod ssh;
pub mod sshd;
pub mod supervise;
pub mod watch;
