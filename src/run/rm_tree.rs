//! `pmirror rm --tree`: refuse what is precious, remove all that the tree holds, then the tree.

use std::sync::{Arc, OnceLock};

use nix::errno::Errno;

use super::agree::{agree, from_root, same_everywhere};
use super::begin::{self, Begun, same_command};
use super::clock::Clock;
use super::crew::Crew;
use super::prune::Judged;
use super::record::{Found, Recorder};
use super::secure::{Places, Secured};
use super::{Circumstances, Conclusion, choose, finish, guard, lists, look, secure};
use crate::comm::Comm;
use crate::config::Config;
use crate::counters::{Counters, Number, Slot};
use crate::engine::{Ended, Finished};
use crate::fault::{Error, Failure, Fault, Remedy, Side};
use crate::fs::open;
use crate::fs::operator::RunDirectory;
use crate::fs::probe;
use crate::fs::roots::Trees;
use crate::fs::tree_root::TreeRoot;
use crate::pass::temporary::Attempt;
use crate::pass::{Context, Effects, Health, Limits, Temporaries};
use crate::report::Progress;
use crate::tree::{DirectoryItem, Fate, Item, Kept, Kind, Parked, Proof, TreePath};

/// `pmirror rm --tree`.
pub fn tree(config: &Config, comm: &mut dyn Comm, circumstances: Circumstances) -> Conclusion {
    let mut clock = Clock::start();
    let crew = Crew::call(config, comm, circumstances);
    let (tree, begun) = match begin(&crew, comm) {
        Ok(begun) => begun,
        Err(error) => return error.into(),
    };
    crew.say_circumstances(begun.run_directory.path());
    let mut progress = crew.progress(&begun);
    let removed = remove(&crew, &begun, comm, &mut progress, &mut clock);
    progress.finish();
    match removed {
        Ok((ended, finished)) => conclude(&crew, comm, &tree, begun, (ended, finished), clock),
        Err(error) => error.into(),
    }
}

/// Opens the tree on every rank, proves that all see the same one, and refuses what is precious.
fn begin(crew: &Crew<'_>, comm: &mut dyn Comm) -> Result<(TreeRoot, Begun), Error> {
    let (config, roster) = (crew.config, &crew.roster);
    same_command(crew, comm)?;
    let filter = choose::filter(config, comm, roster)?;
    let opened = TreeRoot::open(&config.target).and_then(|tree| {
        tree.refuse_precious(&config.target)?;
        guard::refuse_known_source(config, &tree.root)?;
        Ok(tree)
    });
    let (mine, opened) = match opened {
        Ok(tree) => (Ok(tree.root.view.clone()), Some(tree)),
        Err(error) => (Err(error), None),
    };
    let views = agree(comm, roster, mine)?;
    same_everywhere(roster, &views, "does not see the same tree", "is its file system mounted there?")?;
    let tree = opened.ok_or_else(|| Error::Fatal("the tree was lost: run the same command again".to_owned()))?;
    let run_id = from_root(comm, roster, || Ok(config.run_id.clone()))?;
    let run_directory = RunDirectory::new(&config.state_dir, &run_id);
    agree(comm, roster, begin::refuse_state_in(&run_directory, &tree.root, "the tree"))?;
    look::make_run_directory(crew, comm, &run_directory)?;
    let places = Places { source: None, target: Some(&tree.root.fd), run_directory: &run_directory };
    let secured = secure::secure(crew, comm, places)?;
    let begun = begun(crew, comm, &tree, (filter, secured), run_directory);
    let begun = agree(comm, roster, begun.as_ref().map(|_| ()).map_err(Clone::clone)).and(begun)?;
    Ok((tree, begun))
}

fn begun(
    crew: &Crew<'_>,
    comm: &dyn Comm,
    tree: &TreeRoot,
    (filter, secured): (crate::tree::filter::Filter, Secured),
    run_directory: RunDirectory,
) -> Result<Begun, Error> {
    let (config, root) = (crew.config, &tree.root);
    let lost = |failure: Failure| Error::Fatal(format!("the tree was lost: errno {}", failure.errno));
    let (source, target) =
        (open::child_directory(&root.fd, c".").map_err(lost)?, open::child_directory(&root.fd, c".").map_err(lost)?);
    let Secured { source_path, belts, told } = secured;
    let (key, mounts) = (root.key(), Default::default());
    let trees = Trees { source, target, source_key: key, target_key: key, source_path, mounts, belts };
    let mut policy = config.policy.clone();
    policy.target = probe::assumed_of(root.view.fs_type);
    let context = Arc::new(Context {
        trees,
        policy,
        filter,
        list: None,
        grain: config.grain_of(&crew.memory.shares),
        copying: config.copying.clone(),
        temporaries: Temporaries::new(Attempt(0), comm.rank().0, Vec::new()),
        limits: Limits::new(config.limits, comm.ranks()),
        health: Health::new(Vec::new()),
        purpose: config.command.purpose(),
        dry_run: config.dry_run,
        resumed: false,
        itemizes: config.itemizes,
        frozen: None,
        doubt: None,
        gone: OnceLock::new(),
        suspects: Arc::default(),
        planning: None,
        held: OnceLock::new(),
    });
    let identity = root.attributes.identity;
    let root_item = DirectoryItem {
        path: TreePath::root(),
        source: identity,
        target: Some(identity),
        mount: 0,
        made: false,
        parked: Parked::NEVER,
    };
    let fs_types = (root.view.fs_type, root.view.fs_type);
    Ok(Begun { context, root: root_item, listed: None, run_directory, held: None, fs_types, told })
}

fn remove(
    crew: &Crew<'_>,
    begun: &Begun,
    comm: &mut dyn Comm,
    progress: &mut Progress,
    clock: &mut Clock,
) -> Result<(Ended, Finished), Error> {
    let mut engine = crew.engine(begun, comm, None)?;
    clock.seconds.start = clock.lap();
    progress.enter("remove");
    let seed = Item::Doom { path: TreePath::root(), proof: Proof::Asked, round: (0, 1), parked: Parked::NEVER };
    let seeds = if crew.is_root() { vec![seed] } else { Vec::new() };
    let ended = engine.run_pass(seeds, &mut |report| progress.observe(report));
    clock.seconds.remove = clock.lap();
    Ok((ended, engine.finish()))
}

/// Removes the root of the tree, and sums up.
fn conclude(
    crew: &Crew<'_>,
    comm: &mut dyn Comm,
    tree: &TreeRoot,
    begun: Begun,
    (ended, finished): (Ended, Finished),
    clock: Clock,
) -> Conclusion {
    let Finished { mut counters, mut faults, error, .. } = finished;
    let error = agree(comm, &crew.roster, error.map_or(Ok(()), Err)).err();
    let (planned, stays) = stays(crew, comm, &counters);
    let mut listed = Ok(Vec::new());
    if crew.is_root() {
        let mut effects = Effects::default();
        effects.counters.add(Slot::Planned(Kind::Directory), 1);
        if ended == Ended::Quiet && error.is_none() {
            root(tree, &begun.context, stays, &mut effects);
        }
        counters.merge(&effects.counters);
        listed = lists::of_root(crew, &begun.run_directory, &effects);
    }
    let (root_faults, listed) = listed.map_or_else(|error| (Vec::new(), Err(error)), |causes| (causes, Ok(())));
    faults.extend(root_faults.into_iter().map(|cause| (cause, 1)));
    let error = error.or_else(|| agree(comm, &crew.roster, listed).err());
    // All ranks have met since they removed anything, and the root is gone when the first node begins.
    let flushed = agree(comm, &crew.roster, finish::flush(crew, &begun.context));
    let error = error.or(flushed.err());
    let judged = Some(Judged { seen: planned + 1, ..Judged::default() });
    let recorder =
        Recorder { crew, run_directory: begun.run_directory.clone(), fs_types: begun.fs_types, told: begun.told };
    let found = Found { counters, faults, ended, error, judged, written_to: Vec::new() };
    finish::list_and_sum_up(comm, &recorder, found, begun.context.itemizes, clock)
}

/// How many entries all ranks have seen, and why the root stays for what became of them.
fn stays(crew: &Crew<'_>, comm: &mut dyn Comm, counters: &Counters) -> (u64, Option<Kept>) {
    let is_kept = |&kept: &Kept| kept != Kept::Gone && counters.get(Slot::Stays(kept)) > 0;
    let has_failed = counters.removals(Fate::Failed) > 0;
    let worst = Kept::ALL.into_iter().filter(is_kept).chain(has_failed.then_some(Kept::HoldsFailed)).max();
    // A root that could not be listed has a fault, and nothing in it a fate.
    let unlisted = (counters.planned() == 0 && counters.number(Number::Faults) > 0).then_some(Kept::HoldsFailed);
    let all = agree(comm, &crew.roster, Ok((counters.planned(), worst.max(unlisted)))).unwrap_or_default();
    (all.iter().map(|(planned, _)| planned).sum(), all.iter().filter_map(|&(_, worst)| worst).max())
}

fn root(tree: &TreeRoot, context: &Context, stays: Option<Kept>, effects: &mut Effects) {
    if let Some(kept) = stays {
        return effects.keep(Kind::Directory, kept);
    }
    let dry_run = context.dry_run;
    match if dry_run { Ok(()) } else { tree.remove() } {
        Ok(()) => effects.remove(Kind::Directory, Fate::Removed),
        Err(failure) if is_not_empty(failure) && context.filter.has_patterns() => {
            effects.keep(Kind::Directory, Kept::Protected);
        }
        Err(failure) if is_not_empty(failure) => {
            effects.keep(Kind::Directory, Kept::NotEmpty);
            let note = Kept::NotEmpty.text();
            let outcome = crate::tree::Outcome::Skipped;
            let (path, side, remedy) = (TreePath::root(), Side::Target, Remedy::Nothing);
            effects.fault(Fault { path, outcome, side, operation: "", errno: 0, note, remedy });
        }
        Err(failure) => {
            effects.remove(Kind::Directory, Fate::Failed);
            effects.fault(Fault { remedy: Remedy::Nothing, ..Fault::of(TreePath::root(), failure) });
        }
    }
}

fn is_not_empty(failure: Failure) -> bool {
    matches!(Errno::from_raw(failure.errno), Errno::ENOTEMPTY | Errno::EEXIST)
}
