//! What the files in a client's `/etc/byteback` say. Each file holds one value or one list, each is
//! optional, and those of the former program are read as they are.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;

use super::Destination;
use super::span::Span;

/// Where a client's files lie unless `--config-dir` says otherwise.
pub const DEFAULT_DIRECTORY: &str = "/etc/byteback";
/// The file with the destination.
pub const DESTINATION: &str = "destination";
/// The private ssh key; its public half has `.pub` behind it.
pub const KEY: &str = "key";
/// The server's pinned host key.
pub const KNOWN_HOSTS: &str = "known_hosts";
/// ssh's own configuration for the way to the server.
pub const SSH_CONFIG: &str = "ssh_config";
/// Patterns for rsync's `--exclude-from`.
pub const EXCLUDES: &str = "excludes";
/// Rules for rsync's `merge`.
pub const RSYNC_FILTER: &str = "rsync_filter";
/// More options for rsync.
pub const RSYNC_FLAGS: &str = "rsync_flags";
/// Seconds after which a silent connection is given up.
pub const IO_TIMEOUT: &str = "io_timeout";
/// Programs that run before a backup.
pub const PRE_BACKUP: &str = "pre-backup.d";
/// Programs that run after a backup that went well.
pub const POST_BACKUP: &str = "post-backup.d";

/// The bytes of the files that hold values; `None` for a file that is not there.
#[derive(Debug, Clone, Default)]
pub struct ClientFiles {
    /// Of [`DESTINATION`].
    pub destination: Option<Vec<u8>>,
    /// Of [`IO_TIMEOUT`].
    pub io_timeout: Option<Vec<u8>>,
    /// Of [`RSYNC_FLAGS`].
    pub rsync_flags: Option<Vec<u8>>,
}

/// What those files say. An empty file says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientConfig {
    /// The server.
    pub destination: Option<Destination>,
    /// How long a connection may be silent.
    pub io_timeout: Option<Span>,
    /// rsync's further options, in their order.
    pub rsync_flags: Vec<OsString>,
}

/// A file that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfigError {
    /// Its name within the directory.
    pub file: &'static str,
    /// Why, as the end of a sentence.
    pub why: String,
}

impl fmt::Display for ClientConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.why)
    }
}

impl std::error::Error for ClientConfigError {}

impl ClientConfig {
    /// Reads the values.
    ///
    /// # Errors
    /// Names the file whose value makes no sense; nothing is guessed.
    pub fn parse(files: &ClientFiles) -> Result<Self, ClientConfigError> {
        Ok(Self {
            destination: value(DESTINATION, files.destination.as_deref())?,
            io_timeout: value(IO_TIMEOUT, files.io_timeout.as_deref())?,
            rsync_flags: words(files.rsync_flags.as_deref().unwrap_or_default()),
        })
    }
}

/// The one value of a file, white space around it cut off.
fn value<T>(file: &'static str, bytes: Option<&[u8]>) -> Result<Option<T>, ClientConfigError>
where
    T: std::str::FromStr,
    T::Err: fmt::Display,
{
    let error = |why: String| ClientConfigError { file, why };
    let Some(bytes) = bytes else { return Ok(None) };
    let text = std::str::from_utf8(bytes).map_err(|_| error("it is not UTF-8 text".to_owned()))?;
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|why: T::Err| error(why.to_string()))
}

/// One or more words a line; a word that starts with `#` and all behind it is a comment.
fn words(bytes: &[u8]) -> Vec<OsString> {
    let of_line = |line: &[u8]| -> Vec<OsString> {
        line.split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .take_while(|word| !word.starts_with(b"#"))
            .map(|word| OsString::from_vec(word.to_vec()))
            .collect()
    };
    bytes.split(|byte| *byte == b'\n').flat_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_of_the_former_program_are_read_as_they_are() {
        let files = ClientFiles {
            destination: Some(b"byteback@backup.example.org:".to_vec()),
            io_timeout: Some(b"3600\n".to_vec()),
            rsync_flags: Some(b"# slow line\n--bwlimit=500 --compress\n\n  --whole-file # why\n".to_vec()),
        };
        let config = ClientConfig::parse(&files).unwrap();
        assert_eq!(config.destination.unwrap().host(), "backup.example.org");
        assert_eq!(config.io_timeout, Some(Span::hours(1)));
        assert_eq!(config.rsync_flags, ["--bwlimit=500", "--compress", "--whole-file"]);
    }

    #[test]
    fn no_file_and_an_empty_file_say_nothing() {
        let empty = ClientFiles {
            destination: Some(b"\n".to_vec()),
            io_timeout: Some(Vec::new()),
            rsync_flags: Some(b"#\n".to_vec()),
        };
        for files in [ClientFiles::default(), empty] {
            assert_eq!(ClientConfig::parse(&files).unwrap(), ClientConfig::default());
        }
    }

    #[test]
    fn an_error_names_its_file() {
        let bad = |files: ClientFiles| ClientConfig::parse(&files).unwrap_err().to_string();
        let io_timeout = bad(ClientFiles { io_timeout: Some(b"soon".to_vec()), ..Default::default() });
        assert!(io_timeout.starts_with("io_timeout: "), "{io_timeout}");
        let destination = bad(ClientFiles { destination: Some(b"host".to_vec()), ..Default::default() });
        assert!(destination.starts_with("destination: "), "{destination}");
        let bytes = bad(ClientFiles { destination: Some(b"\xff:".to_vec()), ..Default::default() });
        assert!(bytes.contains("UTF-8"), "{bytes}");
    }

    proptest! {
        #[test]
        fn a_flag_is_never_empty_nor_a_comment(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            for word in words(&bytes) {
                prop_assert!(!word.is_empty() && !word.as_encoded_bytes().starts_with(b"#"));
            }
        }
    }
}
