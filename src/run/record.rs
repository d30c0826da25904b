//! The record of a run: counters of all ranks, the fault list, the summary.

use std::collections::BTreeMap;

use super::agree::agree;
use super::clock::Done;
use super::crew::Crew;
use super::prune::{self, Judged};
use super::secure::Told;
use super::{Conclusion, end, lists, suspects};
use crate::comm::Comm;
use crate::config::Command;
use crate::counters::{Books, Counters, Imbalance, Number};
use crate::engine::{Ended, FaultGroup, List};
use crate::fault::Error;
use crate::fs::operator::RunDirectory;
use crate::fs::roots::fs_type_name;
use crate::report::Summary;
use crate::report::summary::{self, Bytes, FaultCount, Held, Links, Rates, Removals, Tree};
use crate::sched::Rank;
use crate::tree::guard::HeldTree;
use crate::tree::path::escaped;

/// Makes the record.
pub struct Recorder<'r> {
    /// What was asked, and of whom.
    pub crew: &'r Crew<'r>,
    /// Where the record is kept.
    pub run_directory: RunDirectory,
    /// The types of both file systems.
    pub fs_types: (u64, u64),
    /// How safe the run was.
    pub told: Told,
}

/// What the passes left on a rank.
pub struct Found {
    /// All that was counted.
    pub counters: Counters,
    /// Faults by cause.
    pub faults: Vec<(FaultGroup, u64)>,
    /// How the last pass ended.
    pub ended: Ended,
    /// Why the run gave up.
    pub error: Option<Error>,
    /// What the guards said, if anything was to be removed.
    pub judged: Option<Judged>,
    /// Rank 0, of a source that is frozen: some paths that were written to all the same.
    pub written_to: Vec<String>,
}

/// What one rank brings.
type Part = (Vec<u64>, Vec<(FaultGroup, u64)>);

impl Recorder<'_> {
    /// Gathers what all ranks counted; rank 0 writes it down. All ranks come to the same exit code.
    pub fn sum_up(&self, comm: &mut dyn Comm, found: Found, done: &Done) -> Conclusion {
        let Found { counters, faults, ended, error, judged, written_to } = found;
        let part: Result<Part, Error> = Ok((counters.to_vec(), faults));
        let (parts, error) = match agree(comm, &self.crew.roster, part) {
            Ok(parts) => (parts, error),
            Err(broken) => (Vec::new(), error.or(Some(broken))),
        };
        let ranks: Vec<Counters> =
            parts.iter().map(|(counters, _)| Counters::from_slice(counters).unwrap_or_default()).collect();
        let mut all = total(&ranks);
        prune::close_books(&mut all, ended, judged.as_ref());
        all.forget_second_walk();
        let is_plan = judged.as_ref().is_some_and(|judged| judged.is_plan);
        let exit_code = match end::exit_code(&all, ended, error.as_ref()) {
            // A plan that was written is all that was asked, whatever the guards say of it.
            3 | 25 if is_plan => 0,
            code => code,
        };
        let mut conclusion = Conclusion { exit_code, summary: None, error: error.clone() };
        let mut written = Ok(());
        if comm.rank() == Rank::ROOT {
            let mut summary = self.summary(&ranks, &all, counts(&parts), exit_code, error.as_ref(), done);
            summary.frozen = self.crew.config.command.is_final().then(|| summary::frozen(&all, written_to));
            summary.removals = judged.map(|judged| removals(&all, &judged));
            written = self.write(&summary);
            if ended == Ended::Quiet && error.is_none() {
                suspects::forget(&self.run_directory);
            }
            conclusion.summary = Some(summary);
        }
        if let Err(broken) = agree(comm, &self.crew.roster, written) {
            conclusion.is_not_kept(broken);
        }
        conclusion
    }

    fn summary(
        &self,
        ranks: &[Counters],
        all: &Counters,
        faults: Vec<FaultCount>,
        exit_code: u8,
        error: Option<&Error>,
        done: &Done,
    ) -> Summary {
        let seconds = done.seconds;
        let passes = done.seconds.plan
            + done.seconds.mirror
            + done.seconds.compare
            + done.seconds.link
            + done.seconds.remove
            + done.seconds.settle;
        let host = |rank: usize| self.crew.roster.hosts.get(rank).map_or("", String::as_str);
        let work = |(rank, counters): (usize, &Counters)| {
            summary::rank_work(u32::try_from(rank).unwrap_or(u32::MAX), host(rank), self.crew.threads, counters, passes)
        };
        let number = |number| all.number(number);
        let writes = self.crew.config.writes();
        Summary {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: self.crew.config.command.word(),
            arguments: self.crew.config.arguments.clone(),
            run_id: self.crew.config.run_id.clone(),
            retry_of: self.crew.config.started.retry.as_ref().map(|of| of.run_id.clone()),
            attempt: self.crew.history.attempt,
            run_directory: escaped(self.run_directory.path().as_os_str().as_encoded_bytes()),
            exit_code,
            error: error.map(ToString::to_string),
            slurm: self.crew.job.clone(),
            source: if matches!(self.crew.config.command, Command::RmTree | Command::PurgeTrash { .. }) {
                Tree::default()
            } else {
                tree(&self.crew.config.source, self.fs_types.0)
            },
            target: tree(&self.crew.config.target, self.fs_types.1),
            started: done.started_at.to_string(),
            ended: done.ended_at.to_string(),
            goes_on: self.crew.goes_on(),
            seconds,
            entries: summary::entries(all),
            skipped: summary::skipped(all),
            differences: self.crew.config.command.compare().map(|_| summary::differences(all)),
            contents: self.crew.config.command.compare().and_then(|cmp| summary::contents(all, &cmp.comparing)),
            bytes: Bytes {
                logical: number(Number::BytesLogical),
                allocated: number(Number::BytesAllocated),
                read: number(Number::BytesRead),
                written: number(Number::BytesWritten),
                compared: number(Number::BytesCompared),
            },
            engines: summary::engines(all),
            verified: self.crew.config.copying.hashing.filter(|_| writes).map(|_| summary::verified(all)),
            target_only: number(Number::TargetOnly),
            renamed: self.crew.config.detect_renames.then(|| number(Number::Renamed)),
            swept: number(Number::Swept),
            parked: number(Number::Parked),
            retried: number(Number::Retried),
            over_quota: number(Number::OverQuota),
            links: Links {
                groups: number(Number::LinkGroups),
                outside: number(Number::LinkGroupsOutside),
                split: number(Number::LinkGroupsSplit),
            },
            unset: summary::unset(all),
            sandbox: self.told.sandbox.clone(),
            target_reach: self.told.reach.clone(),
            dry_run: !writes && self.crew.config.command.compare().is_none(),
            removals: None,
            frozen: None,
            faults,
            rates: rates(all, seconds.total),
            ranks: ranks.iter().enumerate().map(work).collect(),
            threads: self.crew.threads,
            imbalances: imbalances(all),
        }
    }

    /// Joins the fault lists of the ranks, then writes the summary: it is the last file of a run.
    fn write(&self, summary: &Summary) -> Result<(), Error> {
        let directory = escaped(self.run_directory.path().as_os_str().as_encoded_bytes());
        let broken = |what: &str, error: &std::io::Error| {
            Error::of_state(format!("the {what} can not be written to the run directory {directory}"), error)
        };
        self.join_fault_lists().map_err(|error| broken("fault list", &error))?;
        self.run_directory
            .write("summary.json", summary.to_json().as_bytes())
            .map_err(|error| broken("summary", &error))
    }

    fn join_fault_lists(&self) -> std::io::Result<()> {
        lists::join(self.crew, &self.run_directory, List::Faults, "faults.jsonl")
    }
}

/// The counters of all ranks together.
fn total(ranks: &[Counters]) -> Counters {
    let mut total = Counters::default();
    ranks.iter().for_each(|rank| total.merge(rank));
    total
}

fn tree(path: &std::ffi::CStr, fs_type: u64) -> Tree {
    Tree { path: escaped(path.to_bytes()), fs_type: fs_type_name(fs_type) }
}

#[allow(clippy::cast_precision_loss)] // Rates for people.
fn rates(all: &Counters, seconds: f64) -> Rates {
    let seconds = seconds.max(1e-9);
    Rates {
        entries_per_second: (all.seen() + all.number(Number::TargetSeen)) as f64 / seconds,
        bytes_per_second: summary::bytes_done(all) as f64 / seconds,
    }
}

/// What was to be removed, and what became of it.
fn removals(all: &Counters, judged: &Judged) -> Removals {
    let held =
        |tree: &HeldTree| Held { path: tree.path.to_string(), entries: tree.loss.seen, planned: tree.loss.planned };
    Removals {
        seen: judged.seen,
        planned: all.planned(),
        entries: summary::removals(all),
        kept: summary::kept(all),
        held: judged.verdict.held.iter().map(held).collect(),
        refused: judged.refused.clone(),
    }
}

fn imbalances(all: &Counters) -> Vec<String> {
    let text = |books: Imbalance| {
        let (what, ended) = match books.books {
            Books::Entries => ("seen", "with an outcome"),
            Books::Removals => ("to be removed", "with a fate"),
        };
        format!("books of {}: {} {what}, {} {ended}", books.kind.word(), books.seen, books.ended)
    };
    all.imbalances().into_iter().map(text).collect()
}

/// Faults by cause over all ranks, the most frequent first.
fn counts(parts: &[Part]) -> Vec<FaultCount> {
    let mut sums: BTreeMap<&FaultGroup, u64> = BTreeMap::new();
    for (group, count) in parts.iter().flat_map(|(_, faults)| faults) {
        *sums.entry(group).or_default() += count;
    }
    let mut counts: Vec<FaultCount> = sums
        .into_iter()
        .map(|(group, count)| FaultCount {
            outcome: group.outcome.clone(),
            operation: group.operation.clone(),
            errno: group.errno.clone(),
            side: group.side.word(),
            note: group.note.clone(),
            count,
        })
        .collect();
    counts.sort_by_key(|fault| std::cmp::Reverse(fault.count));
    counts
}
