//! The end of a run over a target: make all durable, settle the root, sum up, print what was changed.

use std::sync::Arc;
use std::time::Duration;

use super::agree::agree;
use super::begin::Begun;
use super::bounded::within;
use super::clock::Clock;
use super::crew::Crew;
use super::frame::Passed;
use super::lock::Leaves;
use super::record::{Found, Recorder};
use super::{Conclusion, end, known, lists};
use crate::comm::Comm;
use crate::counters::{Number, Slot};
use crate::engine::{DifferenceLog, Ended, Finished, RemarkLog};
use crate::fault::{Error, Failure, Fault, Side};
use crate::fs::{data, path_list};
use crate::pass::park::PARKED;
use crate::pass::{Context, Effects, Watch, chunk, settle};
use crate::report::differences::Manner;
use crate::sched::Rank;
use crate::tree::{ChunkedFile, DirectoryItem, Kind, Outcome, TreePath};

/// What the passes left.
pub struct Walked {
    /// How they ended.
    pub passed: Passed,
    /// What this rank brings home.
    pub finished: Finished,
    /// The clock of the run.
    pub clock: Clock,
}

/// Makes all durable, settles the root, and sums up.
pub fn finish(crew: Crew<'_>, comm: &mut dyn Comm, begun: Begun, walked: Walked) -> Conclusion {
    let Walked { passed: Passed { ended, root_outcome, has_walked, judged }, finished, mut clock } = walked;
    let Finished { mut counters, faults, abandoned, leaves_behind, error } = finished;
    let limit = crew.config.op_timeout;
    discard(limit, &begun.context, abandoned);
    clock.lap();
    let mine = error.map_or_else(|| flush(&crew, &begun.context), Err);
    let error = agree(comm, &crew.roster, mine).err();
    clock.seconds.flush = clock.lap();

    let known: Vec<(Option<Outcome>, bool)> =
        agree(comm, &crew.roster, Ok((root_outcome, leaves_behind))).unwrap_or_default();
    let leaves_behind = known.iter().any(|&(_, leaves)| leaves);
    let root_outcome = known.into_iter().find_map(|(outcome, _)| outcome);
    let pair = known::pair_of(&begun);
    let (context, fs_types, run_directory) = (begun.context, begun.fs_types, begun.run_directory);
    let (mut root_faults, mut listed) = (Vec::new(), Ok(()));
    if crew.is_root() {
        path_list::remove(&run_directory);
        if let Some((private, lock)) = begun.held {
            let is_whole = ended == Ended::Quiet && error.is_none() && context.looks_everywhere();
            let older = if is_whole { Leaves::Nothing } else { Leaves::Older };
            let leaves = if leaves_behind { Leaves::Own } else { older };
            let context = Arc::clone(&context);
            // A lock that stays is a dead run's when this process has ended.
            let _ = within(limit, move || end::give_back(private, lock, &context.trees.target, leaves));
        }
        let effects = if has_walked {
            let (context, item, has_failed) = (Arc::clone(&context), begun.root.clone(), error.is_some());
            within(limit, move || root(&context, &item, root_outcome, has_failed)).unwrap_or_else(root_parked)
        } else {
            Effects::default()
        };
        counters.merge(&effects.counters);
        root_faults = effects.faults;
        let last = Rank(u32::try_from(crew.roster.hosts.len()).unwrap_or(u32::MAX));
        let mut log = DifferenceLog::new(run_directory.clone(), last, crew.list_settings());
        let mut remarks = RemarkLog::new(run_directory.clone(), last);
        listed = effects.differences.iter().try_for_each(|change| log.add(change)).and_then(|()| log.close());
        let remarked = effects.remarks.iter().try_for_each(|remark| remarks.add(remark));
        listed = listed.and(remarked).and_then(|()| remarks.close());
    }
    let error = error.or_else(|| agree(comm, &crew.roster, listed).err());
    let is_joined = crew.is_root() && context.frozen.is_some();
    let (remarked, written_to) = match lists::join_remarks(&crew, &run_directory, is_joined) {
        Ok(paths) => (Ok(()), paths),
        Err(error) => (Err(error), Vec::new()),
    };
    let error = error.or_else(|| agree(comm, &crew.roster, remarked).err());
    let recorder = Recorder { crew: &crew, run_directory, fs_types };
    let found = Found { counters, faults, root_faults, ended, error, judged, written_to };
    let conclusion = list_and_sum_up(comm, &recorder, found, context.itemizes, clock);
    known::remember(&crew, pair, context.list.is_none(), conclusion.summary.as_ref());
    conclusion
}

/// Sums up, and prints the list of changes.
pub fn list_and_sum_up(
    comm: &mut dyn Comm,
    recorder: &Recorder<'_>,
    mut found: Found,
    itemizes: bool,
    clock: Clock,
) -> Conclusion {
    let (crew, directory) = (recorder.crew, &recorder.run_directory);
    let is_mine = crew.is_root() && itemizes;
    // All ranks have written their parts: they have agreed on something since.
    let joined = if is_mine { lists::join_differences(crew, directory, CHANGES) } else { Ok(()) };
    let joined = agree(comm, &crew.roster, joined).err();
    found.error = found.error.or(joined);
    let conclusion = recorder.sum_up(comm, found, &clock.stop());
    if is_mine && !crew.config.json {
        lists::print_differences(directory, CHANGES, Manner::Itemized, u64::MAX);
    }
    conclusion
}

/// The run ends before anything was done: the next one need not think that it died.
pub fn give_up(begun: Begun, error: Error) -> Conclusion {
    if let Some((private, lock)) = begun.held {
        end::give_back(private, lock, &begun.context.trees.target, Leaves::Older);
    }
    error.into()
}

const CHANGES: &str = "changes.jsonl";

/// Once on each node: what it wrote is made durable.
fn flush(crew: &Crew<'_>, context: &Arc<Context>) -> Result<(), Error> {
    if context.dry_run || !crew.roster.leads_node() {
        return Ok(());
    }
    let (limit, context) = (crew.config.op_timeout, Arc::clone(context));
    let lost = |why: String| Error::Fatal(format!("what was written to DST may be lost: syncfs: {why}"));
    match within(limit, move || data::flush_file_system(&context.trees.target)) {
        None => Err(lost(format!(
            "no answer for {} s (--op-timeout); run the same command again when DST answers",
            limit.unwrap_or_default().as_secs()
        ))),
        Some(flushed) => flushed.map_err(|failure| {
            let errno = nix::errno::Errno::from_raw(failure.errno);
            lost(format!("{} ({errno})", errno.desc()))
        }),
    }
}

/// Takes away what a stopped run has of large files.
fn discard(limit: Option<Duration>, context: &Arc<Context>, abandoned: Vec<ChunkedFile>) {
    if !abandoned.is_empty() {
        let context = Arc::clone(context);
        // What has no answer is swept by a later run.
        let _ = within(limit, move || abandoned.iter().for_each(|file| chunk::discard(&context, file)));
    }
}

/// The root was not settled, as it had no answer.
fn root_parked() -> Effects {
    let mut effects = Effects::default();
    effects.count(Number::Listed, 1);
    effects.count(Number::Parked, 1);
    effects.see(Kind::Directory);
    let (side, operation, errno) = (Side::Target, "settle", nix::errno::Errno::ETIMEDOUT as i32);
    effects.end(Kind::Directory, Outcome::Failed);
    effects.fault(Fault { note: PARKED, ..Fault::of(TreePath::root(), Failure { side, operation, errno }) });
    effects
}

/// The root is settled last, when nothing of ours is in it any more. Nothing lists it, so it is seen here.
fn root(context: &Context, root: &DirectoryItem, outcome: Option<Outcome>, has_failed: bool) -> Effects {
    let mut effects = Effects::default();
    effects.count(Number::Listed, 1);
    effects.counters.add(Slot::Seen(Kind::Directory), 1);
    match outcome {
        Some(outcome) if !has_failed => {
            settle::later(context, root, outcome, &Watch::new(Arc::default()), &mut effects);
            if context.frozen.is_some() {
                effects.harden();
            }
        }
        Some(_) => effects.end(Kind::Directory, Outcome::Unfinished),
        // Its walk failed, or it was abandoned with all else that a stop left: the books have it.
        None => {}
    }
    effects
}
