//! The places of a run that is to come: both trees, or the directory that would hold DST, and the state directory.

use crate::comm::Comm;
use crate::fault::{Error, Side};
use crate::fs::mounts::Mounts;
use crate::fs::operator::RunDirectory;
use crate::fs::roots::{self, Root};
use crate::fs::{Fd, gates, usage};
use crate::preflight::facts::Volumes;
use crate::preflight::{Finding, places as about};
use crate::run::agree::{agree, from_root};
use crate::run::begin::{Names, open_alike, refuse_state_in_trees};
use crate::run::crew::Crew;
use crate::run::{choose, look, mounts, roles};
use crate::started::Started;
use crate::tree::filter::Filter;
use crate::tree::path::escaped;
use crate::tree::reach::{self, Reach};

/// Where a run would work.
pub struct Places {
    /// SRC.
    pub source: Root,
    /// DST, or what stands for one that is missing.
    pub target: Root,
    /// DST, or the directory that would hold it: where things are tried.
    pub bench: Fd,
    /// DST is missing.
    pub is_missing: bool,
    /// What is mounted in both.
    pub mounts: [Mounts; 2],
    /// What of SRC is chosen.
    pub filter: Filter,
    /// The run's directory.
    pub run_directory: RunDirectory,
    /// All ranks see it.
    pub has_state: bool,
    /// The state directory was there before.
    keeps_state: bool,
    /// What was found of it.
    pub state: Finding,
}

/// Why nothing can be tried.
pub enum Unfit {
    /// Of the command line.
    Error(Error),
    /// That is what was found.
    Finding(Finding),
}

/// What is refused is what was found; anything else ends the command.
fn as_found(find: fn(String) -> Finding) -> impl Fn(Error) -> Unfit {
    move |error| match error {
        Error::Usage(_) => Unfit::Error(error),
        Error::Refused(text) | Error::Fatal(text) => Unfit::Finding(find(text)),
    }
}

impl Places {
    /// Opens all of them on every rank. All ranks must see the same.
    pub fn find(crew: &Crew<'_>, comm: &mut dyn Comm, names: &Names) -> Result<Self, Unfit> {
        let (config, roster) = (crew.config, &crew.roster);
        let no_source = as_found(|error| about::unusable("source", error));
        let no_target = as_found(|error| about::unusable("target", error));
        let filter = choose::filter(config, comm, roster).map_err(Unfit::Error)?;
        let source = open_alike(comm, roster, "SRC", &names.source, || {
            let root = Root::open(Side::Source, &config.source)?;
            roots::refuse_private_source(&root, &names.source)?;
            roles::check_source(config, roster, names, &root)?;
            Ok(root)
        });
        let source = source.map_err(no_source)?;
        let (target, is_missing) = look::open_target(config, comm, roster, &source, names).map_err(&no_target)?;
        let role = if is_missing {
            roles::check_new_target(config, roster, names)
        } else {
            roles::check_target(config, roster, names, &target)
        };
        agree(comm, roster, role).map_err(&no_target)?;
        let bench = bench(crew, &target, is_missing);
        agree(comm, roster, bench.as_ref().map(|_| ()).map_err(Clone::clone)).map_err(&no_target)?;
        let bench = bench.map_err(&no_target)?;
        let there = (!is_missing).then_some(&target);
        let mounts = mounts::of_both(comm, roster, (&source, there), &filter, None);
        let mounts = mounts.map_err(as_found(about::unlike_mounts))?;
        let run_id = from_root(comm, roster, || Ok(config.run_id.clone())).map_err(Unfit::Error)?;
        let run_directory = RunDirectory::new(&config.state_dir, &run_id);
        let keeps_state = run_directory.open_state().is_ok();
        let state = make_state(crew, comm, &run_directory, (&source, &target));
        let has_state = state.is_ok();
        let state = match state {
            Ok(()) => Finding::good("state_dir", "the state directory can be used"),
            Err(Error::Usage(text)) => return Err(Unfit::Error(Error::Usage(text))),
            Err(error) => {
                let remedy = "choose one in neither tree that all nodes see, with --state-dir";
                Finding::no_go("state_dir", error.to_string(), remedy)
            }
        };
        Ok(Self { source, target, bench, is_missing, mounts, filter, run_directory, has_state, keeps_state, state })
    }

    /// How much both file systems have; as much of it as can be told.
    pub fn volumes(&self, crew: &Crew<'_>) -> Volumes {
        if !crew.is_root() {
            return Volumes::default();
        }
        let of = |directory: &Fd| usage::volume(directory).unwrap_or_default();
        // btrfs, zfs, and bcachefs.
        let compressing = [0x9123_683E, 0x2FC1_2FC1, 0xCA45_1A4E];
        Volumes {
            source: of(&self.source.fd),
            source_is_whole: usage::of_root(&self.source.fd).is_ok_and(|used| used.is_some()),
            mounts_in_source: self.mounts.first().map_or(0, |mounts| mounts.len() as u64),
            target: of(&self.bench),
            target_is_empty: self.is_missing || roots::is_empty(&self.target.fd).unwrap_or(false),
            target_may_compress: compressing.contains(&self.target.view.fs_type),
        }
    }

    /// Who gets to DST.
    pub fn reach(&self) -> Option<Reach> {
        let us = nix::unistd::geteuid().as_raw();
        gates::on_the_way_to(&self.bench).ok().map(|gates| reach::judge(&gates, us))
    }

    /// What is mounted in SRC, and in DST, for people.
    pub fn mount_points(&self) -> [Vec<String>; 2] {
        let shown = |mounts: &Mounts| mounts.keys().map(|path| escaped(path.as_bytes())).collect();
        [self.mounts.first(), self.mounts.last()].map(|mounts| mounts.map(shown).unwrap_or_default())
    }

    /// The run's directory goes: it has nothing to tell. So does the state directory, if it was made for that.
    pub fn leave_no_record(&self, crew: &Crew<'_>) {
        if !crew.is_root() || !self.has_state {
            return;
        }
        Started::forget(&self.run_directory);
        if self.keeps_state {
            self.run_directory.remove_only();
        } else {
            self.run_directory.remove_if_empty();
        }
    }
}

/// Where things are tried.
fn bench(crew: &Crew<'_>, target: &Root, is_missing: bool) -> Result<Fd, Error> {
    if is_missing {
        let lost = || Error::Refused("the directory that would hold DST can not be opened".to_owned());
        return roots::target_parent(&crew.config.target).ok_or_else(lost);
    }
    crate::fs::open::child_directory(&target.fd, c".").map_err(|failure| crate::run::begin::broken("DST", failure))
}

fn make_state(
    crew: &Crew<'_>,
    comm: &mut dyn Comm,
    run_directory: &RunDirectory,
    (source, target): (&Root, &Root),
) -> Result<(), Error> {
    let roster = &crew.roster;
    agree(comm, roster, refuse_state_in_trees(run_directory, source, target))?;
    agree(comm, roster, look::refuse_state_as_target(crew.config, run_directory))?;
    look::make_run_directory(crew, comm, run_directory)
}
