//! What puts a checkpoint in force.

use std::io::Read;

use bincode::{Decode, Encode};

use super::archive::{Archive, HEADWAY, MANIFEST, unusable};
use super::part::{Header, PartReader, PartWriter, garbage};
use crate::engine::lists::Extent;
use crate::fault::Error;
use crate::fs::operator::RunDirectory;
use crate::headway::Headway;
use crate::sched::{Cut, Rank};
use crate::wire;

/// What all parts of a checkpoint have in common.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Manifest {
    /// Of the archive.
    pub number: u64,
    /// Which checkpoint.
    pub cut: Cut,
    /// The ranks that took part.
    pub ranks: u32,
    /// The attempt that took it, from 1.
    pub attempt: u32,
    /// What earlier attempts listed, as far as it counts.
    pub listed: Vec<Extent>,
    /// Seconds that the run took so far.
    pub seconds: f64,
    /// What was done by then, or less.
    pub headway: Headway,
    /// Where in its story the run is: the run's business.
    pub story: Vec<u8>,
}

const UNFINISHED: &str = "manifest.new";

impl Manifest {
    /// Puts the checkpoint in force, durably. Until then the one before is.
    pub fn write(&self, archive: &Archive) -> Result<(), Error> {
        let directory = &archive.directory;
        let header = Header::new(self.number, self.cut, Rank::ROOT);
        PartWriter::create(directory, UNFINISHED, header)
            .and_then(|mut writer| {
                writer.add(&wire::encode(self))?;
                writer.seal()
            })
            .and_then(|()| directory.put_in_place(UNFINISHED, MANIFEST))
            .map_err(|error| unusable(&error))?;
        // For scripts. After it: they hear of less than there is, never of more.
        directory.write(HEADWAY, self.headway.line().as_bytes()).map_err(|error| unusable(&error))
    }

    /// The checkpoint that is in force; `None` if there is none.
    pub fn read(run: &RunDirectory) -> Result<Option<Self>, Error> {
        let directory = Archive::new(run, 0).directory;
        match directory.open(MANIFEST) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            _ => {}
        }
        let (reader, header) = PartReader::open_any(&directory, MANIFEST)?;
        Self::of(reader, header).map(Some)
    }

    /// What a file says that begins with this header.
    pub fn of(mut reader: PartReader<impl Read>, header: Header) -> Result<Self, Error> {
        let bytes = reader.frame()?;
        let manifest: Self = wire::decode("manifest", &bytes).map_err(|why| garbage(MANIFEST, &why.to_string()))?;
        reader.must_end(1)?;
        let is_its_own = header == Header::new(manifest.number, manifest.cut, Rank::ROOT);
        if is_its_own && manifest.is_sound() { Ok(manifest) } else { Err(garbage(MANIFEST, "it is no manifest")) }
    }

    /// Whether it can be gone on from: others are counted on from its numbers.
    fn is_sound(&self) -> bool {
        let can_be = (0.0..1e12).contains(&self.seconds);
        can_be && self.ranks > 0 && self.cut.0 < u32::MAX && self.attempt < u32::MAX
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use super::*;

    #[test]
    fn a_manifest_comes_back_and_a_damaged_one_does_not() {
        let state = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(state.path(), "run");
        run.make().unwrap();
        assert_eq!(Manifest::read(&run), Ok(None));
        let archive = Archive::new(&run, 9);
        archive.make().unwrap();
        let listed = vec![Extent { name: "faults-1-0.jsonl".to_owned(), bytes: 12 }];
        let headway = Headway { steps: 7, bytes: 90, changed: 3 };
        let (number, cut, story) = (9, Cut(4), vec![1, 2]);
        let manifest = Manifest { number, cut, ranks: 3, attempt: 2, listed, seconds: 1.5, headway, story };
        manifest.write(&archive).unwrap();
        assert_eq!(Manifest::read(&run), Ok(Some(manifest)));
        let headway = std::fs::read_to_string(state.path().join("run/checkpoint/headway"));
        assert_eq!(headway.unwrap(), "7 90\n");
        let path = state.path().join("run/checkpoint/manifest");
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            std::fs::write(&path, &bytes).unwrap();
            assert!(Manifest::read(&run).is_err(), "byte {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(Manifest::read(&run).is_err(), "cut at {at}");
        }
    }
}
