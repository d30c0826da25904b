//! What the target's file system and our rights allow: tried once, on a file of ours.

use std::collections::BTreeSet;

use nix::errno::Errno;
use nix::unistd::{Gid, getegid, geteuid, getgroups};

use super::private::Private;
use super::{Fd, attributes, layout, names, open, project, xattr};
use crate::fault::Failure;
use crate::tree::decide::{Abilities, Times};
use crate::tree::{Extras, Time, TimeLimits};

const PROBE: &std::ffi::CStr = c"probe";
const PROBE_IN_CAPITALS: &std::ffi::CStr = c"PROBE";

/// What we are allowed without a target to try it on: for runs that write nothing.
pub fn assumed() -> Abilities {
    let uid = geteuid().as_raw();
    Abilities {
        times: TimeLimits::EXACT,
        chown: uid == 0,
        uid,
        groups: our_groups(),
        overrides_permissions: uid == 0,
        extras: Extras::default(),
        forgets_xattrs: false,
        folds_case: false,
    }
}

/// The same for a target that is only looked at: the times that its type of file system holds, as far
/// as the type tells.
pub fn assumed_of(fs_type: u64) -> Abilities {
    let from_1901 = |latest| TimeLimits { earliest: -(1 << 31), latest, granularity: 1 };
    let times = match fs_type {
        // ext4 with inodes of 256 bytes: 34 bits of seconds.
        0xEF53 => from_1901((1 << 34) - (1 << 31) - 1),
        // XFS with bigtime: 2^64 - 1 nanoseconds since 1901.
        0x5846_5342 => from_1901(16_299_260_424),
        // Lustre keeps whole seconds, FAT every second one.
        0x0BD0_0BD0 => TimeLimits { granularity: 1_000_000_000, ..TimeLimits::EXACT },
        0x4D44 => TimeLimits { granularity: 2_000_000_000, ..TimeLimits::EXACT },
        _ => TimeLimits::EXACT,
    };
    Abilities { times, ..assumed() }
}

/// Tries it on a file in the private directory.
pub fn measure(private: &Private) -> Result<Abilities, Failure> {
    private.remove(PROBE)?;
    let file = open::new_file(private.directory(), PROBE)?;
    let times = time_limits(&file)?;
    let chown = may_chown(&file)?;
    let overrides_permissions = overrides_permissions(private, &file)?;
    let forgets_xattrs = xattr::is_forgotten(&file)?;
    let folds_case = attributes::of_name(private.directory(), PROBE_IN_CAPITALS).is_ok();
    let projects = project::can_be_set(&file, || open::file_for_reading(private.directory(), PROBE))?;
    drop(file);
    names::remove(private.directory(), PROBE)?;
    let (uid, groups) = (geteuid().as_raw(), our_groups());
    let extras = Extras { layouts: has_layouts(private)?, projects };
    Ok(Abilities { times, chown, uid, groups, overrides_permissions, extras, forgets_xattrs, folds_case })
}

/// Whether a file that mknod made waits for a layout. A file system without mknod has none.
fn has_layouts(private: &Private) -> Result<bool, Failure> {
    let waits = layout::make(private.directory(), PROBE, None).is_ok_and(|made| made.waits());
    private.remove(PROBE)?;
    Ok(waits)
}

/// What a source has that only some file systems have, as far as its root tells. Layouts are asked of
/// each new file: that costs little where the target is as slow to create a file as Lustre is.
pub fn extras_of_source(root: &Fd) -> Extras {
    Extras { layouts: true, projects: matches!(project::of_fd(root), Ok(Some(_))) }
}

fn our_groups() -> BTreeSet<u32> {
    let mut groups: BTreeSet<u32> = getgroups().unwrap_or_default().into_iter().map(Gid::as_raw).collect();
    groups.insert(getegid().as_raw());
    groups
}

/// Sets times at both ends and in between, and reads back what became of them.
fn time_limits(file: &Fd) -> Result<TimeLimits, Failure> {
    let far = 1 << 40;
    let earliest = held(file, Time { seconds: -far, nanoseconds: 0 })?.map_or(i64::MIN, |time| time.seconds);
    let latest = held(file, Time { seconds: far, nanoseconds: 0 })?.map_or(i64::MAX, |time| time.seconds);
    let asked = Time { seconds: 1_000_000_001, nanoseconds: 987_654_321 };
    let got = held(file, asked)?.unwrap_or(asked);
    Ok(TimeLimits {
        earliest: if earliest == -far { i64::MIN } else { earliest },
        latest: if latest == far { i64::MAX } else { latest },
        granularity: granularity(asked, got),
    })
}

/// `None`: a time that the file system refuses instead of bending it.
fn held(file: &Fd, time: Time) -> Result<Option<Time>, Failure> {
    match attributes::set_times(file, Times { atime: time, mtime: time }) {
        Ok(()) => Ok(Some(attributes::of_fd(file)?.mtime)),
        Err(failure) if failure.errno == Errno::EINVAL as i32 || failure.errno == Errno::EOVERFLOW as i32 => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The largest power of ten (or two seconds) that explains what was dropped.
fn granularity(asked: Time, got: Time) -> u64 {
    if got.seconds != asked.seconds {
        return 2_000_000_000;
    }
    let fits =
        |step: &u64| u64::from(asked.nanoseconds) - u64::from(asked.nanoseconds) % step == u64::from(got.nanoseconds);
    (0..10).map(|power| 10u64.pow(power)).find(fits).unwrap_or(1_000_000_000)
}

/// Gives the file away and takes it back.
fn may_chown(file: &Fd) -> Result<bool, Failure> {
    let us = geteuid().as_raw();
    let other = if us == 65_533 { 65_532 } else { 65_533 };
    match attributes::set_owner(file, Some(other), None) {
        Ok(()) => attributes::set_owner(file, Some(us), None).map(|()| true),
        Err(failure) if matches!(Errno::from_raw(failure.errno), Errno::EPERM | Errno::EINVAL | Errno::EOPNOTSUPP) => {
            Ok(false)
        }
        Err(failure) => Err(failure),
    }
}

/// Opens the file while its mode forbids it (CAP_DAC_OVERRIDE).
fn overrides_permissions(private: &Private, file: &Fd) -> Result<bool, Failure> {
    attributes::set_mode(file, 0)?;
    let opened = open::file_for_reading(private.directory(), PROBE);
    attributes::set_mode(file, 0o600)?;
    match opened {
        Ok(_) => Ok(true),
        Err(failure) if failure.errno == Errno::EACCES as i32 => Ok(false),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn granularity_is_found_from_what_was_dropped() {
        let asked = Time { seconds: 1, nanoseconds: 987_654_321 };
        let got = |seconds, nanoseconds| granularity(asked, Time { seconds, nanoseconds });
        assert_eq!(got(1, 987_654_321), 1);
        assert_eq!(got(1, 987_654_300), 100);
        assert_eq!(got(1, 987_654_000), 1_000);
        assert_eq!(got(1, 0), 1_000_000_000);
        assert_eq!(got(0, 0), 2_000_000_000);
    }
}
