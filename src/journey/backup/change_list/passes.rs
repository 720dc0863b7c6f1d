//! The calls of rsync that a run is made of.
//!
//! A change list takes up to three. What shares or shared an inode is written anew, before anything is
//! written in place: rsync does not part names that are linked on the server and no longer here, and with
//! `--inplace` it would write the one through the other. Then files whose change time says that they
//! changed, whatever their size and time say (`--ignore-times`). Then the directories, with deletions, in
//! which rsync finds those files as they should be. The token comes with the last.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::place::Place;
use super::{Mode, Plan};
use crate::journey::backup::Run;
use crate::system::files;

/// What one rsync is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::journey::backup) enum Selected {
    /// The sources, with all below them.
    Sources,
    /// The names in this file.
    List(PathBuf),
}

/// One call of rsync.
#[allow(clippy::struct_excessive_bools, reason = "each is one option of rsync")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::journey::backup) struct Pass {
    pub(in crate::journey::backup) selected: Selected,
    /// Write into the copies that are there.
    pub(in crate::journey::backup) in_place: bool,
    /// Compare all content.
    pub(in crate::journey::backup) all_content: bool,
    /// Compare content by checksum first.
    pub(in crate::journey::backup) checksum: bool,
    /// The token.
    pub(in crate::journey::backup) canary: Option<PathBuf>,
    /// Whatever it finds to correct was missed.
    pub(in crate::journey::backup) proves: bool,
}

/// The steps, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Anew,
    Content,
    Directories,
    /// Before a full run: what an index that does not count took for changed. rsync goes by size and time,
    /// and would miss a file whose time was set back before a run that was interrupted.
    Hints,
    Everything {
        in_place: bool,
        proves: bool,
    },
}

impl Pass {
    /// A pass over everything, as a dry run tells of.
    pub(in crate::journey::backup) fn full(checksum: bool, canary: Option<PathBuf>) -> Self {
        Self {
            selected: Selected::Sources,
            in_place: true,
            all_content: false,
            checksum,
            canary,
            proves: false,
        }
    }
}

impl Plan {
    /// The next call of rsync, until there is none.
    ///
    /// # Errors
    /// When the token or the list cannot be written.
    pub(in crate::journey::backup) fn next_pass(&self, checksum: bool) -> Result<Option<Pass>> {
        let steps = self.steps();
        let Some(step) = steps.get(self.done) else { return Ok(None) };
        let Some(place) = self.place.as_ref().filter(|_| self.gives_receipts) else {
            return Ok(Some(Pass::full(checksum, None)));
        };
        place.put_canary(&self.token)?;
        self.pass(place, *step, checksum).map(Some)
    }

    /// A pass ended well.
    pub(in crate::journey::backup) fn is_done(&mut self) {
        self.done += 1;
    }

    /// A change that rsync made in a proving run: whether the index should have known it. What changed
    /// since the walk began it could not know.
    /// A directory above a source is none of what is backed up, and when something came or went in it does
    /// not matter.
    pub(in crate::journey::backup) fn should_have_known(&self, run: &Run, name: &[u8]) -> bool {
        let name = name.strip_prefix(b"/").unwrap_or(name);
        let name = name.strip_suffix(b"/").unwrap_or(name);
        let path = super::walk::absolute(name);
        let is_ours = name.starts_with(b"~byteback") && !path.exists();
        let above = path.parent().unwrap_or(Path::new("/"));
        let changed = files::change_time(&path).or_else(|| files::change_time(above));
        let sources = &run.selection.sources;
        let is_above = !sources.iter().any(|source| path.starts_with(source));
        !is_ours
            && !is_above
            && changed.is_some_and(|changed| crate::policy::changes::is_before(changed, self.header.start))
    }

    fn steps(&self) -> Vec<Step> {
        let lists = &self.seen.lists;
        let silent = lists.is_empty();
        match self.mode {
            None => Vec::new(),
            Some(Mode::Full { in_place }) => {
                let hints = [&lists.anew, &lists.content].into_iter().any(|list| !list.is_empty());
                let hints = (hints && self.old.is_some() && !self.seen.moved).then_some(Step::Hints);
                hints.into_iter().chain([Step::Everything { in_place, proves: false }]).collect()
            }
            Some(Mode::Changes { and_prove }) => {
                let list = [
                    (!lists.anew.is_empty(), Step::Anew),
                    (!lists.content.is_empty(), Step::Content),
                    (!silent, Step::Directories),
                    (and_prove, Step::Everything { in_place: true, proves: true }),
                ];
                list.into_iter().filter_map(|(wanted, step)| wanted.then_some(step)).collect()
            }
        }
    }

    fn pass(&self, place: &Place, step: Step, checksum: bool) -> Result<Pass> {
        let lists = &self.seen.lists;
        let file = |path: &Vec<u8>| [b"/", &path[..]].concat();
        let directory = |path: &Vec<u8>| {
            let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
            [b"/", &path[..], slash].concat()
        };
        let canary = place.canary_argument();
        let pass = |list, in_place, all_content| Pass {
            selected: Selected::List(list),
            in_place,
            all_content,
            checksum: false,
            canary: None,
            proves: false,
        };
        Ok(match step {
            Step::Anew => pass(place.put_list(lists.anew.iter().map(file))?, false, true),
            Step::Content => pass(place.put_list(lists.content.iter().map(file))?, true, true),
            Step::Hints => {
                pass(place.put_list(lists.anew.iter().chain(&lists.content).map(file))?, false, true)
            }
            Step::Directories => {
                let directories =
                    lists.listings.iter().map(directory).chain(lists.attributes.iter().map(file));
                let token = canary.as_os_str().as_encoded_bytes().to_vec();
                pass(place.put_list(directories.chain([token]))?, true, false)
            }
            Step::Everything { in_place, proves } => {
                Pass { in_place, proves, ..Pass::full(checksum, Some(canary)) }
            }
        })
    }
}
