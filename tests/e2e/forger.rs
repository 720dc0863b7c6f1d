//! A client that speaks rsync's protocol by hand and lies: file lists of any names, answers when it likes.
//!
//! Protocol 29, the oldest that every server of today speaks in the way told here: no capabilities, no
//! negotiated checksums, nothing multiplexed towards the server (rsync's sources: flist.c, io.c, sender.c).

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::client::Client;

const PROTOCOL: i32 = 29;
/// "The name's length takes four bytes": says that in each entry, so that nothing is abbreviated.
const LONG_NAME: u8 = 1 << 6;
/// A packet of file data; other tags are messages.
const DATA: u8 = 7;
const ITEM_BASIS: u16 = 1 << 11;
const ITEM_NAME: u16 = 1 << 12;
const ITEM_TRANSFER: u16 = 1 << 15;

/// What the list says about one name.
pub enum Kind<'a> {
    File(i32),
    Directory,
    Link(&'a [u8]),
}

/// One entry of a forged list.
pub struct Entry<'a> {
    pub name: &'a [u8],
    pub kind: Kind<'a>,
}

/// A file that the server asks for.
pub struct Wanted {
    index: i32,
    flags: u16,
    /// How many blocks of an old version the server has, and their sizes.
    sums: [i32; 4],
}

/// A session.
pub struct Forger {
    child: Child,
    to: ChildStdin,
    from: ChildStdout,
    /// Bytes left of the packet at hand.
    left: usize,
    /// What the server said beside the protocol.
    pub said: String,
}

impl Forger {
    /// Logs in and sends this command. An error is a server that does not want to talk.
    pub fn begin(client: &Client, command: &str) -> io::Result<Self> {
        let ssh = client.ssh();
        // A lie may leave both sides waiting.
        let mut bounded = Command::new("timeout");
        bounded
            .arg("40")
            .arg(ssh.get_program())
            .args(ssh.get_args())
            .arg(client.login())
            .arg("--")
            .arg(command);
        let mut child = bounded.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut forger = Forger { child, to, from, left: 0, said: String::new() };
        forger.to.write_all(&PROTOCOL.to_le_bytes())?;
        let mut greeting = [0; 8]; // its version and the seed of its checksums
        forger.from.read_exact(&mut greeting)?;
        Ok(forger)
    }

    /// Sends a list, in any order.
    pub fn list(&mut self, entries: &[Entry<'_>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for entry in entries {
            put_entry(&mut bytes, entry);
        }
        bytes.push(0);
        bytes.extend(0_i32.to_le_bytes()); // no errors on our side
        self.to.write_all(&bytes)?;
        self.to.flush()
    }

    /// Everything that the server wants, up to the end of its first round.
    pub fn wanted(&mut self) -> io::Result<Vec<Wanted>> {
        let mut wanted = Vec::new();
        loop {
            let index = self.number()?;
            if index < 0 {
                return Ok(wanted);
            }
            let flags = u16::from_le_bytes(self.data()?);
            if flags & ITEM_BASIS != 0 {
                let _: [u8; 1] = self.data()?;
            }
            if flags & ITEM_NAME != 0 {
                return Err(io::Error::other("another name: not asked for here"));
            }
            if flags & ITEM_TRANSFER == 0 {
                continue;
            }
            let sums = [self.number()?, self.number()?, self.number()?, self.number()?];
            for _ in 0..sums[0] {
                self.number()?;
                for _ in 0..sums[2] {
                    let _: [u8; 1] = self.data()?;
                }
            }
            wanted.push(Wanted { index, flags: flags & ITEM_TRANSFER, sums });
        }
    }

    /// Sends a file's content, with a checksum that is wrong: with `--inplace` it is written by then.
    pub fn send(&mut self, wanted: &Wanted, content: &[u8]) -> io::Result<()> {
        let mut bytes = wanted.index.to_le_bytes().to_vec();
        bytes.extend(wanted.flags.to_le_bytes());
        wanted.sums.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        put_bytes(&mut bytes, content);
        bytes.extend(0_i32.to_le_bytes());
        bytes.extend([0; 16]);
        bytes.extend((-1_i32).to_le_bytes());
        self.to.write_all(&bytes)?;
        self.to.flush()
    }

    /// One file of a list, as bytes.
    pub fn entry(name: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_entry(&mut bytes, &Entry { name, kind: Kind::File(0) });
        bytes
    }

    /// Stays connected, says nothing and waits until the server has had enough.
    pub fn wait(mut self) {
        let _ = self.from.read_to_end(&mut Vec::new());
        let _ = self.child.wait();
    }

    /// Sends any bytes.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)?;
        self.to.flush()
    }

    /// Hangs up and waits until the server has ended; what it still says is kept.
    pub fn end(mut self) -> String {
        drop(self.to);
        let mut rest = Vec::new();
        let _ = self.from.read_to_end(&mut rest);
        let _ = self.child.wait();
        self.said + &String::from_utf8_lossy(&rest)
    }

    fn number(&mut self) -> io::Result<i32> {
        Ok(i32::from_le_bytes(self.data()?))
    }

    /// The next bytes of data, with the messages between them taken out.
    fn data<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        let mut have = 0;
        while have < N {
            while self.left == 0 {
                self.next_packet()?;
            }
            let count = self.left.min(N - have);
            self.from.read_exact(&mut bytes[have..have + count])?;
            (self.left, have) = (self.left - count, have + count);
        }
        Ok(bytes)
    }

    fn next_packet(&mut self) -> io::Result<()> {
        let mut head = [0; 4];
        self.from.read_exact(&mut head)?;
        let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
        if head[3] == DATA {
            self.left = length;
            return Ok(());
        }
        let mut message = vec![0; length];
        self.from.read_exact(&mut message)?;
        self.said.push_str(&String::from_utf8_lossy(&message));
        Ok(())
    }
}

fn put_entry(bytes: &mut Vec<u8>, entry: &Entry<'_>) {
    let (mode, length, target): (i32, i32, Option<&[u8]>) = match entry.kind {
        Kind::File(length) => (0o100_644, length, None),
        Kind::Directory => (0o040_755, 0, None),
        Kind::Link(target) => (0o120_777, 0, Some(target)),
    };
    bytes.push(LONG_NAME);
    put_bytes(bytes, entry.name);
    for number in [length, 1_700_000_000, mode] {
        bytes.extend(number.to_le_bytes());
    }
    if let Some(target) = target {
        put_bytes(bytes, target);
    }
}

fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend(i32::try_from(bytes.len()).unwrap().to_le_bytes());
    to.extend(bytes);
}
