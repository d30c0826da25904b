//! The number of ranks changes neither the tree nor the books: 1, 2 and 4 processes under mpirun.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use serde_json::Value;
use support::outcome::{KINDS, OUTCOMES, second_run_changes_nothing};
use support::*;

const ALL: &[Ranks] = &[Ranks::One, Ranks::Mpirun(1), Ranks::Mpirun(2), Ranks::Mpirun(4)];
const FEW_AND_MANY: &[Ranks] = &[Ranks::One, Ranks::Mpirun(4)];

/// Mirrors the same source with each number of ranks to a target of its own; trees and books
/// must be equal.
fn assert_equal_for_all(ranks: &[Ranks], make: impl Fn(&Tree)) {
    let source = Pair::new();
    make(&source.source());
    let mut first = None;
    for ranks in ranks.iter().copied() {
        let pair = Pair::new();
        // Both roots may be born in one tick of the clock: then, and only then, their times are equal.
        pair.target().root().mtime(1_000_000_000, 0);
        let sync = pair.sync().sync(source.source_path(), pair.target_path()).ranks(ranks);
        let run = sync.run().exits(0);
        assert_same(source.source_path(), pair.target_path());
        rsync_finds_no_difference(source.source_path(), pair.target_path());
        assert_eq!(&run.books(), first.get_or_insert_with(|| run.books()), "{ranks:?}");
        assert_ranks_add_up(&run, ranks);
        second_run_changes_nothing(&pair, &sync, 0);
    }
    source.assert_canary();
}

/// The summary lists every rank, and what they did adds up to what was done.
fn assert_ranks_add_up(run: &Outcome, expected: Ranks) {
    let ranks = run.summary()["ranks"].as_array().expect("a list of ranks").clone();
    let count = match expected {
        Ranks::Mpirun(count) => count as usize,
        _ => 1,
    };
    assert_eq!(ranks.len(), count);
    let entries: u64 = ranks.iter().filter_map(|rank| rank["entries"].as_u64()).sum();
    assert_eq!(entries, OUTCOMES.iter().map(|outcome| run.total(outcome)).sum::<u64>());
    for (index, rank) in ranks.iter().enumerate() {
        assert_eq!(rank["rank"].as_u64(), Some(index as u64));
        let share = rank["idle_share"].as_f64().expect("an idle share");
        assert!((0.0..=1.0).contains(&share), "an idle share of {share}");
    }
}

#[test]
fn a_small_random_tree() {
    assert_equal_for_all(ALL, |tree| RandomTree::new(101, 300).build(tree));
}

#[test]
fn a_larger_random_tree() {
    assert_equal_for_all(FEW_AND_MANY, |tree| RandomTree::new(102, 1_000).build(tree));
}

#[test]
fn an_empty_tree() {
    assert_equal_for_all(FEW_AND_MANY, |_| ());
}

#[test]
fn one_file() {
    assert_equal_for_all(FEW_AND_MANY, |tree| drop(tree.file("file", "content")));
}

#[test]
fn a_chain_with_a_file_at_each_level() {
    assert_equal_for_all(FEW_AND_MANY, |tree| {
        let path = |depth: usize| ["d"].repeat(depth).join("/");
        for depth in 1..40 {
            tree.file(format!("{}/file", path(depth)), depth.to_string());
        }
    });
}

#[test]
fn one_branch_that_holds_almost_everything() {
    assert_equal_for_all(FEW_AND_MANY, |tree| {
        for index in 0..8 {
            tree.dir(format!("empty {index}"));
        }
        for index in 0..600 {
            let path = format!("full/{}/{}/file {index}", index % 7, index % 31);
            tree.file(path, index.to_string());
        }
    });
}

#[test]
fn one_directory_with_twenty_thousand_names() {
    let pair = Pair::new();
    for index in 0..20_000 {
        let name = format!("wide/{index}");
        match index % 10 {
            0 => drop(pair.source().symlink(name, "x")),
            1 => drop(pair.source().dir(name)),
            _ => drop(pair.source().file(name, index.to_string())),
        }
    }
    let sync = pair.sync().ranks(Ranks::Mpirun(4)).args(&["--threads", "1"]);
    let run = sync.run().exits(0);
    run.counts("file", &[("created", 16_000)]);
    pair.assert_mirrored();
    rsync_finds_no_difference(pair.source_path(), pair.target_path());
    second_run_changes_nothing(&pair, &sync, 0);
}

#[test]
fn a_wide_directory_gives_every_rank_work() {
    let pair = Pair::new();
    for index in 0..2_000 {
        pair.source().file(format!("wide/{index}"), "content");
    }
    let run = pair.sync().ranks(Ranks::Mpirun(4)).args(&["--threads", "1"]).run().exits(0);
    let ranks = run.summary()["ranks"].as_array().expect("a list of ranks").clone();
    let busy = ranks.iter().filter(|rank| rank["entries"].as_u64() > Some(0)).count();
    assert!(busy >= 2, "only {busy} of 4 ranks worked: {ranks:?}");
}

#[test]
fn a_deep_chain_beyond_path_max() {
    let pair = Pair::new();
    pair.source().chain(&"d".repeat(200), 60).file("leaf", "deep");
    let sync = pair.sync().ranks(Ranks::Mpirun(4));
    sync.run().exits(0);
    pair.assert_mirrored();
    second_run_changes_nothing(&pair, &sync, 0);
}

#[test]
fn one_run_goes_on_where_another_number_of_ranks_stopped() {
    let pair = Pair::new();
    RandomTree::new(103, 300).build(&pair.source());
    pair.sync().ranks(Ranks::Mpirun(4)).run().exits(0);
    second_run_changes_nothing(&pair, &pair.sync(), 0);
    second_run_changes_nothing(&pair, &pair.sync().ranks(Ranks::Mpirun(2)), 0);
}

#[test]
fn changes_are_found_whoever_looks() {
    let pair = Pair::new();
    RandomTree::new(104, 400).build(&pair.source());
    RandomTree::new(105, 400).build(&pair.target());
    // What both seeds made may conflict (a directory with content under something else).
    let run = pair.sync().ranks(Ranks::Mpirun(4)).run();
    assert!([0, 23].contains(&run.code), "exit code {}", run.code);
    let again = pair.sync().run().exits(run.code);
    assert_eq!(again.total("failed"), run.total("failed"));
    let quiet = ["same", "failed"];
    assert!(again.totals().keys().all(|name| quiet.contains(name)), "{:?}", again.totals());
}

#[test]
fn every_rank_leaves_with_the_same_exit_code() {
    let pair = Pair::new();
    pair.source().file("conflict", "");
    pair.target().file("conflict/kept", "");
    let ranks_say = "\"$@\"; echo $? >> \"$OUT/codes\"; exit 0";
    let sync = pair.sync().ranks(Ranks::Mpirun(4)).env("OUT", pair.top_path());
    sync.wrapped_by(&["sh", "-c", ranks_say, "sh"]).run_unchecked();
    let codes = std::fs::read_to_string(pair.beside().path("codes")).unwrap();
    assert_eq!(codes, "23\n23\n23\n23\n");
}

#[test]
fn every_rank_leaves_a_usage_error_with_the_same_exit_code() {
    let pair = Pair::new();
    let sync = pair.sync().ranks(Ranks::Mpirun(2)).arg("--no-such-option");
    let run = sync.run_unchecked().exits(1);
    let message = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(message.contains("--no-such-option"), "{message}");
}

#[test]
fn a_refusal_is_told_once_and_not_by_every_rank() {
    let pair = Pair::new();
    let sync = pair.sync().sync(pair.source_path(), pair.source_path());
    let run = sync.ranks(Ranks::Mpirun(4)).run_unchecked().exits(3);
    let path = pair.source_path().display().to_string();
    let message = String::from_utf8_lossy(&run.stderr).into_owned();
    let told = message.lines().filter(|line| line.contains(&path)).count();
    assert_eq!(told, 1, "{message}");
}

#[test]
fn the_summary_is_printed_once() {
    let pair = Pair::new();
    pair.source().file("file", "content");
    let run = pair.sync().ranks(Ranks::Mpirun(4)).arg("--json").run().exits(0);
    let printed: Value = serde_json::from_slice(&run.stdout).expect("stdout is JSON, once");
    assert_eq!(&printed, run.summary());
    assert_eq!(KINDS.iter().map(|kind| run.count(kind, "seen")).sum::<u64>(), 2);
}

/// A rank whose mounts differ sees another tree. Rank 1 gets an empty directory over one root.
fn one_rank_sees_nothing_below(pair: &Pair, root: &std::path::Path) -> Outcome {
    let script = format!(
        "if [ \"$OMPI_COMM_WORLD_RANK\" = 1 ]; then \
         exec unshare --mount sh -c 'mount -t tmpfs none \"{}\" && exec \"$@\"' sh \"$@\"; \
         fi; exec \"$@\"",
        root.display()
    );
    let sync = pair.sync().ranks(Ranks::Mpirun(3));
    sync.wrapped_by(&["sh", "-c", &script, "sh"]).run_unchecked()
}

#[test]
fn a_rank_that_sees_another_source_is_named_and_nothing_is_written() {
    let pair = Pair::new();
    RandomTree::new(106, 50).build(&pair.source());
    let before = pair.target_now();
    let run = one_rank_sees_nothing_below(&pair, &pair.source_path());
    run.refuses(3, &["rank 1", &pair.source_path().display().to_string()]);
    compare::assert_same_but(&before, &pair.target_now(), &["mtime"]);
}

#[test]
fn a_rank_that_sees_another_target_is_named_and_nothing_is_written() {
    let pair = Pair::new();
    RandomTree::new(107, 50).build(&pair.source());
    let before = pair.target_now();
    let run = one_rank_sees_nothing_below(&pair, &pair.target_path());
    run.refuses(3, &["rank 1", &pair.target_path().display().to_string()]);
    compare::assert_same_but(&before, &pair.target_now(), &["mtime"]);
}
