//! Which paths rsync leaves out, for rules that are simple enough to be told exactly without rsync:
//! include and exclude patterns of literals, `?`, `*` and `**` (rsync(1), PATTERN MATCHING RULES).
//!
//! A wrong verdict here would be a file that is not backed up. So whatever is not understood to the last
//! letter (character classes, modifiers, merge files, a cleared list) is an error that makes the run a
//! full one; and where rsync itself decides differently for a path that it finds and one that it is
//! given, the verdict is "unclear". Deletions never hang on it: rsync makes them by its own rules.

mod pattern;

use super::sources::Rule;
use pattern::Pattern;

/// The rules of a run in rsync's order; the first that matches counts.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    rules: Vec<(Pattern, bool)>,
    /// A pattern begins with `**`: only that can tell a path that is found from one that is given.
    two_minds: bool,
}

/// What becomes of a path whose directory is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is backed up.
    Taken,
    /// It is left out, with all below it.
    LeftOut,
    /// rsync leaves it out when it is given the name and takes it when it finds it, or the other way
    /// round (a pattern that begins with `**`, for a path that it matches as a whole).
    Unclear,
}

/// Why the rules cannot be told without rsync; the end of a sentence.
pub type NotSimple = String;

impl Filters {
    /// `--exclude=TEXT`.
    ///
    /// # Errors
    /// When the pattern is more than is understood here.
    pub fn exclude(&mut self, text: &[u8]) -> Result<(), NotSimple> {
        let (pattern, takes) = old_prefix(text);
        self.push(pattern, takes)
    }

    /// `--exclude-from=FILE` with this content.
    ///
    /// # Errors
    /// As for [`Self::exclude`].
    pub fn exclude_from(&mut self, content: &[u8]) -> Result<(), NotSimple> {
        lines(content).try_for_each(|line| self.exclude(line))
    }

    /// `--filter=merge FILE` with this content: lines `- PATTERN` and `+ PATTERN`.
    ///
    /// # Errors
    /// As for [`Self::exclude`], and for every other kind of rule.
    pub fn merge(&mut self, content: &[u8]) -> Result<(), NotSimple> {
        for line in lines(content) {
            match line {
                [b'-', b' ', pattern @ ..] => self.push(pattern, false)?,
                [b'+', b' ', pattern @ ..] => self.push(pattern, true)?,
                other => {
                    return Err(format!("the rule '{}' is more than - or + and a pattern", shown(other)));
                }
            }
        }
        Ok(())
    }

    /// The rules that come by themselves.
    ///
    /// # Errors
    /// As for [`Self::exclude`]: a mount point may hold any character.
    pub fn add(&mut self, rules: &[Rule]) -> Result<(), NotSimple> {
        rules.iter().try_for_each(|rule| match rule {
            Rule::Include(pattern) => self.push(pattern, true),
            Rule::Exclude(pattern) => self.push(pattern, false),
        })
    }

    fn push(&mut self, text: &[u8], takes: bool) -> Result<(), NotSimple> {
        let pattern = Pattern::parse(text).map_err(|why| format!("the pattern '{}' {why}", shown(text)))?;
        self.two_minds |= pattern.begins_anywhere();
        self.rules.push((pattern, takes));
        Ok(())
    }

    /// What becomes of this path, written without a leading slash.
    pub fn verdict(&self, path: &[u8], is_directory: bool) -> Verdict {
        let found = self.first_match(path, is_directory, false);
        let is_clear = !self.two_minds || found == self.first_match(path, is_directory, true);
        match (is_clear, found) {
            (true, true) => Verdict::Taken,
            (true, false) => Verdict::LeftOut,
            (false, _) => Verdict::Unclear,
        }
    }

    fn first_match(&self, path: &[u8], is_directory: bool, is_given: bool) -> bool {
        let rule = self.rules.iter().find(|(pattern, _)| pattern.matches(path, is_directory, is_given));
        rule.is_none_or(|(_, takes)| *takes)
    }
}

/// `- ` and `+ ` before a pattern that could do without them.
fn old_prefix(text: &[u8]) -> (&[u8], bool) {
    match text {
        [b'-', b' ', pattern @ ..] => (pattern, false),
        [b'+', b' ', pattern @ ..] => (pattern, true),
        _ => (text, false),
    }
}

/// As rsync reads a file of rules: empty lines and comments go, blanks stay.
fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = content.split(|byte| matches!(byte, b'\n' | b'\r'));
    lines.filter(|line| !matches!(line, [] | [b'#' | b';', ..]))
}

fn shown(text: &[u8]) -> String {
    crate::model::escaped(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(patterns: &[&str]) -> Filters {
        let mut filters = Filters::default();
        for pattern in patterns {
            filters.exclude(pattern.as_bytes()).unwrap();
        }
        filters
    }

    fn left_out(patterns: &[&str], path: &str) -> bool {
        filters(patterns).verdict(path.trim_end_matches('/').as_bytes(), path.ends_with('/'))
            == Verdict::LeftOut
    }

    #[test]
    fn patterns_mean_what_they_mean_to_rsync() {
        for (pattern, path, expected) in [
            ("*.o", "home/u/x.o", true),
            ("*.o", "home/x.o/y", false),
            ("/tmp/*", "tmp/x", true),
            ("/tmp/*", "tmp/", false),
            ("/tmp/*", "home/tmp/x", false),
            ("cache/", "home/cache/", true),
            ("cache/", "home/cache", false),
            ("a/b", "x/a/b", true),
            ("a/b", "xa/b", false),
            ("a/*/c", "x/a/b/c", true),
            ("a/*/c", "a/b/d/c", false),
            ("a/**/c", "x/a/b/d/c", true),
            ("**/c", "x/c", true),
            ("a/***", "x/a/", true),
            ("a/***", "x/a/b", true),
            ("/a/**", "a/", false),
            ("?", "x/y", true),
            ("/home/*/.cache/", "home/u/.cache/", true),
            ("a\\b", "x/a\\b", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
        ] {
            assert_eq!(left_out(&[pattern], path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        assert!(!left_out(&["+ /a/keep", "/a/*"], "a/keep"));
        assert!(left_out(&["/a/*", "+ /a/keep"], "a/keep"));
    }

    #[test]
    fn what_is_not_understood_to_the_last_letter_is_an_error() {
        for pattern in ["*.[oa]", "!", "", "/", "a//b", "- "] {
            assert!(Filters::default().exclude(pattern.as_bytes()).is_err(), "{pattern}");
        }
        for rule in ["dir-merge .x", "-s a", "-! a", "exclude a", ": .f", "P x", "hide x", "-p x", "-"] {
            assert!(Filters::default().merge(rule.as_bytes()).is_err(), "{rule}");
        }
        let mut good = Filters::default();
        good.merge(b"# why\n\n- *.o\r\n; that\n+ /etc/\n").unwrap();
        assert_eq!(good.rules.len(), 2);
    }

    #[test]
    fn a_name_of_the_root_that_rsync_is_of_two_minds_about_is_unclear() {
        assert_eq!(filters(&["**/tmp"]).verdict(b"tmp", true), Verdict::Unclear);
        assert_eq!(filters(&["**/tmp"]).verdict(b"home/tmp", true), Verdict::LeftOut);
        assert_eq!(filters(&["**/tmp"]).verdict(b"home", true), Verdict::Taken);
    }
}
