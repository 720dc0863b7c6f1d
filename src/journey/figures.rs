//! The store's figures in the record of a push: room in use, room free and what the client's quota counts,
//! before it and after it. The pruner judges the run by them. A figure that cannot be had is left out.

use super::server::Server;
use crate::model::run::Push;
use crate::model::{ClientName, SnapshotName};
use crate::store::ClientState;
use crate::system::ioctl;

/// Notes the room before a push.
pub(super) fn note_before(server: &Server, client: &ClientName, record: &mut Push) {
    let volume = server.store.volume();
    record.used_before = volume.used().ok();
    record.free_before = volume.room().ok().map(|room| room.percent_free());
    record.quota_before = volume.quota(client).ok().flatten();
}

/// Notes the room after a push whose data are on the disk.
fn note_after(server: &Server, client: &ClientName, record: &mut Push) {
    let volume = server.store.volume();
    record.used_after = volume.used().ok();
    record.free_after = volume.room().ok().map(|room| room.percent_free());
    record.quota_after = volume.quota(client).ok().flatten();
}

/// Waits until all is on the disk, and notes the room then.
pub(super) fn note_after_sync(server: &Server, client: &ClientName, record: &mut Push) {
    let home = server.store.volume().home(client);
    if home.is_ok_and(|home| ioctl::sync(home).is_ok()) {
        note_after(server, client, record);
    }
}

/// Remembers which snapshot was taken of the last push, whose data that made durable, and the room then.
/// The disk is not waited for again: what a crash makes forgotten, the pruner finds out.
pub(super) fn note_snapshot(
    server: &Server,
    client: &ClientName,
    state: &ClientState,
    push: Option<Push>,
    name: &SnapshotName,
) {
    let Some(mut push) = push.filter(|push| push.snapshot.is_none()) else { return };
    push.snapshot = Some(name.clone());
    note_after(server, client, &mut push);
    if let Err(error) = state.announce_push(&push) {
        server.log.warning(format_args!("failed client={client} request=snapshot reason={error:#}"));
    }
}
