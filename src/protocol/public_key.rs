//! One OpenSSH public key: `TYPE BASE64 [COMMENT]`, as in a `.pub` file (sshd(8), "`AUTHORIZED_KEYS`
//! FILE FORMAT"; the blob is RFC 4253 section 6.6, RFC 5656, RFC 8709, and OpenSSH's PROTOCOL.u2f).
//!
//! A client sends it at setup, and it ends in `authorized_keys`, where a newline would be a second line
//! and an option would be a right. So there is never an option, a control character or a second key in
//! it, and each key has exactly one blob: two spellings of one key would hide that a key is taken.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

/// OpenSSH's own bound for a key line is 16 KiB; the longest RSA key that it takes needs 3 KiB.
const LONGEST: usize = 8 * 1024;

/// A key that may stand in `authorized_keys`. Two keys are equal when their blobs are; the comment does
/// not count.
#[derive(Debug, Clone)]
pub struct PublicKey {
    algorithm: Algorithm,
    blob: Vec<u8>,
    comment: String,
}

/// Why a text is no [`PublicKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicKeyError {
    /// More than 8 KiB.
    TooLong,
    /// A newline or another control character: more than one key, or something else.
    ControlCharacter,
    /// The first word is no key type that sshd lets log in (DSA and certificates are not taken).
    UnknownType,
    /// Nothing behind the type, or no base64.
    BadBase64,
    /// The base64 holds something else than one key of that type in its one proper form.
    BadBlob,
}

impl fmt::Display for PublicKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "it is longer than 8 KiB",
            Self::ControlCharacter => "it is not exactly one line",
            Self::UnknownType => {
                "it does not start with a key type such as ssh-ed25519; send the one line of the .pub file"
            }
            Self::BadBase64 => "there is no base64 behind its type",
            Self::BadBlob => "its base64 does not hold one key of its type",
        })
    }
}

impl std::error::Error for PublicKeyError {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Ed25519,
    EcdsaP256,
    EcdsaP384,
    EcdsaP521,
    Rsa,
    SkEd25519,
    SkEcdsaP256,
}

/// What stands in a blob behind the type, each as a length of four bytes and that many bytes.
#[derive(Clone, Copy)]
enum Field {
    /// A fixed number of bytes.
    Bytes(usize),
    /// Exactly this word.
    Word(&'static str),
    /// An uncompressed point: 4, then two numbers of this many bytes.
    Point(usize),
    /// A positive number without a superfluous zero in front.
    Number,
    /// The application of a security key, e.g. `ssh:`.
    Text,
}

impl Algorithm {
    const ALL: [Self; 7] = [
        Self::Ed25519,
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::EcdsaP521,
        Self::Rsa,
        Self::SkEd25519,
        Self::SkEcdsaP256,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::EcdsaP256 => "ecdsa-sha2-nistp256",
            Self::EcdsaP384 => "ecdsa-sha2-nistp384",
            Self::EcdsaP521 => "ecdsa-sha2-nistp521",
            Self::Rsa => "ssh-rsa",
            Self::SkEd25519 => "sk-ssh-ed25519@openssh.com",
            Self::SkEcdsaP256 => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    fn fields(self) -> &'static [Field] {
        match self {
            Self::Ed25519 => &[Field::Bytes(32)],
            Self::EcdsaP256 => &[Field::Word("nistp256"), Field::Point(32)],
            Self::EcdsaP384 => &[Field::Word("nistp384"), Field::Point(48)],
            Self::EcdsaP521 => &[Field::Word("nistp521"), Field::Point(66)],
            Self::Rsa => &[Field::Number, Field::Number],
            Self::SkEd25519 => &[Field::Bytes(32), Field::Text],
            Self::SkEcdsaP256 => &[Field::Word("nistp256"), Field::Point(32), Field::Text],
        }
    }
}

impl Field {
    fn accepts(self, bytes: &[u8]) -> bool {
        match self {
            Self::Bytes(length) => bytes.len() == length,
            Self::Word(word) => bytes == word.as_bytes(),
            Self::Point(half) => bytes.len() == 1 + 2 * half && bytes[0] == 4,
            Self::Number => match bytes {
                [0, second, ..] => *second >= 0x80,
                [first, ..] => (1..0x80).contains(first),
                [] => false,
            },
            Self::Text => !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic),
        }
    }
}

impl PublicKey {
    /// Reads exactly one key without options.
    ///
    /// # Errors
    /// When it is anything else; see [`PublicKeyError`].
    pub fn parse(text: &str) -> Result<Self, PublicKeyError> {
        if text.len() > LONGEST {
            return Err(PublicKeyError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(PublicKeyError::ControlCharacter);
        }
        Self::at_start_of(text.as_bytes())
    }

    /// The key at the start of what a person wrote into a file: fields may stand apart by tabs, and the
    /// comment may hold any bytes. What is no text in it is left out.
    pub(super) fn at_start_of(line: &[u8]) -> Result<Self, PublicKeyError> {
        let (name, rest) = first_word(line);
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name().as_bytes() == name);
        let algorithm = algorithm.ok_or(PublicKeyError::UnknownType)?;
        let (body, comment) = first_word(rest);
        let blob = STANDARD.decode(body).map_err(|_| PublicKeyError::BadBase64)?;
        if blob.is_empty() {
            return Err(PublicKeyError::BadBase64);
        }
        if !is_blob_of(algorithm, &blob) {
            return Err(PublicKeyError::BadBlob);
        }
        let comment =
            String::from_utf8_lossy(comment).chars().filter(|c| !c.is_control()).collect::<String>();
        Ok(Self { algorithm, blob, comment: comment.trim().to_owned() })
    }

    /// The type, e.g. `ssh-ed25519`.
    pub fn algorithm(&self) -> &'static str {
        self.algorithm.name()
    }

    /// The key as it crosses the wire, its type inside.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// As ssh-keygen(1) prints it: `SHA256:` and the digest of the blob in base64 without padding.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&self.blob)))
    }

    /// What stood behind it, perhaps nothing.
    pub fn comment(&self) -> &str {
        &self.comment
    }
}

/// The bytes up to the first space or tab, and what follows those blanks.
fn first_word(line: &[u8]) -> (&[u8], &[u8]) {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let end = line.iter().position(is_blank).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let blanks = rest.iter().position(|byte| !is_blank(byte)).unwrap_or(rest.len());
    (word, &rest[blanks..])
}

fn is_blob_of(algorithm: Algorithm, blob: &[u8]) -> bool {
    let mut rest = blob;
    let mut fields = std::iter::once(Field::Word(algorithm.name())).chain(algorithm.fields().iter().copied());
    let all_fit = fields.all(|field| match take_string(rest) {
        Some((bytes, behind)) => {
            rest = behind;
            field.accepts(bytes)
        }
        None => false,
    });
    all_fit && rest.is_empty()
}

/// A `string` of RFC 4251 section 5 and what follows it.
fn take_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.blob == other.blob
    }
}

impl Eq for PublicKey {}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.blob.hash(state);
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        Self::parse(text)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm(), STANDARD.encode(&self.blob))?;
        if self.comment.is_empty() { Ok(()) } else { write!(f, " {}", self.comment) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM94et2jwUVZWxvrGnZVvgs4IpEPtg8MBO3TYdb/xqhE root@web1";
    const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBOqGSjlUeOrmpxPSN\
                         TLLSLVW5LNCrOJKnxVnTzxGhXj2q8lqX0Jm7qZvXea8uPDdcum3ToHcd/4oPahEBfu/TPo=";

    fn string(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    fn line(name: &str, fields: &[&[u8]]) -> String {
        let blob: Vec<u8> =
            std::iter::once(name.as_bytes()).chain(fields.iter().copied()).flat_map(string).collect();
        format!("{name} {}", STANDARD.encode(blob))
    }

    #[test]
    fn the_fingerprint_is_what_ssh_keygen_prints() {
        let key = PublicKey::parse(
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM70ffQs60HzVF5D/UuO+nBwsWRLbz7KD7Jmf4PLTgbl x",
        )
        .unwrap();
        assert_eq!(key.fingerprint(), "SHA256:VCZzW1GYhAfgs4hMbKwvN4y2TwN0BDj1qkMs/G+xO/I");
    }

    #[test]
    fn keys_of_every_type_are_read_and_printed_as_they_were() {
        let modulus = [&[0, 0xc0][..], &[7; 255]].concat();
        let point = |half: usize| [&[4][..], &vec![9; 2 * half]].concat();
        for text in [
            ED25519.to_owned(),
            ECDSA.to_owned(),
            line("ssh-rsa", &[&[1, 0, 1], &modulus]),
            line("ecdsa-sha2-nistp521", &[b"nistp521", &point(66)]),
            line("sk-ssh-ed25519@openssh.com", &[&[1; 32], b"ssh:"]),
            line("sk-ecdsa-sha2-nistp256@openssh.com", &[b"nistp256", &point(32), b"ssh:"]),
        ] {
            let key = PublicKey::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(key.to_string(), text);
            assert_eq!(Some(key.algorithm()), text.split(' ').next());
        }
    }

    #[test]
    fn keys_are_equal_by_what_they_are_not_by_their_comment() {
        let one = PublicKey::parse(ED25519).unwrap();
        let other = PublicKey::parse(&ED25519.replace("root@web1", "someone else, elsewhere")).unwrap();
        assert_eq!(one, other);
        assert_eq!((one.comment(), other.comment()), ("root@web1", "someone else, elsewhere"));
        assert_ne!(one, PublicKey::parse(ECDSA).unwrap());
    }

    #[test]
    fn what_is_not_exactly_one_key_is_refused() {
        use PublicKeyError::{BadBase64, BadBlob, ControlCharacter, TooLong, UnknownType};
        let long = format!("{ED25519}{}", " x".repeat(LONGEST));
        for (text, why) in [
            (String::new(), UnknownType),
            (format!("{ED25519}\n"), ControlCharacter),
            (format!("{ED25519}\n{ECDSA}"), ControlCharacter),
            (format!("{ED25519}\r"), ControlCharacter),
            (format!(" {ED25519}"), UnknownType),
            (format!("restrict {ED25519}"), UnknownType),
            (format!("command=\"sh\" {ED25519}"), UnknownType),
            (ED25519.replacen("ssh-ed25519", "ssh-dss", 1), UnknownType),
            (ED25519.replacen("ssh-ed25519", "ssh-ed25519-cert-v01@openssh.com", 1), UnknownType),
            (ED25519.replacen("ssh-ed25519", "ssh-rsa", 1), BadBlob),
            ("ssh-ed25519".to_owned(), BadBase64),
            ("ssh-ed25519 not_base64".to_owned(), BadBase64),
            (ECDSA.replace('=', ""), BadBase64),
            (line("ssh-ed25519", &[&[1; 31]]), BadBlob),
            (line("ssh-ed25519", &[&[1; 32], b""]), BadBlob),
            (long, TooLong),
        ] {
            assert_eq!(PublicKey::parse(&text).err(), Some(why), "{text:.60}");
        }
    }

    #[test]
    fn a_second_spelling_of_the_same_key_is_refused() {
        let plain = [&[0, 0xc0][..], &[7; 255]].concat();
        let padded = [&[0][..], &plain].concat();
        assert!(PublicKey::parse(&line("ssh-rsa", &[&[1, 0, 1], &plain])).is_ok());
        assert!(PublicKey::parse(&line("ssh-rsa", &[&[1, 0, 1], &padded])).is_err());
        assert!(PublicKey::parse(&line("ssh-rsa", &[&[0, 1, 0, 1], &plain])).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_one_line_that_reads_back(comment in ".{0,40}") {
            let text = format!("{} {comment}", ED25519.rsplit_once(' ').unwrap().0);
            if let Ok(key) = PublicKey::parse(&text) {
                let printed = key.to_string();
                prop_assert!(!printed.chars().any(char::is_control));
                prop_assert_eq!(PublicKey::parse(&printed).unwrap().to_string(), printed);
            }
        }

        #[test]
        fn no_blob_makes_the_parser_panic(blob: Vec<u8>) {
            let _ = PublicKey::parse(&format!("ssh-ed25519 {}", STANDARD.encode(blob)));
        }
    }
}
