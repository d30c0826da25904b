//! What was under work when attempts of this run died: watched closely, and in the end set aside.

use std::collections::BTreeSet;
use std::ffi::CStr;

use bincode::{Decode, Encode};

use super::path::TreePath;

/// Paths of each sort that are kept: every rank holds them.
pub const SUSPECTS_MAX: usize = 10_000;

/// What ended attempts, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Suspects {
    /// Under work when an attempt died. In these directories each name is recorded before it is touched.
    pub watched: BTreeSet<TreePath>,
    /// Under work when a second one died: not touched again.
    pub aside: BTreeSet<TreePath>,
}

impl Suspects {
    /// An attempt died over these directories, and names in them where names were recorded. Returns what is
    /// set aside for that.
    pub fn learn(&mut self, in_flight: impl IntoIterator<Item = (TreePath, Vec<u8>)>) -> Vec<TreePath> {
        let (before, mut new) = (self.watched.clone(), Vec::new());
        for (directory, name) in in_flight {
            if !before.contains(&directory) {
                if self.watched.len() < SUSPECTS_MAX {
                    self.watched.insert(directory);
                }
                continue;
            }
            let path = if name.is_empty() { directory } else { below(&directory, &name) };
            // Without its root nothing of the tree would be done: that is for people to judge.
            if !path.is_root() && self.aside.len() < SUSPECTS_MAX && self.aside.insert(path.clone()) {
                new.push(path);
            }
        }
        new
    }

    /// Whether names are recorded in this directory.
    pub fn watches(&self, directory: &[u8]) -> bool {
        !self.watched.is_empty() && self.watched.contains(&TreePath::from(directory))
    }

    /// Whether this path is set aside.
    pub fn has_aside(&self, path: &TreePath) -> bool {
        !self.aside.is_empty() && self.aside.contains(path)
    }

    /// Whether this name of a directory is set aside.
    pub fn has_name_aside(&self, directory: &TreePath, name: &CStr) -> bool {
        !self.aside.is_empty() && self.aside.contains(&directory.join(name))
    }
}

fn below(directory: &TreePath, name: &[u8]) -> TreePath {
    let slash: &[u8] = if directory.is_root() { b"" } else { b"/" };
    TreePath::from([directory.as_bytes(), slash, name].concat().as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::from(text.as_bytes())
    }

    fn learn(suspects: &mut Suspects, in_flight: &[(&str, &str)]) -> Vec<TreePath> {
        suspects.learn(in_flight.iter().map(|(directory, name)| (path(directory), name.as_bytes().to_vec())))
    }

    #[test]
    fn one_death_makes_suspect_and_a_second_over_the_same_name_sets_it_aside() {
        let mut suspects = Suspects::default();
        assert_eq!(learn(&mut suspects, &[("a", ""), ("a", ""), ("b", "")]), []);
        assert!(suspects.watches(b"a") && !suspects.has_aside(&path("a")));
        assert_eq!(learn(&mut suspects, &[("a", "bad"), ("c", "")]), [path("a/bad")]);
        assert!(suspects.has_name_aside(&path("a"), c"bad") && !suspects.has_name_aside(&path("a"), c"good"));
        assert!(suspects.watches(b"c") && !suspects.has_aside(&path("b")));
    }

    #[test]
    fn a_directory_that_kills_us_before_any_name_is_set_aside_itself() {
        let mut suspects = Suspects::default();
        learn(&mut suspects, &[("d", ""), ("", "")]);
        assert_eq!(learn(&mut suspects, &[("d", ""), ("", "")]), [path("d")], "and never the root");
        assert_eq!(learn(&mut suspects, &[("", "name")]), [path("name")]);
    }

    #[test]
    fn they_are_bounded() {
        let mut suspects = Suspects::default();
        let many = || (0..SUSPECTS_MAX + 7).map(|n| (path(&n.to_string()), Vec::new()));
        suspects.learn(many());
        suspects.learn(many());
        suspects.learn(many());
        assert_eq!((suspects.watched.len(), suspects.aside.len()), (SUSPECTS_MAX, SUSPECTS_MAX));
    }
}
