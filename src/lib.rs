//! pmirror mirrors a file system with all ranks of a job.
//!
//! Start reading at `run`: the story of one run. Arrows only run down:
//! `main -> run -> engine -> {sched, comm, pass} -> {tree, fs, wire}`.
//!
//! - `cli`, `settings`, `config`, `slurm`, `started`, `signals`: what is asked, by whom, and how we were started;
//! - `memory`: what a rank may use of it, and each of its parts;
//! - `run`: the story of a run: agree, lock, walk, settle, sum up;
//! - `preflight`: what is said before a run, pure: from measured facts to findings;
//! - `engine`: one rank: main thread, workers, bag;
//! - `sched`: the stealing protocol, pure (its README has the proof sketch);
//! - `comm`: bytes between ranks, and lanes over them for several runs at once;
//! - `pass`: what to do with one item;
//! - `tree`: names, attributes, decisions, pure;
//! - `fs`: every system call;
//! - `records`: what is read of the records of runs, by `explain` and `status`;
//! - `wire`, `counters`, `headway`, `fault`, `report`: messages, books, what was got done, what goes wrong, what is told.
//!
//! | word | meaning |
//! | --- | --- |
//! | rank | one MPI process |
//! | source, target | the two trees |
//! | item | the stealable unit of work |
//! | batch | a part of a directory's names |
//! | bag, thief, victim, loot, refusal | the stealing protocol |
//! | wave | a question from rank 0 to all ranks and the answer |
//! | epoch | the number of a pass |
//! | attempt | one start of a run |
//! | flush group | files made durable together |
//! | settle | set the final metadata |
//! | fault, error, bug | one entry's, the run's, ours |

pub mod cli;
pub mod comm;
pub mod config;
pub mod counters;
pub mod engine;
pub mod fault;
pub mod fs;
#[doc(hidden)]
pub mod fuzz;
pub mod headway;
pub mod memory;
pub mod pass;
pub mod preflight;
pub mod records;
pub mod report;
pub mod run;
pub mod sched;
pub mod settings;
pub mod signals;
pub mod slurm;
pub mod started;
pub mod tree;
pub mod wire;
