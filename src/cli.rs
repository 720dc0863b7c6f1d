//! What all programs share: options, version, completions, and how an error becomes an exit status.
//! Nothing else turns an error into a status.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::model::Status;
use crate::model::failure::status_of;
use crate::system::console;

/// Parses the options and runs the program's one journey; an error is printed as one sentence.
pub fn run<Options: Parser, End: Into<u8>>(program: impl FnOnce(Options) -> Result<End>) -> ExitCode {
    let mut command = Options::command().version(env!("CARGO_PKG_VERSION"));
    if let Some(status) = complete(&mut command) {
        return status;
    }
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

/// `PROGRAM --completion SHELL` prints what bash, zsh or fish needs to complete the program's options. It
/// stands before everything else, so that no required option is missed.
fn complete(command: &mut clap::Command) -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    if words.next()? != "--completion" {
        return None;
    }
    let name = command.get_name().to_owned();
    let shell = words.next().and_then(|shell| shell.to_str()?.parse::<clap_complete::Shell>().ok());
    let Some(shell) = shell else {
        console::say(format_args!("{name}: name the shell: --completion bash, zsh or fish"));
        return Some(ExitCode::from(Status::Misuse as u8));
    };
    clap_complete::generate(shell, command, name, &mut std::io::stdout());
    Some(ExitCode::SUCCESS)
}
