//! Our FUSE file system does what it promises: else the tests and benchmarks that lean on it prove nothing.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::errno::Errno;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::*;

/// A backing folder beside its mount; removed with it.
struct Mounted {
    fault_fs: FaultFs,
    folder: tempfile::TempDir,
}

impl Mounted {
    fn new(options: &[&str]) -> Mounted {
        let folder = tempfile::TempDir::with_prefix_in("faultfs-backing-", needs::test_dir()).unwrap();
        let fault_fs = FaultFs::mount_with(folder.path(), options);
        Mounted { fault_fs, folder }
    }

    /// With a file of 100 bytes called `file`.
    fn with_file(options: &[&str]) -> Mounted {
        let mounted = Mounted::new(options);
        std::fs::write(mounted.behind("file"), [7; 100]).unwrap();
        mounted
    }

    fn at(&self, name: &str) -> PathBuf {
        self.fault_fs.path().join(name)
    }

    fn behind(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn errno<T>(result: std::io::Result<T>) -> Errno {
    Errno::from_raw(result.err().and_then(|error| error.raw_os_error()).unwrap_or(0))
}

fn time_of(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

#[test]
fn latencies_add_up_call_by_call() {
    let mounted = Mounted::with_file(&[]);
    let file = File::open(mounted.at("file")).unwrap();
    mounted.fault_fs.rule(Rule::on("getattr").latency(Duration::from_millis(15)));
    mounted.fault_fs.rule(Rule::on("all").latency(Duration::from_millis(5)));
    let took = time_of(|| (0..10).for_each(|_| assert!(file.metadata().is_ok())));
    assert!(took >= Duration::from_millis(200), "{took:?}");
}

#[test]
fn sixteen_threads_take_a_sixteenth_of_the_time() {
    let mounted = Mounted::with_file(&[]);
    mounted.fault_fs.rule(Rule::on("getattr").latency(Duration::from_millis(200)));
    let look = || {
        let file = File::open(mounted.at("file")).unwrap();
        (0..5).for_each(|_| assert!(file.metadata().is_ok()));
    };
    let took = time_of(|| {
        std::thread::scope(|scope| (0..16).for_each(|_| drop(scope.spawn(look))));
    });
    // One thread would need 16 s, sixteen need 1 s; the machine may be busy.
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(6), "{took:?}");
}

#[test]
fn an_error_hits_every_third_call_after_the_first_two() {
    let mounted = Mounted::with_file(&[]);
    std::fs::write(mounted.behind("other"), "").unwrap();
    mounted.fault_fs.rule(Rule::on("open").named("fi*").after(2).every(3).error(Errno::EIO));
    let hit: Vec<bool> = (0..9).map(|_| errno(File::open(mounted.at("file"))) == Errno::EIO).collect();
    assert_eq!(hit, [false, false, false, false, true, false, false, true, false]);
    assert!(File::open(mounted.at("other")).is_ok());
    mounted.fault_fs.clear();
    assert!((0..9).all(|_| File::open(mounted.at("file")).is_ok()));
}

#[test]
fn only_the_first_calls_fail() {
    let mounted = Mounted::new(&[]);
    mounted.fault_fs.rule(Rule::on("mkdir").first(1).error(Errno::ENOSPC));
    assert_eq!(errno(std::fs::create_dir(mounted.at("a"))), Errno::ENOSPC);
    std::fs::create_dir(mounted.at("a")).unwrap();
}

#[test]
fn reads_and_writes_are_as_short_as_asked() {
    let mounted = Mounted::with_file(&[]);
    mounted.fault_fs.rule(Rule::on("read").short(7));
    mounted.fault_fs.rule(Rule::on("write").short(5));
    assert_eq!(File::open(mounted.at("file")).unwrap().read(&mut [0; 50]).unwrap(), 7);
    assert_eq!(File::create(mounted.at("new")).unwrap().write(&[1; 50]).unwrap(), 5);
    assert_eq!(std::fs::read(mounted.at("file")).unwrap(), [7; 100]);
}

#[test]
fn a_call_hangs_until_its_rule_is_lifted() {
    let mounted = Mounted::with_file(&[]);
    let rule = mounted.fault_fs.rule(Rule::on("open").hang());
    let path = mounted.at("file");
    let open = std::thread::spawn(move || File::open(path).is_ok());
    std::thread::sleep(Duration::from_millis(200));
    assert!(!open.is_finished());
    assert!(mounted.at("file").metadata().is_ok(), "other calls go on");
    mounted.fault_fs.lift(rule);
    assert!(open.join().unwrap());
}

#[test]
fn a_mount_ends_although_a_call_hangs() {
    let mounted = Mounted::with_file(&[]);
    mounted.fault_fs.rule(Rule::on("open").hang());
    let path = mounted.at("file");
    let mountpoint = mounted.fault_fs.path().to_path_buf();
    let open = std::thread::spawn(move || File::open(path).is_ok());
    std::thread::sleep(Duration::from_millis(100));
    let took = time_of(|| drop(mounted));
    assert!(took < Duration::from_secs(8) && !mountpoint.exists(), "{took:?}");
    let _ = open.join().unwrap();
}

#[test]
fn a_read_only_file_system_refuses_all_that_modifies() {
    let mounted = Mounted::with_file(&[]);
    mounted.fault_fs.rule(Rule::on("modifying").error(Errno::EROFS));
    assert_eq!(errno(std::fs::create_dir(mounted.at("a"))), Errno::EROFS);
    assert_eq!(errno(OpenOptions::new().write(true).open(mounted.at("file"))), Errno::EROFS);
    assert_eq!(errno(std::fs::remove_file(mounted.at("file"))), Errno::EROFS);
    assert_eq!(std::fs::read(mounted.at("file")).unwrap().len(), 100);
}

#[test]
fn calls_are_logged_in_order() {
    let mounted = Mounted::with_file(&[]);
    mounted.fault_fs.start_log();
    std::fs::rename(mounted.at("file"), mounted.at("other")).unwrap();
    std::fs::set_permissions(mounted.at("other"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let log = mounted.fault_fs.take_log();
    let place = |call: &str| log.iter().position(|line| line == call).unwrap_or_else(|| panic!("{call}: {log:?}"));
    assert!(place("rename other") < place("setattr other mode"));
    assert_eq!(mounted.fault_fs.take_calls()["rename"], 1);
}

#[test]
fn times_lose_what_the_file_system_can_not_hold() {
    for (option, seconds) in [("seconds", 1_000_000_001), ("two-seconds", 1_000_000_000)] {
        let mounted = Mounted::with_file(&["--times", option]);
        Tree::at(mounted.fault_fs.path()).entry("file").mtime(1_000_000_001, 5);
        let seen = mounted.at("file").metadata().unwrap();
        assert_eq!((seen.mtime(), seen.mtime_nsec(), seen.ctime_nsec()), (seconds, 0, 0), "{option}");
    }
    let mounted = Mounted::with_file(&[]);
    for time in [(1_000_000_001, 123_456_789), (-5, 300_000_000)] {
        Tree::at(mounted.fault_fs.path()).entry("file").mtime(time.0, time.1);
        let seen = mounted.at("file").metadata().unwrap();
        assert_eq!((seen.mtime(), seen.mtime_nsec()), (time.0, i64::from(time.1)));
    }
}

#[test]
fn a_poorer_file_system_has_no_xattrs_no_links_and_folds_case() {
    let mounted = Mounted::with_file(&["--no-xattrs", "--no-links", "--fold-case"]);
    let mut buffer = [0; 10];
    let xattr = rustix::fs::getxattr(mounted.at("file"), "user.a", &mut buffer[..]);
    assert_eq!(xattr, Err(rustix::io::Errno::OPNOTSUPP));
    assert_eq!(errno(std::fs::hard_link(mounted.at("file"), mounted.at("link"))), Errno::EPERM);
    assert_eq!(std::fs::read(mounted.at("FILE")).unwrap().len(), 100);
    assert_eq!(errno(File::create_new(mounted.at("File"))), Errno::EEXIST);
}

#[test]
fn names_of_one_inode_are_one_inode_and_a_reused_number_is_not() {
    let mounted = Mounted::with_file(&[]);
    std::fs::hard_link(mounted.at("file"), mounted.at("link")).unwrap();
    let inode = |name: &str| mounted.at(name).metadata().unwrap().ino();
    assert_eq!((inode("file"), inode("file")), (inode("link"), mounted.behind("file").metadata().unwrap().ino()));
    std::fs::remove_file(mounted.behind("link")).unwrap();
    for round in 0..50 {
        let mut old = File::open(mounted.at("file")).unwrap();
        std::fs::remove_file(mounted.behind("file")).unwrap();
        std::fs::write(mounted.behind("file"), format!("round {round}")).unwrap();
        assert_eq!(std::fs::read_to_string(mounted.at("file")).unwrap(), format!("round {round}"));
        // The old inode answers with its own content or not at all.
        let mut content = String::new();
        let read = old.read_to_string(&mut content);
        assert!(read.is_err() || content != format!("round {round}"), "{content}");
    }
}

#[test]
fn a_synthetic_directory_of_a_million_names_lists_completely() {
    let mounted = Mounted::new(&["--synthetic", "1000000:1:20"]);
    let directory = mounted.at("synthetic-000000");
    let mut names: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), names[999_999].to_str().unwrap()), (1_000_000, "file-0000999999"));
    let content = |name: &str| std::fs::read(directory.join(name)).unwrap();
    assert_eq!(content("file-0000000005").len(), 20);
    assert_ne!(content("file-0000000005"), content("file-0000000006"));
    assert_eq!(errno(File::open(directory.join("file-0001000000"))), Errno::ENOENT);
    assert_eq!(errno(File::open(directory.join("file-5"))), Errno::ENOENT);
}

#[test]
fn synthetic_directories_lie_beside_the_folder_and_can_not_be_changed() {
    let mounted = Mounted::with_file(&["--synthetic", "3:200"]);
    let seen = Snapshot::take(mounted.fault_fs.path()).without_root();
    assert_eq!((seen.count("directory"), seen.count("file")), (200, 601));
    assert_eq!(errno(File::create(mounted.at("synthetic-000007/new"))), Errno::EROFS);
    assert_eq!(errno(std::fs::remove_file(mounted.at("synthetic-000007/file-0000000001"))), Errno::EROFS);
    std::fs::create_dir(mounted.at("new")).unwrap();
    assert!(mounted.behind("new").is_dir());
}

#[test]
fn pmirror_finds_two_synthetic_trees_equal() {
    let pair = Pair::new();
    let source = FaultFs::synthetic(pair.source_path(), "500:4:10");
    let target = FaultFs::synthetic(pair.target_path(), "500:4:10");
    let run = sync(&pair, &source, &target).run().exits(0);
    assert_eq!((run.count("file", "same"), run.number("/bytes/written")), (2_000, 0));
}

fn layout_of(mounted: &Mounted, name: &str) -> rustix::io::Result<Vec<u8>> {
    let mut value = vec![0; 1024];
    let length = rustix::fs::getxattr(mounted.at(name), "lustre.lov", &mut value[..])?;
    value.truncate(length);
    Ok(value)
}

/// lov_user_md_v1 with so many stripes of 1 MiB.
fn request(stripes: u8) -> Vec<u8> {
    let mut bytes = vec![0xd0, 0x0b, 0xd1, 0x0b, 1, 0, 0, 0];
    bytes.extend([0; 16]);
    bytes.extend([0, 0, 0x10, 0, stripes, 0, 0, 0]);
    bytes
}

fn set_layout(mounted: &Mounted, name: &str, value: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::setxattr(mounted.at(name), "lustre.lov", value, rustix::fs::XattrFlags::empty())
}

fn make_node(mounted: &Mounted, name: &str) {
    let (kind, mode) = (rustix::fs::FileType::RegularFile, rustix::fs::Mode::from_raw_mode(0o600));
    rustix::fs::mknodat(rustix::fs::CWD, mounted.at(name), kind, mode, 0).unwrap();
}

/// The tables of what a real Lustre did, as far as they concern layouts.
#[test]
fn a_layout_is_set_once_and_before_the_first_open_for_writing() {
    let mounted = Mounted::new(&["--lustre"]);
    make_node(&mounted, "a");
    assert_eq!(layout_of(&mounted, "a"), Err(rustix::io::Errno::NODATA));
    File::open(mounted.at("a")).unwrap();
    assert_eq!(layout_of(&mounted, "a"), Err(rustix::io::Errno::NODATA), "opened for reading only");
    assert_eq!(set_layout(&mounted, "a", &[0; 32]), Err(rustix::io::Errno::RANGE));
    set_layout(&mounted, "a", &request(3)).unwrap();
    let first = layout_of(&mounted, "a").unwrap();
    assert_eq!((first.len(), first[28]), (32 + 3 * 24, 3));
    set_layout(&mounted, "a", &request(2)).unwrap();
    assert_eq!(layout_of(&mounted, "a").unwrap(), first, "a second one is taken silently and changes nothing");

    make_node(&mounted, "b");
    drop(OpenOptions::new().write(true).open(mounted.at("b")).unwrap());
    set_layout(&mounted, "b", &request(3)).unwrap();
    assert_eq!(layout_of(&mounted, "b").unwrap()[28], 1, "opened for writing first");
    File::create(mounted.at("c")).unwrap();
    set_layout(&mounted, "c", &request(3)).unwrap();
    assert_eq!(layout_of(&mounted, "c").unwrap().len(), 56);

    make_node(&mounted, "many");
    set_layout(&mounted, "many", &request(9)).unwrap();
    assert_eq!(layout_of(&mounted, "many").unwrap()[28], 4, "no more stripes than servers");
}

#[test]
fn a_lustre_double_lists_its_own_attributes_and_cuts_devices_and_times() {
    let mounted = Mounted::with_file(&["--lustre"]);
    let mut list = vec![0; 1024];
    let length = rustix::fs::listxattr(mounted.at("file"), &mut list[..]).unwrap();
    let list = String::from_utf8_lossy(&list[..length]).into_owned();
    let names: Vec<&str> = list.split_terminator('\0').collect();
    assert_eq!(names, ["trusted.lov", "trusted.link", "trusted.lma", "lustre.lov"]);
    let tree = Tree::at(mounted.fault_fs.path());
    tree.char_device("device", 300, 70_000);
    let device = mounted.at("device").metadata().unwrap();
    assert!(device.file_type().is_char_device());
    assert_eq!((rustix::fs::major(device.rdev()), rustix::fs::minor(device.rdev())), (61, 112));
    tree.entry("file").mtime(100, 999);
    assert_eq!(mounted.at("file").metadata().unwrap().mtime_nsec(), 0);
    let refused = rustix::fs::setxattr(mounted.at("file"), "lustre.foo", b"a", rustix::fs::XattrFlags::empty());
    assert_eq!(refused, Err(rustix::io::Errno::OPNOTSUPP));
}

/// Runs `pmirror sync` between two mounts, whose backing folders are those of the pair.
fn sync(pair: &Pair, source: &FaultFs, target: &FaultFs) -> Pmirror {
    Pmirror::new().sync(source.path(), target.path()).state_dir(pair.state_path())
}

#[test]
fn pmirror_mirrors_from_it_and_to_it() {
    let pair = Pair::new();
    RandomTree::new(1, 300).linked().build(&pair.source());
    let source = FaultFs::mount(pair.source_path());
    let target = FaultFs::mount(pair.target_path());
    sync(&pair, &source, &target).run().exits(0);
    pair.assert_mirrored();
    assert_same(source.path(), target.path());
    let again = sync(&pair, &source, &target).run().exits(0);
    assert_eq!(again.number("/bytes/written"), 0);
}

#[test]
fn pmirror_survives_short_reads_and_writes() {
    let pair = Pair::new();
    pair.source().file("file", vec![5; 100_000]);
    let source = FaultFs::mount(pair.source_path());
    let target = FaultFs::mount(pair.target_path());
    target.rule(Rule::on("write").short(3_001));
    sync(&pair, &source, &target).run().exits(0);
    pair.assert_mirrored();
}
