//! Project ids of directories and regular files, where both file systems have them.

use std::ffi::CStr;

use nix::errno::Errno;

use super::Context;
use super::pair::{Pair, is_still};
use crate::fault::Failure;
use crate::fs::{Fd, attributes, names, open, project};
use crate::tree::project::{Project, wanted};
use crate::tree::{Attributes, Kind};

pub use crate::fs::project::set;

/// The project that an open target is to get; `None`: it is right, or nothing is kept.
pub fn missing(context: &Context, kind: Kind, source: &Fd, target: &Fd) -> Result<Option<Project>, Failure> {
    if !context.policy.extras.projects || !matches!(kind, Kind::Directory | Kind::File) {
        return Ok(None);
    }
    let Some(of_source) = project::of_fd(source)?.filter(|project| *project != Project::default()) else {
        return Ok(None);
    };
    Ok(project::of_fd(target)?.and_then(|of_target| wanted(kind, of_source, of_target)))
}

/// Gives an open target the project of its source. Returns whether it had another.
pub fn keep(context: &Context, kind: Kind, source: &Fd, target: &Fd) -> Result<bool, Failure> {
    match missing(context, kind, source, target)? {
        Some(project) => project::set(target, project).map(|()| true),
        None => Ok(false),
    }
}

/// The project that a regular file is to get that is there already, with the file opened for it. Only
/// what is still the inode that was looked at is meant.
pub fn missing_by_name(
    context: &Context,
    pair: &Pair<'_>,
    name: &CStr,
    target: &Attributes,
) -> Result<Option<(Fd, Project)>, Failure> {
    if !context.policy.extras.projects || target.kind != Kind::File {
        return Ok(None);
    }
    let opened = open::file_for_reading(&pair.source, name)
        .and_then(|source| Ok((source, open::file_for_reading(&pair.target, name)?)));
    let (source, file) = match opened {
        Ok(both) => both,
        // A user's own file that he may not read: its project can not be told.
        Err(failure) if failure.errno == Errno::EACCES as i32 => return Ok(None),
        Err(failure) => return Err(failure),
    };
    if !is_still(&file, target.identity)? {
        return Ok(None);
    }
    Ok(missing(context, Kind::File, &source, &file)?.map(|project| (file, project)))
}

/// Renames within the target directory of a pair. Where new entries inherit the directory's project, XFS
/// and ext4 refuse that with EXDEV for a file of another project, and Lustre gives it the directory's:
/// so it has that while it is renamed, and its own again afterwards.
pub fn rename(pair: &Pair<'_>, from: &CStr, to: &CStr) -> Result<(), Failure> {
    let directory = &pair.target;
    let theirs = if pair.keeps_projects() { project::of_fd(directory)? } else { None };
    let Some(theirs) = theirs.filter(|project| project.inherits) else {
        return names::rename(directory, from, to);
    };
    // Only regular files have got a project of their own so far.
    if attributes::of_name(directory, from)?.kind != Kind::File {
        return names::rename(directory, from, to);
    }
    let file = open::file_for_reading(directory, from)?;
    let found = attributes::of_fd(&file)?;
    // What has more names than this may be somebody's, put in the place of ours.
    if found.kind != Kind::File || found.links != 1 {
        return names::rename(directory, from, to);
    }
    let own = project::of_fd(&file)?.filter(|project| project.id != theirs.id);
    if own.is_some() {
        project::set(&file, Project { id: theirs.id, inherits: false })?;
    }
    names::rename(directory, from, to)?;
    own.map_or(Ok(()), |own| project::set(&file, own))
}
