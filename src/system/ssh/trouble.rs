//! What ssh said when it could not log in, as one sentence with what to do. Pure.

use crate::model::{Destination, Failure, escaped};

/// The sentence, and whether trying again can help.
pub(super) fn diagnose(destination: &Destination, stderr: &str) -> Failure {
    let host = destination.known_hosts_name();
    let says = |text: &str| stderr.contains(text);
    if says("HOST IDENTIFICATION HAS CHANGED") || says("host key for") && says("has changed") {
        return Failure::refused(format!(
            "the host key of {host} has changed, so this may be another machine; ask the server's \
             administrator, and if it is right remove the old key from known_hosts and run \
             byteback-setup-client again"
        ));
    }
    if says("Host key verification failed") || says("host key is known for") {
        return Failure::misuse(format!(
            "the host key of {host} is not known here; run byteback-setup-client, which asks about it"
        ));
    }
    if says("Permission denied") || says("Too many authentication failures") {
        let user = destination.user();
        return Failure::refused(format!(
            "{host} refused the ssh key for user {user} ({}); enrol this machine with \
             byteback-setup-client",
            last_line(stderr)
        ));
    }
    Failure::failed(format!(
        "cannot reach {host} ({}); check the destination and the network",
        last_line(stderr)
    ))
}

fn last_line(stderr: &str) -> String {
    let last = stderr.lines().rev().map(str::trim).find(|line| !line.is_empty());
    escaped(last.unwrap_or("ssh printed nothing").trim_end_matches('.').as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Status;

    #[test]
    fn each_trouble_tells_what_to_do_and_whether_to_try_again() {
        let destination: Destination = "ssh://bb@h:2222/".parse().unwrap();
        for (stderr, status, sentence) in [
            (
                "ssh: connect to host h port 2222: Connection refused\r\n",
                Status::Failed,
                "cannot reach [h]:2222 (ssh: connect to host h port 2222: Connection refused)",
            ),
            ("", Status::Failed, "cannot reach [h]:2222 (ssh printed nothing)"),
            ("bb@h: Permission denied (publickey).\r\n", Status::Refused, "refused the ssh key for user bb"),
            (
                "No ED25519 host key is known for [h]:2222 and you have requested strict checking.\r\n\
                 Host key verification failed.\r\n",
                Status::Misuse,
                "is not known here",
            ),
            (
                "@  WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!  @\nHost key verification failed.\n",
                Status::Refused,
                "has changed",
            ),
        ] {
            let failure = diagnose(&destination, stderr);
            assert_eq!(failure.status, status, "{stderr}");
            assert!(failure.message.contains(sentence), "{}", failure.message);
        }
    }
}
