//! Walk both trees side by side, decide, copy: one directory, or a part of a large one.

pub(super) mod alias;
mod content;
pub(super) mod entry;
pub(super) mod file;
pub(super) mod listed;
pub(super) mod node;
pub(super) mod place;
mod renamed;
mod repair;
pub(super) mod sweep;

use std::time::Instant;

use self::alias::Twin;
use self::file::FlushGroup;
use super::listing::{Listings, Part, TooMany, both_listings};
use super::pair::{Pair, Trouble};
use super::{Context, Effects, Watch, aside, plan, policy, settle, share};
use crate::counters::{Number, Slot};
use crate::fault::{Fault, Remedy, Side};
use crate::tree::{Aspects, DirectoryItem, Item, Kind, Met, Names, Outcome, TreePath};

/// Walks a directory, and settles it if nothing of it is left for others.
pub fn directory(context: &Context, item: DirectoryItem, watch: &Watch, effects: &mut Effects) {
    watch.begin("open", &item.path, None);
    let pair = match Pair::open(context, item.clone()) {
        Ok(pair) => pair,
        Err(trouble) => return report(&item, trouble, effects),
    };
    watch.begin("list", &pair.item.path, None);
    let listings = match both_listings(context, &pair, Part::WHOLE, effects) {
        Ok(listings) => listings,
        Err(TooMany { rounds }) => return in_rounds(context, pair, rounds, effects),
    };
    if effects.is_put_off() {
        return;
    }
    if context.renames.is_some() {
        let (source, target) = (pair.source_was.identity, pair.target_was.identity);
        effects.met.extend(Met::new(pair.item.mount, source, &pair.item.path, target));
    }
    let outcome = listings.broken.unwrap_or_else(|| settle::before_changes(context, &pair, effects));
    let whole = names(context, &pair, listings, watch, effects);
    // What is still to be removed, or made in the place of that, moves the directory's times.
    let whole = whole && effects.planned.is_empty() && effects.again.is_empty() && effects.failed.is_empty();
    watch.begin("settle", &pair.item.path, None);
    settle::now_or_later(context, pair, outcome, whole, effects);
}

/// Looks at one part of a directory too large to be held at once.
pub fn round(context: &Context, item: DirectoryItem, round: u32, rounds: u32, watch: &Watch, effects: &mut Effects) {
    watch.begin("list", &item.path, None);
    let pair = match Pair::open(context, item.clone()) {
        Ok(pair) => pair,
        Err(trouble) => {
            note(&item, trouble, effects);
            return names_unknown(outcome_of(trouble), effects);
        }
    };
    if let Ok(listings) = both_listings(context, &pair, Part { round, rounds }, effects)
        && !effects.is_put_off()
    {
        if let Some(outcome) = listings.broken {
            names_unknown(outcome, effects);
        }
        names(context, &pair, listings, watch, effects);
    }
}

/// A part of a directory could not be listed: its names stand in the books as one of unknown type, as
/// the directory's own outcome was settled before.
pub(super) fn names_unknown(outcome: Outcome, effects: &mut Effects) {
    effects.count(Number::Listed, 1);
    effects.see(Kind::Unknown);
    effects.end(Kind::Unknown, outcome);
}

/// Looks at names that another item listed.
pub fn batch(context: &Context, item: DirectoryItem, list: Names, watch: &Watch, effects: &mut Effects) {
    watch.begin("open", &item.path, None);
    match Pair::open(context, item.clone()) {
        Ok(pair) => {
            work_on(context, &pair, &list, watch, effects);
        }
        Err(trouble) => {
            note(&item, trouble, effects);
            abandon(&item, &list, trouble, effects);
        }
    }
}

/// Looks once more at names that failed, or in whose place a directory was that is removed now, or held.
pub fn again(context: &Context, item: &DirectoryItem, list: &Names, watch: &Watch, effects: &mut Effects) {
    watch.begin("open", &item.path, None);
    let pair = Pair::open(context, item.clone());
    let is_planned = context.planning.is_some() && context.held.get().is_some();
    for (name, listed) in list.iter() {
        let kind = listed.kind.unwrap_or(Kind::Unknown);
        match &pair {
            Ok(pair) => {
                watch.next_name("copy", name, Some(kind));
                let mut work = Work::new(context, pair, watch, effects);
                work.may_plan = context.planning.is_some() && !is_planned;
                work.effects.measured = None;
                let counted = bytes_found(work.effects);
                // In a dry run the directory is still there.
                let is_removed = context.dry_run && is_planned && !context.is_held(&item.path.join(name));
                let twin = match is_removed {
                    true => Twin::Missing,
                    false if item.parked.is_retry() || context.resumed => Twin::Perhaps,
                    false => Twin::Listed,
                };
                entry::look_and_act(&mut work, &entry::Entry { name, kind }, None, twin);
                file::finish_group(&mut work);
                let chunks = work.chunks;
                effects.items.extend(chunks);
                if item.parked.tries > 0 {
                    // It was counted before it failed.
                    let ([logical, allocated], [logical_was, allocated_was]) = (bytes_found(effects), counted);
                    effects.counters.take_back(Slot::Number(Number::BytesLogical), logical - logical_was);
                    effects.counters.take_back(Slot::Number(Number::BytesAllocated), allocated - allocated_was);
                }
            }
            Err(trouble) => trouble_of_name(item.path.join(name), kind, *trouble, effects),
        }
    }
}

fn bytes_found(effects: &Effects) -> [u64; 2] {
    [Number::BytesLogical, Number::BytesAllocated].map(|number| effects.counters.number(number))
}

/// The directory's own fate, when it can not be opened.
pub(super) fn report(item: &DirectoryItem, trouble: Trouble, effects: &mut Effects) {
    effects.end(Kind::Directory, outcome_of(trouble));
    note(item, trouble, effects);
}

pub(super) fn outcome_of(trouble: Trouble) -> Outcome {
    match trouble {
        Trouble::Vanished => Outcome::Vanished,
        Trouble::Changed(..) => Outcome::Changed,
        Trouble::Failed(_) | Trouble::Nested | Trouble::SetAside => Outcome::Failed,
    }
}

pub(super) fn note(item: &DirectoryItem, trouble: Trouble, effects: &mut Effects) {
    let path = item.path.clone();
    let (side, note) = match trouble {
        Trouble::Failed(failure) => {
            effects.trouble = Some(failure);
            return effects.fault(policy::fault(path, failure));
        }
        Trouble::Vanished => (Side::Source, "the directory is gone"),
        Trouble::Changed(side, note) => (side, note),
        Trouble::Nested => (Side::Source, NESTED),
        Trouble::SetAside => (Side::Source, aside::NOTE),
    };
    let (outcome, remedy) = (outcome_of(trouble), Remedy::Again);
    effects.fault(Fault { path, outcome, side, operation: "", errno: 0, note, remedy, owner: None });
}

/// A single name whose directory can not be opened.
pub(super) fn trouble_of_name(path: TreePath, kind: Kind, trouble: Trouble, effects: &mut Effects) {
    match trouble {
        Trouble::Failed(failure) => effects.fail(kind, path, failure),
        Trouble::Vanished => effects.miss(kind, path, Outcome::Vanished, Side::Source, "the directory is gone"),
        Trouble::Changed(side, note) => effects.miss(kind, path, Outcome::Changed, side, note),
        Trouble::Nested => effects.miss(kind, path, Outcome::Failed, Side::Source, NESTED),
        Trouble::SetAside => aside::fail(path, kind, effects),
    }
}

const NESTED: &str = "a root of the two, mounted inside a tree: it would be copied into itself";

/// Names whose directory can no longer be opened share its fate.
pub(super) fn abandon(item: &DirectoryItem, list: &Names, trouble: Trouble, effects: &mut Effects) {
    for (_, listed) in list.iter() {
        let kind = listed.kind.unwrap_or(Kind::Unknown);
        effects.see(kind);
        effects.end(kind, outcome_of(trouble));
    }
    if !list.is_empty() && matches!(trouble, Trouble::Failed(_)) {
        let note = "its remaining names were not looked at";
        let (path, remedy) = (item.path.clone(), Remedy::Again);
        let (outcome, side) = (Outcome::Failed, Side::Source);
        effects.fault(Fault { path, outcome, side, operation: "", errno: 0, note, remedy, owner: None });
    }
}

/// Cuts a directory into rounds, each of which can be held at once.
fn in_rounds(context: &Context, pair: Pair<'_>, rounds: u32, effects: &mut Effects) {
    share::rounds(&pair.item, rounds, effects);
    let outcome = settle::before_changes(context, &pair, effects);
    settle::now_or_later(context, pair, outcome, false, effects);
}

/// Works on the names of a listing, or cuts it into batches. Returns whether nothing of it is left
/// for others.
fn names(context: &Context, pair: &Pair<'_>, listings: Listings, watch: &Watch, effects: &mut Effects) -> bool {
    if listings.broken.is_none() {
        sweep::left_overs(context, pair, &listings.target_only, effects);
        sweep::left_overs(context, pair, &listings.left_out, effects);
        if context.planning.is_some() && !context.plans_apart() {
            plan::names(context, pair, &listings, effects);
        }
    }
    if listings.names.len() <= context.grain.batch_names_max {
        return work_on(context, pair, &listings.names, watch, effects);
    }
    share::all(context, &pair.item, &listings.names, effects);
    false
}

/// What working on the names of one directory needs at every step.
pub struct Work<'w> {
    /// The run.
    pub context: &'w Context,
    /// The directory.
    pub pair: &'w Pair<'w>,
    /// Where we say what we are doing.
    pub watch: &'w Watch,
    /// Files that wait to be made durable together.
    pub group: FlushGroup,
    /// What comes of it.
    pub effects: &'w mut Effects,
    /// Names of the target inode under work that are names that we mirror, see `decide::Known`.
    pub known_links: u32,
    /// Notes to owners are still read: not so when the owners themselves are at work.
    pub may_tell: bool,
    /// Whether the contents of the file under work are equal, where others have compared them.
    pub same_content: Option<bool>,
    /// What is in the way may be planned to be removed: not so when that was done already.
    pub may_plan: bool,
    /// In what the entry under work differs, where changes are listed.
    pub aspects: Aspects,
    /// Large files that were cut, for any rank to copy.
    pub chunks: Vec<Item>,
}

impl<'w> Work<'w> {
    /// Work on names of a directory, nothing known of them yet.
    pub fn new(context: &'w Context, pair: &'w Pair<'w>, watch: &'w Watch, effects: &'w mut Effects) -> Self {
        Self {
            context,
            pair,
            watch,
            group: FlushGroup::default(),
            effects,
            known_links: 1,
            may_tell: true,
            same_content: None,
            may_plan: context.planning.is_some(),
            aspects: Aspects::NONE,
            chunks: Vec::new(),
        }
    }
}

/// Works on names until they are done or it is time to let others have the rest. Returns whether
/// nothing is left for others, and no hard link is left to be made.
fn work_on(context: &Context, pair: &Pair<'_>, names: &Names, watch: &Watch, effects: &mut Effects) -> bool {
    let started = Instant::now();
    let notes_before = effects.notes.len();
    let mut done = 0;
    watch.begin("copy", &pair.item.path, None);
    let mut work = Work::new(context, pair, watch, effects);
    for (name, listed) in names.iter() {
        watch.next_name("copy", name, listed.kind);
        context.limits.entry(watch);
        entry::one(&mut work, name, listed);
        done += 1;
        let is_enough = context.grain.is_enough(started, watch) || !work.chunks.is_empty();
        if watch.must_stop() || is_enough {
            break;
        }
    }
    file::finish_group(&mut work);
    let chunks = work.chunks;
    if done < names.len() {
        share::rest(context, &pair.item, names, done, effects);
    }
    // Last, as a rank takes its newest item: a large file that was begun comes before further ones.
    effects.items.extend(chunks);
    done == names.len() && effects.notes.len() == notes_before
}
