//! One name of a directory: look at both sides, decide, and have it done.

use std::ffi::{CStr, CString};

use nix::errno::Errno;

use super::Work;
use super::alias::{self, Twin};
use super::file;
use super::place::Place;
use super::{content, node, renamed, repair};
use crate::fault::{Failure, Side};
use crate::fs::{attributes, list, names, open};
use crate::pass::changes::{self, Subject};
use crate::pass::pair::{Pair, key};
use crate::pass::{aside, chosen, dry, frozen, plan};
use crate::tree::decide::{Action, Known, Skip, decide, must_look_at_xattrs};
use crate::tree::item::{LinkKey, Turn};
use crate::tree::names::Listed;
use crate::tree::{Aspect, Attributes, DirectoryItem, Item, Kind, LinkNote, Names, Note, Outcome, Parked};

/// A name under work. Its kind in the books is the one under which it was seen.
pub struct Entry<'n> {
    /// The name.
    pub name: &'n CStr,
    /// The kind under which it stands in the books.
    pub kind: Kind,
}

/// Works on one name.
pub fn one(work: &mut Work<'_>, name: &CStr, listed: Listed) {
    if work.context.suspects.has_name_aside(&work.pair.item.path, name) {
        let kind = listed.kind.unwrap_or(Kind::Unknown);
        work.effects.see(kind);
        return aside::fail(work.pair.path(name), kind, work.effects);
    }
    work.effects.measured = None;
    look_at(work, name, listed);
    // It is no other's.
    work.effects.owner = None;
}

fn look_at(work: &mut Work<'_>, name: &CStr, listed: Listed) {
    let twin = match listed.on_target {
        // An earlier try may have made it, or an attempt since it was listed.
        _ if work.context.resumed => Twin::Perhaps,
        true if work.pair.item.parked.is_retry() => Twin::Perhaps,
        true => Twin::Listed,
        false => Twin::Missing,
    };
    // A new regular file is opened at once and looked at through its descriptor. Not so where age or
    // size may leave it out: what is left out is not opened. Nor is anything in a dry run.
    let opens_at_once = !work.context.filter.looks_at_attributes() && !work.context.dry_run;
    if listed.kind == Some(Kind::File) && twin == Twin::Missing && opens_at_once {
        work.effects.see(Kind::File);
        let entry = Entry { name, kind: Kind::File };
        if file::create(work, &entry).is_done() {
            return;
        }
        return look_and_act(work, &entry, None, Twin::Met);
    }
    let source = attributes::of_name(&work.pair.source, name);
    let seen = source.as_ref().map_or(Kind::Unknown, |source| source.kind);
    let entry = Entry { name, kind: listed.kind.unwrap_or(seen) };
    work.effects.see(entry.kind);
    if listed.kind.is_none() && source.is_ok() && chosen::leaves_out(work.context, &work.pair.item.path, name, seen) {
        return work.effects.skip(entry.kind, Skip::Excluded);
    }
    look_and_act(work, &entry, Some(source), twin);
}

/// Looks at what has not been looked at, and acts.
pub fn look_and_act(work: &mut Work<'_>, entry: &Entry<'_>, source: Option<Result<Attributes, Failure>>, twin: Twin) {
    let source = source.unwrap_or_else(|| attributes::of_name(&work.pair.source, entry.name));
    let source = match source {
        Ok(source) => source,
        Err(failure) => return failed(work, entry, failure),
    };
    work.effects.owner = Some(source.uid);
    if let Some(skip) = work.context.filter.of_attributes(&source) {
        return work.effects.skip(entry.kind, skip);
    }
    let target = target_of(work.pair, entry.name, twin != Twin::Missing);
    if let Ok(Some(_)) = target {
        match alias::is_another(work.context, work.pair, entry.name, twin) {
            Ok(false) => {}
            Ok(true) => return alias::fail(work, entry, "statx"),
            Err(failure) => return failed(work, entry, failure),
        }
    }
    if work.may_plan && target.as_ref().is_ok_and(|target| is_in_the_way(work, entry, &source, target.as_ref())) {
        return postpone(work, entry);
    }
    // A directory is looked at when it is settled.
    if source.kind != Kind::Directory {
        frozen::look(work.context, &source, || work.pair.path(entry.name), work.effects);
    }
    if source.kind == Kind::File {
        work.effects.measure(&source);
    }
    let target = match target {
        Ok(target) => target,
        Err(failure) => return work.effects.fail(entry.kind, work.pair.path(entry.name), failure),
    };
    if work.context.policy.hard_links && source.links > 1 && source.kind != Kind::Directory {
        let skipped =
            matches!(decide(&work.context.policy, &source, None, Known::LITTLE), Action::Skip(_) | Action::Unsupported);
        if !skipped {
            return tell_owner(work, entry, &source);
        }
    }
    match act(work, entry, &source, target.as_ref()) {
        Err(failure) if alias::refused(work.pair, entry.name, failure) => alias::fail(work, entry, failure.operation),
        Err(failure) => failed(work, entry, failure),
        Ok(()) => {}
    }
}

/// A directory that is not empty has the name. One that can not be looked into is met again.
fn is_in_the_way(work: &Work<'_>, entry: &Entry<'_>, source: &Attributes, target: Option<&Attributes>) -> bool {
    target.is_some_and(|target| target.kind == Kind::Directory)
        && decide(&work.context.policy, source, target, Known::LITTLE) == Action::ReplaceDirectory
        && directory_is_empty(work.pair, entry.name) == Ok(false)
        && !is_protected(work, entry)
}

/// A directory that the rules leave out stays, even where something else should have its name.
fn is_protected(work: &Work<'_>, entry: &Entry<'_>) -> bool {
    !work.context.planning.is_some_and(|planning| planning.excluded)
        && chosen::leaves_out(work.context, &work.pair.item.path, entry.name, Kind::Directory)
}

/// A non-empty directory has the name: its removal is planned, and the entry has its turn after that.
fn postpone(work: &mut Work<'_>, entry: &Entry<'_>) {
    plan::in_the_way(work.context, work.pair, entry.name, work.effects);
    let mut names = Names::new();
    names.push(entry.name, Listed { kind: Some(entry.kind), on_target: true });
    work.effects.again.push(Item::Again { directory: work.pair.item.clone(), names });
}

/// A system call failed for an entry. On the source that may only show that it is no longer what was
/// listed.
pub fn failed(work: &mut Work<'_>, entry: &Entry<'_>, failure: Failure) {
    if failure.side == Side::Target {
        return work.effects.fail(entry.kind, work.pair.path(entry.name), failure);
    }
    match (Errno::from_raw(failure.errno), failure.operation) {
        (Errno::ENOENT, _) => vanished(work, entry),
        (Errno::ELOOP, "openat") | (Errno::EINVAL, "readlinkat") => {
            let note = "replaced while it was copied";
            work.effects.miss(entry.kind, work.pair.path(entry.name), Outcome::Changed, Side::Source, note);
        }
        _ => work.effects.fail(entry.kind, work.pair.path(entry.name), failure),
    }
}

/// The entry is gone from the source.
pub fn vanished(work: &mut Work<'_>, entry: &Entry<'_>) {
    work.effects.miss(entry.kind, work.pair.path(entry.name), Outcome::Vanished, Side::Source, "");
}

fn target_of(pair: &Pair<'_>, name: &CStr, on_target: bool) -> Result<Option<Attributes>, Failure> {
    if !on_target || !pair.has_target {
        return Ok(None);
    }
    match attributes::of_name(&pair.target, name) {
        Err(failure) if failure.errno == Errno::ENOENT as i32 => Ok(None),
        result => result.map(Some),
    }
}

/// A name of an inode with several: its owner brings them together when the walk is over.
fn tell_owner(work: &mut Work<'_>, entry: &Entry<'_>, source: &Attributes) {
    let key = LinkKey { side: Side::Source, mount: work.pair.item.mount, inode: source.identity };
    let (kind, links, path) = (entry.kind, source.links, work.pair.path(entry.name));
    work.effects.notes.push(Note::Link(LinkNote::Name { key, kind, links, path, turn: Turn::First }));
}

/// The target shares its inode with other names. If these mirror other source inodes, they must part:
/// only the owner of the target inode can know.
fn tell_of_shared_target(work: &mut Work<'_>, entry: &Entry<'_>, target: &Attributes) {
    let key = LinkKey { side: Side::Target, mount: 0, inode: target.identity };
    let (kind, links, path) = (entry.kind, target.links, work.pair.path(entry.name));
    work.effects.notes.push(Note::Link(LinkNote::Name { key, kind, links, path, turn: Turn::First }));
}

/// All is right, unless the target's inode has other names and the source's has not.
pub fn keep(work: &mut Work<'_>, entry: &Entry<'_>, source: &Attributes, target: &Attributes) {
    let shared = source.links == 1 && target.links > work.known_links;
    if work.may_tell && work.context.policy.hard_links && shared {
        tell_of_shared_target(work, entry, target);
    } else {
        work.effects.end(entry.kind, Outcome::Same);
    }
}

/// Makes the entry anew, whatever the table says: its target inode is to part from other names.
pub fn part(work: &mut Work<'_>, entry: &Entry<'_>, source: &Attributes, target: &Attributes) -> Result<(), Failure> {
    let same_text = same_text(work, entry, source, Some(target))?;
    work.aspects = changes::of_name(work.context, work.pair, &Subject { entry, source, target, same_text });
    work.aspects.add(Aspect::Links);
    let place = Place::over(work.context);
    make(work, entry, source, place, Outcome::Updated)
}

/// Whether two symbolic links point to the same.
fn same_text(
    work: &Work<'_>,
    entry: &Entry<'_>,
    source: &Attributes,
    target: Option<&Attributes>,
) -> Result<bool, Failure> {
    let (ours, theirs) = (&work.pair.source, &work.pair.target);
    let are_links = source.kind == Kind::Symlink && target.is_some_and(|target| target.kind == Kind::Symlink);
    Ok(are_links && names::read_symlink(ours, entry.name)? == names::read_symlink(theirs, entry.name)?)
}

/// Does what the table says for the pair. An error is the entry's fault.
pub fn act(
    work: &mut Work<'_>,
    entry: &Entry<'_>,
    source: &Attributes,
    target: Option<&Attributes>,
) -> Result<(), Failure> {
    let same_text = same_text(work, entry, source, target)?;
    let known = Known { same_text, links: work.known_links, same_content: work.same_content };
    let Some(action) = content::decide(work, entry, source, target, known)? else {
        return Ok(());
    };
    work.aspects = changes::of(work, entry, (source, target), action, known);
    if let (Action::Replace(_), Some(target)) = (action, target) {
        dry::take_away(work, target)?;
    }
    if let (Kind::Directory, Action::Create | Action::Enter | Action::Replace(_)) = (source.kind, action) {
        return sub_directory(work, entry, source, target);
    }
    match (action, target) {
        (Action::Keep | Action::Repair(_), Some(target))
            if must_look_at_xattrs(&work.context.policy, source, target) =>
        {
            match repair::compare_and_repair(work, entry, source, target)? {
                Action::Replace(_) => {
                    dry::take_away(work, target)?;
                    make(work, entry, source, Place::over(work.context), Outcome::Updated)
                }
                _ => Ok(()),
            }
        }
        (Action::Keep, Some(target)) => {
            keep(work, entry, source, target);
            Ok(())
        }
        (Action::Repair(_), Some(target)) => repair::repair(work, entry, source, target),
        (Action::Skip(skip), _) => {
            work.effects.skip(entry.kind, skip);
            Ok(())
        }
        (Action::Unsupported, _) => {
            let note = "a type of entry that this program does not know";
            work.effects.miss(entry.kind, work.pair.path(entry.name), Outcome::Failed, Side::Source, note);
            Ok(())
        }
        (Action::ReplaceDirectory, _) if !directory_is_empty(work.pair, entry.name)? => {
            conflict(work, entry);
            Ok(())
        }
        (Action::ReplaceDirectory, _) => {
            make(work, entry, source, Place::over_directory(work.context), Outcome::Updated)
        }
        (Action::Replace(_), _) => make(work, entry, source, Place::over(work.context), Outcome::Updated),
        (Action::Create | Action::Enter | Action::Keep | Action::LookAtContent | Action::Repair(_), _) => {
            make(work, entry, source, Place::new(work.context, source), Outcome::Created)
        }
    }
}

/// Makes an entry that is no directory.
fn make(
    work: &mut Work<'_>,
    entry: &Entry<'_>,
    source: &Attributes,
    place: Place,
    outcome: Outcome,
) -> Result<(), Failure> {
    if work.context.dry_run {
        return dry::make(work, entry, source, outcome);
    }
    if work.context.health.is_over_quota(source, &work.pair.target) {
        file::over_quota(work, entry, source);
        return Ok(());
    }
    work.pair.prepare_for_change()?;
    if source.kind == Kind::File {
        file::copy(work, entry, place, outcome);
        return Ok(());
    }
    let made =
        node::make(work, entry.name, source, &place).inspect_err(|failure| file::hear_quota(work, source, *failure))?;
    match made {
        node::Made::Done => changes::done(work, entry, source.kind, outcome),
        node::Made::Changed => {
            work.effects.miss(
                entry.kind,
                work.pair.path(entry.name),
                Outcome::Changed,
                Side::Source,
                "replaced while it was copied",
            );
        }
        node::Made::Conflict => conflict(work, entry),
    }
    Ok(())
}

/// A non-empty directory is never removed to make place.
pub const CONFLICT: &str =
    "the target has a directory here that is not empty: it stays, and so the entry is not copied";

/// Looked up before anything is made for its place; rmdir is the judge all the same.
pub fn directory_is_empty(pair: &Pair<'_>, name: &CStr) -> Result<bool, Failure> {
    let directory = open::child_directory(&pair.target, name)?;
    let mut is_empty = true;
    list::first(&directory, 1, |_| is_empty = false)?;
    Ok(is_empty)
}

/// A non-empty directory is in the way.
pub fn conflict(work: &mut Work<'_>, entry: &Entry<'_>) {
    let note = CONFLICT;
    work.effects.miss(entry.kind, work.pair.path(entry.name), Outcome::Failed, Side::Target, note);
}

/// Makes a sub-directory where it is missing, and releases it as an item of its own.
fn sub_directory(
    work: &mut Work<'_>,
    entry: &Entry<'_>,
    source: &Attributes,
    target: Option<&Attributes>,
) -> Result<(), Failure> {
    if entry.kind != Kind::Directory {
        let note = "it became a directory while we looked";
        work.effects.miss(entry.kind, work.pair.path(entry.name), Outcome::Changed, Side::Source, note);
        return Ok(());
    }
    if key(source) == work.context.trees.target_key {
        let note = "this is the target itself: it is not copied into itself";
        work.effects.miss(entry.kind, work.pair.path(entry.name), Outcome::Failed, Side::Source, note);
        return Ok(());
    }
    if work.context.policy.one_file_system && source.device != work.pair.source_was.device {
        work.effects.skip(entry.kind, Skip::MountPoint);
        return Ok(());
    }
    let renamed = if target.is_none() { renamed::take_over(work, entry.name, source) } else { None };
    let existing = target.or(renamed.as_ref()).filter(|target| target.kind == Kind::Directory);
    if existing.is_none() {
        make_directory(work, entry.name, target)?;
        let pair = work.pair;
        changes::list(work.context, work.effects, Kind::Directory, work.aspects, || pair.path(entry.name));
    }
    work.effects.items.push(Item::Directory(DirectoryItem {
        path: work.pair.path(entry.name),
        source: source.identity,
        target: existing.map(|target| target.identity),
        mount: work.pair.mount_of(entry.name, source),
        made: existing.is_none(),
        parked: Parked::NEVER,
    }));
    Ok(())
}

/// A directory takes the place of something else only when it is ready to be renamed there.
fn make_directory(work: &Work<'_>, name: &CStr, in_the_way: Option<&Attributes>) -> Result<(), Failure> {
    if work.context.dry_run {
        return dry::may_change(work.context, work.pair);
    }
    work.pair.prepare_for_change()?;
    if in_the_way.is_none() {
        return names::make_directory(&work.pair.target, name);
    }
    let temporary: CString = work.context.temporaries.next();
    names::make_directory(&work.pair.target, &temporary)?;
    let swapped =
        names::remove(&work.pair.target, name).and_then(|()| names::rename(&work.pair.target, &temporary, name));
    if swapped.is_err() {
        // That it could not be is noted for the next run.
        let _ = work.context.temporaries.take_directory_away(&work.pair.target, &temporary);
    }
    swapped
}
