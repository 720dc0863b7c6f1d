//! What of sshd's settings is good, weak or bad for the store's user.

use super::*;
use crate::model::Soundness;
use crate::model::finding::worst;

const GOOD: &str = "acceptenv LANG\nacceptenv LC_*\nallowagentforwarding no\nallowstreamlocalforwarding no\n\
    allowtcpforwarding no\nauthenticationmethods publickey\nauthorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2\n\
    disableforwarding no\nforcecommand none\nkbdinteractiveauthentication no\npasswordauthentication no\n\
    permittunnel no\npermituserenvironment no\npermituserrc no\npubkeyauthentication yes\nx11forwarding no\n";

fn user(password: &'static str) -> Login<'static> {
    Login { name: "byteback", home: Path::new("/srv/b"), shell: "/bin/sh", password: Some(password) }
}

fn key_file() -> Vec<PathBuf> {
    vec![PathBuf::from("/srv/b/.ssh/authorized_keys"), PathBuf::from("/etc/keys/byteback")]
}

/// The good settings, with this line in the place of the one with the same keyword.
fn with(line: &str) -> Settings {
    let mut settings = Settings::new();
    for (keyword, value) in GOOD.lines().filter_map(|line| line.trim().split_once(' ')) {
        settings.entry(keyword.to_owned()).or_default().push(value.to_owned());
    }
    if let Some((keyword, value)) = line.split_once(' ') {
        settings.insert(keyword.to_owned(), vec![value.to_owned()]);
    }
    settings
}

fn judged(line: &str) -> Soundness {
    worst(&sshd(&with(line), &user("*"), &key_file()))
}

#[test]
fn each_setting_that_weakens_the_account_is_found() {
    assert_eq!(judged(""), Soundness::Ok);
    for line in [
        "permituserenvironment yes",
        "permituserenvironment BYTEBACK_HOST,LD_*",
        "permituserenvironment *",
        "acceptenv *",
        "acceptenv LANG BYTEBACK_HOST",
        "acceptenv BYTE*",
        "acceptenv L*",
        "acceptenv LD_PRELOA?",
        "permituserrc yes",
        "allowtcpforwarding yes",
        "allowtcpforwarding local",
        "allowagentforwarding yes",
        "x11forwarding yes",
        "permittunnel point-to-point",
    ] {
        assert_eq!(judged(line), Soundness::Weak, "{line}");
    }
    for line in ["acceptenv LANG LC_* COLORTERM", "permituserenvironment BYTEBACK_HOST"] {
        assert_eq!(judged(line), Soundness::Ok, "{line}");
    }
}

#[test]
fn what_keeps_clients_out_is_bad() {
    for line in [
        "pubkeyauthentication no",
        "forcecommand internal-sftp",
        "authorizedkeysfile /etc/ssh/keys/%u",
        "authorizedkeysfile none",
    ] {
        assert_eq!(judged(line), Soundness::Bad, "{line}");
    }
    for line in [
        "authorizedkeysfile /srv/b/.ssh/authorized_keys",
        "authorizedkeysfile %h/.ssh/authorized_keys",
        "authorizedkeysfile /etc/keys/%u",
    ] {
        assert_eq!(judged(line), Soundness::Ok, "{line}");
    }
}

#[test]
fn disabled_forwarding_stands_for_all_of_it() {
    let mut settings = with("allowtcpforwarding yes");
    settings.insert("disableforwarding".to_owned(), vec!["yes".to_owned()]);
    assert_eq!(worst(&sshd(&settings, &user("*"), &key_file())), Soundness::Ok);
}

#[test]
fn a_password_matters_where_there_is_one_and_sshd_takes_it() {
    let mut asks = with("passwordauthentication yes");
    assert_eq!(worst(&sshd(&asks, &user("$y$hash"), &key_file())), Soundness::Ok, "a key is needed too");
    asks.insert("authenticationmethods".to_owned(), vec!["any".to_owned()]);
    assert_eq!(worst(&sshd(&asks, &user("$y$hash"), &key_file())), Soundness::Weak);
    assert_eq!(worst(&sshd(&asks, &user("*"), &key_file())), Soundness::Ok);
}

#[test]
fn an_account_that_cannot_come_in_is_found() {
    let store = Path::new("/srv/b");
    let judge = |account: &Login<'_>, pam| worst(&login(account, store, pam));
    assert_eq!(judge(&user("*"), Some(false)), Soundness::Ok);
    assert_eq!(judge(&user("!"), Some(false)), Soundness::Bad);
    assert_eq!(judge(&user("!*"), None), Soundness::Weak);
    assert_eq!(judge(&user("!"), Some(true)), Soundness::Ok);
    assert_eq!(judge(&Login { shell: "/usr/sbin/nologin", ..user("*") }, Some(true)), Soundness::Bad);
    assert_eq!(judge(&Login { home: Path::new("/home/b"), ..user("*") }, Some(true)), Soundness::Weak);
    let unseen = login(&Login { password: None, ..user("") }, store, None);
    assert!(unseen.iter().any(|finding| finding.verdict == Soundness::NotChecked));
}
