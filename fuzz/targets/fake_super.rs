//! Any bytes as the attribute `user.rsync.%stat`, whose every number a client chooses.
#![no_main]

use byteback::model::Kind;
use byteback::protocol::fake_super::Stat;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &[u8]| {
    if let Ok(stat) = Stat::parse(value) {
        assert_eq!(stat.to_string().as_bytes(), value);
        assert!(Kind::from_mode(stat.mode).is_some() && stat.mode <= 0o177_777);
    }
});
