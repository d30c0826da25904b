//! Ranks as threads of one process: the same run without MPI, so that the engine and the protocol are
//! tested with real trees and no launcher.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use pmirror::cli::{Cli, Command};
use pmirror::comm::local;
use pmirror::config::Config;
use pmirror::pass::Grain;
use pmirror::report::Summary;
use pmirror::run::{self, Circumstances};
use support::*;

fn config(pair: &Pair, run_id: &str) -> Config {
    let (source, target, state) = (pair.source_path(), pair.target_path(), pair.state_path());
    let words = ["pmirror", "sync", "--quiet", "--threads", "2", "--run-id", run_id, "--state-dir"];
    let words = words.iter().map(std::ffi::OsString::from).chain([state.into(), source.into(), target.into()]);
    let Command::Sync(sync) = Cli::try_parse_from(words).unwrap().command else { panic!("sync was asked for") };
    Config::of_sync(sync, &std::collections::BTreeMap::new(), Vec::new()).unwrap()
}

/// Runs with so many ranks; all must end with this exit code.
fn sync(config: &Config, ranks: u32, exit_code: u8) -> Summary {
    let threads: Vec<_> = local::ends(ranks)
        .into_iter()
        .map(|mut end| {
            let config = config.clone();
            std::thread::spawn(move || {
                let interrupted = Arc::new(AtomicBool::new(false));
                run::run(&config, &mut end, Circumstances { job: None, interrupted })
            })
        })
        .collect();
    let conclusions: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    for conclusion in &conclusions {
        assert_eq!(conclusion.exit_code, exit_code, "{:?}", conclusion.error);
    }
    conclusions.into_iter().find_map(|conclusion| conclusion.summary).expect("rank 0 has the summary")
}

#[test]
fn one_two_and_seven_ranks_make_the_same_mirror() {
    let mut books = Vec::new();
    for ranks in [1, 2, 7] {
        let pair = Pair::new();
        pair.target().root().mtime(1_000_000_000, 0);
        RandomTree { seed: 5, entries: 700, hard_links: true }.build(&pair.source());
        let first = sync(&config(&pair, "first"), ranks, 0);
        pair.assert_mirrored();
        assert_same_links(pair.source_path(), pair.target_path());
        let second = sync(&config(&pair, "second"), ranks, 0);
        assert_eq!(second.entries.values().map(|row| row["same"]).sum::<u64>(), total(&second));
        books.push(first.entries);
    }
    assert!(books.windows(2).all(|two| two[0] == two[1]), "{books:?}");
}

fn total(summary: &Summary) -> u64 {
    summary.entries.values().map(|row| row["seen"]).sum()
}

#[test]
fn a_directory_beyond_the_bound_is_looked_at_in_rounds() {
    let pair = Pair::new();
    for index in 0..3_000 {
        pair.source().file(format!("wide/{index:05}"), "x");
    }
    pair.source().entry("wide").mode(0o751).mtime(1_000_000_000, 7);
    let grain = Grain { listing_bytes_max: 12_000, batch_names_max: 50, ..Grain::default() };
    let config = Config { grain, ..config(&pair, "rounds") };
    let summary = sync(&config, 3, 0);
    assert_eq!(summary.entries["file"]["created"], 3_000);
    pair.assert_mirrored();
}

fn cmp_config(pair: &Pair, run_id: &str) -> Config {
    let (source, target, state) = (pair.source_path(), pair.target_path(), pair.state_path());
    // The summary in place of the list: that would go to the stdout of the tests.
    let words = ["pmirror", "cmp", "--json", "--threads", "2", "--run-id", run_id, "--state-dir"];
    let words = words.iter().map(std::ffi::OsString::from).chain([state.into(), source.into(), target.into()]);
    let Command::Cmp(cmp) = Cli::try_parse_from(words).unwrap().command else { panic!("cmp was asked for") };
    Config::of_cmp(cmp, &std::collections::BTreeMap::new(), Vec::new()).unwrap()
}

#[test]
fn a_directory_beyond_the_bound_is_compared_in_rounds() {
    let pair = Pair::new();
    for tree in [pair.source(), pair.target()] {
        for index in 0..3_000 {
            tree.file(format!("wide/{index:05}"), "x").mtime(1_000, 1);
        }
    }
    pair.source().file("wide/left", "");
    pair.target().file("wide/right", "");
    pair.target().entry("wide/00007").mode(0o600);
    for tree in [pair.source(), pair.target()] {
        tree.entry("wide").mtime(1_000, 1);
        tree.root().mtime(1_000, 1);
    }
    let grain = Grain { listing_bytes_max: 12_000, batch_names_max: 50, ..Grain::default() };
    let summary = sync(&Config { grain, ..cmp_config(&pair, "rounds") }, 3, 26);
    let expected = [("mode", 1), ("source_only", 1), ("target_only", 1)];
    assert_eq!(summary.differences.unwrap().into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(summary.entries["file"]["same"], 2_999);
    assert_eq!(summary.entries["directory"]["same"], 2);
}

#[test]
fn items_beyond_the_memory_bound_go_to_the_run_directory_and_come_back() {
    let pair = Pair::new();
    for index in 0..1_500 {
        pair.source().dir(format!("d{index:05}"));
    }
    let config = Config { bag_bytes_max: 10_000, ..config(&pair, "spill") };
    let summary = sync(&config, 2, 0);
    assert_eq!(summary.entries["directory"]["created"], 1_500);
    pair.assert_mirrored();
    let left: Vec<_> = std::fs::read_dir(pair.state_path().join("spill")).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "only the summary is left: {left:?}");
}

#[test]
fn hard_links_beyond_the_memory_bound_go_to_the_run_directory_and_come_back() {
    let pair = Pair::new();
    for inode in 0..300 {
        let name = |turn: usize| format!("{}/{inode}-{turn}", (inode + turn) % 20);
        pair.source().file(name(0), format!("content {inode}")).mtime(1_000, 1);
        pair.target().file(name(0), format!("content {inode}")).mtime(1_000, 1);
        for turn in 1..5 {
            pair.source().hard_link(name(0), name(turn));
            // Shared by groups that must part from each other.
            let other = format!("{}/{}-1", (inode / 2 * 2 + 1) % 20, inode / 2 * 2);
            pair.target().hard_link(if turn == 1 { name(0) } else { other }, name(turn));
        }
    }
    let bounded = Config { bag_bytes_max: 3_000, ..config(&pair, "spill") };
    let summary = sync(&bounded, 3, 0);
    pair.assert_mirrored();
    assert_same_links(pair.source_path(), pair.target_path());
    assert_eq!(summary.links.groups, 300);
    let left: Vec<_> = std::fs::read_dir(pair.state_path().join("spill")).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "only the summary is left: {left:?}");
    let again = sync(&config(&pair, "again"), 2, 0);
    assert_eq!(again.entries["file"]["same"], 1_500);
}

#[test]
fn thieves_take_from_one_huge_directory() {
    let pair = Pair::new();
    for index in 0..4_000 {
        pair.source().file(format!("{index}"), "some content");
    }
    let grain = Grain { batch_names_max: 64, ..Grain::default() };
    let summary = sync(&Config { grain, ..config(&pair, "wide") }, 4, 0);
    let steals: u64 = summary.ranks.iter().map(|rank| rank.steals).sum();
    assert!(steals > 0, "nobody stole anything");
    pair.assert_mirrored();
}
