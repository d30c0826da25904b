//! What a rank lists in files of the run directory: faults, differences, remarks. Rank 0 joins the parts of all
//! ranks when the run ends.

use std::fs::File;
use std::io;

use super::difference_log::{DifferenceLog, ListSettings};
use super::fault_log::{FaultGroup, FaultLog};
use super::met_log::MetLog;
use super::part_file::PartFile;
use super::remark_log::RemarkLog;
use crate::fault::Error;
use crate::fs::operator::RunDirectory;
use crate::pass::Effects;
use crate::sched::Rank;

/// A list that ranks write parts of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// What went wrong.
    Faults,
    /// Where the trees differ, or what was changed.
    Differences,
    /// What a person should know.
    Remarks,
}

/// Who writes a part: a rank in an attempt, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Author {
    /// The attempt of the run.
    pub attempt: u32,
    /// The rank in it.
    pub rank: Rank,
}

impl List {
    /// All lists.
    pub const ALL: [List; 3] = [List::Faults, List::Differences, List::Remarks];

    /// The file of one author's part.
    pub fn part_name(self, author: Author) -> String {
        format!("{}{}-{}.jsonl", self.part_prefix(), author.attempt, author.rank.0)
    }

    /// The attempt that wrote a part of any list; `None` for any other file.
    pub fn attempt_of(name: &str) -> Option<u32> {
        let rest = List::ALL.iter().find_map(|list| name.strip_prefix(list.part_prefix()))?;
        let (attempt, rank) = rest.strip_suffix(".jsonl")?.split_once('-')?;
        rank.parse::<u32>().ok().and(attempt.parse().ok())
    }

    /// What the names of its parts begin with.
    pub fn part_prefix(self) -> &'static str {
        match self {
            List::Faults => "faults-",
            List::Differences => "differences-",
            List::Remarks => "notes-",
        }
    }
}

/// How much of a part there is.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Extent {
    /// The file.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
}

/// The lists of a rank.
#[derive(Debug)]
pub struct Lists {
    faults: FaultLog,
    differences: DifferenceLog,
    remarks: RemarkLog,
    met: MetLog,
}

impl Lists {
    /// Nothing is listed yet; files are made with their first line.
    pub fn new(directory: &RunDirectory, author: Author, host: String, settings: ListSettings) -> Self {
        Self {
            faults: FaultLog::new(directory.clone(), author, host),
            differences: DifferenceLog::new(directory.clone(), author, settings),
            remarks: RemarkLog::new(directory.clone(), author),
            met: MetLog::new(directory.clone(), author),
        }
    }

    /// Whether there is anything to list.
    pub fn concern(effects: &Effects) -> bool {
        let Effects { faults, differences, remarks, met, .. } = effects;
        !(faults.is_empty() && differences.is_empty() && remarks.is_empty() && met.is_empty())
    }

    /// Lists what came of an item. Returns the causes of its faults.
    pub fn add(&mut self, effects: &Effects) -> Result<Vec<FaultGroup>, Error> {
        let mut causes = Vec::new();
        for fault in &effects.faults {
            causes.push(self.faults.add(fault)?);
        }
        // Whoever looks at a run that still goes, or died, finds them.
        if !effects.faults.is_empty() {
            self.faults.part().flush().map_err(|error| broken(&error))?;
        }
        effects.differences.iter().try_for_each(|difference| self.differences.add(difference))?;
        effects.remarks.iter().try_for_each(|remark| self.remarks.add(remark))?;
        effects.met.iter().try_for_each(|met| self.met.add(met)).map_err(|error| broken(&error))?;
        Ok(causes)
    }

    fn parts(&mut self) -> [&mut PartFile; 3] {
        [self.faults.part(), self.differences.part(), self.remarks.part()]
    }

    /// How much of each there is, written or not.
    pub fn extents(&mut self) -> Vec<Extent> {
        self.parts().into_iter().filter_map(|part| part.extent()).collect()
    }

    /// Writes what is buffered. Returns the files, to be made durable.
    pub fn files(&mut self) -> Result<Vec<File>, Error> {
        self.close()?;
        let files = self.parts().into_iter().filter_map(|part| part.file().transpose());
        files.collect::<io::Result<_>>().map_err(|error| broken(&error))
    }

    /// Makes what was listed durable.
    pub fn sync(&mut self) -> Result<(), Error> {
        self.files()?.iter().try_for_each(File::sync_all).map_err(|error| broken(&error))
    }

    /// Writes what is buffered.
    pub fn close(&mut self) -> Result<(), Error> {
        let flushed = self.parts().into_iter().try_for_each(PartFile::flush);
        flushed.and_then(|()| self.met.flush()).map_err(|error| broken(&error))
    }
}

fn broken(error: &io::Error) -> Error {
    Error::of_state("the lists in the run directory can not be written", error)
}
