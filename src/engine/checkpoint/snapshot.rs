//! What a rank's state comes to in a checkpoint: encoded in one step, while no worker changes it.

use super::super::state::State;
use super::archive::{Archive, unusable};
use super::{Piece, Table};
use crate::engine::bag::Bag;
use crate::engine::links::LinkPiece;
use crate::fault::Error;
use crate::fs::operator::RunDirectory;
use crate::sched::{Cut, Message, Rank};
use crate::tree::Item;
use crate::wire::{self, Post};

/// Items of one frame: far below `wire::MESSAGE_BYTES_MAX`, but for a single one that comes near by itself.
const FRAME_ITEMS_MAX: usize = 256;
const FRAME_BYTES_MAX: usize = 1 << 20;

/// A rank's part, to be written.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Encoded pieces.
    pub frames: Vec<Vec<u8>>,
    /// Files beside the part: links, not durable yet.
    pub files: Vec<String>,
}

/// A message that came after the cut from before it, as a frame.
pub fn late(post: &Post) -> Option<Vec<u8>> {
    match &post.message {
        Message::Loot { items, .. } => Some(wire::encode(&Piece::Items(Table::Bag, items.clone()))),
        Message::Tell(note) => Some(wire::encode(&Piece::Notes(vec![note.clone()]))),
        _ => None,
    }
}

/// Takes a snapshot.
pub struct Photographer<'a> {
    archive: &'a Archive,
    run: &'a RunDirectory,
    cut: Cut,
    rank: Rank,
    snapshot: Snapshot,
}

impl Snapshot {
    /// What the state holds. Files that tables were spilled to get a second name in the archive.
    pub fn take(state: &State, archive: &Archive, run: &RunDirectory, cut: Cut, rank: Rank) -> Result<Self, Error> {
        // What has been lost is in no bag any more, so nothing could be gone on with.
        if let Some(error) = state.broken() {
            return Err(error);
        }
        let snapshot = Snapshot::default();
        let mut photographer = Photographer { archive, run, cut, rank, snapshot };
        photographer.state(state).map_err(|error| unusable(&error))?;
        Ok(photographer.snapshot)
    }
}

impl Photographer<'_> {
    fn state(&mut self, state: &State) -> std::io::Result<()> {
        self.items(Table::Bag, state.running.iter().flatten());
        self.bag(Table::Bag, &state.desk.bag)?;
        self.bag(Table::Bag, &state.resumed)?;
        self.bag(Table::Deferred, &state.deferred)?;
        self.bag(Table::Plan, &state.plan)?;
        self.bag(Table::Again, &state.again)?;
        for (depth, bag) in state.after_below.bags() {
            self.bag(Table::AfterBelow(depth), bag)?;
        }
        let notes: Vec<_> = state.scheduler.inbox().cloned().collect();
        notes.chunks(FRAME_ITEMS_MAX).for_each(|notes| self.piece(&Piece::Notes(notes.to_vec())));
        let mut links = Vec::new();
        state.for_each_link_piece(&mut |in_turn, piece| links.push((in_turn, piece)));
        for (in_turn, piece) in links {
            self.links(in_turn, piece)?;
        }
        for (file, tally) in state.chunked.files() {
            self.piece(&Piece::Chunked(Box::new(file.clone()), tally.clone()));
        }
        for (path, doomed, tally) in state.removals.directories() {
            self.piece(&Piece::Removal(path.clone(), doomed.cloned(), tally.clone()));
        }
        let losses: Vec<_> = state.losses.iter().map(|(path, loss)| (path.clone(), *loss)).collect();
        losses.chunks(FRAME_ITEMS_MAX).for_each(|losses| self.piece(&Piece::Losses(losses.to_vec())));
        let gone: Vec<_> = state.gone.iter().map(|(inode, names)| (*inode, *names)).collect();
        gone.chunks(1 << 14).for_each(|gone| self.piece(&Piece::Gone(gone.to_vec())));
        self.piece(&Piece::Counters(state.desk.counters.to_vec()));
        self.piece(&Piece::Faults(state.faults.iter().map(|(cause, &faults)| (cause.clone(), faults)).collect()));
        self.piece(&Piece::Listed(state.listed.clone()));
        if let Some(outcome) = state.root_outcome {
            self.piece(&Piece::Root(outcome));
        }
        Ok(())
    }

    fn piece(&mut self, piece: &Piece) {
        self.snapshot.frames.push(wire::encode(piece));
    }

    fn items<'i>(&mut self, table: Table, items: impl Iterator<Item = &'i Item>) {
        let (mut frame, mut bytes) = (Vec::new(), 0);
        for item in items {
            if frame.len() >= FRAME_ITEMS_MAX || bytes > FRAME_BYTES_MAX {
                self.piece(&Piece::Items(table, std::mem::take(&mut frame)));
                bytes = 0;
            }
            bytes += item.bytes();
            frame.push(item.clone());
        }
        if !frame.is_empty() {
            self.piece(&Piece::Items(table, frame));
        }
    }

    fn bag(&mut self, table: Table, bag: &Bag) -> std::io::Result<()> {
        for (name, items) in bag.files() {
            let name = self.link(&name)?;
            self.piece(&Piece::ItemsFile { table, name, items });
        }
        self.items(table, bag.items());
        Ok(())
    }

    fn links(&mut self, in_turn: bool, piece: LinkPiece<'_>) -> std::io::Result<()> {
        match piece {
            LinkPiece::Bytes(bytes) => self.piece(&Piece::Links { in_turn, bytes: bytes.to_vec() }),
            LinkPiece::File { name, extents } => {
                let name = self.link(name)?;
                self.piece(&Piece::LinksFile { in_turn, name, extents });
            }
        }
        Ok(())
    }

    /// A file that is never changed, or only grows, gets a second name.
    fn link(&mut self, name: &str) -> std::io::Result<String> {
        let there = Archive::file_name(self.cut, self.rank, name);
        self.run.link_into(name, &self.archive.directory, &there)?;
        self.snapshot.files.push(there.clone());
        Ok(there)
    }
}
