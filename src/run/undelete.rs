//! `pmirror undelete`: what a run renamed into the trash goes back to its old names. Renames alone, so rank 0 does it.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use serde::Serialize;

use super::again::{locate, of_job};
use super::agree::{Roster, from_root};
use super::begin::{broken, random};
use super::holder::Holder;
use super::lock::{Ending, Lock};
use super::trash::{Record, is_run_name, run_name};
use super::{end, roles};
use crate::cli::trash::Undelete;
use crate::comm::Comm;
use crate::engine::StopSign;
use crate::fault::{Error, Failure, Side};
use crate::fs::operator::{RunDirectory, path_of};
use crate::fs::private::Private;
use crate::fs::roots::Root;
use crate::fs::trash::{self, Found, Place, Trash};
use crate::fs::{Fd, attributes, data, names, open};
use crate::pass::temporary::Attempt;
use crate::report::{self, differences, json};
use crate::sched::Rank;
use crate::settings::FileSystems;
use crate::slurm::Environment;
use crate::started::Started;
use crate::tree::decide::Times;
use crate::tree::listed::normal;
use crate::tree::path::escaped;
use crate::tree::{Kind, TreePath};

const TAKEN: &str = "something has its name again; what lies in a directory can be named by itself";
const NO_PARENT: &str = "the directory that held it is gone: --parents makes it";

/// What came of it, for people and for scripts.
#[derive(Debug, Default, Serialize)]
struct Report {
    run_id: String,
    target: String,
    dry_run: bool,
    /// Entries that are back at their names; of a directory what it holds is not counted.
    restored: u64,
    /// What stays in the trash.
    stays: Vec<Stays>,
    exit_code: u8,
    #[serde(skip)]
    lines: Vec<String>,
}

/// An entry that stays in the trash.
#[derive(Debug, Serialize)]
struct Stays {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    why: String,
}

/// `pmirror undelete`. Returns the exit code, equal on all ranks.
pub fn undelete(
    asked: &Undelete,
    around: (&Environment, &FileSystems),
    comm: &mut dyn Comm,
    stop_sign: &StopSign,
) -> u8 {
    let roster = Roster::call(comm);
    let is_root = comm.rank() == Rank::ROOT;
    let done = from_root(comm, &roster, || {
        let report = put_back(asked, around, &roster, stop_sign)?;
        tell(asked, &report)?;
        Ok(u32::from(report.exit_code))
    });
    match done {
        Ok(code) => u8::try_from(code).unwrap_or(70),
        Err(error) => {
            if is_root {
                report::say(&error.to_string());
            }
            error.exit_code()
        }
    }
}

fn tell(asked: &Undelete, report: &Report) -> Result<(), Error> {
    let untold =
        |error: &dyn std::fmt::Display| Error::Fatal(format!("the result can not be written to stdout: {error}"));
    if asked.json {
        let text = json::pretty(report).map_err(|error| untold(&error))?;
        return report::print(&format!("{text}\n")).map_err(|error| untold(&error));
    }
    let mut lines = if asked.dry_run || asked.verbose { report.lines.clone() } else { Vec::new() };
    lines.extend(report.stays.iter().map(|stays| format!("stays     {}: {}", escaped_of(stays), stays.why)));
    if !asked.quiet {
        let verb = if asked.dry_run { "would be put back" } else { "put back" };
        lines.push(format!(
            "{verb}: {}; stays in the trash of run {}: {} (exit {})",
            report.restored,
            report.run_id,
            report.stays.len(),
            report.exit_code
        ));
    }
    let text: String = lines.into_iter().map(|line| format!("{line}\n")).collect();
    report::print(&text).map_err(|error| untold(&error))
}

fn escaped_of(stays: &Stays) -> String {
    escaped(&differences::raw(&stays.path, stays.path_b64.as_ref()))
}

/// The run, and the DST whose trash is meant.
fn meant(asked: &Undelete, environment: &Environment) -> Result<(String, CString), Error> {
    let usage = |text: String| Error::Usage(text);
    let name = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| usage("DST holds a NUL byte".to_owned()));
    if let Some(target) = &asked.target {
        let run = asked.of.name.to_str().filter(|run| is_run_name(run));
        let run = run.ok_or_else(|| usage("with --target RUN is the id of a run, not a path".to_owned()))?;
        return Ok((run.to_owned(), name(target.as_bytes().to_vec())?));
    }
    let (state_dir, run) = locate(&asked.of, asked.state_dir.as_deref(), environment)
        .map(|(state_dir, run)| of_job(state_dir, run))
        .map_err(|error| usage(format!("{error}; or name the DST with --target")))?;
    let started = Started::load(&RunDirectory::new(&state_dir, &run))?;
    let target = started.operands.get(1).filter(|_| matches!(started.command.as_str(), "sync" | "rm"));
    let target = target.ok_or_else(|| usage(format!("run {run} was {}: it has no trash", started.command)))?;
    Ok((run, name(target.0.clone())?))
}

fn put_back(
    asked: &Undelete,
    (environment, file_systems): (&Environment, &FileSystems),
    roster: &Roster,
    stop_sign: &StopSign,
) -> Result<Report, Error> {
    let (run, target_name) = meant(asked, environment)?;
    let shown = escaped(target_name.to_bytes());
    let target_name = file_systems.expand_name(&target_name)?;
    let target = Root::open(Side::Target, &target_name)?;
    roles::check_opened(file_systems, roster, format!("DST {shown}"), &target)?;
    let path = wanted(asked.path.as_deref(), &target.fd)?;
    let none = || Error::Usage(format!("DST {shown} has no trash of run {run}"));
    let uid = nix::unistd::geteuid().as_raw();
    let unusable = |failure| broken("the trash in DST/.pmirror", failure);
    let open_private = || match Private::open_own(&target.fd, uid) {
        Err(failure) if failure.errno == Errno::ENOENT as i32 => Err(none()),
        result => result.map_err(unusable),
    };
    let private = open_private()?;
    let has_run = |private: &Private| match Trash::open(private)? {
        Some(trash) => trash.of_run(&run_name(&run)),
        None => Ok(None),
    };
    if !is_run_name(&run) || has_run(&private).map_err(unusable)?.is_none() {
        return Err(none());
    }
    let report = Report { run_id: run.clone(), target: shown.clone(), dry_run: asked.dry_run, ..Report::default() };
    let mut turn = Turn { root: &target.fd, asked, path, report, parents: BTreeMap::new(), any: false };
    if asked.dry_run {
        turn.all(has_run(&private).map_err(unusable)?.ok_or_else(none)?, stop_sign).map_err(unusable)?;
        return turn.over(&run);
    }
    drop(private);
    let host = roster.host();
    let holder = Holder::this_process(Attempt(random()), &format!("undelete of {run}"), host, "", None);
    let (private, lock) = Lock::take(open_private, holder)?;
    let done = has_run(&private).and_then(|found| found.map_or(Ok(()), |trash| turn.all(trash, stop_sign)));
    turn.keep_times();
    let tidied = trash::tidy(&private, Some(&run_name(&run)));
    let flushed = data::flush_file_system(&target.fd);
    let ending = if flushed.is_ok() { Ending::Partly } else { Ending::Unflushed };
    end::give_back(private, lock, &target.fd, ending);
    done.and(tidied).map_err(unusable)?;
    flushed.map_err(data::may_be_lost)?;
    turn.over(&run)
}

/// PATH: relative to DST, or the path of something in it.
fn wanted(path: Option<&OsStr>, target: &Fd) -> Result<TreePath, Error> {
    let Some(path) = path.map(OsStr::as_bytes) else { return Ok(TreePath::root()) };
    let bad = |why: &dyn std::fmt::Display| Error::Usage(format!("PATH {}: {why}", escaped(path)));
    let below = if path.starts_with(b"/") {
        let root = path_of(target);
        let rest = path.strip_prefix(root.as_slice()).filter(|rest| rest.is_empty() || rest.starts_with(b"/"));
        rest.ok_or_else(|| bad(&"it does not lie in DST"))?.to_vec()
    } else {
        path.to_vec()
    };
    normal(&below).map(|path| TreePath::from(path.as_slice())).map_err(|why| bad(&why))
}

/// One time that entries are put back.
struct Turn<'t> {
    root: &'t Fd,
    asked: &'t Undelete,
    path: TreePath,
    report: Report,
    /// Directories of DST that got entries, with the times that they keep.
    parents: BTreeMap<TreePath, Times>,
    /// Something of what was asked for is in the trash.
    any: bool,
}

impl Turn<'_> {
    /// The trash of a run: what its last attempt renamed first.
    fn all(&mut self, trash: Trash, stop_sign: &StopSign) -> Result<(), Failure> {
        let mut places = Vec::new();
        for attempt in trash.names()? {
            if let Some(place) = trash.place(&attempt)? {
                let made = place.record().ok().and_then(|text| Record::of_json(&text)).and_then(|record| record.when());
                places.push((made, place));
            }
        }
        places.sort_by_key(|(made, _)| std::cmp::Reverse(*made));
        for (_, place) in &places {
            let mut entries = Vec::new();
            place.visit(|found| entries.push(found))?;
            for found in entries {
                if stop_sign.wanted(jiff::Timestamp::now()).is_some() {
                    self.report.exit_code = 20;
                    return Ok(());
                }
                self.one(place, &found);
            }
        }
        Ok(())
    }

    fn over(mut self, run: &str) -> Result<Report, Error> {
        if !self.any && !self.path.is_root() {
            return Err(Error::Usage(format!("the trash of run {run} has nothing at {}", self.path)));
        }
        if self.report.exit_code == 0 && !self.report.stays.is_empty() {
            self.report.exit_code = 23;
        }
        Ok(self.report)
    }

    /// An entry that is wanted, or holds what is.
    fn one(&mut self, place: &Place, found: &Found) {
        let was = found.directory.join(&found.name);
        let (depth, wanted) = (was.depth(), self.path.clone());
        let taken = if was.ancestor(wanted.depth()).as_ref() == Some(&wanted) {
            let holder = place.holder_of(found);
            holder.and_then(|holder| self.back(&holder, &found.name, found.kind, &was)).map(Some)
        } else if found.kind == Kind::Directory && wanted.ancestor(depth).as_ref() == Some(&was) {
            self.inner(place, found, &wanted)
        } else {
            return;
        };
        let path = if was.depth() < wanted.depth() { wanted } else { was };
        match taken {
            Ok(None) => return,
            Ok(Some(None)) => {
                self.report.restored += 1;
                self.report.lines.push(format!("restored  {path}"));
            }
            Ok(Some(Some(why))) => self.stays(&path, why.to_owned()),
            Err(failure) => {
                let errno = Errno::from_raw(failure.errno);
                self.stays(&path, format!("{}: {} ({errno:?})", failure.operation, errno.desc()));
            }
        }
        self.any = true;
    }

    fn stays(&mut self, path: &TreePath, why: String) {
        let (path, path_b64) = differences::both_forms(path);
        self.report.stays.push(Stays { path, path_b64, why });
    }

    /// What is wanted lies in a directory of the trash. `None`: it does not.
    fn inner(
        &mut self,
        place: &Place,
        found: &Found,
        wanted: &TreePath,
    ) -> Result<Option<Option<&'static str>>, Failure> {
        let holder = place.holder_of(found)?;
        let Some((parent, name)) = wanted.below(found.directory.depth()).and_then(|below| {
            let (parent, name) = below.split_last()?;
            Some((parent, CString::new(name).ok()?))
        }) else {
            return Ok(None);
        };
        let gone = [Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP];
        let looked = open::directory_on_mount(&holder, &parent)
            .and_then(|directory| Ok((attributes::of_name(&directory, &name)?.kind, directory)));
        match looked {
            Err(failure) if gone.contains(&Errno::from_raw(failure.errno)) => Ok(None),
            looked => looked.and_then(|(kind, directory)| self.back(&directory, &name, kind, wanted).map(Some)),
        }
    }

    /// Puts an entry back. `Some`: why it stays.
    fn back(&mut self, from: &Fd, name: &CString, kind: Kind, to: &TreePath) -> Result<Option<&'static str>, Failure> {
        let Some((parent, last)) = to.split_last() else { return Ok(Some(TAKEN)) };
        let new = CString::new(last).map_err(|_| from.failure("renameat", Errno::EINVAL))?;
        let directory = match self.parent(&parent) {
            Ok(directory) => directory,
            Err(failure) if failure.errno == Errno::ENOENT as i32 => {
                return Ok(if self.asked.parents && self.asked.dry_run { None } else { Some(NO_PARENT) });
            }
            Err(failure) => return Err(failure),
        };
        if let Some(now) = there(&directory, &new)? {
            // A rename in two steps was cut off between them.
            let is_done = kind != Kind::Directory && attributes::of_name(from, name)?.identity == now.identity;
            return match (is_done, self.asked.dry_run) {
                (false, _) => Ok(Some(TAKEN)),
                (true, true) => Ok(None),
                (true, false) => names::remove(from, name).map(|()| None),
            };
        }
        if self.asked.dry_run {
            return Ok(None);
        }
        let is_directory = kind == Kind::Directory;
        let moved = trash::opened_for(from, name, || names::move_to_new(from, name, &directory, &new, is_directory));
        match moved {
            Err(failure) if matches!(Errno::from_raw(failure.errno), Errno::EEXIST | Errno::ENOTEMPTY) => {
                Ok(Some(TAKEN))
            }
            result => result.map(|()| None),
        }
    }

    /// Opens a directory of DST, and makes those that are missing where that was asked for.
    fn parent(&mut self, path: &TreePath) -> Result<Fd, Failure> {
        let opened = match open::directory_below(self.root, path) {
            Err(failure) if failure.errno == Errno::ENOENT as i32 && self.asked.parents && !self.asked.dry_run => {
                for depth in 1..=path.depth() {
                    let Some((above, name)) = path.ancestor(depth).and_then(|path| {
                        let (above, name) = path.split_last()?;
                        Some((above, CString::new(name).ok()?))
                    }) else {
                        continue;
                    };
                    match names::make_directory(&open::directory_below(self.root, &above)?, &name) {
                        Err(failure) if failure.errno != Errno::EEXIST as i32 => return Err(failure),
                        _ => {}
                    }
                }
                open::directory_below(self.root, path)
            }
            result => result,
        }?;
        if !self.parents.contains_key(path) {
            let was = attributes::of_fd(&opened)?;
            self.parents.insert(path.clone(), Times { atime: was.atime, mtime: was.mtime });
        }
        Ok(opened)
    }

    /// Directories of DST keep the times that they had before entries came back.
    fn keep_times(&self) {
        if self.report.restored == 0 {
            return;
        }
        for (path, times) in &self.parents {
            // Who may not set them has moved them: that is no reason to leave the entries in the trash.
            let _ =
                open::directory_below(self.root, path).and_then(|directory| attributes::set_times(&directory, *times));
        }
    }
}

fn there(directory: &Fd, name: &CString) -> Result<Option<crate::tree::Attributes>, Failure> {
    match attributes::of_name(directory, name) {
        Err(failure) if failure.errno == Errno::ENOENT as i32 => Ok(None),
        result => result.map(Some),
    }
}
