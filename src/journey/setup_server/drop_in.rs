//! sshd's part: a Match block for the store's user, in a file of its own below `/etc/ssh/sshd_config.d`.
//! What sshd refuses is taken out again, and a file of that name that is not ours is left alone.
//!
//! `PermitUserEnvironment` cannot stand in a Match block (sshd_config(5)) and is not touched: key lines of
//! the former program need it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::hands::Hands;
use crate::system::{files, sshd};

const HEAD: &str = "# Written by byteback-setup-server, which writes it again when it differs.\n\
                    # To keep a file of your own in its place, take out the first line.\n";

/// Writes the drop-in if it is not as it should be, and has sshd read it. A machine without an sshd that
/// reads drop-ins is told so and gets none.
pub(super) fn write(hands: &Hands, user: &str, allow_passwords: bool) -> Result<()> {
    let advice = |why: &str| {
        let block = match_block(user, allow_passwords).replace('\n', "\n  ");
        hands.say(format_args!(
            "WARNING: {why}; put this into sshd's configuration yourself:\n  {}",
            block.trim_end()
        ));
    };
    if !is_plain(user) {
        advice("this user's name means something else in a Match line");
        return Ok(());
    }
    if !sshd::takes_drop_ins() {
        advice("/etc/ssh/sshd_config includes no /etc/ssh/sshd_config.d/*.conf");
        return Ok(());
    }
    let (path, wanted) = (path_for(user), content(user, allow_passwords));
    let found = files::read_optional(&path)?;
    if found.as_deref() == Some(wanted.as_bytes()) {
        return Ok(());
    }
    if found.is_some_and(|found| !is_ours(&found)) {
        hands.say(format_args!("{} is an administrator's own file and left as it is", path.display()));
        return Ok(());
    }
    let passwords = if allow_passwords { "" } else { ", from now on by key alone" };
    let what = format!("write {} (no forwarding, terminal or rc file for {user}{passwords})", path.display());
    // An sshd that refuses must not keep a store from being made, so this is a warning.
    match hands.act(what, || sshd::leave_if_accepted(&path, wanted.as_bytes(), sshd::validate)) {
        Ok(()) if hands.only_look() => {}
        Ok(()) => have_it_read(hands),
        Err(error) => {
            hands.say(format_args!("WARNING: the settings for sshd are not in place: {error:#}"));
        }
    }
    Ok(())
}

fn have_it_read(hands: &Hands) {
    match sshd::reload() {
        Ok(true) => hands.say("have the running sshd read it"),
        Ok(false) => hands.say("no sshd runs here; it reads that when it starts"),
        Err(error) => hands.say(format_args!(
            "WARNING: sshd could not be told to read it: {error:#}; run systemctl reload ssh"
        )),
    }
}

/// One file for each store's user.
fn path_for(user: &str) -> PathBuf {
    let name = if user == "byteback" { "byteback.conf".to_owned() } else { format!("byteback-{user}.conf") };
    Path::new(sshd::DROP_INS).join(name)
}

fn content(user: &str, allow_passwords: bool) -> String {
    format!("{HEAD}{}", match_block(user, allow_passwords))
}

fn match_block(user: &str, allow_passwords: bool) -> String {
    let keys_only = if allow_passwords {
        ""
    } else {
        "    AuthenticationMethods publickey\n    PasswordAuthentication no\n    KbdInteractiveAuthentication no\n"
    };
    format!(
        "Match User {user}\n{keys_only}    AllowTcpForwarding no\n    AllowStreamLocalForwarding no\n    \
         AllowAgentForwarding no\n    X11Forwarding no\n    PermitTunnel no\n    PermitTTY no\n    PermitUserRC no\n"
    )
}

fn is_ours(found: &[u8]) -> bool {
    let first = HEAD.split('\n').next().unwrap_or_default();
    found.split(|byte| *byte == b'\n').next() == Some(first.as_bytes())
}

/// Whether the name is itself as a pattern (ssh_config(5), PATTERNS), and a word.
fn is_plain(user: &str) -> bool {
    !user.is_empty() && user.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_concerns_one_user_and_passwords_only_when_they_are_off() {
        let strict = content("byteback", false);
        assert_eq!(strict.matches("Match User byteback\n").count(), 1);
        assert!(strict.contains("AuthenticationMethods publickey\n") && strict.contains("PermitTTY no\n"));
        let open = content("byteback", true);
        assert!(
            !open.contains("Password")
                && !open.contains("Authentication")
                && open.contains("PermitTunnel no\n")
        );
        assert!(is_ours(strict.as_bytes()) && is_ours(open.as_bytes()) && !is_ours(b"Match User byteback\n"));
    }

    #[test]
    fn a_name_that_is_a_pattern_gets_no_block() {
        assert!(is_plain("byteback") && is_plain("b-x_1.y"));
        for name in ["", "*", "a,b", "!a", "a b", "a\nb", "a?"] {
            assert!(!is_plain(name), "{name:?}");
        }
        assert_eq!(path_for("byteback"), Path::new("/etc/ssh/sshd_config.d/byteback.conf"));
        assert_eq!(path_for("b2"), Path::new("/etc/ssh/sshd_config.d/byteback-b2.conf"));
    }
}
