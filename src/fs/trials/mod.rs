//! What is tried before a run, on files of ours in the private directory of the target: what it holds, and how quick it is.

mod attributes;
mod names;
pub mod node;
pub mod sample;
mod sizes;
pub mod speed;

use nix::errno::Errno;

use self::sample::Sample;
use super::private::Private;
use super::{Fd, probe, roots, usage};
use crate::fault::Failure;
use crate::preflight::facts::{Trials, Tried};

/// A file of ours. Each trial makes it anew, and takes it away.
const FILE: &std::ffi::CStr = c"preflight";
const OTHER: &std::ffi::CStr = c"preflight-other";

/// Tries all of it. An error means that nothing at all could be done there.
pub fn on_target(private: &Private, (source, sample): (&Fd, &Sample)) -> Result<Trials, Failure> {
    let able = probe::measure(private)?;
    let directory = private.directory();
    let is_root = able.uid == 0;
    let file = fresh(private)?;
    let made_for = Some(super::attributes::of_fd(&file)?.uid).filter(|&uid| uid != able.uid);
    let (file_bytes_max, keeps_holes) = sizes::of_file(&file)?;
    let trials = Trials {
        is_root,
        made_for,
        chown: able.chown,
        times: able.times,
        folds_case: able.folds_case,
        name_bytes_max: names::longest(directory, usage::volume(directory)?.name_bytes_max),
        names: names::unkept(directory),
        symlink: names::longest_symlink(directory),
        hard_link: private.link(FILE, OTHER).map_err(text),
        links_max: names::links_max(roots::fs_type(directory)?),
        rename: private.rename(FILE, OTHER).and_then(|()| private.rename(OTHER, FILE)).map_err(text),
        xattr: attributes::largest(&file),
        forgets_xattrs: able.forgets_xattrs,
        trusted: attributes::trusted(&file),
        capability: attributes::capability(&file),
        acl: attributes::largest_acl(&file),
        fifo: attributes::fifo(directory),
        device: attributes::device(directory),
        file_bytes_max,
        keeps_holes,
        engine: speed::engine(directory, sample, source),
    };
    drop(file);
    private.remove(FILE)?;
    private.remove(OTHER)?;
    Ok(trials)
}

fn fresh(private: &Private) -> Result<Fd, Failure> {
    private.remove(FILE)?;
    private.remove(OTHER)?;
    super::open::new_file(private.directory(), FILE)
}

/// A failed call in words.
pub fn text(failure: Failure) -> String {
    let errno = Errno::from_raw(failure.errno);
    format!("{} ({errno:?})", errno.desc())
}

/// The largest number up to `most` that works, if any does: what works for one works for all below it.
fn largest(most: u64, mut works: impl FnMut(u64) -> Result<(), Failure>) -> Tried<u64> {
    works(1).map_err(text)?;
    if works(most).is_ok() {
        return Ok(most);
    }
    let (mut good, mut bad) = (1, most);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if works(middle).is_ok() { good = middle } else { bad = middle }
    }
    Ok(good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Side;

    #[test]
    fn the_largest_that_works_is_found_and_a_refusal_of_the_least_is_told() {
        let limit = |limit: u64| {
            move |n: u64| {
                let too_large = Failure { side: Side::Target, operation: "fsetxattr", errno: Errno::ENOSPC as i32 };
                if n > limit { Err(too_large) } else { Ok(()) }
            }
        };
        for expected in [1, 2, 3, 999, 1_000] {
            assert_eq!(largest(1_000, limit(expected)), Ok(expected));
        }
        assert!(largest(1_000, limit(0)).unwrap_err().contains("ENOSPC"));
    }
}
