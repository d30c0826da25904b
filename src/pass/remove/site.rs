//! A directory of the target in which names are to be removed: open, and proven to be the one that was
//! meant, without its twin in the source.

use std::ffi::{CStr, CString};

use nix::errno::Errno;

use crate::fault::Failure;
use crate::fs::{Fd, attributes, open};
use crate::pass::Context;
use crate::pass::{aside, pair};
use crate::tree::removal::{Absent, Lack};
use crate::tree::{Identity, Kept, Kind, Proof, TreePath};

/// Why nothing is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// It stays.
    Stays(Kept),
    /// It stays, as it can not be renamed into the trash.
    Unmovable(Failure),
    /// A system call failed.
    Failed(Failure),
}

impl From<Failure> for Obstacle {
    fn from(failure: Failure) -> Self {
        Obstacle::Failed(failure)
    }
}

/// A directory in which names are to be removed.
#[derive(Debug)]
pub struct Site {
    /// The directory.
    pub directory: Fd,
    /// What it was when it was opened.
    pub identity: Identity,
    /// Its owner's permissions keep us from changing names in it: what its mode is.
    closed: Option<u32>,
    /// The source's directory whose lack of something is the proof, if it is the twin of this one.
    twin: Option<(Fd, Lack)>,
}

impl Site {
    /// Opens the directory at `path`, and proves once more that its names may go. `expected`: the inode
    /// that the plan saw.
    pub fn open(
        context: &Context,
        path: &TreePath,
        proof: &Proof,
        expected: Option<Identity>,
    ) -> Result<Self, Obstacle> {
        if context.sets_aside(path) {
            return Err(Obstacle::Failed(aside::UNTOUCHED));
        }
        let Proof::Absent(absent) = proof else {
            return Self::below(context, &context.trees.target, path, path, expected);
        };
        let depth = absent.depth as usize;
        let (above, below) = (path.ancestor(depth).unwrap_or_default(), path.below(depth).unwrap_or_default());
        let shared = target_directory(context, &above, absent)?;
        let twin = source_twin(context, &above, absent)?;
        if below.is_root() {
            let mut site = Self::of(context, shared, expected)?;
            site.twin = Some((twin, absent.lack));
            return Ok(site);
        }
        prove_topmost(&twin, &below, absent)?;
        Self::below(context, &shared, &below, path, expected)
    }

    fn below(
        context: &Context,
        start: &Fd,
        below: &TreePath,
        path: &TreePath,
        expected: Option<Identity>,
    ) -> Result<Self, Obstacle> {
        let directory = match open::directory_on_mount(start, below) {
            Err(failure) if failure.errno == Errno::EACCES as i32 && !context.dry_run => {
                pair::widen(context, path)?;
                open::directory_on_mount(start, below)
            }
            result => result,
        };
        Self::of(context, directory.map_err(of_target)?, expected)
    }

    fn of(context: &Context, directory: Fd, expected: Option<Identity>) -> Result<Self, Obstacle> {
        let was = attributes::of_fd(&directory)?;
        if expected.is_some_and(|expected| expected != was.identity) {
            return Err(Obstacle::Stays(Kept::Changed));
        }
        let able = &context.policy.target;
        let is_closed = !able.overrides_permissions && was.uid == able.uid && was.mode & 0o300 != 0o300;
        let closed = is_closed.then_some(was.mode);
        Ok(Self { directory, identity: was.identity, closed, twin: None })
    }

    /// Before a name is taken out of it: an owner whose own directory is closed to him opens it. It goes too, or the
    /// pass over the directories gives it its permissions back.
    pub fn prepare_for_change(&self, context: &Context) -> Result<(), Obstacle> {
        match self.closed {
            Some(mode) if !context.dry_run => Ok(attributes::set_mode(&self.directory, mode | 0o700)?),
            _ => Ok(()),
        }
    }

    /// Proves that the source does not have a name, where this directory is the one that both trees have.
    /// Below it all names share one proof, which was given when the directory was opened.
    pub fn prove(&self, name: &CStr) -> Result<(), Obstacle> {
        self.twin.as_ref().map_or(Ok(()), |(twin, lack)| prove(twin, name, *lack))
    }
}

/// The directory of the target that both trees have.
fn target_directory(context: &Context, path: &TreePath, absent: &Absent) -> Result<Fd, Obstacle> {
    let directory = open::directory_below(&context.trees.target, path).map_err(of_target)?;
    if attributes::of_fd(&directory)?.identity != absent.target {
        return Err(Obstacle::Stays(Kept::Changed));
    }
    Ok(directory)
}

/// Its twin in the source: the one that was listed, or nothing is proven.
fn source_twin(context: &Context, path: &TreePath, absent: &Absent) -> Result<Fd, Obstacle> {
    let gone = [Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP];
    let twin = match open::directory_below(context.trees.source_as_it_is(), path) {
        Err(failure) if gone.contains(&Errno::from_raw(failure.errno)) => return Err(Obstacle::Stays(Kept::Unproven)),
        result => result?,
    };
    if attributes::of_fd(&twin)?.identity != absent.source {
        return Err(Obstacle::Stays(Kept::Unproven));
    }
    Ok(twin)
}

/// The first name of the path below what both trees have.
fn prove_topmost(twin: &Fd, below: &TreePath, absent: &Absent) -> Result<(), Obstacle> {
    let top = below.ancestor(1).unwrap_or_default();
    let top = CString::new(top.as_bytes()).map_err(|_| twin.failure("statx", Errno::EINVAL))?;
    prove(twin, &top, absent.lack)
}

/// ENOENT, and nothing else, proves that a name is not there.
fn prove(twin: &Fd, name: &CStr, lack: Lack) -> Result<(), Obstacle> {
    if lack == Lack::LetThrough {
        // The patterns are the same on all ranks, and the source may well have it.
        return Ok(());
    }
    match attributes::of_name(twin, name) {
        Err(failure) if failure.errno == Errno::ENOENT as i32 => Ok(()),
        Err(failure) => Err(failure.into()),
        Ok(found) if lack == Lack::Directory && found.kind != Kind::Directory => Ok(()),
        Ok(_) => Err(Obstacle::Stays(Kept::OnSource)),
    }
}

/// Why a directory of the target could not be opened.
fn of_target(failure: Failure) -> Obstacle {
    match Errno::from_raw(failure.errno) {
        Errno::ENOENT => Obstacle::Stays(Kept::Gone),
        Errno::ENOTDIR | Errno::ELOOP => Obstacle::Stays(Kept::Changed),
        Errno::EXDEV => Obstacle::Stays(Kept::MountPoint),
        _ => Obstacle::Failed(failure),
    }
}
