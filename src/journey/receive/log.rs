//! What the log says of a visit: one line a verdict, and one more where what was admitted ended badly. Floods are
//! folded. Nothing of the client stands in a line but escaped.

use anyhow::Error;

use super::visit::Visit;
use crate::model::failure::status_of;
use crate::model::{Failure, Status, escaped};
use crate::store::verdicts::{Folded, Verdict};
use crate::system::clock;

impl Visit {
    pub(super) fn log_accept(&self, request: &str) {
        if !self.fold(Verdict::Accept) {
            self.server.log.info(self.line("accept", request, "ok"));
        }
    }

    /// Logs the refusal and gives it back as the error that the client sees.
    pub(super) fn refuse(&self, request: &str, error: &Error) -> Error {
        let reason = format!("{error:#}");
        let status = status_of(error);
        if !self.fold(Verdict::Refuse) {
            self.server.log.warning(self.line("refuse", request, &reason));
        }
        let word = match status {
            Status::Busy => "busy",
            Status::Refused => "refused",
            Status::Done | Status::Failed | Status::Misuse => "failed",
        };
        let message = format!("{word}: {reason}");
        Failure { status, message }.into()
    }

    /// What was admitted and then failed on this server's side.
    pub(super) fn log_failure(&self, request: &str, error: &Error) {
        self.log_end("failed", request, &format!("{error:#}"));
    }

    /// What was admitted and ended otherwise than it should.
    pub(super) fn log_end(&self, word: &str, request: &str, reason: &str) {
        if !self.fold(Verdict::Ended) {
            self.server.log.warning(self.line(word, request, reason));
        }
    }

    /// Whether this line is one of a flood, of which only the number is logged.
    fn fold(&self, verdict: Verdict) -> bool {
        let client = &self.grant.client;
        let state = self.server.store.client_state(client);
        // A state that cannot be written must not silence the log.
        let folded: Folded =
            state.and_then(|state| state.count_verdict(clock::now(), verdict)).unwrap_or_default();
        for unlogged in folded.before {
            let (word, count) = (unlogged.verdict.word(), unlogged.count);
            let minute = unlogged.minute.strftime("%Y-%m-%dT%H:%MZ");
            let line = format!("folded client={client} verdict={word} count={count} minute={minute}");
            self.server.log.warning(line);
        }
        folded.now
    }

    fn line(&self, verdict: &str, request: &str, reason: &str) -> String {
        let peer = self.peer.as_deref().unwrap_or("-");
        let reason = escaped(reason.as_bytes());
        format!("{verdict} client={} peer={peer} request={request} reason={reason}", self.grant.client)
    }
}
