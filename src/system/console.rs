//! What a person reads: results on stdout, talk on stderr. A reader that went away is no error: the
//! work goes on without it.

use std::fmt::Display;
use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, Result};

/// One line of talk, on stderr.
pub fn say(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// One line of the result, on stdout.
pub fn print(line: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Bytes as they are, for a program that reads them.
pub fn print_raw(bytes: &[u8]) {
    let _ = io::stdout().lock().write_all(bytes);
}

/// Whether talk goes to a terminal, so that bars make sense.
pub fn talks_to_a_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Asks a person for one line; `None` where no terminal is.
///
/// # Errors
/// When the answer cannot be read.
pub fn ask(question: &str) -> io::Result<Option<String>> {
    if !io::stdin().is_terminal() || !talks_to_a_terminal() {
        return Ok(None);
    }
    let _ = write!(io::stderr().lock(), "{question}");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(Some(answer))
}

/// Whether results go to a terminal.
pub fn prints_to_a_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether a person sits there who can be asked.
pub fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks; only `y` and `yes` are a yes.
///
/// # Errors
/// When the answer cannot be read.
pub fn confirm(question: &str) -> Result<bool> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "{question} ").and_then(|()| stderr.flush()).context("cannot ask")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
