//! The index: what the walk before the last completed run saw, in one file.
//!
//! ```text
//! magic, length and text of the header (JSON), directories sorted by path, SHA-256 of all before
//! directory = path, flags, its own stamp, number of files, each a name and a stamp
//! ```
//!
//! It is a cache of which nothing is believed before its checksum was right, and every number in it is
//! bounded by the bytes that are there. A file that is damaged, old or somebody else's costs a full run,
//! never a wrong one.

mod coding;

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::policy::changes::{Moment, Named, Stamp};
use crate::system::files;
use coding::{Reader, put_bytes, put_number, put_stamp};

const MAGIC: &[u8] = b"byteback index 1\n";
const CHECKSUM: usize = 32;

/// What the whole of an index stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// When the walk began.
    pub(super) start: Moment,
    /// The kernel's boot id and the seconds since boot at that time.
    pub(super) boot: (String, u64),
    /// What the run was made of.
    pub(super) binding: Binding,
    /// The file systems that were met, by their own ids.
    pub(super) devices: Vec<String>,
    /// Files and directories.
    pub(super) entries: u64,
}

/// Whatever decides what is sent, each as a fingerprint: where one differs, the index is another run's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Binding {
    pub(super) destination: String,
    pub(super) sources: String,
    pub(super) filters: String,
    pub(super) options: String,
}

impl Binding {
    /// What differs first, as the beginning of a sentence.
    pub(super) fn difference(&self, other: &Self) -> Option<&'static str> {
        let differs = [
            (self.destination != other.destination, "the destination is another one"),
            (self.sources != other.sources, "the sources were changed"),
            (self.filters != other.filters, "what is left out was changed"),
            (self.options != other.options, "rsync's options were changed"),
        ];
        differs.into_iter().find_map(|(differs, what)| differs.then_some(what))
    }
}

/// One directory, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) path: Vec<u8>,
    body: Vec<u8>,
}

impl Block {
    /// Files must be sorted by name.
    pub(super) fn new(path: Vec<u8>, stamp: &Stamp, files: &[Named<'_>]) -> Self {
        let mut body = Vec::with_capacity(32 + files.len() * 48);
        put_stamp(&mut body, stamp);
        put_number(&mut body, files.len() as u64);
        for (name, stamp) in files {
            put_bytes(&mut body, name);
            put_stamp(&mut body, stamp);
        }
        body.shrink_to_fit();
        Self { path, body }
    }
}

/// An index that was read.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) header: Header,
    /// What the record of the run that wrote it calls it.
    pub(super) checksum: String,
    bytes: Vec<u8>,
    /// Path and body of each directory, sorted by path.
    blocks: Vec<[std::ops::Range<u32>; 2]>,
}

impl Index {
    /// Reads the file; `None` when there is none.
    ///
    /// # Errors
    /// Why it cannot be used, as the end of a sentence.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, String> {
        match files::read_optional(path) {
            Ok(None) => Ok(None),
            Ok(Some(bytes)) => Self::parse(bytes).ok_or_else(|| "it is damaged".to_owned()).map(Some),
            Err(error) => Err(format!("{error:#}")),
        }
    }

    pub(super) fn parse(bytes: Vec<u8>) -> Option<Self> {
        let (content, checksum) = bytes.split_last_chunk::<CHECKSUM>()?;
        if Sha256::digest(content)[..] != checksum[..] || u32::try_from(bytes.len()).is_err() {
            return None;
        }
        let checksum = hex(checksum);
        let mut reader = Reader::new(content.strip_prefix(MAGIC)?);
        let header = serde_json::from_slice(reader.bytes()?).ok()?;
        let mut blocks = Vec::new();
        let place = |part: &[u8]| {
            let begin = u32::try_from(part.as_ptr() as usize - bytes.as_ptr() as usize).ok()?;
            Some(begin..begin + u32::try_from(part.len()).ok()?)
        };
        while !reader.is_empty() {
            blocks.push([place(reader.bytes()?)?, place(reader.bytes()?)?]);
        }
        let index = Self { header, checksum, bytes, blocks };
        let sorted = index.paths().zip(index.paths().skip(1)).all(|(one, next)| one < next);
        sorted.then_some(index)
    }

    fn part(&self, range: &std::ops::Range<u32>) -> &[u8] {
        self.bytes.get(range.start as usize..range.end as usize).unwrap_or_default()
    }

    /// All directories.
    pub(super) fn paths(&self) -> impl Iterator<Item = &[u8]> {
        self.blocks.iter().map(|[path, _]| self.part(path))
    }

    /// A directory's own stamp and its files; `None` when it was not there, or makes no sense.
    pub(super) fn directory(&self, path: &[u8]) -> Option<(Stamp, Vec<Named<'_>>)> {
        let at = self.blocks.binary_search_by(|[known, _]| self.part(known).cmp(path)).ok()?;
        let mut reader = Reader::new(self.part(&self.blocks[at][1]));
        let stamp = reader.stamp()?;
        let count = usize::try_from(reader.number()?).ok()?;
        let mut files = Vec::with_capacity(count.min(reader.len()));
        for _ in 0..count {
            files.push((reader.bytes()?, reader.stamp()?));
        }
        reader.is_empty().then_some((stamp, files))
    }
}

/// Writes an index; gives its checksum.
///
/// # Errors
/// When the file cannot be written; the one before is then intact.
pub(super) fn write(path: &Path, header: &Header, blocks: &[Block]) -> Result<String> {
    let bytes = serialize(header, blocks)?;
    files::replace(path, &bytes, 0o600)?;
    Ok(hex(&bytes[bytes.len() - CHECKSUM..]))
}

/// The blocks must be sorted by path.
fn serialize(header: &Header, blocks: &[Block]) -> Result<Vec<u8>> {
    let size: usize = blocks.iter().map(|block| block.path.len() + block.body.len() + 8).sum();
    let mut bytes = Vec::with_capacity(size + 4096);
    bytes.extend_from_slice(MAGIC);
    put_bytes(&mut bytes, &serde_json::to_vec(header)?);
    for block in blocks {
        put_bytes(&mut bytes, &block.path);
        put_bytes(&mut bytes, &block.body);
    }
    let checksum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&checksum);
    Ok(bytes)
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::changes::{DIRECTORY, REGULAR};
    use proptest::prelude::*;

    fn stamp(inode: u64) -> Stamp {
        let (ctime, mtime) = ((1_790_000_000, 123_456_789), (-5, 999_999_999));
        Stamp { kind: REGULAR, device: 1, inode, ctime, mtime, size: 12345, linked: false, certain: true }
    }

    fn sample() -> (Header, Vec<Block>) {
        let header = Header { start: (1_790_000_100, 7), entries: 4, ..Header::default() };
        let directory = Stamp { kind: DIRECTORY, ..stamp(2) };
        let files: [Named<'_>; 2] =
            [(b"a", stamp(3)), (b"b\xff\n", Stamp { linked: true, ..stamp(u64::MAX) })];
        let blocks = vec![
            Block::new(Vec::new(), &directory, &files),
            Block::new(b"etc".to_vec(), &directory, &[]),
            Block::new(b"etc/x".to_vec(), &Stamp { certain: false, ..directory }, &files[..1]),
        ];
        (header, blocks)
    }

    #[test]
    fn what_is_written_is_read() {
        let (header, blocks) = sample();
        let index = Index::parse(serialize(&header, &blocks).unwrap()).unwrap();
        assert_eq!(index.header, header);
        assert_eq!(index.paths().collect::<Vec<_>>(), [&b""[..], b"etc", b"etc/x"]);
        let (own, files) = index.directory(b"").unwrap();
        assert_eq!((own.kind, files.len()), (DIRECTORY, 2));
        assert_eq!(files[1], (&b"b\xff\n"[..], Stamp { linked: true, ..stamp(u64::MAX) }));
        assert!(!index.directory(b"etc/x").unwrap().0.certain);
        assert_eq!(index.directory(b"et"), None);
    }

    #[test]
    fn no_byte_can_be_changed_nor_a_part_cut_off_unnoticed() {
        let (header, blocks) = sample();
        let good = serialize(&header, &blocks).unwrap();
        for at in 0..good.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                assert!(Index::parse(bad).is_none(), "byte {at}");
            }
            assert!(Index::parse(good[..at].to_vec()).is_none(), "cut at {at}");
        }
    }

    #[test]
    fn a_file_takes_less_than_a_hundred_bytes() {
        let names: Vec<String> = (0..1000).map(|n| format!("a usual name of a file {n:05}.txt")).collect();
        let files: Vec<Named<'_>> = names.iter().map(|name| (name.as_bytes(), stamp(1 << 40))).collect();
        let block = Block::new(b"home/somebody/documents".to_vec(), &stamp(2), &files);
        assert!(block.body.len() < 100 * files.len(), "{}", block.body.len());
    }

    proptest! {
        #[test]
        fn bytes_with_a_right_checksum_but_no_sense_are_no_panic(
            content in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let header = serde_json::to_vec(&Header::default()).unwrap();
            let mut bytes = MAGIC.to_vec();
            put_bytes(&mut bytes, &header);
            bytes.extend_from_slice(&content);
            let checksum = Sha256::digest(&bytes);
            bytes.extend_from_slice(&checksum);
            if let Some(index) = Index::parse(bytes) {
                for path in index.paths() {
                    let _ = index.directory(path);
                }
            }
        }
    }
}
