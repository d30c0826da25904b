//! What is refused before a run that may delete begins: roots that can not be the ones that were meant.

use super::agree::{Roster, agree, from_root};
use super::begin::{Names, broken};
use super::known::{Known, KnownRoot};
use crate::comm::Comm;
use crate::config::Config;
use crate::fault::{Error, Failure};
use crate::fs::operator::path_of;
use crate::fs::roots::{self, Root};
use crate::report::say;
use crate::sched::Rank;
use crate::tree::path::escaped;

/// Refuses an empty source, roots that were exchanged, and roots that are not those of the last run. Where nothing is
/// deleted such roots are only named: a copy may be meant for them.
pub fn before_deleting(
    config: &Config,
    comm: &mut dyn Comm,
    roster: &Roster,
    (source, target): (&Root, &Root),
    names: &Names,
) -> Result<(), Error> {
    let other = || other_roots(config, source, target, names);
    if config.guards.is_none() {
        if comm.rank() == Rank::ROOT && config.writes() {
            // A record that can not be read is told where it is needed.
            let _ = other().map(|found| found.iter().for_each(|found| say(&found.to_string())));
        }
        return Ok(());
    }
    agree(comm, roster, refuse_empty_source(source, target, names))?;
    from_root(comm, roster, || other()?.map_or(Ok(()), |found| Err(Error::Refused(found.refusal()))))
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

/// Roots that are not what the last run over them says.
struct OtherRoots {
    /// What is odd.
    what: String,
    /// What to do if they are meant, where deletions are refused.
    remedy: &'static str,
}

impl OtherRoots {
    fn refusal(&self) -> String {
        format!("{}{}", self.what, self.remedy)
    }
}

impl std::fmt::Display for OtherRoots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} Nothing is deleted, but what SRC has takes the place of what DST has", self.what)
    }
}

/// The last run over this pair knows which directories they were.
fn other_roots(config: &Config, source: &Root, target: &Root, names: &Names) -> Result<Option<OtherRoots>, Error> {
    let paths = (path_of(&source.fd), path_of(&target.fd));
    if let Some(known) = Known::load(&config.state_dir, &paths.1, &paths.0)? {
        let what = format!(
            "SRC and DST look exchanged: in run {} ({}) {} was SRC and {} was DST.",
            known.run_id, known.command, names.target, names.source
        );
        let remedy = " If you want it the other way round now, choose another --state-dir";
        return Ok(Some(OtherRoots { what, remedy }));
    }
    let Some(known) = Known::load(&config.state_dir, &paths.0, &paths.1)? else { return Ok(None) };
    let pairs = [("SRC", &names.source, source, &known.source), ("DST", &names.target, target, &known.target)];
    let Some((what, name, root, was)) = pairs.into_iter().find(|(.., root, was)| !is_same(root, was)) else {
        return Ok(None);
    };
    let what = format!(
        "{what} {name} is not the directory that it was in run {}: inode {} then, inode {} now. Is it mounted?",
        known.run_id, was.identity.inode, root.attributes.identity.inode
    );
    let remedy = " If it was replaced on purpose, run pmirror sync without --delete first";
    Ok(Some(OtherRoots { what, remedy }))
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
