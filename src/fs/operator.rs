//! Files of the operator: the state directory. The only place that opens by path, as the operator
//! named it. Others may be able to write in it: below it no link is followed.
#![allow(clippy::disallowed_methods)]

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::Fd;
use super::fd::uninterrupted;
use crate::fault::{Error, Side};

/// A run's directory below the state directory.
#[derive(Debug, Clone)]
pub struct RunDirectory {
    path: PathBuf,
    /// The state directory, as the operator named it.
    state: PathBuf,
}

/// Opened to reach what is in it.
const REACH: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

impl RunDirectory {
    /// The run's directory, not made yet.
    pub fn new(state: &Path, run_id: &str) -> Self {
        Self { path: state.join(run_id), state: state.to_path_buf() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it, 0700. One that is there already must be ours, root's, or of whom the state directory is.
    pub fn make(&self) -> Result<(), Error> {
        make_directory(&self.state).map_err(|error| unusable(&self.state, &error))?;
        let made = make_directory(&self.path).and_then(|is_new| if is_new { Ok(()) } else { self.refuse_anothers() });
        made.map_err(|error| unusable(&self.path, &error))
    }

    fn refuse_anothers(&self) -> io::Result<()> {
        let owner = |directory: &OwnedFd| std::fs::metadata(magic(directory)).map(|found| found.uid());
        let (state, own) = (owner(&self.open_above()?)?, owner(&self.open_itself()?)?);
        let trusted = [0, state, nix::unistd::geteuid().as_raw()];
        if trusted.contains(&own) { Ok(()) } else { Err(io::Error::other("it belongs to another user")) }
    }

    /// The state directory: here, and only here, links are followed.
    fn open_above(&self) -> io::Result<OwnedFd> {
        let state = if self.state.as_os_str().is_empty() { Path::new(".") } else { &self.state };
        Ok(uninterrupted(|| openat(rustix::fs::CWD, state, REACH, Mode::empty()))?)
    }

    fn open_itself(&self) -> io::Result<OwnedFd> {
        let mut directory = self.open_above()?;
        for name in self.path.strip_prefix(&self.state).unwrap_or(Path::new("")) {
            directory = uninterrupted(|| openat(directory.as_fd(), name, REACH | OFlag::O_NOFOLLOW, Mode::empty()))?;
        }
        Ok(directory)
    }

    /// Works on a file of the run: in the directory itself, wherever a link of its name may lead meanwhile.
    fn at<T>(&self, name: &str, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        let directory = self.open_itself()?;
        if !has_proc() {
            return work(&self.path.join(name));
        }
        work(&magic(&directory).join(name))
    }

    /// What an earlier attempt with this id left is kept under numbered names. Only when this one may begin.
    pub fn keep_old_records(&self) -> Result<(), Error> {
        for name in ["summary.json", "faults.jsonl", "differences.jsonl", "changes.jsonl", "tasks.jsonl"] {
            self.keep_old(name).map_err(|error| unusable(&self.path.join(name), &error))?;
        }
        Ok(())
    }

    /// A directory in it.
    pub fn below(&self, name: &str) -> Self {
        Self { path: self.path.join(name), state: self.state.clone() }
    }

    /// Makes it, 0700, in one that is there.
    pub fn make_only(&self) -> io::Result<()> {
        self.in_parent(|path| make_directory(path).map(drop))
    }

    /// Removes it, if nothing is left in it.
    pub fn remove_only(&self) {
        let _ = self.in_parent(|path| std::fs::remove_dir(path));
    }

    fn in_parent<T>(&self, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        let (parent, name) = (self.path.parent().unwrap_or(Path::new("")), self.path.file_name());
        let parent = Self { path: parent.to_path_buf(), state: self.state.clone() };
        parent.at(&name.unwrap_or_default().to_string_lossy(), work)
    }

    /// Gives a file a second name in another directory; where there are no links, a copy.
    pub fn link_into(&self, name: &str, other: &RunDirectory, new: &str) -> io::Result<()> {
        other.remove(new)?;
        self.at(name, |from| {
            other.at(new, |to| match std::fs::hard_link(from, to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => std::fs::copy(from, to).map(drop),
                result => result,
            })
        })
    }

    /// Renames a durable file over another, durably: whoever opens the name sees one of both, whole.
    pub fn put_in_place(&self, from: &str, to: &str) -> io::Result<()> {
        self.rename(from, to)?;
        self.at(".", |directory| File::open(directory)?.sync_all())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.at(from, |from| std::fs::rename(from, from.with_file_name(to)))
    }

    /// Makes a file durable that others wrote.
    pub fn sync(&self, name: &str) -> io::Result<()> {
        self.open(name)?.sync_all()
    }

    fn keep_old(&self, name: &str) -> io::Result<()> {
        let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
        let tries_max = 10_000;
        for number in 1..tries_max {
            let old = format!("{stem}.{number}.{extension}");
            if self.at(&old, |old| std::fs::symlink_metadata(old)).is_ok() {
                continue;
            }
            return match self.rename(name, &old) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                result => result,
            };
        }
        Err(io::Error::other("too many earlier attempts with this run id"))
    }

    /// Opens a new file of the run for writing, 0600; never through a link.
    pub fn create(&self, name: &str) -> io::Result<File> {
        self.at(name, create_new)
    }

    /// Opens a file of the run to add to it, and makes it if it is not there; never through a link.
    pub fn append(&self, name: &str) -> io::Result<File> {
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
        let open =
            |path: &Path| OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path);
        let file = self.at(name, open)?;
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
    }

    /// The same for a part that a rank writes; what an attempt that died left of it goes.
    pub fn create_part(&self, name: &str) -> io::Result<File> {
        self.remove(name)?;
        self.create(name)
    }

    /// Writes a whole file of the run, durably: nobody ever sees half of it.
    pub fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let unfinished = format!("{name}.new");
        let mut file = self.create_part(&unfinished)?;
        file.write_all(content)?;
        file.sync_all()?;
        self.rename(&unfinished, name)
    }

    /// Opens a file of the run for reading; never through a link, and nothing but a regular file.
    pub fn open(&self, name: &str) -> io::Result<File> {
        // Without waiting for a writer, should it be a FIFO.
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
        let file = self.at(name, |path| OpenOptions::new().read(true).custom_flags(flags).open(path))?;
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
    }

    /// Removes the run's directory if nothing was recorded, and the state directory if it was made
    /// for that.
    pub fn remove_if_empty(&self) {
        if std::fs::remove_dir(&self.path).is_ok() {
            let _ = std::fs::remove_dir(&self.state);
        }
    }

    /// Reads a file of the run, up to `bytes_max` bytes.
    pub fn read(&self, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.open(name)?.take(bytes_max).read_to_end(&mut content)?;
        Ok(content)
    }

    /// When a file of the run was written last, by the clock of whoever keeps it.
    pub fn written_at(&self, name: &str) -> io::Result<SystemTime> {
        self.open(name)?.metadata()?.modified()
    }

    /// The names of its files, at most so many and no names beyond; none if it is not there.
    pub fn names(&self, names_max: usize) -> io::Result<Vec<OsString>> {
        match self.at(".", |directory| std::fs::read_dir(directory)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => entries?.take(names_max).map(|entry| Ok(entry?.file_name())).collect(),
        }
    }

    /// Removes a file of the run; that it is gone already is no error.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match self.at(name, |path| std::fs::remove_file(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// The state directory as a descriptor, to look where it lies.
    pub fn open_state(&self) -> Result<Fd, Error> {
        let state = &self.state;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_DIRECTORY.bits())
            .open(state)
            .map_err(|error| unusable(state, &error))?;
        Ok(Fd::new(file.into(), Side::Target))
    }

    /// The run's directory as a descriptor.
    pub fn open_directory(&self) -> io::Result<Fd> {
        let flags = (OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).bits();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&self.path)?;
        Ok(Fd::new(file.into(), Side::Target))
    }

    /// The name of the state directory in the one that holds it.
    pub fn state_name(&self) -> &OsStr {
        self.path.parent().and_then(Path::file_name).unwrap_or_default()
    }

    /// The nearest existing directory at or above the state directory: before anything is made.
    pub fn open_nearest(&self) -> Result<Fd, Error> {
        let state = self.path.parent().unwrap_or(Path::new("."));
        for ancestor in state.ancestors() {
            let ancestor = if ancestor.as_os_str().is_empty() { Path::new(".") } else { ancestor };
            let opened = OpenOptions::new().read(true).custom_flags(OFlag::O_DIRECTORY.bits()).open(ancestor);
            match opened {
                Ok(file) => return Ok(Fd::new(file.into(), Side::Target)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unusable(ancestor, &error)),
            }
        }
        Err(unusable(state, &io::Error::from(io::ErrorKind::NotFound)))
    }
}

/// The name of an open directory by which what is in it can be reached.
fn magic(directory: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()))
}

/// Makes a directory, 0700; false if the name is taken.
fn make_directory(path: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a file, 0600: no name that somebody planted is written to, be it a link or one of his files.
fn create_new(path: &Path) -> io::Result<File> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits();
    OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(flags).open(path)
}

fn unusable(path: &Path, error: &io::Error) -> Error {
    let path = crate::tree::path::escaped(path.as_os_str().as_encoded_bytes());
    Error::Fatal(format!("the state directory can not be used: {path}: {error}; choose another with --state-dir"))
}

/// Opens a file that the operator named, for reading; `-` is the standard input.
pub fn open_named(path: &OsStr) -> io::Result<Box<dyn Read>> {
    if path == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(File::open(path)?))
}

/// Opens a regular file that the operator named: it will be read more than once.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // Without waiting for a writer, should it be a FIFO.
    let flags = (OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
}

/// Writes a file that the operator named, durably: nobody ever sees half of it.
pub fn write_named(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut out = io::BufWriter::new(create_new(Path::new(&unfinished))?);
    write(&mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    std::fs::rename(unfinished, path)
}

/// A file that the operator named, to which is added now and then. It is whole after each addition: what ends it is
/// written anew with each.
#[derive(Debug)]
pub struct Growing {
    file: File,
    end: u64,
}

impl Growing {
    /// Begins it anew, in the place of what had its name: a link there is not followed.
    pub fn begin(path: &Path, head: &str, foot: &str) -> io::Result<Self> {
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".new");
        match std::fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut growing = Self { file: create_new(Path::new(&unfinished))?, end: 0 };
        growing.add(head, foot)?;
        std::fs::rename(unfinished, path)?;
        Ok(growing)
    }

    /// Adds to it.
    pub fn add(&mut self, text: &str, foot: &str) -> io::Result<()> {
        self.file.write_all_at([text, foot].concat().as_bytes(), self.end)?;
        self.end += text.len() as u64;
        Ok(())
    }

    /// Makes it durable.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

/// Whether a file that the operator named is there. It may be a FIFO, which can be opened only once.
pub fn look_for_named(path: &OsStr) -> io::Result<()> {
    if path == "-" { Ok(()) } else { std::fs::metadata(path).map(drop) }
}

/// Whether a path that the operator named leads to a regular file: one that can be read again. The standard
/// input, `-`, is none.
pub fn is_regular(path: &OsStr) -> io::Result<bool> {
    if path == "-" { Ok(false) } else { Ok(std::fs::metadata(path)?.is_file()) }
}

/// Whether a path that the operator named leads to a directory.
pub fn is_directory(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_dir())
}

/// Where paths of the operator's lead, without links and `..`: as far as they are there, and behind that by their names.
#[derive(Debug, Default)]
pub struct Leads {
    /// Directories that are known to be no links.
    plain: HashSet<PathBuf>,
}

impl Leads {
    /// Where an absolute path leads. `None`: round in a circle.
    pub fn of(&mut self, path: &Path) -> Option<PathBuf> {
        let links_max = 40;
        let (mut lead, mut links) = (PathBuf::from("/"), 0);
        let names = |path: &Path| path.components().map(|name| PathBuf::from(name.as_os_str())).rev().collect();
        let mut waiting: Vec<PathBuf> = names(path);
        while let Some(name) = waiting.pop() {
            if name == Path::new("..") {
                lead.pop();
                continue;
            }
            // From the root on, if it is the root.
            let next = lead.join(&name);
            if self.plain.contains(&next) {
                lead = next;
                continue;
            }
            match std::fs::read_link(&next) {
                Ok(target) => {
                    links += 1;
                    if links > links_max {
                        return None;
                    }
                    let behind: Vec<PathBuf> = names(&target);
                    waiting.extend(behind);
                }
                Err(_) => {
                    // Of the last names there may be millions, and no other path goes through them.
                    if !waiting.is_empty() {
                        self.plain.insert(next.clone());
                    }
                    lead = next;
                }
            }
        }
        Some(lead)
    }
}

/// The working directory, if it is still there.
pub fn working_directory() -> Option<Vec<u8>> {
    std::env::current_dir().ok().map(|path| path.into_os_string().into_encoded_bytes())
}

/// The operator's home directory, as the environment tells it.
pub fn home() -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    std::env::var_os("HOME").map(OsStringExt::into_vec).filter(|home| !home.is_empty())
}

/// Whether open files can be reached by way of /proc.
pub fn has_proc() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| std::fs::symlink_metadata("/proc/self/fd").is_ok())
}

/// A line of a file of the system, such as the boot id. Empty where it can not be read.
pub fn system_file(path: &str) -> String {
    std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// The mount table (proc(5), mountinfo). The kernel writes blanks in octal, and all other bytes as they are; here those
/// beyond ASCII are in octal too, so that no name that is not UTF-8 spoils it. Empty where it can not be read.
pub fn mount_table() -> String {
    in_ascii(&std::fs::read("/proc/self/mountinfo").unwrap_or_default())
}

fn in_ascii(table: &[u8]) -> String {
    let letter = |byte: &u8| if byte.is_ascii() { char::from(*byte).to_string() } else { format!("\\{byte:03o}") };
    table.iter().map(letter).collect()
}

/// The target of a link of the system, such as a name space. Empty where it can not be read.
pub fn system_link(path: &str) -> String {
    std::fs::read_link(path).map(|target| target.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The absolute path of an open directory, whatever links and names led to it. Empty where it can not be
/// told.
pub fn path_of(directory: &Fd) -> Vec<u8> {
    std::fs::read_link(directory.proc_path()).map(|path| path.into_os_string().into_encoded_bytes()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_where_its_links_lead_and_what_is_missing_goes_by_its_name() {
        let top = tempfile::tempdir().unwrap();
        let top = std::fs::canonicalize(top.path()).unwrap();
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        for (target, name) in [("a/b", "link"), ("link/c", "dangling"), ("round", "round")] {
            std::os::unix::fs::symlink(target, top.join(name)).unwrap();
        }
        let mut leads = Leads::default();
        let mut of = |path: &str| leads.of(&top.join(path));
        assert_eq!(of("link/x/y"), Some(top.join("a/b/x/y")));
        assert_eq!(of("link/.."), Some(top.join("a")));
        assert_eq!(of("dangling/./d"), Some(top.join("a/b/c/d")));
        assert_eq!(of("missing/../a"), Some(top.join("a")));
        assert_eq!(of("round/x"), None);
    }

    use crate::fs::roots::unescaped;

    #[test]
    fn a_name_that_is_not_utf8_spoils_no_line_of_the_mount_table() {
        let table = b"36 35 98:0 / /data/a\\040b rw - ext4 x\n37 35 98:0 / /home/\xff\xc3 rw - fuse y";
        let text = in_ascii(table);
        assert_eq!(text.lines().count(), 2);
        assert_eq!(text.lines().next().unwrap().as_bytes(), table.split(|&byte| byte == b'\n').next().unwrap());
        assert_eq!(unescaped(text.lines().nth(1).unwrap().split(' ').nth(4).unwrap()), b"/home/\xff\xc3");
    }
}
