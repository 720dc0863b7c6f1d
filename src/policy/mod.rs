//! Decisions as pure functions: values in, verdict and reason out. "Now" is an argument; nothing
//! here touches a file, a process, the environment or a clock.

pub mod changes;
pub mod due;
pub mod filters;
pub mod full_run;
pub mod hook_order;
pub mod importance;
pub mod prune;
pub mod retry;
pub mod room;
pub mod soundness;
pub mod sources;
