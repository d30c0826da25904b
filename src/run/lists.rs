//! Lists that each rank wrote a part of, made one in the run directory.

use std::io::{self, BufReader, Read, Write};

use super::Conclusion;
use super::crew::Crew;
use crate::engine::{Author, Extent, FaultGroup, List, Lists};
use crate::fault::Error;
use crate::fs::operator::RunDirectory;
use crate::pass::Effects;
use crate::report::differences::{self, Manner};
use crate::report::remarks;
use crate::sched::Rank;
use crate::tree::remark::What;

/// A list up to this size is sorted by path, so that it does not tell how the work was shared.
const SORTED_BYTES_MAX: u64 = 16 << 20;

/// Joins the parts of all attempts and ranks under one name. Without any part there is no list.
pub fn join(crew: &Crew<'_>, directory: &RunDirectory, list: List, name: &str) -> io::Result<()> {
    let parts = parts(crew, list);
    let _ = directory.remove(name);
    let joined = join_parts(directory, &parts, name);
    // A run that goes on later needs its parts once more.
    if crew.keeps_checkpoint() { joined } else { joined.and_then(|()| remove(directory, &parts)) }
}

/// Removes parts that were joined.
pub fn remove(directory: &RunDirectory, parts: &[Extent]) -> io::Result<()> {
    parts.iter().try_for_each(|part| directory.remove(&part.name))
}

/// Those of earlier attempts as far as they count, then those of this one, and last the root's.
fn parts(crew: &Crew<'_>, list: List) -> Vec<Extent> {
    let earlier = crew.history.listed.iter().filter(|part| part.name.starts_with(list.part_prefix())).cloned();
    let author = |rank| Author { attempt: crew.history.attempt, rank };
    let whole = |rank| Extent { name: list.part_name(author(rank)), bytes: u64::MAX };
    earlier.chain((0..=crew.ranks()).map(Rank).map(whole)).collect()
}

/// Writes the parts, one after another, under one name.
pub fn join_parts(directory: &RunDirectory, parts: &[Extent], name: &str) -> io::Result<()> {
    let mut list = None;
    let mut buffer = vec![0; 1 << 20];
    for Extent { name: part_name, bytes } in parts {
        let mut part = match directory.open(part_name) {
            Ok(part) => part.take(*bytes),
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
    }
    list.map_or(Ok(()), |list| list.sync_all())
}

/// Lists what befell the root, which is settled when the workers have ended. Returns the causes of its faults.
pub fn of_root(crew: &Crew<'_>, directory: &RunDirectory, effects: &Effects) -> Result<Vec<FaultGroup>, Error> {
    let host = crew.roster.host().to_owned();
    let mut lists = Lists::new(directory, crew.author_of_root(), host, crew.list_settings());
    let causes = lists.add(effects)?;
    lists.close()?;
    Ok(causes)
}

/// Makes one list of the ranks' differences, in the order of the paths unless it is very long.
pub fn join_differences(crew: &Crew<'_>, directory: &RunDirectory, name: &str) -> Result<(), Error> {
    join(crew, directory, List::Differences, name)
        .and_then(|()| sort(directory, name))
        .map_err(|error| unusable(name, &error))
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
    join(crew, directory, List::Remarks, NOTES)
        .and_then(|()| first_written_to(directory))
        .map_err(|error| unusable(NOTES, &error))
}

fn first_written_to(directory: &RunDirectory) -> io::Result<Vec<String>> {
    match directory.open(NOTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        list => remarks::first(BufReader::new(list?), What::CtimeAfterStart, PATHS_MAX),
    }
}

fn unusable(name: &str, error: &io::Error) -> Error {
    Error::of_state(format!("the list {name} can not be kept in the run directory"), error)
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
pub fn print_differences(
    directory: &RunDirectory,
    name: &str,
    (manner, lines_max): (Manner, u64),
    conclusion: &mut Conclusion,
) {
    let printed = match directory.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        list => list.and_then(|list| differences::print(BufReader::new(list), manner, lines_max)),
    };
    if let Err(error) = printed {
        conclusion.is_not_told(&format!("the list {name}"), &error);
    }
}
