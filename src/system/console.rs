//! What a person reads: results on stdout, talk on stderr. A reader that went away is no error: the
//! work goes on without it.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// One line of talk, on stderr.
pub fn say(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// One line of the result, on stdout.
pub fn print(line: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{line}");
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
