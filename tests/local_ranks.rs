//! Ranks as threads of one process: the same run without MPI, so that the engine and the protocol are
//! tested with real trees and no launcher.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::path::Path;

use clap::Parser;
use pmirror::cli::{Cli, Command};
use pmirror::comm::local;
use pmirror::config::{self, Config};
use pmirror::engine::StopSign;
use pmirror::pass::Grain;
use pmirror::report::Summary;
use pmirror::run::{self, Circumstances};
use pmirror::tree::difference::{Comparing, Level};
use pmirror::tree::sample::Sample;
use support::*;

fn config(pair: &Pair, run_id: &str) -> Config {
    config_of(&pair.source_path(), &pair.target_path(), &pair.state_path(), run_id)
}

fn config_of(source: &Path, target: &Path, state: &Path, run_id: &str) -> Config {
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
            std::thread::spawn(move || run::run(&config, &mut end, Circumstances::new(None, StopSign::default())))
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
    cmp_config_of(&pair.source_path(), &pair.target_path(), &pair.state_path(), run_id)
}

fn cmp_config_of(source: &Path, target: &Path, state: &Path, run_id: &str) -> Config {
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

const NAMES: u64 = 400;
const ONLY_THERE: u64 = 40;

/// A directory that is looked at in rounds. Half of its names are on the target already, and some
/// others. After half of a run's reads of it, each further read of one of its sides fails.
struct BreaksOff {
    pair: Pair,
    mounts: [FaultFs; 2],
    broken: usize,
}

impl BreaksOff {
    fn on(side: &str) -> BreaksOff {
        let pair = Pair::new();
        for index in 0..NAMES {
            pair.source().file(format!("wide/{index:05}"), "x").mtime(1_000, 1);
            if index % 2 == 0 {
                pair.target().file(format!("wide/{index:05}"), "x").mtime(1_000, 1);
            }
        }
        for index in 0..ONLY_THERE {
            pair.target().file(format!("wide/only-there-{index}"), "kept");
        }
        for tree in [pair.source(), pair.target()] {
            tree.entry("wide").mtime(1_000, 1);
            tree.root().mtime(1_000, 1);
        }
        let mounts = [pair.source_path(), pair.target_path()].map(FaultFs::mount);
        let breaks_off = BreaksOff { pair, mounts, broken: usize::from(side == "target") };
        let broken = &breaks_off.mounts[breaks_off.broken];
        broken.take_calls();
        sync(&breaks_off.config(cmp_config_of, "whole"), 2, 26);
        let reads = broken.take_calls()["readdir"].as_u64().unwrap();
        broken.rule(Rule::on("readdir").named("wide").after(reads / 2).error(nix::errno::Errno::EIO));
        breaks_off
    }

    fn config(&self, of: impl Fn(&Path, &Path, &Path, &str) -> Config, run_id: &str) -> Config {
        let grain = Grain { listing_bytes_max: 2_500, batch_names_max: 30, ..Grain::default() };
        let [source, target] = &self.mounts;
        Config { grain, ..of(source.path(), target.path(), &self.pair.state_path(), run_id) }
    }

    /// What can be said of every run: the rounds that broke off are failed, names that only the target has
    /// count only where both listings were whole, and nothing went from the target.
    fn assert_nothing_is_concluded(&self, summary: &Summary) {
        let unknown = &summary.entries["unknown"];
        assert!(unknown["failed"] > 1 && unknown["failed"] == unknown["seen"], "{unknown:?}");
        assert!(summary.target_only < ONLY_THERE, "{}", summary.target_only);
        let faults = summary.faults.iter().map(|fault| fault.count).sum::<u64>();
        assert_eq!(faults, unknown["failed"], "each round that broke off is a fault");
        let on_target = std::fs::read_dir(self.pair.target_path().join("wide")).unwrap().count() as u64;
        assert!(on_target >= NAMES / 2 + ONLY_THERE, "{on_target}");
    }
}

#[test]
fn rounds_whose_listing_breaks_off_fail_and_nothing_is_lost() {
    for side in ["source", "target"] {
        let wide = BreaksOff::on(side);
        let summary = sync(&wide.config(config_of, "broken"), 2, 23);
        wide.assert_nothing_is_concluded(&summary);
        let file = |outcome| summary.entries["file"].get(outcome).copied().unwrap_or(0);
        assert_eq!(file("same") + file("created"), file("seen"));
        if side == "target" {
            assert_eq!((file("same"), file("created")), (NAMES / 2, NAMES / 2), "each name is looked up");
        } else {
            assert!(file("seen") < NAMES && file("created") > 0, "{:?}", summary.entries);
        }
        wide.mounts.iter().for_each(FaultFs::clear);
        (0..ONLY_THERE)
            .for_each(|n| std::fs::remove_file(wide.pair.target_path().join(format!("wide/only-there-{n}"))).unwrap());
        sync(&wide.config(config_of, "again"), 2, 0);
        wide.pair.assert_mirrored();
    }
}

#[test]
fn rounds_whose_listing_breaks_off_are_no_difference() {
    for side in ["source", "target"] {
        let wide = BreaksOff::on(side);
        let summary = sync(&wide.config(cmp_config_of, "broken"), 2, 23);
        wide.assert_nothing_is_concluded(&summary);
        let (same, differs) = (summary.entries["file"]["same"], &summary.differences.as_ref().unwrap());
        assert_eq!(same + differs["source_only"], summary.entries["file"]["seen"]);
        assert_eq!(differs.get("target_only").copied().unwrap_or(0), summary.target_only);
        if side == "target" {
            assert_eq!((same, differs["source_only"]), (NAMES / 2, NAMES / 2), "each name is looked up");
        } else {
            assert!(summary.entries["file"]["seen"] < NAMES);
        }
    }
}

fn rm_config_of(source: &Path, target: &Path, state: &Path, run_id: &str) -> Config {
    let words = ["pmirror", "rm", "--target-only", "--quiet", "--threads", "2", "--run-id", run_id, "--state-dir"];
    let words = words.iter().map(std::ffi::OsString::from).chain([state.into(), source.into(), target.into()]);
    let Command::Rm(rm) = Cli::try_parse_from(words).unwrap().command else { panic!("rm was asked for") };
    Config::of_rm(rm, &std::collections::BTreeMap::new(), Vec::new()).unwrap()
}

fn rm_tree_config(tree: &Path, state: &Path) -> Config {
    let words = ["pmirror", "rm", "--quiet", "--threads", "2", "--run-id", "tree", "--state-dir"];
    let words = words.iter().map(std::ffi::OsString::from).chain([state.into(), "--tree".into(), tree.into()]);
    let Command::Rm(rm) = Cli::try_parse_from(words).unwrap().command else { panic!("rm was asked for") };
    Config::of_rm(rm, &std::collections::BTreeMap::new(), Vec::new()).unwrap()
}

#[test]
fn a_directory_beyond_the_bound_is_removed_in_rounds_and_so_is_what_it_lacks() {
    let pair = Pair::new();
    for index in 0..700 {
        pair.source().file(format!("both/{index:05}"), "x");
        pair.target().file(format!("both/{index:05}"), "x");
        pair.target().file(format!("both/extra-{index}"), "x");
        pair.target().file(format!("gone/{index:05}"), "x");
        pair.target().file(format!("gone/directory-{}/inner/{index}", index % 90), "x");
        pair.beside().file(format!("tree/{index:05}"), "x");
        pair.beside().file(format!("tree/directory-{}/inner/{index}", index % 90), "x");
    }
    let grain = || Grain { listing_bytes_max: 2_500, batch_names_max: 30, ..Grain::default() };
    let rm = rm_config_of(&pair.source_path(), &pair.target_path(), &pair.state_path(), "rounds");
    let guards = pmirror::tree::guard::Guards {
        max_delete: pmirror::tree::guard::MaxDelete::Percent(100.0),
        hold_percent: 100.0,
        hold_depth: 1,
    };
    let summary = sync(&Config { grain: grain(), guards: Some(guards), ..rm }, 3, 0);
    let removals = summary.removals.unwrap();
    assert_eq!((removals.entries["file"]["removed"], removals.entries["directory"]["removed"]), (2_100, 1 + 90 + 90));
    assert_eq!(std::fs::read_dir(pair.target_path().join("both")).unwrap().count(), 700);
    assert!(!pair.target_path().join("gone").exists());

    let tree = pair.beside().path("tree");
    let summary = sync(&Config { grain: grain(), ..rm_tree_config(&tree, &pair.state_path()) }, 3, 0);
    assert_eq!(summary.removals.unwrap().planned, 1_400 + 90 + 90 + 1);
    assert!(!tree.exists());
    pair.assert_canary();
}

#[test]
fn rounds_whose_listing_breaks_off_remove_nothing_that_the_source_has() {
    for side in ["source", "target"] {
        let wide = BreaksOff::on(side);
        let summary = sync(&wide.config(rm_config_of, "broken"), 2, 23);
        assert!(summary.entries["unknown"]["failed"] > 0);
        let left = std::fs::read_dir(wide.pair.target_path().join("wide")).unwrap();
        let both = left.filter(|name| !name.as_ref().unwrap().file_name().to_string_lossy().starts_with("only"));
        assert_eq!(both.count() as u64, NAMES / 2);
    }
}

/// `cmp --level hash`, in chunks of this size.
fn hashing(config: Config, chunk_bytes: u64, sample: Option<Sample>) -> Config {
    let grain = Grain { chunk_bytes, ..Grain::default() };
    let mut config = Config { grain, ..config };
    let config::Command::Cmp(cmp) = &mut config.command else { panic!("cmp was asked for") };
    cmp.comparing = Comparing { level: Level::Hash, sample };
    config
}

const CHUNK: u64 = 64 << 10;
const WHOLE: u64 = 1 << 30;

#[test]
fn large_files_are_compared_in_chunks_with_the_same_result() {
    let pair = Pair::new();
    let content = vec![7; 40 * CHUNK as usize + 5];
    let mut other = content.clone();
    *other.last_mut().unwrap() = 8;
    for (tree, differs) in [(pair.source(), &content), (pair.target(), &other)] {
        for name in ["a/same", "b/same too", "c/also the same"] {
            tree.file(name, &content).mtime(1_000, 1);
        }
        tree.file("a/differs", differs).mtime(1_000, 1);
        tree.file("a/longer there", &differs[usize::from(differs == &content)..]).mtime(1_000, 1);
        for name in ["a", "b", "c", "."] {
            tree.entry(name).mtime(1_000, 1);
        }
    }
    pair.target().entry("b/same too").mode(0o600);
    let samples = (0..5).map(|seed| Some(Sample::new(50.0, seed)));
    for sample in samples.chain([None]) {
        let compared = |chunk_bytes, run_id: &str| {
            let summary = sync(&hashing(cmp_config(&pair, run_id), chunk_bytes, sample), 2, 26);
            let list = std::fs::read_to_string(pair.state_path().join(run_id).join("differences.jsonl")).unwrap();
            std::fs::remove_dir_all(pair.state_path().join(run_id)).unwrap();
            let items: u64 = summary.ranks.iter().map(|rank| rank.items).sum();
            (items, (list, summary.contents, summary.differences, summary.entries))
        };
        let ((chunks, in_chunks), (items, whole)) = (compared(CHUNK, "chunks"), compared(WHOLE, "whole"));
        assert_eq!(in_chunks, whole);
        assert!(sample.is_some() || chunks > 4 * 40 && items < 10, "{chunks} items, {items} without chunks");
        assert!(sample.is_some() || whole.1.unwrap().compared == 4, "{:?}", whole.1);
    }
}

#[test]
fn a_large_file_that_changes_while_it_is_compared_is_read_again() {
    let pair = Pair::new();
    let content = vec![7; 30 * CHUNK as usize];
    for tree in [pair.source(), pair.target()] {
        tree.file("large", &content).mtime(1_000, 1);
        tree.root().mtime(1_000, 1);
    }
    let write = |byte| {
        let file = std::fs::OpenOptions::new().write(true).open(pair.target_path().join("large")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[byte], 0).unwrap();
        pair.target().entry("large").mtime(1_000, 1);
    };
    write(8);
    let target = FaultFs::mount(pair.target_path());
    target.rule(Rule::on("read").latency(std::time::Duration::from_millis(30)));
    let config = cmp_config_of(&pair.source_path(), target.path(), &pair.state_path(), "changes");
    let summary = std::thread::scope(|scope| {
        let run = scope.spawn(|| sync(&hashing(config, CHUNK, None), 1, 0));
        let mut read = 0;
        while read < 6 {
            assert!(!run.is_finished(), "the run was too quick");
            std::thread::sleep(std::time::Duration::from_millis(5));
            read += target.take_calls().get("read").and_then(serde_json::Value::as_u64).unwrap_or(0);
        }
        write(7);
        run.join().unwrap()
    });
    assert_eq!(summary.entries["file"]["same"], 1);
    assert_eq!(summary.contents.map(|contents| (contents.files, contents.compared)), Some((1, 1)));
}

#[test]
fn a_chunk_that_can_not_be_read_fails_the_comparison_of_its_file() {
    let pair = Pair::new();
    for tree in [pair.source(), pair.target()] {
        tree.file("large", vec![7; 10 * CHUNK as usize]).mtime(1_000, 1);
        tree.root().mtime(1_000, 1);
    }
    let target = FaultFs::mount(pair.target_path());
    target.rule(Rule::on("read").named("large").after(4).error(nix::errno::Errno::EIO));
    let config = cmp_config_of(&pair.source_path(), target.path(), &pair.state_path(), "fails");
    let summary = sync(&hashing(config, CHUNK, None), 2, 23);
    assert_eq!((summary.entries["file"]["failed"], summary.entries["file"]["seen"]), (1, 1));
    assert_eq!(summary.differences, Some(std::collections::BTreeMap::new()), "what was not read is no difference");
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
    assert_eq!(left.len(), 2, "only the summary and the command are left: {left:?}");
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
    assert_eq!(left.len(), 2, "only the summary and the command are left: {left:?}");
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
