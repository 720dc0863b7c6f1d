//! The languages that cross ssh. Each file both prints and parses its own, knows nothing of files or
//! processes, and treats what it parses as written by an enemy.

pub mod answer;
pub mod authorized_keys;
pub mod fake_super;
pub mod find_query;
pub mod lexer;
pub mod listing;
pub mod public_key;
pub mod quoted_printable;
pub mod request;
pub mod rsync_args;
