//! The end of a run over a target: make all durable, settle the root, sum up, print what was changed.

use std::sync::Arc;
use std::time::Duration;

use super::agree::agree;
use super::begin::Begun;
use super::bounded::within;
use super::clock::Clock;
use super::crew::Crew;
use super::frame::Passed;
use super::lock::{Ending, Points};
use super::record::{Found, Recorder};
use super::story::Story;
use super::{Conclusion, end, known, lists, renames, resume, trash};
use crate::comm::Comm;
use crate::counters::{Number, Slot};
use crate::engine::{DurablePoints, Ended, Finished};
use crate::fault::{Error, Failure, Fault, Side};
use crate::fs::{data, path_list};
use crate::pass::park::PARKED;
use crate::pass::{Context, Effects, Purpose, chunk, settle};
use crate::report::differences::Manner;
use crate::tree::{ChunkedFile, DirectoryItem, Fate, Kind, Outcome, TreePath};

/// What the passes left.
pub struct Walked {
    /// How they ended.
    pub passed: Passed,
    /// Where the run has come to.
    pub story: Story,
    /// What this rank brings home.
    pub finished: Finished,
    /// The clock of the run.
    pub clock: Clock,
}

/// Makes all durable, settles the root, and sums up.
pub fn finish(crew: Crew<'_>, comm: &mut dyn Comm, begun: Begun, walked: Walked) -> Conclusion {
    let Walked { passed: Passed { ended, has_walked }, story, finished, mut clock } = walked;
    let Finished { mut counters, mut faults, abandoned, root_outcome, leaves_behind, error, .. } = finished;
    let limit = crew.config.op_timeout;
    let is_under_way = crew.keeps_checkpoint() && abandoned.iter().any(|file| file.temporary().is_some());
    if !crew.keeps_checkpoint() {
        discard(limit, &begun.context, abandoned);
    }
    clock.lap();
    let error = agree(comm, &crew.roster, error.map_or(Ok(()), Err)).err();
    let flushed = make_durable(&crew, comm, &begun);
    let is_flushed = flushed.is_ok();
    let error = error.or(flushed.err());
    clock.seconds.flush = clock.lap();

    let leaves_behind = leaves_behind || is_under_way || begun.context.temporaries.leaves_behind();
    let is_doubtful = counters.ended(Outcome::Failed) + counters.ended(Outcome::Changed) > 0;
    let has_trashed = counters.removals(Fate::Trashed) > 0;
    let mine = (root_outcome, is_doubtful, leaves_behind, has_trashed);
    let known = agree(comm, &crew.roster, Ok(mine)).unwrap_or_default();
    let leaves_behind = known.iter().any(|&(_, _, leaves_behind, _)| leaves_behind);
    let is_doubtful = known.iter().any(|&(_, is_doubtful, ..)| is_doubtful);
    let keeps_no_trash = crew.config.trash && !known.is_empty() && !known.iter().any(|known| known.3);
    let root_outcome = known.into_iter().find_map(|(outcome, ..)| outcome);
    // The root does not stand in the books yet. If it could not be listed, nothing was looked at.
    let is_root_listed = !matches!(root_outcome, Some(Outcome::Failed | Outcome::Changed | Outcome::Vanished));
    let has_looked = error.is_none() && !is_doubtful && is_root_listed;
    let pair = known::pair_of(&begun);
    let (context, fs_types, run_directory, told) = (begun.context, begun.fs_types, begun.run_directory, begun.told);
    let mut listed = Ok(Vec::new());
    if crew.is_root() {
        if !crew.keeps_checkpoint() {
            path_list::remove(&run_directory);
        }
        if let Some((private, lock)) = begun.held {
            let emptied = keeps_no_trash.then(|| crew.config.run_id.clone());
            // A run that goes on comes only to what was left to do. That is all, if no attempt before it has died.
            let goes_on_from_here = crew.history.attempt > 1;
            let was_in_order = goes_on_from_here && lock.dead().iter().all(|dead| story.suspended.contains(dead));
            let has_seen_all = has_looked && context.looks_everywhere() && !goes_on_from_here;
            let is_whole = ended == Ended::Quiet && error.is_none() && (has_seen_all || was_in_order);
            let ending = match (is_flushed, leaves_behind, is_whole) {
                (false, ..) => Ending::Unflushed,
                (true, true, _) => Ending::Littered,
                (true, false, false) => Ending::Partly,
                (true, false, true) => Ending::Whole,
            };
            let context = Arc::clone(&context);
            // A lock that stays is a dead run's when this process has ended.
            let _ = within(limit, move || {
                trash::take_away_empty(&private, emptied.as_deref());
                end::give_back(private, lock, &context.trees.target, ending);
            });
        }
        let effects = if has_walked {
            let (context, item, has_failed) = (Arc::clone(&context), begun.root.clone(), error.is_some());
            within(limit, move || root(&context, &item, root_outcome, has_failed)).unwrap_or_else(root_parked)
        } else {
            Effects::default()
        };
        counters.merge(&effects.counters);
        listed = lists::of_root(&crew, &run_directory, &effects);
    }
    let (root_faults, listed) = listed.map_or_else(|error| (Vec::new(), Err(error)), |causes| (causes, Ok(())));
    faults.extend(root_faults.into_iter().map(|cause| (cause, 1)));
    let error = error.or_else(|| agree(comm, &crew.roster, listed).err());
    let is_joined = crew.is_root() && context.frozen.is_some();
    let (remarked, written_to) = match lists::join_remarks(&crew, &run_directory, is_joined) {
        Ok(paths) => (Ok(()), paths),
        Err(error) => (Err(error), Vec::new()),
    };
    let error = error.or_else(|| agree(comm, &crew.roster, remarked).err());
    let recorder = Recorder { crew: &crew, run_directory, fs_types, told };
    let is_over = ended == Ended::Quiet && error.is_none();
    let judged = story.judged;
    let found = Found { counters, faults, ended, error, judged, written_to };
    let conclusion = list_and_sum_up(comm, &recorder, found, context.itemizes, clock);
    if crew.is_root() && is_over {
        resume::forget(&recorder.run_directory);
    }
    known::remember(&crew, &pair, context.list.is_none(), conclusion.summary.as_ref());
    if crew.is_root() && context.renames.is_some() {
        renames::keep(&crew, &recorder.run_directory, &pair, conclusion.summary.as_ref());
    }
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
    let mut conclusion = recorder.sum_up(comm, found, &clock.stop(crew.history.seconds));
    if is_mine && !crew.config.json {
        lists::print_differences(directory, CHANGES, (Manner::Itemized, u64::MAX), &mut conclusion);
    }
    conclusion
}

/// The run ends before it has touched anything.
pub fn refuse(begun: Begun, error: Error) -> Conclusion {
    give_back_untouched(begun);
    error.into()
}

/// Gives back what a run holds that has not touched anything.
pub fn give_back_untouched(begun: Begun) {
    if let Some((private, lock)) = begun.held {
        end::give_back(private, lock, &begun.context.trees.target, Ending::Partly);
    }
}

/// The run ends in order before its end: the next one need not think that it died, but does not believe what it
/// copied and never flushed.
pub fn give_up(begun: Begun, error: Error, limit: Option<Duration>) -> Conclusion {
    if let Some((private, lock)) = begun.held {
        let ending = if begun.context.purpose == Purpose::Mirror { Ending::Unflushed } else { Ending::Partly };
        let context = Arc::clone(&begun.context);
        let _ = within(limit, move || end::give_back(private, lock, &context.trees.target, ending));
    }
    error.into()
}

const CHANGES: &str = "changes.jsonl";
const NO_ANSWER: &str = "the lock in DST/.pmirror has no answer within --op-timeout; run the same command again when DST \
                         answers";

/// Makes durable what all nodes wrote, and tells the lock. No rank writes any more when the first node begins, as
/// all have met.
fn make_durable(crew: &Crew<'_>, comm: &mut dyn Comm, begun: &Begun) -> Result<(), Error> {
    let limit = crew.config.op_timeout;
    let no_answer = || Error::Fatal(NO_ANSWER.to_owned());
    let mut points = None;
    let begins = match &begun.held {
        None => Ok(()),
        Some((_, lock)) => Points::new(lock, &begun.context.trees.target).and_then(|mut of_lock| {
            let begin = move || of_lock.begin().map(|()| of_lock);
            points = Some(within(limit, begin).unwrap_or_else(|| Err(no_answer()))?);
            Ok(())
        }),
    };
    agree(comm, &crew.roster, begins)?;
    agree(comm, &crew.roster, flush(crew, &begun.context))?;
    let reached =
        points.map_or(Ok(()), |mut points| within(limit, move || points.reached()).unwrap_or_else(|| Err(no_answer())));
    agree(comm, &crew.roster, reached).map(|_| ())
}

/// Once on each node: what it wrote is made durable.
pub fn flush(crew: &Crew<'_>, context: &Arc<Context>) -> Result<(), Error> {
    if context.dry_run || !crew.roster.leads_node() {
        return Ok(());
    }
    let (limit, context) = (crew.config.op_timeout, Arc::clone(context));
    match within(limit, move || data::flush_file_system(&context.trees.target)) {
        Some(flushed) => flushed.map_err(data::may_be_lost),
        None => Err(Error::Fatal(format!(
            "what was written to DST may be lost: syncfs: no answer for {} s (--op-timeout); run the same command \
             again when DST answers",
            limit.unwrap_or_default().as_secs()
        ))),
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
    match outcome {
        Some(outcome) if !has_failed => {
            effects = settle::at_the_end(context, root, outcome);
            if context.frozen.is_some() {
                effects.harden();
            }
        }
        Some(_) => effects.end(Kind::Directory, Outcome::Unfinished),
        // Its walk failed, or it was abandoned with all else that a stop left: the books have it.
        None => {}
    }
    effects.count(Number::Listed, 1);
    effects.counters.add(Slot::Seen(Kind::Directory), 1);
    effects
}
