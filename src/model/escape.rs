//! Bytes from outside as text that can be printed: in a log line, on a terminal, in an error.

use std::fmt::Write;

/// The bytes as text that cannot harm a terminal or forge a line: control characters and bytes that
/// are not UTF-8 as `\xHH`, a backslash doubled.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                c if is_dangerous(c) => {
                    let mut buffer = [0; 4];
                    push_hex(&mut text, c.encode_utf8(&mut buffer).as_bytes());
                }
                c => text.push(c),
            }
        }
        push_hex(&mut text, chunk.invalid());
    }
    text
}

/// Whether a character can move a terminal's cursor, end a line, or hide or reorder the text around it.
pub fn is_dangerous(c: char) -> bool {
    c.is_control() || is_invisible(c)
}

/// Characters that reorder or hide the text around them, or are not seen themselves: Unicode's
/// bidirectional controls (the property `Bidi_Control`), zero width, line and paragraph separators,
/// annotations, tags.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "\\x{byte:02x}"); // a String takes everything
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_a_cursor_or_ends_a_line_survives() {
        assert_eq!(escaped(b"a b\xc3\xa9"), "a b\u{e9}");
        assert_eq!(escaped(b"a\nb\x1b[2J\\"), "a\\x0ab\\x1b[2J\\\\");
        assert_eq!(escaped(b"\xff\x7f"), "\\xff\\x7f");
        assert_eq!(escaped("\u{202e}".as_bytes()), "\\xe2\\x80\\xae");
        assert_eq!(escaped("\u{85}".as_bytes()), "\\xc2\\x85");
        assert_eq!(escaped("a\u{61c}b\u{e0041}".as_bytes()), "a\\xd8\\x9cb\\xf3\\xa0\\x81\\x81");
    }
}
