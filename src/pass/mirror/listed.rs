//! What `--files-from` lists of one directory: its names are looked up one by one, and neither side is
//! listed.

use std::ffi::CStr;
use std::time::Instant;

use nix::errno::Errno;

use super::alias::Twin;
use super::entry::{self, Entry};
use super::file;
use super::{Work, note, outcome_of, report, sweep};
use crate::counters::{Number, Slot};
use crate::fault::{Failure, Fault, Side};
use crate::fs::path_list::PathList;
use crate::fs::{Fd, attributes, list};
use crate::pass::again::Failed;
use crate::pass::pair::{Pair, Trouble};
use crate::pass::{Context, Effects, Watch, aside, settle};
use crate::tree::listed::{Extent, Group, Groups, for_each_path};
use crate::tree::names::Listed;
use crate::tree::{Attributes, DirectoryItem, Item, Kind, Names, Outcome, TreePath};

/// A longer part of the list is cut into several, so that several ranks can take of it.
pub const PART_BYTES: u64 = 256 << 10;

/// The directory's names in a part of the list.
pub struct Part {
    /// The directory.
    pub directory: DirectoryItem,
    /// Its paths.
    pub extent: Extent,
    /// The directory is settled with this part.
    pub settles: bool,
}

/// Mirrors what a part of the list names in a directory.
pub fn listed(context: &Context, part: Part, watch: &Watch, effects: &mut Effects) {
    let Part { directory, extent, settles } = part;
    watch.begin("open", &directory.path, None);
    let list = match context.list.as_ref() {
        Some(list) => list,
        None => return lost(&directory.path, no_list(), effects),
    };
    let pair = match Pair::open(context, directory.clone()) {
        Ok(pair) => pair,
        Err(trouble) if settles => return report(&directory, trouble, effects),
        Err(trouble) => return abandon(list, &directory, extent, trouble, effects),
    };
    let outcome = settles.then(|| settle::before_changes(context, &pair, effects));
    if settles {
        sweep_left_overs(context, &pair, effects);
    }
    let whole = if settles && extent.bytes() > 2 * PART_BYTES {
        cut(list, &pair.item, extent, effects);
        false
    } else {
        work_on(context, &pair, list, extent, watch, effects)
    };
    if let Some(outcome) = outcome {
        watch.begin("settle", &pair.item.path, None);
        settle::now_or_later(context, pair, outcome, whole, effects);
    }
}

/// Left-overs of dead runs are found by listing only, and only where there was such a run.
fn sweep_left_overs(context: &Context, pair: &Pair<'_>, effects: &mut Effects) {
    if pair.item.made && !context.resumed || !context.temporaries.may_find_left_overs() {
        return;
    }
    let mut names = Names::new();
    let visit = |name: &CStr, kind, _inode| {
        if context.temporaries.is_left_over(name) {
            names.push(name, Listed { kind, on_target: true });
        }
    };
    // What can not be listed keeps its left-overs: they are in nobody's way.
    let _ = list::list(&pair.target, visit);
    sweep::left_overs(context, pair, &names, effects);
}

/// Cuts a long part; what can not be cut, as one name has it all, is worked on as it is.
pub fn cut(list: &PathList, directory: &DirectoryItem, extent: Extent, effects: &mut Effects) {
    match Groups::new(list, &directory.path, extent).cut(PART_BYTES) {
        Ok(parts) => effects.items.extend(parts.into_iter().map(|extent| Item::Listed {
            directory: directory.clone(),
            extent,
            settles: false,
        })),
        Err(failure) => lost(&directory.path, failure, effects),
    }
}

/// Works on names until they are done or it is time to let others have the rest. Returns whether
/// nothing is left for others, and no hard link is left to be made.
fn work_on(
    context: &Context,
    pair: &Pair<'_>,
    list: &PathList,
    extent: Extent,
    watch: &Watch,
    effects: &mut Effects,
) -> bool {
    let started = Instant::now();
    let notes_before = effects.notes.len();
    watch.begin("copy", &pair.item.path, None);
    let mut work = Work::new(context, pair, watch, effects);
    let mut groups = Groups::new(list, &pair.item.path, extent);
    let mut left = Extent::default();
    loop {
        let start = groups.rest().start;
        match groups.next() {
            Ok(None) => break,
            Ok(Some(group)) => {
                watch.next_name("copy", &group.name, None);
                context.limits.entry(watch);
                if let Err(failure) = one(&mut work, list, &group) {
                    let extent = Extent { start, end: groups.rest().start };
                    once_more(&pair.item, extent, failure, work.effects);
                }
            }
            Err(failure) => {
                lost(&pair.item.path, failure, work.effects);
                break;
            }
        }
        let is_enough = context.grain.is_enough(started, watch) || !work.chunks.is_empty();
        if watch.must_stop() || is_enough {
            left = groups.rest();
            break;
        }
    }
    file::finish_group(&mut work);
    let chunks = work.chunks;
    if !left.is_empty() {
        effects.items.push(Item::Listed { directory: pair.item.clone(), extent: left, settles: false }.after(0));
    }
    // Last, as a rank takes its newest item.
    effects.items.extend(chunks);
    left.is_empty() && effects.notes.len() == notes_before && effects.failed.is_empty() && effects.released.is_empty()
}

/// One name: an entry that is listed itself, or a directory on the way to such entries. An error is why it is to be
/// tried again, with all that is listed below it: the books do not have it.
fn one(work: &mut Work<'_>, list: &PathList, group: &Group) -> Result<(), Failure> {
    let name = group.name.as_c_str();
    if is_aside(work.context, group, &work.pair.path(name), work.effects) {
        return Ok(());
    }
    if work.pair.item.parked.has(name) {
        leave_alone(list, group, &work.pair.path(name), work.effects);
        return Ok(());
    }
    let found = find(list, group, &work.pair.source, &work.pair.path(name), work.effects)?;
    let Some(source) = found else { return Ok(()) };
    let entry = Entry { name, kind: source.kind };
    work.effects.measured = None;
    work.effects.count(Number::Listed, 1);
    work.effects.see(entry.kind);
    let items_before = work.effects.items.len();
    let on_target = !work.pair.item.made || work.pair.item.parked.is_retry() || work.context.resumed;
    let twin = if on_target { Twin::Perhaps } else { Twin::Missing };
    entry::look_and_act(work, &entry, Some(Ok(source)), twin);
    if !group.listed {
        only_what_is_listed(work.effects, items_before, group.below);
    }
    directory_failed(work.effects, &work.pair.path(name))
}

/// A directory whose turn failed goes again with what is listed below it; a batch of names would have all of it.
pub fn directory_failed(effects: &mut Effects, path: &TreePath) -> Result<(), Failure> {
    let is_it = |failed: &mut Failed| failed.kind == Kind::Directory && failed.path == *path;
    match effects.failed.pop_if(is_it) {
        Some(failed) if effects.may_pass(failed.failure) => {
            effects.counters.take_back(Slot::Number(Number::Listed), 1);
            effects.counters.take_back(Slot::Seen(failed.kind), 1);
            Err(failed.failure)
        }
        failed => {
            effects.failed.extend(failed);
            Ok(())
        }
    }
}

/// What is listed of one name, as an item of its own.
pub fn once_more(directory: &DirectoryItem, extent: Extent, failure: Failure, effects: &mut Effects) {
    effects.released.push(failure);
    let item = Item::Listed { directory: directory.clone(), extent, settles: false };
    effects.items.push(item.after(effects.tries + 1));
}

/// A listed name that two attempts died over is not looked at. A directory on the way is when it is opened.
pub fn is_aside(context: &Context, group: &Group, path: &TreePath, effects: &mut Effects) -> bool {
    let is_aside = group.listed && context.sets_aside(path);
    if is_aside {
        effects.count(Number::Listed, 1);
        effects.see(Kind::Unknown);
        aside::fail(path.clone(), Kind::Unknown, effects);
    }
    is_aside
}

/// Looks at a name of the list on the source. `None`: it is not there, or is no directory and not
/// listed itself; what is listed and not found stands in the books as failed. An error may pass.
pub fn find(
    list: &PathList,
    group: &Group,
    directory: &Fd,
    path: &TreePath,
    effects: &mut Effects,
) -> Result<Option<Attributes>, Failure> {
    let source = match attributes::of_name(directory, &group.name) {
        Ok(source) => source,
        Err(failure) if effects.may_pass(failure) => return Err(failure),
        Err(failure) => {
            if group.listed || failure.errno != Errno::ENOENT as i32 {
                miss(list, path, failure, effects);
            }
            if failure.errno == Errno::ENOENT as i32 {
                miss_below(list, path, group.below, failure, effects);
            }
            return Ok(None);
        }
    };
    if source.kind == Kind::Directory {
        return Ok(Some(source));
    }
    let failure = Failure { side: Side::Source, operation: "statx", errno: Errno::ENOTDIR as i32 };
    miss_below(list, path, group.below, failure, effects);
    Ok(group.listed.then_some(source))
}

/// A directory on the way is entered for what is listed below it, not walked.
pub fn only_what_is_listed(effects: &mut Effects, items_before: usize, below: Extent) {
    for item in effects.items.iter_mut().skip(items_before) {
        if let Item::Directory(directory) = item {
            *item = Item::Listed { directory: directory.clone(), extent: below, settles: true };
        }
    }
}

/// A name that is left alone stands in the books since an operation on it had no answer. What is listed
/// below it shares its fate.
pub fn leave_alone(list: &PathList, group: &Group, path: &TreePath, effects: &mut Effects) {
    let failure = Failure { side: Side::Source, operation: "", errno: Errno::ETIMEDOUT as i32 };
    miss_below(list, path, group.below, failure, effects);
}

const NOT_THERE: &str = "listed in --files-from, but not found";

/// Paths below one missing directory that are listed as faults, each by itself; the effects of an item
/// are held in memory.
const FAULTS_MAX: u64 = 1_000;

/// A listed path that is not there has failed, as the operator asked for it; what failed in another run, and is gone
/// since, has vanished.
fn miss(list: &PathList, path: &TreePath, failure: Failure, effects: &mut Effects) {
    let (outcome, note) = match (Errno::from_raw(failure.errno), list.of_faults) {
        (Errno::ENOENT | Errno::ENOTDIR, true) => (Outcome::Vanished, "gone since it failed"),
        (Errno::ENOENT | Errno::ENOTDIR, false) => (Outcome::Failed, NOT_THERE),
        (Errno::ETIMEDOUT, _) => (Outcome::Failed, "not looked at: a directory above it was parked"),
        _ => (Outcome::Failed, ""),
    };
    miss_in_books(outcome, effects);
    effects.fault(Fault { outcome, note, ..Fault::of(path.clone(), failure) });
}

fn miss_in_books(outcome: Outcome, effects: &mut Effects) {
    effects.count(Number::Listed, 1);
    effects.see(Kind::Unknown);
    effects.end(Kind::Unknown, outcome);
}

/// The same for all that is listed below a name which is no directory.
fn miss_below(list: &PathList, name: &TreePath, extent: Extent, failure: Failure, effects: &mut Effects) {
    let mut missed = 0;
    let is_parked = failure.errno == Errno::ETIMEDOUT as i32;
    let outcome = if list.of_faults && !is_parked { Outcome::Vanished } else { Outcome::Failed };
    let paths = for_each_path(list, extent, |path| {
        missed += 1;
        if missed <= FAULTS_MAX {
            miss(list, &TreePath::from(path), failure, effects);
        } else {
            miss_in_books(outcome, effects);
        }
    });
    if missed > FAULTS_MAX {
        let note = "listed in --files-from, but not found, nor the other paths below it";
        effects.fault(Fault { outcome, note, ..Fault::of(name.clone(), failure) });
    }
    if let Err(failure) = paths {
        lost(name, failure, effects);
    }
}

/// Paths whose directory can no longer be opened share its fate.
pub fn abandon(list: &PathList, directory: &DirectoryItem, extent: Extent, trouble: Trouble, effects: &mut Effects) {
    note(directory, trouble, effects);
    let paths = for_each_path(list, extent, |_| {
        effects.count(Number::Listed, 1);
        effects.see(Kind::Unknown);
        effects.end(Kind::Unknown, outcome_of(trouble));
    });
    if let Err(failure) = paths {
        lost(&directory.path, failure, effects);
    }
}

/// The list can not be read: what it still named is not known.
pub fn lost(path: &TreePath, failure: Failure, effects: &mut Effects) {
    miss_in_books(Outcome::Failed, effects);
    let note = "the list of --files-from can not be read in the run directory";
    effects.fault(Fault { note, ..Fault::of(path.clone(), failure) });
}

pub fn no_list() -> Failure {
    Failure { side: Side::Source, operation: "pread64", errno: Errno::EBADF as i32 }
}
