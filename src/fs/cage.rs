//! What the kernel is told that a worker may open: Landlock (landlock(7)). It binds the thread that enters, for good.

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus,
};
use nix::errno::Errno;

use super::{Fd, open};
use crate::fault::Side;

/// Directories in which a thread may read, or read and write; it can open nothing elsewhere.
#[derive(Debug)]
pub struct Cage {
    rules: RulesetCreated,
}

/// Rights on files that this program knows; those that a kernel lacks are left out. No later version has more.
const KNOWN: ABI = ABI::V5;

impl Cage {
    /// Made, and tried once by a thread of its own: a file system on which it goes wrong must not fail the run. Why it
    /// can not be had, in words.
    pub fn build(readable: &[&Fd], writable: &[&Fd]) -> Result<Self, String> {
        let cage = Self { rules: rules(readable, writable)? };
        let tried = std::thread::scope(|scope| scope.spawn(|| cage.try_out(readable, writable)).join());
        tried.map_err(|_| "it could not be tried".to_owned())??;
        Ok(cage)
    }

    /// Binds the calling thread.
    pub fn enter(&self) -> Result<(), String> {
        let rules = self.rules.try_clone().map_err(|error| error.to_string())?;
        let bound = rules.restrict_self().map_err(|error| error.to_string())?;
        if bound.ruleset == RulesetStatus::NotEnforced { Err("the kernel took no rule".to_owned()) } else { Ok(()) }
    }

    fn try_out(&self, readable: &[&Fd], writable: &[&Fd]) -> Result<(), String> {
        self.enter()?;
        for directory in readable.iter().chain(writable) {
            if let Err(failure) = open::child_directory(directory, c".") {
                return Err(format!("it shuts out what it should let in ({})", Errno::from_raw(failure.errno)));
            }
        }
        match open::operand(Side::Target, c"/") {
            Err(failure) if failure.errno == Errno::EACCES as i32 => Ok(()),
            // One of them is the root directory.
            Ok(_) if readable.iter().chain(writable).any(|directory| is_root_directory(directory)) => Ok(()),
            _ => Err("it does not keep out what it should".to_owned()),
        }
    }
}

fn is_root_directory(directory: &Fd) -> bool {
    super::operator::path_of(directory) == b"/"
}

fn rules(readable: &[&Fd], writable: &[&Fd]) -> Result<RulesetCreated, String> {
    let other = |error: RulesetError| error.to_string();
    // Under the first version no thread may rename or link from one directory to another, whatever the rules.
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Refer)
        .map_err(|_| "this kernel has no Landlock that allows renames between directories (Linux 5.19)".to_owned())?;
    let ruleset = ruleset
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))
        .and_then(Ruleset::create)
        .map_err(other)?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    // No program is run, and no device is spoken to.
    let write: BitFlags<AccessFs> = AccessFs::from_all(KNOWN) & !(AccessFs::Execute | AccessFs::IoctlDev);
    let readable = readable.iter().map(|directory| (directory, read));
    let writable = writable.iter().map(|directory| (directory, write));
    readable.chain(writable).try_fold(ruleset, |ruleset, (directory, rights)| {
        ruleset.add_rule(PathBeneath::new(directory, rights)).map_err(other)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{data, names, view};
    use std::ffi::{CStr, CString};
    use std::os::unix::ffi::OsStrExt;

    /// Three directories; the first may be read and the second written.
    struct Place(tempfile::TempDir);

    #[allow(clippy::disallowed_methods)] // No tree of a run.
    impl Place {
        fn new() -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            for name in ["source", "target", "other"] {
                std::fs::create_dir_all(place.0.path().join(name).join("below")).unwrap();
                std::fs::write(place.0.path().join(name).join("file"), name).unwrap();
            }
            std::os::unix::fs::symlink("../other/file", place.0.path().join("source/link")).unwrap();
            place
        }

        fn open(&self, name: &str, side: Side) -> Fd {
            let path = CString::new(self.0.path().join(name).as_os_str().as_bytes()).unwrap();
            open::operand(side, &path).unwrap()
        }
    }

    fn errno<T>(result: Result<T, crate::fault::Failure>) -> Result<(), Errno> {
        result.map(drop).map_err(|failure| Errno::from_raw(failure.errno))
    }

    /// What a thread meets that has entered.
    fn inside<T: Send>(cage: &Cage, act: impl FnOnce() -> T + Send) -> T {
        let bound = || {
            cage.enter().unwrap();
            act()
        };
        std::thread::scope(|scope| scope.spawn(bound).join().unwrap())
    }

    const FILE: &CStr = c"file";

    #[test]
    fn a_thread_in_it_reads_the_source_writes_the_target_and_opens_nothing_else() {
        let place = Place::new();
        let [source, target, other] = ["source", "target", "other"].map(|name| place.open(name, Side::Target));
        let cage = Cage::build(&[&source], &[&target]).unwrap();
        inside(&cage, || {
            assert!(open::file_for_reading(&source, FILE).is_ok());
            assert_eq!(errno(open::file_for_writing(&source, FILE)), Err(Errno::EACCES));
            assert_eq!(errno(open::new_file(&source, c"new")), Err(Errno::EACCES));
            assert_eq!(errno(names::remove(&source, FILE)), Err(Errno::EACCES));

            let file = open::new_file(&target, c"new").unwrap();
            data::append(&file, b"content").unwrap();
            names::rename(&target, c"new", FILE).unwrap();
            let below = open::child_directory(&target, c"below").unwrap();
            names::link(&open::entry(&target, FILE).unwrap(), &below, c"second").unwrap();
            names::remove(&below, c"second").unwrap();

            assert_eq!(errno(open::file_for_reading(&other, FILE)), Err(Errno::EACCES));
            assert_eq!(errno(open::new_file(&other, c"new")), Err(Errno::EACCES));
            assert_eq!(errno(names::remove(&other, FILE)), Err(Errno::EACCES));
        });
        assert!(open::file_for_reading(&other, FILE).is_ok(), "other threads are as they were");
    }

    #[test]
    fn a_directory_that_is_moved_out_of_the_target_is_written_to_no_more() {
        let place = Place::new();
        let target = place.open("target", Side::Target);
        let cage = Cage::build(&[], &[&target]).unwrap();
        let below = open::child_directory(&target, c"below").unwrap();
        inside(&cage, || assert!(open::new_file(&below, c"first").is_ok()));
        #[allow(clippy::disallowed_methods)] // No tree of a run.
        std::fs::rename(place.0.path().join("target/below"), place.0.path().join("other/stolen")).unwrap();
        inside(&cage, || assert_eq!(errno(open::new_file(&below, c"second")), Err(Errno::EACCES)));
    }

    #[test]
    fn through_the_view_the_source_is_read_and_neither_written_nor_left_by_a_link() {
        let place = Place::new();
        let source = place.open("source", Side::Source);
        let view = view::read_only(&source).expect("root may copy mounts");
        assert!(open::file_for_reading(&view.root, FILE).is_ok());
        assert_eq!(names::read_symlink(&view.root, c"link").unwrap(), c"../other/file".to_owned());
        assert_eq!(errno(open::file_for_writing(&view.root, FILE)), Err(Errno::EROFS));
        assert_eq!(errno(open::new_file(&view.root, c"new")), Err(Errno::EROFS));
        assert_eq!(errno(names::remove(&view.root, FILE)), Err(Errno::EROFS));
        let file = open::file_for_reading(&view.root, FILE).unwrap();
        assert_eq!(errno(crate::fs::attributes::set_mode(&file, 0o600)), Err(Errno::EROFS));
        assert_eq!(errno(crate::fs::attributes::touch(&file)), Err(Errno::EROFS));
        assert!(open::new_file(&source, c"new").is_ok(), "only through the view");
    }

    #[test]
    fn rules_on_the_view_let_in_what_is_reached_through_it() {
        let place = Place::new();
        let [source, target] = ["source", "target"].map(|name| place.open(name, Side::Source));
        let view = view::read_only(&source).expect("root may copy mounts");
        let cage = Cage::build(&[&view.root], &[&target]).unwrap();
        inside(&cage, || {
            let below = open::child_directory(&view.root, c"below").unwrap();
            assert!(open::child_directory(&below, c".").is_ok());
            assert!(open::file_for_reading(&view.root, FILE).is_ok());
        });
    }
}
