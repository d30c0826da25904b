//! Project ids and the flag by which they are inherited, on an XFS of the test's own.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::*;

/// An image with a source and a target.
struct OnXfs {
    image: Image,
    source: PathBuf,
    target: PathBuf,
}

fn xfs_io(words: &[&str], path: &Path) -> String {
    let words = words.iter().flat_map(|word| ["-c", word]);
    needs::run_ok(Command::new("xfs_io").arg("-r").args(words).arg(path))
}

/// The project of an entry, and whether it is inherited.
fn project(path: &Path) -> (u32, bool) {
    let said = xfs_io(&["lsproj", "lsattr"], path);
    let id = said.lines().find_map(|line| line.strip_prefix("projid = ")).unwrap();
    let flags = said.lines().last().unwrap().split_whitespace().next().unwrap().to_string();
    (id.parse().unwrap(), flags.contains('P'))
}

impl OnXfs {
    fn new() -> OnXfs {
        let image = Image::xfs();
        let (source, target) = (image.directory("source"), image.directory("target"));
        OnXfs { image, source, target }
    }

    fn set(&self, name: &str, id: u32) {
        xfs_io(&[&format!("chproj {id}")], &self.source.join(name));
    }

    fn sync(&self) -> Pmirror {
        let state = self.image.path().join("state");
        let _ = std::fs::create_dir(&state);
        Pmirror::new().sync(&self.source, &self.target).state_dir(state)
    }
}

#[test]
fn projects_of_directories_and_files_are_kept() {
    let xfs = OnXfs::new();
    let tree = Tree::at(&xfs.source);
    tree.file("directory/file", "a");
    tree.file("directory/deep/file", "b");
    xfs.set("directory", 42);
    xfs_io(&["chattr +P"], &xfs.source.join("directory"));
    xfs.set("directory/file", 7);
    xfs.sync().run().exits(0);
    assert_eq!(project(&xfs.target.join("directory")), (42, true));
    assert_eq!(project(&xfs.target.join("directory/file")), (7, false));
    assert_eq!(project(&xfs.target.join("directory/deep/file")), (0, false));
    assert_same(&xfs.source, &xfs.target);
    let again = xfs.sync().run().exits(0);
    assert_eq!((again.total("same"), again.total("metadata_only")), (again.total("seen"), 0));
}

#[test]
fn a_project_that_was_changed_is_repaired_without_copying() {
    let xfs = OnXfs::new();
    let tree = Tree::at(&xfs.source);
    tree.file("directory/file", "a").mtime(1_000_000_000, 0);
    xfs.sync().run().exits(0);
    xfs.set("directory", 42);
    xfs.set("directory/file", 43);
    let run = xfs.sync().run().exits(0);
    assert_eq!(project(&xfs.target.join("directory")), (42, false));
    assert_eq!(project(&xfs.target.join("directory/file")), (43, false));
    assert_eq!((run.count("file", "metadata_only"), run.number("/bytes/written")), (1, 0));
}

#[test]
fn a_file_is_replaced_although_its_directory_hands_down_another_project() {
    let xfs = OnXfs::new();
    Tree::at(&xfs.source).file("directory/file", "new content");
    Tree::at(&xfs.target).file("directory/file", "old").mtime(1_000_000_000, 0);
    xfs_io(&["chproj 42", "chattr +P"], &xfs.target.join("directory"));
    xfs.set("directory/file", 7);
    xfs.sync().run().exits(0);
    assert_eq!(project(&xfs.target.join("directory/file")), (7, false));
    assert_eq!(std::fs::read_to_string(xfs.target.join("directory/file")).unwrap(), "new content");
}

#[test]
fn what_has_no_project_inherits_that_of_the_target() {
    let xfs = OnXfs::new();
    Tree::at(&xfs.source).file("directory/file", "a");
    xfs_io(&["chproj 42", "chattr +P"], &xfs.target);
    xfs.sync().run().exits(0);
    for name in ["", "directory", "directory/file"] {
        assert_eq!(project(&xfs.target.join(name)).0, 42, "{name}");
    }
}

#[test]
fn no_project_is_set_when_none_is_wanted() {
    let xfs = OnXfs::new();
    Tree::at(&xfs.source).file("file", "a");
    xfs.set("file", 7);
    xfs.sync().arg("--no-project").run().exits(0);
    assert_eq!(project(&xfs.target.join("file")).0, 0);
}

#[test]
fn a_target_without_projects_costs_no_call_for_them() {
    let xfs = OnXfs::new();
    let pair = Pair::new();
    for name in 0..20 {
        Tree::at(&xfs.source).file(format!("{name}"), "a");
    }
    let trace = pair.top_path().join("trace");
    let strace = ["strace", "-f", "-e", "trace=ioctl", "-o", trace.to_str().unwrap()];
    let sync = Pmirror::new().sync(&xfs.source, pair.target_path()).state_dir(pair.state_path());
    sync.wrapped_by(&strace).run().exits(0);
    let calls = std::fs::read_to_string(trace).unwrap().lines().filter(|line| line.contains("XATTR")).count();
    assert!(calls > 0 && calls < 10, "{calls} calls in 20 files");
}
