//! What a rank knows of its trees as a whole, from the calls that failed: whether the target takes anything more,
//! whose quota is used up, and whether the roots are still what they were.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::burst::Burst;
use super::policy::{Meaning, is_of_a_server, meaning};
use crate::fault::{Error, Failure, Side};
use crate::fs::roots::{self, Trees};
use crate::fs::{Fd, attributes, project, usage};
use crate::tree::Attributes;

/// So many refusals in a row count, whatever statfs(2) says: Lustre's OSTs fill up one by one, and a quota of the
/// directory shows nowhere. For want of room each entry counts once: a few that are tried again and again are no full
/// target.
const REFUSALS_MAX: u32 = 16;

/// A target that refuses and has less is full. Not 0: file systems keep a rest that they give to nobody, and what
/// other workers had to take away is free again.
const ROOM_MIN: u64 = 16 << 20;

/// Owners over quota that are remembered.
const OWNERS_MAX: usize = 4_096;

/// A root as the operator named it, with its device and inode.
#[derive(Debug, Clone)]
pub struct NamedRoot {
    /// Which one.
    pub side: Side,
    /// Its path.
    pub path: CString,
    /// What it was when the run began.
    pub key: (u64, u64),
}

/// What a rank knows.
#[derive(Debug)]
pub struct Health {
    roots: Vec<NamedRoot>,
    /// Calls in a row that the target refused for want of room, or as it is read-only.
    refusals: AtomicU32,
    over_quota: Mutex<BTreeSet<Owner>>,
    burst: Mutex<Burst>,
    started: Instant,
}

impl Health {
    /// All is well. The paths are the operator's; a DST that a dry run does not make has no inode to be known by.
    pub fn of(trees: &Trees, source: &CStr, target: &CStr) -> Self {
        let root = |side, path: &CStr, key| NamedRoot { side, path: path.to_owned(), key };
        let roots =
            [root(Side::Source, source, trees.source_key), root(Side::Target, target, trees.target_key)].into_iter();
        Self::new(roots.filter(|root| root.key.1 != 0).collect())
    }

    /// The same with those `roots` that are proven again when failures come thick.
    pub fn new(roots: Vec<NamedRoot>) -> Self {
        let (over_quota, burst) = (Mutex::default(), Mutex::default());
        Self { roots, refusals: AtomicU32::new(0), over_quota, burst, started: Instant::now() }
    }

    /// Something was written.
    pub fn hear_success(&self) {
        self.refusals.store(0, Ordering::Relaxed);
    }

    /// A call failed; `is_again`: of an entry that had failed before. Returns why the run can not go on for now: it
    /// stops in order, and can be gone on with.
    pub fn hear(&self, trees: &Trees, failure: Failure, is_again: bool) -> Option<Error> {
        match meaning(failure) {
            Meaning::TargetFull if is_again => self.look_at_room(trees, failure),
            Meaning::TargetFull | Meaning::TargetReadOnly => self.refused(trees, failure),
            _ if is_of_a_server(failure) && lock(&self.burst).hear(self.started.elapsed()) => self.lost(trees),
            _ => None,
        }
    }

    /// The target refuses: whether it says itself that it takes nothing more. Best asked before what was made for the
    /// entry is taken away.
    pub fn look_at_room(&self, trees: &Trees, failure: Failure) -> Option<Error> {
        let is_full = match meaning(failure) {
            Meaning::TargetFull => true,
            Meaning::TargetReadOnly => false,
            _ => return None,
        };
        // What can not be asked says nothing.
        let room = usage::room(&trees.target).ok()?;
        let text = match room.inodes {
            _ if !is_full && room.is_read_only => READ_ONLY.to_owned(),
            Some(0) if is_full => format!("DST has no free inodes ({} bytes are free); {MAKE_ROOM}", room.bytes),
            _ if is_full && room.bytes < ROOM_MIN => {
                format!("DST has no space left ({} bytes are free); {MAKE_ROOM}", room.bytes)
            }
            _ => return None,
        };
        Some(Error::Fatal(text))
    }

    fn refused(&self, trees: &Trees, failure: Failure) -> Option<Error> {
        let refusals = self.refusals.fetch_add(1, Ordering::Relaxed) + 1;
        let seen = self.look_at_room(trees, failure);
        if seen.is_some() || refusals < REFUSALS_MAX {
            return seen;
        }
        let text = if meaning(failure) == Meaning::TargetReadOnly {
            READ_ONLY.to_owned()
        } else {
            let free = usage::room(&trees.target).map_or_else(|_| "some".to_owned(), |room| room.bytes.to_string());
            format!(
                "DST takes nothing more: {refusals} entries in a row had ENOSPC, although {free} bytes are free (a full \
                 OST, a quota?); {MAKE_ROOM}"
            )
        };
        Some(Error::Fatal(text))
    }

    /// Proves the roots again: each must still be found by its name, and by the descriptor that we hold.
    fn lost(&self, trees: &Trees) -> Option<Error> {
        let lost = self.roots.iter().find_map(|root| {
            let held = if root.side == Side::Source { &trees.source } else { &trees.target };
            let (name, path) = (roots::name_of(root.side), roots::shown(&root.path));
            let by_name = roots::still(root.side, &root.path, root.key).map_err(|error| error.to_string());
            let proven = by_name.and_then(|_| match attributes::of_fd(held) {
                Ok(found) if (found.device, found.identity.inode) == root.key => Ok(()),
                Ok(_) => Err(format!("{name} {path} is another directory than it was")),
                Err(failure) => {
                    Err(format!("{name} {path} has no answer: {}", std::io::Error::from_raw_os_error(failure.errno)))
                }
            });
            proven.err()
        });
        lost.map(|why| {
            let when = "many calls failed one after the other, and now";
            Error::Fatal(format!("{when} {why}; go on when it is back"))
        })
    }

    /// The owner of this entry has no room on the target.
    pub fn hear_over_quota(&self, source: &Attributes, directory: &Fd) {
        let owner = Owner::of(source, directory);
        let mut owners = lock(&self.over_quota);
        if owners.len() < OWNERS_MAX {
            owners.insert(owner);
        }
    }

    /// Whether that is known of the owner of this one.
    pub fn is_over_quota(&self, source: &Attributes, directory: &Fd) -> bool {
        let may_be = lock(&self.over_quota).iter().any(|owner| (owner.user, owner.group) == (source.uid, source.gid));
        may_be && lock(&self.over_quota).contains(&Owner::of(source, directory))
    }
}

/// Whose quota it may be.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Owner {
    user: u32,
    group: u32,
    /// Of the target directory: new entries inherit it, and where it is full others have room.
    project: u32,
}

impl Owner {
    fn of(source: &Attributes, directory: &Fd) -> Self {
        // One that can not be asked counts as none.
        let project = project::of_fd(directory).ok().flatten().map_or(0, |project| project.id);
        Self { user: source.uid, group: source.gid, project }
    }
}

const READ_ONLY: &str = "DST is read-only; go on when it can be written to";

const MAKE_ROOM: &str = "make room, then go on";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
