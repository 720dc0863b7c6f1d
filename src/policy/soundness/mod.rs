//! How sound a server is: facts that somebody saw, judged by what follows from them. A finding is bad
//! when the gate refuses to work or is never reached, weak when a promise of byteback(7) holds less.

mod files;
mod kernel;
mod rsync;
mod sshd;

pub use files::{Seen, Thing, configuration, mount, thing};
pub use kernel::{Kernel, kernel};
pub use rsync::rsync;
pub use sshd::{Login, Settings, login, sshd};
