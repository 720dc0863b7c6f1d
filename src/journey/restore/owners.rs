//! Whose a file is on another machine: owners and groups of the backup as numbers of this machine. Pure.
//!
//! A backup keeps numbers. What name a number had stands in the backup's own passwd(5) and group(5),
//! and what number the name has here is asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::model::{Failure, escaped};

/// What was asked for.
#[derive(Debug, Default)]
pub struct Owners {
    /// Each owner and group that has a name in the backup gets the number that this name has here.
    pub by_name: bool,
    /// What is given to whom instead.
    pub users: Vec<Mapping>,
    /// The same for groups.
    pub groups: Vec<Mapping>,
}

impl Owners {
    /// Whether files simply keep their numbers.
    pub(super) fn are_kept(&self) -> bool {
        !self.by_name && self.users.is_empty() && self.groups.is_empty()
    }

    /// Whether it must be known what names the backup's numbers have.
    pub(super) fn need_names(&self) -> bool {
        let is_named = |mapping: &Mapping| matches!(mapping.from, Who::Name(_));
        self.by_name || self.users.iter().chain(&self.groups).any(is_named)
    }
}

/// `FROM:TO`: names or numbers, FROM in the backup (`*` for everybody else), TO on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    from: Who,
    to: Who,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Who {
    Everybody,
    Number(u32),
    Name(String),
}

/// The text is no [`Mapping`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingError;

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write FROM:TO, each a name or a number, FROM as the backup has it (* for all others)")
    }
}

impl std::error::Error for MappingError {}

impl FromStr for Mapping {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, MappingError> {
        let (from, to) = text.split_once(':').ok_or(MappingError)?;
        let mapping = Self { from: Who::parse(from)?, to: Who::parse(to)? };
        if mapping.to == Who::Everybody { Err(MappingError) } else { Ok(mapping) }
    }
}

impl Who {
    fn parse(text: &str) -> Result<Self, MappingError> {
        if text == "*" {
            return Ok(Self::Everybody);
        }
        if text.is_empty() || text.contains([':', ',', '*', '?', '[']) || text.starts_with('-') {
            return Err(MappingError);
        }
        Ok(text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Number))
    }
}

/// One of the two databases: users or groups.
pub(super) struct Database<'a> {
    /// The backup's file, `None` where it has none.
    pub(super) backed_up: Option<&'a [u8]>,
    /// What is looked up here: `user` or `group`.
    pub(super) kind: &'static str,
    /// The number that a name has on this machine.
    pub(super) here: &'a dyn Fn(&str) -> Option<u32>,
}

/// The value of rsync's `--usermap` or `--groupmap`, and names of the backup that nobody has here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Map {
    /// `FROM:TO,…` in numbers; empty when nothing changes.
    pub(super) rule: String,
    /// They keep their numbers.
    pub(super) unknown: Vec<String>,
}

impl Database<'_> {
    /// Works the map out. What was asked for by hand comes first, and rsync takes the first that fits.
    ///
    /// # Errors
    /// When a name is known neither there nor here.
    pub(super) fn map(&self, asked: &[Mapping], by_name: bool) -> Result<Map, Failure> {
        let numbers = self.backed_up.map(numbers).unwrap_or_default();
        if by_name && self.backed_up.is_none() {
            return Err(self.no_names());
        }
        let (mut map, mut rules, mut others) = (Map::default(), Vec::new(), None);
        for Mapping { from, to } in asked {
            let to = self.number_here(to)?;
            match from {
                Who::Everybody => others = Some(format!("*:{to}")),
                Who::Number(number) => rules.push(format!("{number}:{to}")),
                Who::Name(name) => rules.push(format!("{}:{to}", self.number_there(&numbers, name)?)),
            }
        }
        if by_name {
            for (name, number) in &numbers {
                match (self.here)(name) {
                    Some(here) => rules.push(format!("{number}:{here}")),
                    None => map.unknown.push(name.clone()),
                }
            }
        }
        map.rule = rules.into_iter().chain(others).collect::<Vec<_>>().join(",");
        Ok(map)
    }

    fn number_there(&self, numbers: &BTreeMap<String, u32>, name: &str) -> Result<u32, Failure> {
        match (self.backed_up, numbers.get(name)) {
            (_, Some(number)) => Ok(*number),
            (None, None) => Err(self.no_names()),
            (Some(_), None) => Err(Failure::misuse(format!(
                "the backup knows no {} {}",
                self.kind,
                escaped(name.as_bytes())
            ))),
        }
    }

    fn number_here(&self, who: &Who) -> Result<u32, Failure> {
        match who {
            Who::Number(number) => Ok(*number),
            Who::Name(name) => (self.here)(name).ok_or_else(|| {
                Failure::misuse(format!("this machine knows no {} {}", self.kind, escaped(name.as_bytes())))
            }),
            Who::Everybody => Err(Failure::misuse(MappingError.to_string())),
        }
    }

    fn no_names(&self) -> Failure {
        let file = if self.kind == "user" { "/etc/passwd" } else { "/etc/group" };
        Failure::misuse(format!(
            "the snapshot holds no {file}, so nobody knows the name of a {0} in it; map numbers with --map-{0}",
            self.kind
        ))
    }
}

/// Name and number of each line that holds them; of two lines with one name the first counts, as in
/// getpwnam(3).
fn numbers(file: &[u8]) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for line in String::from_utf8_lossy(file).lines() {
        let mut fields = line.split(':');
        let (name, number) = (fields.next().unwrap_or_default(), fields.nth(1).unwrap_or_default());
        if let Ok(number) = number.parse()
            && !name.is_empty()
        {
            found.entry(name.to_owned()).or_insert(number);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\njo:x:1000:1000::/home/jo:/bin/sh\n+::::::\n\xff\n\
        gone:x:1001:1001:::\njo:x:7:7:::\n";

    fn map(asked: &[&str], by_name: bool) -> Result<(String, Vec<String>), String> {
        let here = |name: &str| match name {
            "root" => Some(0),
            "jo" => Some(2000),
            "ann" => Some(1001),
            _ => None,
        };
        let asked: Vec<Mapping> = asked.iter().map(|text| text.parse().unwrap()).collect();
        let database = Database { backed_up: Some(PASSWD), kind: "user", here: &here };
        database.map(&asked, by_name).map(|map| (map.rule, map.unknown)).map_err(|failure| failure.message)
    }

    #[test]
    fn owners_get_the_number_that_their_name_has_here() {
        assert_eq!(map(&[], true), Ok(("1000:2000,0:0".to_owned(), vec!["gone".to_owned()])));
        assert_eq!(map(&[], false), Ok((String::new(), Vec::new())));
    }

    #[test]
    fn what_is_asked_for_by_hand_comes_first_and_everybody_last() {
        let asked = ["*:65534", "jo:ann", "33:jo"];
        assert_eq!(map(&asked, false).unwrap().0, "1000:1001,33:2000,*:65534");
        assert!(map(&asked, true).unwrap().0.starts_with("1000:1001,33:2000,1000:2000"));
    }

    #[test]
    fn a_name_that_nobody_has_is_an_error() {
        assert_eq!(map(&["nobody-there:0"], false).unwrap_err(), "the backup knows no user nobody-there");
        assert_eq!(map(&["jo:nobody-here"], false).unwrap_err(), "this machine knows no user nobody-here");
        let database = Database { backed_up: None, kind: "group", here: &|_| None };
        assert!(database.map(&[], true).unwrap_err().message.contains("no /etc/group"));
        assert!(database.map(&["5:6".parse().unwrap()], false).is_ok(), "numbers need no names");
    }

    #[test]
    fn nothing_that_rsync_could_read_as_more_than_one_rule_is_a_mapping() {
        for bad in ["", "a", ":", "a:", ":b", "a:b:c", "a:*", "a,b:c", "a*:b", "[a]:b", "-1:2", "a:-x"] {
            assert_eq!(bad.parse::<Mapping>(), Err(MappingError), "{bad}");
        }
    }
}
