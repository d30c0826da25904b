//! Remove what the plan has: names first, a directory when all that it held has had its turn.

mod doom;
mod site;
mod trash;

use std::ffi::{CStr, CString};
use std::time::Instant;

use nix::errno::Errno;

pub use self::doom::{NO_INODE, Victim, count_seen, doom, planned};
use self::site::{Obstacle, Site};
pub use self::trash::Trash;
use super::{Context, Effects, Watch, aside};
use crate::fault::{Failure, Fault, Remedy, Side};
use crate::fs::{Fd, attributes, names};
use crate::tree::names::Listed;
use crate::tree::removal::{DoomedNames, Parts, Was};
use crate::tree::{
    Along, Aspect, Difference, Doomed, Fate, Item, Kept, Kind, Names, Note, Outcome, RemovalNews, TreePath,
};

/// Removes names from a directory; those of directories wait until these are empty.
pub fn names(context: &Context, doomed: Doomed, list: DoomedNames, watch: &Watch, effects: &mut Effects) {
    watch.begin("remove", &doomed.path, None);
    if context.is_held(&doomed.path) {
        return list.names.iter().for_each(|(_, listed)| effects.remove(kind_of(listed.kind), Fate::Held));
    }
    if list.names.is_empty() && list.stays.is_some() {
        // A part that could not be listed.
        return tell(&doomed, &list, Told { stays: list.stays, ..Told::default() }, effects);
    }
    if context.goes_whole(&doomed) {
        return trash::names(context, &doomed, &list, watch, effects);
    }
    match Site::open(context, &doomed.path, &doomed.proof, Some(doomed.target)) {
        Ok(site) => names_at(context, &site, &doomed, list, watch, effects),
        Err(obstacle) => all_stay(context, &doomed, &list, obstacle, effects),
    }
}

fn kind_of(listed: Option<Kind>) -> Kind {
    listed.unwrap_or(Kind::Unknown)
}

/// Nothing can be removed from the directory.
fn all_stay(context: &Context, doomed: &Doomed, list: &DoomedNames, obstacle: Obstacle, effects: &mut Effects) {
    if let Obstacle::Failed(failure) = obstacle {
        effects.trouble = Some(failure);
    }
    let (mut directories, stays) = (0, reason(obstacle));
    for (name, listed) in list.names.iter() {
        let kind = kind_of(listed.kind);
        match (kind, obstacle) {
            (Kind::Directory, _) if context.is_held(&doomed.path.join(name)) => effects.remove(kind, Fate::Held),
            (Kind::Directory, _) => directories += 1,
            _ => count_stays(kind, obstacle, effects),
        }
    }
    tell_of_obstacle(&doomed.path, obstacle, effects);
    tell(doomed, list, Told { directories, stays: Some(stays), along: Along::NONE }, effects);
}

/// What an obstacle means for the directory above.
fn reason(obstacle: Obstacle) -> Kept {
    match obstacle {
        Obstacle::Stays(kept) => kept,
        Obstacle::Unmovable(_) => Kept::Unmovable,
        Obstacle::Failed(_) => Kept::HoldsFailed,
    }
}

/// Enters into the books that an entry stays.
fn count_stays(kind: Kind, obstacle: Obstacle, effects: &mut Effects) {
    match obstacle {
        Obstacle::Failed(_) => effects.remove(kind, Fate::Failed),
        Obstacle::Stays(_) | Obstacle::Unmovable(_) => effects.keep(kind, reason(obstacle)),
    }
}

/// What stays although it should go is listed.
fn tell_of_obstacle(path: &TreePath, obstacle: Obstacle, effects: &mut Effects) {
    match obstacle {
        Obstacle::Failed(failure) => {
            let note = if failure == aside::UNTOUCHED { aside::NOTE_OF_REMOVAL } else { "" };
            effects.fault(Fault { note, remedy: Remedy::Nothing, ..Fault::of(path.clone(), failure) });
        }
        Obstacle::Unmovable(failure) => {
            let (outcome, note, remedy) = (Outcome::Skipped, Kept::Unmovable.text(), Remedy::Nothing);
            effects.fault(Fault { outcome, note, remedy, ..Fault::of(path.clone(), failure) });
        }
        Obstacle::Stays(Kept::Gone | Kept::Protected | Kept::HoldsHeld | Kept::HoldsFailed) => {}
        Obstacle::Stays(kept) => {
            let side = if matches!(kept, Kept::OnSource | Kept::Unproven) { Side::Source } else { Side::Target };
            let outcome = if kept == Kept::OnSource { Outcome::Changed } else { Outcome::Skipped };
            let path = path.clone();
            let (note, remedy) = (kept.text(), Remedy::Nothing);
            effects.fault(Fault { path, outcome, side, operation: "", errno: 0, note, remedy, owner: None });
        }
    }
}

/// What came of some of the names of a directory.
#[derive(Default)]
struct Progress {
    done: usize,
    directories: u32,
    stays: Option<Kept>,
    /// Names that may go at a further try.
    again: DoomedAgain,
}

/// Names that could not be removed for a reason that may pass.
#[derive(Default)]
struct DoomedAgain {
    names: Names,
    was: Vec<Was>,
}

/// Removes names from an open directory, until it is time to let others have the rest.
fn names_at(
    context: &Context,
    site: &Site,
    doomed: &Doomed,
    mut list: DoomedNames,
    watch: &Watch,
    effects: &mut Effects,
) {
    if let Err(obstacle) = site.prepare_for_change(context) {
        return all_stay(context, doomed, &list, obstacle, effects);
    }
    let started = Instant::now();
    let mut so_far = Progress { stays: list.stays, ..Progress::default() };
    let was = list.was.iter().map(Some).chain(std::iter::repeat(None));
    for ((name, listed), was) in list.names.iter().zip(was) {
        watch.next_name("remove", name, listed.kind);
        context.limits.entry(watch);
        one(context, site, doomed, Name { name, kind: kind_of(listed.kind), was }, &mut so_far, effects);
        so_far.done += 1;
        if watch.must_stop() || context.grain.is_enough(started, watch) {
            break;
        }
    }
    let Progress { done, directories, stays, again } = so_far;
    if done < list.names.len() {
        rest(context, doomed, &mut list, done, effects);
    }
    if !again.names.is_empty() {
        once_more(doomed, &mut list, again, effects);
    }
    if doomed.goes() && directories == 0 && list.parts.is_only() && stays.is_none() {
        directory(context, doomed, None, Along::NONE, watch, effects);
    } else {
        tell(doomed, &list, Told { directories, stays, along: Along::NONE }, effects);
    }
}

/// What a long item leaves: in several pieces, so that several ranks can take of it.
fn rest(context: &Context, doomed: &Doomed, list: &mut DoomedNames, done: usize, effects: &mut Effects) {
    let pieces_min = 4;
    let piece = (list.names.len() - done).div_ceil(pieces_min).clamp(1, context.grain.batch_names_max);
    let mut first = done;
    for names in list.names.split_from(done, piece) {
        let was = list.was.get(first..first + names.len()).map(<[Was]>::to_vec).unwrap_or_default();
        first += names.len();
        let parts = Parts { is_first: false, more: 0, ..list.parts };
        list.parts.more += 1;
        let names = DoomedNames { names, was, parts, stays: None };
        effects.items.push(Item::Remove { doomed: doomed.clone(), names }.after(0));
    }
}

/// Names that may go at a further try are one more part: it proves once more that they may.
fn once_more(doomed: &Doomed, list: &mut DoomedNames, again: DoomedAgain, effects: &mut Effects) {
    let parts = Parts { is_first: false, more: 0, ..list.parts };
    list.parts.more += 1;
    let names = DoomedNames { names: again.names, was: again.was, parts, stays: None };
    effects.items.push(Item::Remove { doomed: doomed.clone(), names }.after(effects.tries + 1));
}

/// What came of a part of a directory's names, for its owner.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Directories among them.
    pub directories: u32,
    /// Why the directory stays.
    pub stays: Option<Kept>,
    /// Names that share the directory's fate.
    pub along: Along,
}

/// Tells the owner of the directory that a part of its names has had its turn.
pub fn tell(doomed: &Doomed, list: &DoomedNames, told: Told, effects: &mut Effects) {
    if doomed.goes() {
        let doomed = Doomed { tries: 0, ..doomed.clone() };
        let path = doomed.path.clone();
        let Told { directories, stays, along } = told;
        let news = RemovalNews::Part { doomed, parts: list.parts, directories, stays, along };
        effects.notes.push(Note::Removal { path, news });
    }
}

/// A name that is to be removed.
struct Name<'n> {
    name: &'n CStr,
    kind: Kind,
    /// What it was when the plan was made, if that was looked at.
    was: Option<&'n Was>,
}

fn one(context: &Context, site: &Site, doomed: &Doomed, name: Name<'_>, so_far: &mut Progress, effects: &mut Effects) {
    let Name { name, kind, was } = name;
    if kind == Kind::Directory {
        if context.is_held(&doomed.path.join(name)) {
            effects.remove(kind, Fate::Held);
            so_far.stays = so_far.stays.max(Some(Kept::HoldsHeld));
        } else {
            so_far.directories += 1;
        }
        return;
    }
    let is_aside = context.suspects.has_name_aside(&doomed.path, name);
    let aside = if is_aside { Err(Obstacle::Failed(aside::UNTOUCHED)) } else { Ok(()) };
    let removed = aside
        .and_then(|()| site.prove(name))
        .and_then(|()| was.map_or(Ok(()), |was| is_as_planned(&site.directory, name, *was)))
        .and_then(|()| take_away(context, site, doomed, name, kind));
    match removed {
        Ok(()) => is_gone(context, kind, || doomed.path.join(name), effects),
        Err(Obstacle::Failed(failure)) if effects.may_pass(failure) => {
            effects.released.push(failure);
            so_far.again.names.push(name, Listed { kind: Some(kind), on_target: true });
            so_far.again.was.extend(was.copied());
        }
        Err(obstacle) => {
            count_stays(kind, obstacle, effects);
            if obstacle != Obstacle::Stays(Kept::Gone) {
                tell_of_obstacle(&doomed.path.join(name), obstacle, effects);
                so_far.stays = so_far.stays.max(Some(reason(obstacle)));
            }
        }
    }
}

/// Removes a name that is no directory's, or renames it into the trash.
fn take_away(context: &Context, site: &Site, doomed: &Doomed, name: &CStr, kind: Kind) -> Result<(), Obstacle> {
    match (context.trashes, context.dry_run) {
        (true, _) => trash::put_name(context, site, &doomed.path, name, kind),
        (false, true) => Ok(()),
        (false, false) => names::remove(&site.directory, name).map_err(of_removal),
    }
}

fn is_gone(context: &Context, kind: Kind, path: impl Fn() -> TreePath, effects: &mut Effects) {
    effects.remove(kind, if context.trashes { Fate::Trashed } else { Fate::Removed });
    if context.itemizes {
        let aspect = if context.trashes { Aspect::Trashed } else { Aspect::TargetOnly };
        let (path, aspects) = (path(), aspect.into());
        effects.change(Difference { path, kind, aspects, source: None, target: None, leader: None });
    }
}

/// A plan that was written to a file may be old: an entry that changed since is kept. Of a file with several
/// names each one that goes moves the ctime.
fn is_as_planned(directory: &Fd, name: &CStr, was: Was) -> Result<(), Obstacle> {
    let now = attributes::of_name(directory, name).map_err(of_removal)?;
    let is_it = now.identity == was.identity && now.size == was.size && now.mtime == was.mtime;
    if is_it && (was.links > 1 || now.ctime == was.ctime) { Ok(()) } else { Err(Obstacle::Stays(Kept::Changed)) }
}

/// unlink(2), rmdir(2): EISDIR and ENOTDIR tell that something else has the name now.
fn of_removal(failure: Failure) -> Obstacle {
    match Errno::from_raw(failure.errno) {
        Errno::ENOENT => Obstacle::Stays(Kept::Gone),
        Errno::EISDIR | Errno::ENOTDIR => Obstacle::Stays(Kept::Changed),
        Errno::ENOTEMPTY | Errno::EEXIST => Obstacle::Stays(Kept::NotEmpty),
        Errno::EBUSY => Obstacle::Stays(Kept::MountPoint),
        _ => Obstacle::Failed(failure),
    }
}

/// Removes a directory: all that it held has had its turn. `along` shares its fate.
pub fn directory(
    context: &Context,
    doomed: &Doomed,
    stays: Option<Kept>,
    along: Along,
    watch: &Watch,
    effects: &mut Effects,
) {
    watch.begin("rmdir", &doomed.path, None);
    // One that is held met its fate as a name of its parent; the root of a whole tree meets it at the end.
    if context.is_held(&doomed.path) || doomed.path.is_root() {
        return;
    }
    if context.goes_with_parent(doomed) {
        return trash::with_parent(doomed, stays, along, effects);
    }
    let removed = match stays {
        Some(kept) => Err(Obstacle::Stays(kept)),
        None => remove_directory(context, doomed),
    };
    if let Err(Obstacle::Failed(failure)) = removed
        && effects.may_pass(failure)
    {
        effects.released.push(failure);
        let item = Item::RemoveDirectory { doomed: doomed.clone(), stays: None, along };
        return effects.items.push(item.after(effects.tries + 1));
    }
    let stays = match removed {
        Ok(()) => {
            is_gone(context, Kind::Directory, || doomed.path.clone(), effects);
            effects.remove_all(&along, Fate::Trashed);
            None
        }
        Err(obstacle) => {
            count_stays(Kind::Directory, obstacle, effects);
            match obstacle {
                Obstacle::Failed(_) => effects.remove_all(&along, Fate::Failed),
                Obstacle::Stays(_) | Obstacle::Unmovable(_) => effects.keep_all(&along, reason(obstacle)),
            }
            // Why it stays was told with what is in it.
            if stays.is_none() {
                tell_of_obstacle(&doomed.path, obstacle, effects);
            }
            (obstacle != Obstacle::Stays(Kept::Gone)).then(|| reason(obstacle))
        }
    };
    if let Some(path) = doomed.waiting_parent() {
        effects.notes.push(Note::Removal { path, news: RemovalNews::Child { stays, along: Along::NONE } });
    }
}

fn remove_directory(context: &Context, doomed: &Doomed) -> Result<(), Obstacle> {
    let (parent, name) = doomed.path.split_last().ok_or(Obstacle::Stays(Kept::Changed))?;
    let name = CString::new(name).map_err(|_| Obstacle::Stays(Kept::Changed))?;
    let site = Site::open(context, &parent, &doomed.proof, None)?;
    site.prove(&name)?;
    if attributes::of_name(&site.directory, &name).map_err(of_removal)?.identity != doomed.target {
        return Err(Obstacle::Stays(Kept::Changed));
    }
    site.prepare_for_change(context)?;
    match (context.trashes, context.dry_run) {
        (true, _) => trash::put(context, &site, &parent, &name, Kind::Directory),
        (false, true) => Ok(()),
        (false, false) => names::remove_directory(&site.directory, &name).map_err(of_removal),
    }
}

/// The names of a list, cut into parts that others can steal.
fn parts(list: &Names, count: usize) -> Vec<Names> {
    let cut = list.split_from(0, count);
    if cut.is_empty() { vec![Names::new()] } else { cut }
}
