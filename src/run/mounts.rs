//! File systems that are mounted inside the trees: all ranks must have the same. A rank that misses one sees an empty
//! directory in its place, of which nothing would be copied, and all would be removed from the target.

use std::collections::BTreeSet;
use std::ffi::CString;

use super::agree::{Roster, agree};
use crate::comm::Comm;
use crate::fault::Error;
use crate::fs::mounts::{self, Mounts};
use crate::fs::roots::Root;
use crate::tree::filter::Filter;
use crate::tree::path::escaped;
use crate::tree::{Identity, TreePath};

/// What is mounted in both trees, the same on all ranks; DST may not be there. `before`: what it was at the beginning.
pub fn of_both(
    comm: &mut dyn Comm,
    roster: &Roster,
    (source, target): (&Root, Option<&Root>),
    filter: &Filter,
    before: Option<&[Mounts; 2]>,
) -> Result<[Mounts; 2], Error> {
    let mut all: [Mounts; 2] = Default::default();
    for (index, (name, root)) in [("SRC", Some(source)), ("DST", target)].into_iter().enumerate() {
        if let (Some(root), Some(place)) = (root, all.get_mut(index)) {
            let before = before.and_then(|before| before.get(index));
            *place = same_everywhere(comm, roster, &Tree { name, root }, filter, before)?;
        }
    }
    Ok(all)
}

/// One of the two trees.
struct Tree<'t> {
    /// Its name in messages.
    name: &'static str,
    root: &'t Root,
}

/// Gives every rank what is mounted in a tree, or refuses. `before`: what it was when the run began. What the rules
/// leave out may differ.
fn same_everywhere(
    comm: &mut dyn Comm,
    roster: &Roster,
    tree: &Tree<'_>,
    filter: &Filter,
    before: Option<&Mounts>,
) -> Result<Mounts, Error> {
    let mine = before.map_or(Ok(()), |before| refuse_lost(tree, before)).map(|()| mounted(tree, filter));
    let all = agree(comm, roster, mine)?;
    let doubtful = doubtful(&all);
    if !doubtful.is_empty() {
        // The same may be there by another name, or be mounted when it is used.
        let look = |path: &TreePath| mounts::look(&tree.root.fd, path).ok();
        let views = agree(comm, roster, Ok(doubtful.iter().map(look).collect::<Vec<_>>()))?;
        for (index, path) in doubtful.iter().enumerate() {
            let seen: Vec<Option<&(Identity, u64)>> =
                views.iter().map(|view| view.get(index).and_then(Option::as_ref)).collect();
            let differs = seen.iter().any(|one| one.is_none() || seen.first() != Some(one));
            if differs {
                return Err(refusal(roster, tree.name, path, &all));
            }
        }
    }
    Ok(mounted(tree, filter))
}

fn mounted(tree: &Tree<'_>, filter: &Filter) -> Mounts {
    let mut mounts = mounts::below(&tree.root.fd);
    mounts.retain(|path, _| !is_left_out(filter, path));
    mounts
}

/// Whether the rules leave out a place, or a directory above it.
fn is_left_out(filter: &Filter, path: &TreePath) -> bool {
    let (mut above, mut is_out) = (Some(path.clone()), false);
    while let Some((directory, name)) = above.as_ref().and_then(TreePath::split_last) {
        let name = CString::new(name).unwrap_or_default();
        is_out |= filter.names_in(&directory).is_some_and(|mut rules| rules.leaves_out(&name, true));
        above = Some(directory);
    }
    is_out
}

/// What was mounted when the run began must be so still. An automounter may have taken it away meanwhile: it comes
/// back with a look.
fn refuse_lost(tree: &Tree<'_>, before: &Mounts) -> Result<(), Error> {
    let now = mounts::below(&tree.root.fd);
    let lost = |path: &&TreePath| now.get(path) != before.get(path);
    let lost: Vec<&TreePath> = before.keys().filter(lost).collect();
    for path in &lost {
        let _ = mounts::look(&tree.root.fd, path);
    }
    let now = mounts::below(&tree.root.fd);
    match lost.into_iter().find(|path| now.get(path) != before.get(path)) {
        None => Ok(()),
        Some(path) => Err(Error::Refused(format!(
            "what was mounted in {} at {} when the run began is not there any more: mount it, and run the same command again",
            tree.name,
            escaped(path.as_bytes())
        ))),
    }
}

/// Places of which the tables of the ranks tell different things.
fn doubtful(all: &[Mounts]) -> Vec<TreePath> {
    let paths: BTreeSet<&TreePath> = all.iter().flat_map(Mounts::keys).collect();
    let differs = |path: &TreePath| all.windows(2).any(|two| matches!(two, [a, b] if a.get(path) != b.get(path)));
    paths.into_iter().filter(|path| differs(path)).cloned().collect()
}

fn refusal(roster: &Roster, tree: &str, path: &TreePath, all: &[Mounts]) -> Error {
    let has = all.iter().position(|mounts| mounts.contains_key(path)).unwrap_or_default();
    let mount = all.get(has).and_then(|mounts| mounts.get(path));
    let misses = all.iter().position(|mounts| mounts.get(path) != mount).unwrap_or_default();
    let path = escaped(path.as_bytes());
    Error::Refused(format!(
        "{} does not have what {} has mounted in {tree} at {path}: mount it on all nodes, or leave it out with \
         --exclude '/{path}'",
        roster.name(misses),
        roster.name(has)
    ))
}
