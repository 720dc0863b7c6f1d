//! Which files of a hook directory are hooks, and in what order they run: as run-parts(8) does it
//! without options, so that the former program's directories mean what they meant.

/// Whether run-parts would run a file of this name: ASCII letters, digits, `_` and `-` only. That
/// leaves out `x~`, `x.dpkg-old`, `.x.swp` and, notoriously, `x.sh`.
pub fn is_hook_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// The names that are hooks, in the C locale's order.
pub fn in_order(names: impl IntoIterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let mut hooks: Vec<_> = names.into_iter().filter(|name| is_hook_name(name)).collect();
    hooks.sort_unstable();
    hooks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hooks_run_in_byte_order_and_leftovers_never() {
        let names = ["b", "10-dump", "9-x", "A", "_z", "dump.sh", "x~", ".swp", "é", "a.dpkg-old", ""];
        let hooks = in_order(names.map(|name| name.as_bytes().to_vec()));
        let expected = ["10-dump", "9-x", "A", "_z", "b"];
        assert_eq!(hooks, expected.map(|name| name.as_bytes().to_vec()));
    }

    proptest! {
        #[test]
        fn a_hook_name_is_one_visible_path_component(name in proptest::collection::vec(any::<u8>(), 0..8)) {
            if is_hook_name(&name) {
                prop_assert!(!name.contains(&b'/') && !name.starts_with(b".") && !name.is_empty());
            }
        }
    }
}
