//! The name of a client: always one path component below the store, never an option.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 1 to 253 bytes of `[A-Za-z0-9._-]` that start with a letter or digit and hold no `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientName(String);

/// Why a text is no [`ClientName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientNameError {
    /// Nothing there.
    Empty,
    /// More than 253 bytes.
    TooLong,
    /// Does not start with a letter or digit.
    BadStart,
    /// A byte outside `[A-Za-z0-9._-]`.
    BadByte,
    /// Holds `..`.
    DotDot,
}

impl fmt::Display for ClientNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::TooLong => "it is longer than 253 bytes",
            Self::BadStart => "it does not start with a letter or digit",
            Self::BadByte => "only letters, digits, '.', '_' and '-' may stand in it",
            Self::DotDot => "'..' may not stand in it",
        })
    }
}

impl std::error::Error for ClientNameError {}

impl ClientName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientName {
    type Err = ClientNameError;

    fn from_str(text: &str) -> Result<Self, ClientNameError> {
        let bytes = text.as_bytes();
        let Some(first) = bytes.first() else { return Err(ClientNameError::Empty) };
        if bytes.len() > 253 {
            return Err(ClientNameError::TooLong);
        }
        if !bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b)) {
            return Err(ClientNameError::BadByte);
        }
        if !first.is_ascii_alphanumeric() {
            return Err(ClientNameError::BadStart);
        }
        if text.contains("..") {
            return Err(ClientNameError::DotDot);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ClientName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ClientName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format_args!("no client's name: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn good_names_are_kept_as_they_are() {
        for name in ["a", "web1.example.org", "0", "A_b-c.d", &"x".repeat(253)] {
            assert_eq!(name.parse::<ClientName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn bad_names_are_refused_with_their_reason() {
        use ClientNameError::{BadByte, BadStart, DotDot, Empty, TooLong};
        let long = "x".repeat(254);
        for (name, why) in [
            ("", Empty),
            (long.as_str(), TooLong),
            ("-rf", BadStart),
            (".ssh", BadStart),
            ("_a", BadStart),
            ("a/b", BadByte),
            ("a b", BadByte),
            ("a\n", BadByte),
            ("é", BadByte),
            ("a..b", DotDot),
        ] {
            assert_eq!(name.parse::<ClientName>(), Err(why), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_one_path_component_and_no_option(text in ".{0,20}") {
            if let Ok(name) = text.parse::<ClientName>() {
                let name = name.as_str();
                prop_assert!(!name.starts_with('-') && !name.starts_with('.'));
                prop_assert!(!name.contains('/') && !name.contains('\0') && !name.contains(".."));
            }
        }
    }
}
