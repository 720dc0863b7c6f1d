//! sshd itself: asked what it would do, given a drop-in of ours, told to read it. Its files are never
//! parsed for settings; sshd(8) says better what they mean (`-T`, `-t`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{files, process, supervise};
use crate::model::{Failure, escaped};

/// Its main configuration.
pub const CONFIG: &str = "/etc/ssh/sshd_config";
/// Where its main configuration takes more from, on Debian and most others.
pub const DROP_INS: &str = "/etc/ssh/sshd_config.d";

const PROGRAMS: [&str; 3] = ["/usr/sbin/sshd", "/sbin/sshd", "/usr/local/sbin/sshd"];
const SYSTEMCTL: [&str; 2] = ["/usr/bin/systemctl", "/bin/systemctl"];
const PID_FILE: &str = "/run/sshd.pid";
const PATIENCE: Duration = Duration::from_secs(20);

/// The effective settings for somebody who comes in as `user` from this machine: keyword in small
/// letters, and the rest of each of its lines.
///
/// # Errors
/// When sshd is not installed or refuses its configuration; as a rule it needs root to read its host keys.
pub fn settings(config: &Path, user: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let mut command = process::command(program()?);
    command.args(["-T", "-C", &format!("user={user},host=localhost,addr=127.0.0.1"), "-f"]).arg(config);
    let output = process::output_within(&mut command, PATIENCE)?;
    if !output.status.success() {
        bail!(process::describe_failure(&command, &output));
    }
    let mut settings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let (keyword, rest) = line.split_once(' ').unwrap_or((line, ""));
        settings.entry(keyword.to_ascii_lowercase()).or_default().push(rest.trim().to_owned());
    }
    Ok(settings)
}

/// Whether sshd accepts its main configuration with all that it includes.
///
/// # Errors
/// What sshd says against it.
pub fn validate() -> Result<()> {
    let mut command = process::command(program()?);
    let output = process::output_within(command.args(["-t", "-f", CONFIG]), PATIENCE)?;
    if output.status.success() {
        return Ok(());
    }
    // The first line names file, line and keyword, the last one only counts.
    let said = String::from_utf8_lossy(&output.stderr);
    bail!("sshd -t says: {}", escaped(said.lines().next().unwrap_or("nothing").as_bytes()))
}

/// Whether the main configuration takes in the files of [`DROP_INS`], and that directory is there.
pub fn takes_drop_ins() -> bool {
    let text = fs::read_to_string(CONFIG).unwrap_or_default();
    Path::new(DROP_INS).is_dir() && includes_drop_ins(&text)
}

fn includes_drop_ins(text: &str) -> bool {
    text.lines().any(|line| {
        let mut words = line.split([' ', '\t', '=', '"']).filter(|word| !word.is_empty());
        words.next().is_some_and(|word| word.eq_ignore_ascii_case("include"))
            && words.any(|word| {
                let place = word.strip_prefix("/etc/ssh/").unwrap_or(word);
                ["sshd_config.d/*.conf", "sshd_config.d/*"].contains(&place)
            })
    })
}

/// Puts a drop-in in its place if sshd accepts its configuration with it; else all is as before.
///
/// # Errors
/// What sshd says against it, or against what was there before.
pub fn leave_if_accepted(path: &Path, content: &[u8], accepts: impl Fn() -> Result<()>) -> Result<()> {
    accepts().context("sshd refuses its configuration as it is, so nothing was added")?;
    let before = files::read_optional(path)?;
    files::replace(path, content, 0o644)?;
    let Err(refusal) = accepts() else { return Ok(()) };
    match before {
        Some(before) => files::replace(path, &before, 0o644)?,
        None => fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?,
    }
    Err(refusal.context(format!("sshd refuses {}, so it was taken out again", path.display())))
}

/// Has a running sshd read its configuration again; `false` when none runs. Sessions go on.
///
/// # Errors
/// When there is one and it cannot be told.
pub fn reload() -> Result<bool> {
    if Path::new("/run/systemd/system").is_dir()
        && let Some(systemctl) = process::find_program(&SYSTEMCTL)
    {
        for unit in ["ssh.service", "sshd.service"] {
            let mut command = process::command(systemctl);
            command.args(["--quiet", "is-active", unit]);
            if process::output_within(&mut command, PATIENCE)?.status.success() {
                process::run(process::command(systemctl).args(["reload", unit]))?;
                return Ok(true);
            }
        }
    }
    let pid = fs::read_to_string(PID_FILE).ok().and_then(|text| text.trim().parse::<i32>().ok());
    let Some(pid) = pid.filter(|pid| supervise::program_of(*pid).as_deref() == Some("sshd")) else {
        return Ok(false);
    };
    kill(Pid::from_raw(pid), Signal::SIGHUP).context("cannot signal sshd")?;
    Ok(true)
}

fn program() -> Result<PathBuf> {
    let missing = "sshd is not installed; run apt-get install openssh-server";
    Ok(process::find_program(&PROGRAMS).context(Failure::failed(missing))?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn the_usual_include_is_known_and_nothing_else() {
        for line in [
            "Include /etc/ssh/sshd_config.d/*.conf",
            "  include\t/etc/ssh/other /etc/ssh/sshd_config.d/*.conf",
            "Include \"sshd_config.d/*\"",
        ] {
            assert!(includes_drop_ins(&format!("Port 22\n{line}\n")), "{line}");
        }
        for line in ["#Include /etc/ssh/sshd_config.d/*.conf", "Include /etc/ssh/x/*.conf", "Port 22", ""] {
            assert!(!includes_drop_ins(line), "{line}");
        }
    }

    #[test]
    fn what_sshd_refuses_is_taken_out_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("byteback.conf");
        let only_good = || {
            let text = fs::read_to_string(&path).unwrap_or_default();
            anyhow::ensure!(!text.contains("bad"), "Bad configuration option");
            Ok(())
        };
        let refusal = leave_if_accepted(&path, b"bad", only_good).unwrap_err();
        assert!(format!("{refusal:#}").contains("Bad configuration option"));
        assert!(!path.exists());
        leave_if_accepted(&path, b"good", only_good).unwrap();
        leave_if_accepted(&path, b"bad again", only_good).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"good");
    }

    #[test]
    fn a_configuration_that_sshd_refuses_already_is_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("byteback.conf");
        let asked = Cell::new(0);
        let never = || {
            asked.set(asked.get() + 1);
            bail!("broken")
        };
        assert!(leave_if_accepted(&path, b"good", never).is_err());
        assert!(!path.exists() && asked.get() == 1);
    }
}
