//! Pages read by several threads and told in order. Every thread takes the page that is told first among those
//! that wait, so the one that tells seldom waits, and little waits to be told.
//!
//! Nothing here knows what is on a page. Threads are a matter of speed alone: where none can be started (a
//! sandbox, a limit) the one that tells reads everything by itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use anyhow::Result;

use super::page::{Item, Task};
use super::{Cut, Search, Sink};
use crate::model::Version;

/// Items that were read and wait to be told, before other threads pause.
pub(super) const MOST_HELD: usize = 50_000;
/// Threads are worth their start when so many pages wait.
const WORTH_HELP: usize = 8;

/// A page's place in the order, and its number.
type Key = (Vec<u8>, u64);

/// What has become of a page, as the one who tells sees it.
enum Step {
    Found(Version),
    Below(Key),
}

#[derive(Default)]
struct State<'a> {
    waiting: BTreeMap<Key, Task<'a>>,
    read: HashMap<u64, Result<Vec<Step>>>,
    /// Steps in `read`.
    held: usize,
    next: u64,
    over: bool,
}

struct Queue<'a> {
    search: &'a Search<'a>,
    state: Mutex<State<'a>>,
    news: Condvar,
}

/// Reads and tells everything; how many matches were told.
pub(super) fn run(search: &Search<'_>, sink: &mut dyn Sink) -> Result<u64> {
    let queue = Queue { search, state: Mutex::default(), news: Condvar::new() };
    thread::scope(|scope| {
        let told = queue.tell(scope, sink);
        queue.lock().over = true;
        queue.news.notify_all();
        told
    })
}

impl<'a> Queue<'a> {
    fn tell<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, sink: &mut dyn Sink) -> Result<u64> {
        let first = self.note(Task::whole(self.search)?);
        let mut open = vec![first.into_iter()];
        let (mut told, mut helped) = (0, false);
        while let Some(page) = open.last_mut() {
            match page.next() {
                None => drop(open.pop()),
                Some(Step::Found(_)) if told == self.search.bounds.entries => {
                    self.search.leave_out(Cut::Entries(told));
                    break;
                }
                Some(Step::Found(version)) => {
                    sink.found(version)?;
                    told += 1;
                }
                Some(Step::Below(key)) => {
                    if self.search.is_late() {
                        self.search.leave_out(Cut::Time);
                        break;
                    }
                    if !helped && self.lock().waiting.len() >= WORTH_HELP {
                        helped = true;
                        self.call_for_help(scope);
                    }
                    sink.breathe()?;
                    open.push(self.take(&key)?.into_iter());
                }
            }
        }
        Ok(told)
    }

    fn call_for_help<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        for _ in 1..self.search.bounds.threads {
            let started = thread::Builder::new().spawn_scoped(scope, || self.help());
            if started.is_err() {
                break;
            }
        }
    }

    /// Reads pages until everything is told.
    fn help(&self) {
        let mut state = self.lock();
        while !state.over {
            let has_room = state.held < MOST_HELD;
            state = match state.waiting.pop_first() {
                Some((key, task)) if has_room => {
                    drop(state);
                    self.read_ahead(key.1, task)
                }
                Some((key, task)) => {
                    state.waiting.insert(key, task);
                    self.wait(state)
                }
                None => self.wait(state),
            };
        }
    }

    /// The page of this key, read by whomever. While another thread has it in hand something else is read.
    fn take(&self, key: &Key) -> Result<Vec<Step>> {
        let mut state = self.lock();
        loop {
            if let Some(task) = state.waiting.remove(key) {
                drop(state);
                return Ok(self.note(task.read(self.search)?));
            }
            if let Some(page) = state.read.remove(&key.1) {
                state.held -= page.as_ref().map_or(0, Vec::len);
                self.news.notify_all();
                return page;
            }
            state = match state.waiting.pop_first() {
                Some((other, task)) if state.held < MOST_HELD => {
                    drop(state);
                    self.read_ahead(other.1, task)
                }
                Some((other, task)) => {
                    state.waiting.insert(other, task);
                    self.wait(state)
                }
                None => self.wait(state),
            };
        }
    }

    fn read_ahead(&self, number: u64, task: Task<'a>) -> MutexGuard<'_, State<'a>> {
        let page = task.read(self.search).map(|items| self.note(items));
        let mut state = self.lock();
        state.held += page.as_ref().map_or(0, Vec::len);
        state.read.insert(number, page);
        self.news.notify_all();
        state
    }

    /// Lets what lies below wait.
    fn note(&self, items: Vec<Item<'a>>) -> Vec<Step> {
        let mut noted = Vec::with_capacity(items.len());
        let mut below = Vec::new();
        for item in items {
            noted.push(match item {
                Item::Found(version) => Step::Found(version),
                Item::Below(task) => {
                    below.push(task);
                    Step::Below((below[below.len() - 1].order(), 0))
                }
            });
        }
        if !below.is_empty() {
            let mut state = self.lock();
            let state = &mut *state;
            let keys = noted.iter_mut().filter_map(|step| match step {
                Step::Below(key) => Some(key),
                Step::Found(_) => None,
            });
            for (key, task) in keys.zip(below) {
                key.1 = state.next;
                state.next += 1;
                state.waiting.insert(key.clone(), task);
            }
            self.news.notify_all();
        }
        noted
    }

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'g>(&'g self, state: MutexGuard<'g, State<'a>>) -> MutexGuard<'g, State<'a>> {
        self.news.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}
