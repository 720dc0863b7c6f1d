//! Patterns as a person types them, made absolute. Pure.

/// The pattern below `directory` (a path, so its own wildcards are escaped) unless it is absolute. A
/// leading `./` and `../` mean what they mean to a shell.
pub(super) fn absolute(pattern: &[u8], directory: &[u8]) -> Vec<u8> {
    if pattern.starts_with(b"/") { pattern.to_vec() } else { below(directory, pattern) }
}

fn below(directory: &[u8], pattern: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> =
        directory.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
    let mut rest = pattern;
    loop {
        let (part, behind) = match rest.iter().position(|byte| *byte == b'/') {
            Some(slash) => (&rest[..slash], &rest[slash + 1..]),
            None => (rest, &b""[..]),
        };
        match part {
            b".." => drop(parts.pop()),
            b"." => {}
            b"" if !rest.is_empty() => {}
            _ => break,
        }
        rest = behind;
    }
    let mut whole: Vec<u8> = parts.iter().flat_map(|part| [b"/".to_vec(), escape(part)].concat()).collect();
    whole.push(b'/');
    whole.extend_from_slice(rest);
    whole
}

/// So that a pattern matches this text and nothing else.
fn escape(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for byte in text {
        if b"*?[]{},\\".contains(byte) {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_taken_from_the_working_directory() {
        for (pattern, absolute_pattern) in [
            (&b"x"[..], &b"/home/a\\*b/x"[..]),
            (b"/etc/*.conf", b"/etc/*.conf"),
            (b".", b"/home/a\\*b/"),
            (b"./", b"/home/a\\*b/"),
            (b".//x/../y", b"/home/a\\*b/x/../y"),
            (b"..", b"/home/"),
            (b"../..", b"/"),
            (b"../../../etc", b"/etc"),
            (b"../*", b"/home/*"),
            (b"..x", b"/home/a\\*b/..x"),
            (b"x/", b"/home/a\\*b/x/"),
            (b"/", b"/"),
            (b"\xff", b"/home/a\\*b/\xff"),
            (b"", b"/home/a\\*b/"),
        ] {
            let made = absolute(pattern, b"/home/a*b");
            assert_eq!(made, absolute_pattern, "{:?}", String::from_utf8_lossy(&made));
        }
        assert_eq!(absolute(b"x", b"/"), b"/x");
    }
}
