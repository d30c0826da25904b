//! Large files: compared in chunks by all ranks, and judged when all chunks have ended.

use super::Look;
use super::judge::{self, Content, Spot};
use super::sides::Place;
use crate::pass::chunk;
use crate::pass::mirror::trouble_of_name;
use crate::tree::{Attributes, ChunkFate, ChunkedFile, Kind, Outcome, TreePath};

/// Whether the content of a pair is to be compared in chunks.
pub fn is_cut(look: &Look<'_>, listed: Kind, path: &TreePath, pair: &(Attributes, Attributes)) -> bool {
    chunk::is_cut(look.context, listed, pair.0.size) && judge::reads_content(look, path, pair)
}

/// Cuts a pair of files.
pub fn cut(look: &mut Look<'_>, path: TreePath, (source, target): (Attributes, Attributes)) {
    let (note, item) = chunk::cut_to_look(look.context, path, source, target);
    look.effects.notes.push(note);
    look.chunks.push(item);
}

/// Judges a pair whose chunks have ended. What was read counts if both sides are still what they were; else
/// they are read again, by this worker.
pub fn judge(look: &mut Look<'_>, file: &ChunkedFile, fate: ChunkFate) {
    let (path, kind) = (&file.path, Kind::File);
    look.watch.begin_name("compare", path);
    let was = (file.source, file.target);
    let content = match fate {
        ChunkFate::Right => Some(Content { was, same: true }),
        ChunkFate::Differs => Some(Content { was, same: false }),
        ChunkFate::Changed | ChunkFate::Vanished | ChunkFate::Lost => None,
        // The fault is listed.
        ChunkFate::Failed => return look.effects.end(kind, Outcome::Failed),
    };
    let (parent, name) = match chunk::parts(path) {
        Ok(parts) => parts,
        Err(failure) => return look.failed(kind, path, failure),
    };
    let place = match Place::open(look.context, &parent) {
        Ok(place) => place,
        Err(trouble) => return trouble_of_name(path.clone(), kind, trouble, look.effects),
    };
    let spot = Spot { source: &place.source, target: &place.target, name: &name, path, content };
    let judged = spot.look().and_then(|pair| judge::name(look, &spot, pair));
    look.conclude(kind, path, judged);
}
