//! The beginning of a run that only looks: both trees are opened on every rank and told by their
//! identities alone, as nothing may be written into them.

use super::agree::{Roster, agree, from_root};
use super::begin::{
    Names, Ready, find_in_state, leave_in_state, open_alike, random, refuse_new_in_source, refuse_state_in_trees,
    remove_from_state, target_is_missing,
};
use super::choose;
use super::crew::Crew;
use super::guard;
use super::mounts;
use super::roles;
use crate::comm::Comm;
use crate::config::Config;
use crate::fault::{Error, Side};
use crate::fs::operator::RunDirectory;
use crate::fs::probe;
use crate::fs::roots::{self, Root};
use crate::pass::Temporaries;
use crate::pass::temporary::Attempt;
use crate::started::Started;

/// Begins a run that only looks.
pub fn to_look(crew: &Crew<'_>, comm: &mut dyn Comm) -> Result<Ready, Error> {
    let (config, roster) = (crew.config, &crew.roster);
    let names = Names::of(config);
    let filter = choose::filter(config, comm, roster)?;
    let source = open_alike(comm, roster, "SRC", &names.source, || {
        let root = Root::open(Side::Source, &config.source)?;
        // What the real run refuses a dry run refuses too.
        if config.dry_run {
            roots::refuse_private_source(&root, &names.source)?;
        }
        roles::check_source(config, roster, &names, &root)?;
        Ok(root)
    })?;
    let (target, made) = open_target(config, comm, roster, &source, &names)?;
    let there = (!made).then_some(&target);
    let mounts = mounts::of_both(comm, roster, (&source, there), &filter, None)?;
    if !made {
        guard::before_deleting(config, comm, roster, (&source, &target), &names)?;
    }
    let run_id = from_root(comm, roster, || Ok(config.run_id.clone()))?;
    let run_directory = RunDirectory::new(&config.state_dir, &run_id);
    agree(comm, roster, refuse_state_in_trees(&run_directory, &source, &target))?;
    agree(comm, roster, refuse_state_as_target(config, &run_directory))?;
    make_run_directory(crew, comm, &run_directory)?;
    let files_from = choose::files_from(crew, &run_directory, comm);
    let files_from = files_from.inspect_err(|_| {
        if crew.is_root() {
            Started::forget(&run_directory);
        }
        remove_from_state(&run_directory, comm.rank(), true);
    })?;
    let abilities = probe::assumed_of(target.view.fs_type);
    // No temporary name is ever made, so no attempt is needed to tell them apart.
    let temporaries = Temporaries::new(Attempt(0), comm.rank().0, Vec::new());
    // Whether a run died is known for certain only to who takes the lock: what only looks believes.
    let (doubt, held) = (None, None);
    Ok(Ready { source, target, made, mounts, filter, files_from, abilities, temporaries, doubt, run_directory, held })
}

/// Opens DST on every rank. Returns whether it is missing: a dry run does not make what the real run would.
pub(super) fn open_target(
    config: &Config,
    comm: &mut dyn Comm,
    roster: &Roster,
    source: &Root,
    names: &Names,
) -> Result<(Root, bool), Error> {
    let missing = target_is_missing(config, comm, roster, names)? && config.command.makes_target();
    let target = open_alike(comm, roster, "DST", &names.target, || {
        if missing {
            if let Some(parent) = roots::target_parent(&config.target) {
                refuse_new_in_source(source, &parent, names)?;
            }
            roles::check_new_target(config, roster, names)?;
            return Root::not_made(&config.target);
        }
        let target = Root::open_to_look(Side::Target, &config.target)?;
        roots::refuse_nested(source, &names.source, &target.fd, &names.target)?;
        roles::check_target(config, roster, names, &target)?;
        Ok(target)
    })?;
    Ok((target, missing))
}

/// A state directory that is still to be made, in place of a DST that is missing.
pub(super) fn refuse_state_as_target(config: &Config, run_directory: &RunDirectory) -> Result<(), Error> {
    if roots::exists(&config.target) {
        return Ok(());
    }
    let name = run_directory.state_name().as_encoded_bytes();
    if roots::would_be_target(&config.target, &run_directory.open_nearest()?, name)? {
        let text = "the state directory would be DST: choose one in neither tree with --state-dir";
        return Err(Error::Refused(text.to_owned()));
    }
    Ok(())
}

/// Rank 0 makes the run's directory, and every rank must see it.
pub fn make_run_directory(crew: &Crew<'_>, comm: &mut dyn Comm, run_directory: &RunDirectory) -> Result<(), Error> {
    let roster = &crew.roster;
    let nonce = from_root(comm, roster, || {
        let attempt = Attempt(random());
        run_directory.make()?;
        run_directory.keep_old_records()?;
        leave_in_state(run_directory, attempt)?;
        Ok(attempt.0)
    })?;
    let seen = agree(comm, roster, find_in_state(run_directory, Attempt(nonce)));
    let kept = from_root(comm, roster, || {
        if seen.is_ok() && !crew.config.resume { crew.config.started.save(run_directory) } else { Ok(()) }
    });
    let seen = seen.and(kept);
    remove_from_state(run_directory, comm.rank(), seen.is_err());
    seen
}
