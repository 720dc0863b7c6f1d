//! One line of `/proc/self/mountinfo` (proc(5)), as far as byteback cares.

use std::path::PathBuf;

/// Something that is mounted in this machine's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The kernel's number for it.
    pub id: i32,
    /// The mount that it sits on.
    pub parent: i32,
    /// Where it is mounted.
    pub point: PathBuf,
    /// Its file system's type, such as `ext4`.
    pub fs_type: String,
    /// Whether a directory is mounted there; single files can be mounted too.
    pub is_directory: bool,
}
