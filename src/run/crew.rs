//! What every command's run has: the ranks, the job, the threads, and an engine on each rank.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::agree::{Roster, agree};
use super::begin::Begun;
use super::{Circumstances, total};
use crate::comm::Comm;
use crate::config::{self, Config};
use crate::engine::{Ended, Engine, ListSettings, Setup};
use crate::fault::{Error, Side};
use crate::fs::operator::RunDirectory;
use crate::report::{self, Progress};
use crate::sched::Rank;
use crate::slurm::Job;
use crate::tree::decide::ContentRule;
use crate::tree::itemize::Trigger;

/// The ranks of a run, as each of them knows them.
pub struct Crew<'c> {
    /// What was asked.
    pub config: &'c Config,
    /// Where the ranks are.
    pub roster: Roster,
    /// The Slurm job.
    pub job: Option<Job>,
    /// Workers of each rank.
    pub threads: u32,
    interrupted: Arc<AtomicBool>,
    rank: Rank,
}

impl<'c> Crew<'c> {
    /// Asks all ranks where they are.
    pub fn call(config: &'c Config, comm: &mut dyn Comm, circumstances: Circumstances) -> Self {
        let roster = Roster::call(comm);
        let threads = config.workers(roster.ranks_here());
        let Circumstances { job, interrupted } = circumstances;
        Self { config, roster, job, threads, interrupted, rank: comm.rank() }
    }

    /// Whether this is rank 0.
    pub fn is_root(&self) -> bool {
        self.rank == Rank::ROOT
    }

    /// This rank.
    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// What a rank's engine is made with. `seed` is for the choice of victims.
    fn setup(&self, run_directory: RunDirectory, seed: u64) -> Setup {
        Setup {
            neighbours: self.roster.neighbours(),
            host: self.roster.host().to_owned(),
            threads: self.threads,
            bag_bytes_max: self.config.bag_bytes_max,
            limits: self.config.limits,
            run_directory,
            list: self.list_settings(),
            op_timeout: self.config.op_timeout,
            interrupted: Arc::clone(&self.interrupted),
            seed,
        }
    }

    /// How differences, or changes, are listed.
    pub fn list_settings(&self) -> ListSettings {
        let trigger = match self.config.policy.content {
            ContentRule::Times => Trigger::SizeOrTime,
            ContentRule::Checksum => Trigger::Content,
            ContentRule::SizeOnly => Trigger::Size,
        };
        let of = |cmp: &config::Cmp| ListSettings { trigger: cmp.trigger(), lines_max: cmp.differences_max };
        self.config.command.compare().map_or(ListSettings { trigger, lines_max: u64::MAX }, of)
    }

    /// Starts this rank's engine. If any rank can not, none begins.
    pub fn engine<'e>(&self, begun: &Begun, comm: &'e mut dyn Comm) -> Result<Engine<'e>, Error> {
        let setup = self.setup(begun.run_directory.clone(), begun.root.source.inode);
        match Engine::start(comm, Arc::clone(&begun.context), setup) {
            Ok(mut engine) => agree(engine.comm(), &self.roster, Ok(())).map(|_| engine),
            Err((error, comm)) => Err(agree::<()>(comm, &self.roster, Err(error.clone())).err().unwrap_or(error)),
        }
    }

    /// Shows progress on rank 0, and keeps it in the run's directory.
    pub fn progress(&self, begun: &Begun) -> Progress {
        if !self.is_root() {
            return Progress::silent();
        }
        let hosts = self.roster.hosts.clone();
        let progress =
            if self.config.quiet { Progress::silent() } else { Progress::to_stderr(hosts, self.config.progress) };
        progress.of(total::of(self, begun)).kept_in(begun.run_directory.clone())
    }

    /// `--verbose`: what the run goes by. Whether anything is said.
    pub fn say_circumstances(&self, run_directory: &Path) -> bool {
        if self.config.verbose == 0 || !self.is_root() {
            return false;
        }
        let mut nodes = self.roster.hosts.clone();
        nodes.sort();
        nodes.dedup();
        report::say(&format!("{} ranks of {} threads on {}", self.roster.hosts.len(), self.threads, nodes.join(" ")));
        report::say(&format!("the record is kept in {}", run_directory.display()));
        true
    }
}

/// One turn of all groups of one side, cut into so many passes that no rank holds more groups than its
/// memory bound. Returns whether there was any, on any rank.
pub fn link_turn(engine: &mut Engine<'_>, side: Side, progress: &mut Progress) -> (Ended, bool) {
    engine.begin_link_turn(side);
    let mut any = false;
    loop {
        let groups = engine.take_link_groups();
        // A rank that gave up needs a pass to say so.
        let mine = groups.len() as u64 + u64::from(engine.has_given_up());
        if any_rank(engine, mine) == 0 {
            return (Ended::Quiet, any);
        }
        any = true;
        let ended = engine.run_pass(groups, &mut |report| progress.observe(report));
        if ended != Ended::Quiet {
            return (ended, any);
        }
    }
}

/// The largest of the numbers that the ranks have: nothing to do for any rank means no pass at all.
pub fn any_rank(engine: &mut Engine<'_>, mine: u64) -> u64 {
    let counts = engine.comm().gather(mine.to_le_bytes().to_vec());
    counts.iter().filter_map(|bytes| bytes.as_slice().try_into().ok()).map(u64::from_le_bytes).max().unwrap_or(0)
}
