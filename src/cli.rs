//! What all programs share: options, version, completions, and how an error becomes an exit status.
//! Nothing else turns an error into a status.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::model::{Failure, Status};
use crate::system::console;

/// Parses the options and runs the program's one journey; an error is printed as one sentence.
pub fn run<Options: Parser>(program: impl FnOnce(Options) -> Result<Status>) -> ExitCode {
    let mut command = Options::command().version(env!("CARGO_PKG_VERSION"));
    let matches = command.get_matches_mut();
    let name = command.get_name().to_owned();
    let outcome = match Options::from_arg_matches(&matches) {
        Ok(options) => program(options),
        Err(error) => error.exit(),
    };
    let status = outcome.unwrap_or_else(|error| {
        console::say(format_args!("{name}: {error:#}"));
        status_of(&error)
    });
    ExitCode::from(status as u8)
}

/// The status that a [`Failure`] anywhere in the chain carries; everything else may work later.
pub fn status_of(error: &anyhow::Error) -> Status {
    error.chain().find_map(|cause| cause.downcast_ref::<Failure>()).map_or(Status::Failed, |f| f.status)
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn the_status_is_found_below_added_context() {
        let error = Err::<(), _>(Failure::refused("no")).context("while trying").unwrap_err();
        assert_eq!(status_of(&error), Status::Refused);
        assert_eq!(status_of(&anyhow!("other")), Status::Failed);
    }
}
