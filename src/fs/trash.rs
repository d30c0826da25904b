//! The trash, `DST/.pmirror/trash/RUN/ATTEMPT/`: what was renamed out of the tree, by the directory that held it.
//!
//! Below `tree` a directory NAME of DST is `d/NAME`, and what was taken from a directory lies in its `e`: `a/b/file` is
//! `tree/d/a/d/b/e/file`. So each entry leads back by itself, whatever it is called, with nothing written down before
//! it is renamed. A name that is in the trash already stays: the next one of that name goes to `e1`, then `e2`.

use std::ffi::{CStr, CString};

use nix::errno::Errno;

use super::private::Private;
use super::{Fd, attributes, data, list, names, open};
use crate::fault::Failure;
use crate::tree::{Kind, TreePath};

/// The name in the private directory.
pub const NAME: &CStr = c"trash";

const TREE: &CStr = c"tree";
const RECORD: &CStr = c"record.json";
const DIRECTORIES: &CStr = c"d";

/// Entries of one name from one directory, in one attempt: more than one comes only of a call that failed and was done.
const SLOTS_MAX: u32 = 64;
/// A record has some 300 bytes and two paths.
const RECORD_BYTES_MAX: usize = 64 << 10;

/// What one attempt of a run has in the trash.
#[derive(Debug)]
pub struct Place {
    attempt: Fd,
    tree: Fd,
}

/// The trash of one run, or all of it.
#[derive(Debug)]
pub struct Trash {
    directory: Fd,
}

/// An entry of the trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The directory of DST that it was in.
    pub directory: TreePath,
    /// Where it lies beside others of that directory.
    pub slot: CString,
    /// Its name.
    pub name: CString,
    /// Its type.
    pub kind: Kind,
}

fn made(parent: &Fd, name: &CStr) -> Result<Fd, Failure> {
    match names::make_directory(parent, name) {
        Err(failure) if failure.errno != Errno::EEXIST as i32 => Err(failure),
        _ => open::child_directory(parent, name),
    }
}

/// Where the directories of the tree lie in the trash.
fn beneath(directory: &TreePath) -> TreePath {
    let names = directory.as_bytes().split(|&byte| byte == b'/').filter(|name| !name.is_empty());
    let parts: Vec<&[u8]> = names.flat_map(|name| [DIRECTORIES.to_bytes(), name]).collect();
    TreePath::from(parts.join(&b'/').as_slice())
}

fn slot_name(slot: u32) -> CString {
    let text = if slot == 0 { "e".to_owned() } else { format!("e{slot}") };
    CString::new(text).unwrap_or_default()
}

fn is_missing(failure: Failure) -> bool {
    failure.errno == Errno::ENOENT as i32
}

impl Place {
    /// Makes it, with its record, durably: nothing is renamed into what tells not whose it is.
    pub fn make(private: &Private, run: &CStr, attempt: &CStr, record: &[u8]) -> Result<(), Failure> {
        let trash = made(private.directory(), NAME)?;
        let run = made(&trash, run)?;
        let attempt = made(&run, attempt)?;
        let file = open::new_file(&attempt, RECORD)?;
        data::append(&file, record)?;
        data::flush(&file)?;
        file.close()?;
        made(&attempt, TREE).map(drop)?;
        private.flush_names()
    }

    /// Opens it on any rank, in a private directory that is ours.
    pub fn open(private: &Private, run: &CStr, attempt: &CStr) -> Result<Self, Failure> {
        let trash = open::child_directory(private.directory(), NAME)?;
        let run = open::child_directory(&trash, run)?;
        Self::of(open::child_directory(&run, attempt)?)
    }

    fn of(attempt: Fd) -> Result<Self, Failure> {
        let tree = open::child_directory(&attempt, TREE)?;
        Ok(Self { attempt, tree })
    }

    /// What its record says.
    pub fn record(&self) -> Result<Vec<u8>, Failure> {
        data::read_all(&open::file_for_reading(&self.attempt, RECORD)?, RECORD_BYTES_MAX)
    }

    /// Renames what has a name in an open directory of DST into the trash.
    pub fn put(&self, from: &Fd, name: &CStr, directory: &TreePath) -> Result<(), Failure> {
        for slot in 0..SLOTS_MAX {
            let entries = self.slot(directory, &slot_name(slot))?;
            // Nobody else makes names here: what is free now stays free.
            match attributes::of_name(&entries, name) {
                Err(failure) if is_missing(failure) => return renamed(from, name, &entries),
                looked => drop(looked?),
            }
        }
        Err(from.failure("renameat", Errno::EEXIST))
    }

    /// Opens where the entries of a directory go; makes it if it is missing.
    fn slot(&self, directory: &TreePath, slot: &CStr) -> Result<Fd, Failure> {
        let chain = beneath(directory);
        match open::directory_below(&self.tree, &chain.join(slot)) {
            Err(failure) if is_missing(failure) => {}
            result => return result,
        }
        let mut at = open::child_directory(&self.tree, c".")?;
        for name in chain.as_bytes().split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            let name = CString::new(name).map_err(|_| at.failure("mkdirat", Errno::EINVAL))?;
            at = made(&at, &name)?;
        }
        made(&at, slot)
    }

    /// Opens where an entry lies.
    pub fn holder_of(&self, found: &Found) -> Result<Fd, Failure> {
        open::directory_below(&self.tree, &beneath(&found.directory).join(&found.slot))
    }

    /// Hands each entry to `visit`. Returns the directories of DST that they were in, those above first.
    pub fn visit(&self, mut visit: impl FnMut(Found)) -> Result<Vec<TreePath>, Failure> {
        let (mut waiting, mut seen) = (vec![TreePath::root()], Vec::new());
        while let Some(directory) = waiting.pop() {
            let chain = open::directory_below(&self.tree, &beneath(&directory))?;
            for slot in names_in(&chain)? {
                let inner = open::child_directory(&chain, &slot.0)?;
                if slot.0.as_c_str() == DIRECTORIES {
                    waiting.extend(names_in(&inner)?.iter().map(|(name, _)| directory.join(name)));
                } else {
                    for (name, kind) in names_in(&inner)? {
                        visit(Found { directory: directory.clone(), slot: slot.0.clone(), name, kind });
                    }
                }
            }
            seen.push(directory);
        }
        Ok(seen)
    }

    /// Removes what holds no entry any more, the deepest first. Whether nothing is left.
    fn tidy(&self) -> Result<bool, Failure> {
        let mut any = false;
        for directory in self.visit(|_| any = true)?.iter().rev() {
            let chain = open::directory_below(&self.tree, &beneath(directory))?;
            for (name, _) in names_in(&chain)? {
                let _ = names::remove_directory(&chain, &name);
            }
            drop(chain);
            if let Some((parent, name)) = beneath(directory).split_last() {
                let name = CString::new(name).unwrap_or_default();
                let _ = names::remove_directory(&open::directory_below(&self.tree, &parent)?, &name);
            }
        }
        Ok(!any)
    }
}

/// The names in a directory, with their types, in order.
fn names_in(directory: &Fd) -> Result<Vec<(CString, Kind)>, Failure> {
    let mut found = Vec::new();
    let lister = open::child_directory(directory, c".")?;
    list::list(&lister, |name, kind, _| found.push((name.to_owned(), kind)))?;
    let told = |(name, kind): (CString, Option<Kind>)| {
        let kind = kind.map_or_else(|| attributes::of_name(directory, &name).map(|found| found.kind), Ok)?;
        Ok((name, kind))
    };
    let mut told = found.into_iter().map(told).collect::<Result<Vec<_>, Failure>>()?;
    told.sort();
    Ok(told)
}

/// Renames. Who owns a directory that is closed to himself opens it for that: with its parent its `..` changes
/// (rename(2), EACCES).
fn renamed(from: &Fd, name: &CStr, to: &Fd) -> Result<(), Failure> {
    opened_for(from, name, || names::move_to(from, name, to, name))
}

/// Makes a call that an own directory may be closed to; its permissions are what they were, after it.
pub fn opened_for(from: &Fd, name: &CStr, call: impl Fn() -> Result<(), Failure>) -> Result<(), Failure> {
    let Err(denied) = call() else { return Ok(()) };
    if denied.errno != Errno::EACCES as i32 {
        return Err(denied);
    }
    let entry = open::entry(from, name)?;
    let was = attributes::of_fd(&entry)?;
    let is_ours = was.uid == nix::unistd::geteuid().as_raw();
    if was.kind != Kind::Directory || !is_ours || was.mode & 0o200 != 0 {
        return Err(denied);
    }
    attributes::set_mode(&entry, was.mode | 0o200)?;
    let called = call();
    attributes::set_mode(&entry, was.mode)?;
    called
}

impl Trash {
    /// All of it. `None`: there is none.
    pub fn open(private: &Private) -> Result<Option<Self>, Failure> {
        Self::child(private.directory(), NAME)
    }

    fn child(parent: &Fd, name: &CStr) -> Result<Option<Self>, Failure> {
        match open::child_directory(parent, name) {
            Err(failure) if is_missing(failure) => Ok(None),
            result => result.map(|directory| Some(Self { directory })),
        }
    }

    /// That of one run. `None`: it has none.
    pub fn of_run(&self, run: &CStr) -> Result<Option<Self>, Failure> {
        Self::child(&self.directory, run)
    }

    /// The names in it: runs, or attempts of one.
    pub fn names(&self) -> Result<Vec<CString>, Failure> {
        Ok(names_in(&self.directory)?.into_iter().map(|(name, _)| name).collect())
    }

    /// What one attempt has in it. `None`: it died before it was made.
    pub fn place(&self, attempt: &CStr) -> Result<Option<Place>, Failure> {
        match open::child_directory(&self.directory, attempt).and_then(Place::of) {
            Err(failure) if is_missing(failure) => Ok(None),
            result => result.map(Some),
        }
    }

    /// The directory.
    pub fn directory(&self) -> &Fd {
        &self.directory
    }

    /// The directory, alone.
    pub fn into_directory(self) -> Fd {
        self.directory
    }
}

/// Removes what holds no entry: of all runs, or of one.
pub fn tidy(private: &Private, only: Option<&CStr>) -> Result<(), Failure> {
    let Some(trash) = Trash::open(private)? else { return Ok(()) };
    let runs = only.map_or_else(|| trash.names(), |run| Ok(vec![run.to_owned()]))?;
    for name in runs.iter().filter(|name| !name.to_bytes().starts_with(b".")) {
        let Some(run) = trash.of_run(name)? else { continue };
        for attempt in run.names()? {
            let place = run.place(&attempt)?;
            if place.as_ref().map_or(Ok(true), Place::tidy)? {
                if let Some(place) = place {
                    let _ = names::remove_directory(&place.attempt, TREE);
                    let _ = names::remove(&place.attempt, RECORD);
                }
                let _ = names::remove_directory(&run.directory, &attempt);
            }
        }
        let _ = names::remove_directory(&trash.directory, name);
    }
    remove_empty(private)
}

/// Removes the trash if nothing is in it.
pub fn remove_empty(private: &Private) -> Result<(), Failure> {
    match names::remove_directory(private.directory(), NAME) {
        Err(failure) if matches!(Errno::from_raw(failure.errno), Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOENT) => {
            Ok(())
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Side;

    struct Place0 {
        root: Fd,
        private: Private,
        _directory: tempfile::TempDir,
    }

    fn place() -> Place0 {
        let directory = tempfile::tempdir().unwrap();
        let path = CString::new(directory.path().as_os_str().as_encoded_bytes()).unwrap();
        let root = open::operand(Side::Target, &path).unwrap();
        let private = Private::make(&root, nix::unistd::geteuid().as_raw()).unwrap();
        Place::make(&private, c"run", c"1", b"{}").unwrap();
        Place0 { root, private, _directory: directory }
    }

    #[test]
    fn what_is_put_there_leads_back_and_a_second_one_of_its_name_harms_nothing() {
        let Place0 { root, private, .. } = &place();
        let place = Place::open(private, c"run", c"1").unwrap();
        let (directory, mut found) = (TreePath::from(&b"d/e\xff/d"[..]), Vec::new());
        for text in [c"first", c"second"] {
            names::make_symlink(root, c"e", text).unwrap();
            place.put(root, c"e", &directory).unwrap();
        }
        names::make_directory(root, c"d").unwrap();
        place.put(root, c"d", &TreePath::root()).unwrap();
        place.visit(|entry| found.push(entry)).unwrap();
        found.sort_by(|a, b| (&a.directory, &a.slot).cmp(&(&b.directory, &b.slot)));
        let expected = [
            Found { directory: TreePath::root(), slot: c"e".into(), name: c"d".into(), kind: Kind::Directory },
            Found { directory: directory.clone(), slot: c"e".into(), name: c"e".into(), kind: Kind::Symlink },
            Found { directory: directory.clone(), slot: c"e1".into(), name: c"e".into(), kind: Kind::Symlink },
        ];
        assert_eq!(found, expected);
        for (entry, text) in found.iter().skip(1).zip([c"first", c"second"]) {
            let holder = place.holder_of(entry).unwrap();
            assert_eq!(names::read_symlink(&holder, &entry.name).unwrap().as_c_str(), text);
        }
        tidy(private, None).unwrap();
        assert_eq!(place.record().unwrap(), b"{}", "it holds something");
    }

    #[test]
    fn a_trash_that_holds_nothing_goes() {
        let Place0 { root, private, .. } = &place();
        let place = Place::open(private, c"run", c"1").unwrap();
        let directory = TreePath::from(&b"a/b"[..]);
        names::make_symlink(root, c"link", c"x").unwrap();
        place.put(root, c"link", &directory).unwrap();
        let mut entries = Vec::new();
        place.visit(|entry| entries.push(entry)).unwrap();
        names::move_to(&place.holder_of(&entries[0]).unwrap(), c"link", root, c"link").unwrap();
        tidy(private, Some(c"run")).unwrap();
        assert!(Trash::open(private).unwrap().is_none());
    }
}
