//! What this node's kernel can do, and what the process may use.

use std::os::fd::AsFd;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::resource::{Resource, getrlimit};

use super::sizes;
use crate::fault::Failure;
use crate::fs::cage::Cage;
use crate::fs::fd::uninterrupted;
use crate::fs::private::Private;
use crate::fs::{Fd, attributes, names, open, view};
use crate::preflight::clocks::Offset;
use crate::preflight::facts::Node;

/// What one rank has, as far as nothing need be written.
pub fn look(source: &Fd, target: Option<&Fd>) -> Node {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Node {
        kernel: crate::fs::operator::system_file("/proc/sys/kernel/osrelease"),
        lacks: lacks(source, target),
        sandbox_lacks: sandbox_lacks(source, target),
        files_max: soft.max(hard),
        file_bytes_max: sizes::limit(),
        cpus: u32::try_from(cpus).unwrap_or(1),
        ..Node::default()
    }
}

fn lacks(source: &Fd, target: Option<&Fd>) -> Vec<String> {
    let mut lacks = Vec::new();
    if !has_openat2(source) {
        lacks.push("openat2 (Linux 5.6)".to_owned());
    }
    if attributes::mount_id(source).is_err() {
        lacks.push("statx does not tell mounts (Linux 5.8)".to_owned());
    }
    for (name, root) in [("SRC", Some(source)), ("DST", target)] {
        let birth = root.and_then(|root| attributes::of_fd(root).ok()).map(|found| found.identity.birth);
        if birth == Some(None) {
            lacks.push(format!("{name} does not tell when a file was born: attributes are looked at each time"));
        }
    }
    if !crate::fs::operator::has_proc() {
        lacks.push("/proc is not mounted".to_owned());
    }
    lacks
}

fn has_openat2(directory: &Fd) -> bool {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_BENEATH);
    !matches!(uninterrupted(|| openat2(directory.as_fd(), ".", how)), Err(Errno::ENOSYS | Errno::EPERM))
}

fn sandbox_lacks(source: &Fd, target: Option<&Fd>) -> Vec<String> {
    let view = match view::read_only(source) {
        Ok(view) if view.follows_no_links => None,
        Ok(_) => Some("links in SRC are followed (Linux 5.14)".to_owned()),
        Err(why) => Some(format!("no read-only view of SRC: {why}")),
    };
    let writable: Vec<&Fd> = target.into_iter().collect();
    let cage = Cage::build(&[source], &writable).err().map(|why| format!("no Landlock: {why}"));
    view.into_iter().chain(cage).collect()
}

/// Seconds since 1970 by this node's clock.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The clock by which a file is dated that this rank makes now. `granularity`: steps in which times are kept, in
/// nanoseconds; the kernel itself takes the time of its last tick, at most 10 ms old.
pub fn clock_of(private: &Private, name: &std::ffi::CStr, granularity: u64) -> Result<Offset, Failure> {
    let before = now();
    let file = open::new_file(private.directory(), name)?;
    let made = attributes::of_fd(&file)?.mtime;
    let after = now();
    names::remove(private.directory(), name)?;
    let tick = 0.01;
    #[allow(clippy::cast_precision_loss)] // Seconds of today, to about a microsecond.
    let (made, step) = (made.seconds as f64 + f64::from(made.nanoseconds) / 1e9, (granularity as f64 / 1e9).max(tick));
    Ok(Offset::of_file(before, made, after, step))
}
