//! Any bytes as what a server answers to ping, prepare and complete.
#![no_main]

use byteback::protocol::answer::Answer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|printed: &[u8]| {
    if let Ok(answer) = Answer::parse(printed) {
        let json = answer.to_json();
        assert!(!json.bytes().any(|byte| byte < b' '));
        assert_eq!(Answer::parse(json.as_bytes()).ok(), Some(answer));
    }
});
