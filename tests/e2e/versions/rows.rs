//! What a stock rsync is asked for: together these make it send every option that the grammar allows.

/// Which transfers a row is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Push,
    Pull,
    Both,
}

/// What must come of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// The copy equals the original. The words come behind [`WHOLE`].
    Equal,
    /// The same as without byteback, which is not a full copy: the words stand alone.
    AsUnconfined,
}

pub struct Row {
    pub way: Way,
    pub promise: Promise,
    pub words: &'static str,
    /// What is named instead of the whole tree.
    pub sources: &'static [&'static str],
    pub status: i32,
    /// rsync 3.2.7 as Debian has it now fails on the server's side, with or without byteback.
    pub broken_in_327: bool,
    /// Times that the words themselves leave to chance.
    pub any_times: bool,
}

/// A full copy.
pub const WHOLE: &str = "-aHAX --numeric-ids --delete";

const fn equal(way: Way, words: &'static str) -> Row {
    Row {
        way,
        promise: Promise::Equal,
        words,
        sources: &[""],
        status: 0,
        broken_in_327: false,
        any_times: false,
    }
}

const fn unconfined(way: Way, words: &'static str) -> Row {
    Row { promise: Promise::AsUnconfined, ..equal(way, words) }
}

impl Row {
    const fn of(mut self, sources: &'static [&'static str]) -> Self {
        self.sources = sources;
        self
    }

    const fn status(mut self, status: i32) -> Self {
        self.status = status;
        self
    }

    const fn broken_in_327(mut self) -> Self {
        self.broken_in_327 = true;
        self
    }

    const fn any_times(mut self) -> Self {
        self.any_times = true;
        self
    }
}

use Way::{Both, Pull, Push};

/// A full copy and nothing else.
pub static FULL: Row = equal(Both, "");

/// rsync(1): a partial transfer, here for names that are not UTF-8 where UTF-8 was asked for.
const PARTIAL: i32 = 23;
/// rsync(1): the --max-delete limit stopped deletions.
const MAX_DELETE: i32 = 25;

pub static ROWS: &[Row] = &[
    equal(Both, ""),
    equal(Both, "-v"),
    equal(Both, "-vv"),
    equal(Both, "-vvv"),
    equal(Both, "-q"),
    equal(Both, "-HH"),
    equal(Both, "--inplace"),
    equal(Both, "--inplace --sparse"),
    equal(Both, "--sparse"),
    equal(Both, "--timeout=300"),
    equal(Both, "-z"),
    equal(Both, "-zz"),
    equal(Both, "-z --compress-level=9"),
    equal(Both, "--zc=zstd --zl=5"),
    equal(Both, "--zc=lz4"),
    equal(Both, "--zc=zlib"),
    equal(Both, "--zc=zlibx"),
    equal(Both, "--zc=none"),
    equal(Both, "--bwlimit=20m"),
    equal(Both, "--whole-file"),
    equal(Both, "--checksum"),
    equal(Both, "--checksum-choice=auto"),
    equal(Both, "--checksum-choice=xxh128"),
    equal(Both, "--checksum-choice=xxh3"),
    equal(Both, "--checksum-choice=xxh64"),
    equal(Both, "--checksum-choice=md4"),
    equal(Both, "--checksum-choice=sha1"),
    equal(Both, "--cc=md5,xxh64"),
    equal(Both, "--checksum-choice=none"),
    equal(Both, "--checksum-seed=42"),
    equal(Both, "-M--fake-super"),
    equal(Both, "-M--stats"),
    equal(Both, "-M--ignore-errors"),
    equal(Both, "--info=stats2,progress2,name0"),
    equal(Both, "--info=del,copy,backup"),
    equal(Both, "--info=ALL"),
    equal(Both, "--info=NONE"),
    equal(Both, "--stderr=all"),
    equal(Both, "--stderr=client"),
    equal(Both, "--open-noatime"),
    equal(Both, "-U"),
    equal(Both, "-UU"),
    equal(Both, "--block-size=8192"),
    equal(Both, "--ignore-times"),
    equal(Both, "--update"),
    equal(Both, "-x"),
    equal(Both, "-xx"),
    equal(Both, "--no-inc-recursive"),
    equal(Both, "--skip-compress=gz/jpg -z"),
    equal(Push, "--delete-before"),
    equal(Push, "--delete-during"),
    equal(Push, "--delete-delay"),
    equal(Push, "--delete-after"),
    equal(Push, "--delete-excluded"),
    equal(Push, "--force"),
    equal(Push, "--max-delete=100"),
    equal(Push, "--ignore-errors"),
    equal(Push, "-i"),
    equal(Push, "-ii"),
    equal(Push, "--out-format=%n"),
    equal(Push, "--out-format=%o"),
    equal(Push, "--stats"),
    equal(Push, "--preallocate"),
    equal(Push, "--partial"),
    equal(Push, "-P"),
    equal(Push, "--partial-dir=.rsync-partial"),
    equal(Push, "--delay-updates"),
    equal(Push, "--delay-updates --partial-dir=.pd"),
    equal(Push, "--fuzzy"),
    equal(Push, "-yy"),
    equal(Push, "--modify-window=1"),
    equal(Push, "--modify-window=-1"),
    equal(Push, "--fsync"),
    equal(Push, "--mkpath"),
    equal(Push, "--inplace -M--no-W"),
    unconfined(Both, "-aHAX"),
    unconfined(Both, "-aHAXR").any_times(),
    unconfined(Both, "-aHAXR --no-implied-dirs").of(&["links/", "acl/with-default/"]).any_times(),
    unconfined(Both, "-aHAX --append"),
    unconfined(Both, "-aHAX --append-verify"),
    unconfined(Both, "-aHAX --iconv=utf-8,utf-8").status(PARTIAL),
    unconfined(Both, "-aHAXC"),
    unconfined(Both, "-aHAX --safe-links"),
    unconfined(Both, "-HAXrptgoD --no-links"),
    unconfined(Both, "-aHAX --no-devices"),
    unconfined(Both, "-aHAX --no-specials"),
    unconfined(Both, "-aHAX --no-D"),
    unconfined(Push, "-dlptgoDHAX --no-r --delete"),
    unconfined(Pull, "-dlptgoDHAX -M--no-r"),
    unconfined(Both, "-aHAX --min-size=1k"),
    unconfined(Both, "-aHAX --max-size=10k"),
    unconfined(Both, "-aHAX --size-only"),
    unconfined(Both, "-aHAX -M--size-only"),
    unconfined(Both, "-aHAX -M--min-size=1"),
    unconfined(Both, "-aHAX -M--max-size=1000000"),
    unconfined(Both, "-aHAXn --delete -i"),
    unconfined(Both, "-a --list-only"),
    unconfined(Push, "-aHAX --delete --max-delete=0").status(MAX_DELETE),
    unconfined(Push, "-aHAXR --delete-missing-args").broken_in_327().of(&["times/", "nothing-of-that-name"]),
    unconfined(Push, "-aHAX --existing"),
    unconfined(Push, "-aHAX --ignore-existing"),
    unconfined(Push, "-aHAXm --delete"),
    unconfined(Both, "-aHAX --backup").any_times(),
    unconfined(Push, "-aHAX --delete --backup --suffix=.old").any_times(),
    unconfined(Push, "-aHAXO --delete").any_times(),
    unconfined(Push, "-aHAXJ --delete").any_times(),
    // Not of the whole tree: one of its links leads to the machine's root.
    unconfined(Push, "-aHAXR --copy-unsafe-links").of(&["changing/"]),
    unconfined(Push, "-aHAX --files-from=LIST"),
    unconfined(Push, "-aHAXIR --no-r --dirs --delete-during --modify-window=-1 --partial")
        .of(&["times/", "owners/"]),
    unconfined(Push, "-aHAXR --no-r --dirs --delete-during --modify-window=-1 --inplace")
        .of(&["times/", "owners/"]),
    unconfined(Push, "-aHAX --remove-source-files"),
    unconfined(Pull, "-aHAX --ignore-missing-args").of(&["times/", "nothing-of-that-name"]),
    unconfined(Both, "-rltogDHXE").any_times(),
    unconfined(Both, "-rlptgoDH --protocol=29").any_times(),
    // Mends what those before left behind: times to the nanosecond too.
    equal(Both, "--ignore-times --modify-window=-1"),
];
