//! A record of directories, open: sorted by the hash of what they are known by, and cut into buckets, so that a look
//! reads an index and one bucket, however many there are.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bincode::{Decode, Encode};

use super::{FRAME_HEAD_BYTES, frame, is_sound, next_frame};
use crate::fs::operator::RunDirectory;
use crate::tree::met::Origin;
use crate::tree::{Identity, Met, Time};
use crate::wire;

const MAGIC: [u8; 8] = *b"PMIRDIRS";
const VERSION: u32 = 1;

/// The place of the header, whatever its length.
pub(super) const HEADER_BYTES: usize = 256;

/// A bucket has 16 KiB, about; where paths are very long a few times that. A longer one is not read.
const BUCKET_BYTES_MAX: usize = 4 << 20;

/// More buckets than any record has.
const BITS_MAX: u32 = 32;

/// Inode and file system type of SRC, and of DST: a record of others is not used.
pub type Roots = [(Identity, u64); 2];

/// What a record begins with.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Header {
    magic: [u8; 8],
    version: u32,
    pub roots: Roots,
    /// No directory of the record was born later on the source.
    pub youngest: Time,
    /// How many it has.
    pub directories: u64,
    /// The number of buckets is this power of two.
    pub bits: u32,
    /// Where the index begins: the place of each bucket, and of their end.
    pub index: u64,
}

impl Header {
    pub fn new(roots: Roots, youngest: Time, directories: u64, (bits, index): (u32, u64)) -> Self {
        Self { magic: MAGIC, version: VERSION, roots, youngest, directories, bits, index }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = frame(&wire::encode(self));
        bytes.resize(HEADER_BYTES, 0);
        bytes
    }
}

/// The bucket of a hash.
pub(super) fn bucket_of(hash: u64, bits: u32) -> u64 {
    hash.checked_shr(64 - bits.min(64)).unwrap_or(0)
}

/// What can be read anywhere.
pub trait Bytes {
    /// Fills `into` from `at` on, as far as there is something.
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize>;
}

impl Bytes for File {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        FileExt::read_at(self, into, at)
    }
}

impl Bytes for &[u8] {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let rest = usize::try_from(at).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let got = rest.len().min(into.len());
        into.iter_mut().zip(rest).for_each(|(into, byte)| *into = *byte);
        Ok(got)
    }
}

/// A record.
#[derive(Debug)]
pub struct Record<F = File> {
    file: F,
    header: Header,
}

fn garbage(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl Record {
    /// Opens one.
    pub fn open(directory: &RunDirectory, name: &str) -> io::Result<Self> {
        Self::of(directory.open(name)?)
    }
}

impl<F: Bytes> Record<F> {
    /// Reads the header.
    pub fn of(file: F) -> io::Result<Self> {
        let bytes = read(&file, 0, HEADER_BYTES)?;
        let content = next_frame(&mut bytes.as_slice(), HEADER_BYTES).ok_or_else(|| garbage("it is damaged"))?;
        let header: Header = wire::decode("header", &content).map_err(|why| garbage(&why.to_string()))?;
        if header.magic != MAGIC || header.version != VERSION {
            return Err(garbage("it is no record of directories, or another version of pmirror wrote it"));
        }
        if header.bits > BITS_MAX {
            return Err(garbage("it is damaged"));
        }
        Ok(Self { file, header })
    }

    /// Whether it is of these two trees.
    pub fn is_of(&self, roots: &Roots) -> bool {
        self.header.roots == *roots
    }

    /// How many directories it has.
    pub fn directories(&self) -> u64 {
        self.header.directories
    }

    /// What is known of a source directory. Nothing of one that was born after all of those in the record: so a tree of
    /// new directories costs no look at all. What can not be read is not known.
    pub fn find(&self, origin: &Origin) -> Option<Met> {
        if origin.born > self.header.youngest {
            return None;
        }
        let bucket = self.bucket(bucket_of(origin.hash(), self.header.bits)).ok()?;
        bucket.into_iter().find(|met| met.origin == *origin)
    }

    /// The directories of a bucket.
    pub fn bucket(&self, number: u64) -> io::Result<Vec<Met>> {
        let at = number.checked_mul(8).and_then(|at| at.checked_add(self.header.index));
        let places = read(&self.file, at.ok_or_else(|| garbage("it is damaged"))?, 16)?;
        let place = |bytes: Option<&[u8]>| bytes.and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        let (Some(start), Some(end)) = (place(places.get(..8)), place(places.get(8..))) else {
            return Err(garbage("it is cut short"));
        };
        let length = end.checked_sub(start).and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|&length| length <= BUCKET_BYTES_MAX).ok_or_else(|| garbage("it is damaged"))?;
        if length <= FRAME_HEAD_BYTES {
            return Ok(Vec::new());
        }
        let bytes = read(&self.file, start, length)?;
        let content = next_frame(&mut bytes.as_slice(), length).ok_or_else(|| garbage("a checksum is wrong"))?;
        let bucket: Vec<Met> = wire::decode("bucket", &content).map_err(|why| garbage(&why.to_string()))?;
        if bucket.iter().all(is_sound) { Ok(bucket) } else { Err(garbage("a path that is none")) }
    }
}

/// So many bytes from a place on, or fewer at the end.
fn read(file: &impl Bytes, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut got = 0;
    while let Some(rest) = bytes.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at.saturating_add(got as u64)) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(got);
    Ok(bytes)
}
