//! Large files in chunks: cut where they are found, copied by any rank, published by their owner. They
//! have a temporary name until every rank that wrote a chunk has flushed it.

use std::ffi::CString;

use nix::errno::Errno;

use super::mirror::entry::{self, Entry};
use super::mirror::file::{self, FlushGroup, Sources};
use super::mirror::{Work, trouble_of_name};
use super::pair::Pair;
use super::{Context, Effects, Watch};
use crate::fault::{Failure, Fault, Side};
use crate::fs::data::Ends;
use crate::fs::{Fd, attributes, data, names, open};
use crate::tree::chunk::chunk_bytes;
use crate::tree::{ChunkFate, ChunkNews, ChunkedFile, Item, Kind, Note, Outcome, TreePath};

/// An item of several chunks is cut into so many, which others can steal.
const PIECES: u32 = 16;

/// Whether a file is worth cutting: what it costs to flush each chunk, and to find the file again.
pub fn is_large(context: &Context, size: u64) -> bool {
    size / 2 >= context.grain.chunk_bytes
}

/// Cuts a file, whose target was just made under its temporary name.
pub fn begin(work: &mut Work<'_>, entry: &Entry<'_>, sources: Sources, outcome: Outcome) {
    match cut(work, entry, &sources, outcome) {
        Ok(file) => {
            let count = file.chunks();
            work.effects.notes.push(Note::Chunk { file: file.clone(), news: ChunkNews::Begun });
            work.chunks.push(Item::Chunks { file, first: 0, count });
        }
        Err(failure) => {
            let _ = names::remove(&work.pair.target, sources.place.name(entry.name));
            entry::failed(work, entry, failure);
        }
    }
}

fn cut(work: &Work<'_>, entry: &Entry<'_>, sources: &Sources, outcome: Outcome) -> Result<ChunkedFile, Failure> {
    let Sources { source_was, target, place, .. } = sources;
    let is = attributes::of_fd(target)?;
    let block = attributes::block_bytes(target)?;
    data::set_size(target, source_was.size)?;
    Ok(ChunkedFile {
        path: work.pair.path(entry.name),
        temporary: place.name(entry.name).to_owned(),
        source: *source_was,
        target: is.identity,
        chunk_bytes: chunk_bytes(work.context.grain.chunk_bytes, block, source_was.size),
        outcome,
        over_directory: place.over_directory,
    })
}

/// Copies a chunk, or cuts several apart for others to take.
pub fn chunks(context: &Context, file: ChunkedFile, first: u32, count: u32, watch: &Watch, effects: &mut Effects) {
    if count > 1 {
        return split(&file, first, count, effects);
    }
    watch.begin("copy", &file.path, None);
    let fate = copy(context, &file, first, watch, effects).unwrap_or_else(|failure| fate_of(&file, failure, effects));
    effects.notes.push(Note::Chunk { file, news: ChunkNews::Ended { chunk: first, fate } });
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
fn fate_of(file: &ChunkedFile, failure: Failure, effects: &mut Effects) -> ChunkFate {
    if failure.side == Side::Source {
        match (Errno::from_raw(failure.errno), failure.operation) {
            (Errno::ENOENT, _) => return ChunkFate::Vanished,
            (Errno::ELOOP | Errno::ENXIO | Errno::ENOTDIR, _) => return ChunkFate::Changed,
            _ => {}
        }
    }
    effects.fault(Fault::of(file.path.clone(), failure));
    ChunkFate::Failed
}

fn copy(
    context: &Context,
    file: &ChunkedFile,
    chunk: u32,
    watch: &Watch,
    effects: &mut Effects,
) -> Result<ChunkFate, Failure> {
    let (parent, name) = parts(&file.path)?;
    let range = file.range(chunk);
    let source = open::file_for_reading(&open::directory_below(&context.trees.source, &parent)?, &name)?;
    let is = attributes::of_fd(&source)?;
    if is.identity != file.source.identity || is.kind != Kind::File || is.size < range.end {
        return Ok(ChunkFate::Changed);
    }
    let target = open_target(context, &parent, file)?;
    let ends = Ends { source: &source, source_was: &file.source, target: &target };
    let copied = data::copy_range(&ends, range.clone(), &context.copying, &mut |_| watch.alive())?;
    effects.count_moved(&copied);
    if copied.end < range.end {
        return Ok(ChunkFate::Changed);
    }
    data::flush(&target)?;
    if let (Some(hashing), Some(digest)) = (context.copying.hashing, &copied.digest) {
        watch.begin("verify", &file.path, None);
        if !data::reads_back(&target, range.clone(), hashing, digest, &mut |_| watch.alive())? {
            effects.fault(Fault {
                path: file.path.clone(),
                outcome: Outcome::Failed,
                side: Side::Target,
                operation: "",
                errno: 0,
                note: file::DIFFERS,
            });
            return Ok(ChunkFate::Failed);
        }
    }
    target.close()?;
    if chunk == 0 {
        effects.count_file(copied.engine());
    }
    Ok(ChunkFate::Copied)
}

fn parts(path: &TreePath) -> Result<(TreePath, CString), Failure> {
    let lost = Failure { side: Side::Target, operation: "openat", errno: Errno::ENOENT as i32 };
    let (parent, name) = path.split_last().ok_or(lost)?;
    Ok((parent, CString::new(name).map_err(|_| lost)?))
}

/// The inode that was made for the file, and no other.
fn open_target(context: &Context, parent: &TreePath, file: &ChunkedFile) -> Result<Fd, Failure> {
    let directory = open::directory_below(&context.trees.target, parent)?;
    let target = open::file_for_writing(&directory, &file.temporary)?;
    if attributes::of_fd(&target)?.identity == file.target {
        Ok(target)
    } else {
        Err(target.failure("openat", Errno::ESTALE))
    }
}

/// All chunks have ended: the second look at the source, metadata, times, close, final name.
pub fn publish(context: &Context, file: &ChunkedFile, fate: ChunkFate, watch: &Watch, effects: &mut Effects) {
    watch.begin("publish", &file.path, None);
    let path = file.path.clone();
    let (parent, name) = match parts(&path) {
        Ok(parts) => parts,
        Err(failure) => return effects.fail(Kind::File, path, failure),
    };
    let pair = match Pair::open_any(context, parent) {
        Ok(pair) => pair,
        Err(trouble) => return trouble_of_name(path, Kind::File, trouble, effects),
    };
    let entry = Entry { name: &name, kind: Kind::File };
    let mut work = Work {
        context,
        pair: &pair,
        watch,
        group: FlushGroup::default(),
        effects,
        known_links: 1,
        may_tell: false,
        may_cut: false,
        chunks: Vec::new(),
    };
    match fate {
        ChunkFate::Copied => return file::publish_chunked(&mut work, &entry, file),
        ChunkFate::Failed => work.effects.end(Kind::File, Outcome::Failed),
        ChunkFate::Vanished => entry::vanished(&mut work, &entry),
        ChunkFate::Changed => {
            let note = "replaced or cut short while it was copied";
            work.effects.miss(Kind::File, path, Outcome::Changed, Side::Source, note);
        }
    }
    remove_temporary(&pair.target, file);
}

/// Removes what a stopped run has of a file.
pub fn discard(context: &Context, file: &ChunkedFile) {
    let directory = parts(&file.path).and_then(|(parent, _)| open::directory_below(&context.trees.target, &parent));
    // What can not be removed is of no harm: it has a name of ours and nobody's content.
    if let Ok(directory) = directory {
        remove_temporary(&directory, file);
    }
}

fn remove_temporary(directory: &Fd, file: &ChunkedFile) {
    let there = attributes::of_name(directory, &file.temporary);
    if there.is_ok_and(|there| there.identity == file.target) {
        let _ = names::remove(directory, &file.temporary);
    }
}
