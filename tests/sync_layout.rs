//! Layouts of files, over a double that answers as a real Lustre was seen to answer; and file systems
//! that take extended attributes and forget them.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::errno::Errno;
use std::path::Path;
use support::*;

/// lov_user_md_v1 with so many stripes of 2 MiB.
fn request(stripes: u8) -> Vec<u8> {
    let mut bytes = vec![0xd0, 0x0b, 0xd1, 0x0b, 1, 0, 0, 0];
    bytes.extend([0; 16]);
    bytes.extend([0, 0, 0x20, 0, stripes, 0, 0, 0]);
    bytes
}

/// A source and a target that are both like Lustre.
struct Lustre {
    pair: Pair,
    source: FaultFs,
    target: FaultFs,
}

impl Lustre {
    fn new() -> Lustre {
        let pair = Pair::new();
        let source = FaultFs::mount_with(pair.source_path(), &["--lustre"]);
        let target = FaultFs::mount_with(pair.target_path(), &["--lustre"]);
        Lustre { pair, source, target }
    }

    /// A source file of so many stripes.
    fn striped(&self, name: &str, stripes: u8) {
        let path = self.source.path().join(name);
        let (kind, mode) = (rustix::fs::FileType::RegularFile, rustix::fs::Mode::from_raw_mode(0o644));
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        rustix::fs::setxattr(&path, "lustre.lov", &request(stripes), rustix::fs::XattrFlags::empty()).unwrap();
        std::fs::write(&path, name).unwrap();
    }

    fn sync(&self) -> Pmirror {
        Pmirror::new().sync(self.source.path(), self.target.path()).state_dir(self.pair.state_path())
    }
}

fn stripes(mount: &FaultFs, name: &str) -> u8 {
    let mut value = vec![0; 1024];
    rustix::fs::getxattr(mount.path().join(name), "lustre.lov", &mut value[..]).unwrap();
    value[28]
}

#[test]
fn a_new_file_gets_the_layout_of_its_source_before_it_is_opened_for_writing() {
    let lustre = Lustre::new();
    lustre.striped("wide", 4);
    lustre.target.start_log();
    let run = lustre.sync().run().exits(0);
    assert_eq!(stripes(&lustre.target, "wide"), 4);
    assert_eq!(run.number("/unset/layout"), 0);
    let log = lustre.target.take_log();
    let place = |call: &str| log.iter().position(|line| line == call).unwrap_or_else(|| panic!("{call}: {log:?}"));
    let order = [place("mknod wide"), place("setxattr wide lustre.lov"), place("open_write wide"), place("write wide")];
    assert!(order.is_sorted(), "{order:?} in {log:?}");
    let (source, target) = (Snapshot::take(lustre.source.path()), Snapshot::take(lustre.target.path()));
    compare::assert_same_but(&source, &target, &["xattrs"]);
}

#[test]
fn a_replaced_file_gets_the_layout_of_its_source_too() {
    let lustre = Lustre::new();
    lustre.striped("file", 3);
    std::fs::write(lustre.target.path().join("file"), "another content").unwrap();
    assert_eq!(stripes(&lustre.target, "file"), 1);
    lustre.sync().run().exits(0);
    assert_eq!(stripes(&lustre.target, "file"), 3);
}

#[test]
fn by_default_of_the_directory_means_no_word_about_layouts() {
    let lustre = Lustre::new();
    lustre.striped("wide", 4);
    lustre.target.start_log();
    lustre.sync().args(&["--layout", "default"]).run().exits(0);
    assert_eq!(stripes(&lustre.target, "wide"), 1);
    let log = lustre.target.take_log();
    assert!(!log.iter().any(|line| line == "setxattr wide lustre.lov" || line == "mknod wide"), "{log:?}");
}

#[test]
fn a_layout_that_is_refused_is_counted_and_the_copy_is_whole() {
    let lustre = Lustre::new();
    lustre.striped("wide", 4);
    lustre.target.rule(Rule::on("setxattr").named("wide").error(Errno::EPERM));
    let run = lustre.sync().run().exits(0);
    assert_eq!((run.number("/unset/layout"), stripes(&lustre.target, "wide")), (1, 1));
    assert_eq!(std::fs::read_to_string(lustre.target.path().join("wide")).unwrap(), "wide");
}

#[test]
fn a_file_that_was_never_written_has_no_layout_to_keep() {
    let lustre = Lustre::new();
    let path = lustre.source.path().join("never");
    let (kind, mode) = (rustix::fs::FileType::RegularFile, rustix::fs::Mode::from_raw_mode(0o644));
    rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
    let run = lustre.sync().run().exits(0);
    assert_eq!((run.number("/unset/layout"), stripes(&lustre.target, "never")), (0, 1));
}

#[test]
fn a_user_keeps_the_layout_of_his_own_files() {
    let lustre = Lustre::new();
    lustre.striped("mine", 2);
    lustre.pair.source().entry("mine").owner(NOBODY.0, NOBODY.1);
    lustre.pair.give_to(NOBODY);
    for mount in [&lustre.source, &lustre.target] {
        Tree::at(mount.path().parent().unwrap())
            .entry(mount.path().file_name().unwrap().as_encoded_bytes())
            .mode(0o755);
    }
    lustre.sync().copied_to(lustre.pair.top_path()).as_user(NOBODY).run().exits(0);
    assert_eq!(stripes(&lustre.target, "mine"), 2);
}

#[test]
fn a_new_directory_hands_down_the_layout_that_its_source_does() {
    let lustre = Lustre::new();
    std::fs::create_dir(lustre.source.path().join("wide")).unwrap();
    std::fs::create_dir(lustre.source.path().join("plain")).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(lustre.source.path().join("wide"), "lustre.lov", &request(2), flags).unwrap();
    lustre.sync().run().exits(0);
    assert_eq!(stripes(&lustre.target, "wide"), 2);
    let plain = rustix::fs::getxattr(lustre.target.path().join("plain"), "lustre.lov", &mut [0; 64][..]);
    assert_eq!(plain, Err(rustix::io::Errno::NODATA));
}

#[test]
fn what_lies_elsewhere_than_on_lustre_costs_no_call_for_layouts() {
    let pair = Pair::new();
    pair.source().file("a", "content");
    let target = FaultFs::mount(pair.target_path());
    target.start_log();
    Pmirror::new().sync(pair.source_path(), target.path()).state_dir(pair.state_path()).run().exits(0);
    let log = target.take_log();
    assert!(log.iter().any(|line| line == "create a") && !log.iter().any(|line| line == "mknod a"), "{log:?}");
}

#[test]
fn lustres_own_attributes_are_never_copied() {
    let lustre = Lustre::new();
    lustre.striped("file", 2);
    lustre.pair.source().entry("file").xattr("user.mine", "kept");
    lustre.target.start_log();
    lustre.sync().run().exits(0);
    let log = lustre.target.take_log();
    let set: Vec<&String> = log.iter().filter(|line| line.starts_with("setxattr file")).collect();
    assert_eq!(set, ["setxattr file lustre.lov", "setxattr file user.mine"]);
}

#[test]
fn a_device_number_that_is_cut_silently_is_a_fault() {
    let lustre = Lustre::new();
    lustre.pair.source().char_device("large", 300, 70_000);
    lustre.pair.source().char_device("small", 1, 3);
    // Over a source that shows the number whole.
    let sync = Pmirror::new().sync(lustre.pair.source_path(), lustre.target.path());
    let run = sync.state_dir(lustre.pair.state_path()).run().exits(23);
    assert_eq!((run.count("character_device", "created"), run.count("character_device", "failed")), (1, 1));
    assert!(!lustre.target.path().join("large").exists());
}

#[test]
fn attributes_that_are_accepted_and_forgotten_are_a_fault() {
    let pair = Pair::new();
    pair.source().file("with", "a").xattr("user.a", "b");
    pair.source().file("without", "a");
    let target = FaultFs::mount_with(pair.target_path(), &["--forget-xattrs"]);
    let run = Pmirror::new().sync(pair.source_path(), target.path()).state_dir(pair.state_path()).run().exits(23);
    assert_eq!((run.count("file", "created"), run.count("file", "failed")), (1, 1));
    assert!(!Path::new(&target.path().join("with")).exists(), "what is not whole is taken away again");
}

#[test]
fn whole_seconds_are_compared_as_whole_seconds() {
    let lustre = Lustre::new();
    // The source shows nanoseconds, the target can not hold them.
    lustre.pair.source().file("a", "content").mtime(1_000_000_000, 123_456_789);
    let sync = Pmirror::new().sync(lustre.pair.source_path(), lustre.target.path()).state_dir(lustre.pair.state_path());
    sync.run().exits(0);
    let again = sync.run().exits(0);
    assert_eq!((again.count("file", "same"), again.number("/bytes/written")), (1, 0));
}

#[test]
fn a_source_without_layouts_leaves_the_default() {
    let lustre = Lustre::new();
    lustre.pair.source().file("plain", "content");
    let sync = Pmirror::new().sync(lustre.pair.source_path(), lustre.target.path());
    let run = sync.state_dir(lustre.pair.state_path()).run().exits(0);
    assert_eq!((run.number("/unset/layout"), stripes(&lustre.target, "plain")), (0, 1));
}
