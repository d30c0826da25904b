//! Some files of the source, to read: found by a look into its first directories, within a time.

use std::collections::VecDeque;
use std::ffi::CString;
use std::time::{Duration, Instant};

use crate::fs::{Fd, attributes, list, open};
use crate::tree::{Kind, Time, TreePath};

/// Directories that are looked into, and names of each.
const DIRECTORIES_MAX: usize = 256;
const NAMES_MAX: usize = 1_000;
/// Files that are kept.
const FILES_MAX: usize = 4_000;

/// Files of the source.
#[derive(Debug, Default)]
pub struct Sample {
    /// Each with the directory that holds it, in the order in which they were found.
    pub files: Vec<(TreePath, CString)>,
    /// The newest time of change that was seen.
    pub newest: Option<Time>,
}

impl Sample {
    /// Looks into the first directories, from the root on, for so long at most. `private`: a name of the root that is
    /// left out.
    pub fn take(root: &Fd, time_max: Duration, private: Option<&std::ffi::CStr>) -> Self {
        let (started, mut sample) = (Instant::now(), Self::default());
        let mut waiting = VecDeque::from([TreePath::root()]);
        let mut looked = 0;
        while let Some(path) = waiting.pop_front() {
            let is_enough = sample.files.len() >= FILES_MAX || looked >= DIRECTORIES_MAX;
            if is_enough || looked > 0 && started.elapsed() > time_max {
                break;
            }
            looked += 1;
            sample.look(root, &path, private, &mut waiting, &|| started.elapsed() > time_max);
        }
        sample
    }

    /// What can not be looked at is left out: others tell why.
    fn look(
        &mut self,
        root: &Fd,
        path: &TreePath,
        private: Option<&std::ffi::CStr>,
        waiting: &mut VecDeque<TreePath>,
        is_late: &dyn Fn() -> bool,
    ) {
        let Ok(directory) = open::directory_below(root, path) else { return };
        let Ok(lister) = open::child_directory(&directory, c".") else { return };
        let mut names: Vec<CString> = Vec::new();
        let _ = list::first(&lister, NAMES_MAX, |name| names.push(name.to_owned()));
        for name in names.into_iter().filter(|name| !path.is_root() || private != Some(name.as_c_str())) {
            if is_late() {
                return;
            }
            let Ok(found) = attributes::of_name(&directory, &name) else { continue };
            self.newest = self.newest.max(Some(found.ctime));
            match found.kind {
                Kind::Directory if waiting.len() < DIRECTORIES_MAX => waiting.push_back(path.join(&name)),
                Kind::File => self.files.push((path.clone(), name)),
                _ => {}
            }
        }
    }
}
