//! Modes, owners, extended attributes, ACLs and capabilities: copied, repaired, and never wider.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use support::compare::assert_same_but;
use support::outcome::second_run_changes_nothing;
use support::*;

const ACL: &str = "u::rw-,u:1000:rw-,g::r--,m::rw-,o::---";
const DEFAULT_ACL: &str = "u::rwx,u:1000:rwx,g::r-x,m::rwx,o::r-x";

/// A pair whose source `make` filled and that was mirrored once.
fn mirrored(make: impl Fn(&Tree)) -> Pair {
    let pair = Pair::new();
    make(&pair.source());
    pair.sync().run().exits(0);
    pair.assert_mirrored();
    pair
}

/// What happens to the one file `file` when its metadata changed on the source: these are
/// repaired, the content is not written again.
fn assert_repaired_in_place(make: impl Fn(&Tree), change: impl Fn(&Tree)) {
    let pair = mirrored(make);
    let before = pair.target_now().at("file").identity();
    change(&pair.source());
    pair.source().entry("file").touch_ctime();
    let run = pair.sync().run().exits(0);
    run.counts("file", &[("metadata_only", 1)]);
    assert_eq!(run.number("/bytes/written"), 0, "bytes written");
    assert_eq!(pair.target_now().at("file").identity(), before, "the inode was replaced");
    pair.assert_mirrored();
    second_run_changes_nothing(&pair, &pair.sync(), 0);
}

#[test]
fn every_mode_of_a_file_is_copied() {
    let pair = mirrored(|tree| {
        for mode in 0..0o10000 {
            tree.file(format!("{mode:04o}"), "").mode(mode);
        }
    });
    second_run_changes_nothing(&pair, &pair.sync(), 0);
}

#[test]
fn every_mode_of_a_directory_is_copied() {
    let pair = mirrored(|tree| {
        for mode in 0..0o10000 {
            tree.dir(format!("{mode:04o}")).mode(mode);
        }
    });
    second_run_changes_nothing(&pair, &pair.sync(), 0);
}

#[test]
fn directories_that_let_nobody_in_are_filled() {
    mirrored(|tree| {
        tree.file("closed/below/file", "").mode(0);
        tree.entry("closed/below").mode(0);
        tree.entry("closed").mode(0);
    });
}

#[test]
fn setuid_survives_the_owner_that_clears_it() {
    mirrored(|tree| {
        tree.file("program", "#!").owner(1000, 1000).mode(0o6755);
        tree.file("replaced", "#!").owner(1, 2).mode(0o4711).capability();
    });
}

#[test]
fn owners_of_every_type_are_copied() {
    mirrored(|tree| {
        tree.file("file", "").owner(1000, 2000);
        tree.file("largest", "").owner(u32::MAX - 1, u32::MAX - 1);
        tree.symlink("link", "x").owner(1001, 2001);
        tree.fifo("fifo").owner(1002, 2002);
        tree.socket("socket").owner(1003, 2003);
        tree.char_device("device", 1, 7).owner(1004, 2004);
        tree.dir("directory").owner(1005, 2005);
        tree.root().owner(1006, 2006);
    });
}

#[test]
fn the_umask_of_the_job_has_no_effect() {
    for umask in ["umask 0777", "umask 0"] {
        let pair = Pair::new();
        RandomTree::new(21, 60).build(&pair.source());
        let script = format!("{umask}; exec \"$@\"");
        let sync = pair.sync().wrapped_by(&["sh", "-c", &script, "sh"]);
        sync.run_unchecked().exits(0);
        pair.assert_mirrored();
    }
}

#[test]
fn extended_attributes_of_every_type_are_copied() {
    mirrored(|tree| {
        let long = vec![0xa5; 3000];
        tree.file("file", "").xattr("user.long", long).xattr("user.empty", "");
        tree.file("bytes", "").xattr(b"user.\xff/\x01", b"\0\xff");
        tree.dir("directory").xattr("user.a", "1").xattr("trusted.b", "2");
        tree.symlink("link", "x").xattr("trusted.b", "3");
        tree.fifo("fifo").xattr("trusted.b", "4");
        tree.char_device("device", 1, 3).xattr("trusted.b", "5");
        tree.root().xattr("user.root", "6");
    });
}

#[test]
fn attributes_of_the_file_system_itself_are_not_copied() {
    let pair = Pair::new();
    let file = pair.source().file("file", "");
    file.xattr("trusted.overlay.opaque", "y").xattr("trusted.lov", "layout");
    file.xattr("user.note", "copied");
    pair.sync().run().exits(0);
    let target = pair.target_now();
    let names: Vec<String> = target.at("file").xattrs.keys().map(escaped).collect();
    assert_eq!(names, ["user.note"]);
    second_run_changes_nothing(&pair, &pair.sync(), 0);
}

#[test]
fn an_attribute_that_was_added_is_repaired_without_copying() {
    let make = |tree: &Tree| drop(tree.file("file", "content"));
    assert_repaired_in_place(make, |tree| {
        tree.entry("file").xattr("user.added", "1");
    });
}

#[test]
fn an_attribute_that_was_changed_is_repaired_without_copying() {
    let make = |tree: &Tree| {
        tree.file("file", "content").xattr("user.note", "old");
    };
    assert_repaired_in_place(make, |tree| {
        tree.entry("file").xattr("user.note", "new");
    });
}

#[test]
fn an_attribute_that_was_removed_is_repaired_without_copying() {
    let make = |tree: &Tree| {
        tree.file("file", "content").xattr("user.note", "old").xattr("user.kept", "x");
    };
    assert_repaired_in_place(make, |tree| {
        tree.entry("file").remove_xattr("user.note");
    });
}

#[test]
fn a_changed_mode_owner_acl_or_capability_is_repaired_without_copying() {
    let changes: [fn(&Tree); 5] = [
        |tree| {
            tree.entry("file").mode(0o6751).mode(0o6711);
        },
        |tree| {
            tree.entry("file").owner(1000, 1000);
        },
        |tree| {
            tree.entry("file").acl(ACL);
        },
        |tree| {
            tree.entry("file").capability();
        },
        |tree| {
            tree.entry("file").owner(5, 6).mode(0o4755).capability();
        },
    ];
    for change in changes {
        let make = |tree: &Tree| drop(tree.file("file", "content"));
        assert_repaired_in_place(make, change);
    }
}

#[test]
fn an_acl_that_was_removed_is_removed_on_the_target() {
    let make = |tree: &Tree| {
        tree.file("file", "content").mode(0o600).acl(ACL);
    };
    assert_repaired_in_place(make, |tree| {
        tree.entry("file").remove_xattr(acl::ACCESS).mode(0o600);
    });
}

#[test]
fn attributes_that_only_the_target_has_are_removed() {
    let pair = mirrored(|tree| {
        tree.file("file", "");
        tree.dir("directory");
    });
    for name in ["file", "directory"] {
        pair.target().entry(name).xattr("user.extra", "x").acl(ACL);
        pair.target().entry(name).xattr("trusted.extra", "x");
        pair.source().entry(name).touch_ctime();
    }
    pair.target().entry("directory").default_acl(DEFAULT_ACL);
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn metadata_of_links_and_special_files_are_repaired() {
    let pair = mirrored(|tree| {
        tree.symlink("link", "x").mtime(1_000, 1);
        tree.fifo("fifo").mtime(1_000, 1);
        tree.dir("directory").mtime(1_000, 1);
    });
    let before = pair.target_now();
    for name in ["link", "fifo", "directory"] {
        pair.source().entry(name).owner(8, 9).xattr("trusted.t", "1").mtime(2_000, 2);
    }
    let run = pair.sync().run().exits(0);
    for (kind, name) in [("symlink", "link"), ("fifo", "fifo"), ("directory", "directory")] {
        assert!(run.count(kind, "metadata_only") >= 1, "{kind}");
        let after = pair.target_now();
        assert_eq!(after.at(name).identity(), before.at(name).identity(), "{name} was replaced");
    }
    pair.assert_mirrored();
}

#[test]
fn access_and_default_acls_are_copied_byte_by_byte() {
    let pair = mirrored(|tree| {
        tree.file("file", "").acl(ACL);
        tree.file("narrow mask", "").acl("u::rwx,u:1:rwx,g::rwx,g:2:rwx,m::---,o::--x");
        tree.file("setgid too", "").mode(0o2750).acl("u::rwx,g::r-x,g:3:---,m::r-x,o::---");
        tree.fifo("fifo").acl(ACL);
        tree.dir("directory").acl(DEFAULT_ACL).default_acl(ACL);
        tree.dir("only default").default_acl(DEFAULT_ACL);
        tree.file("only default/file", "");
    });
    second_run_changes_nothing(&pair, &pair.sync(), 0);
}

#[test]
fn a_default_acl_above_the_target_is_not_inherited_by_the_copies() {
    let pair = Pair::without_target();
    pair.beside().root().default_acl(DEFAULT_ACL);
    pair.source().file("directory/file", "").mode(0o640);
    pair.source().fifo("fifo").mode(0o640);
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_default_acl_of_the_target_itself_is_not_left_behind() {
    let pair = Pair::new();
    pair.target().root().default_acl(DEFAULT_ACL);
    pair.target().dir("directory").default_acl(DEFAULT_ACL);
    pair.source().file("directory/file", "").mode(0o600);
    pair.source().file("file", "").mode(0o600);
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_setgid_directory_does_not_hand_its_group_down() {
    let pair = Pair::new();
    pair.target().root().owner(0, 4242).mode(0o2777);
    pair.source().file("directory/file", "").owner(1, 2);
    pair.source().file("file", "").owner(1, 3);
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn capabilities_survive_owner_and_content() {
    let pair = mirrored(|tree| {
        tree.file("program", "text").owner(1000, 1000).mode(0o4755).capability();
    });
    pair.source().entry("program").content("new text").capability();
    pair.sync().run().exits(0).counts("file", &[("updated", 1)]);
    pair.assert_mirrored();
}

#[test]
fn an_inode_with_a_link_outside_the_tree_is_replaced_not_altered() {
    let pair = mirrored(|tree| {
        tree.file("file", "content").mode(0o600).mtime(1_000, 1);
    });
    let outside = pair.beside().hard_link("target/file", "outside");
    outside.xattr("user.mine", "kept");
    let before = Snapshot::take(pair.beside().path("outside"));
    pair.source().entry("file").mode(0o644).owner(7, 7);
    pair.sync().run().exits(0);
    pair.assert_mirrored();
    let after = Snapshot::take(pair.beside().path("outside"));
    assert_same_but(&before, &after, &[]);
    assert_ne!(pair.target_now().at("file").identity(), after.at("").identity());
}

#[test]
fn content_is_never_written_through_a_link_outside_the_tree() {
    let pair = mirrored(|tree| {
        tree.file("file", "old content").mtime(1_000, 1);
    });
    pair.beside().hard_link("target/file", "outside");
    let before = Snapshot::take(pair.beside().path("outside"));
    pair.source().entry("file").content("new content");
    pair.sync().run().exits(0);
    pair.assert_mirrored();
    assert_same_but(&before, &Snapshot::take(pair.beside().path("outside")), &[]);
}

#[test]
fn the_root_directory_itself_is_settled() {
    let pair = Pair::without_target();
    let root = pair.source().root();
    root.owner(11, 12).mode(0o1770).acl(ACL).xattr("user.root", "yes").mtime(1_234, 5);
    pair.sync().run().exits(0);
    pair.assert_mirrored();
    second_run_changes_nothing(&pair, &pair.sync(), 0);
}

/// A pair whose sides have different ACLs on `file`, the source behind a mount.
fn with_acls() -> (Pair, FaultFs, Pmirror) {
    let pair = Pair::new();
    pair.source().file("file", "content").mode(0o600).acl(ACL).mtime(1_000, 1);
    pair.target().file("file", "content").mode(0o600).acl("u::rw-,u:7:r--,g::---,m::r--,o::---").mtime(1_000, 1);
    pair.source().file("other", "content");
    let source = FaultFs::mount(pair.source_path());
    let sync = Pmirror::new().sync(source.path(), pair.target_path()).state_dir(pair.state_path());
    (pair, source, sync)
}

#[test]
fn an_acl_that_can_not_be_read_takes_none_away() {
    for operation in ["getxattr", "listxattr"] {
        let (pair, source, sync) = with_acls();
        source.rule(Rule::on(operation).named("file").error(nix::errno::Errno::EIO));
        let before = pair.target_now().at("file").xattrs.clone();
        let run = sync.run_unchecked().exits(23);
        run.counts("file", &[("created", 1), ("failed", 1)]);
        assert_eq!(pair.target_now().at("file").xattrs, before);
        source.clear();
        sync.run().exits(0);
        pair.assert_mirrored();
    }
}

#[test]
fn attributes_that_grow_each_time_they_are_read_do_not_keep_the_run_for_ever() {
    for call in ["flistxattr,listxattr,llistxattr", "fgetxattr,getxattr,lgetxattr"] {
        let pair = Pair::new();
        pair.source().file("file", "content").xattr("user.a", "1");
        let (path, always) = (pair.source().path("file"), format!("inject={call}:error=ERANGE"));
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", path.to_str().unwrap(), "-e", &always];
        pair.sync().wrapped_by(&strace).run().exits(23).counts("file", &[("failed", 1)]);
        pair.sync().run().exits(0);
        pair.assert_mirrored();
    }
}

#[test]
fn a_target_directory_that_let_nobody_in_ends_as_its_source() {
    let pair = Pair::new();
    pair.source().file("directory/below/file", "content").owner(1000, 1000);
    pair.source().entry("directory").owner(1000, 1000).mode(0o750);
    pair.target().dir("directory/below").owner(5, 5).mode(0).default_acl(DEFAULT_ACL);
    pair.target().entry("directory").owner(5, 5).acl("u::---,u:1:rwx,g::---,m::rwx,o::---");
    pair.sync().run().exits(0);
    pair.assert_mirrored();
    second_run_changes_nothing(&pair, &pair.sync(), 0);
}

/// Of a user namespace whose root is user 1000.
#[test]
fn capabilities_of_a_user_namespace_are_kept() {
    let (revision, effective, net_raw) = (0x0300_0000_u32, 1, 1 << 13);
    let words = [revision | effective, net_raw, 0, 0, 0, 1000];
    let capability: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    let pair = mirrored(|tree| {
        tree.file("program", "#!").mode(0o755).xattr(acl::CAPABILITY, &capability);
    });
    assert_eq!(pair.target_now().at("program").xattrs[acl::CAPABILITY.as_bytes()], capability);
    second_run_changes_nothing(&pair, &pair.sync(), 0);
}

/// What a watcher could see on the way: the calls in their order.
#[test]
fn copies_are_made_for_their_owner_alone_and_set_id_bits_come_last() {
    let pair = Pair::new();
    for name in ["new", "replaced"] {
        pair.source().file(name, "content").owner(1000, 1000).mode(0o6777);
    }
    pair.source().dir("directory").mode(0o2777);
    pair.source().fifo("fifo").mode(0o777);
    pair.target().file("replaced", "old");
    let trace = pair.beside().path("trace");
    let calls = "trace=openat,mkdirat,mknodat,fchown,fchownat,fchmod,fchmodat,pwrite64,write,copy_file_range,renameat";
    let strace = ["strace", "-f", "-qq", "-y", "-e", calls, "-o", trace.to_str().unwrap()];
    pair.sync().args(&["--threads", "1", "--engine", "read-write"]).wrapped_by(&strace).run().exits(0);
    pair.assert_mirrored();
    let (trace, target) = (std::fs::read_to_string(trace).unwrap(), pair.target_path().display().to_string());
    let lines: Vec<&str> = trace.lines().filter(|line| line.contains(&target)).collect();
    let makes = |line: &&&str| line.contains("O_CREAT") || line.contains("mkdirat(") || line.contains("mknodat(");
    let made: Vec<&&str> = lines.iter().filter(makes).collect();
    let is_private = |line: &&str| line.contains("0600)") || line.contains("0700)");
    assert!(made.len() >= 4 && made.iter().all(|line| is_private(line)), "{made:#?}");
    let widens: Vec<usize> = (0..lines.len()).filter(|&at| lines[at].contains("06777")).collect();
    assert_eq!(widens.len(), 2, "{lines:#?}");
    for at in widens {
        let path = lines[at].split(['<', '>']).nth(1).unwrap();
        let of_file = |call: &str, line: &&str| line.contains(call) && line.contains(&format!("<{path}>"));
        let (before, after) = lines.split_at(at);
        assert!(before.iter().any(|line| of_file("fchown", line)), "{path} has its owner: {lines:#?}");
        assert!(!after.iter().any(|line| of_file("write", line) || of_file("fchown", line)), "{path}: {after:#?}");
        let is_named =
            before.iter().any(|line| line.contains("renameat(") && line.contains(path.rsplit('/').next().unwrap()));
        assert!(!is_named, "{path} had its name before it was whole");
    }
}
