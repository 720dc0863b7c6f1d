//! What the kernel keeps in memory and has yet to write: `/proc/meminfo` (proc(5)).

use std::fs;

/// Bytes of files that are changed in memory and not yet on a disk, of all file systems together; 0 where the
/// kernel does not tell.
pub fn not_yet_written() -> u64 {
    let told = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let counted = |line: &&str| line.starts_with("Dirty:") || line.starts_with("Writeback:");
    let kilobytes = |line: &str| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok();
    told.lines().filter(counted).filter_map(kilobytes).fold(0, u64::saturating_add).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_and_never_more_than_a_machine_has() {
        assert!(fs::read_to_string("/proc/meminfo").unwrap().contains("\nDirty:"));
        assert!(not_yet_written() < 1 << 50);
    }
}
