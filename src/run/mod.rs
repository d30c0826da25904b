//! The story of one run: a short file for each command, over shared parts.

pub(crate) mod again;
mod agree;
mod begin;
mod bounded;
mod choose;
mod clock;
mod cmp;
mod crew;
mod deadline;
mod end;
pub(crate) mod failed;
mod finish;
mod frame;
mod guard;
mod habit;
pub(crate) mod holder;
pub mod known;
mod lists;
mod lock;
mod look;
mod memory;
mod mounts;
mod mtimes;
mod plan_file;
mod preflight;
mod prune;
mod purge;
mod record;
mod renames;
mod resume;
mod rm;
mod rm_tree;
mod roles;
mod secure;
mod settle;
pub(crate) mod story;
pub(crate) mod suspects;
mod sync;
mod tasks;
mod total;
pub(crate) mod trash;
mod undelete;

pub use again::{locate, resume, retry};
pub use undelete::undelete;

use std::sync::Arc;

use crate::comm::Comm;
use crate::config::{Command, Config};
use crate::engine::{Company, StopSign};
use crate::fault::Error;
use crate::report::{self, Cell, Summary};
use crate::sched::Rank;
use crate::slurm::Job;

/// How a run ended: equal on all ranks, but for the summary, which rank 0 has.
#[derive(Debug)]
pub struct Conclusion {
    /// Of the program.
    pub exit_code: u8,
    /// On rank 0, if the run began.
    pub summary: Option<Summary>,
    /// Why it could not begin or go on.
    pub error: Option<Error>,
}

impl From<Error> for Conclusion {
    fn from(error: Error) -> Self {
        Self { exit_code: error.exit_code(), summary: None, error: Some(error) }
    }
}

impl Conclusion {
    /// The record could not be kept. What is told of the run says so: there is nothing else to read it in.
    fn is_not_kept(&mut self, broken: Error) {
        // A bug matters more.
        if self.exit_code != 70 {
            self.exit_code = broken.exit_code();
        }
        if let Some(summary) = &mut self.summary {
            summary.exit_code = self.exit_code;
            summary.error.get_or_insert_with(|| broken.to_string());
        }
        self.error = Some(broken);
    }

    /// A result could not be told: what was done stays done, but nobody may take the run for one that told it.
    pub fn is_not_told(&mut self, what: &str, error: &std::io::Error) {
        report::say(&format!("{what} can not be written to stdout: {error}; the record of the run has it"));
        if self.exit_code == 0 {
            self.exit_code = Error::Fatal(String::new()).exit_code();
        }
    }
}

/// What the run is told from outside.
pub struct Circumstances {
    /// The Slurm job.
    pub job: Option<Job>,
    /// Shown by signals, and when the time is up.
    pub stop_sign: StopSign,
    /// Of a run in a lane: what it shares with the others.
    pub company: Option<Arc<Company>>,
    /// Likewise, on rank 0: where its progress is told.
    pub board: Option<Cell>,
}

impl Circumstances {
    /// Of a run that has the process for itself.
    pub fn new(job: Option<Job>, stop_sign: StopSign) -> Self {
        Self { job, stop_sign, company: None, board: None }
    }
}

/// Runs a command.
pub fn run(config: &Config, comm: &mut dyn Comm, circumstances: Circumstances) -> Conclusion {
    if comm.rank() == Rank::ROOT {
        deadline::set(config, &circumstances.stop_sign);
    }
    if let Some(stop) = deadline::wanted_already(comm, &circumstances.stop_sign) {
        return deadline::too_late(comm, stop);
    }
    match &config.command {
        Command::Sync { .. } => sync::sync(config, comm, circumstances),
        Command::Cmp(cmp) => cmp::cmp(config, cmp, comm, circumstances),
        Command::Rm(how) => rm::target_only(config, how, comm, circumstances),
        Command::RmTree => rm_tree::tree(config, comm, circumstances),
        Command::PurgeTrash { older_than } => purge::purge(config, *older_than, comm, circumstances),
        Command::Mtimes => mtimes::mtimes(config, comm, circumstances),
        Command::Preflight(how) => preflight::preflight(config, *how, comm, circumstances),
        Command::Tasks(tasks) => tasks::tasks(config, tasks, comm, circumstances),
    }
}
