//! Bringing back what was found: shown first, asked about where it replaces what is in use, fetched,
//! proved to be there, and compared if that was asked for.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::deliver;
use super::itemise::Change;
use super::owners::{Database, Map, Owners};
use super::place::{self, Place};
use super::plan::{self, Batch};
use super::pull::{Order, Pulled, Puller, Purpose, Trouble};
use super::report::Outcome;
use super::staging::Staging;
use crate::model::{Entry, Failure, Status, Tree, escaped};
use crate::system::{account, console, files, identity};

/// How files come back.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that a person types")]
pub struct Fetch {
    /// Where to.
    pub goal: Goal,
    /// Change nothing, tell what would change.
    pub dry_run: bool,
    /// Afterwards compare every byte with the server's.
    pub verify: bool,
    /// Ask nothing.
    pub yes: bool,
    /// Tell everything as lines of JSON.
    pub json: bool,
    /// Whose the files will be.
    pub owners: Owners,
}

/// Where files go.
#[derive(Debug)]
pub enum Goal {
    /// `./SNAPSHOT/path`.
    Trees,
    /// Below this directory.
    Below(PathBuf),
    /// Where they came from.
    InPlace,
    /// One file's content, on stdout.
    Stdout,
    /// A tar stream, on stdout.
    Tar,
}

/// Most paths that a question shows.
const SHOWN: usize = 10;

/// Brings the entries back.
///
/// # Errors
/// A [`Failure`] when not everything came, or a person said no.
pub(super) fn run(
    puller: &Puller<'_>,
    fetch: &Fetch,
    entries: &[Entry],
    all: bool,
    here: &Path,
) -> Result<Status> {
    let batches = plan::batches(entries);
    let to = |directory: &Option<PathBuf>| Place::new(directory.clone(), all, here.to_owned());
    let place = match &fetch.goal {
        Goal::Stdout => return deliver::one_file(puller, entries, &batches),
        Goal::Tar => return deliver::tar(puller, &fetch.owners, &batches, all),
        Goal::Trees => to(&None),
        Goal::Below(directory) => to(&Some(directory.clone())),
        Goal::InPlace => Place::Original,
    };
    if matches!(place, Place::Original) {
        nothing_in_the_way(&batches)?;
        if !fetch.dry_run {
            consent(fetch, &batches)?;
        }
    }
    if !identity::is_root() {
        console::say("without root, owners cannot be set and devices cannot be made");
    }
    let owners = owners_of(puller, &fetch.owners, &batches)?;
    let restore = Restorer { puller, place: &place, owners: &owners };
    if fetch.dry_run {
        let purpose = if fetch.verify { Purpose::Compare } else { Purpose::Rehearse };
        return restore.look(&batches, purpose, Outcome::default())?.tell(puller.report, "looked at");
    }
    let mut outcome = restore.fetch(&batches)?;
    if fetch.verify && outcome.troubles.is_empty() {
        let counted = outcome.transfer;
        outcome = restore.look(&batches, Purpose::Compare, outcome)?;
        outcome.transfer = counted;
    }
    outcome.tell(puller.report, "restored")
}

struct Restorer<'a> {
    puller: &'a Puller<'a>,
    place: &'a Place,
    owners: &'a BTreeMap<Tree, Vec<String>>,
}

impl Restorer<'_> {
    fn pull(&self, batch: &Batch, into: &Path, purpose: Purpose) -> Result<Pulled> {
        let owners = self.owners.get(&batch.tree).map(Vec::as_slice).unwrap_or_default();
        // A file that comes back in place is no reason to give /home the mode that it had then; but a
        // directory that is gone must come with its own.
        let parents = !matches!(self.place, Place::Original) || !place::has_parents(into, &batch.chosen);
        self.puller.pull(&Order { batch, into, owners, purpose, parents })
    }

    fn fetch(&self, batches: &[Batch]) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        for (number, batch) in batches.iter().enumerate() {
            let directory = self.place.directory(&batch.tree)?;
            let pulled = self.pull(batch, &directory, Purpose::Fetch)?;
            self.count(&mut outcome, batch, &directory, &pulled);
            if let Some(Trouble { partial: false, .. }) = pulled.trouble {
                for later in &batches[number + 1..] {
                    later.chosen.iter().for_each(|path| self.puller.report.missing(&later.tree, path));
                }
                break;
            }
        }
        Ok(outcome)
    }

    fn count(&self, outcome: &mut Outcome, batch: &Batch, directory: &Path, pulled: &Pulled) {
        let report = self.puller.report;
        let missing = place::missing(directory, &batch.chosen);
        for path in &batch.chosen {
            if missing.contains(&path.as_slice()) {
                report.missing(&batch.tree, path);
            } else {
                report.restored(&batch.tree, &place::below(directory, path));
            }
        }
        outcome.count(&pulled.transfer);
        outcome.troubles.extend(pulled.trouble.as_ref().map(|trouble| trouble.why.clone()));
        if pulled.trouble.is_none() {
            let told =
                missing.iter().map(|path| format!("/{} of {} did not come", escaped(path), batch.tree));
            outcome.troubles.extend(told);
        }
    }

    /// What would change, or what differs; nothing does change.
    fn look(&self, batches: &[Batch], purpose: Purpose, mut outcome: Outcome) -> Result<Outcome> {
        let mut different = 0;
        for batch in batches {
            let into = self.place.of(&batch.tree)?;
            let mut pulled = self.pull(batch, &into, purpose)?;
            if purpose == Purpose::Compare {
                pulled.changes.retain(|change| batch.asks_for(&change.path));
                pulled.changes = self.confirmed(&batch.tree, &into, pulled.changes)?;
            }
            for change in &pulled.changes {
                match purpose {
                    Purpose::Compare => self.puller.report.differs(&batch.tree, change),
                    Purpose::Fetch | Purpose::Rehearse => {
                        self.puller.report.would_change(&batch.tree, change);
                    }
                }
            }
            different += pulled.changes.len();
            outcome.count(&pulled.transfer);
            outcome.troubles.extend(pulled.trouble.map(|trouble| trouble.why));
        }
        if purpose == Purpose::Compare && different > 0 {
            outcome.troubles.push(format!("{different} files or directories are not as in the backup"));
        }
        Ok(outcome)
    }
}

impl Restorer<'_> {
    /// rsync (3.2.7 and 3.5.0) takes the attributes of a file that has some of `trusted.` and of `user.` for
    /// different when the server keeps them with fake-super, since it compares two lists in two orders. So
    /// where it sees nothing else, the attributes themselves are fetched and compared.
    fn confirmed(&self, tree: &Tree, into: &Path, changes: Vec<Change>) -> Result<Vec<Change>> {
        let is_doubtful = |change: &Change| change.reasons == ["attributes"] && !change.path.is_empty();
        let doubtful: Vec<&[u8]> = changes
            .iter()
            .filter(|change| is_doubtful(change))
            .map(|change| change.path.as_slice())
            .collect();
        if doubtful.is_empty() {
            return Ok(changes);
        }
        let (staging, batch) = (Staging::new()?, plan::alone(tree, &doubtful));
        let order = Order {
            batch: &batch,
            into: staging.path(),
            owners: &[],
            purpose: Purpose::Fetch,
            parents: true,
        };
        self.puller.pull(&order)?;
        let is_same = |path: &[u8]| {
            let attributes = |root: &Path| attributes(&place::below(root, path)).ok();
            attributes(into).is_some_and(|here| attributes(staging.path()) == Some(here))
        };
        Ok(changes.into_iter().filter(|change| !is_doubtful(change) || !is_same(&change.path)).collect())
    }
}

/// All but access lists, which rsync compares by themselves.
fn attributes(path: &Path) -> std::io::Result<BTreeMap<OsString, Option<Vec<u8>>>> {
    let names = xattr::list(path)?.filter(|name| !name.as_encoded_bytes().starts_with(b"system."));
    names.map(|name| Ok((name.clone(), xattr::get(path, &name)?))).collect()
}

fn nothing_in_the_way(batches: &[Batch]) -> Result<()> {
    let obstacle = batches.iter().find_map(|batch| place::obstacle(Path::new("/"), &batch.chosen));
    let Some(path) = obstacle else { return Ok(()) };
    bail!(Failure::misuse(format!(
        "{} was a directory in the backup and is none now, and a restore in place follows no link; move it away or use --to",
        escaped(path.as_os_str().as_bytes())
    )))
}

/// What is in use is replaced only when somebody said so.
fn consent(fetch: &Fetch, batches: &[Batch]) -> Result<()> {
    if fetch.yes {
        return Ok(());
    }
    if !console::can_ask() {
        bail!(Failure::misuse("--in-place replaces files in use, and nobody is here to be asked; add --yes"));
    }
    let chosen = || batches.iter().flat_map(|batch| batch.chosen.iter().map(move |path| (&batch.tree, path)));
    for (tree, path) in chosen().take(SHOWN) {
        console::say(format_args!("/{} from {tree}", escaped(path)));
    }
    let count = chosen().count();
    if count > SHOWN {
        console::say(format_args!("and {} more", count - SHOWN));
    }
    if console::confirm("Put these in the place of what is there now, with all below them? [yes/no]")? {
        return Ok(());
    }
    bail!(Failure::refused("nothing was restored"))
}

/// rsync's options for the owners of each tree's files.
pub(super) fn owners_of(
    puller: &Puller<'_>,
    owners: &Owners,
    batches: &[Batch],
) -> Result<BTreeMap<Tree, Vec<String>>> {
    let mut found = BTreeMap::new();
    if owners.are_kept() {
        return Ok(found);
    }
    for batch in batches {
        if !found.contains_key(&batch.tree) {
            found.insert(batch.tree.clone(), owner_options(puller, owners, &batch.tree)?);
        }
    }
    Ok(found)
}

fn owner_options(puller: &Puller<'_>, owners: &Owners, tree: &Tree) -> Result<Vec<String>> {
    let staging = Staging::new()?;
    let names = ["etc/passwd", "etc/group"];
    for name in names.iter().filter(|_| owners.need_names()) {
        let batch = Batch::of_plain(tree, &[name.as_bytes()]);
        let order = Order {
            batch: &batch,
            into: staging.path(),
            owners: &[],
            purpose: Purpose::Fetch,
            parents: true,
        };
        if let Some(Trouble { why, partial: false }) = puller.pull(&order)?.trouble {
            bail!(Failure::failed(why));
        }
    }
    let [passwd, group] = names.map(|name| database_file(&staging.path().join(name)));
    let (passwd, group) = (passwd?, group?);
    let user_here = |name: &str| account::by_name(name).ok().flatten().map(|account| account.uid.as_raw());
    let users = Database { backed_up: passwd.as_deref(), kind: "user", here: &user_here };
    let groups = Database { backed_up: group.as_deref(), kind: "group", here: &account::group_number };
    let (users, groups) =
        (users.map(&owners.users, owners.by_name)?, groups.map(&owners.groups, owners.by_name)?);
    tell_unknown(tree, "users", &users);
    tell_unknown(tree, "groups", &groups);
    let option = |name: &str, map: &Map| (!map.rule.is_empty()).then(|| format!("--{name}={}", map.rule));
    Ok([option("usermap", &users), option("groupmap", &groups)].into_iter().flatten().collect())
}

/// What came as a link would be read from this machine.
fn database_file(path: &Path) -> Result<Option<Vec<u8>>> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_file()) {
        files::read_optional(path)
    } else {
        Ok(None)
    }
}

fn tell_unknown(tree: &Tree, kind: &str, map: &Map) {
    if !map.unknown.is_empty() {
        let names: Vec<_> = map.unknown.iter().map(|name| escaped(name.as_bytes())).collect();
        console::say(format_args!(
            "these {kind} of {tree} are unknown here, so their files keep the numbers: {}",
            names.join(" ")
        ));
    }
}
