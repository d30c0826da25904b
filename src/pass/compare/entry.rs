//! One name of a directory: look at both sides, and judge, or leave it to the owner of its inode.

use std::ffi::CStr;

use nix::errno::Errno;

use super::judge::{self, Spot};
use super::sides::Sides;
use super::{Judged, Look, large, links};
use crate::counters::Number;
use crate::fault::{Failure, Side};
use crate::fs::attributes;
use crate::pass::pair::{Trouble, mount_of};
use crate::pass::{aside, chosen};
use crate::tree::decide::Skip;
use crate::tree::difference::Level;
use crate::tree::item::LinkKey;
use crate::tree::names::Listed;
use crate::tree::{Aspect, Attributes, DirectoryItem, Item, Kind, Outcome, Parked, TreePath};

/// Looks at one name.
pub fn one(look: &mut Look<'_>, sides: &Sides, name: &CStr, listed: Listed) {
    look.effects.measured = None;
    let path = sides.item.path.join(name);
    if look.context.sets_aside(&path) {
        let kind = listed.kind.unwrap_or(Kind::Unknown);
        look.effects.see(kind);
        return aside::fail(path, kind, look.effects);
    }
    let source = attributes::of_name(&sides.source, name);
    let seen = source.as_ref().map_or(Kind::Unknown, |source| source.kind);
    let kind = listed.kind.unwrap_or(seen);
    look.effects.see(kind);
    if listed.kind.is_none() && source.is_ok() && chosen::leaves_out(look.context, &sides.item.path, name, seen) {
        return look.effects.skip(kind, Skip::Excluded);
    }
    let looked = source.and_then(|source| Ok((source, target_of(sides, name, listed.on_target)?)));
    match looked {
        Ok((source, target)) => both(look, sides, &Name { name, kind, path }, source, target),
        Err(failure) => look.failed(kind, &path, failure),
    }
}

/// Looks at one name of `--files-from`, which was found on the source.
pub fn listed(look: &mut Look<'_>, sides: &Sides, name: &CStr, source: Attributes) {
    let (kind, path) = (source.kind, sides.item.path.join(name));
    look.effects.measured = None;
    look.effects.count(Number::Listed, 1);
    look.effects.see(kind);
    match target_of(sides, name, true) {
        Ok(target) => both(look, sides, &Name { name, kind, path }, source, target),
        Err(failure) => look.failed(kind, &path, failure),
    }
}

/// A name under judgement.
struct Name<'n> {
    name: &'n CStr,
    /// The kind under which it stands in the books.
    kind: Kind,
    path: TreePath,
}

fn target_of(sides: &Sides, name: &CStr, on_target: bool) -> Result<Option<Attributes>, Failure> {
    let Some((directory, _)) = sides.target.as_ref().filter(|_| on_target) else {
        return Ok(None);
    };
    match attributes::of_name(directory, name) {
        Err(failure) if failure.errno == Errno::ENOENT as i32 => Ok(None),
        result => result.map(Some),
    }
}

fn both(look: &mut Look<'_>, sides: &Sides, entry: &Name<'_>, source: Attributes, target: Option<Attributes>) {
    let policy = &look.context.policy;
    if let Some(skip) = look.context.filter.of_attributes(&source) {
        return look.effects.skip(entry.kind, skip);
    }
    if source.kind == Kind::File {
        look.effects.measure(&source);
    }
    if source.kind.is_special() && !policy.specials {
        return look.effects.skip(entry.kind, Skip::Special);
    }
    if source.kind == Kind::Unknown {
        let note = "a type of entry that this program does not know";
        return look.effects.miss(entry.kind, entry.path.clone(), Outcome::Failed, Side::Source, note);
    }
    if source.kind == Kind::Directory {
        return sub_directory(look, sides, entry, source, target);
    }
    let (Some(target), Some((directory, _))) = (target, &sides.target) else {
        look.effects.end(entry.kind, Outcome::Different);
        return look.alone(entry.path.clone(), Aspect::SourceOnly, source, None);
    };
    let has_links = source.links > 1 || target.links > 1;
    if has_links && policy.hard_links && look.comparing.level >= Level::Quick && source.kind == target.kind {
        return tell_owner(look, sides, entry, &source, &target);
    }
    if large::is_cut(look, entry.kind, &entry.path, &(source, target)) {
        return large::cut(look, entry.path.clone(), (source, target));
    }
    let spot = Spot { source: &sides.source, target: directory, name: entry.name, path: &entry.path, content: None };
    let judged: Result<Judged, Failure> = judge::name(look, &spot, (source, target));
    look.conclude(entry.kind, &entry.path, judged);
}

/// Releases a sub-directory as an item of its own; one that the target lacks is told here, and all
/// that lies in it by its item.
fn sub_directory(look: &mut Look<'_>, sides: &Sides, entry: &Name<'_>, source: Attributes, target: Option<Attributes>) {
    let path = entry.path.clone();
    if entry.kind != Kind::Directory {
        let note = "it became a directory while we looked";
        return look.effects.miss(entry.kind, path, Outcome::Changed, Side::Source, note);
    }
    if look.context.policy.one_file_system && source.device != sides.source_was.device {
        return look.effects.skip(entry.kind, Skip::MountPoint);
    }
    let existing = target.filter(|target| target.kind == Kind::Directory);
    if existing.is_none() {
        let aspect = if target.is_some() { Aspect::Type } else { Aspect::SourceOnly };
        look.alone(path.clone(), aspect, source, target);
    }
    look.effects.items.push(Item::Directory(DirectoryItem {
        path,
        source: source.identity,
        target: existing.map(|target| target.identity),
        mount: mount_of(&sides.item, &sides.source_was, entry.name, &source),
        made: existing.is_none(),
        parked: Parked::NEVER,
    }));
}

/// A name of an inode with several, on either side: only the owner of the inode can know whether the
/// same names share one on the other side.
fn tell_owner(look: &mut Look<'_>, sides: &Sides, entry: &Name<'_>, source: &Attributes, target: &Attributes) {
    let (side, mount, inode) =
        if source.links > 1 { (Side::Source, sides.item.mount, source) } else { (Side::Target, 0, target) };
    let key = LinkKey { side, mount, inode: inode.identity };
    links::tell(look, key, entry.kind, inode.links, entry.path.clone());
}

/// A directory that can no longer be opened, as a failure of the name in it.
pub fn failure_of(trouble: Trouble, gone: Failure) -> Failure {
    match trouble {
        Trouble::Failed(failure) => failure,
        Trouble::Changed(side, _) => Failure { side, ..gone },
        Trouble::Vanished | Trouble::Nested | Trouble::SetAside => gone,
    }
}
