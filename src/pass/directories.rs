//! Walk the directories that both trees have, and set their metadata; nothing else is looked at.

use std::ffi::CStr;
use std::time::Instant;

use nix::errno::Errno;

use super::listing::{Part, TooMany, listings};
use super::mirror::{abandon, names_unknown, note, outcome_of, report};
use super::pair::Pair;
use super::{Context, Effects, Watch, aside, chosen, settle, share};
use crate::counters::{Number, Slot};
use crate::fault::{Failure, Side};
use crate::fs::attributes;
use crate::tree::decide::Skip;
use crate::tree::names::Listed;
use crate::tree::{Attributes, DirectoryItem, Item, Kind, Names, Outcome, Parked};

/// Runs one item.
pub fn process(context: &Context, item: Item, watch: &Watch, effects: &mut Effects) {
    match item {
        Item::Directory(item) => directory(context, item, watch, effects),
        Item::Round { directory, round, rounds } => {
            self::round(context, directory, Part { round, rounds }, watch, effects)
        }
        Item::Batch { directory, names } => batch(context, directory, &names, watch, effects),
        Item::Settle { directory, outcome } => settle::later(context, &directory, outcome, watch, effects),
        // Nothing else comes of this walk.
        _ => {}
    }
}

fn directory(context: &Context, item: DirectoryItem, watch: &Watch, effects: &mut Effects) {
    watch.begin("open", &item.path, None);
    let pair = match Pair::open(context, item.clone()) {
        Ok(pair) => pair,
        Err(trouble) => return report(&item, trouble, effects),
    };
    watch.begin("list", &pair.item.path, None);
    let (outcome, whole) = match sub_directories(context, &pair, Part::WHOLE, effects) {
        Ok(_) if effects.is_put_off() => return,
        Ok(found) => (found.broken, names(context, &pair, &found.names, watch, effects)),
        Err(TooMany { rounds }) => {
            share::rounds(&pair.item, rounds, effects);
            (None, false)
        }
    };
    watch.begin("settle", &pair.item.path, None);
    let outcome = outcome.unwrap_or_else(|| settle::before_changes(context, &pair, effects));
    let whole = whole && effects.failed.is_empty();
    settle::now_or_later(context, pair, outcome, whole, effects);
}

fn round(context: &Context, item: DirectoryItem, part: Part, watch: &Watch, effects: &mut Effects) {
    watch.begin("list", &item.path, None);
    let pair = match Pair::open(context, item.clone()) {
        Ok(pair) => pair,
        Err(trouble) => {
            note(&item, trouble, effects);
            return names_unknown(outcome_of(trouble), effects);
        }
    };
    if let Ok(found) = sub_directories(context, &pair, part, effects)
        && !effects.is_put_off()
    {
        if let Some(outcome) = found.broken {
            names_unknown(outcome, effects);
        }
        names(context, &pair, &found.names, watch, effects);
    }
}

fn batch(context: &Context, item: DirectoryItem, names: &Names, watch: &Watch, effects: &mut Effects) {
    watch.begin("open", &item.path, None);
    match Pair::open(context, item.clone()) {
        Ok(pair) => {
            work_on(context, &pair, names, watch, effects);
        }
        Err(trouble) => {
            note(&item, trouble, effects);
            abandon(&item, names, trouble, effects);
        }
    }
}

/// The directories that a source directory holds.
struct Found {
    names: Names,
    /// What the directory's fate is if it was not listed to its end.
    broken: Option<Outcome>,
}

/// Lists the source. Only what may be a directory stands in the books.
fn sub_directories(context: &Context, pair: &Pair<'_>, part: Part, effects: &mut Effects) -> Result<Found, TooMany> {
    let mut aside = Effects::default();
    let listings = listings(context, &pair.item, &pair.source, None, part, &mut aside)?;
    effects.faults.append(&mut aside.faults);
    effects.count(Number::Faults, aside.counters.number(Number::Faults));
    effects.trouble = aside.trouble;
    for _ in 0..aside.counters.get(Slot::Ended(Kind::Directory, Outcome::Skipped)) {
        effects.count(Number::Listed, 1);
        effects.see(Kind::Directory);
        effects.skip(Kind::Directory, Skip::Excluded);
    }
    let mut names = Names::new();
    for (name, listed) in listings.names.iter() {
        let kind = listed.kind.or_else(|| unlisted_kind(context, pair, name));
        if kind == Some(Kind::Directory) {
            effects.count(Number::Listed, 1);
            names.push(name, Listed { kind, on_target: false });
        }
    }
    Ok(Found { names, broken: listings.broken })
}

/// The type of a name where the listing did not tell it. What can not be looked at is taken for a
/// directory: whoever looks again says what is wrong with it.
fn unlisted_kind(context: &Context, pair: &Pair<'_>, name: &CStr) -> Option<Kind> {
    let kind = attributes::of_name(&pair.source, name).map_or(Kind::Directory, |found| found.kind);
    (!chosen::leaves_out(context, &pair.item.path, name, kind)).then_some(kind)
}

/// Works on the names of a listing, or cuts it into batches. Returns whether nothing of it is left for
/// others.
fn names(context: &Context, pair: &Pair<'_>, names: &Names, watch: &Watch, effects: &mut Effects) -> bool {
    if names.len() <= context.grain.batch_names_max {
        return work_on(context, pair, names, watch, effects);
    }
    share::all(context, &pair.item, names, effects);
    false
}

/// Works on names until they are done or it is time to let others have the rest. Returns whether
/// nothing is left for others.
fn work_on(context: &Context, pair: &Pair<'_>, names: &Names, watch: &Watch, effects: &mut Effects) -> bool {
    let started = Instant::now();
    let mut done = 0;
    watch.begin("look", &pair.item.path, None);
    for (name, _) in names.iter() {
        watch.next_name("look", name, Some(Kind::Directory));
        context.limits.entry(watch);
        one(context, pair, name, effects);
        done += 1;
        if watch.must_stop() || context.grain.is_enough(started, watch) {
            break;
        }
    }
    if done < names.len() {
        share::rest(context, &pair.item, names, done, effects);
    }
    done == names.len()
}

/// One sub-directory of the source: to be walked, if the target has it too.
fn one(context: &Context, pair: &Pair<'_>, name: &CStr, effects: &mut Effects) {
    effects.see(Kind::Directory);
    if context.suspects.has_name_aside(&pair.item.path, name) {
        return aside::fail(pair.path(name), Kind::Directory, effects);
    }
    let source = match attributes::of_name(&pair.source, name) {
        Ok(source) => source,
        Err(failure) if failure.errno == Errno::ENOENT as i32 => {
            return effects.miss(Kind::Directory, pair.path(name), Outcome::Vanished, Side::Source, "");
        }
        Err(failure) => return effects.fail(Kind::Directory, pair.path(name), failure),
    };
    if source.kind != Kind::Directory {
        let note = "no longer a directory";
        return effects.miss(Kind::Directory, pair.path(name), Outcome::Changed, Side::Source, note);
    }
    if context.policy.one_file_system && source.device != pair.source_was.device {
        return effects.skip(Kind::Directory, Skip::MountPoint);
    }
    match twin(context, pair, name) {
        Ok(Some(target)) => effects.items.push(Item::Directory(DirectoryItem {
            path: pair.path(name),
            source: source.identity,
            target: Some(target.identity),
            mount: pair.mount_of(name, &source),
            made: false,
            parked: Parked::NEVER,
        })),
        Ok(None) => effects.miss(Kind::Directory, pair.path(name), Outcome::Failed, Side::Target, NO_TWIN),
        Err(failure) => effects.fail(Kind::Directory, pair.path(name), failure),
    }
}

const NO_TWIN: &str = "DST has no such directory: run sync first";

/// The target's directory of that name. Where the owner's own permissions keep us out of the one that
/// holds it, it is opened until it is settled.
fn twin(context: &Context, pair: &Pair<'_>, name: &CStr) -> Result<Option<Attributes>, Failure> {
    let mut found = attributes::of_name(&pair.target, name);
    if found.is_err_and(|failure| failure.errno == Errno::EACCES as i32) && !context.dry_run {
        pair.prepare_for_change()?;
        found = attributes::of_name(&pair.target, name);
    }
    match found {
        Err(failure) if failure.errno == Errno::ENOENT as i32 => Ok(None),
        found => found.map(|found| Some(found).filter(|found| found.kind == Kind::Directory)),
    }
}
