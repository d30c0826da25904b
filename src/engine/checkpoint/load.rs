//! A checkpoint taken over: a rank reads the parts that fall to it, keeps their items, and deals out to the owners
//! of today what belongs to them.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::File;
use std::os::unix::fs::FileExt;

use super::archive::Archive;
use super::manifest::Manifest;
use super::part::{Header, PartReader, garbage};
use super::{Piece, Table};
use crate::counters::{Counters, Number};
use crate::engine::bag;
use crate::engine::lists::Extent;
use crate::engine::state::State;
use crate::fault::Error;
use crate::sched::Rank;
use crate::tree::{Carried, ChunkedFile, Item, LinkNote, Note};
use crate::wire;

/// Notes that are dealt out at one time, so that no rank holds more.
const NOTES_BYTES_MAX: usize = 8 << 20;

/// The parts that fall to a rank.
pub struct Loader {
    archive: Archive,
    manifest: Manifest,
    /// The parts that are still to be read.
    parts: std::ops::Range<u32>,
    step: usize,
    reader: Option<PartReader>,
    links: Option<LinksFile>,
    /// What earlier ranks listed, as far as it counts.
    pub listed: Vec<Extent>,
    /// Temporary names of large files under way.
    pub temporaries: BTreeSet<CString>,
}

/// A file of notes, of which a part is still to be read.
struct LinksFile {
    in_turn: bool,
    name: String,
    file: File,
    /// Offset and bytes of what is left.
    extents: Vec<(u64, u64)>,
}

/// Whether all paths in a piece stay below the roots.
pub fn is_sound(piece: &Piece) -> bool {
    match piece {
        Piece::Items(_, items) => items.iter().all(wire::is_sound),
        Piece::Notes(notes) => notes.iter().all(wire::note_is_sound),
        Piece::Chunked(file, tally) => wire::file_is_sound(file) && tally.is_of(file.chunks().saturating_add(1)),
        Piece::Removal(path, doomed, _) => {
            wire::path_is_sound(path) && doomed.as_ref().is_none_or(wire::doomed_is_sound)
        }
        Piece::Losses(losses) => losses.iter().all(|(path, _)| wire::path_is_sound(path)),
        Piece::ItemsFile { name, .. } | Piece::LinksFile { name, .. } => is_name(name),
        Piece::Listed(listed) => listed.iter().all(|part| is_name(&part.name)),
        // Checked when they are read.
        Piece::Links { .. } => true,
        Piece::Gone(_) | Piece::Counters(_) | Piece::Faults(_) | Piece::Root(_) | Piece::End { .. } => true,
    }
}

/// A file of ours in one directory.
fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) && !name.starts_with('.')
}

impl Loader {
    /// The parts of a checkpoint that fall to one rank of so many.
    pub fn new(archive: Archive, manifest: Manifest, me: Rank, ranks: u32) -> Self {
        let parts = me.0..manifest.ranks;
        let (listed, temporaries) = (Vec::new(), BTreeSet::new());
        Self { archive, manifest, parts, step: ranks as usize, reader: None, links: None, listed, temporaries }
    }

    /// Reads on: items go to the state, and some notes come back, for their owners. Without any all was read.
    pub fn some(&mut self, state: &mut State) -> Result<Vec<Note>, Error> {
        let (mut notes, mut bytes) = (Vec::new(), 0);
        while bytes < NOTES_BYTES_MAX {
            let before = notes.len();
            if self.links.is_some() {
                bytes += self.links_of_file(&mut notes)?;
                continue;
            }
            let Some(piece) = self.next()? else { break };
            bytes += self.take(piece, state, &mut notes)? + (notes.len() - before) * size_of::<Note>();
        }
        Ok(notes)
    }

    fn next(&mut self) -> Result<Option<Piece>, Error> {
        loop {
            if self.reader.is_none() {
                let Some(part) = self.parts.clone().next() else { return Ok(None) };
                self.parts.start = part.saturating_add(u32::try_from(self.step).unwrap_or(u32::MAX));
                if self.parts.start > self.parts.end {
                    self.parts.start = self.parts.end;
                }
                let (cut, rank) = (self.manifest.cut, Rank(part));
                let header = Header::new(self.manifest.number, cut, rank);
                let reader = PartReader::open(&self.archive.directory, &Archive::part_name(cut, rank), header)?;
                self.reader = Some(reader);
            }
            match self.reader.as_mut().map_or(Ok(None), PartReader::next)? {
                Some(piece) => return Ok(Some(piece)),
                None => self.reader = None,
            }
        }
    }

    /// Takes in a piece. Returns the bytes of the notes that it has.
    fn take(&mut self, piece: Piece, state: &mut State, notes: &mut Vec<Note>) -> Result<usize, Error> {
        match piece {
            Piece::Items(table, items) => self.items(table, items, state)?,
            Piece::ItemsFile { table, name, items } => {
                let loaded = bag::read_file(&self.archive.directory, &name).map_err(|why| garbage(&name, &why))?;
                if loaded.len() as u64 != items {
                    return Err(garbage(&name, "it holds another number of items"));
                }
                self.items(table, loaded, state)?;
            }
            Piece::Notes(more) => {
                for note in &more {
                    if let Note::Chunk { file, .. } = note {
                        self.spare(file);
                    }
                }
                notes.extend(more);
            }
            Piece::Links { in_turn, bytes } => {
                notes.extend(decode(&bytes, "part")?.into_iter().map(|note| carried(in_turn, note)));
                return Ok(bytes.len());
            }
            Piece::LinksFile { in_turn, name, extents } => {
                let file = self.archive.directory.open(&name).map_err(|error| garbage(&name, &error.to_string()))?;
                self.links = Some(LinksFile { in_turn, name, file, extents });
            }
            Piece::Chunked(file, tally) => {
                self.spare(&file);
                notes.push(Note::Carried(Carried::Chunked(file, tally)));
            }
            Piece::Removal(path, doomed, tally) => notes.push(Note::Carried(Carried::Removal(path, doomed, tally))),
            Piece::Losses(losses) => losses.into_iter().for_each(|(subtree, loss)| {
                state.lose(subtree, loss);
            }),
            Piece::Gone(gone) => gone.into_iter().for_each(|(inode, names)| {
                let gone = state.gone.entry(inode).or_default();
                *gone = gone.saturating_add(names);
            }),
            Piece::Counters(counters) => {
                let mut counters = Counters::from_slice(&counters)
                    .ok_or_else(|| garbage("part", "another version of pmirror counted"))?;
                // How busy the ranks are is told of those of today.
                counters.clear(Number::BusyNanoseconds);
                state.desk.counters.merge(&counters);
            }
            Piece::Faults(faults) => faults.into_iter().for_each(|(cause, count)| {
                let faults = state.faults.entry(cause).or_default();
                *faults = faults.saturating_add(count);
            }),
            Piece::Listed(listed) => self.listed.extend(listed),
            Piece::Root(outcome) => state.root_outcome = Some(outcome),
            Piece::End { .. } => {}
        }
        Ok(0)
    }

    /// What is under way is no left-over.
    fn spare(&mut self, file: &ChunkedFile) {
        self.temporaries.extend(file.temporary().map(ToOwned::to_owned));
    }

    fn items(&mut self, table: Table, items: Vec<Item>, state: &mut State) -> Result<(), Error> {
        for item in &items {
            if let Item::Publish { file, .. } | Item::Chunks { file, .. } = item {
                self.spare(file);
            }
        }
        state.put_back(table, items)
    }

    /// Some notes of a file. Returns their bytes.
    fn links_of_file(&mut self, notes: &mut Vec<Note>) -> Result<usize, Error> {
        let Some(LinksFile { in_turn, name, file, extents }) = &mut self.links else { return Ok(0) };
        let Some((offset, length)) = extents.pop() else {
            self.links = None;
            return Ok(0);
        };
        let length = usize::try_from(length).ok().filter(|&length| length <= wire::MESSAGE_BYTES_MAX);
        let Some(length) = length else { return Err(garbage(name, "it is no list of notes")) };
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset).map_err(|error| garbage(name, &error.to_string()))?;
        notes.extend(decode(&bytes, name)?.into_iter().map(|note| carried(*in_turn, note)));
        Ok(length)
    }
}

fn decode(bytes: &[u8], name: &str) -> Result<Vec<LinkNote>, Error> {
    wire::decode_notes(bytes).map_err(|why| garbage(name, &why.to_string()))
}

fn carried(in_turn: bool, note: LinkNote) -> Note {
    if in_turn { Note::Carried(Carried::Turn(note)) } else { Note::Link(note) }
}
