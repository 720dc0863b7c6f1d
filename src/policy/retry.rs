//! What an end of rsync means for the backup: done, worth another attempt, or final.

/// The meaning of one end of rsync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All files are on the server.
    Done,
    /// It may work in a while; the reason, as the end of a sentence.
    Again(&'static str),
    /// Another attempt would end the same way; the reason, as the end of a sentence.
    Fatal(&'static str),
}

/// Judges an exit status by rsync(1), EXIT VALUES; `None` means that a signal killed rsync.
pub fn classify(status: Option<i32>) -> Verdict {
    use Verdict::{Again, Done, Fatal};
    match status {
        // 24: files vanished while they were read, which is normal on a machine that is in use.
        Some(0 | 24) => Done,
        Some(1) => Fatal("it does not know one of its options"),
        Some(2) => Fatal("the two rsyncs do not speak a common protocol"),
        Some(3) => Fatal("it cannot find what to read or where to write"),
        Some(4) => Fatal("the other side cannot do what was asked"),
        Some(5) => Again("the connection ended before the protocol began"),
        Some(6) => Fatal("it cannot write to a log file"),
        Some(10) => Again("the connection failed"),
        Some(11) => Again("a file could not be read or written"),
        Some(12) => Again("the connection broke"),
        Some(20) => Again("it was told to stop by a signal"),
        Some(21 | 22) => Again("the machine is short of memory or processes"),
        Some(23) => Again("some files could not be copied"),
        Some(25) => Fatal("more files were to be deleted than --max-delete allows"),
        Some(30 | 35) => Again("the other side was silent for too long"),
        Some(124..=127) => Fatal("the command on the other side could not be run"),
        Some(255) => Again("ssh could not reach the server or lost it"),
        None => Again("a signal killed it"),
        Some(_) => Fatal("it failed in an unusual way"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_and_vanished_count_as_done() {
        for status in 0..=255 {
            assert_eq!(classify(Some(status)) == Verdict::Done, matches!(status, 0 | 24), "{status}");
        }
    }

    #[test]
    fn what_the_former_program_tried_again_is_tried_again() {
        for status in [10, 11, 20, 21, 22, 23, 30, 12, 5, 35, 255] {
            assert!(matches!(classify(Some(status)), Verdict::Again(_)), "{status}");
        }
        assert!(matches!(classify(None), Verdict::Again(_)));
    }

    #[test]
    fn wrong_use_is_never_tried_again() {
        for status in [1, 2, 3, 4, 6, 13, 14, 25, 126, 127] {
            assert!(matches!(classify(Some(status)), Verdict::Fatal(_)), "{status}");
        }
    }
}
