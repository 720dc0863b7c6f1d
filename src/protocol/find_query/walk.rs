//! Goes down patterns beside a directory walk: what can still match beneath this directory. All
//! patterns and alternatives go together, so that `**` never makes a directory be read twice.

use std::collections::BTreeSet;

use super::{Component, Pattern};

/// Where in the patterns a directory walk stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk<'a> {
    patterns: &'a [Pattern],
    /// What can come next: pattern, alternative, and component, which is behind the last one where the
    /// alternative matches what stands here.
    places: BTreeSet<(usize, usize, usize)>,
}

impl<'a> Walk<'a> {
    /// At the root of a tree.
    pub fn start(patterns: &'a [Pattern]) -> Self {
        let mut walk = Self { patterns, places: BTreeSet::new() };
        for (pattern, alternatives) in patterns.iter().enumerate() {
            for alternative in 0..alternatives.alternatives().len() {
                walk.add((pattern, alternative, 0));
            }
        }
        walk
    }

    /// The same for a name in this directory.
    #[must_use]
    pub fn enter(&self, name: &[u8]) -> Self {
        let mut below = Self { patterns: self.patterns, places: BTreeSet::new() };
        for &(pattern, alternative, at) in &self.places {
            let next = match self.component((pattern, alternative, at)) {
                Some(Component::Literal(literal)) => (literal == name).then_some(at + 1),
                Some(Component::Glob(glob)) => glob.matches(name).then_some(at + 1),
                Some(Component::AnyDepth) => (!name.starts_with(b".")).then_some(at),
                None => None,
            };
            if let Some(next) = next {
                below.add((pattern, alternative, next));
            }
        }
        below
    }

    /// Whether what stands here matches a pattern.
    pub fn is_match(&self) -> bool {
        self.places.iter().any(|place| self.component(*place).is_none())
    }

    /// Whether nothing beneath can match.
    pub fn is_over(&self) -> bool {
        self.places.iter().all(|place| self.component(*place).is_none())
    }

    /// The only names beneath that can match, each once; `None` when the directory must be read.
    pub fn only_names(&self) -> Option<BTreeSet<&'a [u8]>> {
        let components = self.places.iter().filter_map(|place| self.component(*place));
        let name = |component: &'a Component| match component {
            Component::Literal(name) => Some(name.as_slice()),
            Component::Glob(_) | Component::AnyDepth => None,
        };
        components.map(name).collect()
    }

    fn component(&self, (pattern, alternative, at): (usize, usize, usize)) -> Option<&'a Component> {
        self.patterns[pattern].alternatives()[alternative].get(at)
    }

    /// A place, and the one behind it where that may be reached without a name.
    fn add(&mut self, place: (usize, usize, usize)) {
        self.places.insert(place);
        if self.component(place) == Some(&Component::AnyDepth) {
            self.places.insert((place.0, place.1, place.2 + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::parse(text.as_bytes()).unwrap()).collect()
    }

    fn found(text: &str, path: &str) -> bool {
        let patterns = patterns(&[text]);
        let names = path.split('/').filter(|name| !name.is_empty());
        names.fold(Walk::start(&patterns), |walk, name| walk.enter(name.as_bytes())).is_match()
    }

    #[test]
    fn paths_match_by_component() {
        for (pattern, yes, no) in [
            ("/etc/*.conf", &["/etc/a.conf"][..], &["/etc/x/a.conf", "/etc", "/etc/.conf"][..]),
            ("/**/x", &["/x", "/a/x", "/a/b/x"], &["/.a/x", "/a/.b/x", "/x/y"]),
            ("/**/.ssh/id", &["/.ssh/id", "/root/.ssh/id"], &["/.a/.ssh/id", "/.ssh/a/id"]),
            ("/a/**", &["/a", "/a/b", "/a/b/c"], &["/b", "/a/.b"]),
            ("/{a,b/c}/d", &["/a/d", "/b/c/d"], &["/b/d", "/a"]),
            ("/.*/x", &["/.a/x"], &["/a/x"]),
            ("/", &["/"], &["/a"]),
        ] {
            for path in yes {
                assert!(found(pattern, path), "{pattern} {path}");
            }
            for path in no {
                assert!(!found(pattern, path), "{pattern} {path}");
            }
        }
    }

    #[test]
    fn a_walk_knows_when_it_needs_no_scan_and_when_it_is_over() {
        let both = patterns(&["/etc/{passwd,group}", "/etc/passwd"]);
        let etc = Walk::start(&both).enter(b"etc");
        assert_eq!(etc.only_names().unwrap().into_iter().collect::<Vec<_>>(), [&b"group"[..], b"passwd"]);
        assert!(etc.enter(b"passwd").is_over() && etc.enter(b"passwd").is_match());
        assert!(etc.enter(b"other").is_over() && !etc.enter(b"other").is_match());
        assert!(Walk::start(&patterns(&["/etc/x", "/*/y"])).only_names().is_none());
    }

    #[test]
    fn many_stars_stay_few_places() {
        let hostile = patterns(&[&"/**/a*".repeat(500)]);
        let mut walk = Walk::start(&hostile);
        for _ in 0..300 {
            walk = walk.enter(b"aaaa");
            assert!(walk.places.len() <= 1001);
        }
        assert!(!walk.is_match());
    }

    /// The definition, tried in every way.
    fn naive(components: &[Component], names: &[&[u8]]) -> bool {
        match (components.split_first(), names.split_first()) {
            (None, rest) => rest.is_none(),
            (Some((Component::AnyDepth, after)), first) => {
                naive(after, names)
                    || first.is_some_and(|(name, rest)| !name.starts_with(b".") && naive(components, rest))
            }
            (Some((Component::Literal(own), after)), Some((name, rest))) => own == name && naive(after, rest),
            (Some((Component::Glob(glob), after)), Some((name, rest))) => {
                glob.matches(name) && naive(after, rest)
            }
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn going_down_agrees_with_the_definition(
            text in "(/(\\*\\*|\\*|a|b|\\.a|\\.\\*|[ab]\\*|\\{a,/b\\})){0,5}",
            path in "(/(a|b|ab|\\.a)){0,5}",
        ) {
            let pattern = Pattern::parse(format!("/{text}").as_bytes()).unwrap();
            let names: Vec<&[u8]> = path.split('/').filter(|n| !n.is_empty()).map(str::as_bytes).collect();
            let expected = pattern.alternatives().iter().any(|components| naive(components, &names));
            prop_assert_eq!(found(&format!("/{text}"), &path), expected);
        }
    }
}
