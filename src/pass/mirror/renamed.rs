//! A directory that was renamed on the source is renamed on the target, where it is certain which one that is. What is
//! in it is looked at afterwards as in any directory that both trees have, so nothing is believed of it.

use std::ffi::{CStr, CString};

use nix::errno::Errno;

use super::Work;
use crate::counters::{Number, Slot};
use crate::fs::met::Record;
use crate::fs::{attributes, names, open, private};
use crate::pass::{Context, changes, chosen, settle};
use crate::tree::decide::Times;
use crate::tree::met::{Origin, are_related, carried_along};
use crate::tree::{Attributes, DirectoryItem, Kind, Met, Parked, TreePath};

/// Gives the target's directory this name that mirrored the source directory under another one. `None`: there is none
/// for certain, and so it is made and filled.
pub fn take_over(work: &mut Work<'_>, name: &CStr, source: &Attributes) -> Option<Attributes> {
    let context = work.context;
    let record = context.renames.as_ref()?.record.as_ref()?;
    // What is mounted here was mounted here before; and the name of another spelling may be in use.
    // Patterns may leave out by path: what they protect under the old name they may not under the new one.
    let has_patterns = context.filter.has_patterns();
    if source.device != work.pair.source_was.device || context.policy.target.folds_case || has_patterns {
        return None;
    }
    let met = record.find(&Origin::new(work.pair.mount_of(name, source), source.identity)?)?;
    take(work, name, &met, &met.path).or_else(|| {
        let old = moved_with_parent(work, record, &met.path)?;
        take(work, name, &met, &old)
    })
}

/// The directory that holds it was renamed as well, and that first: so the target has it there under its old name.
fn moved_with_parent(work: &Work<'_>, record: &Record, old: &TreePath) -> Option<TreePath> {
    let parent = &work.pair.item;
    let was = record.find(&Origin::new(parent.mount, work.pair.source_was.identity)?)?;
    carried_along(old, &was.path, &parent.path)
}

fn take(work: &mut Work<'_>, name: &CStr, met: &Met, old: &TreePath) -> Option<Attributes> {
    let (context, pair) = (work.context, work.pair);
    if are_related(old, &pair.path(name)) || is_left_alone(context, old) {
        return None;
    }
    let (above, old_name) = old.split_last()?;
    let old_name = CString::new(old_name).ok()?;
    let source_above = without(work, &above, &old_name)?;
    let target_above = open::directory_below(&context.trees.target, &above).ok()?;
    let was = attributes::of_fd(&target_above).ok()?;
    let found = attributes::of_name(&target_above, &old_name).ok()?;
    if found.kind != Kind::Directory || found.identity != met.target() {
        return None;
    }
    pair.prepare_for_change().ok()?;
    names::move_to_new(&target_above, &old_name, &pair.target, name, true).ok()?;
    // Should we die now, nobody else would.
    let _ = attributes::set_times(&target_above, Times { atime: was.atime, mtime: was.mtime });
    work.effects.count(Number::Renamed, 1);
    changes::list_renamed(context, work.effects, &pair.path(name), old);
    if above == pair.item.path {
        // It was listed with this directory, as it seemed to be.
        work.effects.counters.take_back(Slot::Number(Number::TargetOnly), 1);
    } else if let Some(source) = source_above.filter(|_| !above.is_root()) {
        let (target, parked) = (Some(was.identity), Parked::NEVER);
        let item = DirectoryItem { path: above, source: source.identity, target, mount: 0, made: false, parked };
        settle::later_again(context, &source, item, work.effects);
    }
    // Whoever can write there may have changed names between two calls: whatever is here is compared now.
    attributes::of_name(&pair.target, name).ok().filter(|now| now.kind == Kind::Directory)
}

/// What this run may not touch: our own directory, what patterns leave out, and what ended two attempts.
fn is_left_alone(context: &Context, old: &TreePath) -> bool {
    let holds = |depth: usize| {
        let Some(path) = old.ancestor(depth) else { return true };
        let Some((parent, name)) = path.split_last() else { return true };
        let Ok(name) = CString::new(name) else { return true };
        let is_private = parent.is_root() && *name == *private::NAME;
        is_private || context.sets_aside(&path) || chosen::leaves_out(context, &parent, &name, Kind::Directory)
    };
    (1..=old.depth()).any(holds)
}

/// Proves that the source has nothing at its old name: the directory above was opened, or is gone itself. Another
/// error proves nothing. Returns that directory, if it is there.
#[allow(clippy::option_option)] // No proof, or no directory.
fn without(work: &Work<'_>, above: &TreePath, old_name: &CStr) -> Option<Option<Attributes>> {
    let directory = match open::directory_below(&work.context.trees.source, above) {
        Ok(directory) => directory,
        Err(failure) if failure.errno == Errno::ENOENT as i32 => return Some(None),
        Err(_) => return None,
    };
    let found = attributes::of_fd(&directory).ok()?;
    // In another mount it may be missing because that is.
    let is_same_mount = found.device == work.pair.source_was.device;
    match attributes::of_name(&directory, old_name) {
        Err(failure) if failure.errno == Errno::ENOENT as i32 && is_same_mount => Some(Some(found)),
        _ => None,
    }
}
