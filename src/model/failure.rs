//! How a program ends: an exit status, and for a bad end one sentence.

use std::fmt;

/// The exit statuses of all programs but `byteback-status --check`, as documented in byteback(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Everything that was asked for is done.
    Done = 0,
    /// Something failed that may work later.
    Failed = 1,
    /// Wrong use or wrong configuration: trying again without a change is useless.
    Misuse = 2,
    /// The other side, or a rule, said no.
    Refused = 3,
    /// Somebody else is at work, or it is not time yet.
    Busy = 4,
}

impl Status {
    /// The status with this exit code; codes that no byteback program uses count as [`Status::Failed`].
    pub fn from_code(code: i32) -> Self {
        match code {
            0 => Self::Done,
            2 => Self::Misuse,
            3 => Self::Refused,
            4 => Self::Busy,
            _ => Self::Failed,
        }
    }
}

impl From<Status> for u8 {
    fn from(status: Status) -> Self {
        status as Self
    }
}

/// An error that knows the exit status of the program that it ends: one sentence with what failed,
/// on what, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the program exits with.
    pub status: Status,
    /// The sentence, without a full stop and without the program's name.
    pub message: String,
}

impl Failure {
    /// May work later (status 1).
    pub fn failed(message: impl Into<String>) -> Self {
        Self { status: Status::Failed, message: message.into() }
    }

    /// Wrong use or configuration (status 2).
    pub fn misuse(message: impl Into<String>) -> Self {
        Self { status: Status::Misuse, message: message.into() }
    }

    /// Refused by a rule (status 3).
    pub fn refused(message: impl Into<String>) -> Self {
        Self { status: Status::Refused, message: message.into() }
    }

    /// Busy or not due (status 4).
    pub fn busy(message: impl Into<String>) -> Self {
        Self { status: Status::Busy, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The status that a [`Failure`] anywhere in the chain carries; every other error may work later.
pub fn status_of(error: &anyhow::Error) -> Status {
    // A Failure that was added as context is found by downcast_ref, one that is a cause in the chain.
    let as_context = error.downcast_ref::<Failure>();
    let failure = as_context.or_else(|| error.chain().find_map(|cause| cause.downcast_ref::<Failure>()));
    failure.map_or(Status::Failed, |failure| failure.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_survives_its_exit_code() {
        for status in [Status::Done, Status::Failed, Status::Misuse, Status::Refused, Status::Busy] {
            assert_eq!(Status::from_code(i32::from(status as u8)), status);
        }
        assert_eq!(Status::from_code(255), Status::Failed);
    }

    #[test]
    fn the_status_is_found_above_and_below_added_context() {
        use anyhow::{Context, anyhow};
        let below = Err::<(), _>(Failure::refused("no")).context("while trying").unwrap_err();
        assert_eq!(status_of(&below), Status::Refused);
        let above = Err::<(), _>(anyhow!("no such file")).context(Failure::misuse("wrong")).unwrap_err();
        assert_eq!(status_of(&above), Status::Misuse);
        assert_eq!(status_of(&anyhow!("other")), Status::Failed);
    }
}
