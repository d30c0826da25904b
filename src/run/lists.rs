//! Lists that each rank wrote a part of, made one in the run directory.

use std::io::{self, BufReader, Read, Write};

use super::crew::Crew;
use crate::engine::{difference_part_name, remark_part_name};
use crate::fault::Error;
use crate::fs::operator::RunDirectory;
use crate::report;
use crate::report::differences::{self, Manner};
use crate::report::remarks;
use crate::sched::Rank;
use crate::tree::remark::What;

/// A list up to this size is sorted by path, so that it does not tell how the work was shared.
const SORTED_BYTES_MAX: u64 = 16 << 20;

/// Joins the parts, in their order, under one name. Without any part there is no list.
pub fn join(directory: &RunDirectory, parts: impl Iterator<Item = String>, name: &str) -> io::Result<()> {
    let mut list = None;
    let mut buffer = vec![0; 1 << 20];
    for part_name in parts {
        let mut part = match directory.open(&part_name) {
            Ok(part) => part,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let list = match &mut list {
            Some(list) => list,
            None => list.insert(directory.create(name)?),
        };
        loop {
            match part.read(&mut buffer)? {
                0 => break,
                got => list.write_all(buffer.get(..got).unwrap_or_default())?,
            }
        }
        directory.remove(&part_name)?;
    }
    list.map_or(Ok(()), |list| list.sync_all())
}

/// Makes one list of the ranks' differences, in the order of the paths unless it is very long.
pub fn join_differences(crew: &Crew<'_>, directory: &RunDirectory, name: &str) -> Result<(), Error> {
    // One more than the ranks: the root's.
    let ranks = u32::try_from(crew.roster.hosts.len()).unwrap_or(u32::MAX - 1);
    let parts = (0..=ranks).map(Rank).map(difference_part_name);
    join(directory, parts, name).and_then(|()| sort(directory, name)).map_err(|error| unusable(name, &error))
}

const NOTES: &str = "notes.jsonl";

/// Paths that the summary names; all are in the list.
const PATHS_MAX: usize = 10;

/// Makes one list of the ranks' remarks, if the source is frozen. Returns some of the paths that were
/// written to all the same.
pub fn join_remarks(crew: &Crew<'_>, directory: &RunDirectory, frozen: bool) -> Result<Vec<String>, Error> {
    if !frozen {
        return Ok(Vec::new());
    }
    // One more than the ranks: the root's.
    let ranks = u32::try_from(crew.roster.hosts.len()).unwrap_or(u32::MAX - 1);
    let parts = (0..=ranks).map(Rank).map(remark_part_name);
    join(directory, parts, NOTES).and_then(|()| first_written_to(directory)).map_err(|error| unusable(NOTES, &error))
}

fn first_written_to(directory: &RunDirectory) -> io::Result<Vec<String>> {
    match directory.open(NOTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        list => remarks::first(BufReader::new(list?), What::CtimeAfterStart, PATHS_MAX),
    }
}

fn unusable(name: &str, error: &io::Error) -> Error {
    Error::Fatal(format!("the list {name} can not be kept: {error}"))
}

fn sort(directory: &RunDirectory, name: &str) -> io::Result<()> {
    let list = match directory.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        list => list?,
    };
    let mut text = String::new();
    if list.metadata()?.len() > SORTED_BYTES_MAX {
        return Ok(());
    }
    BufReader::new(list).read_to_string(&mut text)?;
    directory.write(name, differences::sorted(&text)?.as_bytes())
}

/// Prints a list of differences to stdout: it is the result.
pub fn print_differences(directory: &RunDirectory, name: &str, manner: Manner, lines_max: u64) {
    let printed = match directory.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        list => list.and_then(|list| differences::print(BufReader::new(list), manner, lines_max)),
    };
    if let Err(error) = printed {
        report::say(&unusable(name, &error).to_string());
    }
}
