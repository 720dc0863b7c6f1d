//! Decisions as pure functions: values in, verdict and reason out. "Now" is an argument; nothing
//! here touches a file, a process, the environment or a clock.

pub mod admission;
pub mod changes;
pub mod due;
pub mod filters;
pub mod full_run;
pub mod goal;
pub mod growth;
pub mod hook_order;
pub mod importance;
pub mod prune;
pub mod retry;
pub mod room;
pub mod simulate;
pub mod soundness;
pub mod sources;
pub mod tiers;
