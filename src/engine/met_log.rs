//! The directories that a rank met, in a file of the run directory: a record is built of those of all ranks when the
//! run is over. They need not be durable: what is missing costs a copy of what could have been renamed.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use super::lists::Author;
use crate::fs::met::framed;
use crate::fs::operator::RunDirectory;
use crate::tree::Met;

/// One rank's part.
#[derive(Debug)]
pub struct MetLog {
    directory: RunDirectory,
    name: String,
    file: Option<BufWriter<File>>,
}

const PREFIX: &str = "directories-";
const ENDING: &str = ".part";

/// The attempt and the rank that wrote a part; `None` for any other file.
pub fn author_of_met(name: &str) -> Option<(u32, u32)> {
    let (attempt, rank) = name.strip_prefix(PREFIX)?.strip_suffix(ENDING)?.split_once('-')?;
    Some((attempt.parse().ok()?, rank.parse().ok()?))
}

impl MetLog {
    /// Nothing yet; the file is made with the first directory.
    pub fn new(directory: RunDirectory, author: Author) -> Self {
        let name = format!("{PREFIX}{}-{}{ENDING}", author.attempt, author.rank.0);
        Self { directory, name, file: None }
    }

    /// Adds a directory.
    pub fn add(&mut self, met: &Met) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::with_capacity(64 << 10, self.directory.create_part(&self.name)?)),
        };
        file.write_all(&framed(met))
    }

    /// Writes what is buffered.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::Rank;

    #[test]
    fn the_name_of_a_part_tells_who_wrote_it() {
        let state = tempfile::tempdir().unwrap();
        let log = MetLog::new(RunDirectory::new(state.path(), "run"), Author { attempt: 2, rank: Rank(17) });
        assert_eq!(author_of_met(&log.name), Some((2, 17)));
        for other in ["directories-2-17", "directories-x-1.part", "faults-1-2.jsonl", "directories.scratch"] {
            assert_eq!(author_of_met(other), None, "{other}");
        }
    }
}
