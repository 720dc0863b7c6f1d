//! What the store does, one deed at a time, so that `benches/store` can time it. Run as the store's user:
//! `store STORE measure CLIENT TREE BEFORE`, `store STORE freeze CLIENT NAME`, `store STORE discard CLIENT NAME...`.
#![allow(clippy::disallowed_methods, reason = "it is measured by hand")]
#![allow(clippy::print_stdout, reason = "figures are its result")]

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};
use byteback::model::SnapshotName;
use byteback::store::{Store, growth};

/// As the pruner: at most so many between two looks at the room.
const BATCH: usize = 5;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [store, deed, client, rest @ ..] = words.as_slice() else {
        bail!("see the head of benches/store.rs")
    };
    let (store, client) = (Store::open(Path::new(store))?, client.parse()?);
    let volume = store.volume();
    let began = Instant::now();
    match (*deed, rest) {
        ("measure", [tree, before]) => {
            let since = volume.made(&client, &before.parse()?)?;
            let open = |name: &str| volume.open(&client, &name.parse()?);
            let new = growth::measure(&open(tree)?, Some(&open(before)?), since)?;
            println!("{} {new:?}", began.elapsed().as_millis());
        }
        ("freeze", [name]) => volume.freeze(&client, &name.parse()?)?,
        ("discard", names) => {
            let names: Vec<SnapshotName> = names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
            for batch in names.chunks(BATCH) {
                let batch: Vec<_> = batch.iter().map(|name| (client.clone(), name.clone())).collect();
                volume.discard_batch(&batch).into_iter().collect::<Result<()>>()?;
                volume.room()?;
            }
            println!("{}", began.elapsed().as_millis());
        }
        _ => bail!("there is no such deed: {deed}"),
    }
    Ok(())
}
