//! Whether the store's room is looked after: how new data is counted, what is kept back for a full disk,
//! whether the pruner keeps up, and who waits for an administrator.

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use crate::model::Finding;
use crate::model::server_config::ServerConfig;
use crate::policy::{growth, tiers};
use crate::store::{QuotaMode, Store};
use crate::system::clock;

/// So long after its end a run is measured, where the pruner is started as it should be.
const LATE: SignedDuration = SignedDuration::from_hours(24);

/// Looks at all of it.
pub(super) fn look(path: &std::path::Path, config: &ServerConfig) -> Vec<Finding> {
    let Ok(store) = Store::open(path) else { return Vec::new() }; // told elsewhere
    let mut findings = vec![quotas(&store), ballast(&store), measures(&store, clock::now())];
    findings.extend(
        tiers::broken_rules(config)
            .into_iter()
            .map(|why| Finding::weak("keep", why, "mend it in server.toml, or remove it")),
    );
    findings
}

fn quotas(store: &Store) -> Finding {
    const TOPIC: &str = "quotas";
    match store.volume().quota_mode() {
        Ok(Some(QuotaMode::Simple)) => {
            Finding::ok(TOPIC, "simple quotas are on, so the kernel counts what each client brings")
        }
        Ok(Some(QuotaMode::Full)) => Finding::weak(
            TOPIC,
            "full quota groups are on, with which each deletion takes many times as long",
            format!("run btrfs quota disable {}", store.path().display()),
        ),
        Ok(None) => {
            Finding::ok(TOPIC, "off; what each client brings is found by looking at the files that changed")
        }
        Err(error) => Finding::not_checked(TOPIC, format!("{error:#}")),
    }
}

fn ballast(store: &Store) -> Finding {
    const TOPIC: &str = "ballast";
    if store.ballast().is_there() {
        return Finding::ok(TOPIC, "some megabytes are kept back for the case of exhausted metadata");
    }
    if is_unused(store).unwrap_or(false) {
        return Finding::ok(TOPIC, "the first backup makes it");
    }
    let what =
        "nothing is kept back for the case of exhausted metadata, in which nothing could be deleted then";
    Finding::weak(TOPIC, what, "run byteback-prune --prune, which makes it where there is room")
}

fn is_unused(store: &Store) -> Result<bool> {
    for client in store.volume().clients()? {
        if store.client_state(&client)?.last_push()?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Runs that nobody has measured, and large ones that nobody has accepted.
fn measures(store: &Store, now: Timestamp) -> Finding {
    const TOPIC: &str = "measures";
    let (mut late, mut waiting) = (Vec::new(), Vec::new());
    for client in store.volume().clients().unwrap_or_default() {
        let Ok(state) = store.client_state(&client) else { continue };
        let (Ok(push), Ok(log)) = (state.last_push(), state.runs()) else {
            late.push(client.to_string());
            continue;
        };
        if growth::is_pending(&log).is_some() {
            waiting.push(client.to_string());
        }
        let is_measured = |started| log.last().is_some_and(|run| run.started == started);
        let ended = push.filter(|push| !is_measured(push.started)).and_then(|push| push.ended);
        if ended.is_some_and(|ended| now.duration_since(ended) > LATE) {
            late.push(client.to_string());
        }
    }
    if !waiting.is_empty() {
        let what = format!("abnormally large backups wait for a word of yours: {}", waiting.join(", "));
        return Finding::weak(
            TOPIC,
            what,
            "run byteback-admin accept CLIENT, or byteback-admin reset CLIENT",
        );
    }
    if !late.is_empty() {
        let what = format!("backups of more than a day ago are not measured: {}", late.join(", "));
        return Finding::weak(TOPIC, what, "run byteback-prune --prune from a timer, and see what it says");
    }
    Finding::ok(TOPIC, "the pruner knows what every backup brought")
}
