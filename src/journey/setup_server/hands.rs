//! The hands of set-up: they do a step and say it, or with `--check` only say that it is to do. Both
//! say the same words, so a check never tells of something else than a run would do.

use std::cell::Cell;
use std::fmt::Display;

use anyhow::Result;

use crate::system::console;

/// Does or only tells.
#[derive(Debug)]
pub(super) struct Hands {
    only_look: bool,
    to_do: Cell<usize>,
}

impl Hands {
    pub(super) fn new(only_look: bool) -> Self {
        Self { only_look, to_do: Cell::new(0) }
    }

    /// Whether nothing may be changed.
    pub(super) fn only_look(&self) -> bool {
        self.only_look
    }

    /// How many steps were told and not done.
    pub(super) fn to_do(&self) -> usize {
        self.to_do.get()
    }

    /// One step; `what` is an order, such as "make the user byteback".
    pub(super) fn act(&self, what: impl Display, act: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.only_look {
            console::print(format_args!("to do: {what}"));
            self.to_do.set(self.to_do.get() + 1);
            return Ok(());
        }
        act()?;
        self.say(what);
        Ok(())
    }

    /// A line of what was done or found. A check has its findings for that.
    pub(super) fn say(&self, line: impl Display) {
        if !self.only_look {
            console::say(format_args!("  {line}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_looks_does_nothing_and_counts() {
        let mut done = 0;
        for (only_look, expected) in [(true, (0, 2)), (false, (2, 0))] {
            let hands = Hands::new(only_look);
            for _ in 0..2 {
                hands
                    .act("count", || {
                        done += 1;
                        Ok(())
                    })
                    .unwrap();
            }
            assert_eq!((done, hands.to_do()), expected);
        }
    }
}
