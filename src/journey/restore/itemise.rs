//! What rsync would change, in words: its itemised lines (rsync(1), `--itemize-changes`), read. Pure.

/// The `--out-format` of a line that [`parse`] reads.
pub(super) const FORMAT: &str = "%i %n";

/// One thing that is, or would be, changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// Its path below the tree, without a trailing slash; any bytes.
    pub(super) path: Vec<u8>,
    /// What happens to it.
    pub(super) deed: Deed,
    /// Why; none for what is new.
    pub(super) reasons: Vec<&'static str>,
}

/// What happens to one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// It is not there, or something of another kind is.
    Create,
    /// Its content is fetched.
    Replace,
    /// Its content stays, something about it is set.
    Adjust,
}

impl Deed {
    /// The word that is printed.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Adjust => "adjust",
        }
    }
}

/// Reads `>f.st...... etc/fstab`: what happens, the kind of file, nine marks, the name.
pub(super) fn parse(line: &[u8]) -> Option<Change> {
    let (marks, name) = (line.get(..11)?, line.get(12..)?);
    if line[11] != b' ' || !b"<>ch.".contains(&marks[0]) || !b"fdLDS".contains(&marks[1]) || name.is_empty() {
        return None;
    }
    let name = unescaped(name);
    let path = name.strip_suffix(b"/").filter(|_| marks[1] == b'd').unwrap_or(&name).to_vec();
    if marks[2..].iter().all(|mark| *mark == b'+') {
        return Some(Change { path, deed: Deed::Create, reasons: Vec::new() });
    }
    let reasons: Vec<_> = marks[2..].iter().filter_map(|mark| reason(*mark, marks[1])).collect();
    let deed = if marks[0] == b'.' || marks[1] == b'd' { Deed::Adjust } else { Deed::Replace };
    Some(Change { path, deed, reasons })
}

fn reason(mark: u8, kind: u8) -> Option<&'static str> {
    Some(match mark {
        b'c' if kind == b'f' => "content",
        b'c' if kind == b'L' => "target",
        b'c' => "device",
        b's' => "size",
        b't' | b'T' => "time",
        b'p' => "mode",
        b'o' => "owner",
        b'g' => "group",
        b'a' => "access list",
        b'x' => "attributes",
        _ => return None,
    })
}

/// rsync prints what could harm a terminal as `\#ooo`, and the backslash of a name that looks like that.
pub(super) fn unescaped(name: &[u8]) -> Vec<u8> {
    let (mut plain, mut rest) = (Vec::with_capacity(name.len()), name);
    while let [first, behind @ ..] = rest {
        let byte = rest.strip_prefix(b"\\#").and_then(|digits| octal(digits.get(..3)?));
        plain.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &rest[5..] } else { behind };
    }
    plain
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(line: &str) -> Option<(String, Deed, String)> {
        let change = parse(line.as_bytes())?;
        Some((String::from_utf8(change.path).unwrap(), change.deed, change.reasons.join(", ")))
    }

    #[test]
    fn each_mark_has_its_word() {
        for (line, path, deed, reasons) in [
            (">f+++++++++ etc/fstab", "etc/fstab", Deed::Create, ""),
            ("cd+++++++++ etc/", "etc", Deed::Create, ""),
            (">f.st...... a b", "a b", Deed::Replace, "size, time"),
            (">fc........ x", "x", Deed::Replace, "content"),
            (".f...pog.ax x", "x", Deed::Adjust, "mode, owner, group, access list, attributes"),
            (".d..t...... var/", "var", Deed::Adjust, "time"),
            ("cLc.T...... link", "link", Deed::Replace, "target, time"),
            ("cDc........ null", "null", Deed::Replace, "device"),
            ("hf+++++++++ two", "two", Deed::Create, ""),
        ] {
            assert_eq!(read(line), Some((path.to_owned(), deed, reasons.to_owned())), "{line}");
        }
    }

    #[test]
    fn other_lines_are_no_change() {
        for line in
            ["", "Number of files: 3", "*deleting   x", ">f+++++++++", ">f+++++++++ ", "sent 5 bytes  rece"]
        {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn names_are_read_as_rsync_escapes_them() {
        assert_eq!(unescaped(b"a\\#012b"), b"a\nb");
        assert_eq!(unescaped(b"\\#134#012"), b"\\#012");
        assert_eq!(unescaped(b"\\#377\\#0"), b"\xff\\#0");
        assert_eq!(unescaped(b"back\\slash"), b"back\\slash");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(line in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse(&line);
            let _ = unescaped(&line);
        }
    }
}
