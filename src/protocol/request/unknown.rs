//! What is said about a command that is none of ours. Every one of them is refused; the sentence tells
//! the person at the other end what this account is for.

use crate::protocol::lexer::{Refusal, Word, refuse, shown};

const FOR_WHAT: &str = "this key is for byteback alone";

/// Commands that are known before they are split: they are refused whatever they hold.
pub(super) fn refuse_before_reading(command: &[u8]) -> Result<(), Refusal> {
    if command.is_empty() {
        return refuse(format!("there is no command, and no shell: {FOR_WHAT}"));
    }
    if command == b"restore" || command.starts_with(b"restore ") {
        return refuse(
            "your byteback package needs to be updated: this server no longer knows its restore command",
        );
    }
    Ok(())
}

/// The fitting sentence for a program that is not offered.
pub(super) fn refusal(words: &[Word]) -> Refusal {
    let program = words.first().map(Word::raw).unwrap_or_default();
    let name = program.rsplit(|b| *b == b'/').next().unwrap_or(program);
    let why = if words.iter().any(|word| word.raw() == b"--server") {
        "the server chooses which rsync runs; remove --rsync-path"
    } else if matches!(name, b"sftp-server" | b"internal-sftp" | b"scp" | b"sftp") {
        "files are copied with byteback-backup and byteback-restore, not with scp or sftp"
    } else if matches!(name, b"sh" | b"bash" | b"dash" | b"zsh" | b"env" | b"sudo") {
        "no shell and no other program is started"
    } else if name == b"rsync" {
        "write rsync without a path"
    } else {
        "it is no command of this server"
    };
    Refusal(format!("{} is refused: {why}; {FOR_WHAT}", shown(program)))
}
