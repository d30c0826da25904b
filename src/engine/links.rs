//! The notes of the owner of inodes with several names, until their turn comes. They are kept as bytes,
//! in partitions by hash of the inode; beyond a bound they go to a file of the run directory. One
//! partition after another then becomes groups.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;

use super::bag::Spill;
use crate::fault::{Error, Side};
use crate::tree::item::{Claim, LinkKey};
use crate::tree::{Kind, LinkGroup, LinkNote, TreePath};
use crate::wire;

/// Parts of a table that can be taken one after another. A part that is still too large is parted
/// again, so many times.
const PARTITIONS: usize = 256;
const LEVELS: u32 = 3;

/// Notes of a partition that are kept, written and read together.
const BLOCK_BYTES: usize = 32 << 10;

/// A group that would be larger is cut: one message must hold it (`wire::MESSAGE_BYTES_MAX`). 65,000
/// names, the most that ext4 and Lustre give an inode, may have 480 bytes each.
const GROUP_BYTES_MAX: usize = 32 << 20;

/// Notes in memory.
#[derive(Debug, Default)]
struct Block {
    bytes: Vec<u8>,
    notes: u32,
}

/// A block in the file.
#[derive(Debug, Clone, Copy)]
struct Extent {
    offset: u64,
    bytes: usize,
    notes: u32,
}

#[derive(Debug, Default)]
struct Partition {
    blocks: Vec<Block>,
    extents: Vec<Extent>,
    bytes: usize,
}

impl Partition {
    fn push(&mut self, note: &[u8]) {
        self.bytes += note.len();
        match self.blocks.last_mut() {
            Some(block) if block.bytes.len() + note.len() <= BLOCK_BYTES => block.push(note),
            last => {
                last.into_iter().for_each(|full| full.bytes.shrink_to_fit());
                let mut block = Block::default();
                block.push(note);
                self.blocks.push(block);
            }
        }
    }
}

impl Block {
    fn push(&mut self, note: &[u8]) {
        self.bytes.extend_from_slice(note);
        self.notes += 1;
    }
}

#[derive(Debug)]
struct SpillFile {
    name: String,
    writer: BufWriter<File>,
    reader: File,
    end: u64,
}

/// Notes of a table, as a checkpoint has them.
#[derive(Debug)]
pub enum LinkPiece<'t> {
    /// In memory.
    Bytes(&'t [u8]),
    /// In a file of the run directory, which only grows: offset and length of each block.
    File {
        /// Its name.
        name: &'t str,
        /// The blocks.
        extents: Vec<(u64, u64)>,
    },
}

fn pieces<'t>(partitions: &'t [Partition], file: Option<&'t SpillFile>, see: &mut dyn FnMut(LinkPiece<'t>)) {
    for block in partitions.iter().flat_map(|partition| &partition.blocks) {
        see(LinkPiece::Bytes(&block.bytes));
    }
    let extents = partitions.iter().flat_map(|partition| &partition.extents);
    let extents: Vec<(u64, u64)> = extents.map(|extent| (extent.offset, extent.bytes as u64)).collect();
    if let Some(file) = file.filter(|_| !extents.is_empty()) {
        see(LinkPiece::File { name: &file.name, extents });
    }
}

/// A table that takes in notes.
#[derive(Debug)]
pub struct LinkTable {
    spill: Spill,
    level: u32,
    partitions: Vec<Partition>,
    /// In memory.
    bytes: usize,
    note: Vec<u8>,
    file: Option<SpillFile>,
    spilled: u64,
    is_broken: bool,
}

impl LinkTable {
    /// An empty table.
    pub fn new(spill: Spill) -> Self {
        Self::at_level(spill, 0)
    }

    fn at_level(spill: Spill, level: u32) -> Self {
        let partitions = std::iter::repeat_with(Partition::default).take(PARTITIONS).collect();
        let (note, file) = (Vec::new(), None);
        Self { spill, level, partitions, bytes: 0, note, file, spilled: 0, is_broken: false }
    }

    /// Notes that were written to the file so far.
    pub fn spilled(&self) -> u64 {
        self.spilled
    }

    /// Takes in a note. After an error of the file it stays in memory, as do all that follow.
    pub fn push(&mut self, note: &LinkNote) -> Result<(), Error> {
        self.note.clear();
        wire::append_note(&mut self.note, note);
        // The lowest bits chose the owner, so the highest choose the partition.
        let (key, _) = note.about();
        let index = key.hash().to_be_bytes().get(self.level as usize).copied().unwrap_or(0);
        if let Some(partition) = self.partitions.get_mut(usize::from(index)) {
            partition.push(&self.note);
        }
        self.bytes += self.note.len();
        if self.bytes <= self.spill.bytes_max || self.is_broken {
            return Ok(());
        }
        self.spill_all().map_err(|error| {
            self.is_broken = true;
            Error::of_state("hard links can not be spilled to the run directory", error)
        })
    }

    fn spill_all(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(open(&self.spill)?),
        };
        let mut extents = Vec::new();
        for (index, partition) in self.partitions.iter().enumerate() {
            for block in &partition.blocks {
                file.writer.write_all(&block.bytes)?;
                extents.push((index, Extent { offset: file.end, bytes: block.bytes.len(), notes: block.notes }));
                file.end += block.bytes.len() as u64;
            }
        }
        file.writer.flush()?;
        self.partitions.iter_mut().for_each(|partition| partition.blocks = Vec::new());
        for (index, extent) in extents {
            self.spilled += u64::from(extent.notes);
            if let Some(partition) = self.partitions.get_mut(index) {
                partition.extents.push(extent);
            }
        }
        self.bytes = 0;
        Ok(())
    }

    /// Where it spills.
    pub fn spill(&self) -> &Spill {
        &self.spill
    }

    /// All notes.
    pub fn for_each_piece<'t>(&'t self, see: &mut dyn FnMut(LinkPiece<'t>)) {
        pieces(&self.partitions, self.file.as_ref(), see);
    }

    /// The table is complete: now its groups can be taken.
    pub fn into_groups(self) -> LinkGroups {
        let Self { spill, level, partitions, file, .. } = self;
        LinkGroups { spill, level, partitions: partitions.into_iter(), file, inner: None }
    }

    /// Bytes of memory that notes take.
    #[cfg(test)]
    fn capacity(&self) -> usize {
        let of_block = |block: &Block| size_of::<Block>() + block.bytes.capacity();
        let of = |partition: &Partition| {
            size_of::<Partition>()
                + partition.blocks.iter().map(of_block).sum::<usize>()
                + (partition.blocks.capacity() - partition.blocks.len()) * size_of::<Block>()
        };
        self.partitions.iter().map(of).sum()
    }
}

/// A new file; what a dead run with this id left goes.
fn open(spill: &Spill) -> io::Result<SpillFile> {
    let name = format!("{}.notes", spill.prefix);
    spill.directory.remove(&name)?;
    let writer = BufWriter::with_capacity(1 << 20, spill.directory.create(&name)?);
    let reader = spill.directory.open(&name)?;
    Ok(SpillFile { name, writer, reader, end: 0 })
}

/// A table whose groups are taken.
#[derive(Debug)]
pub struct LinkGroups {
    spill: Spill,
    level: u32,
    partitions: std::vec::IntoIter<Partition>,
    file: Option<SpillFile>,
    /// A partition that was too large, parted again.
    inner: Option<Box<LinkGroups>>,
}

impl LinkGroups {
    /// About as many groups as may be in memory; none when all were taken.
    pub fn take(&mut self) -> Result<Vec<LinkGroup>, Error> {
        let (mut groups, mut bytes) = (Vec::new(), 0);
        // Names that are no longer bytes take two to three times the memory.
        let bytes_max = self.spill.bytes_max / 4;
        while groups.is_empty() || bytes < bytes_max {
            if let Some(inner) = &mut self.inner {
                let taken = inner.take()?;
                if !taken.is_empty() {
                    return Ok(taken);
                }
                self.inner = None;
            }
            let Some(partition) = self.partitions.next() else {
                self.close();
                break;
            };
            if partition.bytes > bytes_max && self.level + 1 < LEVELS {
                self.inner = Some(Box::new(self.part(&partition)?));
                if groups.is_empty() { continue } else { break }
            }
            bytes += partition.bytes;
            let mut notes = Vec::new();
            self.read(&partition, |more| {
                notes.extend(more);
                Ok(())
            })?;
            groups.extend(groups_of(notes));
        }
        Ok(groups)
    }

    /// The notes whose groups were not taken.
    pub fn for_each_piece<'t>(&'t self, see: &mut dyn FnMut(LinkPiece<'t>)) {
        if let Some(inner) = &self.inner {
            inner.for_each_piece(see);
        }
        pieces(self.partitions.as_slice(), self.file.as_ref(), see);
    }

    /// Names whose fate is not settled, as nobody took their group.
    pub fn abandon(mut self, mut count: impl FnMut(Kind, u64)) -> Result<(), Error> {
        if let Some(inner) = self.inner.take() {
            inner.abandon(&mut count as &mut dyn FnMut(Kind, u64))?;
        }
        while let Some(partition) = self.partitions.next() {
            self.read(&partition, |notes| {
                for note in notes.iter().filter(|note| matches!(note, LinkNote::Name { .. })) {
                    count(note.about().1, 1);
                }
                Ok(())
            })?;
        }
        self.close();
        Ok(())
    }

    fn part(&self, partition: &Partition) -> Result<LinkGroups, Error> {
        let prefix = format!("{}-{}", self.spill.prefix, self.partitions.len());
        let mut table = LinkTable::at_level(Spill { prefix, ..self.spill.clone() }, self.level + 1);
        self.read(partition, |notes| notes.iter().try_for_each(|note| table.push(note)))?;
        Ok(table.into_groups())
    }

    /// All notes of a partition, block by block.
    fn read(
        &self,
        partition: &Partition,
        mut take: impl FnMut(Vec<LinkNote>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for extent in &partition.extents {
            let Some(file) = &self.file else { return Err(lost(&self.spill.prefix, "it was never written")) };
            let mut bytes = vec![0; extent.bytes];
            file.reader
                .read_exact_at(&mut bytes, extent.offset)
                .map_err(|error| lost(&file.name, &error.to_string()))?;
            take(decode(&bytes, extent.notes, &file.name)?)?;
        }
        partition.blocks.iter().try_for_each(|block| take(decode(&block.bytes, block.notes, "memory")?))
    }

    fn close(&mut self) {
        if let Some(file) = self.file.take() {
            // It would only take up space.
            let _ = self.spill.directory.remove(&file.name);
        }
    }
}

fn decode(bytes: &[u8], notes: u32, name: &str) -> Result<Vec<LinkNote>, Error> {
    match wire::decode_notes(bytes) {
        Ok(decoded) if decoded.len() == notes as usize => Ok(decoded),
        Ok(_) => Err(lost(name, "it holds another number of notes")),
        Err(garbage) => Err(lost(name, &garbage.to_string())),
    }
}

fn lost(name: &str, why: &str) -> Error {
    Error::Fatal(format!(
        "hard links spilled to {name} in the run directory are lost: {why}; run the same command again"
    ))
}

/// Puts the notes of each inode together.
fn groups_of(mut notes: Vec<LinkNote>) -> Vec<LinkGroup> {
    notes.sort_by_key(LinkNote::about);
    let mut groups: Vec<LinkGroup> = Vec::new();
    for note in notes {
        let (key, kind) = note.about();
        match groups.last_mut() {
            Some(group) if (group.key, group.kind) == (key, kind) => add(group, note),
            _ => {
                let (members, claims) = (Vec::new(), Vec::new());
                let turn = Default::default();
                let mut group = LinkGroup { key, kind, links: 0, members, claims, turn, leader: None, tries: 0 };
                add(&mut group, note);
                groups.push(group);
            }
        }
    }
    groups.into_iter().flat_map(|group| cut(group, GROUP_BYTES_MAX)).collect()
}

fn add(group: &mut LinkGroup, note: LinkNote) {
    match note {
        LinkNote::Name { links, path, turn, .. } => {
            group.links = group.links.max(links);
            group.turn = group.turn.max(turn);
            group.members.push(path);
        }
        LinkNote::Claim { claim, .. } => group.claims.push(claim),
        LinkNote::Part { .. } => group.turn = crate::tree::item::Turn::Parts,
        LinkNote::Led { path, .. } => group.leader = Some(path),
    }
}

/// Cuts a group that no message could hold; always in the same places.
fn cut(mut group: LinkGroup, bytes_max: usize) -> Vec<LinkGroup> {
    let bytes = |path: &TreePath| size_of::<TreePath>() + path.as_bytes().len();
    if group.members.iter().map(bytes).sum::<usize>() <= bytes_max {
        return vec![group];
    }
    group.members.sort();
    let (members, claims) = (std::mem::take(&mut group.members), std::mem::take(&mut group.claims));
    let mut pieces: Vec<LinkGroup> = Vec::new();
    let mut left = 0;
    for path in members {
        match pieces.last_mut() {
            Some(piece) if bytes(&path) <= left => {
                left -= bytes(&path);
                piece.members.push(path);
            }
            _ => {
                left = bytes_max.saturating_sub(bytes(&path));
                let claims = if pieces.is_empty() { claims.clone() } else { taken(&group.key, group.kind) };
                pieces.push(LinkGroup { members: vec![path], claims, ..group.clone() });
            }
        }
    }
    pieces
}

/// Of the names of one target inode that are to part, only one of the first piece may keep it.
fn taken(key: &LinkKey, kind: Kind) -> Vec<Claim> {
    if key.side == Side::Target { vec![Claim { names: 0, key: *key, kind }] } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use super::*;
    use crate::fs::operator::RunDirectory;
    use crate::tree::item::Turn;
    use crate::tree::{Identity, Time};
    use proptest::prelude::*;

    fn key(inode: u64) -> LinkKey {
        let birth = Some(Time { seconds: 1_700_000_000, nanoseconds: 987_654_321 });
        LinkKey { side: Side::Source, mount: 0, inode: Identity { inode, birth } }
    }

    fn note(inode: u64, path: &str) -> LinkNote {
        let path = TreePath::from(path.as_bytes());
        LinkNote::Name { key: key(inode), kind: Kind::File, links: 3, path, turn: Turn::First }
    }

    fn table(bytes_max: usize) -> (tempfile::TempDir, LinkTable) {
        let state = tempfile::tempdir().unwrap();
        let directory = RunDirectory::new(state.path(), "run");
        directory.make().unwrap();
        (state, LinkTable::new(Spill { directory, prefix: "links-0".to_owned(), bytes_max }))
    }

    fn all(table: LinkTable) -> Vec<LinkGroup> {
        let mut groups = table.into_groups();
        let mut all = Vec::new();
        loop {
            let taken = groups.take().unwrap();
            if taken.is_empty() {
                break;
            }
            all.extend(taken);
        }
        all.iter_mut().for_each(|group| group.members.sort());
        all.sort_by_key(|group| group.key);
        all
    }

    fn left(state: &tempfile::TempDir) -> usize {
        std::fs::read_dir(state.path().join("run")).unwrap().count()
    }

    proptest! {
        #[test]
        fn spilled_and_kept_come_back_alike(inodes in proptest::collection::vec(0u64..50, 0..400), bytes_max in 100usize..4_000) {
            let (state, mut spilling) = table(bytes_max);
            let (_state, mut keeping) = table(1 << 30);
            for (index, &inode) in inodes.iter().enumerate() {
                spilling.push(&note(inode, &format!("d/{index}"))).unwrap();
                keeping.push(&note(inode, &format!("d/{index}"))).unwrap();
            }
            prop_assert!(inodes.len() * 20 < bytes_max || spilling.spilled() > 0);
            prop_assert_eq!(keeping.spilled(), 0);
            let (spilled, kept) = (all(spilling), all(keeping));
            prop_assert_eq!(kept.iter().map(|group| group.members.len()).sum::<usize>(), inodes.len());
            prop_assert!(kept.windows(2).all(|two| two[0].key < two[1].key), "a group was torn");
            prop_assert_eq!(spilled, kept);
            prop_assert_eq!(left(&state), 0, "a file is left");
        }

        #[test]
        fn a_stop_counts_every_name(names in 0u64..300, taken in 0usize..5, bytes_max in 100usize..4_000) {
            let (state, mut table) = table(bytes_max);
            for name in 0..names {
                table.push(&note(name / 3, &format!("{name}"))).unwrap();
            }
            let mut groups = table.into_groups();
            let mut counted = 0;
            for _ in 0..taken {
                counted += groups.take().unwrap().iter().map(|group| group.members.len() as u64).sum::<u64>();
            }
            groups.abandon(|_, names| counted += names).unwrap();
            prop_assert_eq!(counted, names);
            prop_assert_eq!(left(&state), 0, "a file is left");
        }

        #[test]
        fn a_group_is_cut_into_pieces_that_hold_all_its_names(names in 1usize..200, bytes_max in 30usize..900) {
            let members: Vec<_> = (0..names).map(|n| TreePath::from(format!("{n:05}").as_bytes())).collect();
            let group = LinkGroup { key: key(1), kind: Kind::File, links: 1, members, claims: Vec::new(), turn: Turn::First, leader: None, tries: 0 };
            let pieces = cut(group.clone(), bytes_max);
            let joined: Vec<_> = pieces.iter().flat_map(|piece| piece.members.clone()).collect();
            prop_assert_eq!(joined, group.members);
            let size = |piece: &LinkGroup| piece.members.len() * (size_of::<TreePath>() + 5);
            prop_assert!(pieces.iter().all(|piece| piece.members.len() == 1 || size(piece) <= bytes_max));
        }
    }

    #[test]
    fn a_note_takes_64_bytes_and_its_path_at_most() {
        let (_state, mut table) = table(1 << 30);
        let (mut names, mut paths) = (0u64, 0);
        for inode in 0.. {
            for _ in 0..2 + inode % 9 {
                let path = format!("project/{:03}/{names:07}", names % 1_000);
                paths += path.len();
                table.push(&note(inode, &path)).unwrap();
                names += 1;
            }
            if names >= 1_000_000 {
                break;
            }
        }
        let bytes = table.capacity() - paths;
        assert!(bytes as u64 <= 64 * names, "{} bytes a name beside its path", bytes as u64 / names);
        println!("{:.1} bytes a name beside its path", bytes as f64 / names as f64);
        assert_eq!(all(table).iter().map(|group| group.members.len() as u64).sum::<u64>(), names);
    }

    #[test]
    fn no_more_than_the_bound_is_in_memory() {
        let (_state, mut table) = table(100_000);
        for name in 0..20_000 {
            table.push(&note(name / 5, &format!("some/where/{name}"))).unwrap();
            assert!(table.bytes <= 100_000);
        }
        let mut groups = table.into_groups();
        let mut most = 0;
        loop {
            let taken = groups.take().unwrap();
            if taken.is_empty() {
                break;
            }
            most = most.max(taken.iter().map(|group| group.members.len()).sum::<usize>());
        }
        assert!(most < 1_500, "{most} names at a time");
    }

    #[test]
    fn what_was_said_later_of_a_group_holds() {
        let (_state, mut table) = table(1 << 20);
        table.push(&LinkNote::Part { key: key(1), kind: Kind::File }).unwrap();
        table.push(&note(1, "a")).unwrap();
        assert_eq!(all(table)[0].turn, Turn::Parts);
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        let (state, mut table) = table(500);
        for name in 0..100 {
            table.push(&note(name, "some/where")).unwrap();
        }
        std::fs::write(state.path().join("run/links-0.notes"), [0xff; 300]).unwrap();
        let mut groups = table.into_groups();
        let error = std::iter::repeat_with(|| groups.take()).find_map(Result::err);
        assert!(matches!(error, Some(Error::Fatal(text)) if text.contains("run the same command again")));
    }
}
