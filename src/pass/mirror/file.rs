//! Regular files: a new one in its place, a replacement under a temporary name; times last.

use std::ffi::{CStr, CString};

use nix::errno::Errno;

use super::Work;
use super::alias;
use super::entry::{Entry, conflict, failed};
use super::place::{Place, put_in_place};
use crate::counters::Number;
use crate::fault::{Failure, Side};
use crate::fs::data::{self, Copied, Ends};
use crate::fs::{Fd, attributes, open, xattr};
use crate::pass::changes;
use crate::pass::metadata::{self, Current};
use crate::pass::pair::Pair;
use crate::pass::{Context, chunk, frozen, layout, project};
use crate::tree::decide::{ContentRule, Times};
use crate::tree::{Aspect, Aspects, Attributes, ChunkedFile, Kind, Outcome, Time};

/// An appended file up to this size needs no flush before its times: a write that was lost in a
/// power cut shows in its size. `docs/internals/durability.md` has the measurements.
const UNFLUSHED_BYTES_MAX: u64 = 1 << 20;

/// How often a file that changes while it is read is read.
const TRIES_MAX: u32 = 3;

/// What became of the quick way to create a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Quick {
    /// Its outcome is recorded, or will be with its flush group.
    Done,
    /// It is not what the listing said: look again.
    LookAgain,
}

impl Quick {
    /// Nothing is left to do.
    pub fn is_done(&self) -> bool {
        *self == Quick::Done
    }
}

/// A file whose content and metadata are on the target, but not yet its times.
struct Draft {
    name: CString,
    kind: Kind,
    source: Fd,
    source_was: Attributes,
    target: Fd,
    place: Place,
    copied: Copied,
    outcome: Outcome,
    aspects: Aspects,
    tries: u32,
    /// Its chunks were copied and counted by others.
    in_chunks: bool,
}

impl Draft {
    fn needs_flush(&self) -> bool {
        self.place.is_temporary()
            || self.copied.size_set_apart
            || self.copied.end > UNFLUSHED_BYTES_MAX
            // What is read back must come from the disk.
            || self.copied.digest.is_some()
    }

    fn at(&self) -> &CStr {
        self.place.name(&self.name)
    }
}

/// Files that wait to be made durable together.
#[derive(Default)]
pub struct FlushGroup {
    drafts: Vec<Draft>,
    bytes: u64,
}

fn add_to_group(work: &mut Work<'_>, draft: Draft) {
    let grain = &work.context.grain;
    work.group.bytes += draft.copied.written;
    work.group.drafts.push(draft);
    let (files, bytes) = (work.group.drafts.len(), work.group.bytes);
    if files >= grain.flush_group_files_max || bytes >= grain.flush_group_bytes_max {
        finish_group(work);
    }
}

/// Makes all files of the group durable, then publishes them.
pub fn finish_group(work: &mut Work<'_>) {
    let drafts = std::mem::take(&mut work.group).drafts;
    let mut durable = Vec::with_capacity(drafts.len());
    for draft in drafts {
        work.watch.next_name("flush", &draft.name, Some(draft.kind));
        match data::flush_range(&draft.target, &(0..draft.copied.end), &work.context.copying) {
            Ok(()) => durable.push(draft),
            Err(failure) => discard(work, draft, failure),
        }
    }
    for draft in durable {
        if let Some(draft) = verified(work, draft) {
            work.watch.next_name("publish", &draft.name, Some(draft.kind));
            publish(work, draft);
        }
    }
}

/// What was read back is not what was written.
pub const DIFFERS: &str = "the copy differs from what was read";

/// Reads back what was written, where that is asked for. `None`: it is not what was read from the
/// source, or can not be read; the draft is gone.
fn verified(work: &mut Work<'_>, draft: Draft) -> Option<Draft> {
    let (Some(hashing), Some(digest)) = (work.context.copying.hashing, &draft.copied.digest) else {
        return Some(draft);
    };
    work.watch.next_name("verify", &draft.name, Some(draft.kind));
    let (range, watch) = (0..draft.copied.end, work.watch);
    match data::reads_back(&draft.target, range, hashing, digest, &mut |_| watch.alive()) {
        Ok(true) => Some(draft),
        Ok(false) => {
            remove_own(work.pair, &draft);
            let path = work.pair.path(&draft.name);
            work.effects.miss(draft.kind, path, Outcome::Failed, Side::Target, DIFFERS);
            None
        }
        Err(failure) => {
            discard(work, draft, failure);
            None
        }
    }
}

/// Creates a file that the listings say is new: opened at once, looked at through its descriptor.
pub fn create(work: &mut Work<'_>, entry: &Entry<'_>) -> Quick {
    let opened = open::file_for_reading(&work.pair.source, entry.name).and_then(|fd| Ok((attributes::of_fd(&fd)?, fd)));
    let links_max = if work.context.policy.hard_links { 1 } else { u32::MAX };
    let (source_was, source) = match opened {
        Ok((was, fd)) if was.kind == Kind::File && was.links <= links_max => (was, fd),
        Ok(_) => return Quick::LookAgain,
        Err(failure) if failure.errno == Errno::ELOOP as i32 => {
            return Quick::LookAgain;
        }
        Err(failure) => {
            failed(work, entry, failure);
            return Quick::Done;
        }
    };
    if work.context.health.is_over_quota(&source_was, &work.pair.target) {
        over_quota(work, entry, &source_was);
        return Quick::Done;
    }
    let place = Place::new(work.context, &source_was);
    let target = match work.pair.prepare_for_change().and_then(|()| new_target(work, &source, place.name(entry.name))) {
        Ok(target) => target,
        Err(failure) if failure.errno == Errno::EEXIST as i32 => return Quick::LookAgain,
        Err(failure) => {
            hear_quota(work, &source_was, failure);
            work.effects.fail(entry.kind, work.pair.path(entry.name), failure);
            return Quick::Done;
        }
    };
    frozen::look(work.context, &source_was, || work.pair.path(entry.name), work.effects);
    work.effects.measure(&source_was);
    work.aspects = Aspect::SourceOnly.into();
    fill(work, entry, Sources { source, source_was, target, place }, Outcome::Created);
    Quick::Done
}

/// Its owner has no room on the target: nothing of it is read.
pub fn over_quota(work: &mut Work<'_>, entry: &Entry<'_>, source: &Attributes) {
    work.effects.owner = Some(source.uid);
    work.effects.count(Number::OverQuota, 1);
    let failure = Failure { side: Side::Target, operation: "copy", errno: Errno::EDQUOT as i32 };
    work.effects.fail(entry.kind, work.pair.path(entry.name), failure);
}

/// Remembers whose entry it is that fails, and whose quota is used up.
pub fn hear_quota(work: &mut Work<'_>, source: &Attributes, failure: Failure) {
    work.effects.owner = Some(source.uid);
    if failure.side == Side::Target && failure.errno == Errno::EDQUOT as i32 {
        work.context.health.hear_over_quota(source, &work.pair.target);
    }
}

/// Copies a file to `place`.
pub fn copy(work: &mut Work<'_>, entry: &Entry<'_>, place: Place, outcome: Outcome) {
    match open_both(work, entry, place) {
        Ok(Some(sources)) => fill(work, entry, sources, outcome),
        Ok(None) => {
            let note = "no longer a regular file";
            work.effects.miss(entry.kind, work.pair.path(entry.name), Outcome::Changed, Side::Source, note);
        }
        Err(failure) => failed(work, entry, failure),
    }
}

/// Both ends of a copy.
pub struct Sources {
    /// The file that is read.
    pub source: Fd,
    /// What it was when it was opened.
    pub source_was: Attributes,
    /// The new file.
    pub target: Fd,
    /// Its name.
    pub place: Place,
}

fn new_target(work: &mut Work<'_>, source: &Fd, name: &CStr) -> Result<Fd, Failure> {
    layout::new_file(work.context, source, &work.pair.target, name, work.effects)
}

fn open_both(work: &mut Work<'_>, entry: &Entry<'_>, place: Place) -> Result<Option<Sources>, Failure> {
    let source = open::file_for_reading(&work.pair.source, entry.name)?;
    let source_was = attributes::of_fd(&source)?;
    if source_was.kind != Kind::File {
        return Ok(None);
    }
    let target = new_target(work, &source, place.name(entry.name))?;
    Ok(Some(Sources { source, source_was, target, place }))
}

/// Fills a new target file and publishes it, at once or with its flush group. A large one is cut, for
/// all ranks to fill.
fn fill(work: &mut Work<'_>, entry: &Entry<'_>, sources: Sources, outcome: Outcome) {
    let mut cloned = None;
    if chunk::is_cut(work.context, entry.kind, sources.source_was.size) && sources.place.is_temporary() {
        cloned = match clone(work, &sources) {
            Ok(None) => return chunk::begin(work, entry, sources, outcome),
            cloned => Some(cloned.map(Option::unwrap_or_default)),
        };
    }
    let Sources { source, source_was, target, place } = sources;
    let (name, kind, copied, aspects) = (entry.name.to_owned(), entry.kind, Copied::default(), work.aspects);
    let (tries, in_chunks) = (1, false);
    let mut draft = Draft { name, kind, source, source_was, target, place, copied, outcome, aspects, tries, in_chunks };
    let written = match cloned {
        None => write(work, &mut draft),
        Some(cloned) => cloned.and_then(|copied| accept(work, &mut draft, copied)),
    };
    if let Err(failure) = written {
        return discard(work, draft, failure);
    }
    if draft.needs_flush() {
        add_to_group(work, draft);
    } else {
        publish(work, draft);
    }
}

/// Lets a large file share the blocks of its source, which needs no chunks. `None`: it can not.
fn clone(work: &Work<'_>, sources: &Sources) -> Result<Option<Copied>, Failure> {
    let Sources { source, source_was, target, .. } = sources;
    data::clone_whole(&Ends { source, source_was, target }, &work.context.copying, &mut |_| work.watch.alive())
}

/// Publishes a file whose chunks are all on the target.
pub fn publish_chunked(work: &mut Work<'_>, entry: &Entry<'_>, file: &ChunkedFile, place: Place, outcome: Outcome) {
    let opened = open::file_for_reading(&work.pair.source, entry.name)
        .and_then(|source| Ok((source, made_before(work.pair, &place, entry.name, file)?)));
    let (source, target) = match opened {
        Ok(both) => both,
        Err(failure) => {
            // Nobody's: its temporary name is ours alone.
            work.pair.take_away(place.name(entry.name));
            return failed(work, entry, failure);
        }
    };
    let source_was = file.source;
    let copied = Copied { end: source_was.size, size_set_apart: true, ..Copied::default() };
    let (name, kind, aspects) = (entry.name.to_owned(), entry.kind, work.aspects);
    let (tries, in_chunks) = (TRIES_MAX, true);
    let draft = Draft { name, kind, source, source_was, target, place, copied, outcome, aspects, tries, in_chunks };
    match give_metadata(work, &draft) {
        Ok(()) => publish(work, draft),
        Err(failure) => discard(work, draft, failure),
    }
}

/// The inode that was made for the file. Another may have been put in its place, with a name elsewhere too.
fn made_before(pair: &Pair<'_>, place: &Place, name: &CStr, file: &ChunkedFile) -> Result<Fd, Failure> {
    let target = open::file_for_writing(&pair.target, place.name(name))?;
    if attributes::of_fd(&target)?.identity == file.target.identity {
        Ok(target)
    } else {
        Err(target.failure("openat", Errno::ESTALE))
    }
}

fn give_metadata(work: &mut Work<'_>, draft: &Draft) -> Result<(), Failure> {
    let xattrs = xattr::read(&draft.source, metadata::choice(work.context))?;
    let inherits_acl = work.pair.inherits_acl()?;
    let fresh = Current::Fresh { inherits_acl };
    metadata::apply(work.context, &draft.target, &draft.source_was, &xattrs, &fresh, work.effects)?;
    project::keep(work.context, Kind::File, &draft.source, &draft.target).map(|_| ())
}

/// Content and all metadata but the times.
fn write(work: &mut Work<'_>, draft: &mut Draft) -> Result<(), Failure> {
    let was = draft.source_was;
    let ends = Ends { source: &draft.source, source_was: &was, target: &draft.target };
    let mut pace = work.context.limits.pace(was.size.min(was.allocated), work.watch);
    let copied = data::copy(&ends, &work.context.copying, &mut |bytes| pace.moved(bytes))?;
    pace.end(copied.read);
    accept(work, draft, copied)
}

/// The content is on the target.
fn accept(work: &mut Work<'_>, draft: &mut Draft, copied: Copied) -> Result<(), Failure> {
    draft.copied = copied;
    work.effects.count_moved(&copied);
    give_metadata(work, draft)
}

/// Takes a failed draft away again: what was to be replaced stays as it was.
fn discard(work: &mut Work<'_>, draft: Draft, failure: Failure) {
    let stop = || work.context.health.look_at_room(&work.context.trees, failure);
    work.effects.stop = work.effects.stop.take().or_else(stop);
    turn_to(work, &draft.source_was);
    remove_own(work.pair, &draft);
    hear_quota(work, &draft.source_was, failure);
    failed(work, &Entry { name: &draft.name, kind: draft.kind }, failure);
}

/// Of files that wait together one fails: it was counted when it was found. The owners of links and chunks did not
/// do that.
fn turn_to(work: &mut Work<'_>, source_was: &Attributes) {
    work.effects.measured = work.may_tell.then_some((source_was.size, source_was.allocated));
}

/// Removes the draft's name, if the draft still has it.
fn remove_own(pair: &Pair<'_>, draft: &Draft) {
    let ours = attributes::of_fd(&draft.target);
    let there = attributes::of_name(&pair.target, draft.at());
    match (&ours, &there) {
        (Ok(ours), Ok(there)) if ours.identity == there.identity => pair.take_away(draft.at()),
        _ => [ours, there].iter().for_each(|look| pair.note(look)),
    }
}

/// The second look at the source; then times, close and final name.
fn publish(work: &mut Work<'_>, mut draft: Draft) {
    loop {
        let now = match attributes::of_fd(&draft.source) {
            Ok(now) => now,
            Err(failure) => return discard(work, draft, failure),
        };
        if now.content_is_as(&draft.source_was) && draft.copied.end == draft.source_was.size {
            return commit(work, draft);
        }
        if draft.tries >= TRIES_MAX {
            return leave_as_changed(work, draft, &now);
        }
        match again(work, draft) {
            Some(next) => draft = next,
            None => return,
        }
    }
}

/// Copies the file once more, from whatever now has its name.
fn again(work: &mut Work<'_>, mut draft: Draft) -> Option<Draft> {
    let opened =
        open::file_for_reading(&work.pair.source, &draft.name).and_then(|fd| Ok((attributes::of_fd(&fd)?, fd)));
    match opened {
        Ok((was, fd)) if was.kind == Kind::File => {
            draft.source_was = was;
            draft.source = fd;
        }
        Ok(_) => {
            remove_own(work.pair, &draft);
            let note = "no longer a regular file";
            work.effects.miss(draft.kind, work.pair.path(&draft.name), Outcome::Changed, Side::Source, note);
            return None;
        }
        Err(failure) => {
            discard(work, draft, failure);
            return None;
        }
    }
    draft.tries += 1;
    // Closed again first: no set-id program with half of its content.
    let rewritten = attributes::set_mode(&draft.target, 0o600)
        .and_then(|()| data::set_size(&draft.target, 0))
        .and_then(|()| write(work, &mut draft))
        // It was truncated, so the size proves nothing any more.
        .and_then(|()| data::flush(&draft.target));
    match rewritten {
        Ok(()) => verified(work, draft),
        Err(failure) => {
            discard(work, draft, failure);
            None
        }
    }
}

/// Times, close, rename. From here on the file counts as copied.
fn commit(work: &mut Work<'_>, draft: Draft) {
    if let Err(failure) = metadata::set_times(work.context, &draft.target, &draft.source_was) {
        return discard(work, draft, failure);
    }
    let (copied, in_chunks, aspects, source_was) = (draft.copied, draft.in_chunks, draft.aspects, draft.source_was);
    match close_and_place(work.pair, draft) {
        Ok((kind, name, outcome, true)) => {
            work.aspects = aspects;
            changes::done(work, &Entry { name: &name, kind }, Kind::File, outcome);
            if !in_chunks {
                work.effects.count_file(copied.engine());
            }
            if work.context.copying.hashing.is_some() {
                work.effects.count_verified(copied.end);
            }
        }
        Ok((kind, name, _, false)) => conflict(work, &Entry { name: &name, kind }),
        Err((kind, name, failure)) if alias::refused(work.pair, &name, failure) => {
            alias::fail(work, &Entry { name: &name, kind }, failure.operation);
        }
        Err((kind, name, failure)) => {
            hear_quota(work, &source_was, failure);
            turn_to(work, &source_was);
            work.effects.fail(kind, work.pair.path(&name), failure);
        }
    }
}

type Placed = (Kind, CString, Outcome, bool);

/// Closes the target and gives it its final name, under which it must then be found.
fn close_and_place(pair: &Pair<'_>, draft: Draft) -> Result<Placed, (Kind, CString, Failure)> {
    let Draft { name, kind, target, place, outcome, .. } = draft;
    let is_replacement = place.is_temporary();
    let ours = if is_replacement { attributes::of_fd(&target).ok() } else { None };
    if let Err(failure) = target.close() {
        pair.take_away(place.name(&name));
        return Err((kind, name, failure));
    }
    match put_in_place(pair, &place, &name) {
        Ok(true) => {}
        Ok(false) => return Ok((kind, name, outcome, false)),
        Err(failure) => {
            pair.take_away(place.name(&name));
            return Err((kind, name, failure));
        }
    }
    if is_replacement {
        let there = attributes::of_name(&pair.target, &name).map_err(|failure| (kind, name.clone(), failure))?;
        if ours.is_none_or(|ours| ours.identity != there.identity) {
            let failure = Failure { side: Side::Target, operation: "renameat", errno: Errno::ESTALE as i32 };
            return Err((kind, name, failure));
        }
    }
    Ok((kind, name, outcome, true))
}

/// The file kept changing. What was read last is better than nothing, but must not be taken for
/// finished: its modification time stays that of our writing. Where equal sizes are proof enough,
/// nothing would tell it from a finished one.
fn leave_as_changed(work: &mut Work<'_>, draft: Draft, source: &Attributes) {
    let path = work.pair.path(&draft.name);
    let kind = draft.kind;
    turn_to(work, &draft.source_was);
    let note = if draft.in_chunks { "changed while it was copied" } else { "changed while it was read, three times" };
    if work.context.policy.content == ContentRule::SizeOnly {
        remove_own(work.pair, &draft);
        return work.effects.miss(kind, path, Outcome::Changed, Side::Source, note);
    }
    if let Err(failure) = stay_apart(work.context, &draft.target, source) {
        return discard(work, draft, failure);
    }
    match close_and_place(work.pair, draft) {
        Ok((kind, _, _, true)) => {
            work.effects.miss(kind, path, Outcome::Changed, Side::Source, note);
        }
        Ok((kind, name, _, false)) => conflict(work, &Entry { name: &name, kind }),
        Err((kind, _, failure)) => work.effects.fail(kind, path, failure),
    }
}

/// Where times are whole seconds, the time of our writing may be the source's. Where a newer target
/// counts as right, it must be older.
fn stay_apart(context: &Context, target: &Fd, source: &Attributes) -> Result<(), Failure> {
    let now = attributes::of_fd(target)?;
    if context.policy.times_are_the_record() && now.mtime.seconds.abs_diff(source.mtime.seconds) > 2 {
        return Ok(());
    }
    let window = i64::try_from(context.policy.modify_window / 1_000_000_000).unwrap_or(0);
    let earlier = Time { seconds: source.mtime.seconds - 10 - window, nanoseconds: 0 };
    attributes::set_times(target, Times { atime: now.atime, mtime: earlier })
}
