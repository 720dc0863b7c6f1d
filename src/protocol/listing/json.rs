//! JSON that can be shown on a terminal: what could harm it is written as `\uXXXX`, which means the same.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use crate::model::escape::is_dangerous;

/// One line, without its end. Strings and numbers alone: there is nothing in it that JSON could not hold.
pub(super) fn print(line: &impl Serialize) -> String {
    let mut text = Vec::with_capacity(256);
    match line.serialize(&mut Serializer::with_formatter(&mut text, Harmless)) {
        Ok(()) => String::from_utf8(text).unwrap_or_default(),
        Err(_) => String::new(),
    }
}

struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain = 0;
        for (at, c) in fragment.char_indices().filter(|(_, c)| is_dangerous(*c)) {
            writer.write_all(&fragment.as_bytes()[plain..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            plain = at + c.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[plain..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_harms_no_terminal_and_reads_back(text: String, more in "[\u{7f}-\u{9f}\u{200b}-\u{202f}\u{e0041}]{0,4}") {
            let text = text + &more;
            let printed = print(&text);
            prop_assert!(!printed.chars().any(is_dangerous), "{:?}", printed);
            prop_assert_eq!(serde_json::from_str::<String>(&printed).unwrap(), text);
        }
    }
}
