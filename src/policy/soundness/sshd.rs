//! What sshd says that it would do for the store's user (`sshd -T -C user=NAME`), and whether that user
//! can come in at all (passwd(5), shadow(5), sshd_config(5)).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::model::Finding;

const TOPIC: &str = "sshd";

/// sshd's effective settings: keyword in small letters, and the rest of each of its lines.
pub type Settings = BTreeMap<String, Vec<String>>;

/// The account that sshd would let in.
#[derive(Debug, Clone, Copy)]
pub struct Login<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its home.
    pub home: &'a Path,
    /// Its shell; empty means `/bin/sh` (passwd(5)).
    pub shell: &'a str,
    /// The password field of shadow(5); `None` when it cannot be read.
    pub password: Option<&'a str>,
}

impl Login<'_> {
    fn is_locked(&self) -> bool {
        self.password.is_some_and(|field| field.starts_with('!'))
    }

    /// Whether a password could fit: crypt(5) makes no hash that starts like these.
    fn has_password(&self) -> bool {
        self.password.is_some_and(|field| !field.starts_with(['!', '*']))
    }
}

/// Judges the account by itself. `uses_pam` is sshd's `UsePAM`, where it is known.
pub fn login(login: &Login<'_>, store: &Path, uses_pam: Option<bool>) -> Vec<Finding> {
    const TOPIC: &str = "account";
    let Login { name, home, shell, .. } = login;
    let mut findings = Vec::new();
    if shell.ends_with("/nologin") || shell.ends_with("/false") {
        let what = format!(
            "{name} has the shell {shell}, and sshd runs the gate through the shell, so no client gets in"
        );
        findings.push(Finding::bad(TOPIC, what, format!("run usermod -s /bin/sh {name}")));
    }
    if *home != store {
        let what = format!(
            "{name} has the home {}, not the store: key lines without --store would miss it",
            home.display()
        );
        findings.push(Finding::weak(TOPIC, what, format!("run usermod -d {} {name}", store.display())));
    }
    let unlock = format!("run usermod -p '*' {name} (no password, keys only)");
    match (login.password, uses_pam) {
        (None, _) => {
            findings.push(Finding::not_checked(TOPIC, "whether the password is locked; that needs root"));
        }
        (Some(_), Some(false)) if login.is_locked() => {
            let what =
                format!("the password of {name} is locked, and sshd without PAM refuses its keys then");
            findings.push(Finding::bad(TOPIC, what, unlock));
        }
        (Some(_), None) if login.is_locked() => {
            let what =
                format!("the password of {name} is locked, with which an sshd without PAM refuses its keys");
            findings.push(Finding::weak(TOPIC, what, unlock));
        }
        (Some(_), _) => {}
    }
    if findings.iter().all(|finding| finding.way_out.is_none()) {
        findings.insert(0, Finding::ok(TOPIC, format!("{name} lives in the store and can run the gate")));
    }
    findings
}

/// Judges what sshd would do for this user. `key_file` is what enrolment writes, under each of its names.
pub fn sshd(settings: &Settings, login: &Login<'_>, key_file: &[PathBuf]) -> Vec<Finding> {
    let judgements = [
        keys(settings, login, key_file),
        environment(settings),
        forwarding(settings, login),
        passwords(settings, login),
    ];
    let mut findings: Vec<_> = judgements.into_iter().flatten().collect();
    if is(settings, "permituserrc", "yes") {
        let what = format!("PermitUserRC is on: ~/.ssh/rc of {} would run before the gate", login.name);
        findings.push(Finding::weak(TOPIC, what, drop_in()));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            TOPIC,
            format!("{} comes in by key alone and gets nothing but the gate", login.name),
        ));
    }
    findings
}

fn keys(settings: &Settings, login: &Login<'_>, key_file: &[PathBuf]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = login.name;
    if is(settings, "pubkeyauthentication", "no") {
        let what = format!("sshd accepts no keys of {name} (PubkeyAuthentication no), so no client gets in");
        findings.push(Finding::bad(
            TOPIC,
            what,
            "put PubkeyAuthentication yes into a Match block for that user",
        ));
    }
    let forced = first(settings, "forcecommand");
    if !forced.is_empty() && forced != "none" {
        let what = format!("sshd runs ForceCommand {forced} in place of the gate");
        findings.push(Finding::bad(TOPIC, what, format!("take it out for {name}")));
    }
    let files: Vec<PathBuf> = words(settings, "authorizedkeysfile").map(|word| expand(word, login)).collect();
    if !files.iter().any(|file| key_file.contains(file)) {
        let written = key_file.first().map_or_else(String::new, |file| file.display().to_string());
        let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        let what = format!(
            "sshd reads the keys of {name} from {}, and enrolment writes {}",
            files.join(" and "),
            written
        );
        let way_out = "put AuthorizedKeysFile .ssh/authorized_keys into a Match block for that user, or make that file a link to the one that sshd reads";
        findings.push(Finding::bad(TOPIC, what, way_out));
    }
    findings
}

/// Variables that a client must not set: which client it is, and what the loader loads (ld.so(8)).
const DANGEROUS: [&str; 5] =
    ["BYTEBACK_HOST", "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "LD_DEBUG_OUTPUT"];

fn lets_in_danger(pattern: &str) -> bool {
    pattern.starts_with("LD_")
        || pattern.starts_with("BYTEBACK_")
        || DANGEROUS.iter().any(|name| matches(pattern.as_bytes(), name.as_bytes()))
}

fn environment(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let accepted: Vec<_> = words(settings, "acceptenv").filter(|pattern| lets_in_danger(pattern)).collect();
    if !accepted.is_empty() {
        let what = format!(
            "AcceptEnv {} lets clients set variables that say who they are (BYTEBACK_*) or what programs load (LD_*)",
            accepted.join(" ")
        );
        findings.push(Finding::weak(TOPIC, what, "name only what is needed, such as AcceptEnv LANG LC_*"));
    }
    let permitted = first(settings, "permituserenvironment");
    // A list of patterns is allowed since OpenSSH 7.9; this one name is what former key lines need.
    let harmless = permitted.split(',').all(|pattern| pattern == "BYTEBACK_HOST" || !lets_in_danger(pattern));
    if permitted == "yes" || !(permitted == "no" || harmless) {
        let what = format!(
            "PermitUserEnvironment {permitted}: whoever can write the key file can have other programs loaded into every login"
        );
        let way_out = "set PermitUserEnvironment BYTEBACK_HOST in sshd's main configuration (it cannot stand in a Match \
                       block), or no, when no key line of the former program is left";
        findings.push(Finding::weak(TOPIC, what, way_out));
    }
    findings
}

fn forwarding(settings: &Settings, login: &Login<'_>) -> Vec<Finding> {
    if is(settings, "disableforwarding", "yes") {
        return Vec::new();
    }
    let names = [
        ("allowtcpforwarding", "AllowTcpForwarding"),
        ("allowstreamlocalforwarding", "AllowStreamLocalForwarding"),
        ("allowagentforwarding", "AllowAgentForwarding"),
        ("x11forwarding", "X11Forwarding"),
        ("permittunnel", "PermitTunnel"),
    ];
    let on = names.iter().filter(|(keyword, _)| !matches!(first(settings, keyword), "no" | ""));
    let on: Vec<_> = on.map(|(_, name)| *name).collect();
    if on.is_empty() {
        return Vec::new();
    }
    let what = format!(
        "{} on for {}: a key line without restrict, as the former program wrote them, opens a way into the server's network",
        on.join(", "),
        login.name
    );
    vec![Finding::weak(TOPIC, what, drop_in())]
}

fn passwords(settings: &Settings, login: &Login<'_>) -> Vec<Finding> {
    let asks = ["passwordauthentication", "kbdinteractiveauthentication"];
    let asked = asks.iter().any(|keyword| is(settings, keyword, "yes"));
    let by_key_alone = words(settings, "authenticationmethods")
        .all(|methods| methods.split(',').any(|m| m == "publickey"))
        && words(settings, "authenticationmethods").next().is_some();
    if !asked || by_key_alone || !login.has_password() {
        return Vec::new();
    }
    let what =
        format!("{} has a password and sshd asks for it: whoever guesses it rules all backups", login.name);
    vec![Finding::weak(TOPIC, what, drop_in())]
}

fn drop_in() -> String {
    "run byteback-setup-server, which writes a Match block for this user".to_owned()
}

fn is(settings: &Settings, keyword: &str, value: &str) -> bool {
    first(settings, keyword) == value
}

fn first<'a>(settings: &'a Settings, keyword: &str) -> &'a str {
    settings.get(keyword).and_then(|lines| lines.first()).map_or("", String::as_str)
}

fn words<'a>(settings: &'a Settings, keyword: &str) -> impl Iterator<Item = &'a str> {
    settings.get(keyword).into_iter().flatten().flat_map(|line| line.split_ascii_whitespace())
}

/// `%h`, `%u` and `%%`, and what is not absolute lies in the home (sshd_config(5), AuthorizedKeysFile).
fn expand(word: &str, login: &Login<'_>) -> PathBuf {
    let word = word.replace("%%", "\0").replace("%u", login.name);
    let word = word.replace("%h", &login.home.to_string_lossy()).replace('\0', "%");
    login.home.join(word)
}

/// Whether a pattern with `*` and `?` is this name (ssh_config(5), PATTERNS).
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            matches(rest, name) || name.split_first().is_some_and(|(_, name)| matches(pattern, name))
        }
        (Some((p, rest)), Some((n, name))) => (*p == b'?' || p == n) && matches(rest, name),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
