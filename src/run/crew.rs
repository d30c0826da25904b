//! What every command's run has: the ranks, the job, the threads, and an engine on each rank.

use std::path::Path;
use std::sync::Arc;

use super::agree::{Roster, agree, from_root};
use super::begin::{self, Begun};
use super::lock::Points;
use super::memory::Memory;
use super::resume::Resumed;
use super::{Circumstances, total};
use crate::comm::Comm;
use crate::config::{self, Config};
use crate::engine::{
    Archive, Author, Checkpointing, Company, DurablePoints, Engine, Extent, List, ListSettings, Setup, StopSign,
    author_of_met,
};
use crate::fault::Error;
use crate::fs::operator::RunDirectory;
use crate::fs::process::ProcessId;
use crate::headway::Headway;
use crate::report::live::Whose;
use crate::report::{self, Cell, Progress};
use crate::sched::{Cut, Rank};
use crate::slurm::Job;
use crate::tree;
use crate::tree::decide::ContentRule;
use crate::tree::itemize::Trigger;

/// Names of a run directory that are looked at: files of thousands of ranks.
const NAMES_MAX: usize = 10_000_000;

/// The attempts of a run so far.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Which one this is, from 1.
    pub attempt: u32,
    /// What the earlier ones listed, as far as it counts.
    pub listed: Vec<Extent>,
    /// Seconds that they took.
    pub seconds: f64,
    /// What they had done.
    pub headway: Headway,
    /// Of a run that goes on: what `--files-from` listed.
    pub list: Option<Option<tree::listed::Extent>>,
}

impl Default for History {
    /// The first attempt.
    fn default() -> Self {
        Self { attempt: 1, listed: Vec::new(), seconds: 0.0, headway: Headway::default(), list: None }
    }
}

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
    /// What each may use.
    pub memory: Memory,
    /// What earlier attempts of the run left.
    pub history: History,
    suspended: bool,
    keeps: bool,
    stop_sign: StopSign,
    company: Option<Arc<Company>>,
    board: Option<Cell>,
    rank: Rank,
}

impl<'c> Crew<'c> {
    /// Asks all ranks where they are.
    pub fn call(config: &'c Config, comm: &mut dyn Comm, circumstances: Circumstances) -> Self {
        let roster = Roster::call(comm);
        let threads = config.workers(roster.ranks_here());
        let memory = Memory::find(config, threads, roster.ranks_here());
        let Circumstances { job, stop_sign, company, board } = circumstances;
        let history = History::default();
        let (rank, suspended, keeps) = (comm.rank(), false, false);
        Self { config, roster, job, threads, memory, history, suspended, keeps, stop_sign, company, board, rank }
    }

    /// Whether the run was stopped with a checkpoint, so that a later attempt goes on with it.
    pub fn goes_on(&self) -> bool {
        self.suspended
    }

    /// The run was stopped with a checkpoint.
    pub fn suspend(&mut self) {
        self.suspended = true;
    }

    /// Whether the run has ended before its end, so that a checkpoint may be in force: what that refers to is needed.
    pub fn keeps_checkpoint(&self) -> bool {
        self.keeps
    }

    /// The run has ended before its end.
    pub fn keep_checkpoint(&mut self) {
        self.keeps = true;
    }

    /// Whether this is rank 0.
    pub fn is_root(&self) -> bool {
        self.rank == Rank::ROOT
    }

    /// What asks the run to stop early.
    pub fn stop_sign(&self) -> &StopSign {
        &self.stop_sign
    }

    /// This rank.
    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// Who lists what befalls the root, after the ranks of this attempt.
    pub fn author_of_root(&self) -> Author {
        Author { attempt: self.history.attempt, rank: Rank(self.ranks()) }
    }

    /// The ranks of this attempt.
    pub fn ranks(&self) -> u32 {
        u32::try_from(self.roster.hosts.len()).unwrap_or(u32::MAX)
    }

    /// What a rank's engine is made with. `seed` is for the choice of victims.
    fn setup(&self, run_directory: RunDirectory, checkpoints: Checkpointing, seed: u64) -> Setup {
        Setup {
            neighbours: self.roster.neighbours(),
            host: self.roster.host().to_owned(),
            hosts: self.roster.hosts.clone(),
            threads: self.threads,
            shares: self.memory.shares,
            limits: self.config.limits,
            run_directory,
            list: self.list_settings(),
            checkpoints,
            stop_sign: self.stop_sign.clone(),
            rank_timeout: self.config.rank_timeout,
            op_timeout: self.config.op_timeout,
            seed,
            company: self.company.clone(),
        }
    }

    /// What checkpoints are taken with. The first attempt begins with none, whatever a dead run with this id left.
    fn checkpoints(
        &self,
        begun: &Begun,
        comm: &mut dyn Comm,
        resumed: Option<&Resumed>,
    ) -> Result<Checkpointing, Error> {
        let run = &begun.run_directory;
        let points = begun.held.as_ref().map(|(_, lock)| Points::new(lock, &begun.context.trees.target)).transpose();
        let durable = agree(comm, &self.roster, points.as_ref().map(|_| ()).map_err(Clone::clone)).and(points)?;
        let known = resumed.map(|resumed| (resumed.manifest.number, resumed.manifest.cut));
        let (number, last) = from_root(comm, &self.roster, || {
            let (number, last) = known.unwrap_or((begin::random(), Cut::default()));
            self.clear_away(run)?;
            if self.config.can_go_on() {
                let archive = Archive::new(run, number);
                archive.make()?;
                let cleared = if resumed.is_some() { archive.clear_but(last) } else { archive.clear() };
                cleared.map_err(|error| {
                    Error::of_state("old checkpoints can not be removed from the run directory", error)
                })?;
            }
            Ok((number, last))
        })?;
        Ok(Checkpointing {
            archive: Archive::new(run, number),
            every: self.config.checkpoint_interval.filter(|_| self.config.can_go_on()),
            attempt: self.history.attempt,
            listed: self.history.listed.clone(),
            seconds: self.history.seconds,
            last,
            headway: self.history.headway,
            flushes: self.roster.leads_node(),
            durable: durable.map(|points| Box::new(points) as Box<dyn DurablePoints>),
        })
    }

    /// What an attempt that died left in the run directory, and that nobody counts.
    fn clear_away(&self, run: &RunDirectory) -> Result<(), Error> {
        let unusable = |error| Error::of_state("the run directory can not be tidied up", error);
        for name in run.names(NAMES_MAX).map_err(unusable)? {
            let name = name.to_string_lossy();
            let is_spilled = [".items", ".notes"].iter().any(|ending| name.ends_with(ending));
            // Of an attempt that died before it had a number of its own in a checkpoint.
            let attempt = List::attempt_of(&name).or_else(|| author_of_met(&name).map(|(attempt, _)| attempt));
            let is_stale = attempt.is_some_and(|attempt| attempt >= self.history.attempt);
            if is_spilled || is_stale {
                run.remove(&name).map_err(unusable)?;
            }
        }
        Ok(())
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
    pub fn engine<'e>(
        &self,
        begun: &Begun,
        comm: &'e mut dyn Comm,
        resumed: Option<&Resumed>,
    ) -> Result<Engine<'e>, Error> {
        let checkpoints = self.checkpoints(begun, comm, resumed)?;
        let setup = self.setup(begun.run_directory.clone(), checkpoints, begun.root.source.inode);
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
        let progress = match &self.board {
            Some(cell) => Progress::told_to(cell.clone(), hosts),
            None if self.config.quiet => Progress::silent(),
            None => Progress::to_stderr(hosts, self.config.progress),
        };
        let stop_sign = self.stop_sign.clone();
        let deadline = Box::new(move || stop_sign.deadline());
        progress.of(total::of(self, begun)).kept_in(begun.run_directory.clone(), self.whose_progress(), deadline)
    }

    /// Whose progress it is.
    pub fn whose_progress(&self) -> Whose {
        Whose {
            run_id: self.config.run_id.clone(),
            command: self.config.command.word().to_owned(),
            attempt: self.history.attempt,
            job: self.job.as_ref().map(|job| job.job_id.clone()),
            host: self.roster.host().to_owned(),
            process: ProcessId::this(),
            ranks: self.ranks(),
            memory_max: self.memory.bytes(),
        }
    }

    /// `--verbose`: what the run goes by. Whether anything is said.
    pub fn say_circumstances(&self, run_directory: &Path) -> bool {
        if self.config.verbose == 0 || !self.is_root() {
            return false;
        }
        let mut nodes = self.roster.hosts.clone();
        nodes.sort();
        nodes.dedup();
        let ranks = report::plural(u64::from(self.ranks()), "rank", "ranks");
        report::say(&format!("{ranks} of {} threads on {}", self.threads, nodes.join(" ")));
        report::say(&self.memory.told());
        report::say(&format!("the record is kept in {}", run_directory.display()));
        true
    }
}

/// The largest of the numbers that the ranks have: nothing to do for any rank means no pass at all.
pub fn any_rank(engine: &mut Engine<'_>, mine: u64) -> u64 {
    let counts = engine.comm().gather(mine.to_le_bytes().to_vec());
    counts.iter().filter_map(|bytes| bytes.as_slice().try_into().ok()).map(u64::from_le_bytes).max().unwrap_or(0)
}
