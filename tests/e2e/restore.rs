//! Getting files back: what is listed, what comes, and where to.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::client::Client;
use crate::compare::assert_equal_both_ways;
use crate::run::run;
use crate::torture;
use crate::world::World;

const OLD: &str = "2026-01-01T00:00+0000";

/// A client with two snapshots; `changed` differs between them, `gone` is in the older one alone.
fn with_history(world: &World) -> Client<'_> {
    let client = Client::enrolled(world, "web1");
    client.write("etc/same", "same");
    client.write("etc/changed", "one");
    client.write("etc/gone", "gone");
    client.write("etc/.hidden", "dot");
    torture::set_time(&client.tree.join("etc/changed"), 1_500_000_000, 0);
    client.backup().must(0);
    world.rename_newest("web1", OLD);
    client.write("etc/changed", "two, and longer");
    fs::remove_file(client.tree.join("etc/gone")).unwrap();
    client.backup().must(0);
    client
}

fn path(client: &Client, name: &str) -> String {
    client.tree.join(name).to_str().unwrap().to_owned()
}

#[test]
fn versions_of_a_file_are_listed_and_each_can_be_restored() {
    let world = World::new("versions");
    let client = with_history(&world);
    let newest = world.snapshots("web1").pop().unwrap();
    let changed = path(&client, "etc/changed");

    let listed = client.restore([&*changed]).must(0).text();
    assert_eq!(listed.lines().filter(|line| line.trim_end().ends_with("etc/changed")).count(), 1, "{listed}");
    let listed = client.restore(["--all", &changed]).must(0).text();
    assert!(listed.contains(OLD) && listed.contains(&newest), "{listed}");
    assert!(listed.contains("2017-07-14 02:40:00 +0000"), "the time on the client: {listed}");

    let here = client.config.parent().unwrap();
    client.restore(["--restore", "--snapshot", OLD, &changed]).must(0);
    assert_eq!(fs::read_to_string(client.tree_in(&here.join(OLD)).join("etc/changed")).unwrap(), "one");
    client.restore(["--restore", &changed]).must(0);
    // Without a snapshot's name the newest version comes, from the tree that the list named.
    let from_newest =
        [newest.as_str(), "current"].map(|tree| client.tree_in(&here.join(tree)).join("etc/changed"));
    let content = from_newest.iter().find_map(|path| fs::read_to_string(path).ok());
    assert_eq!(content.as_deref(), Some("two, and longer"));
}

#[test]
fn a_deleted_file_is_found_and_comes_back() {
    let world = World::new("deleted");
    let client = with_history(&world);
    let to = world.clients.join("back");
    client.restore(["--restore", "--to", to.to_str().unwrap(), &path(&client, "etc/gone")]).must(0);
    assert_eq!(fs::read_to_string(client.tree_in(&to).join("etc/gone")).unwrap(), "gone");
}

#[test]
fn a_listing_shows_owner_mode_and_size_as_they_were_on_the_client() {
    let world = World::new("listing");
    let client = Client::enrolled(&world, "web1");
    client.write("file", [0; 12_345]);
    nix::unistd::chown(&client.tree.join("file"), Some(1234.into()), Some(4321.into())).unwrap();
    fs::set_permissions(client.tree.join("file"), std::os::unix::fs::PermissionsExt::from_mode(0o4751))
        .unwrap();
    std::os::unix::fs::symlink("file", client.tree.join("link")).unwrap();
    client.backup().must(0);
    let listed = client.restore([path(&client, "*")]).must(0).text();
    let file =
        listed.lines().find(|line| line.trim_end().ends_with("/file")).unwrap_or_else(|| panic!("{listed}"));
    for wanted in ["-rwsr-x--x", "12345", "1234", "4321"] {
        assert!(file.contains(wanted), "{wanted} in {listed}");
    }
    assert!(listed.contains("link -> file"), "{listed}");
    let json = client.restore(["--json", &path(&client, "file")]).must(0).text();
    for line in json.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[test]
fn patterns_find_what_they_say_and_nothing_else() {
    let world = World::new("patterns");
    let client = Client::enrolled(&world, "web1");
    for name in
        ["a/one.conf", "a/two.conf", "a/three.txt", "a/.dot.conf", "a/b/deep.conf", "c/x1", "c/x2", "c/x3"]
    {
        client.write(name, name);
    }
    client.backup().must(0);
    let found = |pattern: &str| -> Vec<String> {
        let listed = client.restore(["--json", &path(&client, pattern)]).text();
        let entries = listed.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let root = client.tree.to_str().unwrap().trim_start_matches('/').to_owned();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry["path"].as_str().map(str::to_owned))
            .map(|path| {
                path.trim_start_matches('/').strip_prefix(&root).unwrap().trim_start_matches('/').to_owned()
            })
            .collect();
        names.sort();
        names
    };
    assert_eq!(found("a/*.conf"), ["a/one.conf", "a/two.conf"]);
    assert_eq!(found("a/.*.conf"), ["a/.dot.conf"]);
    assert_eq!(found("c/x[12]"), ["c/x1", "c/x2"]);
    assert_eq!(found("c/x?"), ["c/x1", "c/x2", "c/x3"]);
    assert_eq!(found("a/{one,three}.*"), ["a/one.conf", "a/three.txt"]);
    assert_eq!(found("**/deep.conf"), ["a/b/deep.conf"]);
    assert_eq!(found("nothing*"), Vec::<String>::new());
}

#[test]
fn what_matches_nothing_is_said_and_is_no_success() {
    let world = World::new("nothing");
    let client = with_history(&world);
    client
        .restore([path(&client, "etc/nobody*")])
        .must(1)
        .must_say("** Sorry.  There were no files matching:");
    client.restore(["--restore", &path(&client, "etc/nobody*")]).must(1).must_say("no files matching");
}

#[test]
fn a_directory_is_restored_with_all_below_it_and_a_second_time_changes_nothing() {
    let world = World::new("directory");
    let client = Client::enrolled(&world, "web1");
    torture::many_small_files(&client.tree.join("data"), 450);
    client.write("other", "x");
    client.backup().must(0);
    let to = world.clients.join("back");
    for _ in 0..2 {
        client.restore(["--restore", "--to", to.to_str().unwrap(), &path(&client, "data")]).must(0);
        let restored = client.tree_in(&to);
        assert_equal_both_ways(&client.tree.join("data"), &restored.join("data"));
        assert!(!restored.join("other").exists());
    }
}

#[test]
fn each_of_the_strangest_names_comes_back_alone() {
    let world = World::new("one-name");
    let client = Client::enrolled(&world, "web1");
    torture::fill(&client.tree);
    client.backup().must(0);
    let quoted = |name: &str| -> String {
        let special = |c: char| "*?[]{}\\".contains(c);
        name.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
    };
    for name in [
        "new\nline",
        "*",
        "a:b",
        "-rf",
        "'",
        "\\",
        " leading",
        "{a,b}",
        "$(reboot)",
        "[a-z]",
        "~",
        "ünïcödé",
        "=20",
    ] {
        let to: PathBuf = world.clients.join("back");
        let pattern = format!("{}/{}", path(&client, "names"), quoted(name));
        client.restore(["--restore", "--to", to.to_str().unwrap(), &pattern]).must(0);
        let restored = client.tree_in(&to).join("names");
        let names: Vec<_> =
            fs::read_dir(&restored).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [name], "one name and no other");
        assert_eq!(
            fs::read(restored.join(name)).unwrap(),
            fs::read(client.tree.join("names").join(name)).unwrap()
        );
        fs::remove_dir_all(&to).unwrap();
    }
}

#[test]
fn a_restore_never_follows_what_lies_in_its_way() {
    let world = World::new("in-the-way");
    let client = with_history(&world);
    let (to, elsewhere) = (world.clients.join("back"), world.clients.join("elsewhere"));
    fs::create_dir_all(client.tree_in(&to)).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, client.tree_in(&to).join("etc")).unwrap();
    client.restore(["--restore", "--to", to.to_str().unwrap(), &path(&client, "etc")]);
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn restoring_leaves_the_store_as_it_was() {
    let world = World::new("restore-reads");
    let client = with_history(&world);
    let look = || crate::compare::fingerprint(&world.store, &[&world.store.join(".byteback")]);
    let before = look();
    let to = world.clients.join("back");
    client.restore(["--restore", "--all", "--to", to.to_str().unwrap(), &path(&client, "etc/*")]).must(0);
    crate::compare::assert_untouched(&before, &look());
    let old = client.tree_in(&to.join(OLD)).join("etc/changed");
    assert_eq!(fs::metadata(old).unwrap().size(), 3);
}

#[test]
fn a_lost_server_fails_a_restore_with_one_sentence() {
    let mut world = World::new("restore-lost");
    Client::enrolled(&world, "web1").write("file", "x");
    world.stop_sshd();
    let client = Client::stranger(&world, "web1");
    let ran = run(client.program("byteback-restore").arg(Path::new("/x"))).must_fail();
    assert_eq!(
        ran.all().lines().filter(|line| line.starts_with("byteback-restore:")).count(),
        1,
        "{}",
        ran.story()
    );
}
