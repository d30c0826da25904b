//! List a directory that is to go with all that it holds: from names alone. Its names are planned, or
//! removed at once where the operator named the tree.

use std::ffi::CStr;

use super::site::{Obstacle, Site};
use super::{names_at, parts, reason, tell_of_obstacle};
use crate::counters::Number;
use crate::fault::Failure;
use crate::fs::{Fd, attributes, list};
use crate::pass::chosen;
use crate::pass::listing::Part;
use crate::pass::{Context, Effects, Watch};
use crate::tree::guard::{Loss, subtree_of};
use crate::tree::names::Listed;
use crate::tree::removal::{DoomedNames, Parts, Was};
use crate::tree::{
    Along, Attributes, Doomed, Identity, Item, Join, Joined, Kept, Kind, Names, Parked, Proof, Time, TreePath,
};

/// No inode has this number.
pub const NO_INODE: Identity = Identity { inode: 0, birth: None };

/// A directory that is to go, or a part of its names.
pub struct Victim {
    /// The directory.
    pub path: TreePath,
    /// Why it may go.
    pub proof: Proof,
    /// (this part, all parts).
    pub round: (u32, u32),
    /// Names that are left alone.
    pub parked: Parked,
}

/// Lists a directory that is to go, or a part of its names.
pub fn doom(context: &Context, victim: &Victim, watch: &Watch, effects: &mut Effects) {
    let Victim { path, proof, round: (round, rounds), parked } = victim;
    let (round, rounds) = (*round, *rounds);
    watch.begin("list", path, None);
    let site = match Site::open(context, path, proof, None) {
        Ok(site) => site,
        Err(obstacle) if rounds == 1 => return stays(context, path, proof, obstacle, effects),
        Err(obstacle) => return round_stays(context, path, proof, rounds, obstacle, effects),
    };
    let doomed = Doomed { path: path.clone(), target: site.identity, proof: proof.clone(), tries: 0 };
    let found = match listed(context, &site.directory, Part { round, rounds }, parked) {
        Ok(Found::Names(found)) => found,
        Ok(Found::TooMany(rounds)) => {
            let (path, proof) = (path.clone(), proof.clone());
            let round = |round| Item::Doom {
                path: path.clone(),
                proof: proof.clone(),
                round: (round, rounds),
                parked: parked.clone(),
            };
            return effects.items.extend((0..rounds).map(round));
        }
        // What could not be listed to its end is left alone, and so is what holds it.
        Err(failure) if rounds == 1 => return stays(context, path, proof, failure.into(), effects),
        Err(failure) => return round_stays(context, path, proof, rounds, failure.into(), effects),
    };
    let (target_only, left_out) = if context.planning.is_some_and(|planning| planning.excluded) {
        (found, Names::new())
    } else {
        let joined = Joined { source: Names::new(), target_only: found };
        let chosen = chosen::of_listings(context, path, Some(&site.directory), joined, effects);
        (chosen.target_only, chosen.left_out)
    };
    count_seen(context, path, (target_only.len() + left_out.len()) as u64, effects);
    let batches = planned(context, &site.directory, &doomed, target_only, rounds, effects);
    let holds_parked = (parked.count() > 0).then_some(Kept::HoldsFailed);
    let stays = (!left_out.is_empty()).then_some(Kept::Protected).max(holds_parked);
    let mut batches = batches.into_iter().map(|batch| DoomedNames { stays, ..batch });
    // Where nothing is to be judged first, this is the best moment: the directory is open.
    let at_once = if context.planning.is_none() { batches.next() } else { None };
    batches.for_each(|names| plan_or_push(context, doomed.clone(), names, effects));
    if let Some(names) = at_once {
        names_at(context, &site, &doomed, names, watch, effects);
    }
}

fn plan_or_push(context: &Context, doomed: Doomed, names: DoomedNames, effects: &mut Effects) {
    let item = Item::Remove { doomed, names };
    if context.planning.is_some() { effects.planned.push(item) } else { effects.items.push(item) }
}

/// The directory can not be opened or listed: it stays, with all that holds it.
fn stays(context: &Context, path: &TreePath, proof: &Proof, obstacle: Obstacle, effects: &mut Effects) {
    hear_trouble(obstacle, effects);
    tell_of_obstacle(path, obstacle, effects);
    let doomed = Doomed { path: path.clone(), target: NO_INODE, proof: proof.clone(), tries: 0 };
    let item = Item::RemoveDirectory { doomed, stays: Some(reason(obstacle)), along: Along::NONE };
    if context.planning.is_some() { effects.planned.push(item) } else { effects.items.push(item) }
}

/// What may pass is tried again, as nothing of it was done.
fn hear_trouble(obstacle: Obstacle, effects: &mut Effects) {
    if let Obstacle::Failed(failure) = obstacle {
        effects.trouble = Some(failure);
    }
}

/// The same for one round of several: the directory's owner hears of it as of any other round.
fn round_stays(
    context: &Context,
    path: &TreePath,
    proof: &Proof,
    rounds: u32,
    obstacle: Obstacle,
    effects: &mut Effects,
) {
    hear_trouble(obstacle, effects);
    tell_of_obstacle(path, obstacle, effects);
    let doomed = Doomed { path: path.clone(), target: NO_INODE, proof: proof.clone(), tries: 0 };
    let (parts, stays) = (Parts { rounds, is_first: true, more: 0 }, Some(reason(obstacle)));
    let nothing = DoomedNames { names: Names::new(), was: Vec::new(), parts, stays };
    plan_or_push(context, doomed, nothing, effects);
}

/// Enters names into the plan's books, cuts them into parts, and releases the directories among them.
/// A name whose type the listing did not tell is looked at.
pub fn planned(
    context: &Context,
    directory: &Fd,
    doomed: &Doomed,
    names: Names,
    rounds: u32,
    effects: &mut Effects,
) -> Vec<DoomedNames> {
    let names = with_kinds(directory, names);
    effects.plan(&names);
    count_losses(context, &doomed.path, &names, effects);
    let round = |name: &CStr| {
        let (path, proof) = (doomed.path.join(name), doomed.proof.clone());
        Item::Doom { path, proof, round: (0, 1), parked: Parked::NEVER }
    };
    let directories = names.iter().filter(|(_, listed)| listed.kind == Some(Kind::Directory));
    effects.items.extend(directories.map(|(name, _)| round(name)));
    let looks = context.planning.is_some_and(|planning| planning.looks);
    let parts = parts(&names, context.grain.batch_names_max);
    let more = u32::try_from(parts.len() - 1).unwrap_or(u32::MAX);
    let part = |(index, names): (usize, Names)| {
        let is_first = index == 0;
        let parts = Parts { rounds, is_first, more: if is_first { more } else { 0 } };
        let was = if looks { look_at(directory, &names) } else { Vec::new() };
        DoomedNames { names, was, parts, stays: None }
    };
    parts.into_iter().enumerate().map(part).collect()
}

fn with_kinds(directory: &Fd, names: Names) -> Names {
    if names.iter().all(|(_, listed)| listed.kind.is_some()) {
        return names;
    }
    let mut known = Names::new();
    for (name, listed) in names.iter() {
        let kind = listed.kind.or_else(|| attributes::of_name(directory, name).ok().map(|found| found.kind));
        known.push(name, Listed { kind, ..listed });
    }
    known
}

/// What can not be looked at has no inode, so it will not be what the plan saw.
fn look_at(directory: &Fd, names: &Names) -> Vec<Was> {
    let never = Time::default();
    let nothing = Was { identity: NO_INODE, ctime: never, mtime: never, links: 1, size: 0, uid: 0, gid: 0 };
    let was = |name: &CStr| {
        let Attributes { identity, ctime, mtime, links, size, uid, gid, .. } =
            attributes::of_name(directory, name).ok()?;
        Some(Was { identity, ctime, mtime, links, size, uid, gid })
    };
    names.iter().map(|(name, _)| was(name).unwrap_or(nothing)).collect()
}

/// The subtrees that lose these names. Of directories that are such subtrees themselves each counts for
/// its own.
fn count_losses(context: &Context, path: &TreePath, names: &Names, effects: &mut Effects) {
    let Some(planning) = context.planning else { return };
    let planned = names.len() as u64;
    if let Some(subtree) = subtree_of(path, planning.hold_depth) {
        return effects.losses.push((subtree, Loss { seen: 0, planned }));
    }
    if path.depth() + 1 == planning.hold_depth as usize {
        let directories = names.iter().filter(|(_, listed)| listed.kind == Some(Kind::Directory));
        let own = |(name, _): (&CStr, Listed)| (path.join(name), Loss { seen: 1, planned: 1 });
        effects.losses.extend(directories.map(own));
    }
}

/// Entries of the target that the walk saw in a directory.
pub fn count_seen(context: &Context, path: &TreePath, seen: u64, effects: &mut Effects) {
    effects.count(Number::TargetSeen, seen);
    let Some(planning) = context.planning else { return };
    if let Some(subtree) = subtree_of(path, planning.hold_depth) {
        effects.losses.push((subtree, Loss { seen, planned: 0 }));
    }
}

/// What a listing found.
enum Found {
    Names(Names),
    /// More than is held at once: to be listed in so many rounds.
    TooMany(u32),
}

fn listed(context: &Context, directory: &Fd, part: Part, parked: &Parked) -> Result<Found, Failure> {
    let bytes_max = if part.rounds > 1 { usize::MAX } else { context.grain.listing_bytes_max };
    // Names that a listing holds twice (NFS and Lustre may do that) count once.
    let (mut names, mut bytes) = (Join::default(), 0);
    list::list(directory, |name, kind, _inode| {
        if part.has(name) && !parked.has(name) {
            bytes += name.to_bytes_with_nul().len() + 2;
            if bytes <= bytes_max {
                names.target(name, Listed { kind, on_target: true });
            }
        }
    })?;
    if bytes > bytes_max {
        // A tenth more than would do, as hashes do not fall evenly.
        let rounds = bytes.div_ceil(bytes_max / 10 * 9).max(2);
        return Ok(Found::TooMany(u32::try_from(rounds).unwrap_or(u32::MAX)));
    }
    Ok(Found::Names(names.finish().target_only))
}
