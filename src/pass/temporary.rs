//! Temporary names: of fixed length, never made from the final name, told apart by run.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bincode::{Decode, Encode};
use nix::errno::Errno;

use crate::fault::Failure;
use crate::fs::{Fd, names};

/// One start of a run: a random number, in the temporary names and in the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Attempt(pub u64);

/// The temporary names of one rank, and those of dead runs that may be swept.
#[derive(Debug)]
pub struct Temporaries {
    attempt: Attempt,
    rank: u32,
    next: AtomicU64,
    dead: Vec<Attempt>,
    /// Names of dead attempts that are still needed: large files under way, of which a checkpoint knows.
    spared: OnceLock<BTreeSet<Vec<u8>>>,
    /// Something that should have been taken away could not be.
    leaves_behind: AtomicBool,
}

const PREFIX: &str = ".pmirror-";

impl Temporaries {
    /// Names for one rank of an attempt. `dead` are earlier attempts on this target whose end is
    /// proven: the lock names them.
    pub fn new(attempt: Attempt, rank: u32, dead: Vec<Attempt>) -> Self {
        let (spared, leaves_behind) = (OnceLock::new(), AtomicBool::new(false));
        Self { attempt, rank, next: AtomicU64::new(0), dead, spared, leaves_behind }
    }

    /// A name that no rank of any attempt has used: `.pmirror-`, 16 hexadecimal digits of the
    /// attempt, 8 of the rank, 12 of a count.
    pub fn next(&self) -> CString {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{:016x}-{:08x}-{:012x}", self.attempt.0, self.rank, count);
        CString::new(name).unwrap_or_default()
    }

    /// Takes away what was made and can not be kept, or what a dead run left. If that fails, the next run is to
    /// know that there is something to sweep.
    pub fn take_away(&self, directory: &Fd, name: &CStr) -> Result<(), Failure> {
        let removed = names::remove(directory, name);
        self.note(&removed);
        removed
    }

    /// The same for a directory.
    pub fn take_directory_away(&self, parent: &Fd, name: &CStr) -> Result<(), Failure> {
        let removed = names::remove_directory(parent, name);
        self.note(&removed);
        removed
    }

    /// Notes whether something stays.
    pub fn note<T>(&self, removed: &Result<T, Failure>) {
        if removed.as_ref().is_err_and(|failure| failure.errno != Errno::ENOENT as i32) {
            self.leaves_behind.store(true, Ordering::Relaxed);
        }
    }

    /// Whether this rank could not take something away that it should have.
    pub fn leaves_behind(&self) -> bool {
        self.leaves_behind.load(Ordering::Relaxed)
    }

    /// This attempt.
    pub fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// There were runs on this target that died.
    pub fn may_find_left_overs(&self) -> bool {
        !self.dead.is_empty()
    }

    /// Whether a dead run left this name behind.
    pub fn is_left_over(&self, name: &CStr) -> bool {
        let is_spared = || self.spared.get().is_some_and(|spared| spared.contains(name.to_bytes()));
        attempt_of(name).is_some_and(|attempt| self.dead.contains(&attempt)) && !is_spared()
    }

    /// These names are still needed, although their attempt is dead. Once a run, before any item runs.
    pub fn spare(&self, names: impl Iterator<Item = Vec<u8>>) {
        let _ = self.spared.set(names.collect());
    }

    /// Whether the name was made by another attempt than this one.
    pub fn is_of_another_attempt(&self, name: &CStr) -> bool {
        attempt_of(name) != Some(self.attempt)
    }
}

fn attempt_of(name: &CStr) -> Option<Attempt> {
    let rest = name.to_str().ok()?.strip_prefix(PREFIX)?;
    let mut parts = rest.split('-');
    let (attempt, rank, count) = (parts.next()?, parts.next()?, parts.next()?);
    let lengths = (attempt.len(), rank.len(), count.len()) == (16, 8, 12);
    let digits = rest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'));
    if !lengths || !digits || parts.next().is_some() {
        return None;
    }
    u64::from_str_radix(attempt, 16).ok().map(Attempt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_length_and_tell_their_attempt() {
        let names = Temporaries::new(Attempt(7), 3, vec![]);
        let (first, second) = (names.next(), names.next());
        assert_ne!(first, second);
        assert_eq!(first.to_bytes().len(), second.to_bytes().len());
        assert_eq!(attempt_of(&first), Some(Attempt(7)));
    }

    #[test]
    fn only_names_of_dead_attempts_are_left_overs() {
        let dead = Temporaries::new(Attempt(1), 0, vec![]).next();
        let alive = Temporaries::new(Attempt(2), 0, vec![]).next();
        let sweeping = Temporaries::new(Attempt(3), 0, vec![Attempt(1)]);
        assert!(sweeping.is_left_over(&dead));
        assert!(!sweeping.is_left_over(&alive));
        assert!(!sweeping.is_left_over(c".pmirror-0000000000000001"));
        assert!(!sweeping.is_left_over(c".pmirror"));
    }
}
