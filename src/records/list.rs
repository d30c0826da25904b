//! The list of faults as it is read for people: line by line, however many there are, and whatever a run that died
//! left of its last line.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::groups::{Cause, Fault};
use crate::engine::{List, Manifest};
use crate::fs::operator::RunDirectory;
use crate::report::differences::raw;

/// The list of a run that has ended.
pub const LIST: &str = "faults.jsonl";

/// No line is longer: a path has at most some 5,000 names of 255 bytes.
const LINE_BYTES_MAX: u64 = 8 << 20;

/// Names of a run directory that are looked at: files of thousands of ranks.
const NAMES_MAX: usize = 10_000_000;

/// So much of the end of a list is looked at for its last lines.
const TAIL_BYTES: u64 = 64 << 10;

/// Of a run that still goes so many lists are looked at for the last faults: those written to last.
const TAILS_MAX: usize = 4;

/// A line, as far as it is told.
#[derive(Debug, Deserialize)]
struct Line {
    path: String,
    path_b64: Option<String>,
    outcome: String,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    errno: String,
    #[serde(default)]
    side: String,
    #[serde(default)]
    note: String,
    owner: Option<u32>,
}

impl From<Line> for Fault {
    fn from(line: Line) -> Self {
        let path = raw(&line.path, line.path_b64.as_ref());
        let Line { outcome, mut operation, errno, side, note, owner, .. } = line;
        // Which of both is called depends on the kernel alone.
        if operation == "openat2" {
            operation.truncate("openat".len());
        }
        Self { cause: Cause { outcome, errno, operation, side, note }, path, owner }
    }
}

/// Hands out what a list holds. Returns how many lines of it can not be read.
pub fn for_each(list: impl BufRead, visit: &mut impl FnMut(&Fault)) -> io::Result<u64> {
    for_each_line(list, &mut |line: Line| visit(&line.into()))
}

/// Hands out each line of a file of JSON lines. Returns how many of them can not be read.
pub fn for_each_line<T: DeserializeOwned>(mut list: impl BufRead, visit: &mut impl FnMut(T)) -> io::Result<u64> {
    let (mut text, mut unreadable) = (Vec::new(), 0);
    loop {
        text.clear();
        if list.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut text)? == 0 {
            return Ok(unreadable);
        }
        let is_whole = text.last() == Some(&b'\n');
        match serde_json::from_slice(&text) {
            Ok(line) if is_whole => visit(line),
            _ => unreadable += 1,
        }
        if !is_whole {
            list.skip_until(b'\n')?;
        }
    }
}

/// The lists of a run: the one of all ranks when it has ended, before that those of each, as far as they count.
pub fn of_run(directory: &RunDirectory, has_ended: bool) -> io::Result<Vec<(String, u64)>> {
    if has_ended {
        return Ok(vec![(LIST.to_owned(), u64::MAX)]);
    }
    // What an earlier attempt listed after its checkpoint is done, and listed, again.
    let counted = Manifest::read(directory).ok().flatten().map(|manifest| manifest.listed).unwrap_or_default();
    let extent = |name: &str| counted.iter().find(|part| part.name == name).map_or(u64::MAX, |part| part.bytes);
    let names = directory.names(NAMES_MAX)?.into_iter().filter_map(|name| name.into_string().ok());
    let is_part = |name: &String| name.starts_with(List::Faults.part_prefix()) && List::attempt_of(name).is_some();
    let mut parts: Vec<(String, u64)> = names.filter(is_part).map(|name| (name.clone(), extent(&name))).collect();
    parts.sort();
    Ok(parts)
}

/// Hands out all faults of these lists. Returns how many lines can not be read; a list that is not there is none.
pub fn read(directory: &RunDirectory, lists: &[(String, u64)], visit: &mut impl FnMut(&Fault)) -> io::Result<u64> {
    let mut unreadable = 0;
    for (name, bytes) in lists {
        match directory.open(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            list => unreadable += for_each(BufReader::with_capacity(1 << 20, list?.take(*bytes)), visit)?,
        }
    }
    Ok(unreadable)
}

/// The last faults of these lists, the latest last.
pub fn last(directory: &RunDirectory, lists: &[(String, u64)], faults_max: usize) -> Vec<Fault> {
    let when = |(name, _): &(String, u64)| directory.written_at(name).ok().map(|time| (time, name.clone()));
    let mut newest: Vec<_> = lists.iter().filter_map(when).collect();
    newest.sort();
    let first = newest.len().saturating_sub(TAILS_MAX);
    let mut faults = Vec::new();
    for (_, name) in newest.into_iter().skip(first) {
        faults.extend(tail(directory, &name).unwrap_or_default());
    }
    let first = faults.len().saturating_sub(faults_max);
    faults.drain(..first);
    faults
}

fn tail(directory: &RunDirectory, name: &str) -> io::Result<Vec<Fault>> {
    let mut file = directory.open(name)?;
    let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let (mut list, mut faults) = (BufReader::new(file.take(TAIL_BYTES)), Vec::new());
    if start > 0 {
        list.skip_until(b'\n')?;
    }
    for_each(list, &mut |fault| faults.push(fault.clone()))?;
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        r#"{"path":"a/b","outcome":"failed","operation":"openat","errno":"EIO","side":"source","note":"","owner":7}"#;

    fn faults(list: &str) -> (Vec<Fault>, u64) {
        let mut found = Vec::new();
        let unreadable = for_each(list.as_bytes(), &mut |fault| found.push(fault.clone())).unwrap();
        (found, unreadable)
    }

    #[test]
    fn lines_that_are_cut_off_or_none_are_counted_and_the_rest_is_read() {
        let (found, unreadable) = faults(&format!("{LINE}\nnonsense\n{LINE}\n{{\"path\":\"x"));
        assert_eq!((found.len(), unreadable), (2, 2));
        assert_eq!(
            (found[0].path.as_slice(), found[0].owner, found[0].cause.errno.as_str()),
            (&b"a/b"[..], Some(7), "EIO")
        );
        assert_eq!(faults(LINE).1, 1, "no end of the line");
    }

    #[test]
    fn a_line_of_an_older_version_has_no_owner() {
        let (found, _) = faults("{\"path\":\"a\",\"outcome\":\"vanished\"}\n");
        assert_eq!((found[0].owner, found[0].cause.outcome.as_str()), (None, "vanished"));
    }

    #[test]
    fn of_a_run_that_goes_the_parts_are_read_and_their_ends() {
        let state = tempfile::tempdir().unwrap();
        let directory = RunDirectory::new(state.path(), "run");
        directory.make().unwrap();
        for (name, lines) in [("faults-1-0.jsonl", 2), ("faults-1-7.jsonl", 1), ("notes-1-0.jsonl", 1)] {
            directory.write(name, format!("{LINE}\n").repeat(lines).as_bytes()).unwrap();
        }
        let lists = of_run(&directory, false).unwrap();
        let mut n = 0;
        read(&directory, &lists, &mut |_| n += 1).unwrap();
        assert_eq!((lists.len(), n, last(&directory, &lists, 2).len()), (2, 3, 2));
        let ended = of_run(&directory, true).unwrap();
        assert_eq!(read(&directory, &ended, &mut |_| n += 1).unwrap(), 0, "no list, no fault");
    }
}
