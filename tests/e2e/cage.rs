//! rsync's namespaces: what they stop where the other layers do not, and what becomes of a backup when the kernel
//! offers them and refuses them all the same.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::Pid;

use crate::client::Client;
use crate::run::{Ran, is_alive, run, tool};
use crate::world::World;

const PUSH: &str = "rsync --server -logDtpre.iLsfxCIvu . .";

/// The gate as sshd starts it, for one push.
fn gate(world: &World, config: &Path) -> Vec<String> {
    let command = |word: &str| word.to_owned();
    let mut words: Vec<String> = ["env", "-i", "SSH_ORIGINAL_COMMAND="].map(command).into();
    words[2].push_str(PUSH);
    words.push(crate::run::program("byteback-receive").display().to_string());
    words.extend(["--client", "web1", "--store"].map(command));
    words.push(world.store.display().to_string());
    words.extend(["--config".to_owned(), config.display().to_string()]);
    words
}

/// Runs the gate as the store's user in a mount namespace that a script has arranged below `$root`.
fn gate_in(world: &World, config: &Path, root: &Path, script: &str) -> Ran {
    let user = &world.user;
    let script = format!(
        "set -e; root=$1; shift; {script} setpriv --reuid {user} --regid {user} --init-groups -- \"$@\""
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]).arg(root);
    run(command.args(gate(world, config)))
}

/// Where it has none there is nothing to show.
fn has_namespaces(world: &World) -> bool {
    run(&mut world.as_user(["unshare", "--user", "--mount", "--pid", "--fork", "true"])).status.success()
}

fn empty_directory(world: &World, name: &str) -> PathBuf {
    let path = world.file(name);
    std::fs::create_dir(&path).unwrap();
    path
}

/// The push goes on, and the log says why it lacks a namespace: once.
#[track_caller]
fn assert_told_once(world: &World, root: &Path, script: &str, why: &str) {
    let config = world.server_config("gate.toml", "log = 'file'\nrsync = '/usr/bin/true'\n");
    for _ in 0..2 {
        gate_in(world, &config, root, script).must(0);
    }
    let lines = world.log_lines();
    let told: Vec<_> = lines.iter().filter(|line| line.contains("a namespace of its own")).collect();
    assert!(told.len() == 1 && told[0].contains(why), "{lines:#?}");
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.contains("accept client=web1 ") && line.contains("request=push"))
            .count(),
        2,
        "{lines:#?}"
    );
}

#[test]
fn a_namespace_that_is_refused_is_told_of_once_and_the_push_goes_on() {
    let world = World::new("cage-refused");
    Client::enrolled(&world, "web1");
    // Who is chrooted gets no user namespace (user_namespaces(7)).
    let root = empty_directory(&world, "root");
    assert_told_once(&world, &root, "mount --rbind / $root; exec chroot $root", "EPERM");
}

#[test]
fn a_namespace_that_cannot_be_furnished_is_told_of_once_and_the_push_goes_on() {
    let world = World::new("cage-bare");
    Client::enrolled(&world, "web1");
    if !has_namespaces(&world) {
        return;
    }
    // A machine without the directory in which the new root is put together.
    let root = empty_directory(&world, "root");
    let script = "mount -t tmpfs -o mode=755 none $root; cd $root; mkdir old
        for d in usr etc proc run dev lib lib64 bin sbin; do
            if [ -L /$d ]; then cp -P /$d .; elif [ -d /$d ]; then mkdir $d; mount --rbind /$d $d; fi
        done
        pivot_root . old; cd /; exec";
    assert_told_once(&world, &root, script, "ENOENT");
}

#[cfg(debug_assertions)]
#[test]
fn without_landlock_and_seccomp_a_taken_over_rsync_still_reaches_no_process_and_makes_few() {
    let world = World::new("cage-alone");
    let client = Client::enrolled(&world, "web1");
    if !has_namespaces(&world) {
        return;
    }
    let prisoner = world.file("prisoner");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/cage/prisoner.c");
    tool("cc", ["-static".as_ref(), "-o".as_ref(), prisoner.as_os_str(), source.as_os_str()]);
    let victim = world.as_user(["sleep", "500"]).spawn().unwrap();
    let victim = Victim(victim);
    std::fs::write(world.current(&client.name).join("target"), victim.0.id().to_string()).unwrap();
    for off in ["'landlock', 'seccomp'", ""] {
        let text = format!("log = 'file'\nrsync = '{}'\nswitched_off = [{off}]\n", prisoner.display());
        let config = world.server_config("gate.toml", &text);
        let said = run(&mut world.as_user(gate(&world, &config))).must(0).text();
        assert_eq!(said.lines().collect::<Vec<_>>(), ["number 1", "signal: No such process", "children 3"]);
        assert!(is_alive(Pid::from_raw(i32::try_from(victim.0.id()).unwrap())));
    }
}

/// A process of the store's user that has nothing to do with the session.
#[cfg(debug_assertions)]
struct Victim(std::process::Child);

#[cfg(debug_assertions)]
impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
