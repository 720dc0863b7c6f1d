//! What is known when it is decided: every client's snapshots, holds and runs.
//!
//! What cannot be read is told and protects: nothing of a client whose holds are damaged is deleted.

use anyhow::{Error, Result};

use super::{complain, measure};
use crate::journey::server::Server;
use crate::model::run_log::{MeasuredRun, RunLog};
use crate::model::{ClientName, SnapshotName};
use crate::policy::growth;
use crate::policy::prune::{History, Inventory};
use crate::system::clock;

/// Everything that a plan is made of.
pub(super) struct Known {
    pub(super) inventory: Inventory,
    pub(super) runs: Runs,
    /// So much could not be read.
    pub(super) troubles: usize,
}

/// Every client's runs, in the inventory's order.
pub(super) struct Runs {
    pub(super) clients: Vec<ClientRuns>,
    /// A backup was at work when it was last looked at.
    pub(super) somebody_writes: bool,
}

/// One client's.
pub(super) struct ClientRuns {
    pub(super) name: ClientName,
    pub(super) log: RunLog,
    /// A push that is at work and abnormally large already.
    running: Option<MeasuredRun>,
}

impl Known {
    /// Reads it all.
    ///
    /// # Errors
    /// When the store itself cannot be read.
    pub(super) fn gather(server: &Server) -> Result<Self> {
        let runs = Runs { clients: Vec::new(), somebody_writes: false };
        let mut known = Self { inventory: Inventory::default(), runs, troubles: 0 };
        for name in server.store.volume().clients()? {
            let snapshots = server.store.volume().snapshots(&name)?;
            known.read(server, name, snapshots);
        }
        known.runs.look_again(server);
        known.settle();
        Ok(known)
    }

    fn read(&mut self, server: &Server, name: ClientName, snapshots: Vec<SnapshotName>) {
        let mut told = |error: Error| {
            self.troubles += 1;
            complain(server, &format!("{error:#}"));
        };
        let state = server.store.client_state(&name).map_err(&mut told).ok();
        let holds = state.as_ref().and_then(|state| state.holds().map_err(&mut told).ok());
        let log = state.as_ref().and_then(|state| state.runs().map_err(&mut told).ok());
        let history = History::new(name.clone(), snapshots);
        self.inventory.clients.push(History { holds, ..history });
        self.runs.clients.push(ClientRuns { name, log: log.unwrap_or_default(), running: None });
    }

    /// Has the runs say what of the history is frozen and what is doubtful.
    fn settle(&mut self) {
        for (history, runs) in self.inventory.clients.iter_mut().zip(&self.runs.clients) {
            let running = runs.running.as_ref().filter(|run| !run.accepted);
            let pending = growth::is_pending(&runs.log);
            history.frozen = running.map(|_| clock::now()).or_else(|| pending.map(|run| run.ended));
            history.doubtful = growth::doubtful(&runs.log).cloned().collect();
        }
    }

    /// Adds what a real run would measure and hold first, without remembering it.
    pub(super) fn catch_up_in_mind(&mut self, server: &Server) {
        for (history, runs) in self.inventory.clients.iter_mut().zip(&mut self.runs.clients) {
            let look = |state| measure::look(server, &runs.name, &state, false);
            match server.store.client_state(&runs.name).and_then(look) {
                Ok(Some(run)) => imagine(history, runs, run),
                Ok(None) => {}
                Err(error) => complain(server, &format!("{error:#}")),
            }
        }
        self.settle();
    }
}

fn imagine(history: &mut History, runs: &mut ClientRuns, run: MeasuredRun) {
    if let Some(hold) = measure::automatic_hold(&run)
        && let Some(holds) = history.holds.as_mut().filter(|holds| holds.automatic().is_none())
    {
        holds.holds.push(hold);
    }
    measure::add(&mut runs.log, run);
}

impl Runs {
    /// The abnormal backups that wait for an administrator: of each client the last one, and the one that is
    /// at work.
    pub(super) fn pending(&self) -> Vec<(ClientName, &MeasuredRun)> {
        self.clients.iter().flat_map(ClientRuns::pending).collect()
    }

    /// Whether the client's backup is at work and abnormally large: then nothing of it is deleted.
    pub(super) fn is_growing(&self, client: &ClientName) -> bool {
        self.clients.iter().any(|runs| runs.name == *client && runs.growing().is_some())
    }

    /// How much new data came with a snapshot, as far as it was measured.
    pub(super) fn brought_by(&self, client: &ClientName, snapshot: &SnapshotName) -> u64 {
        let known = self.clients.iter().find(|known| known.name == *client);
        let runs = known.into_iter().flat_map(|known| &known.log.runs);
        runs.filter(|run| run.snapshot.as_ref() == Some(snapshot)).map(|run| run.new_data).sum()
    }

    /// Looks again at who writes, and how much.
    pub(super) fn look_again(&mut self, server: &Server) {
        self.somebody_writes = false;
        for client in &mut self.clients {
            let Ok(state) = server.store.client_state(&client.name) else { continue };
            let writes = state.last_push().is_ok_and(|push| push.is_some_and(|push| push.ended.is_none()));
            self.somebody_writes |= writes;
            client.running = None;
            if writes {
                client.running = measure::running(server, &client.name, &state, &client.log).ok().flatten();
            }
        }
    }
}

impl ClientRuns {
    fn growing(&self) -> Option<&MeasuredRun> {
        self.running.as_ref().filter(|run| !run.accepted)
    }

    fn pending(&self) -> impl Iterator<Item = (ClientName, &MeasuredRun)> {
        let pending = growth::is_pending(&self.log).into_iter().chain(self.growing());
        pending.map(|run| (self.name.clone(), run))
    }
}
