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

/// Bytes as they are, for a program that reads them.
pub fn print_raw(bytes: &[u8]) {
    let _ = io::stdout().lock().write_all(bytes);
}

/// Whether talk goes to a terminal, so that bars make sense.
pub fn talks_to_a_terminal() -> bool {
    io::stderr().is_terminal()
}
