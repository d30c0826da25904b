//! The format of checkpoint files: a header, then frames with length and checksum; the last one says that the file
//! is whole. What is read is bounded and checked, never believed.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};

use bincode::{Decode, Encode};

use super::Piece;
use crate::fault::Error;
use crate::fs::operator::RunDirectory;
use crate::sched::{Cut, Rank};
use crate::wire;

const MAGIC: [u8; 8] = *b"PMIRCKPT";
/// Of the format. A checkpoint of another version is refused.
const VERSION: u32 = 2;

/// What a file begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Header {
    magic: [u8; 8],
    version: u32,
    /// Of the archive.
    number: u64,
    cut: Cut,
    rank: Rank,
}

/// Bytes of an encoded header: integers have their full width.
const HEADER_BYTES: usize = 8 + 4 + 8 + 4 + 4;

impl Header {
    /// The header of a rank's file in a checkpoint.
    pub fn new(number: u64, cut: Cut, rank: Rank) -> Self {
        Self { magic: MAGIC, version: VERSION, number, cut, rank }
    }
}

/// Writes a file.
#[derive(Debug)]
pub struct PartWriter {
    file: BufWriter<File>,
    frames: u64,
}

impl PartWriter {
    /// Begins a file; what another attempt left under the name goes.
    pub fn create(directory: &RunDirectory, name: &str, header: Header) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 20, directory.create_part(name)?);
        file.write_all(&wire::encode(&header))?;
        Ok(Self { file, frames: 0 })
    }

    /// Adds an encoded frame.
    pub fn add(&mut self, frame: &[u8]) -> io::Result<()> {
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(&xxhash_rust::xxh3::xxh3_64(frame).to_le_bytes())?;
        self.file.write_all(frame)?;
        self.frames += 1;
        Ok(())
    }

    /// The file is whole: makes it durable.
    pub fn seal(mut self) -> io::Result<()> {
        let frames = self.frames;
        self.add(&wire::encode(&Piece::End { frames }))?;
        self.file.flush()?;
        self.file.get_ref().sync_all()
    }
}

/// Reads a file.
#[derive(Debug)]
pub struct PartReader<R = BufReader<File>> {
    name: String,
    file: R,
    frames: u64,
}

impl PartReader {
    /// Opens a file that begins with this header.
    pub fn open(directory: &RunDirectory, name: &str, header: Header) -> Result<Self, Error> {
        let (reader, found) = Self::open_any(directory, name)?;
        if found != header {
            return Err(garbage(name, "it belongs to another checkpoint"));
        }
        Ok(reader)
    }

    /// Opens a file of this format, and tells its header.
    pub fn open_any(directory: &RunDirectory, name: &str) -> Result<(Self, Header), Error> {
        let file = directory.open(name).map_err(|error| garbage(name, &error.to_string()))?;
        Self::begin(name, BufReader::with_capacity(1 << 20, file))
    }
}

impl<R: Read> PartReader<R> {
    /// Reads the header of a file of this format.
    pub fn begin(name: &str, mut file: R) -> Result<(Self, Header), Error> {
        let mut header = [0; HEADER_BYTES];
        file.read_exact(&mut header).map_err(|_| garbage(name, "it is cut short"))?;
        let header: Header = wire::decode("header", &header).map_err(|why| garbage(name, &why.to_string()))?;
        if header.magic != MAGIC {
            return Err(garbage(name, "it is no checkpoint"));
        }
        if header.version != VERSION {
            return Err(garbage(name, "another version of pmirror wrote it"));
        }
        Ok((Self { name: name.to_owned(), file, frames: 0 }, header))
    }

    /// The next frame; `None` after the last.
    pub fn next(&mut self) -> Result<Option<Piece>, Error> {
        let bytes = self.frame()?;
        let piece: Piece =
            wire::decode("frame of a checkpoint", &bytes).map_err(|why| garbage(&self.name, &why.to_string()))?;
        if let Piece::End { frames } = piece {
            let is_whole = frames == self.frames && self.is_at_end();
            return if is_whole { Ok(None) } else { Err(garbage(&self.name, "it is not whole")) };
        }
        self.frames += 1;
        if super::load::is_sound(&piece) { Ok(Some(piece)) } else { Err(garbage(&self.name, "names that are none")) }
    }

    /// The bytes of the next frame.
    pub fn frame(&mut self) -> Result<Vec<u8>, Error> {
        let cut_short = |name: &str| garbage(name, "it is cut short");
        let (mut length, mut checksum) = ([0; 4], [0; 8]);
        self.file.read_exact(&mut length).map_err(|_| cut_short(&self.name))?;
        self.file.read_exact(&mut checksum).map_err(|_| cut_short(&self.name))?;
        let length = u32::from_le_bytes(length) as usize;
        if length > wire::MESSAGE_BYTES_MAX {
            return Err(garbage(&self.name, "a frame is too long"));
        }
        // Not believed: as much is taken as there is.
        let mut bytes = Vec::new();
        let got = (&mut self.file).take(length as u64).read_to_end(&mut bytes);
        if got.ok() != Some(length) {
            return Err(cut_short(&self.name));
        }
        if xxhash_rust::xxh3::xxh3_64(&bytes) != u64::from_le_bytes(checksum) {
            return Err(garbage(&self.name, "a checksum is wrong"));
        }
        Ok(bytes)
    }

    /// Nothing follows but the end, after so many frames.
    pub fn must_end(&mut self, frames: u64) -> Result<(), Error> {
        self.frames = frames;
        match self.next()? {
            None => Ok(()),
            Some(_) => Err(garbage(&self.name, "it is not whole")),
        }
    }

    fn is_at_end(&mut self) -> bool {
        self.file.read(&mut [0]).is_ok_and(|got| got == 0)
    }
}

/// A checkpoint that can not be used.
pub fn garbage(name: &str, why: &str) -> Error {
    Error::Usage(format!(
        "the checkpoint can not be used: checkpoint/{name}: {why}. Nothing is lost: run the first command again, with \
         another --run-id"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use super::super::Table;
    use super::*;
    use crate::tree::{DirectoryItem, Identity, Item, Parked, TreePath};

    fn header() -> Header {
        Header::new(7, Cut(3), Rank(1))
    }

    fn item(path: &[u8]) -> Item {
        let source = Identity { inode: 5, birth: None };
        Item::Directory(DirectoryItem {
            path: TreePath::from(path),
            source,
            target: None,
            mount: 0,
            made: true,
            parked: Parked::NEVER,
        })
    }

    fn pieces() -> Vec<Piece> {
        vec![Piece::Items(Table::Bag, vec![item(b"a/b")]), Piece::Counters(vec![1, 2, 3])]
    }

    fn written() -> (tempfile::TempDir, RunDirectory) {
        let state = tempfile::tempdir().unwrap();
        let directory = RunDirectory::new(state.path(), "run");
        directory.make().unwrap();
        let mut writer = PartWriter::create(&directory, "part", header()).unwrap();
        for piece in pieces() {
            writer.add(&wire::encode(&piece)).unwrap();
        }
        writer.seal().unwrap();
        (state, directory)
    }

    fn read(directory: &RunDirectory) -> Result<Vec<Piece>, Error> {
        let mut reader = PartReader::open(directory, "part", header())?;
        let mut pieces = Vec::new();
        while let Some(piece) = reader.next()? {
            pieces.push(piece);
        }
        Ok(pieces)
    }

    #[test]
    fn what_was_written_comes_back() {
        let (_state, directory) = written();
        assert_eq!(read(&directory), Ok(pieces()));
    }

    #[test]
    fn a_part_of_another_checkpoint_is_refused() {
        let (_state, directory) = written();
        let other = Header::new(7, Cut(4), Rank(1));
        assert!(PartReader::open(&directory, "part", other).unwrap_err().to_string().contains("another checkpoint"));
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_seen() {
        let (state, directory) = written();
        let path = state.path().join("run/part");
        let whole = std::fs::read(&path).unwrap();
        for end in 0..whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            assert!(read(&directory).is_err(), "cut at {end}");
        }
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &bytes).unwrap();
            assert!(read(&directory).is_err(), "bit {bit}");
        }
        std::fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
        assert!(read(&directory).is_err(), "more than there should be");
    }

    #[test]
    fn a_name_that_leaves_the_tree_is_garbage() {
        let (_state, directory) = written();
        let mut writer = PartWriter::create(&directory, "part", header()).unwrap();
        writer.add(&wire::encode(&Piece::Items(Table::Bag, vec![item(b"../a")]))).unwrap();
        writer.seal().unwrap();
        assert!(read(&directory).is_err());
    }
}
