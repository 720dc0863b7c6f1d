//! Each way out of a backup: below a directory, in place, through a pipe, as a tar stream; rehearsed,
//! compared, interrupted, and with other owners.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::client::Client;
use crate::compare::{assert_equal_both_ways, assert_untouched, differences, fingerprint};
use crate::run::{Ran, run, start, tool, wait_until};
use crate::torture;
use crate::world::World;

/// byteback-restore with a staging directory that keeps attributes.
fn restore(client: &Client, words: &[&str]) -> Command {
    let mut command = client.program("byteback-restore");
    command.env("TMPDIR", &client.world.clients).args(words);
    command
}

fn copy(from: &Path, to: &Path) {
    tool("rsync", ["-aHAX".into(), "--numeric-ids".into(), from.join(""), to.join("")]);
}

fn assert_nothing_is_left(world: &World) {
    let names = fs::read_dir(&world.clients).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with("byteback-restore.")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_torture_tree_comes_back_exactly_through_each_way() {
    let world = World::new("ways");
    let client = Client::enrolled(&world, "web1");
    torture::fill(&client.tree);
    client.backup().must(0);
    let tree = client.tree.to_str().unwrap();
    let golden = world.clients.join("golden");
    copy(&client.tree, &golden);

    let to = world.clients.join("back");
    run(&mut restore(&client, &["--to", to.to_str().unwrap(), "--verify", tree])).must(0);
    assert_equal_both_ways(&golden, &client.tree_in(&to));
    fs::remove_dir_all(&to).unwrap();

    let archive = world.clients.join("archive.tar");
    let tar = run(&mut restore(&client, &["--tar", tree])).must(0);
    fs::write(&archive, &tar.stdout).unwrap();
    fs::create_dir(&to).unwrap();
    let extract = ["--extract", "--preserve-permissions", "--numeric-owner", "--acls", "--xattrs"];
    run(Command::new("tar")
        .args(extract)
        .arg("--xattrs-include=*")
        .arg("-C")
        .arg(&to)
        .arg("-f")
        .arg(&archive))
    .must(0);
    // A tar archive knows no sockets, and GNU tar says so; of two names of one pipe it makes two pipes.
    let tarred = world.clients.join("tarred");
    copy(&golden, &tarred);
    fs::remove_file(tarred.join("special/socket")).unwrap();
    for tree in [&tarred, &client.tree_in(&to)] {
        fs::remove_file(tree.join("special/fifo-too")).unwrap();
        give_time_of(&golden.join("special"), &tree.join("special"));
    }
    assert_equal_both_ways(&tarred, &client.tree_in(&to));
    assert!(tar.stderr.windows(6).any(|word| word == b"socket"), "{}", tar.story());
    fs::remove_dir_all(&to).unwrap();

    for name in ["links/one", "large", "names/ leading", "sparse"] {
        let pattern = format!("{tree}/{name}");
        let ran = run(&mut restore(&client, &["--stdout", &pattern])).must(0);
        assert!(ran.stdout == fs::read(client.tree.join(name)).unwrap(), "{name}");
    }
    assert_nothing_is_left(&world);

    damage(&client.tree);
    run(&mut restore(&client, &["--in-place", "--yes", tree])).must(0);
    assert_equal_both_ways(&golden, &client.tree);
}

/// Gives `other` the time of `one`.
fn give_time_of(one: &Path, other: &Path) {
    let time = fs::metadata(one).unwrap();
    torture::set_time(other, time.mtime(), time.mtime_nsec());
}

/// What an intruder or a slip leaves behind: nothing is added, everything else happens.
fn damage(tree: &Path) {
    fs::remove_dir_all(tree.join("many/d003")).unwrap();
    fs::remove_dir_all(tree.join("many/d004")).unwrap();
    symlink("/etc", tree.join("many/d004")).unwrap();
    fs::write(tree.join("large"), "short").unwrap();
    fs::remove_file(tree.join("links/one")).unwrap();
    symlink("/etc/passwd", tree.join("links/one")).unwrap();
    chown(tree.join("owners"), Some(77), Some(77)).unwrap();
    fs::remove_dir_all(tree.join("acl")).unwrap();
}

#[test]
fn hard_links_stay_links_however_many_files_are_chosen() {
    let world = World::new("many-links");
    let client = Client::enrolled(&world, "web1");
    for number in 0..250 {
        client.write(format!("a/{number}"), number.to_string());
        fs::create_dir_all(client.tree.join("z")).unwrap();
        fs::hard_link(client.tree.join(format!("a/{number}")), client.tree.join(format!("z/{number}")))
            .unwrap();
    }
    client.backup().must(0);
    let to = world.clients.join("back");
    let pattern = format!("{}/*/*", client.tree.display());
    client.restore(["--to", to.to_str().unwrap(), &pattern]).must(0);
    let back = client.tree_in(&to);
    for number in 0..250 {
        assert_eq!(fs::metadata(back.join(format!("a/{number}"))).unwrap().nlink(), 2, "{number}");
    }
    assert_equal_both_ways(&client.tree.join("z"), &back.join("z"));
}

#[test]
fn a_rehearsal_says_why_in_words_and_changes_nothing() {
    let world = World::new("rehearse");
    let client = Client::enrolled(&world, "web1");
    for name in ["same", "longer", "mode", "gone", "odd\nname"] {
        client.write(name, "content");
        torture::set_time(&client.tree.join(name), 1_500_000_000, 0);
    }
    client.backup().must(0);
    client.write("longer", "content and more");
    fs::set_permissions(client.tree.join("mode"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    fs::remove_file(client.tree.join("gone")).unwrap();
    let tree = client.tree.to_str().unwrap();
    let before = fingerprint(&client.tree, &[]);
    let shown = run(&mut restore(&client, &["--in-place", "--dry-run", tree])).must(0).text();
    let has = |line: &str| assert!(shown.contains(line), "{line:?} in {shown}");
    has(&format!("replace {tree}/longer (size, time)"));
    has(&format!("adjust {tree}/mode (mode)"));
    has(&format!("create {tree}/gone"));
    assert!(!shown.contains("/same"), "{shown}");
    assert_untouched(&before, &fingerprint(&client.tree, &[]));

    let json = run(&mut restore(&client, &["--in-place", "--dry-run", "--json", tree])).must(0).text();
    let events: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let replaced = events.iter().find(|event| event["change"] == "replace").unwrap();
    assert_eq!(replaced["reasons"], serde_json::json!(["size", "time"]));
    assert_eq!(events.last().unwrap()["complete"], true);
}

#[test]
fn what_differs_from_the_backup_is_found_though_its_size_and_time_agree() {
    let world = World::new("verify");
    let client = Client::enrolled(&world, "web1");
    client.write("quiet", "content");
    client.write("other", "content");
    torture::set_time(&client.tree.join("quiet"), 1_500_000_000, 0);
    client.backup().must(0);
    let tree = client.tree.to_str().unwrap();
    run(&mut restore(&client, &["--in-place", "--dry-run", "--verify", tree])).must(0);
    client.write("quiet", "CONTENT");
    torture::set_time(&client.tree.join("quiet"), 1_500_000_000, 0);
    run(&mut restore(&client, &["--in-place", "--dry-run", "--verify", tree]))
        .must(1)
        .must_say(&format!("differs: {tree}/quiet: content"))
        .must_not_say("other");
}

#[test]
fn a_restore_in_place_asks_first_and_never_follows_a_link() {
    let world = World::new("in-place");
    let client = Client::enrolled(&world, "web1");
    client.write("home/jo/dir/passwd", "of jo");
    client.backup().must(0);
    let file = client.tree.join("home/jo/dir/passwd");
    let name = file.to_str().unwrap();
    let elsewhere = world.clients.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();

    client.write("home/jo/dir/passwd", "changed here");
    run(&mut restore(&client, &["--in-place", name])).must(2).must_say("add --yes");
    assert_eq!(fs::read_to_string(&file).unwrap(), "changed here");

    fs::remove_dir_all(file.parent().unwrap()).unwrap();
    symlink(&elsewhere, file.parent().unwrap()).unwrap();
    run(&mut restore(&client, &["--in-place", "--yes", name])).must(2).must_say("follows no link");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    // A link that is itself restored gives way to what the backup has there.
    run(&mut restore(&client, &["--in-place", "--yes", client.tree.join("home/jo").to_str().unwrap()]))
        .must(0);
    assert_eq!(fs::read_to_string(&file).unwrap(), "of jo");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);

    fs::remove_file(&file).unwrap();
    symlink(elsewhere.join("target"), &file).unwrap();
    run(&mut restore(&client, &["--in-place", "--yes", name])).must(0);
    assert!(fs::symlink_metadata(&file).unwrap().is_file() && !elsewhere.join("target").exists());
}

#[test]
fn an_interrupted_restore_goes_on_where_it_was() {
    let world = World::with_size("resume", "2G");
    let client = Client::enrolled(&world, "web1");
    for number in 0..20 {
        client.write(format!("a/{number}"), torture::noise(number, 10_000));
    }
    client.write("z/large", torture::noise(99, 200_000_000));
    client.backup().must(0);
    let to = world.clients.join("back");
    let words = ["--json", "--to", to.to_str().unwrap(), client.tree.to_str().unwrap()];
    let running = start(&mut restore(&client, &words));
    let back = client.tree_in(&to);
    let begun = || {
        let names = fs::read_dir(back.join("z")).into_iter().flatten().flatten();
        names
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(".large."))
            .any(|entry| entry.metadata().is_ok_and(|found| found.len() > 20_000_000))
    };
    wait_until("the large file is on its way", begun);
    running.signal(Signal::SIGTERM);
    running.wait().must(1).must_say("goes on from there");
    assert!(!back.join("z/large").exists(), "no half a file under a whole one's name");
    let partial = fs::metadata(back.join("z/.byteback-partial/large")).unwrap().len();
    assert!(partial > 20_000_000, "{partial}");

    let ran = run(&mut restore(&client, &words)).must(0);
    let end: serde_json::Value = serde_json::from_str(ran.text().lines().last().unwrap()).unwrap();
    assert_eq!(end["files_copied"], 1, "what was there was not fetched again: {}", ran.story());
    let fetched = end["received_bytes"].as_u64().unwrap();
    assert!(fetched < 200_000_000 - partial / 2, "{fetched} bytes came for what was missing of {partial}");
    assert_equal_both_ways(&client.tree, &back);
}

#[test]
fn owners_get_the_number_that_their_name_has_here() {
    let world = World::new("names-here");
    let client = Client::enrolled(&world, "web1");
    {
        let _alone = crate::world::machine();
        tool("useradd", ["--no-create-home", "--uid", "4001", "--user-group", "b-moved"]);
    }
    for (name, owner) in [("of-moved", 4001), ("of-root", 0), ("of-nobody", 54_321)] {
        client.write(name, name);
        chown(client.tree.join(name), Some(owner), Some(owner)).unwrap();
    }
    let backup = |client: &Client| {
        run(client.backup_command().args(["--source", "/etc/passwd", "--source", "/etc/group"])).must(0)
    };
    backup(&client);
    {
        let _alone = crate::world::machine();
        tool("usermod", ["--uid", "4002", "b-moved"]);
    }
    let owners = |words: &[&str]| -> [u32; 3] {
        let to = world.clients.join("back");
        let words = [&["--to", to.to_str().unwrap(), client.tree.to_str().unwrap()], words].concat();
        run(&mut restore(&client, &words)).must(0);
        let back = client.tree_in(&to);
        let owner = |name: &str| fs::metadata(back.join(name)).unwrap().uid();
        let found = [owner("of-moved"), owner("of-root"), owner("of-nobody")];
        fs::remove_dir_all(&to).unwrap();
        found
    };
    assert_eq!(owners(&[]), [4001, 0, 54_321]);
    assert_eq!(owners(&["--owner-by-name"]), [4002, 0, 54_321]);
    assert_eq!(owners(&["--map-user", "b-moved:77"]), [77, 0, 54_321]);
    assert_eq!(owners(&["--owner-by-name", "--map-user", "54321:b-moved"]), [4002, 0, 4002]);
    assert_eq!(owners(&["--map-user", "0:0", "--map-user", "*:9"]), [9, 0, 9]);
    run(&mut restore(&client, &["--map-user", "nobody-there:0", client.tree.to_str().unwrap()]))
        .must(2)
        .must_say("knows no user nobody-there");
}

#[test]
fn nothing_but_one_file_goes_to_a_pipe() {
    let world = World::new("pipe");
    let client = Client::enrolled(&world, "web1");
    client.write("one", "1");
    client.write("two", "2");
    client.backup().must(0);
    let ask = |name: &str| -> Ran {
        run(&mut restore(&client, &["--stdout", &format!("{}/{name}", client.tree.display())]))
    };
    assert_eq!(ask("one").must(0).stdout, b"1");
    for (name, status) in [("*", 2), ("", 2), ("three", 1)] {
        let ran = ask(name).must(status);
        assert!(ran.stdout.is_empty(), "{}", ran.story());
    }
    let to: PathBuf = world.clients.join("back");
    fs::create_dir(&to).unwrap();
    assert!(differences(&client.tree, &to).contains("one"), "what compares trees sees a difference");
}
