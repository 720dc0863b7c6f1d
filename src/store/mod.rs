//! Backups at rest: what lies where below the store, and the few things that can be done to it.
