//! Large files in chunks: cut where they are found, copied or compared by any rank, published by their
//! owner. A copy has a temporary name until every rank that wrote a chunk has flushed it.

use std::ffi::{CStr, CString};

use nix::errno::Errno;

use super::mirror::entry::{self, Entry};
use super::mirror::file::{self, Sources};
use super::mirror::place::Place;
use super::mirror::{Work, trouble_of_name};
use super::pair::{Pair, Trouble};
use super::{Context, Effects, Watch, aside, policy};
use crate::counters::Number;
use crate::fault::{Failure, Fault, Remedy, Side};
use crate::fs::data::Ends;
use crate::fs::{Fd, attributes, data, open};
use crate::tree::chunk::chunk_bytes;
use crate::tree::names::Listed;
use crate::tree::{
    Attributes, ChunkFate, ChunkNews, ChunkTask, ChunkedFile, DirectoryItem, Item, Kind, Names, Note, Outcome, TreePath,
};

/// An item of several chunks is cut into so many, which others can steal.
const PIECES: u32 = 16;

/// Whether a file is worth cutting: what it costs to flush each chunk, and to find the file again.
pub fn is_large(context: &Context, size: u64) -> bool {
    size / 2 >= context.grain.chunk_bytes
}

/// Whether a file is cut: it is large, and stands in the books as a file. A name that was listed as something
/// else is worked on in one piece, as chunks do not carry what it was.
pub fn is_cut(context: &Context, listed: Kind, size: u64) -> bool {
    listed == Kind::File && is_large(context, size)
}

/// Cuts a file, whose target was just made under its temporary name, to be copied.
pub fn begin(work: &mut Work<'_>, entry: &Entry<'_>, sources: Sources, outcome: Outcome) {
    let Sources { source_was, target, place, .. } = sources;
    let temporary = place.name(entry.name).to_owned();
    let made = data::set_size(&target, source_was.size)
        .and_then(|()| Ok((attributes::of_fd(&target)?, attributes::block_bytes(&target)?)));
    match made {
        Ok((made, block)) => {
            let (over_directory, aspects) = (place.over_directory, work.aspects);
            let task = ChunkTask::Copy { temporary, outcome, over_directory, aspects, may_tell: work.may_tell };
            let path = work.pair.path(entry.name);
            release(work, cut(work.context, path, (source_was, made), block, task, work.effects.tries));
        }
        Err(failure) => {
            work.pair.take_away(&temporary);
            entry::failed(work, entry, failure);
        }
    }
}

/// Cuts a file, to be compared with its copy.
pub fn compare(work: &mut Work<'_>, entry: &Entry<'_>, source: &Attributes, target: &Attributes) {
    let task = ChunkTask::Compare { known_links: work.known_links, may_tell: work.may_tell };
    let path = work.pair.path(entry.name);
    release(work, cut(work.context, path, (*source, *target), 1, task, work.effects.tries));
}

/// The same where nothing is written.
pub fn cut_to_look(context: &Context, path: TreePath, source: Attributes, target: Attributes) -> (Note, Item) {
    cut(context, path, (source, target), 1, ChunkTask::Compare { known_links: 1, may_tell: false }, 0)
}

/// What the owner of the file is told, and all chunks. `tries` at it that failed go on counting, or a file of which only
/// the end fails would be copied for ever.
fn cut(
    context: &Context,
    path: TreePath,
    (source, target): (Attributes, Attributes),
    block: u64,
    task: ChunkTask,
    tries: u8,
) -> (Note, Item) {
    let chunk_bytes = chunk_bytes(context.grain.chunk_bytes, block, source.size);
    let file = ChunkedFile { path, source, target, chunk_bytes, task, tries };
    let count = file.chunks();
    (Note::Chunk { file: Box::new(file.clone()), news: ChunkNews::Begun }, Item::Chunks { file, first: 0, count })
}

fn release(work: &mut Work<'_>, (note, chunks): (Note, Item)) {
    work.effects.notes.push(note);
    work.chunks.push(chunks);
}

/// Copies or compares a chunk, or cuts several apart for others to take.
pub fn chunks(context: &Context, file: ChunkedFile, first: u32, count: u32, watch: &Watch, effects: &mut Effects) {
    if count > 1 {
        return split(&file, first, count, effects);
    }
    let ended = match &file.task {
        _ if context.sets_aside(&file.path) => Ok(set_aside(&file, effects)),
        ChunkTask::Copy { temporary, .. } => copy(context, &file, temporary, first, watch, effects),
        ChunkTask::Compare { .. } => is_same(context, &file, first, watch, effects),
    };
    let fate = ended.unwrap_or_else(|failure| fate_of(context, &file, failure, effects));
    effects.notes.push(Note::Chunk { file: Box::new(file), news: ChunkNews::Ended { chunk: first, fate } });
}

/// Two attempts died over the file. Each chunk may be the only one that is left, so each says so.
fn set_aside(file: &ChunkedFile, effects: &mut Effects) -> ChunkFate {
    let (path, outcome, side, note) = (file.path.clone(), Outcome::Failed, Side::Source, aside::NOTE);
    effects.fault(Fault { path, outcome, side, operation: "", errno: 0, note, remedy: Remedy::Again, owner: None });
    ChunkFate::Failed
}

/// The first piece comes last, as a rank takes its newest item.
fn split(file: &ChunkedFile, first: u32, count: u32, effects: &mut Effects) {
    let piece = count.div_ceil(PIECES);
    let mut end = first + count;
    while end > first {
        let start = first + (end - first - 1) / piece * piece;
        effects.items.push(Item::Chunks { file: file.clone(), first: start, count: end - start });
        end = start;
    }
}

/// What a failed system call means for the file.
fn fate_of(context: &Context, file: &ChunkedFile, failure: Failure, effects: &mut Effects) -> ChunkFate {
    // Where nothing is written, others may do so on the target.
    if failure.side == Side::Source || context.compares() {
        match (Errno::from_raw(failure.errno), failure.operation) {
            (Errno::ENOENT, _) => return ChunkFate::Vanished,
            (Errno::ELOOP | Errno::ENOTDIR, _) => return ChunkFate::Changed,
            _ => {}
        }
    }
    let is_gone = matches!(Errno::from_raw(failure.errno), Errno::ENOENT | Errno::ESTALE);
    let is_anothers = file.temporary().is_some_and(|name| context.temporaries.is_of_another_attempt(name));
    if failure.side == Side::Target && is_gone && is_anothers {
        return ChunkFate::Lost;
    }
    // The chunk is tried again, as no note of it was sent; if that is of no use, this stands.
    effects.trouble = Some(failure);
    effects.fault(policy::fault(file.path.clone(), failure));
    ChunkFate::Failed
}

/// The source file, open at the chunk's turn; `None` if it is no longer what was cut.
fn open_source(context: &Context, file: &ChunkedFile, chunk: u32) -> Result<Option<Fd>, Failure> {
    let (parent, name) = parts(&file.path)?;
    let source = open::file_for_reading(&open::directory_below(&context.trees.source, &parent)?, &name)?;
    let is = attributes::of_fd(&source)?;
    let is_it = is.identity == file.source.identity && is.kind == Kind::File && is.size >= file.range(chunk).end;
    Ok(is_it.then_some(source))
}

/// Whether the chunk is equal on both sides.
fn is_same(
    context: &Context,
    file: &ChunkedFile,
    chunk: u32,
    watch: &Watch,
    effects: &mut Effects,
) -> Result<ChunkFate, Failure> {
    watch.begin_name("compare", &file.path);
    let Some(source) = open_source(context, file, chunk)? else {
        return Ok(ChunkFate::Changed);
    };
    let (parent, name) = parts(&file.path)?;
    let target = open::file_for_reading(&open::directory_below(&context.trees.target, &parent)?, &name)?;
    if attributes::of_fd(&target)?.identity != file.target.identity {
        return Ok(ChunkFate::Differs);
    }
    let range = file.range(chunk);
    let counter = if context.compares() { Number::ContentsBytes } else { Number::BytesCompared };
    effects.count(counter, range.end - range.start);
    let mut pace = context.limits.pace(range.end - range.start, watch);
    let same = data::same_content(&source, &target, range, &mut |bytes| pace.moved(bytes))?;
    Ok(if same { ChunkFate::Right } else { ChunkFate::Differs })
}

fn copy(
    context: &Context,
    file: &ChunkedFile,
    temporary: &CStr,
    chunk: u32,
    watch: &Watch,
    effects: &mut Effects,
) -> Result<ChunkFate, Failure> {
    watch.begin_name("copy", &file.path);
    let Some(source) = open_source(context, file, chunk)? else {
        return Ok(ChunkFate::Changed);
    };
    let (range, target) = (file.range(chunk), open_target(context, file, temporary)?);
    let ends = Ends { source: &source, source_was: &file.source, target: &target };
    let mut pace = context.limits.pace(range.end - range.start, watch);
    let copied = data::copy_range(&ends, range.clone(), &context.copying, &mut |bytes| pace.moved(bytes))?;
    pace.end(copied.read);
    effects.count_moved(&copied);
    if copied.end < range.end {
        return Ok(ChunkFate::Changed);
    }
    data::flush_range(&target, &range, &context.copying)?;
    if let (Some(hashing), Some(digest)) = (context.copying.hashing, &copied.digest) {
        watch.begin_name("verify", &file.path);
        if !data::reads_back(&target, range.clone(), hashing, digest, &mut |_| watch.alive())? {
            effects.fault(Fault {
                path: file.path.clone(),
                outcome: Outcome::Failed,
                side: Side::Target,
                operation: "",
                errno: 0,
                note: file::DIFFERS,
                remedy: Remedy::Again,
                owner: None,
            });
            return Ok(ChunkFate::Failed);
        }
    }
    target.close()?;
    if chunk == 0 {
        effects.count_file(copied.engine());
    }
    Ok(ChunkFate::Right)
}

/// The directory of a path, and the name in it.
pub fn parts(path: &TreePath) -> Result<(TreePath, CString), Failure> {
    let lost = Failure { side: Side::Target, operation: "openat", errno: Errno::ENOENT as i32 };
    let (parent, name) = path.split_last().ok_or(lost)?;
    Ok((parent, CString::new(name).map_err(|_| lost)?))
}

/// The inode that was made for the file, and no other.
fn open_target(context: &Context, file: &ChunkedFile, temporary: &CStr) -> Result<Fd, Failure> {
    let (parent, _) = parts(&file.path)?;
    let directory = open::directory_below(&context.trees.target, &parent)?;
    let target = open::file_for_writing(&directory, temporary)?;
    if attributes::of_fd(&target)?.identity == file.target.identity {
        Ok(target)
    } else {
        Err(target.failure("openat", Errno::ESTALE))
    }
}

/// All chunks have ended. A copy gets the second look at its source, metadata, times and final name; a
/// comparison has its consequences.
pub fn publish(context: &Context, file: &ChunkedFile, fate: ChunkFate, watch: &Watch, effects: &mut Effects) {
    watch.begin_name("publish", &file.path);
    let path = file.path.clone();
    let (parent, name) = match parts(&path) {
        Ok(parts) => parts,
        Err(failure) => return effects.fail(Kind::File, path, failure),
    };
    let pair = match Pair::open_any(context, parent) {
        Ok(pair) => pair,
        Err(Trouble::Failed(failure)) if effects.may_pass(failure) => {
            effects.trouble = Some(failure);
            return;
        }
        Err(trouble) => {
            discard(context, file);
            return trouble_of_name(path, Kind::File, trouble, effects);
        }
    };
    if fate == ChunkFate::Lost || is_lost(context, &pair, file) {
        remove_temporary(context, &pair.target, file);
        return look_again(&pair, &name, effects);
    }
    // A turn among links has its own way to go again.
    effects.home = file.task.may_tell().then(|| home(&pair));
    let entry = Entry { name: &name, kind: Kind::File };
    let mut work = Work::new(context, &pair, watch, effects);
    work.may_tell = false;
    match (&file.task, fate) {
        (ChunkTask::Copy { temporary, outcome, over_directory, aspects, .. }, ChunkFate::Right) => {
            work.aspects = *aspects;
            let place = Place::given(temporary.clone(), *over_directory, *outcome == Outcome::Created);
            return file::publish_chunked(&mut work, &entry, file, place, *outcome);
        }
        (&ChunkTask::Compare { known_links, may_tell }, ChunkFate::Right | ChunkFate::Differs) => {
            (work.known_links, work.may_tell) = (known_links, may_tell);
            judge(&mut work, &entry, file, fate == ChunkFate::Right);
            file::finish_group(&mut work);
            let chunks = work.chunks;
            return effects.items.extend(chunks);
        }
        (_, ChunkFate::Failed) => work.effects.end(Kind::File, Outcome::Failed),
        (_, ChunkFate::Vanished) => entry::vanished(&mut work, &entry),
        (_, ChunkFate::Changed | ChunkFate::Differs | ChunkFate::Lost) => {
            let note = "replaced or cut short while it was copied";
            work.effects.miss(Kind::File, path, Outcome::Changed, Side::Source, note);
        }
    }
    remove_temporary(context, &pair.target, file);
}

/// Whether a copy that another attempt began is no longer there: that attempt, or one after it, came further than
/// the checkpoint that we go on from.
fn is_lost(context: &Context, pair: &Pair<'_>, file: &ChunkedFile) -> bool {
    let is_there = |name| attributes::of_name(&pair.target, name).is_ok_and(|is| is.identity == file.target.identity);
    file.temporary().is_some_and(|name| context.temporaries.is_of_another_attempt(name) && !is_there(name))
}

/// The file stands in the books already: what it is now is found out anew.
fn look_again(pair: &Pair<'_>, name: &CStr, effects: &mut Effects) {
    let directory = home(pair);
    let mut names = Names::new();
    names.push(name, Listed { kind: Some(Kind::File), on_target: true });
    effects.items.push(Item::Again { directory, names });
}

/// The directory as it is now.
fn home(pair: &Pair<'_>) -> DirectoryItem {
    let (source, target) = (pair.source_was.identity, Some(pair.target_was.identity));
    DirectoryItem { source, target, ..pair.item.clone() }
}

/// Decides about a file whose content was compared. If either side has changed since, the content is
/// another one for all we know: the copy that follows finds out what it is.
fn judge(work: &mut Work<'_>, entry: &Entry<'_>, file: &ChunkedFile, is_same: bool) {
    let looked = attributes::of_name(&work.pair.source, entry.name)
        .and_then(|source| Ok((source, attributes::of_name(&work.pair.target, entry.name)?)));
    let acted = looked.and_then(|(source, target)| {
        let unchanged = source.content_is_as(&file.source) && target.identity == file.target.identity;
        work.same_content = Some(is_same && unchanged);
        entry::act(work, entry, &source, Some(&target))
    });
    if let Err(failure) = acted {
        entry::failed(work, entry, failure);
    }
}

/// Removes what a stopped run has of a file.
pub fn discard(context: &Context, file: &ChunkedFile) {
    let directory = parts(&file.path).and_then(|(parent, _)| open::directory_below(&context.trees.target, &parent));
    // What can not be removed is of no harm: it has a name of ours and nobody's content, and the next run sweeps it.
    context.temporaries.note(&directory);
    if let Ok(directory) = directory {
        remove_temporary(context, &directory, file);
    }
}

fn remove_temporary(context: &Context, directory: &Fd, file: &ChunkedFile) {
    let ChunkTask::Copy { temporary, .. } = &file.task else {
        return;
    };
    let there = attributes::of_name(directory, temporary);
    context.temporaries.note(&there);
    if there.is_ok_and(|there| there.identity == file.target.identity) {
        // That it could not be removed is noted for the next run.
        let _ = context.temporaries.take_away(directory, temporary);
    }
}
