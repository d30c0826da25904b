//! Random trees over random trees: whatever the target held, it ends as it must, and stays so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::collections::BTreeSet;
use support::compare::{assert_none, differences, link_groups};
use support::outcome::second_run_changes_nothing;
use support::snapshot::MIRRORED;
use support::*;

type Paths = BTreeSet<Vec<u8>>;

/// The source names that must fail, found without pmirror: not directories, under which the target
/// has a directory that is not empty.
fn conflicts(source: &Snapshot, target: &Snapshot) -> Paths {
    let parents = target.entries.keys().filter_map(|path| path.rsplitn(2, |byte| *byte == b'/').nth(1));
    let filled: BTreeSet<&[u8]> = parents.collect();
    let others = source.entries.iter().filter(|(_, seen)| seen.kind() != "directory");
    others.map(|(path, _)| path).filter(|path| filled.contains(&path[..])).cloned().collect()
}

/// Only what lies in or below one of the paths, or all but that.
fn part(snapshot: &Snapshot, paths: &Paths, below: bool) -> Snapshot {
    let is_below = |path: &[u8]| {
        let ends = (0..=path.len()).filter(|end| path.get(*end).is_none_or(|byte| *byte == b'/'));
        ends.into_iter().any(|end| paths.contains(&path[..end]))
    };
    let entries = snapshot.entries.iter().filter(|(path, _)| is_below(path) == below);
    Snapshot { entries: entries.map(|(path, seen)| (path.clone(), seen.clone())).collect() }
}

/// Mirrors one random tree over another, and checks the result against an oracle of our own.
fn assert_right_over_anything(source: RandomTree, target: RandomTree) -> Pair {
    let pair = Pair::new();
    source.build_among(6, &pair.source());
    target.build_among(6, &pair.target());
    let (source, before) = (pair.source_now(), pair.target_now());
    let conflicts = conflicts(&source, &before);
    let code = if conflicts.is_empty() { 0 } else { 23 };
    let run = pair.sync().run().exits(code);
    let after = pair.target_now();
    run.context(|| {
        let (source, after) = (part(&source, &conflicts, false), part(&after, &conflicts, false));
        let lines = differences(&source, &after, MIRRORED);
        let lines: Vec<String> = lines.into_iter().filter(|line| !line.starts_with('+')).collect();
        assert_none(&lines, "the target is no mirror of the source");
    });
    run.context(|| {
        let (before, after) = (part(&before, &conflicts, true), part(&after, &conflicts, true));
        // Not the number of links: other names of an inode may be elsewhere, and be replaced.
        let lines = differences(&before, &after, MIRRORED);
        assert_none(&lines, "a conflict was written to");
        assert_eq!(run.total("failed"), conflicts.len() as u64, "failed entries");
    });
    second_run_changes_nothing(&pair, &pair.sync(), code);
    pair
}

#[test]
fn a_random_tree_over_nothing() {
    for_seeds(1000..1010, |seed| {
        let pair = Pair::new();
        RandomTree::new(seed, 120).linked().build(&pair.source());
        pair.sync().run().exits(0);
        pair.assert_mirrored();
        assert_same_links(pair.source_path(), pair.target_path());
        second_run_changes_nothing(&pair, &pair.sync(), 0);
    });
}

#[test]
fn a_random_tree_over_another() {
    for_seeds(2000..2015, |seed| {
        let tree = |seed| RandomTree::new(seed, 80);
        assert_right_over_anything(tree(seed), tree(seed + 50_000));
    });
}

#[test]
fn a_random_tree_with_links_over_another() {
    for_seeds(3000..3015, |seed| {
        let tree = |seed| RandomTree::new(seed, 80).linked();
        let pair = assert_right_over_anything(tree(seed), tree(seed + 50_000));
        let (source, mut target) = (pair.source_now(), pair.target_now());
        let conflicts = conflicts(&source, &target);
        target.entries.retain(|path, _| source.has(path));
        let groups = |snapshot: &Snapshot| link_groups(&part(snapshot, &conflicts, false));
        assert_eq!(groups(&source), groups(&target));
    });
}

#[test]
fn on_other_file_systems_a_second_run_changes_nothing_either() {
    let memory = tempfile::tempdir_in("/dev/shm").expect("a tmpfs at /dev/shm");
    let (xfs, btrfs) = (Image::xfs(), Image::btrfs());
    for (seed, place) in [(71, xfs.path()), (72, btrfs.path()), (73, memory.path().to_path_buf())] {
        let pair = Pair::below(&place);
        RandomTree::new(seed, 150).linked().build(&pair.source());
        pair.sync().run().exits(0);
        second_run_changes_nothing(&pair, &pair.sync(), 0);
        assert_same_links(pair.source_path(), pair.target_path());
    }
}
