//! What all programs share: options, version, completions, and how an error becomes an exit status.
//! Nothing else turns an error into a status.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::model::failure::status_of;
use crate::system::console;

/// Parses the options and runs the program's one journey; an error is printed as one sentence.
pub fn run<Options: Parser, End: Into<u8>>(program: impl FnOnce(Options) -> Result<End>) -> ExitCode {
    let mut command = Options::command().version(env!("CARGO_PKG_VERSION"));
    let matches = command.get_matches_mut();
    let name = command.get_name().to_owned();
    let outcome = match Options::from_arg_matches(&matches) {
        Ok(options) => program(options),
        Err(error) => error.exit(),
    };
    let code = outcome.map_or_else(
        |error| {
            console::say(format_args!("{name}: {error:#}"));
            status_of(&error) as u8
        },
        Into::into,
    );
    ExitCode::from(code)
}
