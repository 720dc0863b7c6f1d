//! What may stand behind an option's `=`. A value is printed afresh from what was understood: a number
//! from the number, a word from our own list; only a few texts with a narrow alphabet are repeated.

/// How a value is read.
pub(super) enum Takes {
    /// No value at all.
    Nothing,
    /// A whole number from the first to the second.
    Number(i64, i64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One or two of these words, with a comma between them.
    UpToTwoOf(&'static [&'static str]),
    /// `--info`: words with a level, with commas between them.
    Info,
    /// One name that starts with a dot, as a second word or behind `=`.
    DotName,
    /// At least and at most so many letters, digits and these.
    Text(usize, usize, &'static [u8]),
    /// UTF-8 and nothing else: any other name makes the C library load a converter.
    Utf8,
}

/// The words of `rsync --info=help`, `HELP` left out: it prints into the protocol.
const INFO: [&str; 15] = [
    "ALL", "BACKUP", "COPY", "DEL", "FLIST", "MISC", "MOUNT", "NAME", "NONE", "NONREG", "PROGRESS", "REMOVE",
    "SKIP", "STATS", "SYMSAFE",
];

impl Takes {
    /// The value as it is printed; `None` when it is not allowed.
    pub(super) fn read(&self, value: &[u8]) -> Option<String> {
        let value = std::str::from_utf8(value).ok()?;
        match self {
            Self::Nothing => value.is_empty().then(String::new),
            Self::Number(least, most) => number(value, *least, *most),
            Self::OneOf(words) => one_of(value, words),
            Self::UpToTwoOf(words) => up_to_two_of(value, words),
            Self::Info => info(value),
            Self::DotName => is_dot_name(value).then(|| value.to_owned()),
            Self::Text(least, most, extra) => {
                let fits = |b: u8| b.is_ascii_alphanumeric() || extra.contains(&b);
                ((*least..=*most).contains(&value.len()) && value.bytes().all(fits)).then(|| value.to_owned())
            }
            Self::Utf8 => (value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8"))
                .then(|| "utf-8".to_owned()),
        }
    }

    /// What is expected, for an error.
    pub(super) fn expected(&self) -> String {
        match self {
            Self::Nothing => "left out".to_owned(),
            Self::Number(least, most) => format!("a whole number from {least} to {most}"),
            Self::OneOf(words) => format!("one of {}", words.join(" ")),
            Self::UpToTwoOf(words) => format!("one of {}, or two with a comma between them", words.join(" ")),
            Self::Info => format!("words of {} with a level, with commas between them", INFO.join(" ")),
            Self::DotName => "one name that starts with a dot, such as .rsync-partial".to_owned(),
            Self::Text(least, most, extra) => {
                format!("{least} to {most} letters, digits and {}", String::from_utf8_lossy(extra))
            }
            Self::Utf8 => "utf-8; write --iconv=LOCAL,utf-8 on the client".to_owned(),
        }
    }
}

/// Decimal digits in the one way that rsync's `%d` writes them: its own reader takes a leading zero for
/// an octal number, so that form must not get through.
fn number(text: &str, least: i64, most: i64) -> Option<String> {
    let number: i64 = text.parse().ok()?;
    let canonical = number.to_string() == text;
    (canonical && (least..=most).contains(&number)).then(|| number.to_string())
}

fn one_of(text: &str, words: &[&str]) -> Option<String> {
    words.iter().find(|word| **word == text).map(|word| (*word).to_owned())
}

fn up_to_two_of(text: &str, words: &[&str]) -> Option<String> {
    match text.split_once(',') {
        None => one_of(text, words),
        Some((first, second)) => Some(format!("{},{}", one_of(first, words)?, one_of(second, words)?)),
    }
}

fn info(text: &str) -> Option<String> {
    let words: Option<Vec<String>> = text.split(',').map(info_word).collect();
    words.filter(|words| words.len() <= INFO.len()).map(|words| words.join(","))
}

fn info_word(text: &str) -> Option<String> {
    let name = text.strip_suffix(|c: char| c.is_ascii_digit()).unwrap_or(text);
    let level = &text[name.len()..];
    one_of(name, &INFO).map(|word| word + level)
}

/// A name in the directory of each file that is written, never a path: anything with a slash or `..`
/// was found to write outside the tree.
fn is_dot_name(text: &str) -> bool {
    let Some((first, rest)) = text.strip_prefix('.').and_then(|name| name.as_bytes().split_first()) else {
        return false;
    };
    let fits = |b: &u8| b.is_ascii_alphanumeric() || b"_-".contains(b);
    fits(first) && rest.len() <= 63 && rest.iter().all(|b| fits(b) || *b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_numbers_as_rsync_writes_them_are_numbers() {
        let takes = Takes::Number(-1, 604_800);
        for good in ["-1", "0", "300", "604800"] {
            assert_eq!(takes.read(good.as_bytes()).as_deref(), Some(good));
        }
        for bad in [
            "",
            "-",
            "+5",
            " 5",
            "5 ",
            "05",
            "0x10",
            "-0",
            "-2",
            "604801",
            "1e3",
            "99999999999999999999",
            "٣",
        ] {
            assert_eq!(takes.read(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(takes.read(b"\xff"), None);
    }

    #[test]
    fn a_partial_dir_is_one_hidden_name_and_no_path() {
        for good in [".rsync-partial", ".pd", ".-tmp", ".a.b"] {
            assert!(Takes::DotName.read(good.as_bytes()).is_some(), "{good}");
        }
        for bad in
            ["", ".", "..", "...", "..a", "a", "/abs", ".a/b", "./a", ".a/../../b", "~/.a", "-a", ".\u{e9}"]
        {
            assert_eq!(Takes::DotName.read(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(Takes::DotName.read(format!(".{}", "a".repeat(65)).as_bytes()), None);
    }

    #[test]
    fn info_is_words_with_levels_and_never_help() {
        for good in ["NAME0,STATS2", "ALL", "NONE", "BACKUP,COPY,DEL"] {
            assert_eq!(Takes::Info.read(good.as_bytes()).as_deref(), Some(good));
        }
        for bad in ["HELP", "help", "", ",", "NAME,", "NAME00", "N", "name", "NAME-1", "NAME=1"] {
            assert_eq!(Takes::Info.read(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(Takes::Info.read(vec!["DEL"; 16].join(",").as_bytes()), None);
    }

    #[test]
    fn lists_of_two_have_at_most_two() {
        let takes = Takes::UpToTwoOf(&["md5", "xxh64"]);
        assert_eq!(takes.read(b"md5,xxh64").as_deref(), Some("md5,xxh64"));
        for bad in [&b"md5,"[..], b",md5", b"md5,md5,md5", b"MD5", b"", b"none"] {
            assert_eq!(takes.read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn no_converter_but_utf8_is_ever_loaded() {
        assert_eq!(Takes::Utf8.read(b"UTF-8").as_deref(), Some("utf-8"));
        for bad in [&b"."[..], b"ISO-2022-CN-EXT", b"utf-8,latin1", b"UTF-8//TRANSLIT", b"../x", b""] {
            assert_eq!(Takes::Utf8.read(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_as_the_same_again(value in "[-+.,A-Za-z0-9~/\\[\\]]{0,12}") {
            for takes in [
                Takes::Number(i64::MIN, i64::MAX), Takes::Info, Takes::DotName, Takes::Utf8, Takes::Text(0, 9, b"./[]"),
            ] {
                if let Some(printed) = takes.read(value.as_bytes()) {
                    prop_assert_eq!(takes.read(printed.as_bytes()), Some(printed.clone()));
                    prop_assert!(!printed.contains([' ', '\0', '\n', '=']));
                }
            }
        }
    }
}
