//! How clients come in: the account, and what sshd would do for it. Both need root's eyes.

use std::path::Path;

use crate::model::Finding;
use crate::policy::soundness::{self, Login, Settings};
use crate::system::account::{self, Account};
use crate::system::sshd;

/// What was found, and whether sshd insists on files that nobody else can write.
pub(super) struct Seen {
    pub(super) findings: Vec<Finding>,
    pub(super) strict_modes: bool,
}

/// Looks at the account and asks sshd.
pub(super) fn look(user: &Account, store: &Path, sshd_config: &Path) -> Seen {
    let passwd = account::fields("passwd", &user.name).ok().flatten().unwrap_or_default();
    let shadow = account::fields("shadow", &user.name).ok().flatten();
    // The same directory may have two names: a link leads to many a store.
    let plain = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (home, store) = (plain(&user.home), plain(store));
    let login = Login {
        name: &user.name,
        home: &home,
        shell: passwd.get(6).map_or("", String::as_str),
        password: shadow.as_ref().and_then(|fields| fields.get(1)).map(String::as_str),
    };
    let (settings, judged) = ask(&login, &store, sshd_config);
    let says = |keyword: &str, value: &str| {
        settings
            .as_ref()
            .map(|settings| settings.get(keyword).is_some_and(|lines| lines.iter().any(|l| l == value)))
    };
    let mut findings = soundness::login(&login, &store, says("usepam", "yes"));
    findings.extend(judged);
    Seen { findings, strict_modes: says("strictmodes", "no") != Some(true) }
}

fn ask(login: &Login<'_>, store: &Path, sshd_config: &Path) -> (Option<Settings>, Vec<Finding>) {
    const TOPIC: &str = "sshd";
    if !account::is_root() {
        return (None, vec![Finding::not_checked(TOPIC, "sshd tells its settings to root only")]);
    }
    match sshd::settings(sshd_config, login.name) {
        Ok(settings) => {
            let key_file = store.join(".ssh/authorized_keys");
            let names = [key_file.clone(), key_file.canonicalize().unwrap_or(key_file)];
            let findings = soundness::sshd(&settings, login, &names);
            (Some(settings), findings)
        }
        Err(error) => (None, vec![Finding::not_checked(TOPIC, format!("{error:#}"))]),
    }
}
