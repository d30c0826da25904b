//! What the ranks measure: rank 0 tries the target out, all read their clocks, and all are timed at once.

use std::time::Duration;

use super::access::Access;
use super::places::Places;
use crate::comm::Comm;
use crate::config::Preflight;
use crate::fault::Error;
use crate::fs::private::{self, Private};
use crate::fs::trials::sample::Sample;
use crate::fs::trials::speed::{self, Course};
use crate::fs::trials::{self, node};
use crate::fs::usage;
use crate::preflight::clocks::{Meeting, Offset};
use crate::preflight::facts::{Node, Quota, Trials, Tried};
use crate::run::agree::{agree, from_root};
use crate::run::crew::Crew;
use crate::run::deadline;
use crate::sched::Stop;

/// So long a rank looks for files of SRC to read.
const SAMPLE_TIME_MAX: Duration = Duration::from_secs(1);
/// Meetings of all ranks: each narrows what is known of their clocks.
const MEETINGS: usize = 10;

/// What was measured.
pub struct Measured {
    /// Rank 0: what the target holds, or why that could not be tried.
    pub trials: Option<Tried<Trials>>,
    /// What each rank has.
    pub nodes: Vec<Node>,
    /// The clock of each other node against that of rank 0, with a host.
    pub clocks: Vec<(String, Offset)>,
    /// What our quota leaves.
    pub quota: Tried<Option<Quota>>,
    /// It was stopped early.
    pub stop: Option<Stop>,
}

/// Measures. All ranks take part.
pub fn measure(
    crew: &Crew<'_>,
    how: Preflight,
    comm: &mut dyn Comm,
    places: &Places,
    access: &mut Access,
) -> Result<Measured, Error> {
    let private = access.private(places);
    let reads = crew.is_root() || !how.measures.is_zero();
    let time = if reads { SAMPLE_TIME_MAX } else { Duration::ZERO };
    let sample = Sample::take(&places.source.fd, time, Some(private::NAME));
    let mut trials = None;
    let granularity = from_root(comm, &crew.roster, || {
        let tried = private.as_ref().map(|private| trials::on_target(private, (&places.source.fd, &sample)));
        trials = tried.map(|tried| tried.map_err(trials::text));
        let held = trials.as_ref().and_then(|trials| trials.as_ref().ok()).map(|trials| trials.times.granularity);
        Ok(held.unwrap_or(1))
    })?;
    let clocks = meet(crew, comm)?;
    let mut mine = node::look(&places.source.fd, (!places.is_missing).then_some(&places.target.fd));
    mine.target_clock = private.as_ref().and_then(|private| clock_of_target(crew, private, granularity));
    #[allow(clippy::cast_precision_loss)] // Seconds of today.
    let ahead = |time: crate::tree::Time| time.seconds as f64 - node::now();
    mine.source_ahead = sample.newest.map(ahead);
    if !how.measures.is_zero() {
        // All begin together.
        comm.gather(Vec::new());
        let sign = crew.stop_sign();
        let must_stop = || sign.wanted(jiff::Timestamp::now()).is_some();
        mine.speed = speed::measure(&course(crew, how, places, (private.as_ref(), &sample), &must_stop));
    }
    let nodes = agree(comm, &crew.roster, Ok(mine))?;
    let stop = deadline::wanted_already(comm, crew.stop_sign());
    Ok(Measured { trials, nodes, clocks, quota: usage::quota(&places.bench), stop })
}

fn course<'c>(
    crew: &Crew<'_>,
    how: Preflight,
    places: &'c Places,
    (private, sample): (Option<&'c Private>, &'c Sample),
    must_stop: &'c (dyn Fn() -> bool + Sync),
) -> Course<'c> {
    let workers = crew.threads;
    let all = u64::from(workers) * u64::from(crew.ranks());
    let free = usage::room(&places.bench).map_or(0, |room| room.bytes);
    let rank = crew.rank().0;
    // Files of a sample, taken in as many shares as there are ranks.
    let first = sample.files.len() * rank as usize / crew.ranks().max(1) as usize;
    // A tenth of what is free, for all of them.
    let room_bytes = free / 10 / all.max(1);
    let source = &places.source.fd;
    Course { private, source, sample, first, rank, workers, time: how.measures, room_bytes, must_stop }
}

/// Reads the clocks before and after each of some meetings of all ranks.
fn meet(crew: &Crew<'_>, comm: &mut dyn Comm) -> Result<Vec<(String, Offset)>, Error> {
    let mut mine: Vec<Meeting> = Vec::with_capacity(MEETINGS);
    for _ in 0..MEETINGS {
        let before = node::now();
        comm.gather(Vec::new());
        mine.push((before, node::now()));
    }
    let all = agree(comm, &crew.roster, Ok(mine))?;
    let Some(first) = all.first() else { return Ok(Vec::new()) };
    let mut clocks: Vec<(String, Offset)> = Vec::new();
    for (host, meetings) in crew.roster.hosts.iter().zip(&all) {
        let is_new = crew.roster.hosts.first() != Some(host) && clocks.iter().all(|(known, _)| known != host);
        if let Some(offset) = Offset::of_meetings(meetings, first).filter(|_| is_new) {
            clocks.push((host.clone(), offset));
        }
    }
    Ok(clocks)
}

/// One rank of each node dates a file. What can not be made is told elsewhere.
fn clock_of_target(crew: &Crew<'_>, private: &Private, granularity: u64) -> Option<Offset> {
    if !crew.roster.leads_node() {
        return None;
    }
    let name = std::ffi::CString::new(format!("preflight-clock-{}", crew.rank().0)).ok()?;
    node::clock_of(private, &name, granularity).ok()
}
