//! `--trash`: what is to go is renamed into the trash. A directory all of which goes is renamed as a whole, the topmost
//! of them, and takes along what it holds; one that stays for something in it gives its names one by one.

use std::collections::BTreeSet;
use std::ffi::CStr;

use nix::errno::Errno;

use super::site::{Obstacle, Site};
use super::{Told, directory, is_as_planned, kind_of, of_removal, reason, tell, tell_of_obstacle};
use crate::fault::Failure;
use crate::fs::attributes;
use crate::fs::trash::Place;
use crate::pass::{Context, Effects, Watch};
use crate::tree::removal::DoomedNames;
use crate::tree::{Along, Doomed, Kept, Kind, Note, RemovalNews, TreePath};

/// What a run goes by that trashes: known when the plan has been judged.
#[derive(Debug)]
pub struct Trash {
    /// Directories that are to go and will not, as something in them stays: the ones above them too.
    staying: BTreeSet<TreePath>,
    /// Where things go. `None`: a dry run.
    place: Option<Place>,
}

impl Trash {
    /// A trash for a run.
    pub fn new(staying: BTreeSet<TreePath>, place: Option<Place>) -> Self {
        Self { staying, place }
    }
}

impl Context {
    /// Whether a directory goes with all that it holds, by one rename of it or of one above it.
    pub(super) fn goes_whole(&self, doomed: &Doomed) -> bool {
        doomed.goes() && self.is_whole(&doomed.path)
    }

    fn is_whole(&self, path: &TreePath) -> bool {
        self.trash.get().is_some_and(|trash| !trash.staying.contains(path))
    }

    /// Whether it is a directory above it that is renamed.
    pub(super) fn goes_with_parent(&self, doomed: &Doomed) -> bool {
        self.goes_whole(doomed) && doomed.waiting_parent().is_some_and(|parent| self.is_whole(&parent))
    }
}

/// Names of a directory that goes as a whole: nothing is to be done with them, but the books have each. A plan in a
/// file may be old: what changed since keeps all that would go with it.
pub fn names(context: &Context, doomed: &Doomed, list: &DoomedNames, watch: &Watch, effects: &mut Effects) {
    let mut told = Told { stays: list.stays, ..Told::default() };
    for kind in list.names.iter().map(|(_, listed)| kind_of(listed.kind)) {
        match kind {
            Kind::Directory => told.directories += 1,
            kind => told.along.add(kind, 1),
        }
    }
    if !list.was.is_empty() {
        told.stays = told.stays.max(changed(context, doomed, list, watch, effects));
    }
    if told.directories == 0 && list.parts.is_only() && told.stays.is_none() {
        directory(context, doomed, None, told.along, watch, effects);
    } else {
        tell(doomed, list, told, effects);
    }
}

/// Looks whether names are still what the plan saw.
fn changed(
    context: &Context,
    doomed: &Doomed,
    list: &DoomedNames,
    watch: &Watch,
    effects: &mut Effects,
) -> Option<Kept> {
    let site = match Site::open(context, &doomed.path, &doomed.proof, Some(doomed.target)) {
        Ok(site) => site,
        Err(obstacle) => {
            tell_of_obstacle(&doomed.path, obstacle, effects);
            return Some(reason(obstacle));
        }
    };
    let mut stays = None;
    for ((name, listed), was) in list.names.iter().zip(&list.was) {
        watch.next_name("remove", name, listed.kind);
        context.limits.entry(watch);
        let looked =
            if listed.kind == Some(Kind::Directory) { Ok(()) } else { is_as_planned(&site.directory, name, *was) };
        // What is gone does not go along, and harms nobody.
        if let Err(obstacle) = looked.or_else(|obstacle| if is_gone(obstacle) { Ok(()) } else { Err(obstacle) }) {
            tell_of_obstacle(&doomed.path.join(name), obstacle, effects);
            stays = stays.max(Some(reason(obstacle)));
        }
    }
    stays
}

fn is_gone(obstacle: Obstacle) -> bool {
    obstacle == Obstacle::Stays(Kept::Gone)
}

/// A directory that a directory above takes along: its owner hears what it holds.
pub fn with_parent(doomed: &Doomed, stays: Option<Kept>, mut along: Along, effects: &mut Effects) {
    along.add(Kind::Directory, 1);
    if let Some(path) = doomed.waiting_parent() {
        effects.notes.push(Note::Removal { path, news: RemovalNews::Child { stays, along } });
    }
}

/// Renames a name that is no directory's into the trash. The listing told its type, and only a look tells whether
/// that is what it is now: unlink(2) would refuse a directory, rename(2) does not.
pub fn put_name(context: &Context, site: &Site, path: &TreePath, name: &CStr, kind: Kind) -> Result<(), Obstacle> {
    let found = attributes::of_name(&site.directory, name).map_err(of_removal)?.kind;
    if found == Kind::Directory || kind != Kind::Unknown && found != kind {
        return Err(Obstacle::Stays(Kept::Changed));
    }
    put(context, site, path, name, kind)
}

/// Renames into the trash.
pub fn put(context: &Context, site: &Site, path: &TreePath, name: &CStr, kind: Kind) -> Result<(), Obstacle> {
    if context.dry_run {
        return Ok(());
    }
    // Without one nothing is taken away.
    let place = context.trash.get().and_then(|trash| trash.place.as_ref());
    let place = place.ok_or_else(|| site.directory.failure("renameat", Errno::ENOTDIR))?;
    place.put(&site.directory, name, path).map_err(|failure| of_rename(site, name, kind, failure))
}

/// rename(2). EXDEV: another project of a quota, or another mount. EDQUOT: no room for the name in the trash. EMLINK: it
/// has as many directories as it can. A directory of another owner can not be moved by who may remove its name.
fn of_rename(site: &Site, name: &CStr, kind: Kind, failure: Failure) -> Obstacle {
    match Errno::from_raw(failure.errno) {
        Errno::EXDEV | Errno::EDQUOT | Errno::EMLINK => Obstacle::Unmovable(failure),
        Errno::EACCES | Errno::EPERM if kind == Kind::Directory => Obstacle::Unmovable(failure),
        // It may also be the trash that is gone.
        Errno::ENOENT if attributes::of_name(&site.directory, name).is_ok() => Obstacle::Failed(failure),
        Errno::ENOENT | Errno::EBUSY => of_removal(failure),
        _ => Obstacle::Failed(failure),
    }
}
