//! Look for names that only the target has, from directory entries alone, and plan their removal.

use std::ffi::CStr;

use nix::errno::Errno;

use super::listing::{Listings, Part, TooMany, both_listings};
use super::mirror::{names_unknown, note, outcome_of, report, sweep};
use super::pair::Pair;
use super::{Context, Effects, Watch, chosen, remove, settle};
use crate::counters::{Number, Slot};
use crate::fault::Failure;
use crate::fs::attributes;
use crate::tree::decide::Skip;
use crate::tree::names::Listed;
use crate::tree::removal::{Absent, Lack};
use crate::tree::{Attributes, DirectoryItem, Doomed, Item, Kind, Names, Outcome, Parked, Proof};

/// Runs one item of a walk that only plans.
pub fn process(context: &Context, item: Item, watch: &Watch, effects: &mut Effects) {
    match item {
        Item::Directory(item) => {
            walk(context, item, Part::WHOLE, watch, effects);
        }
        Item::Round { directory, round, rounds } => {
            walk(context, directory, Part { round, rounds }, watch, effects);
        }
        // Nothing else comes of this walk.
        _ => {}
    }
}

/// The same after a walk that has renamed directories. What it sees stands in the books a second time.
pub fn after_walk(
    context: &Context,
    item: DirectoryItem,
    (round, rounds): (u32, u32),
    watch: &Watch,
    effects: &mut Effects,
) {
    let directory = item.clone();
    let source = walk(context, item, Part { round, rounds }, watch, effects);
    effects.count(Number::WalkedAgain, effects.counters.get(Slot::Ended(Kind::Directory, Outcome::Same)));
    // It was settled when it still had what is to go.
    if let Some(source) = source.filter(|_| !effects.planned.is_empty() && !directory.path.is_root()) {
        settle::later_again(context, &source, directory, effects);
    }
}

/// Looks at a directory. Returns what the source's is, if it could be opened.
fn walk(
    context: &Context,
    item: DirectoryItem,
    part: Part,
    watch: &Watch,
    effects: &mut Effects,
) -> Option<Attributes> {
    watch.begin("open", &item.path, None);
    let is_whole = part.rounds == 1;
    let pair = match Pair::open(context, item.clone()) {
        Ok(pair) => pair,
        Err(trouble) => {
            if is_whole {
                report(&item, trouble, effects);
            } else {
                note(&item, trouble, effects);
                names_unknown(outcome_of(trouble), effects);
            }
            return None;
        }
    };
    watch.begin("list", &item.path, None);
    // The books of a mirror are none of this walk's.
    let mut aside = Effects::default();
    let listings = both_listings(context, &pair, part, &mut aside);
    effects.faults.append(&mut aside.faults);
    effects.count(Number::Faults, aside.counters.number(Number::Faults));
    effects.trouble = aside.trouble;
    if effects.is_put_off() {
        return None;
    }
    match listings {
        Ok(listings) => {
            match listings.broken {
                _ if is_whole => effects.end(Kind::Directory, listings.broken.unwrap_or(Outcome::Same)),
                Some(outcome) => names_unknown(outcome, effects),
                None => {}
            }
            sub_directories(context, &pair, &listings, watch, effects);
            watch.begin("list", &item.path, None);
            sweep::left_overs(context, &pair, &listings.target_only, effects);
            sweep::left_overs(context, &pair, &listings.left_out, effects);
            // Nothing is missing on the source that was not listed to its end.
            if listings.broken.is_none() {
                names(context, &pair, &listings, effects);
            }
        }
        Err(TooMany { rounds }) => {
            effects.end(Kind::Directory, Outcome::Same);
            let rounds = (0..rounds).map(|round| item_of(context, item.clone(), Part { round, rounds }));
            effects.items.extend(rounds);
        }
    }
    Some(pair.source_was)
}

/// A further item of this walk.
fn item_of(context: &Context, directory: DirectoryItem, Part { round, rounds }: Part) -> Item {
    match rounds {
        _ if context.plans_apart() => Item::Plan { directory, round: (round, rounds) },
        1 => Item::Directory(directory),
        _ => Item::Round { directory, round, rounds },
    }
}

/// Directories that both trees have.
fn sub_directories(context: &Context, pair: &Pair<'_>, listings: &Listings, watch: &Watch, effects: &mut Effects) {
    let may_be = |listed: Listed| listed.on_target && matches!(listed.kind, Some(Kind::Directory) | None);
    for (name, listed) in listings.names.iter().filter(|&(_, listed)| may_be(listed)) {
        // What the listing tells no type of was not judged by the rules yet.
        if listed.kind.is_none() && chosen::leaves_out(context, &pair.item.path, name, Kind::Directory) {
            continue;
        }
        watch.next_name("look", name, Some(Kind::Directory));
        context.limits.entry(watch);
        let looked = attributes::of_name(&pair.source, name)
            .and_then(|source| Ok((source, attributes::of_name(&pair.target, name)?)));
        match looked {
            Ok((source, target)) if (source.kind, target.kind) == (Kind::Directory, Kind::Directory) => {
                sub_directory(context, pair, name, &source, &target, effects);
            }
            Ok(_) => {}
            Err(failure) => unlooked(pair, name, failure, effects),
        }
    }
}

/// Nothing is planned below what can not be looked at.
fn unlooked(pair: &Pair<'_>, name: &CStr, failure: Failure, effects: &mut Effects) {
    effects.count(Number::Listed, 1);
    effects.see(Kind::Directory);
    if failure.errno == Errno::ENOENT as i32 {
        let note = "gone before it was looked at";
        effects.miss(Kind::Directory, pair.path(name), Outcome::Vanished, failure.side, note);
    } else {
        effects.fail(Kind::Directory, pair.path(name), failure);
    }
}

fn sub_directory(
    context: &Context,
    pair: &Pair<'_>,
    name: &CStr,
    source: &Attributes,
    target: &Attributes,
    effects: &mut Effects,
) {
    effects.count(Number::Listed, 1);
    effects.see(Kind::Directory);
    if context.policy.one_file_system && source.device != pair.source_was.device {
        return effects.skip(Kind::Directory, Skip::MountPoint);
    }
    let directory = DirectoryItem {
        path: pair.path(name),
        source: source.identity,
        target: Some(target.identity),
        mount: pair.mount_of(name, source),
        made: false,
        parked: Parked::NEVER,
    };
    effects.items.push(item_of(context, directory, Part::WHOLE));
}

/// Plans the removal of the names that only the target has in a directory that both trees have, after
/// both were listed to their end.
pub fn names(context: &Context, pair: &Pair<'_>, listings: &Listings, effects: &mut Effects) {
    if context.held.get().is_some() {
        // The plan was judged already: what is found now is for the next run.
        return;
    }
    let both = listings.names.iter().filter(|(_, listed)| listed.on_target).count();
    let seen = both + listings.target_only.len() + listings.left_out.len() + listings.excluded.len();
    remove::count_seen(context, &pair.item.path, seen as u64, effects);
    plan(context, pair, &listings.target_only, Lack::Name, effects);
    if context.planning.is_some_and(|planning| planning.excluded) {
        plan(context, pair, &listings.left_out, Lack::Name, effects);
        plan(context, pair, &listings.excluded, Lack::LetThrough, effects);
    }
}

/// Plans the removal of a directory that has the name of something else in the source.
pub fn in_the_way(context: &Context, pair: &Pair<'_>, name: &CStr, effects: &mut Effects) {
    let mut names = Names::new();
    names.push(name, Listed { kind: Some(Kind::Directory), on_target: true });
    plan(context, pair, &names, Lack::Directory, effects);
}

fn plan(context: &Context, pair: &Pair<'_>, list: &Names, lack: Lack, effects: &mut Effects) {
    let list = without_left_overs(context, list);
    if list.is_empty() {
        return;
    }
    let depth = u32::try_from(pair.item.path.depth()).unwrap_or(u32::MAX);
    let (source, target) = (pair.source_was.identity, pair.target_was.identity);
    let proof = Proof::Absent(Absent { depth, source, target, lack });
    let doomed = Doomed { path: pair.item.path.clone(), target, proof, tries: 0 };
    for names in remove::planned(context, &pair.target, &doomed, list, 1, effects) {
        effects.planned.push(Item::Remove { doomed: doomed.clone(), names });
    }
}

/// Temporary names of dead runs are swept, not planned.
fn without_left_overs(context: &Context, list: &Names) -> Names {
    if !context.temporaries.may_find_left_overs() {
        return list.clone();
    }
    let mut kept = Names::new();
    for (name, listed) in list.iter().filter(|(name, _)| !context.temporaries.is_left_over(name)) {
        kept.push(name, listed);
    }
    kept
}
