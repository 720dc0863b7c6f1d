//! The options in front of a key, as sshd reads them (sshd(8), "`AUTHORIZED_KEYS` FILE FORMAT"): separated by
//! commas, names in any case, values in quotes in which `\"` stands for a quote.

/// Where the options end: at the first blank outside quotes; `\"` is no end of a quote.
pub(super) fn end(line: &[u8]) -> usize {
    let mut quoted = false;
    let mut at = 0;
    while at < line.len() {
        match line[at] {
            b' ' | b'\t' if !quoted => break,
            b'\\' if line.get(at + 1) == Some(&b'"') => at += 1,
            b'"' => quoted = !quoted,
            _ => {}
        }
        at += 1;
    }
    at.min(line.len())
}

/// One option: its name in lower case, and its value with the quotes taken off.
pub(super) type KeyOption = (String, Option<Vec<u8>>);

/// The options of a line; `None` where sshd would not understand how they are written.
pub(super) fn parse(mut text: &[u8]) -> Option<Vec<KeyOption>> {
    let mut options = Vec::new();
    loop {
        let end = text.iter().position(|byte| matches!(byte, b'=' | b',')).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let name = String::from_utf8(name.to_ascii_lowercase()).ok().filter(|name| !name.is_empty())?;
        let (value, rest) = match rest.strip_prefix(b"=\"") {
            Some(quoted) => {
                let (value, rest) = unquote(quoted)?;
                (Some(value), rest)
            }
            None => (None, rest),
        };
        options.push((name, value));
        match rest {
            [] => return Some(options),
            [b',', rest @ ..] => text = rest,
            _ => return None,
        }
    }
}

/// The value up to the closing quote, and what follows the quote.
fn unquote(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    let mut rest = text;
    loop {
        rest = match rest {
            [b'\\', b'"', rest @ ..] => {
                value.push(b'"');
                rest
            }
            [b'"', rest @ ..] => return Some((value, rest)),
            [byte, rest @ ..] => {
                value.push(*byte);
                rest
            }
            [] => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<Vec<(String, Option<String>)>> {
        let text_of = |value: Vec<u8>| String::from_utf8(value).unwrap();
        Some(parse(text.as_bytes())?.into_iter().map(|(name, value)| (name, value.map(text_of))).collect())
    }

    #[test]
    fn options_are_read_as_sshd_reads_them() {
        let option = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        assert_eq!(
            read(r#"Restrict,FROM="10.0.0.1,*.example.org",command="echo \"a, b\" \\ c""#),
            Some(vec![
                option("restrict", None),
                option("from", Some("10.0.0.1,*.example.org")),
                option("command", Some(r#"echo "a, b" \\ c"#)),
            ])
        );
    }

    #[test]
    fn options_that_sshd_refuses_are_not_guessed_at() {
        for text in
            ["", ",", "restrict,", ",restrict", "command=", "command=x", "command=\"x", "command=\"x\"y"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn options_end_at_the_first_blank_outside_quotes() {
        for (line, options) in [
            ("a,b=\"c d\" key", "a,b=\"c d\""),
            (r#"b="c \" d" key"#, r#"b="c \" d""#),
            ("a\tkey", "a"),
            ("a=\"never closed key", "a=\"never closed key"),
            ("\\\"", "\\\""),
        ] {
            assert_eq!(&line[..end(line.as_bytes())], options);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(line: Vec<u8>) {
            let _ = parse(&line[..end(&line)]);
        }

        #[test]
        fn any_value_survives_its_quotes(value in r"[^\\]{0,20}") {
            let text = format!("command=\"{}\"", value.replace('"', "\\\""));
            prop_assert_eq!(end(text.as_bytes()), text.len());
            prop_assert_eq!(read(&text), Some(vec![("command".to_owned(), Some(value))]));
        }
    }
}
