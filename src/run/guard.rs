//! What is refused before a run that may delete begins: roots that can not be the ones that were meant.

use super::agree::{Roster, agree, from_root};
use super::begin::{Names, broken};
use super::known::{Known, KnownRoot};
use crate::comm::Comm;
use crate::config::Config;
use crate::fault::{Error, Failure};
use crate::fs::operator::path_of;
use crate::fs::roots::{self, Root};
use crate::tree::path::escaped;

/// Refuses an empty source, roots that were exchanged, and roots that are not those of the last run. Nothing
/// of it where nothing is deleted.
pub fn before_deleting(
    config: &Config,
    comm: &mut dyn Comm,
    roster: &Roster,
    (source, target): (&Root, &Root),
    names: &Names,
) -> Result<(), Error> {
    if config.guards.is_none() {
        return Ok(());
    }
    agree(comm, roster, refuse_empty_source(source, target, names))?;
    from_root(comm, roster, || refuse_other_roots(config, source, target, names))
}

/// A source that is empty while the target is not was not mounted, or is not the one that was meant.
fn refuse_empty_source(source: &Root, target: &Root, names: &Names) -> Result<(), Error> {
    let lost = |failure: Failure| broken("a root", failure);
    if roots::is_empty(&source.fd).map_err(lost)? && !roots::is_empty(&target.fd).map_err(lost)? {
        let Names { source, target } = names;
        return Err(Error::Refused(format!(
            "SRC {source} is empty and DST {target} is not: all of DST would be removed. Is {source} mounted? To remove \
             a whole tree there is pmirror rm --tree"
        )));
    }
    Ok(())
}

/// The last run over this pair knows which directories they were.
fn refuse_other_roots(config: &Config, source: &Root, target: &Root, names: &Names) -> Result<(), Error> {
    let paths = (path_of(&source.fd), path_of(&target.fd));
    if let Some(known) = Known::load(&config.state_dir, &paths.1, &paths.0)? {
        return Err(Error::Refused(format!(
            "SRC and DST look exchanged: in run {} ({}) {} was SRC and {} was DST. If you want it the other way round \
             now, choose another --state-dir",
            known.run_id, known.command, names.target, names.source
        )));
    }
    let Some(known) = Known::load(&config.state_dir, &paths.0, &paths.1)? else { return Ok(()) };
    for (what, name, root, was) in
        [("SRC", &names.source, source, &known.source), ("DST", &names.target, target, &known.target)]
    {
        if !is_same(root, was) {
            return Err(Error::Refused(format!(
                "{what} {name} is not the directory that it was in run {}: inode {} then, inode {} now. Is it mounted? If \
                 it was replaced on purpose, run pmirror sync without --delete first",
                known.run_id, was.identity.inode, root.attributes.identity.inode
            )));
        }
    }
    Ok(())
}

fn is_same(root: &Root, was: &KnownRoot) -> bool {
    (root.view.identity, root.view.fs_type) == (was.identity, was.fs_type)
}

/// Refuses to remove a tree that is, or holds, the source of a run that is on record.
pub fn refuse_known_source(config: &Config, tree: &Root) -> Result<(), Error> {
    let path = path_of(&tree.fd);
    let holds = |known: &Known| {
        let below = known.source.path.strip_prefix(path.as_slice());
        is_same(tree, &known.source) || below.is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
    };
    match Known::all(&config.state_dir)?.into_iter().find(holds) {
        None => Ok(()),
        Some(known) => Err(Error::Refused(format!(
            "the tree is, or holds, {}, which was the SRC of run {}: it is not removed. If it is done with, remove its \
             record below {}/roots",
            escaped(&known.source.path),
            known.run_id,
            escaped(config.state_dir.as_os_str().as_encoded_bytes())
        ))),
    }
}
