//! The story of one run, from top to bottom.

mod agree;
mod begin;
mod choose;
mod end;
mod lock;
mod record;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use self::agree::{Roster, agree};
use self::begin::Begun;
use crate::comm::Comm;
use crate::config::{self, Config};
use crate::counters::{Counters, Number, Slot};
use crate::engine::{Ended, Engine, Finished, Setup};
use crate::fault::{Error, Side};
use crate::fs::{data, path_list};
use crate::pass::{Effects, Watch, chunk, settle};
use crate::report::summary::Seconds;
use crate::report::{self, Progress, Summary};
use crate::sched::Rank;
use crate::slurm::Job;
use crate::tree::{Item, Kind, Outcome};

/// How a run ended: equal on all ranks, but for the summary, which rank 0 has.
#[derive(Debug)]
pub struct Conclusion {
    /// Of the program.
    pub exit_code: u8,
    /// On rank 0, if the run began.
    pub summary: Option<Summary>,
    /// Why it could not begin or go on.
    pub error: Option<Error>,
}

/// What the run is told from outside.
pub struct Circumstances {
    /// The Slurm job.
    pub job: Option<Job>,
    /// Set by a signal.
    pub interrupted: Arc<AtomicBool>,
}

/// `pmirror sync`.
pub fn sync(config: &Config, comm: &mut dyn Comm, circumstances: Circumstances) -> Conclusion {
    let clock = Clock::start();
    let roster = Roster::call(comm);
    let begun = match begin::begin(config, comm, &roster, circumstances.job.as_ref()) {
        Ok(begun) => begun,
        Err(error) => return Conclusion { exit_code: error.exit_code(), summary: None, error: Some(error) },
    };
    let threads = config::threads(config.threads, roster.ranks_here());
    let setup = Setup {
        neighbours: roster.neighbours(),
        host: roster.host().to_owned(),
        threads,
        bag_bytes_max: config.bag_bytes_max,
        limits: config.limits,
        run_directory: begun.run_directory.clone(),
        interrupted: circumstances.interrupted,
        seed: begun.root.source.inode,
    };
    if config.verbose > 0 && comm.rank() == Rank::ROOT {
        say_circumstances(&begun, &roster, threads);
    }
    let mut progress = progress(config, comm.rank(), &roster);
    let walked = walk(&begun, comm, &roster, setup, &mut progress, clock);
    progress.finish();
    match walked {
        Ok(walked) => conclude(config, comm, &roster, begun, walked, circumstances.job, threads),
        Err(error) => Conclusion { exit_code: error.exit_code(), summary: None, error: Some(error) },
    }
}

/// `--verbose`: what the run goes by.
fn say_circumstances(begun: &Begun, roster: &Roster, threads: u32) {
    let able = &begun.context.policy.target;
    let yes = |flag| if flag { "yes" } else { "no" };
    let mut nodes = roster.hosts.clone();
    nodes.sort();
    nodes.dedup();
    report::say(&format!("{} ranks of {threads} threads on {}", roster.hosts.len(), nodes.join(" ")));
    report::say(&format!("the record is kept in {}", begun.run_directory.path().display()));
    report::say(&format!(
        "DST holds times to {} ns; we may give files away: {}; permissions do not stop us: {}",
        able.times.granularity,
        yes(able.chown),
        yes(able.overrides_permissions)
    ));
}

fn progress(config: &Config, rank: Rank, roster: &Roster) -> Progress {
    if rank == Rank::ROOT && !config.quiet {
        Progress::to_stderr(roster.hosts.clone(), config.progress)
    } else {
        Progress::silent()
    }
}

/// Measures the parts of a run.
struct Clock {
    started: Instant,
    started_at: jiff::Timestamp,
    lap: Instant,
    seconds: Seconds,
}

impl Clock {
    fn start() -> Self {
        let now = Instant::now();
        Self { started: now, started_at: jiff::Timestamp::now(), lap: now, seconds: Seconds::default() }
    }

    fn lap(&mut self) -> f64 {
        let seconds = self.lap.elapsed().as_secs_f64();
        self.lap = Instant::now();
        seconds
    }
}

/// What the passes left.
struct Walked {
    ended: Ended,
    finished: Finished,
    /// What is to stand in the books for the root, on the rank that walked it.
    root_outcome: Option<Outcome>,
    clock: Clock,
}

/// Runs the passes: the walk, the hard links, the directories that had to wait.
fn walk(
    begun: &Begun,
    comm: &mut dyn Comm,
    roster: &Roster,
    setup: Setup,
    progress: &mut Progress,
    mut clock: Clock,
) -> Result<Walked, Error> {
    let is_root = comm.rank() == Rank::ROOT;
    let mut engine = match Engine::start(&mut *comm, Arc::clone(&begun.context), setup) {
        Ok(mut engine) => {
            agree(engine.comm(), roster, Ok(()))?;
            engine
        }
        Err(error) => return Err(agree::<()>(comm, roster, Err(error.clone())).err().unwrap_or(error)),
    };
    clock.seconds.start = clock.lap();

    progress.enter("mirror");
    let seeds = if is_root { vec![begun.seed()] } else { Vec::new() };
    let mut ended = engine.run_pass(seeds, &mut |report| progress.observe(report));
    clock.seconds.mirror = clock.lap();

    let mut root_outcome = None;
    if ended == Ended::Quiet {
        progress.enter("link");
        ended = link_pass(&mut engine, progress);
        clock.seconds.link = clock.lap();
    }
    if ended == Ended::Quiet {
        progress.enter("settle");
        (ended, root_outcome) = settle_pass(&mut engine, roster, progress)?;
        clock.seconds.settle = clock.lap();
    }
    Ok(Walked { ended, finished: engine.finish(), root_outcome, clock })
}

/// Nothing to do for any rank means no pass at all.
fn any_rank(engine: &mut Engine<'_>, mine: u64) -> u64 {
    let counts = engine.comm().gather(mine.to_le_bytes().to_vec());
    counts.iter().filter_map(|bytes| bytes.as_slice().try_into().ok()).map(u64::from_le_bytes).max().unwrap_or(0)
}

/// Source inodes first; those that would keep a target inode with further names claim it. Then the
/// owners of these judge, and the groups that waited are settled, in as many turns as large files make
/// others wait. Each turn is cut into so many passes
/// that no rank holds more groups than its memory bound.
fn link_pass(engine: &mut Engine<'_>, progress: &mut Progress) -> Ended {
    for side in [Side::Source, Side::Target] {
        if let (ended @ Ended::Stopped(_), _) = link_turn(engine, side, progress) {
            return ended;
        }
    }
    loop {
        match link_turn(engine, Side::Source, progress) {
            (Ended::Quiet, true) => {}
            (ended, _) => return ended,
        }
    }
}

/// One turn of all groups of one side. Returns whether there was any, on any rank.
fn link_turn(engine: &mut Engine<'_>, side: Side, progress: &mut Progress) -> (Ended, bool) {
    engine.begin_link_turn(side);
    let mut any = false;
    loop {
        let groups = engine.take_link_groups();
        // A rank that gave up needs a pass to say so.
        let mine = groups.len() as u64 + u64::from(engine.has_given_up());
        if any_rank(engine, mine) == 0 {
            return (Ended::Quiet, any);
        }
        any = true;
        let ended = engine.run_pass(groups, &mut |report| progress.observe(report));
        if ended != Ended::Quiet {
            return (ended, any);
        }
    }
}

/// Directories in any order first; then, deepest first, those whose final mode keeps us out. The root
/// is left to the very end of the run.
fn settle_pass(
    engine: &mut Engine<'_>,
    roster: &Roster,
    progress: &mut Progress,
) -> Result<(Ended, Option<Outcome>), Error> {
    let mut root_outcome = None;
    let mut keep_root = |items: Vec<Item>| {
        let (root, rest): (Vec<Item>, Vec<Item>) = items
            .into_iter()
            .partition(|item| matches!(item, Item::Settle { directory, .. } if directory.path.is_root()));
        if let Some(Item::Settle { outcome, .. }) = root.first() {
            root_outcome = Some(*outcome);
        }
        rest
    };
    let items = keep_root(engine.take_deferred());
    let mut ended = Ended::Quiet;
    if any_rank(engine, items.len() as u64) > 0 {
        ended = engine.run_pass(items, &mut |report| progress.observe(report));
    }
    loop {
        // Depth 0 is the root, which waits for the end of the run in any case.
        let deepest = engine.deepest_after_below().map_or(0, |depth| u64::from(depth) + 1);
        let depths = agree(engine.comm(), roster, Ok(deepest))?;
        let deepest = depths.into_iter().max().unwrap_or(0);
        if deepest == 0 || ended != Ended::Quiet {
            return Ok((ended, root_outcome));
        }
        let items = keep_root(engine.take_after_below(u32::try_from(deepest - 1).unwrap_or(u32::MAX)));
        ended = engine.run_pass(items, &mut |report| progress.observe(report));
    }
}

/// Makes all durable, settles the root, and sums up.
fn conclude(
    config: &Config,
    comm: &mut dyn Comm,
    roster: &Roster,
    begun: Begun,
    walked: Walked,
    job: Option<Job>,
    threads: u32,
) -> Conclusion {
    let Walked { ended, finished, root_outcome, mut clock } = walked;
    let Finished { mut counters, faults, abandoned, error } = finished;
    abandoned.iter().for_each(|file| chunk::discard(&begun.context, file));
    clock.lap();
    let flushed = if roster.leads_node() { data::flush_file_system(&begun.context.trees.target) } else { Ok(()) };
    let flushed = flushed.map_err(|failure| {
        let errno = nix::errno::Errno::from_raw(failure.errno);
        Error::Fatal(format!("what was written to DST may be lost: syncfs: {} ({errno})", errno.desc()))
    });
    let mine = error.map_or(flushed, Err);
    let error = agree(comm, roster, mine).err();
    clock.seconds.flush = clock.lap();

    let known: Vec<Option<Outcome>> = agree(comm, roster, Ok(root_outcome)).unwrap_or_default();
    let root_outcome = known.into_iter().flatten().next();
    let mut root_faults = Vec::new();
    let (context, fs_types, run_directory) = (begun.context, begun.fs_types, begun.run_directory);
    if comm.rank() == Rank::ROOT {
        path_list::remove(&run_directory);
        counters.count(Number::Listed, 1);
        counters.add(Slot::Seen(Kind::Directory), 1);
        if let Some((private, lock)) = begun.held {
            end::give_back(private, lock, &context.trees.target);
        }
        let mut effects = Effects::default();
        match (root_outcome, &error) {
            (Some(outcome), None) => {
                let watch = Watch::new(Arc::new(AtomicBool::new(false)));
                settle::later(&context, &begun.root, outcome, &watch, &mut effects);
            }
            (Some(_), Some(_)) => effects.end(Kind::Directory, Outcome::Unfinished),
            // Its walk failed, or it was abandoned with all else that a stop left: the books have it.
            (None, _) => {}
        }
        counters.merge(&effects.counters);
        root_faults = effects.faults;
    }
    let all = record::Recorder { config, roster, run_directory, fs_types, job, threads };
    all.sum_up(comm, counters, faults, root_faults, ended, error, &clock_done(clock))
}

/// The clock of a run that is over.
struct Done {
    seconds: Seconds,
    started_at: jiff::Timestamp,
    ended_at: jiff::Timestamp,
}

fn clock_done(mut clock: Clock) -> Done {
    clock.seconds.total = clock.started.elapsed().as_secs_f64();
    Done { seconds: clock.seconds, started_at: clock.started_at, ended_at: jiff::Timestamp::now() }
}

/// The counters of all ranks together.
fn total(ranks: &[Counters]) -> Counters {
    let mut total = Counters::default();
    ranks.iter().for_each(|rank| total.merge(rank));
    total
}
