//! What of SRC is chosen: rank 0 reads what the operator named, and all ranks use the same.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::time::{SystemTime, UNIX_EPOCH};

use super::agree::{Roster, from_root};
use crate::cli::choose::{Choose, Given, rules};
use crate::comm::Comm;
use crate::fault::Error;
use crate::fs::operator;
use crate::tree::Time;
use crate::tree::filter::{Bounds, Filter};
use crate::tree::path::escaped;

/// Bytes of one file of patterns; all ranks keep the rules in memory.
const PATTERNS_BYTES_MAX: u64 = 16 << 20;

/// The filter of this run. Its moment is one for all ranks, and rules that come from files are those
/// that rank 0 sees.
pub fn filter(choose: &Choose, comm: &mut dyn Comm, roster: &Roster) -> Result<Filter, Error> {
    let given = &choose.patterns.0;
    let has_files = given.iter().any(|given| matches!(given, Given::ExcludeFrom(_)));
    let read = || rules(given, choose.from0, read_patterns);
    let rules = if has_files { from_root(comm, roster, read)? } else { read()? };
    let bounds = Bounds {
        min_age: choose.min_age,
        max_age: choose.max_age,
        min_size: choose.min_size,
        max_size: choose.max_size,
    };
    let now = if bounds.need_now() { from_root(comm, roster, || Ok(now()))? } else { Time::default() };
    Filter::new(&rules, &bounds, now).map_err(|error| Error::Usage(error.to_string()))
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanoseconds: since.subsec_nanos() }
}

fn read_patterns(path: &OsStr) -> Result<Vec<u8>, Error> {
    let broken = |why: String| Error::Usage(format!("--exclude-from {}: {why}", escaped(path.as_bytes())));
    let mut text = Vec::new();
    operator::open_named(path)
        .and_then(|file| file.take(PATTERNS_BYTES_MAX + 1).read_to_end(&mut text))
        .map_err(|error| broken(error.to_string()))?;
    if text.len() as u64 > PATTERNS_BYTES_MAX {
        return Err(broken(format!("it is larger than {} MiB", PATTERNS_BYTES_MAX >> 20)));
    }
    Ok(text)
}
