//! One pattern as rsync understands it (`rule_matches` and `dowild` in its exclude.c and wildmatch.c).

/// A pattern that is understood.
#[allow(clippy::struct_excessive_bools, reason = "rsync has these flags")]
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// Without the slashes at its start and end.
    text: Vec<u8>,
    /// It began with a slash: it must match the whole path.
    anchored: bool,
    /// It ended with a slash: only directories match.
    directory: bool,
    wild: bool,
    /// It holds `**`.
    wild2: bool,
    wild2_prefix: bool,
    /// It ends with `***`, which stands for the directory before it too.
    wild3_suffix: bool,
    slashes: usize,
}

/// rsync cuts off longer rules; nobody has one.
const LONGEST: usize = 1024;

impl Pattern {
    pub(super) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let holds = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
        if text.len() > LONGEST {
            return Err("is too long");
        } else if text.contains(&b'[') {
            return Err("has a character class");
        } else if matches!(text, b"" | b"/" | b"!") || holds(b"//") || text.contains(&0) {
            return Err("is no plain name");
        }
        let (rest, anchored) = text.strip_prefix(b"/").map_or((text, false), |rest| (rest, true));
        let (rest, directory) = rest.strip_suffix(b"/").map_or((rest, false), |rest| (rest, true));
        let wild2 = holds(b"**");
        Ok(Self {
            text: rest.to_vec(),
            anchored,
            directory,
            wild: text.iter().any(|byte| b"*?".contains(byte)),
            wild2,
            wild2_prefix: text.starts_with(b"**"),
            wild3_suffix: wild2 && rest.ends_with(b"***"),
            slashes: rest.split(|byte| *byte == b'/').count() - 1 + usize::from(anchored),
        })
    }

    /// Whether it begins with `**`.
    pub(super) fn begins_anywhere(&self) -> bool {
        self.wild2_prefix
    }

    /// `is_given` says whether rsync was given the path, without a leading slash, or found it below `/`.
    pub(super) fn matches(&self, path: &[u8], is_directory: bool, is_given: bool) -> bool {
        if self.directory && !is_directory {
            return false;
        }
        let only_name = self.slashes == 0 && !self.wild2;
        let name = if only_name { path.rsplit(|byte| *byte == b'/').next().unwrap_or(path) } else { path };
        if !self.wild {
            return self.matches_literally(name);
        }
        // rsync joins the pieces likewise; in nearly all cases there is but one.
        let before = self.wild2_prefix && is_given;
        let after = is_directory && self.wild3_suffix;
        if before || after {
            let slash = |stands: bool| if stands { &b"/"[..] } else { b"" };
            return self.matches_somewhere(&[slash(before), name, slash(after)].concat());
        }
        self.matches_somewhere(name)
    }

    fn matches_literally(&self, name: &[u8]) -> bool {
        match name.strip_suffix(&self.text[..]) {
            Some(before) => before.is_empty() || !self.anchored && before.ends_with(b"/"),
            None => false,
        }
    }

    fn matches_somewhere(&self, name: &[u8]) -> bool {
        let after_slashes =
            || name.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at + 1);
        if self.anchored || self.wild2_prefix || self.slashes == 0 && !self.wild2 {
            matches_whole(&self.text, name)
        } else if self.wild2 {
            std::iter::once(0).chain(after_slashes()).any(|at| matches_whole(&self.text, &name[at..]))
        } else {
            let starts: Vec<usize> = std::iter::once(0).chain(after_slashes()).collect();
            let start = starts.len().checked_sub(self.slashes + 1).and_then(|at| starts.get(at));
            start.is_some_and(|at| matches_whole(&self.text, &name[*at..]))
        }
    }
}

/// `*` and `?` stand for no slash, `**` for anything, a backslash takes the next letter as it is.
fn matches_whole(pattern: &[u8], name: &[u8]) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    loop {
        match pattern {
            [] => return name.is_empty(),
            [b'*', rest @ ..] => {
                let after = rest.iter().position(|byte| *byte != b'*').unwrap_or(rest.len());
                let crosses = after > 0;
                let rest = &rest[after..];
                let reach = if crosses { None } else { name.iter().position(|byte| *byte == b'/') };
                let reach = reach.unwrap_or(name.len());
                return (0..=reach).any(|skipped| matches_whole(rest, &name[skipped..]));
            }
            [b'?', rest @ ..] => match name {
                [first, after @ ..] if *first != b'/' => (pattern, name) = (rest, after),
                _ => return false,
            },
            [b'\\', letter, rest @ ..] | [letter, rest @ ..] => match name {
                // A backslash at the end matches nothing.
                [first, after @ ..] if first == letter && pattern != b"\\" => (pattern, name) = (rest, after),
                _ => return false,
            },
        }
    }
}
