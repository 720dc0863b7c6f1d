//! Plain values that parse, print and compare. Nothing here touches a file, a process, the
//! environment or a clock; text that comes from outside becomes one of these types or an error.

pub mod backup_record;
pub mod byte_size;
pub mod client_config;
pub mod client_name;
pub mod destination;
pub mod entry;
pub mod escape;
pub mod failure;
pub mod finding;
pub mod grant;
pub mod hold;
pub mod keep;
pub mod mount;
pub mod receipt;
pub mod run;
pub mod run_log;
pub mod server_config;
pub mod snapshot_facts;
pub mod snapshot_name;
pub mod span;
pub mod tree;
pub mod version;

pub use byte_size::ByteSize;
pub use client_name::ClientName;
pub use destination::Destination;
pub use entry::{Entry, Kind};
pub use escape::escaped;
pub use failure::{Failure, Status};
pub use finding::{Finding, Soundness};
pub use grant::Grant;
pub use mount::Mount;
pub use snapshot_name::SnapshotName;
pub use tree::Tree;
pub use version::Version;
