//! Copies of one path, tree by tree, into what is told of it. Pure.

use std::collections::HashMap;
use std::hash::Hash;

use super::inode::State;
use crate::protocol::find_query::FindQuery;

/// How much of a path's history is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    /// The newest copy.
    Newest,
    /// The newest copy of each modification time and size, as the former program did it.
    TimeAndSize,
    /// Each state that the inode had, and how long; or the newest of them.
    States {
        /// No other is told.
        newest_only: bool,
    },
    /// Every copy.
    Every,
}

impl Fold {
    pub(super) fn of(query: &FindQuery) -> Self {
        match (query.verbose, query.history, query.all) {
            (true, _, _) => Self::Every,
            (false, true, all) => Self::States { newest_only: !all },
            (false, false, true) => Self::TimeAndSize,
            (false, false, false) => Self::Newest,
        }
    }

    /// Whether the first copy that is found is all that is told.
    pub(super) fn needs_one(self) -> bool {
        self == Self::Newest
    }

    /// The versions among copies that are given newest first. States come oldest first, by the newest tree
    /// of each; everything else newest first.
    pub(super) fn versions(self, states: &[State]) -> Vec<Folded> {
        match self {
            Self::Newest => alike(states, |_| ()),
            Self::TimeAndSize => alike(states, |state| (state.modified, state.size)),
            Self::Every => (0..states.len()).map(Folded::one).collect(),
            Self::States { newest_only } => {
                let mut versions = alike(states, |state| *state);
                if newest_only {
                    versions.truncate(1);
                }
                versions.reverse();
                versions
            }
        }
    }
}

/// Copies that count as one, by their places in what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Folded {
    pub(super) newest: usize,
    pub(super) oldest: usize,
    pub(super) copies: u32,
}

impl Folded {
    fn one(place: usize) -> Self {
        Self { newest: place, oldest: place, copies: 1 }
    }
}

fn alike<K: Hash + Eq>(states: &[State], key: impl Fn(&State) -> K) -> Vec<Folded> {
    let mut versions: Vec<Folded> = Vec::new();
    let mut known: HashMap<K, usize> = HashMap::new();
    // Most copies are what the one before was.
    let mut last: Option<(K, usize)> = None;
    for (place, state) in states.iter().enumerate() {
        let own = key(state);
        let number = match last.take() {
            Some((key, number)) if key == own => number,
            Some((key, number)) => {
                known.insert(key, number);
                known.get(&own).copied().unwrap_or(versions.len())
            }
            None => versions.len(),
        };
        match versions.get_mut(number) {
            Some(version) => (version.oldest, version.copies) = (place, version.copies + 1),
            None => versions.push(Folded::one(place)),
        }
        last = Some((own, number));
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state(number: u64, changed: i64, modified: i64, size: u64) -> State {
        State { number, born: (0, 0), changed: (changed, 0), modified: (modified, 0), size }
    }

    #[test]
    fn a_version_that_came_back_is_one_version() {
        let (a, b) = (state(1, 1, 1, 1), state(1, 2, 1, 1));
        let folded = Fold::States { newest_only: false }.versions(&[a, b, b, a]);
        assert_eq!(
            folded,
            [Folded { newest: 1, oldest: 2, copies: 2 }, Folded { newest: 0, oldest: 3, copies: 2 }]
        );
        assert_eq!(Fold::States { newest_only: true }.versions(&[a, b]), [Folded::one(0)]);
        assert_eq!(Fold::TimeAndSize.versions(&[a, b]).len(), 1, "as the former program saw it");
    }

    proptest! {
        #[test]
        fn folding_agrees_with_comparing_each_copy_with_each(
            numbers in prop::collection::vec((0u64..3, 0i64..3, 0i64..2, 0u64..2), 0..12),
        ) {
            let states: Vec<State> = numbers.iter().map(|(n, c, m, s)| state(*n, *c, *m, *s)).collect();
            let brute = |same: &dyn Fn(&State, &State) -> bool| -> Vec<Folded> {
                let first = |place: usize| (0..place).all(|before| !same(&states[before], &states[place]));
                (0..states.len()).filter(|place| first(*place)).map(|newest| {
                    let all: Vec<usize> =
                        (0..states.len()).filter(|other| same(&states[newest], &states[*other])).collect();
                    Folded { newest, oldest: *all.last().unwrap(), copies: u32::try_from(all.len()).unwrap() }
                }).collect()
            };
            let mut by_state = Fold::States { newest_only: false }.versions(&states);
            by_state.reverse();
            prop_assert_eq!(by_state, brute(&|a, b| a == b));
            let old = Fold::TimeAndSize.versions(&states);
            prop_assert_eq!(old, brute(&|a, b| (a.modified, a.size) == (b.modified, b.size)));
            prop_assert_eq!(Fold::Newest.versions(&states).len(), states.len().min(1));
            prop_assert_eq!(Fold::Every.versions(&states).len(), states.len());
        }
    }
}
