//! SIGTERM, SIGINT and SIGHUP as something to ask about, so that children are ended first and what
//! must be tidied is tidied. A handler does nothing but set a number.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// How often those who wait look up.
pub const TICK: Duration = Duration::from_millis(50);

/// From its making on this process is no longer ended by these signals.
#[derive(Debug)]
pub struct Signals {
    caught: Arc<AtomicUsize>,
}

impl Signals {
    /// Begins to watch.
    ///
    /// # Errors
    /// When the kernel takes no handler.
    pub fn watch() -> Result<Self> {
        let caught = Arc::new(AtomicUsize::new(0));
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            let value = usize::try_from(signal).unwrap_or_default();
            flag::register_usize(signal, Arc::clone(&caught), value).context("cannot watch for signals")?;
        }
        Ok(Self { caught })
    }

    /// The name of the last signal that came.
    pub fn caught(&self) -> Option<&'static str> {
        let value = i32::try_from(self.caught.load(Ordering::SeqCst)).ok()?;
        match value {
            SIGTERM => Some("SIGTERM"),
            SIGINT => Some("SIGINT"),
            SIGHUP => Some("SIGHUP"),
            _ => None,
        }
    }

    /// As if this signal had come; a real one would reach every other test of the same process.
    #[cfg(test)]
    pub(super) fn pretend(&self, signal: i32) {
        self.caught.store(usize::try_from(signal).unwrap(), Ordering::SeqCst);
    }

    /// Waits; ends early when a signal came.
    pub fn sleep(&self, duration: Duration) {
        let begin = Instant::now();
        while self.caught().is_none() && begin.elapsed() < duration {
            thread::sleep(TICK.min(duration.saturating_sub(begin.elapsed())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_named_and_ends_a_sleep() {
        let signals = Signals::watch().unwrap();
        assert_eq!(signals.caught(), None);
        let sleeper = Instant::now();
        signals.sleep(Duration::from_millis(60));
        assert!(sleeper.elapsed() >= Duration::from_millis(60));
        signals.pretend(SIGHUP);
        assert_eq!(signals.caught(), Some("SIGHUP"));
        signals.sleep(Duration::from_secs(60));
        assert!(sleeper.elapsed() < Duration::from_secs(30));
    }
}
