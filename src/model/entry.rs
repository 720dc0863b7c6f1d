//! One file of a tree at rest, with owner, mode, size and time as they were on the client.

use jiff::Timestamp;

use super::Tree;

/// What kind of file it was on the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharDevice,
}

impl Kind {
    /// From the type bits of a `st_mode` (inode(7)); `None` for bits that no file has.
    pub fn from_mode(mode: u32) -> Option<Self> {
        Some(match mode & 0o170_000 {
            0o100_000 => Self::File,
            0o040_000 => Self::Directory,
            0o120_000 => Self::Symlink,
            0o010_000 => Self::Fifo,
            0o140_000 => Self::Socket,
            0o060_000 => Self::BlockDevice,
            0o020_000 => Self::CharDevice,
            _ => return None,
        })
    }

    /// The first letter of `ls -l`.
    pub fn letter(self) -> char {
        match self {
            Self::File => '-',
            Self::Directory => 'd',
            Self::Symlink => 'l',
            Self::Fifo => 'p',
            Self::Socket => 's',
            Self::BlockDevice => 'b',
            Self::CharDevice => 'c',
        }
    }
}

/// One version of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The tree that it stands in.
    pub tree: Tree,
    /// Its path below that tree's root, without a leading slash; any bytes but NUL.
    pub path: Vec<u8>,
    /// Its `st_mode` on the client, type bits included.
    pub mode: u32,
    /// Owner, by number.
    pub uid: u32,
    /// Group, by number.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// When its content last changed.
    pub mtime: Timestamp,
    /// Where it points, for a symbolic link.
    pub target: Option<Vec<u8>>,
}

impl Entry {
    /// The kind that its mode tells; a mode without a known type counts as a regular file.
    pub fn kind(&self) -> Kind {
        Kind::from_mode(self.mode).unwrap_or(Kind::File)
    }

    /// Ten letters as `ls -l` prints them, setuid, setgid and sticky included.
    pub fn mode_string(&self) -> String {
        let mut letters = String::from(self.kind().letter());
        for (shift, special, mark) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
            let bits = self.mode >> shift;
            letters.push(if bits & 4 != 0 { 'r' } else { '-' });
            letters.push(if bits & 2 != 0 { 'w' } else { '-' });
            letters.push(match (bits & 1 != 0, self.mode & special != 0) {
                (true, true) => mark,
                (false, true) => mark.to_ascii_uppercase(),
                (true, false) => 'x',
                (false, false) => '-',
            });
        }
        letters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_print_as_ls_prints_them() {
        for (mode, letters) in [
            (0o100_644, "-rw-r--r--"),
            (0o104_755, "-rwsr-xr-x"),
            (0o102_640, "-rw-r-S---"),
            (0o041_777, "drwxrwxrwt"),
            (0o120_777, "lrwxrwxrwx"),
            (0o060_660, "brw-rw----"),
            (0o020_000, "c---------"),
            (0o140_755, "srwxr-xr-x"),
            (0o010_600, "prw-------"),
        ] {
            let entry = Entry {
                tree: Tree::Current,
                path: b"x".to_vec(),
                mode,
                uid: 0,
                gid: 0,
                size: 0,
                mtime: Timestamp::UNIX_EPOCH,
                target: None,
            };
            assert_eq!(entry.mode_string(), letters);
        }
    }
}
