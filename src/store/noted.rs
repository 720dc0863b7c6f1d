//! What was logged once and need not be logged again: `STORE/.byteback/noted.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::system::files;
use crate::system::lock::{self, Locking};

/// More keys than there are lacks; when kernels have come and gone the record begins anew.
const MOST: usize = 100;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Noted {
    schema: u32,
    notes: BTreeMap<String, String>,
}

/// Whether this is to be logged now: `true` the first time that `key` comes with this `text`, `false`
/// ever after. A key names what is lacking and where it holds, such as `landlock 6.1.0-30-amd64`, so that
/// a new kernel is told of anew. What cannot be remembered is logged: twice is better than never.
pub fn note_once(state: &Path, key: &str, text: &str) -> bool {
    if is_noted(&read(state), key, text) {
        return false; // the usual case: nothing is locked or written
    }
    let _lock = match lock::try_exclusive(&state.join("noted.lock")) {
        Ok(Locking::Held(lock)) => lock,
        Ok(Locking::TakenBy(_)) => return false, // another gate is about to log the same
        Err(_) => return true,
    };
    let mut noted = read(state);
    if is_noted(&noted, key, text) {
        return false;
    }
    if noted.notes.len() >= MOST {
        noted.notes.clear();
    }
    noted.schema = 1;
    noted.notes.insert(key.to_owned(), text.to_owned());
    if let Ok(json) = serde_json::to_vec(&noted) {
        let _ = files::replace(&state.join("noted.json"), &json, 0o600);
    }
    true
}

fn is_noted(noted: &Noted, key: &str, text: &str) -> bool {
    noted.notes.get(key).is_some_and(|noted| noted == text)
}

/// A damaged record is an empty one.
fn read(state: &Path) -> Noted {
    let bytes = files::read_optional(&state.join("noted.json")).ok().flatten().unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::thread;

    #[test]
    fn a_lack_is_told_once_and_again_when_it_is_another() {
        let state = tempfile::tempdir().unwrap();
        let note = |key, text| note_once(state.path(), key, text);
        assert!(note("landlock 6.1", "lacks TRUNCATE"));
        assert!(!note("landlock 6.1", "lacks TRUNCATE"));
        assert!(note("landlock 6.1", "lacks REFER"));
        assert!(note("landlock 6.18", "lacks TRUNCATE"));
        assert!(!note("landlock 6.18", "lacks TRUNCATE"));
    }

    #[test]
    fn a_damaged_record_is_written_anew() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join("noted.json"), "nonsense").unwrap();
        assert!(note_once(state.path(), "a", "b"));
        assert!(!note_once(state.path(), "a", "b"));
    }

    #[test]
    fn what_cannot_be_remembered_is_told() {
        assert!(note_once(Path::new("/nonexistent"), "a", "b"));
        assert!(note_once(Path::new("/nonexistent"), "a", "b"));
    }

    #[test]
    fn many_at_once_tell_it_once() {
        let state = tempfile::tempdir().unwrap();
        let told = thread::scope(|scope| {
            let tell = || usize::from(note_once(state.path(), "a", "b"));
            let tellers: Vec<_> = (0..16).map(|_| scope.spawn(tell)).collect();
            tellers.into_iter().map(|teller| teller.join().unwrap()).sum::<usize>()
        });
        assert_eq!(told, 1);
    }

    #[test]
    fn the_record_does_not_grow_for_ever() {
        let state = tempfile::tempdir().unwrap();
        for number in 0..(MOST + 5) {
            assert!(note_once(state.path(), &number.to_string(), "x"));
        }
        assert!(read(state.path()).notes.len() <= MOST);
    }
}
