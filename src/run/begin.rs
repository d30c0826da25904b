//! The beginning of a run: open both trees on every rank, prove that all see the same two, take the
//! lock. Nothing is written before all that can be refused has been.

use std::io;
use std::sync::{Arc, OnceLock};

use nix::errno::Errno;

use super::agree::{Roster, agree, from_root, same_everywhere};
use super::choose::{self, FilesFrom};
use super::crew::Crew;
use super::holder::Holder;
use super::lock::{Ending, Lock};
use super::memory::Memory;
use super::mounts;
use super::resume::Resumed;
use super::secure::{Places, Secured, Told};
use super::{guard, habit, known, look, renames, roles, secure, suspects};
use crate::comm::Comm;
use crate::config::Config;
use crate::engine::Engine;
use crate::fault::{Error, Failure, Side};
use crate::fs::mounts::Mounts;
use crate::fs::operator::RunDirectory;
use crate::fs::private::Private;
use crate::fs::roots::{self, Root, Trees};
use crate::fs::{Fd, path_list, probe, remedy};
use crate::pass::temporary::Attempt;
use crate::pass::{Context, Health, Limits, Temporaries};
use crate::sched::Rank;
use crate::started::Started;
use crate::tree::decide::Abilities;
use crate::tree::filter::Filter;
use crate::tree::listed::Extent;
use crate::tree::path::escaped;
use crate::tree::suspects::Suspects;
use crate::tree::{DirectoryItem, Doubt, Item, Parked, Time, TreePath};

const NONCE: &std::ffi::CStr = c"nonce";
const NONCE_IN_STATE: &str = "nonce";

/// A run that may begin.
pub struct Begun {
    /// The trees, and what to do with them.
    pub context: Arc<Context>,
    /// The item from which all others come.
    pub root: DirectoryItem,
    /// What of it is listed, if only that is looked at.
    pub listed: Option<Extent>,
    /// The run's directory.
    pub run_directory: RunDirectory,
    /// Rank 0, where DST is written: the lock, and the directory that holds it.
    pub held: Option<(Private, Lock)>,
    /// The types of both file systems.
    pub fs_types: (u64, u64),
    /// How safe it is.
    pub told: Told,
}

impl Begun {
    /// The first item.
    pub fn seed(&self) -> Item {
        Item::first(&self.root, self.listed)
    }
}

/// What a run has found before it may begin.
pub struct Ready {
    /// SRC.
    pub source: Root,
    /// DST.
    pub target: Root,
    /// DST was made.
    pub made: bool,
    /// What is mounted in SRC, and in DST.
    pub mounts: [Mounts; 2],
    /// What of SRC is chosen.
    pub filter: Filter,
    /// `--files-from`.
    pub files_from: Option<FilesFrom>,
    /// What the target allows.
    pub abilities: Abilities,
    /// The temporary names of this run, and of dead ones.
    pub temporaries: Temporaries,
    /// What dead runs wrote that nobody knows to be on the disk.
    pub doubt: Option<Doubt>,
    /// The run's directory.
    pub run_directory: RunDirectory,
    /// Rank 0: the lock.
    pub held: Option<(Private, Lock)>,
}

impl Ready {
    /// Puts together what the passes work with.
    pub fn begun(
        self,
        config: &Config,
        comm: &dyn Comm,
        memory: &Memory,
        (frozen, suspects, secured): (Option<Time>, Suspects, Secured),
    ) -> Begun {
        let (source, target) = (self.source, self.target);
        let fs_types = (source.view.fs_type, target.view.fs_type);
        let root = DirectoryItem {
            path: TreePath::root(),
            source: source.attributes.identity,
            target: Some(target.attributes.identity),
            mount: 0,
            made: self.made,
            parked: Parked::NEVER,
        };
        let (source_key, target_key) = (source.key(), target.key());
        let Secured { source_path, belts, told } = secured;
        let (source, target, mounts) = (source.fd, target.fd, self.mounts);
        let trees = Trees { source, target, source_key, target_key, source_path, mounts, belts };
        let mut policy = config.policy.clone();
        policy.extras = policy.extras.and(self.abilities.extras).and(probe::extras_of_source(&trees.source));
        policy.target = self.abilities;
        let (list, listed) = self.files_from.map_or((None, None), |listed| (Some(listed.list), listed.extent));
        let detects = config.detect_renames && config.writes() && list.is_none();
        let pair = known::pair_at((&trees.source_path, &root, fs_types), &trees.target);
        let renames = detects.then(|| renames::open(&config.state_dir, &pair, comm.rank() == Rank::ROOT));
        let health = Health::of(&trees, &config.source, &config.target);
        let context = Arc::new(Context {
            trees,
            policy,
            filter: self.filter,
            list,
            grain: config.grain_of(&memory.shares),
            copying: config.copying.clone(),
            temporaries: self.temporaries,
            limits: Limits::new(config.limits, comm.ranks()),
            health,
            purpose: config.command.purpose(),
            frozen,
            doubt: self.doubt,
            dry_run: !config.writes(),
            resumed: config.resume,
            itemizes: config.itemizes,
            suspects: Arc::new(suspects),
            planning: config.planning(),
            trashes: config.trash,
            trash: OnceLock::new(),
            held: OnceLock::new(),
            gone: OnceLock::new(),
            renames,
        });
        Begun { context, root, listed, run_directory: self.run_directory, held: self.held, fs_types, told }
    }
}

/// Both roots as the operator named them, for messages.
pub struct Names {
    /// SRC.
    pub source: String,
    /// DST.
    pub target: String,
}

impl Names {
    /// Both roots.
    pub fn of(config: &Config) -> Self {
        Self { source: escaped(config.source.to_bytes()), target: escaped(config.target.to_bytes()) }
    }
}

/// Refuses ranks that were not all started alike, or that are given too little memory.
pub fn same_command(crew: &Crew<'_>, comm: &mut dyn Comm) -> Result<(), Error> {
    let (config, roster) = (crew.config, &crew.roster);
    let file = config.file_systems.digest;
    let told = agree(comm, roster, Ok((env!("CARGO_PKG_VERSION").to_owned(), config.digest(), file)))?;
    let files: Vec<u64> = told.iter().map(|&(.., file)| file).collect();
    let remedy = "give all nodes the same, or name one that all see with --config";
    same_everywhere(roster, &files, "does not go by the same pmirror.toml", remedy)
        .map_err(|error| Error::Usage(error.to_string()))?;
    same_everywhere(roster, &told, "was not started with the same program and options", "start all ranks alike")
        .map_err(|error| Error::Usage(error.to_string()))?;
    agree(comm, roster, crew.memory.must_do()).map(|_| ())
}

/// Begins a run.
pub fn begin(crew: &Crew<'_>, comm: &mut dyn Comm, resumed: Option<&Resumed>) -> Result<Begun, Error> {
    same_command(crew, comm)?;
    let frozen = match resumed {
        Some(resumed) => resumed.story.frozen,
        None => choose::frozen_since(crew.config, comm, &crew.roster)?,
    };
    let mut ready = if crew.config.writes() { to_write(crew, comm)? } else { look::to_look(crew, comm)? };
    if crew.is_root() && !crew.config.quiet && !ready.made && resumed.is_none() {
        habit::told(crew.config, &ready.source.fd, &ready.target.fd).iter().for_each(|text| crate::report::say(text));
    }
    let suspects = suspects::learn(&ready.run_directory, comm, &crew.roster)?;
    let is_there = crew.config.writes() || !ready.made;
    let target = is_there.then_some(&ready.target.fd);
    let places = Places { source: Some(&mut ready.source.fd), target, run_directory: &ready.run_directory };
    let secured = secure::secure(crew, comm, places)?;
    Ok(ready.begun(crew.config, comm, &crew.memory, (frozen, suspects, secured)))
}

/// Begins a run that writes.
fn to_write(crew: &Crew<'_>, comm: &mut dyn Comm) -> Result<Ready, Error> {
    let (config, roster) = (crew.config, &crew.roster);
    let names = Names::of(config);
    let filter = choose::filter(config, comm, roster)?;
    let source = open_source(config, comm, roster, &names)?;
    let (target, made) = open_target(config, comm, roster, &source, &names)?;
    let mounts = mounts::of_both(comm, roster, (&source, Some(&target)), &filter, None)?;
    guard::before_deleting(config, comm, roster, (&source, &target), &names)?;
    let run_id = from_root(comm, roster, || Ok(config.run_id.clone()))?;
    let run_directory = RunDirectory::new(&config.state_dir, &run_id);
    agree(comm, roster, refuse_state_in_trees(&run_directory, &source, &target))?;

    let attempt = Attempt(random());
    let nonce = from_root(comm, roster, || {
        run_directory.make()?;
        leave_in_state(&run_directory, attempt)?;
        Ok(attempt.0)
    })?;
    let (attempt, uid) = (Attempt(nonce), nix::unistd::geteuid().as_raw());
    let job = crew.job.as_ref().map_or("", |job| job.job_id.as_str());
    let files = config.command.makes_target().then(|| config.policy.times_are_the_record());
    let holder = Holder::this_process(attempt, &run_id, roster.host(), job, files);
    let started = &config.started;
    let take_lock = || {
        let make = || Private::make(&target.fd, uid).map_err(|failure| broken("DST/.pmirror", failure));
        Lock::take(make, holder)
    };
    let record = (!config.resume).then_some(started);
    let ready = share_target(&run_directory, comm, roster, &target, (attempt, record), take_lock);
    let Shared { held, abilities, dead, doubt } = ready.inspect_err(|_| forget(&run_directory, comm.rank()))?;
    // Not before the lock is held, either: the list of a run under way lies there.
    let files_from = match choose::files_from(crew, &run_directory, comm) {
        Ok(files_from) => files_from,
        Err(error) => {
            if let Some((private, lock)) = held {
                super::end::give_back(private, lock, &target.fd, Ending::Partly);
                if !config.resume {
                    Started::forget(&run_directory);
                    path_list::remove(&run_directory);
                    run_directory.remove_if_empty();
                }
                if made {
                    roots::unmake_target(&config.target);
                }
            }
            return Err(error);
        }
    };

    if comm.rank() == Rank::ROOT && !config.quiet {
        doubt.into_iter().for_each(say_doubt);
        if abilities.folds_case {
            crate::report::say(FOLDS_CASE);
        }
    }
    let temporaries = Temporaries::new(attempt, comm.rank().0, dead);
    Ok(Ready { source, target, made, mounts, filter, files_from, abilities, temporaries, doubt, run_directory, held })
}

const FOLDS_CASE: &str = "DST takes names that differ only in upper and lower case for one: of such names one is copied, \
                          the others are faults";

/// Why a run reads more than the next one will.
fn say_doubt(doubt: Doubt) {
    let when = |time: Time| jiff::Timestamp::from_second(time.seconds).ok().map(|time| time.to_string());
    let since = when(doubt.since).map_or_else(String::new, |since| format!(" from {since} on"));
    let until = doubt.until.and_then(when).map_or_else(String::new, |until| format!(" up to {until}"));
    crate::report::say(&format!(
        "a run on DST did not end well, and what it wrote may not have reached the disk: files that were changed \
         there{since}{until} are compared, not believed"
    ));
}

/// A run that does not begin leaves nothing in its directory.
fn forget(run_directory: &RunDirectory, rank: Rank) {
    if rank == Rank::ROOT {
        let _ = run_directory.remove(NONCE_IN_STATE);
        run_directory.remove_if_empty();
    }
}

/// Opens SRC on every rank.
fn open_source(config: &Config, comm: &mut dyn Comm, roster: &Roster, names: &Names) -> Result<Root, Error> {
    open_alike(comm, roster, "SRC", &names.source, || {
        let root = Root::open(Side::Source, &config.source)?;
        roots::refuse_private_source(&root, &names.source)?;
        roles::check_source(config, roster, names, &root)?;
        Ok(root)
    })
}

/// Opens a root on every rank, and refuses ranks that see another. While users work, names in it may
/// change between two looks: look again.
pub fn open_alike(
    comm: &mut dyn Comm,
    roster: &Roster,
    root: &str,
    name: &str,
    open: impl Fn() -> Result<Root, Error>,
) -> Result<Root, Error> {
    let lost = || Error::Fatal(format!("{root} was lost: run the same command again"));
    let tries_max = 5;
    for attempt in 1..=tries_max {
        let (mine, opened) = split(open());
        let views = agree(comm, roster, mine)?;
        let remedy = format!("is {name} mounted there?");
        match same_everywhere(roster, &views, &format!("does not see the same {root}"), &remedy) {
            Ok(()) => return opened.ok_or_else(lost),
            Err(error) if attempt == tries_max => return Err(error),
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(50 << attempt)),
        }
    }
    Err(lost())
}

/// The view goes to the others, the open root stays.
fn split(opened: Result<Root, Error>) -> (Result<roots::View, Error>, Option<Root>) {
    match opened {
        Ok(root) => (Ok(root.view.clone()), Some(root)),
        Err(error) => (Err(error), None),
    }
}

/// Opens DST on every rank; rank 0 makes it if it is missing. Returns whether it was made.
fn open_target(
    config: &Config,
    comm: &mut dyn Comm,
    roster: &Roster,
    source: &Root,
    names: &Names,
) -> Result<(Root, bool), Error> {
    let missing = target_is_missing(config, comm, roster, names)?;
    // A checkpoint is of a DST that is there.
    if missing && config.command.makes_target() && !config.resume {
        let parent = roots::target_parent(&config.target);
        let nested = parent.map_or(Ok(()), |parent| refuse_new_in_source(source, &parent, names));
        agree(comm, roster, nested.and_then(|()| roles::check_new_target(config, roster, names)))?;
        from_root(comm, roster, || roots::make_target(&config.target))?;
    }
    let opened = Root::open(Side::Target, &config.target).and_then(|target| {
        roots::refuse_nested(source, &names.source, &target.fd, &names.target)?;
        roles::check_target(config, roster, names, &target)?;
        Ok(target)
    });
    let (mine, opened) = split(opened);
    let views = agree(comm, roster, mine)?;
    let remedy = format!("is {} mounted there?", names.target);
    same_everywhere(roster, &views, "does not see the same DST", &remedy)?;
    let target = opened.ok_or_else(|| Error::Fatal("DST was lost: run the same command again".to_owned()))?;
    Ok((target, missing))
}

/// Whether DST is missing: on all ranks, or on none.
pub fn target_is_missing(config: &Config, comm: &mut dyn Comm, roster: &Roster, names: &Names) -> Result<bool, Error> {
    let exists = agree(comm, roster, Ok(roots::exists(&config.target)))?;
    same_everywhere(roster, &exists, "does not see the same DST", &format!("is {} mounted there?", names.target))?;
    Ok(exists.first() == Some(&false))
}

/// A DST that is to be made in SRC, or below it.
pub fn refuse_new_in_source(source: &Root, parent: &Fd, names: &Names) -> Result<(), Error> {
    let inside = roots::lies_in(parent, source.key()).map_err(|failure| broken("DST", failure))?;
    if inside {
        let (source, target) = (&names.source, &names.target);
        let text = format!("DST {target} lies in SRC {source}: it would be copied into itself; name one beside SRC");
        return Err(Error::Refused(text));
    }
    Ok(())
}

/// The state directory must lie in neither tree.
pub fn refuse_state_in_trees(run_directory: &RunDirectory, source: &Root, target: &Root) -> Result<(), Error> {
    refuse_state_in(run_directory, source, "SRC")?;
    refuse_state_in(run_directory, target, "DST")
}

/// The same for one tree.
pub fn refuse_state_in(run_directory: &RunDirectory, root: &Root, name: &str) -> Result<(), Error> {
    let state = run_directory.open_nearest()?;
    if roots::lies_in(&state, root.key()).map_err(|failure| broken("the state directory", failure))? {
        let state = escaped(run_directory.path().as_os_str().as_encoded_bytes());
        let text = format!("the state directory {state} lies in {name}: choose another with --state-dir");
        return Err(Error::Refused(text));
    }
    Ok(())
}

pub fn broken(what: &str, failure: Failure) -> Error {
    let errno = Errno::from_raw(failure.errno);
    Error::Fatal(format!("{what} can not be used: {}: {}", failure.operation, remedy::told(errno)))
}

/// Leaves a random number in the run's directory, which every rank must find.
pub fn leave_in_state(run_directory: &RunDirectory, attempt: Attempt) -> Result<(), Error> {
    let written = run_directory.write(NONCE_IN_STATE, format!("{:016x}", attempt.0).as_bytes());
    written.map_err(|error| state_broken(run_directory, &error))
}

fn state_broken(run_directory: &RunDirectory, error: &io::Error) -> Error {
    let path = escaped(run_directory.path().as_os_str().as_encoded_bytes());
    Error::Fatal(format!("the run directory {path} can not be used: {error}; choose another with --state-dir"))
}

/// What all ranks know of the target when the lock is taken.
struct Shared {
    /// Rank 0: the lock.
    held: Option<(Private, Lock)>,
    abilities: Abilities,
    dead: Vec<Attempt>,
    doubt: Option<Doubt>,
}

/// Rank 0 leaves a random number in both places, and every rank must find it: only then all see one
/// target and one state directory.
fn share_target(
    run_directory: &RunDirectory,
    comm: &mut dyn Comm,
    roster: &Roster,
    target: &Root,
    (attempt, record): (Attempt, Option<&Started>),
    take_lock: impl FnOnce() -> Result<(Private, Lock), Error>,
) -> Result<Shared, Error> {
    let mut held = None;
    let word = from_root(comm, roster, || {
        let (private, lock) = take_lock()?;
        let abilities = prepare(&private, attempt).map_err(|failure| broken("DST/.pmirror", failure));
        let left = (lock.dead(), lock.doubt());
        held = Some((private, lock));
        // Not before the lock is held: a run with this id may be under way.
        let abilities = abilities?;
        run_directory.keep_old_records()?;
        record.map_or(Ok(()), |started| started.save(run_directory))?;
        Ok((abilities, left))
    });
    let found = word.and_then(|word| {
        agree(comm, roster, find_nonce(run_directory, &target.fd, attempt))?;
        Ok(word)
    });
    if found.is_err() && held.is_some() && record.is_some() {
        Started::forget(run_directory);
    }
    remove_from_state(run_directory, comm.rank(), found.is_err());
    match found {
        Ok((abilities, (dead, doubt))) => Ok(Shared { held, abilities, dead, doubt }),
        Err(error) => {
            if let Some((private, lock)) = held {
                super::end::give_back(private, lock, &target.fd, Ending::Partly);
            }
            Err(error)
        }
    }
}

/// The number in the run's directory has done its work; a run that may not begin leaves no directory.
pub fn remove_from_state(run_directory: &RunDirectory, rank: Rank, is_refused: bool) {
    if rank == Rank::ROOT {
        let _ = run_directory.remove(NONCE_IN_STATE);
        if is_refused {
            run_directory.remove_if_empty();
        }
    }
}

/// What dead runs left in the private directory goes; then the nonce, and the probe.
fn prepare(private: &Private, attempt: Attempt) -> Result<Abilities, Failure> {
    private.clear_except(c"lock")?;
    drop(private.create(NONCE, format!("{:016x}", attempt.0).as_bytes())?);
    probe::measure(private)
}

fn find_nonce(run_directory: &RunDirectory, target: &Fd, attempt: Attempt) -> Result<(), Error> {
    let expected = format!("{:016x}", attempt.0);
    let on_target = Private::open(target).and_then(|private| private.read(NONCE)).unwrap_or_default();
    if on_target != expected.as_bytes() {
        return Err(Error::Refused("does not see the same DST: is it mounted there?".to_owned()));
    }
    find_in_state(run_directory, attempt)
}

/// Whether this rank sees the run's directory that rank 0 made.
pub fn find_in_state(run_directory: &RunDirectory, attempt: Attempt) -> Result<(), Error> {
    let expected = format!("{:016x}", attempt.0);
    let in_state = run_directory.read(NONCE_IN_STATE, 64).unwrap_or_default();
    if in_state != expected.as_bytes() {
        return Err(Error::Refused(format!(
            "does not see the same state directory {}: choose one on a shared file system with --state-dir",
            escaped(run_directory.path().as_os_str().as_encoded_bytes())
        )));
    }
    Ok(())
}

/// Before anything is removed: every rank opens both roots once more by their names, and must find the same
/// two directories as before, with all that was mounted in them. A root that was unmounted meanwhile shows another.
pub fn prove_again(crew: &Crew<'_>, engine: &mut Engine<'_>, context: &Context) -> Result<(), Error> {
    let (trees, config) = (&context.trees, crew.config);
    let opened = roots::still(Side::Source, &config.source, trees.source_key)
        .and_then(|source| Ok((source, roots::still(Side::Target, &config.target, trees.target_key)?)));
    let (mine, roots) = match opened {
        Ok(roots) => (Ok(()), Some(roots)),
        Err(error) => (Err(error), None),
    };
    agree(engine.comm(), &crew.roster, mine)?;
    let (source, target) =
        roots.ok_or_else(|| Error::Fatal("the roots were lost: run the same command again".to_owned()))?;
    let both = (&source, Some(&target));
    mounts::of_both(engine.comm(), &crew.roster, both, &context.filter, Some(&trees.mounts)).map(|_| ())
}

/// A number that nobody else has: from the system's generator.
pub fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    // RandomState is seeded by the system (std::hash), and never twice alike in one process.
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}
