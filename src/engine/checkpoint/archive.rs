//! Where the checkpoints of a run are kept, and what their files are called.

use std::io;

use crate::fault::Error;
use crate::fs::operator::RunDirectory;
use crate::sched::{Cut, Rank};

const DIRECTORY: &str = "checkpoint";
/// The file that puts a checkpoint in force.
pub const MANIFEST: &str = "manifest";
/// How far the run was when it was taken: for scripts.
pub const HEADWAY: &str = "headway";
/// Files of the directory that are looked at: spilled tables of thousands of ranks.
const NAMES_MAX: usize = 10_000_000;

/// The directory of a run's checkpoints, and what tells its files from another run's.
#[derive(Debug, Clone)]
pub struct Archive {
    /// The directory.
    pub directory: RunDirectory,
    /// A random number of the run, in every file.
    pub number: u64,
}

impl Archive {
    /// The archive of a run.
    pub fn new(run: &RunDirectory, number: u64) -> Self {
        Self { directory: run.below(DIRECTORY), number }
    }

    /// Makes its directory.
    pub fn make(&self) -> Result<(), Error> {
        self.directory.make_only().map_err(|error| unusable(&error))
    }

    /// The name of a rank's part.
    pub fn part_name(cut: Cut, rank: Rank) -> String {
        format!("{}part", prefix(cut, rank))
    }

    /// The name of a file that a rank's part refers to; `name` is its name in the run directory.
    pub fn file_name(cut: Cut, rank: Rank, name: &str) -> String {
        format!("{}{name}", prefix(cut, rank))
    }

    /// Removes what belongs to other checkpoints than the one in force: they are over, or were given up. Those that
    /// are being taken have higher numbers.
    pub fn clear_before(&self, in_force: Cut) -> io::Result<()> {
        self.clear_if(|cut| cut < in_force)
    }

    /// Removes what belongs to any checkpoint but this one.
    pub fn clear_but(&self, in_force: Cut) -> io::Result<()> {
        self.clear_if(|cut| cut != in_force)
    }

    fn clear_if(&self, is_old: impl Fn(Cut) -> bool) -> io::Result<()> {
        for name in self.directory.names(NAMES_MAX)? {
            let name = name.to_string_lossy();
            if cut_of(&name).is_some_and(&is_old) {
                self.directory.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Removes all checkpoints. The manifest goes first: without it the rest is nothing.
    pub fn clear(&self) -> io::Result<()> {
        self.directory.remove(MANIFEST)?;
        self.directory.remove(HEADWAY)?;
        self.clear_if(|_| true)
    }

    /// Removes all of it: the run is over.
    pub fn remove(&self) -> io::Result<()> {
        self.clear()?;
        self.directory.remove_only();
        Ok(())
    }
}

/// An error of the checkpoints' directory.
pub fn unusable(error: &io::Error) -> Error {
    Error::of_state("the checkpoint can not be written to the run directory", error)
}

fn prefix(cut: Cut, rank: Rank) -> String {
    format!("{:08}-{:06}-", cut.0, rank.0)
}

fn cut_of(name: &str) -> Option<Cut> {
    let (cut, rest) = name.split_once('-')?;
    (cut.len() == 8 && rest.contains('-')).then(|| cut.parse().ok().map(Cut)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_checkpoint() {
        assert_eq!(cut_of(&Archive::part_name(Cut(7), Rank(3))), Some(Cut(7)));
        assert_eq!(cut_of(&Archive::file_name(Cut(12), Rank(0), "bag-0-1.items")), Some(Cut(12)));
        for other in [MANIFEST, HEADWAY, "manifest.new", "0000000x-1-part", "12-1-part", ""] {
            assert_eq!(cut_of(other), None, "{other}");
        }
    }
}
