//! How and where files come back, as it is typed; the same for byteback-restore and byteback-admin.

use std::path::PathBuf;

use super::{Fetch, Goal, Mapping, Owners};

/// What is done beside fetching, and whose the files will be.
#[derive(Debug, Clone, clap::Args)]
pub struct Manner {
    /// Show what would change, and why; change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Afterwards compare every byte with the backup; with --dry-run compare only
    #[arg(long)]
    verify: bool,
    /// Give files to whom the name of their owner means here, not to the number in the backup
    #[arg(long)]
    owner_by_name: bool,
    /// Give this user's files of the backup to that user here; names or numbers, FROM may be '*'
    #[arg(long, value_name = "FROM:TO")]
    map_user: Vec<Mapping>,
    /// The same for groups
    #[arg(long, value_name = "FROM:TO")]
    map_group: Vec<Mapping>,
}

/// Where the files of a client's own restore go.
#[derive(Debug, Clone, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that a person types")]
pub struct Target {
    /// Restore below this directory (with --all: into SNAPSHOT/ below it)
    #[arg(long, value_name = "DIR", conflicts_with = "list")]
    to: Option<PathBuf>,
    /// Restore to where the files came from; asks first
    #[arg(long, conflicts_with_all = ["list", "to", "all"])]
    in_place: bool,
    /// Do not ask, whatever --in-place replaces
    #[arg(long, requires = "in_place")]
    yes: bool,
    /// Write the one file that matches to stdout
    #[arg(long, conflicts_with_all = ["list", "to", "in_place", "tar", "dry_run", "verify", "json"])]
    stdout: bool,
    /// Write what matches to stdout, as a tar archive with true owners
    #[arg(long, conflicts_with_all = ["list", "to", "in_place", "dry_run", "verify", "json"])]
    tar: bool,
}

impl Manner {
    /// Whether a restore is meant although nobody typed `--restore`.
    pub fn means_restore(&self) -> bool {
        self.dry_run
            || self.verify
            || self.owner_by_name
            || !self.map_user.is_empty()
            || !self.map_group.is_empty()
    }

    /// A restore in this manner.
    #[must_use]
    pub fn fetch(&self, goal: Goal, yes: bool, json: bool) -> Fetch {
        let Self { dry_run, verify, owner_by_name: by_name, .. } = *self;
        let owners = Owners { by_name, users: self.map_user.clone(), groups: self.map_group.clone() };
        Fetch { goal, dry_run, verify, yes, json, owners }
    }
}

impl Target {
    /// Whether a restore is meant although nobody typed `--restore`.
    pub fn means_restore(&self) -> bool {
        self.to.is_some() || self.in_place || self.stdout || self.tar
    }

    /// Whether nobody needs to be asked.
    pub fn yes(&self) -> bool {
        self.yes
    }

    /// Where to.
    pub fn goal(&self) -> Goal {
        match &self.to {
            Some(directory) => Goal::Below(directory.clone()),
            None if self.in_place => Goal::InPlace,
            None if self.stdout => Goal::Stdout,
            None if self.tar => Goal::Tar,
            None => Goal::Trees,
        }
    }
}
