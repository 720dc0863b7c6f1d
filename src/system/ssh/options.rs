//! ssh's options as words, and the quoting that ssh and rsync want. Pure; a path that either of them
//! would read as something else is refused, never bent.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::{HostKeyLookup, Login, Visit};
use crate::model::{Failure, escaped};

/// What every call has, whoever sits before it: no terminal, no forwarding of anything, no command
/// but ours, and an end to waiting for a network that went silent.
pub(super) fn base(login: &Login) -> Result<Vec<String>> {
    let seconds = login.io_timeout.as_secs().max(1);
    let mut words: Vec<String> = ["-T", "-x", "-a"].map(str::to_owned).into();
    if let Some(config) = login.config.as_deref().filter(|file| file.exists()) {
        words.extend(["-F".to_owned(), plain(config)?]);
    }
    words.extend(
        ["ClearAllForwardings=yes", "PermitLocalCommand=no", "RemoteCommand=none", "ServerAliveCountMax=5"]
            .map(|option| format!("-o{option}")),
    );
    words.push(format!("-oServerAliveInterval={}", (seconds / 5).clamp(1, 60)));
    words.push(format!("-oConnectTimeout={}", seconds.clamp(1, 60)));
    if let Some(key) = &login.key {
        // Not `-i`, which looks for the file before it expands `%%`.
        words.extend([format!("-oIdentityFile=\"{}\"", path(key)?), "-oIdentitiesOnly=yes".to_owned()]);
    }
    words.extend(login.destination.port().map(|port| format!("-p{port}")));
    Ok(words)
}

/// For a run at which nobody sits: nothing is asked, and where host keys are pinned only they count.
pub(super) fn unattended(login: &Login) -> Result<Vec<String>> {
    let mut words = base(login)?;
    words.extend(["-oBatchMode=yes", "-oLogLevel=ERROR"].map(str::to_owned));
    if let Some(pinned) = login.known_hosts.as_deref().filter(|file| file.exists()) {
        words.push(format!("-oUserKnownHostsFile=\"{}\"", path(pinned)?));
        words.extend(
            ["GlobalKnownHostsFile=/dev/null", "KnownHostsCommand=none", "StrictHostKeyChecking=yes"]
                .map(|option| format!("-o{option}")),
        );
    }
    Ok(words)
}

/// For a look at the host key alone: whatever it is, it is written to the file.
pub(super) fn host_key_only(login: &Login, file: &Path) -> Result<Vec<String>> {
    let mut words = base(&Login { key: None, ..login.clone() })?;
    words.push(format!("-oUserKnownHostsFile=\"{}\"", path(file)?));
    words.extend(
        [
            "BatchMode=yes",
            "StrictHostKeyChecking=accept-new",
            "GlobalKnownHostsFile=/dev/null",
            "KnownHostsCommand=none",
            "HashKnownHosts=no",
            "UpdateHostKeys=no",
            "PreferredAuthentications=none",
            "PubkeyAuthentication=no",
            "ControlMaster=no",
            "ControlPath=none",
        ]
        .map(|option| format!("-o{option}")),
    );
    Ok(words)
}

/// For a person: no master of theirs is used, since over one no host key is compared or written.
pub(super) fn attended(visit: &Visit) -> Result<Vec<String>> {
    let mut words = base(visit.login)?;
    let files = visit.known_hosts.iter().map(|file| Ok(format!("\"{}\"", path(file)?)));
    words.push(format!("-oUserKnownHostsFile={}", files.collect::<Result<Vec<_>>>()?.join(" ")));
    words.extend(
        ["HashKnownHosts=no", "CheckHostIP=no", "ControlMaster=no", "ControlPath=none"]
            .map(|option| format!("-o{option}")),
    );
    if visit.accept_new_host_key {
        words.push("-oStrictHostKeyChecking=accept-new".to_owned());
    }
    Ok(words)
}

/// Single quotes, a quote within doubled: what rsync(1) says of `--rsh`.
pub(super) fn quoted_for_rsync(word: &str) -> String {
    if !word.contains([' ', '\'', '"']) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "''"))
}

/// Reads what `ssh -G` prints: one option a line, its name in small letters.
pub(super) fn parse_lookup(printed: &str) -> HostKeyLookup {
    let value = |name: &str| {
        printed.lines().find_map(|line| line.split_once(' ').filter(|(key, _)| *key == name)).map(|(_, v)| v)
    };
    let host = value("hostname").unwrap_or_default();
    let name = match (value("hostkeyalias"), value("port")) {
        (Some(alias), _) => alias.to_owned(),
        (None, Some("22") | None) => host.to_owned(),
        (None, Some(port)) => format!("[{host}]:{port}"),
    };
    let files = |name: &str| -> Vec<PathBuf> {
        let paths = value(name).unwrap_or_default().split_ascii_whitespace().map(PathBuf::from);
        paths.filter(|path| path.is_absolute()).collect()
    };
    let (user_files, system_files) = (files("userknownhostsfile"), files("globalknownhostsfile"));
    HostKeyLookup { name, user_files, system_files }
}

/// ssh expands `%` and `${}` in these paths, and reads quotes and backslashes (`ssh_config(5)`, TOKENS
/// and ENVIRONMENT VARIABLES).
fn path(path: &Path) -> Result<String> {
    let text = plain(path)?;
    if text.contains(['"', '\\']) || text.contains("${") {
        bail!(unusable(path));
    }
    Ok(text.replace('%', "%%"))
}

fn plain(path: &Path) -> Result<String> {
    match path.to_str() {
        Some(text) if !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => bail!(unusable(path)),
    }
}

fn unusable(path: &Path) -> Failure {
    let shown = escaped(path.as_os_str().as_encoded_bytes());
    Failure::misuse(format!("ssh cannot be given the path {shown}; use one of plain characters"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::span::Span;

    fn login(directory: &Path) -> Login {
        Login {
            destination: "ssh://bb@host:2222/".parse().unwrap(),
            key: Some(directory.join("the key")),
            known_hosts: Some(directory.join("known_hosts")),
            config: Some(directory.join("ssh_config")),
            io_timeout: Span::seconds(300),
        }
    }

    #[test]
    fn only_pinned_keys_count_where_there_are_pinned_keys() {
        let directory = tempfile::tempdir().unwrap();
        let login = login(directory.path());
        let without = unattended(&login).unwrap();
        assert!(!without.iter().any(|word| word.contains("KnownHosts") || word == "-F"));
        std::fs::write(login.known_hosts.as_ref().unwrap(), "").unwrap();
        let with = unattended(&login).unwrap();
        for option in ["-oStrictHostKeyChecking=yes", "-oGlobalKnownHostsFile=/dev/null", "-p2222"] {
            assert!(with.iter().any(|word| word == option), "{option}");
        }
        assert!(with.iter().any(|word| word == "-oBatchMode=yes"));
    }

    #[test]
    fn a_silent_network_ends_within_the_io_timeout() {
        let directory = tempfile::tempdir().unwrap();
        for (timeout, interval) in [(1, 1), (20, 4), (300, 60), (10_800, 60)] {
            let login = Login { io_timeout: Span::seconds(timeout), ..login(directory.path()) };
            let words = base(&login).unwrap();
            assert!(words.contains(&format!("-oServerAliveInterval={interval}")), "{timeout}");
        }
    }

    #[test]
    fn words_are_quoted_as_rsync_splits_them() {
        for (word, quoted) in [("-T", "-T"), ("a b", "'a b'"), ("it's", "'it''s'"), ("a\"b c", "'a\"b c'")] {
            assert_eq!(quoted_for_rsync(word), quoted);
        }
    }

    #[test]
    fn a_path_that_ssh_would_expand_is_doubled_or_refused() {
        assert_eq!(path(Path::new("/a%h/b c")).unwrap(), "/a%%h/b c");
        for bad in ["/a${HOME}", "/a\"b", "/a\\b", "/a\nb"] {
            assert!(path(Path::new(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_name_of_a_host_key_is_the_one_that_ssh_uses() {
        let files = "userknownhostsfile /root/.ssh/known_hosts /root/.ssh/known_hosts2\n\
                     globalknownhostsfile /etc/ssh/ssh_known_hosts none\n";
        for (lines, name) in [
            ("hostname 10.0.0.1\nport 22\n", "10.0.0.1"),
            ("hostname ::1\nport 2222\n", "[::1]:2222"),
            ("hostname x\nport 2222\nhostkeyalias alias\n", "alias"),
        ] {
            let lookup = parse_lookup(&format!("{lines}{files}"));
            assert_eq!(lookup.name, name);
            assert_eq!((lookup.user_files.len(), lookup.system_files.len()), (2, 1));
        }
    }
}
