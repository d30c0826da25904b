//! What `cmp` finds of hard links: the same names must share one inode on both sides.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use support::difference::{assert_found, found, look, shown};
use support::random::Dice;
use support::*;

/// Each word is a file, and the names in it, parted by `=`, are its links.
fn tree(tree: &Tree, groups: &str) {
    for group in groups.split(' ') {
        let mut names = group.split('=');
        let first = names.next().unwrap();
        tree.file(first, "content").mtime(1_000, 1);
        names.for_each(|name| drop(tree.hard_link(first, name)));
    }
    tree.root().mtime(1_000, 2);
}

/// Fails unless the names that `expected` lists, and no others, have the wrong links: for one rank and
/// for several.
fn assert_wrong(source: &str, target: &str, expected: &str) {
    let pair = Pair::new();
    tree(&pair.source(), source);
    tree(&pair.target(), target);
    let wrong: Vec<(&str, &str)> = expected.split_terminator(' ').map(|name| (name, "links")).collect();
    assert_found(&pair, &[], &wrong);
    assert_found(&pair, &["--level", "hash"], &wrong);
    let run = look(&pair, &pair.cmp().arg("--jsonl").ranks(Ranks::Mpirun(3)));
    let wrong: Vec<String> = wrong.iter().map(|(name, word)| format!("{name}: {word}")).collect();
    run.context(|| assert_eq!(shown(&found(&run)), wrong, "on three ranks"));
    assert_found(&pair, &["--no-hard-links"], &[]);
    assert_found(&pair, &["--level", "names"], &[]);
}

#[test]
fn links_that_agree_are_no_difference() {
    assert_wrong("a=b=c d=e f", "a=b=c d=e f", "");
}

#[test]
fn separate_copies_are_found() {
    assert_wrong("a=b=c", "a b c", "b c");
}

#[test]
fn a_name_that_left_its_group_is_found() {
    assert_wrong("a=b=c d", "a=c b d", "b");
}

#[test]
fn files_that_are_separate_on_the_source_and_one_on_the_target_are_found() {
    assert_wrong("a b c", "a=b=c", "b c");
}

#[test]
fn two_groups_that_are_one_on_the_target_are_found() {
    assert_wrong("a=b c=d=e", "a=b=c=d=e", "a b");
}

#[test]
fn a_group_and_a_single_file_that_are_one_on_the_target_are_found() {
    assert_wrong("a b=c", "a=b=c", "a");
    assert_wrong("a=x b c", "a=b x c", "b x");
}

#[test]
fn a_name_in_the_wrong_group_is_found() {
    assert_wrong("a=b=c d=e", "a=b d=e=c", "c");
}

/// The inode of each of so many names.
fn random_groups(dice: &mut Dice, names: usize, inodes: u64) -> Vec<u64> {
    (0..names).map(|_| dice.below(inodes)).collect()
}

/// The names that share an inode with this one.
fn mates(groups: &[u64], name: usize) -> Vec<usize> {
    (0..groups.len()).filter(|other| groups[*other] == groups[name]).collect()
}

fn words(groups: &[u64]) -> String {
    let name = |index: &usize| format!("n{index}");
    let first = |index: &usize| mates(groups, *index).first() == Some(index);
    let word = |index| mates(groups, index).iter().map(name).collect::<Vec<_>>().join("=");
    (0..groups.len()).filter(first).map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn random_groups_agree_exactly_when_nothing_is_found() {
    let mut dice = Dice::new(7_100);
    for round in 0..60 {
        let source = random_groups(&mut dice, 8, 4);
        let mut target = source.clone();
        for _ in 0..round % 4 {
            target[dice.below(8) as usize] = dice.below(5);
        }
        let pair = Pair::new();
        tree(&pair.source(), &words(&source));
        tree(&pair.target(), &words(&target));
        let ranks = if round % 10 == 9 { Ranks::Mpirun(2) } else { Ranks::One };
        let run = look(&pair, &pair.cmp().arg("--jsonl").ranks(ranks));
        let found = found(&run);
        run.context(|| {
            let differs = |name: &usize| mates(&source, *name) != mates(&target, *name);
            let wrong: Vec<String> = (0..8).filter(differs).map(|name| format!("n{name}")).collect();
            assert_eq!(found.is_empty(), wrong.is_empty(), "{} against {}", words(&source), words(&target));
            for name in found.keys().map(|name| String::from_utf8_lossy(name).into_owned()) {
                assert!(wrong.contains(&name), "{name} is right: {} against {}", words(&source), words(&target));
            }
        });
    }
}

#[test]
fn names_outside_the_trees_do_not_matter() {
    let pair = Pair::new();
    tree(&pair.source(), "a=b c");
    tree(&pair.target(), "a=b c");
    for name in ["a", "c"] {
        pair.beside().hard_link(format!("target/{name}"), format!("outside target {name}"));
        pair.beside().hard_link(format!("source/{name}"), format!("outside source {name}"));
    }
    let run = assert_found(&pair, &[], &[]);
    assert_eq!((run.number("/links/groups"), run.number("/links/outside")), (2, 2));
}

#[test]
fn names_of_one_inode_are_read_once_and_each_is_told() {
    let pair = Pair::new();
    tree(&pair.source(), "a=b=c");
    tree(&pair.target(), "a=b=c");
    pair.target().entry("b").content("CONTENT").mtime(1_000, 1);
    let expected = [("a", "content"), ("b", "content"), ("c", "content")];
    let run = assert_found(&pair, &["--level", "hash"], &expected);
    assert_eq!(run.number("/contents/compared"), 1);
}

#[test]
fn links_and_other_differences_are_told_together() {
    let pair = Pair::new();
    tree(&pair.source(), "a=b");
    tree(&pair.target(), "a b");
    pair.target().entry("b").mode(0o600);
    assert_found(&pair, &[], &[("b", "mode links")]);
    let run = look(&pair, &pair.cmp().arg("-i")).exits(26);
    assert_eq!(String::from_utf8_lossy(&run.stdout), "hf...p..... b => a\n");
}

#[test]
fn links_of_symbolic_links_and_special_files_are_compared_too() {
    let pair = Pair::new();
    for tree in [pair.source(), pair.target()] {
        tree.symlink("l", "x").mtime(1_000, 1);
        tree.fifo("p").mtime(1_000, 1);
    }
    for name in ["l", "p"] {
        pair.source().hard_link(name, format!("{name}2"));
    }
    pair.target().symlink("l2", "x").mtime(1_000, 1);
    pair.target().hard_link("p", "p2");
    for tree in [pair.source(), pair.target()] {
        tree.root().mtime(1_000, 2);
    }
    assert_found(&pair, &[], &[("l2", "links")]);
}
