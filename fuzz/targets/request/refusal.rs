//! What a client is told, and what stands in the log.

/// One sentence that harms neither a log nor a terminal.
pub(crate) fn check(sentence: &str) {
    assert!(!sentence.is_empty() && sentence.len() < 1024, "{} bytes: {sentence}", sentence.len());
    assert!(!sentence.chars().any(is_harmful), "{sentence:?}");
}

/// Control characters, what ends a line, and Unicode's property `Bidi_Control`, with which a text can be
/// made to look like another one.
fn is_harmful(c: char) -> bool {
    let bidirectional =
        matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || bidirectional || matches!(c, '\u{2028}' | '\u{2029}')
}
