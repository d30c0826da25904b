//! What is left of a listing becomes items that other ranks can take.

use super::{Context, Effects};
use crate::tree::{DirectoryItem, Item, Names};

/// Cuts a directory into rounds, each of which can be held at once.
pub fn rounds(directory: &DirectoryItem, rounds: u32, effects: &mut Effects) {
    for round in 0..rounds {
        effects.items.push(Item::Round { directory: directory.clone(), round, rounds });
    }
}

/// Gives all names, in batches that others can steal.
pub fn all(context: &Context, directory: &DirectoryItem, names: &Names, effects: &mut Effects) {
    batches(directory, names, 0, context.grain.batch_names_max, effects);
}

/// What a long item leaves: in several pieces, so that several ranks can take of it.
pub fn rest(context: &Context, directory: &DirectoryItem, names: &Names, done: usize, effects: &mut Effects) {
    let pieces_min = 4;
    let left = names.len() - done;
    let piece = left.div_ceil(pieces_min).clamp(1, context.grain.batch_names_max);
    batches(directory, names, done, piece, effects);
}

fn batches(directory: &DirectoryItem, names: &Names, first: usize, count: usize, effects: &mut Effects) {
    for names in names.split_from(first, count) {
        // They had no try yet.
        effects.items.push(Item::Batch { directory: directory.clone(), names }.after(0));
    }
}
