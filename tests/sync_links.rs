//! Hard links: the same names share an inode on both sides, and no others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use support::outcome::second_run_changes_nothing;
use support::*;

fn assert_linked_alike(pair: &Pair) {
    pair.assert_mirrored();
    assert_same_links(pair.source_path(), pair.target_path());
}

/// Mirrors, compares, and checks that a second run has nothing to do.
fn mirrors(pair: &Pair) -> Outcome {
    let run = pair.sync().run().exits(0);
    assert_linked_alike(pair);
    second_run_changes_nothing(pair, &pair.sync(), 0);
    assert_linked_alike(pair);
    run
}

/// A group of one file under several names.
fn group(tree: &Tree, names: &[&str], content: &str) {
    tree.file(names[0], content).owner(1, 2).mode(0o4640).mtime(1_000, 1);
    for name in &names[1..] {
        tree.hard_link(names[0], name);
    }
}

#[test]
fn a_group_within_a_directory() {
    let pair = Pair::new();
    group(&pair.source(), &["d/a", "d/b", "d/c"], "content");
    let run = mirrors(&pair);
    assert_eq!(run.count("file", "created") + run.count("file", "linked"), 3);
    assert_eq!(run.count("file", "created"), 1);
}

#[test]
fn groups_across_directories() {
    let pair = Pair::new();
    group(&pair.source(), &["a/one", "b/c/two", "three", "d/four"], "first");
    group(&pair.source(), &["b/one", "a/two"], "second");
    group(&pair.source(), &["x/empty", "y/empty"], "");
    mirrors(&pair);
    rsync_finds_no_difference(pair.source_path(), pair.target_path());
}

#[test]
fn a_group_of_a_thousand_names() {
    let pair = Pair::new();
    pair.source().file("first", "content").mtime(1_000, 1);
    for index in 0..1_000 {
        pair.source().hard_link("first", format!("{}/{index}", index % 10));
    }
    mirrors(&pair);
}

#[test]
fn groups_of_links_and_special_files() {
    let pair = Pair::new();
    let tree = pair.source();
    tree.symlink("link", "x").owner(3, 4).mtime(1_000, 1);
    tree.fifo("fifo").mtime(1_000, 2);
    tree.socket("socket").mtime(1_000, 3);
    tree.char_device("device", 1, 3).mtime(1_000, 4);
    for name in ["link", "fifo", "socket", "device"] {
        tree.hard_link(name, format!("d/{name}"));
    }
    mirrors(&pair);
}

#[test]
fn a_group_keeps_its_attributes() {
    let pair = Pair::new();
    let file = pair.source().file("a", "content");
    file.owner(5, 6).mode(0o2750).acl("u::rw-,u:7:rw-,g::r--,m::rw-,o::---");
    file.xattr("user.a", "1").capability().mtime(1_000, 1);
    pair.source().hard_link("a", "d/b");
    mirrors(&pair);
}

#[test]
fn a_group_with_names_of_any_bytes_and_depth() {
    let pair = Pair::new();
    pair.source().file(b"\xff\n", "content").mtime(1_000, 1);
    pair.source().hard_link(b"\xff\n", vec![b'x'; 255]);
    let deep = format!("{}/leaf", vec!["d".repeat(200); 60].join("/"));
    pair.source().hard_link(b"\xff\n", deep);
    mirrors(&pair);
}

#[test]
fn a_large_file_is_copied_once_for_its_group() {
    let pair = Pair::new();
    let content = random::Dice::new(1).bytes(3_000_000);
    pair.source().file("a", &content).mtime(1_000, 1);
    pair.source().hard_link("a", "d/b");
    let run = mirrors(&pair);
    assert_eq!(run.number("/bytes/written"), content.len() as u64);
}

#[test]
fn a_group_that_is_right_already_is_left_alone() {
    let pair = Pair::new();
    for tree in [pair.source(), pair.target()] {
        group(&tree, &["a", "d/b"], "content");
        tree.entry("d").mtime(1_000, 5);
        tree.root().mtime(1_000, 6);
    }
    let before = pair.target_now().at("a").identity();
    pair.sync().run().exits(0).counts("file", &[("same", 2)]);
    assert_eq!(pair.target_now().at("a").identity(), before);
    second_run_changes_nothing(&pair, &pair.sync(), 0);
}

#[test]
fn separate_copies_on_the_target_become_links() {
    let pair = Pair::new();
    group(&pair.source(), &["a", "d/b", "c"], "content");
    for name in ["a", "d/b", "c"] {
        group(&pair.target(), &[name], "content");
    }
    let run = mirrors(&pair);
    assert_eq!(run.number("/bytes/written"), 0, "the content was there");
    assert_eq!(run.count("file", "linked"), 2);
}

#[test]
fn files_that_are_separate_on_the_source_are_separated_on_the_target() {
    let pair = Pair::new();
    group(&pair.source(), &["a"], "content");
    group(&pair.source(), &["b"], "content");
    group(&pair.target(), &["a", "b"], "content");
    mirrors(&pair);
}

#[test]
fn groups_that_share_an_inode_on_the_target_part_from_each_other() {
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let pair = Pair::new();
        for set in 0..20 {
            let name = |what: &str| format!("{what}/{set}");
            let [a, b, c, d, e, f] = ["a", "b", "c", "d", "e", "single"].map(name);
            group(&pair.source(), &[&a, &b], "content");
            group(&pair.source(), &[&c, &d, &e], "content");
            group(&pair.source(), &[&f], "content");
            group(&pair.target(), &[&a, &b, &c, &d, &e, &f], "content");
        }
        let sync = pair.sync().ranks(ranks);
        let run = sync.run().exits(0);
        assert_linked_alike(&pair);
        assert_eq!(run.count("file", "same"), 20 * 3, "the larger group keeps the inode");
        second_run_changes_nothing(&pair, &sync, 0);
    }
}

#[test]
fn a_group_whose_inode_has_names_outside_of_the_tree_is_left_alone() {
    let pair = Pair::new();
    group(&pair.source(), &["a", "d/b"], "content");
    mirrors(&pair);
    pair.beside().hard_link("target/a", "snapshot of a");
    second_run_changes_nothing(&pair, &pair.sync(), 0);
    assert_linked_alike(&pair);
}

#[test]
fn a_name_that_left_its_group_leaves_it_on_the_target() {
    let pair = Pair::new();
    group(&pair.source(), &["a", "b", "c"], "content");
    mirrors(&pair);
    pair.source().entry("b").unlink();
    pair.source().file("b", "on its own");
    mirrors(&pair);
}

#[test]
fn a_name_that_joined_a_group_joins_it_on_the_target() {
    let pair = Pair::new();
    group(&pair.source(), &["a"], "content");
    pair.source().file("b", "on its own");
    mirrors(&pair);
    pair.source().entry("b").unlink();
    pair.source().hard_link("a", "b");
    mirrors(&pair);
}

#[test]
fn a_name_that_points_to_the_wrong_inode_is_repaired() {
    let pair = Pair::new();
    group(&pair.source(), &["a", "b"], "first");
    group(&pair.source(), &["c", "d"], "other");
    group(&pair.target(), &["a", "d"], "first");
    group(&pair.target(), &["c", "b"], "other");
    mirrors(&pair);
}

#[test]
fn a_group_that_meets_other_types_replaces_them() {
    let pair = Pair::new();
    group(&pair.source(), &["a", "b", "c", "d"], "content");
    pair.target().symlink("a", "x");
    pair.target().dir("b");
    pair.target().fifo("c");
    mirrors(&pair);
}

#[test]
fn a_group_with_new_content_is_replaced_as_a_group() {
    let pair = Pair::new();
    group(&pair.source(), &["a", "d/b"], "old content");
    mirrors(&pair);
    pair.source().entry("a").content("new content").mtime(2_000, 1);
    mirrors(&pair);
}

#[test]
fn a_group_with_new_metadata_is_repaired_in_place() {
    let pair = Pair::new();
    group(&pair.source(), &["a", "d/b"], "content");
    mirrors(&pair);
    let before = pair.target_now().at("a").identity();
    pair.source().entry("a").owner(9, 9).mode(0o600);
    let run = mirrors(&pair);
    assert_eq!(run.number("/bytes/written"), 0);
    assert_eq!(pair.target_now().at("a").identity(), before, "the group was replaced");
}

#[test]
fn a_group_with_links_outside_the_source_is_mirrored_with_those_inside() {
    let pair = Pair::new();
    group(&pair.source(), &["a", "d/b", "lone"], "content");
    pair.beside().hard_link("source/a", "outside");
    pair.source().entry("lone").unlink();
    pair.source().file("single", "x").mtime(1_000, 1);
    pair.beside().hard_link("source/single", "outside of single");
    mirrors(&pair);
    assert_eq!(pair.target_now().at("a").stat.stx_nlink, 2);
}

#[test]
fn a_target_group_with_a_link_outside_is_replaced_not_altered() {
    let pair = Pair::new();
    group(&pair.source(), &["a", "d/b"], "content");
    mirrors(&pair);
    pair.beside().hard_link("target/a", "outside");
    let before = Snapshot::take(pair.beside().path("outside"));
    pair.source().entry("a").owner(9, 9);
    pair.sync().run().exits(0);
    assert_linked_alike(&pair);
    let after = Snapshot::take(pair.beside().path("outside"));
    compare::assert_same_but(&before, &after, &[]);
}

#[test]
fn files_of_equal_content_are_not_linked() {
    let pair = Pair::new();
    for name in ["a", "b"] {
        pair.source().file(name, "content").mtime(1_000, 1);
    }
    mirrors(&pair);
    assert_ne!(pair.target_now().at("a").identity(), pair.target_now().at("b").identity());
}

#[test]
fn a_name_that_cannot_be_made_does_not_keep_the_others_of_its_group_away() {
    for conflict in ["a", "d/b", "z"] {
        let pair = Pair::new();
        group(&pair.source(), &["a", "d/b", "z"], "content");
        pair.target().file(format!("{conflict}/kept"), "");
        pair.sync().run().exits(23).counts("file", &[("created", 1), ("linked", 1), ("failed", 1)]);
        let (source, target) = (pair.source_now(), pair.target_now());
        for name in ["a", "d/b", "z"].into_iter().filter(|name| *name != conflict) {
            compare::assert_same_but(&source.below(name), &target.below(name), &[]);
        }
    }
}

#[test]
fn an_unreadable_group_fails_name_by_name() {
    let pair = Pair::new();
    group(&pair.source(), &["a", "d/b"], "of root");
    pair.source().entry("a").mode(0);
    pair.source().file("other", "for all");
    pair.give_to(NOBODY);
    let run = pair.sync().as_user(NOBODY).run().exits(23);
    run.counts("file", &[("created", 1), ("failed", 2)]);
}

#[test]
fn random_trees_with_links_for_all_ranks() {
    for ranks in [Ranks::One, Ranks::Mpirun(2), Ranks::Mpirun(4)] {
        let pair = Pair::new();
        let random = RandomTree::new(201, 300).linked();
        random.build(&pair.source());
        let sync = pair.sync().ranks(ranks);
        sync.run().exits(0);
        assert_linked_alike(&pair);
        rsync_finds_no_difference(pair.source_path(), pair.target_path());
        second_run_changes_nothing(&pair, &sync, 0);
    }
}

#[test]
fn links_that_changed_are_found_by_all_ranks() {
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let pair = Pair::new();
        for index in 0..60 {
            let names = [format!("a/{index}"), format!("b/{}", index % 30), format!("c/{index}")];
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            group(&pair.source(), &[names[0], names[2]], &index.to_string());
            group(&pair.target(), &[names[2]], &index.to_string());
            if index < 30 {
                group(&pair.target(), &[names[0], names[1]], "wrong");
            }
        }
        pair.source().dir("b");
        pair.sync().ranks(ranks).run().exits(0);
        let below = |snapshot: Snapshot| [snapshot.below("a"), snapshot.below("c")];
        for (source, target) in below(pair.source_now()).iter().zip(&below(pair.target_now())) {
            compare::assert_same_but(source, target, &[]);
        }
    }
}

/// How many names in the directories of a tree each inode has.
fn names_of_inodes(root: &std::path::Path) -> Vec<usize> {
    use std::os::unix::fs::DirEntryExt;
    let mut names = std::collections::BTreeMap::new();
    for directory in std::fs::read_dir(root).unwrap() {
        for entry in std::fs::read_dir(directory.unwrap().path()).unwrap() {
            *names.entry(entry.unwrap().ino()).or_insert(0) += 1;
        }
    }
    let mut names: Vec<usize> = names.into_values().collect();
    names.sort_unstable();
    names
}

#[test]
fn an_inode_with_more_names_than_the_target_allows_becomes_two() {
    let names: usize = 65_010;
    let pair = Pair::new();
    // In memory an inode may have any number of names.
    let memory = tempfile::tempdir_in("/dev/shm").expect("needs a tmpfs at /dev/shm");
    let source = Tree::at(memory.path());
    source.file("0/first", "content").mtime(1_000, 1);
    (1..10).for_each(|directory| drop(source.dir(directory.to_string())));
    for name in 1..names {
        let name = format!("{}/{name:0>200}", name % 10);
        std::fs::hard_link(memory.path().join("0/first"), memory.path().join(name)).unwrap();
    }
    let limit = nix::unistd::pathconf(&pair.target_path(), nix::unistd::PathconfVar::LINK_MAX).unwrap().unwrap();
    let limit = usize::try_from(limit).unwrap();
    let expected = if names > limit { vec![names - limit, limit] } else { vec![names] };

    let sync = Pmirror::new().sync(memory.path(), pair.target_path()).state_dir(pair.state_path());
    let first = sync.run_unchecked().exits(0);
    first.counts("file", &[("created", expected.len() as u64), ("linked", (names - expected.len()) as u64)]);
    assert_eq!(first.number("/links/split"), expected.len() as u64 - 1);
    assert_eq!(names_of_inodes(&pair.target_path()), expected);

    let second = sync.ranks(Ranks::Mpirun(2)).run_unchecked().exits(0);
    second.counts("file", &[("same", names as u64)]);
    assert_eq!(names_of_inodes(&pair.target_path()), expected);
}

#[test]
fn a_stop_among_the_links_leaves_in_order_and_the_same_command_goes_on() {
    let pair = Pair::new();
    for inode in 0..40 {
        let names: Vec<String> = (0..10).map(|name| format!("{name}/{inode}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        group(&pair.source(), &names, &inode.to_string());
    }
    let slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=linkat:delay_enter=30000"];
    let end = ["timeout", "--preserve-status", "-s", "TERM", "2"];
    let stopped = pair.sync().wrapped_by(&[&slow[..], &end[..]].concat()).run().exits(20);
    assert!(stopped.count("file", "unfinished") > 0, "it was stopped too late to show anything");
    assert!(stopped.count("file", "linked") > 0, "it was stopped too early to show anything");
    mirrors(&pair);
}

/// The files of two copies of one file system, seen as one tree: different files have the same number and
/// birth, as some servers have it.
fn with_reused_numbers(pair: &Pair) -> Pmirror {
    let make = "cd \"$0\" && mkdir one two && truncate -s 4M one.img && mkfs.ext4 -q one.img \
        && mount -o loop one.img one && rmdir one/lost+found && echo short > one/a && ln one/a one/b && umount one \
        && cp one.img two.img && mount -o loop two.img two && echo longer >> two/a && mv two/a two/c && mv two/b two/d \
        && umount two";
    needs::run_ok(std::process::Command::new("unshare").args(["--mount", "sh", "-c", make]).arg(pair.top_path()));
    let (top, source) = (pair.top_path().display(), pair.source_path());
    let see = format!(
        "cd '{top}' && mount -o loop,ro one.img one && mount -o loop,ro two.img two \
         && mount -t overlay none -o xino=off,lowerdir=one:two '{}' && cd / && exec \"$@\"",
        source.display()
    );
    pair.sync().wrapped_by(&["unshare", "--mount", "sh", "-c", &see, "sh"])
}

#[test]
fn files_that_only_share_a_number_are_copied_apart_and_reported() {
    let pair = Pair::new();
    let sync = with_reused_numbers(&pair);
    let run = sync.run_unchecked().exits(0);
    run.assert_books_balance();
    run.counts("file", &[("created", 4)]);
    assert_eq!(run.number("/links/split"), 1);
    for (name, content) in [("a", "short\n"), ("b", "short\n"), ("c", "short\nlonger\n"), ("d", "short\nlonger\n")] {
        assert_eq!(std::fs::read_to_string(pair.target_path().join(name)).unwrap(), content);
    }
    sync.run_unchecked().exits(0).counts("file", &[("same", 4)]);
}

#[test]
fn a_group_that_is_written_while_we_look_stays_one_inode() {
    let pair = Pair::new();
    pair.source().file("0/first", "");
    for name in 0..3_000 {
        pair.source().hard_link("0/first", format!("{}/{name}", name % 5));
    }
    let over = std::sync::atomic::AtomicBool::new(false);
    let log = std::fs::File::options().write(true).open(pair.source_path().join("0/first")).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 1.. {
                log.set_len(turn % 5_000).unwrap();
                if over.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
            }
        });
        let run = pair.sync().run_unchecked();
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        run.assert_books_balance();
        assert_eq!(run.number("/links/split"), 0);
        assert!([0, 24].contains(&run.code), "exit code {}", run.code);
    });
    mirrors(&pair);
}

#[test]
fn files_of_two_mounts_with_equal_numbers_are_not_one_file() {
    for ranks in [Ranks::One, Ranks::Mpirun(2)] {
        let pair = Pair::new();
        let source = pair.source_path();
        let fill = |content: &str| {
            format!("mount -t tmpfs none \"$PLACE\" && echo {content} > \"$PLACE/a\" && ln \"$PLACE/a\" \"$PLACE/b\"")
        };
        let script = ["one", "two"].map(|name| {
            pair.source().dir(name);
            format!("PLACE='{}'; {}", source.join(name).display(), fill(name))
        });
        let equal = format!("cd '{}' && [ $(stat -c %i one/a) = $(stat -c %i two/a) ] && cd /", source.display());
        let script = format!("{} && {} && {equal} && exec \"$@\"", script[0], script[1]);
        let sync = pair.sync().ranks(ranks).launched_by(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
        sync.run_unchecked().exits(0).counts("file", &[("created", 2), ("linked", 2)]);
        for name in ["one", "two"] {
            let content = |file: &str| std::fs::read_to_string(pair.target_path().join(name).join(file)).unwrap();
            assert_eq!((content("a"), content("b")), (format!("{name}\n"), format!("{name}\n")));
            assert_eq!(pair.target_now().at(format!("{name}/a")).stat.stx_nlink, 2);
        }
    }
}

#[test]
fn names_that_the_target_can_not_link_are_copies_and_cmp_names_them() {
    let pair = Pair::new();
    group(&pair.source(), &["a", "d/b"], "content");
    pair.source().file("single", "content").mtime(1_000, 1);
    let target = FaultFs::mount_with(pair.target_path(), &["--no-links"]);
    let sync = Pmirror::new().sync(pair.source_path(), target.path()).state_dir(pair.state_path());
    let run = sync.run().exits(0);
    run.counts("file", &[("created", 3)]);
    assert_eq!(run.number("/links/split"), 1);
    assert!(
        String::from_utf8_lossy(&run.stdout).contains("1 source inode became several on DST: pmirror cmp names them")
    );
    sync.run().exits(0).counts("file", &[("same", 3)]);
    let cmp = Pmirror::new().cmp(pair.source_path(), target.path()).state_dir(pair.state_path());
    let named = cmp.arg("-i").run().exits(26);
    assert_eq!(String::from_utf8_lossy(&named.stdout), "hf          d/b => a\n");
}
