//! The beginning of a run that only looks: both trees are opened on every rank and told by their
//! identities alone, as nothing may be written into them.

use std::sync::Arc;

use super::agree::{agree, from_root};
use super::begin::{
    Names, find_in_state, leave_in_state, open_alike, random, refuse_state_in_trees, remove_from_state, same_command,
};
use super::choose;
use super::crew::Crew;
use crate::comm::Comm;
use crate::config;
use crate::fault::{Error, Side};
use crate::fs::operator::RunDirectory;
use crate::fs::probe;
use crate::fs::roots::{self, Root, Trees};
use crate::pass::temporary::Attempt;
use crate::pass::{Context, Limits, Temporaries};
use crate::tree::listed::Extent;
use crate::tree::{DirectoryItem, Item, TreePath};

/// A run that may begin to look.
pub struct Looking {
    /// The trees, and how they are compared.
    pub context: Arc<Context>,
    /// The item from which all others come.
    pub root: DirectoryItem,
    /// `--files-from`: the part of the list that the root is looked at by.
    pub listed: Option<Extent>,
    /// The run's directory.
    pub run_directory: RunDirectory,
    /// The types of both file systems.
    pub fs_types: (u64, u64),
}

impl Looking {
    /// The first item.
    pub fn seed(&self) -> Item {
        Item::first(&self.root, self.listed)
    }
}

/// Begins a run that only looks.
pub fn begin(crew: &Crew<'_>, cmp: &config::Cmp, comm: &mut dyn Comm) -> Result<Looking, Error> {
    let (config, roster) = (crew.config, &crew.roster);
    same_command(config, comm, roster)?;
    let names = Names::of(config);
    let filter = choose::filter(&config.choose, comm, roster)?;
    let source = open_alike(comm, roster, "SRC", &names.source, || Root::open(Side::Source, &config.source))?;
    let target = open_alike(comm, roster, "DST", &names.target, || {
        let target = Root::open_to_look(Side::Target, &config.target)?;
        roots::refuse_nested(&source, &names.source, &target.fd, &names.target)?;
        Ok(target)
    })?;
    let run_directory = make_run_directory(crew, comm, &source, &target)?;

    let files_from = choose::files_from(&config.choose, &run_directory, comm, roster);
    let files_from = files_from.inspect_err(|_| remove_from_state(&run_directory, comm.rank(), true))?;
    let (list, listed) = files_from.map_or((None, None), |listed| (Some(listed.list), listed.extent));

    let fs_types = (source.view.fs_type, target.view.fs_type);
    let root = DirectoryItem {
        path: TreePath::root(),
        source: source.attributes.identity,
        target: Some(target.attributes.identity),
        mount: 0,
        made: false,
    };
    let (source_key, target_key) = (source.key(), target.key());
    let trees = Trees { source: source.fd, target: target.fd, source_key, target_key };
    let mut policy = config.policy.clone();
    policy.target = probe::assumed_of(target.view.fs_type);
    let context = Arc::new(Context {
        trees,
        policy,
        filter,
        list,
        grain: config.grain_of(crew.threads),
        copying: config.copying.clone(),
        limits: Limits::new(config.limits, comm.ranks()),
        // No temporary name is ever made, so no attempt is needed to tell them apart.
        temporaries: Temporaries::new(Attempt(0), comm.rank().0, Vec::new()),
        comparing: Some(cmp.comparing.clone()),
    });
    Ok(Looking { context, root, listed, run_directory, fs_types })
}

/// Rank 0 makes the run's directory, and every rank must see it.
fn make_run_directory(
    crew: &Crew<'_>,
    comm: &mut dyn Comm,
    source: &Root,
    target: &Root,
) -> Result<RunDirectory, Error> {
    let (config, roster) = (crew.config, &crew.roster);
    let run_id = from_root(comm, roster, || Ok(config.run_id.clone()))?;
    let run_directory = RunDirectory::new(&config.state_dir, &run_id);
    agree(comm, roster, refuse_state_in_trees(&run_directory, source, target))?;
    let nonce = from_root(comm, roster, || {
        let attempt = Attempt(random());
        run_directory.make()?;
        leave_in_state(&run_directory, attempt)?;
        Ok(attempt.0)
    })?;
    let seen = agree(comm, roster, find_in_state(&run_directory, Attempt(nonce)));
    remove_from_state(&run_directory, comm.rank(), seen.is_err());
    seen.map(|_| run_directory)
}
