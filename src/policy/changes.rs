//! What of a directory has to be given to rsync: the comparison of what the last completed run saw with
//! what is there now. Pure. When in doubt something has changed; only equal stamps say "the same".
//!
//! The change time (ctime) is the truth, since nobody can set it; but two changes within one tick of the
//! kernel's clock look alike. So what changed at or after the start of the walk that saw it is recorded
//! as uncertain, and an uncertain record equals nothing.

use std::cmp::Ordering;

/// The type bits of `st_mode` (inode(7)), shifted down.
pub const DIRECTORY: u8 = 0o04;
/// A regular file.
pub const REGULAR: u8 = 0o10;

/// A point in time as the kernel tells it: seconds and nanoseconds since 1970.
pub type Moment = (i64, u32);

/// All that is compared of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Its type: [`DIRECTORY`], [`REGULAR`] or another one.
    pub kind: u8,
    /// Its file system, by its place in the list of those that were met.
    pub device: u32,
    /// Its inode number.
    pub inode: u64,
    /// When its inode changed.
    pub ctime: Moment,
    /// When its content changed, or what somebody set.
    pub mtime: Moment,
    /// In bytes.
    pub size: u64,
    /// It has more than one name.
    pub linked: bool,
    /// It changed before the walk began, on a file system whose change times can be believed.
    pub certain: bool,
}

/// A file by its name in a directory.
pub type Named<'a> = (&'a [u8], Stamp);

/// How a changed file is given to rsync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Compare its content, whatever size and time say, and write into the copy that is there.
    Content,
    /// The same, but into a new file: the copy may share its inode with names that it has no longer,
    /// and writing into it would change them too.
    Anew,
}

/// What of one directory is given to rsync.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes<'a> {
    /// All that it holds, one level deep: names were added or removed, or may have been. What is no
    /// longer there is then deleted by rsync's own rules.
    pub listing: bool,
    /// These of its files.
    pub files: Vec<(&'a [u8], How)>,
}

/// Compares one directory. `old` is `None` for one that was not there; both lists are sorted by name and
/// hold no directories.
pub fn compare<'a>(old: Option<(&Stamp, &[Named<'_>])>, new: (&Stamp, &[Named<'a>])) -> Changes<'a> {
    let (old_self, old_files) = old.map_or((None, &[][..]), |(stamp, files)| (Some(stamp), files));
    let mut changes = Changes { listing: !is_same(old_self, new.0), files: Vec::new() };
    let mut before = old_files.iter().peekable();
    for (name, stamp) in new.1 {
        while before.next_if(|(gone, _)| gone.cmp(name) == Ordering::Less).is_some() {
            changes.listing = true;
        }
        let was = before.next_if(|(known, _)| known == name).map(|(_, was)| was);
        changes.listing |= was.is_none();
        if !is_same(was, stamp) {
            let linked = stamp.linked || was.is_some_and(|was| was.linked);
            changes.files.push((name, if linked { How::Anew } else { How::Content }));
        }
    }
    changes.listing |= before.next().is_some();
    changes
}

/// Whether it is certainly what it was.
pub fn is_same(old: Option<&Stamp>, new: &Stamp) -> bool {
    old.is_some_and(|old| {
        let Stamp { kind, device, inode, ctime, mtime, size, .. } = *new;
        // A directory's size tells nothing, and grows by itself on some file systems.
        let same_size = old.size == size || kind == DIRECTORY;
        let same_file = (old.kind, old.device, old.inode) == (kind, device, inode);
        old.certain && same_file && same_size && (old.ctime, old.mtime) == (ctime, mtime)
    })
}

/// What a reader of the clock must add to be sure: the kernel stamps changes with the time of its last
/// tick, and a file system may keep whole or even seconds.
pub const SLACK_SECONDS: i64 = 3;

/// Whether a change at this time was certainly over when a walk began.
pub fn is_before(change: Moment, start: Moment) -> bool {
    change.0 < start.0 - SLACK_SECONDS
}

/// Why the times of the last walk cannot be compared with those of now.
///
/// `boots` are the kernel's boot ids and the seconds since boot.
pub fn clock_trouble(old: (Moment, &str, u64), new: (Moment, &str, u64)) -> Option<&'static str> {
    let ((then, old_boot, old_uptime), (now, boot, uptime)) = (old, new);
    if now < then {
        return Some("the clock was set back since the last run");
    }
    let by_uptime = i64::try_from(uptime.saturating_sub(old_uptime)).unwrap_or(i64::MAX);
    let by_clock = now.0.saturating_sub(then.0);
    let lost = old_boot == boot && by_clock.saturating_add(SLACK_SECONDS) < by_uptime;
    lost.then_some("the clock was set back since the last run, by less than has passed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stamp(inode: u64) -> Stamp {
        Stamp {
            kind: REGULAR,
            device: 0,
            inode,
            ctime: (100, 5),
            mtime: (90, 0),
            size: 10,
            linked: false,
            certain: true,
        }
    }

    fn directory() -> Stamp {
        Stamp { kind: DIRECTORY, ..stamp(2) }
    }

    #[test]
    fn nothing_changed_gives_nothing() {
        let files = [(&b"a"[..], stamp(3)), (b"b", stamp(4))];
        let changes = compare(Some((&directory(), &files)), (&directory(), &files));
        assert_eq!(changes, Changes::default());
    }

    #[test]
    fn any_difference_but_a_directorys_size_is_a_change() {
        for changed in [
            Stamp { kind: 0o12, ..stamp(3) },
            Stamp { device: 1, ..stamp(3) },
            stamp(4),
            Stamp { ctime: (100, 6), ..stamp(3) },
            Stamp { mtime: (89, 0), ..stamp(3) },
            Stamp { size: 11, ..stamp(3) },
        ] {
            assert!(!is_same(Some(&stamp(3)), &changed), "{changed:?}");
        }
        assert!(is_same(Some(&directory()), &Stamp { size: 4096, ..directory() }));
    }

    #[test]
    fn an_uncertain_record_equals_nothing_not_even_itself() {
        let uncertain = Stamp { certain: false, ..stamp(3) };
        assert!(!is_same(Some(&uncertain), &uncertain) && !is_same(Some(&uncertain), &stamp(3)));
        assert!(is_same(Some(&stamp(3)), &uncertain));
    }

    #[test]
    fn a_name_that_came_or_went_lists_the_directory_also_when_its_stamp_is_the_same() {
        let (one, two) = ([(&b"a"[..], stamp(3))], [(&b"a"[..], stamp(3)), (b"b", stamp(4))]);
        let listing = |old: &[Named<'_>], new: &[Named<'static>]| {
            compare(Some((&directory(), old)), (&directory(), new)).listing
        };
        assert!(listing(&one, &two) && listing(&two, &one) && !listing(&two, &two));
    }

    #[test]
    fn what_has_or_had_several_names_is_written_anew() {
        let linked = Stamp { linked: true, ..stamp(3) };
        for (was, is) in
            [(linked, Stamp { ctime: (101, 0), ..stamp(3) }), (stamp(3), Stamp { size: 1, ..linked })]
        {
            let new = [(&b"a"[..], is)];
            let changes = compare(Some((&directory(), &[(b"a", was)])), (&directory(), &new));
            assert_eq!(changes.files, [(&b"a"[..], How::Anew)]);
        }
    }

    #[test]
    fn a_clock_that_went_back_is_noticed_also_when_time_has_passed_since() {
        let trouble = |then, old_uptime, now, uptime| {
            clock_trouble(((then, 0), "boot", old_uptime), ((now, 0), "boot", uptime)).is_some()
        };
        assert!(trouble(1000, 10, 999, 20));
        assert!(trouble(1000, 10, 1500, 1000));
        assert!(!trouble(1000, 10, 2000, 1010));
        assert!(!trouble(1000, 10, 9000, 1010), "the clock may be set forward");
        assert!(clock_trouble(((1000, 0), "one", 10), ((1001, 0), "two", 5000)).is_none());
    }

    #[test]
    fn what_changed_about_the_start_is_not_before_it() {
        assert!(is_before((96, 999), (100, 0)));
        for change in [(97, 0), (99, 999), (100, 0), (5000, 0)] {
            assert!(!is_before(change, (100, 0)), "{change:?}");
        }
    }

    proptest! {
        #[test]
        fn every_changed_or_new_file_is_given_and_every_lost_one_lists_its_directory(
            old in proptest::collection::btree_map("[a-d]{1,2}", 1u64..4, 0..8),
            new in proptest::collection::btree_map("[a-d]{1,2}", 1u64..4, 0..8),
        ) {
            let named = |(name, inode): (&'_ String, &u64)| (name.clone().into_bytes(), stamp(*inode));
            let (was, is): (Vec<_>, Vec<_>) = (old.iter().map(named).collect(), new.iter().map(named).collect());
            let was: Vec<Named<'_>> = was.iter().map(|(name, stamp)| (&name[..], *stamp)).collect();
            let is: Vec<Named<'_>> = is.iter().map(|(name, stamp)| (&name[..], *stamp)).collect();
            let changes = compare(Some((&directory(), &was)), (&directory(), &is));
            for (name, inode) in &new {
                let given = changes.files.iter().any(|(given, _)| *given == name.as_bytes());
                prop_assert_eq!(given, old.get(name) != Some(inode));
            }
            let names_differ = !old.keys().eq(new.keys());
            prop_assert_eq!(changes.listing, names_differ);
        }
    }
}
