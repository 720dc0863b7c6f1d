//! The former program's restore: a pull whose "rsync" is called `byteback-restore`, and whose sources
//! are patterns. Its client is `rsync --rsync-path="byteback-restore --fake-super --snapshot S [--all]"`.

use super::{OldRestore, Request, patterns, plain, tree};
use crate::protocol::find_query::FindQuery;
use crate::protocol::lexer::{Refusal, Word, refuse, shown};
use crate::protocol::rsync_args::{MAX_SOURCES, PullOptions};

/// Reads `[--fake-super] [--all] [--snapshot S] --server --sender OPTIONS . PATTERN…`.
pub(super) fn parse(words: &[Word]) -> Result<Request, Refusal> {
    let Some(server) = words.iter().position(|word| word.raw() == b"--server") else {
        return refuse(
            "byteback-restore is called here by rsync alone (byteback-restore ... --server --sender ...)",
        );
    };
    let (own, rest) = words.split_at(server);
    let [_, sender, rest @ ..] = rest else { return refuse("--sender is missing behind --server") };
    if sender.raw() != b"--sender" {
        return refuse("a restore only reads: --sender must stand behind --server");
    }
    let Some(dot) = rest.iter().position(|word| word.raw() == b".") else {
        return refuse("rsync's options must be followed by '.' and a pattern");
    };
    let options = PullOptions::parse(&plain(&rest[..dot])?)?;
    let query = query(own, &rest[dot + 1..])?;
    Ok(Request::OldRestore(OldRestore { query, options }))
}

fn query(own: &[Word], words: &[Word]) -> Result<FindQuery, Refusal> {
    if words.is_empty() || words.len() > MAX_SOURCES {
        return refuse(format!(
            "a restore takes 1 to {MAX_SOURCES} patterns, and this one has {}",
            words.len()
        ));
    }
    let (mut snapshot, mut all, mut fake_super) = (None, false, false);
    let mut rest = own;
    while let Some((word, after)) = rest.split_first() {
        rest = after;
        let repeated = match word.raw() {
            b"--all" => std::mem::replace(&mut all, true),
            b"--fake-super" => std::mem::replace(&mut fake_super, true),
            b"--snapshot" => {
                let Some((name, after)) = rest.split_first() else {
                    return refuse("a name or * must stand behind --snapshot");
                };
                rest = after;
                snapshot.replace(tree(name)?).is_some()
            }
            other => return refuse(format!("{} is no option of byteback-restore on a server", shown(other))),
        };
        if repeated {
            return refuse(format!("{} stands twice", shown(word.raw())));
        }
    }
    let patterns = patterns(words.iter().map(Word::wildcard_argument))?;
    Ok(FindQuery { tree: snapshot.flatten(), all, patterns, ..FindQuery::default() })
}
