//! What of SRC is chosen: rank 0 reads what the operator named, and all ranks use the same.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::time::{SystemTime, UNIX_EPOCH};

use super::agree::{Roster, agree, from_root};
use super::crew::Crew;
use super::failed;
use crate::cli::choose::{Given, rules};
use crate::comm::Comm;
use crate::config::Config;
use crate::fault::Error;
use crate::fs::operator::{self, RunDirectory};
use crate::fs::path_list::{self, ListError, PathList, Written};
use crate::tree::Time;
use crate::tree::filter::{Bounds, Filter};
use crate::tree::listed::Extent;
use crate::tree::path::escaped;

/// Bytes of one file of patterns; all ranks keep the rules in memory.
const PATTERNS_BYTES_MAX: u64 = 16 << 20;

/// The filter of this run, before anything is made. Its moment is one for all ranks, and rules that come
/// from files are those that rank 0 sees.
pub fn filter(config: &Config, comm: &mut dyn Comm, roster: &Roster) -> Result<Filter, Error> {
    let choose = &config.choose;
    let given = &choose.patterns.0;
    let has_files = given.iter().any(|given| matches!(given, Given::ExcludeFrom(_)));
    let read = || rules(given, choose.from0, read_patterns);
    let rules = if has_files { from_root(comm, roster, read)? } else { read()? };
    // A run that goes on has the list as it was.
    if let Some(path) = choose.files_from.as_deref().filter(|_| !config.resume) {
        from_root(comm, roster, || operator::look_for_named(path).map_err(|error| no_list(path, &error)))?;
    }
    let bounds = Bounds {
        min_age: choose.min_age,
        max_age: choose.max_age,
        min_size: choose.min_size,
        max_size: choose.max_size,
    };
    let now = if bounds.need_now() { from_root(comm, roster, || Ok(now()))? } else { Time::default() };
    Filter::new(&rules, &bounds, now).map_err(|error| Error::Usage(error.to_string()))
}

/// `--final`: what has a later ctime was changed while we run. The moment is one for all ranks.
pub fn frozen_since(config: &Config, comm: &mut dyn Comm, roster: &Roster) -> Result<Option<Time>, Error> {
    if !config.command.is_final() {
        return Ok(None);
    }
    from_root(comm, roster, || Ok(now().plus(config.policy.clock_skew))).map(Some)
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanoseconds: since.subsec_nanos() }
}

/// What `--files-from` lists.
pub struct FilesFrom {
    /// The list on this rank.
    pub list: PathList,
    /// All of it; `None` if the root itself is listed, and so all is to be mirrored.
    pub extent: Option<Extent>,
}

/// Rank 0 reads the list, or the faults of the run that `retry` does again, and writes it sorted into the
/// run directory, where all ranks open it.
pub fn files_from(
    crew: &Crew<'_>,
    run_directory: &RunDirectory,
    comm: &mut dyn Comm,
) -> Result<Option<FilesFrom>, Error> {
    let (config, roster) = (crew.config, &crew.roster);
    let (choose, retry) = (&config.choose, config.started.retry.as_ref());
    let write: Box<dyn Fn() -> Result<Written, Error>> = match (retry, choose.files_from.as_deref()) {
        (Some(of), _) => Box::new(|| failed::write_list(of, run_directory)),
        (None, Some(path)) => Box::new(move || write_list(path, choose.from0, run_directory)),
        (None, None) => return Ok(None),
    };
    let all = |written: Written| (!written.has_root).then_some(Extent { start: 0, end: written.bytes });
    let extent = match crew.history.list {
        // What is left to do counts by the list as it was.
        Some(extent) => extent,
        None => from_root(comm, roster, || write().map(all))?,
    };
    let opened = PathList::open(run_directory, retry.is_some()).map_err(|error| {
        let directory = escaped(run_directory.path().as_os_str().as_bytes());
        Error::of_state(format!("the list of --files-from can not be read in the run directory {directory}"), error)
    });
    let (mine, list) = match opened {
        Ok(list) => (Ok(()), Some(list)),
        Err(error) => (Err(error), None),
    };
    agree(comm, roster, mine)?;
    Ok(list.map(|list| FilesFrom { list, extent }))
}

fn no_list(path: &OsStr, why: &dyn Display) -> Error {
    Error::Usage(format!("--files-from {}: {why}", escaped(path.as_bytes())))
}

fn write_list(path: &OsStr, from0: bool, run_directory: &RunDirectory) -> Result<Written, Error> {
    let input = operator::open_named(path).map_err(|error| no_list(path, &error))?;
    path_list::write(input, from0, run_directory).map_err(|error| match error {
        ListError::Output(error) => {
            Error::of_state("the list of --files-from can not be kept in the run directory", error)
        }
        other => no_list(path, &other),
    })
}

fn read_patterns(path: &OsStr) -> Result<Vec<u8>, Error> {
    let broken = |why: String| Error::Usage(format!("--exclude-from {}: {why}", escaped(path.as_bytes())));
    let mut text = Vec::new();
    operator::open_named(path)
        .and_then(|file| file.take(PATTERNS_BYTES_MAX + 1).read_to_end(&mut text))
        .map_err(|error| broken(error.to_string()))?;
    if text.len() as u64 > PATTERNS_BYTES_MAX {
        return Err(broken(format!(
            "it is larger than {} MiB: a file of patterns, and no list of paths? For that there is --files-from",
            PATTERNS_BYTES_MAX >> 20
        )));
    }
    Ok(text)
}
