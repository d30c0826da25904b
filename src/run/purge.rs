//! `pmirror purge-trash`: choose what is old enough, take its name away under the lock, remove it with all ranks.

use std::ffi::CString;
use std::time::Duration;

use super::agree::{agree, from_root, same_everywhere};
use super::begin::{self, Begun, broken, random, same_command};
use super::clock::Clock;
use super::crew::Crew;
use super::holder::Holder;
use super::lock::{Ending, Lock};
use super::prune::Judged;
use super::record::{Found, Recorder};
use super::secure::Places;
use super::trash::{Record, run_of};
use super::{Circumstances, Conclusion, choose, end, finish, look, rm_tree, roles, secure};
use crate::comm::Comm;
use crate::config::Config;
use crate::counters::{Counters, Slot};
use crate::engine::{Ended, Finished};
use crate::fault::{Error, Failure, Side};
use crate::fs::operator::RunDirectory;
use crate::fs::private::Private;
use crate::fs::roots::Root;
use crate::fs::trash::{self, Trash};
use crate::fs::{names, open};
use crate::pass::temporary::Attempt;
use crate::report::{self, Progress};
use crate::tree::path::escaped;
use crate::tree::{Item, Kind, Parked, Proof, TreePath};

/// What is being removed is called so: no run can be, and whatever comes between, the next purge goes on with it.
const PURGED: &str = ".purged-";

/// The trash of a run.
struct OfRun {
    name: CString,
    /// When its last attempt made it.
    made: Option<jiff::Timestamp>,
    entries: u64,
}

/// What rank 0 has chosen: names in the trash.
type Chosen = Vec<Vec<u8>>;

/// `pmirror purge-trash`. `older_than`: `None` for all.
pub fn purge(
    config: &Config,
    older_than: Option<Duration>,
    comm: &mut dyn Comm,
    circumstances: Circumstances,
) -> Conclusion {
    let mut clock = Clock::start();
    let crew = Crew::call(config, comm, circumstances);
    let (target, begun, chosen) = match begin(&crew, older_than, comm) {
        Ok(begun) => begun,
        Err(error) => return error.into(),
    };
    crew.say_circumstances(begun.run_directory.path());
    let mut progress = crew.progress(&begun);
    let removed = remove(&crew, &begun, &chosen, comm, (&mut progress, &mut clock));
    progress.finish();
    match removed {
        Ok((ended, finished)) => conclude(&crew, comm, &target, begun, (ended, finished), clock),
        Err(error) => error.into(),
    }
}

fn unusable(failure: Failure) -> Error {
    broken("the trash in DST/.pmirror", failure)
}

/// Opens the trash on every rank, proves that all see the same one, and chooses.
fn begin(crew: &Crew<'_>, older_than: Option<Duration>, comm: &mut dyn Comm) -> Result<(Root, Begun, Chosen), Error> {
    let (config, roster) = (crew.config, &crew.roster);
    same_command(crew, comm)?;
    let target = Root::open(Side::Target, &config.target);
    let checked = target.as_ref().map_err(Clone::clone);
    let checked = checked.and_then(|root| roles::check_target(config, roster, &begin::Names::of(config), root));
    agree(comm, roster, checked)?;
    let target = target?;
    let opened = open_trash(&target);
    let mine = opened.as_ref().map(|root| root.view.clone()).map_err(Clone::clone);
    let views = agree(comm, roster, mine)?;
    same_everywhere(roster, &views, "does not see the same DST", "is its file system mounted there?")?;
    let root = opened?;
    let run_id = from_root(comm, roster, || Ok(config.run_id.clone()))?;
    let run_directory = RunDirectory::new(&config.state_dir, &run_id);
    agree(comm, roster, begin::refuse_state_in(&run_directory, &target, "DST"))?;
    look::make_run_directory(crew, comm, &run_directory)?;
    let filter = choose::filter(config, comm, roster)?;
    let places = Places { source: None, target: Some(&root.fd), run_directory: &run_directory };
    let secured = secure::secure(crew, comm, places)?;
    let begun = rm_tree::begun(crew, comm, &root, (filter, secured), run_directory);
    let begun = agree(comm, roster, begun.as_ref().map(|_| ()).map_err(Clone::clone)).and(begun)?;
    let chosen = from_root(comm, roster, || chosen(crew, &target, older_than))?;
    Ok((target, begun, chosen))
}

/// The trash; where there is none DST, of which nothing is chosen then.
fn open_trash(target: &Root) -> Result<Root, Error> {
    let found = match private_of(target)? {
        Some(private) => Trash::open(&private).map_err(unusable)?,
        None => None,
    };
    let directory = match found {
        Some(trash) => Ok(trash.into_directory()),
        None => open::child_directory(&target.fd, c"."),
    };
    directory.and_then(Root::of_fd).map_err(unusable)
}

/// `None`: there is none.
fn private_of(target: &Root) -> Result<Option<Private>, Error> {
    match Private::open_own(&target.fd, nix::unistd::geteuid().as_raw()) {
        Err(failure) if failure.errno == nix::errno::Errno::ENOENT as i32 => Ok(None),
        result => result.map(Some).map_err(unusable),
    }
}

/// Chooses, tells, and takes the names away: from then on nobody else comes to what is removed.
fn chosen(crew: &Crew<'_>, target: &Root, older_than: Option<Duration>) -> Result<Chosen, Error> {
    let Some(private) = private_of(target)? else { return Ok(Chosen::new()) };
    let Some(trash) = Trash::open(&private).map_err(unusable)? else { return Ok(Chosen::new()) };
    let config = crew.config;
    let tells = !config.json && (config.dry_run || config.verbose > 0);
    let is_old = |of_run: &OfRun| {
        older_than.is_none_or(|age| of_run.made.is_some_and(|made| is_older(made, jiff::Timestamp::now(), age)))
    };
    let mut lines = Vec::new();
    let left = if config.dry_run {
        let (old, left) = sorted(&trash, tells, is_old, &mut lines).map_err(unusable)?;
        old.into_iter().map(CString::into_bytes).chain(left).collect()
    } else {
        let mut left = Chosen::new();
        // A run that had the lock until now may have renamed into what was old before: so it is looked at under the lock.
        locked(crew, target, |_| {
            let (old, purged_before) = sorted(&trash, tells, is_old, &mut lines)?;
            left = purged_before;
            for name in &old {
                let purged = format!("{PURGED}{}-{:016x}", name.to_string_lossy(), random());
                let new = CString::new(purged.clone()).unwrap_or_default();
                names::move_to(trash.directory(), name, trash.directory(), &new)?;
                left.push(purged.into_bytes());
            }
            Ok(())
        })?;
        left
    };
    if tells {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        report::print(&text).map_err(|error| Error::Fatal(format!("it can not be written to stdout: {error}")))?;
    }
    Ok(left)
}

/// The trash that is old, and what an earlier purge had begun with. With a line for people about each.
fn sorted(
    trash: &Trash,
    counts: bool,
    is_old: impl Fn(&OfRun) -> bool,
    lines: &mut Vec<String>,
) -> Result<(Vec<CString>, Chosen), Failure> {
    let (mut old, mut left) = (Vec::new(), Chosen::new());
    for name in trash.names()? {
        if name.to_bytes().starts_with(PURGED.as_bytes()) {
            left.push(name.into_bytes());
            continue;
        }
        let of_run = look_at(trash, name, counts)?;
        let goes = is_old(&of_run);
        lines.push(line(&of_run, goes));
        if goes {
            old.push(of_run.name);
        }
    }
    Ok((old, left))
}

fn is_older(made: jiff::Timestamp, now: jiff::Timestamp, age: Duration) -> bool {
    Duration::try_from(now.duration_since(made)).is_ok_and(|elapsed| elapsed >= age)
}

fn look_at(trash: &Trash, name: CString, counts: bool) -> Result<OfRun, Failure> {
    let (mut made, mut entries) = (None, 0);
    if let Some(run) = trash.of_run(&name)? {
        for attempt in run.names()? {
            let Some(place) = run.place(&attempt)? else { continue };
            let record = place.record().ok().and_then(|text| Record::of_json(&text));
            made = made.max(record.and_then(|record| record.when()));
            if counts {
                place.visit(|_| entries += 1)?;
            }
        }
    }
    Ok(OfRun { name, made, entries })
}

fn line(of_run: &OfRun, goes: bool) -> String {
    let made = of_run.made.map_or_else(|| "of unknown age".to_owned(), |made| format!("{made:.0}"));
    let (name, verb) = (escaped(&run_of(&of_run.name)), if goes { "purge" } else { "keep " });
    format!("{verb}  {name}  {made}  {}", report::plural(of_run.entries, "entry", "entries"))
}

/// Does something while no run is on DST.
fn locked(crew: &Crew<'_>, target: &Root, work: impl FnOnce(&Private) -> Result<(), Failure>) -> Result<(), Error> {
    let job = crew.job.as_ref().map_or("", |job| job.job_id.as_str());
    let uid = nix::unistd::geteuid().as_raw();
    let holder = Holder::this_process(Attempt(random()), &crew.config.run_id, crew.roster.host(), job, None);
    let make = || Private::make(&target.fd, uid).map_err(unusable);
    let (private, lock) = Lock::take(make, holder)?;
    let done = work(&private);
    end::give_back(private, lock, &target.fd, Ending::Partly);
    done.map_err(unusable)
}

fn remove(
    crew: &Crew<'_>,
    begun: &Begun,
    chosen: &Chosen,
    comm: &mut dyn Comm,
    (progress, clock): (&mut Progress, &mut Clock),
) -> Result<(Ended, Finished), Error> {
    let mut engine = crew.engine(begun, comm, None)?;
    clock.seconds.start = clock.lap();
    progress.enter("remove");
    let seed = |name: &Vec<u8>| {
        let (path, proof) = (TreePath::from(name.as_slice()), Proof::Asked);
        Item::Doom { path, proof, round: (0, 1), parked: Parked::NEVER }
    };
    let seeds: Vec<Item> = if crew.is_root() { chosen.iter().map(seed).collect() } else { Vec::new() };
    let mut counters = Counters::default();
    counters.add(Slot::Planned(Kind::Directory), seeds.len() as u64);
    engine.count(&counters);
    let ended = engine.run_pass(seeds, &mut |report| progress.observe(report));
    clock.seconds.remove = clock.lap();
    Ok((ended, engine.finish()))
}

/// Takes an empty trash away, and sums up.
fn conclude(
    crew: &Crew<'_>,
    comm: &mut dyn Comm,
    target: &Root,
    begun: Begun,
    (ended, finished): (Ended, Finished),
    clock: Clock,
) -> Conclusion {
    let Finished { counters, faults, error, .. } = finished;
    let error = agree(comm, &crew.roster, error.map_or(Ok(()), Err)).err();
    let planned = agree(comm, &crew.roster, Ok(counters.planned())).unwrap_or_default().iter().sum();
    if crew.is_root() && !begun.context.dry_run && planned > 0 {
        // Where a run has the lock by now, its end takes an empty trash away, or the next purge does.
        let _ = locked(crew, target, trash::remove_empty);
    }
    let flushed = agree(comm, &crew.roster, finish::flush(crew, &begun.context));
    let error = error.or(flushed.err());
    let judged = Some(Judged { seen: planned, ..Judged::default() });
    let recorder =
        Recorder { crew, run_directory: begun.run_directory.clone(), fs_types: begun.fs_types, told: begun.told };
    let found = Found { counters, faults, ended, error, judged, written_to: Vec::new() };
    finish::list_and_sum_up(comm, &recorder, found, begun.context.itemizes, clock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_counted_from_the_record_and_what_lies_ahead_is_not_old() {
        let now: jiff::Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let older = |made: &str, age| is_older(made.parse().unwrap(), now, Duration::from_secs(age));
        assert!(older("2026-11-14T12:00:00Z", 7 * 86_400) && !older("2026-11-14T12:00:01Z", 7 * 86_400));
        assert!(!older("2026-11-22T12:00:00Z", 0) && older("2026-11-21T12:00:00Z", 0));
    }
}
