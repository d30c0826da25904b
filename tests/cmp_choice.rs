//! What is chosen means the same in `cmp` as in `sync`: what a sync left out is no difference.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use support::*;

fn cmp(pair: &Pair, words: &[&str]) -> Outcome {
    let cmp = Pmirror::new().args(&["cmp", "--level", "hash"]).arg(pair.source_path()).arg(pair.target_path());
    let outcome = cmp.args(words).state_dir(pair.state_path()).run_unchecked();
    outcome.assert_books_balance();
    outcome
}

/// A tree of which each choice takes a part.
fn chosen_pair() -> Pair {
    let pair = Pair::new();
    pair.source().file("src/a.c", "source").mtime(1_000, 1);
    pair.source().file("src/a.o", "object").mtime(2_000_000_000, 1);
    pair.source().file("build/deep/b.o", vec![7; 5_000]);
    pair.source().file("docs/page", "text");
    pair
}

fn sync_and_cmp_agree(choice: &[&str], skipped: &str) {
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let pair = chosen_pair();
        pair.sync().args(choice).ranks(ranks).run().exits(0);
        let same = cmp(&pair, choice).exits(0);
        assert!(same.number(&format!("/skipped/{skipped}")) > 0, "the choice {choice:?} leaves nothing out");
        cmp(&pair, &[]).exits(26);
    }
}

#[test]
fn patterns_ages_and_sizes_choose_alike() {
    sync_and_cmp_agree(&["--exclude=*.o"], "exclude");
    sync_and_cmp_agree(&["--exclude=/build/"], "exclude");
    sync_and_cmp_agree(&["--max-size=1K"], "max_size");
    sync_and_cmp_agree(&["--min-size=1K"], "min_size");
    sync_and_cmp_agree(&["--min-age=1d"], "min_age");
}

#[test]
fn what_only_the_target_has_is_no_difference_where_it_is_left_out() {
    let pair = chosen_pair();
    pair.sync().run().exits(0);
    let before = pair.target_now().at("").mtime();
    pair.target().file("core.1", "dump");
    pair.target().root().mtime(before.0, before.1);
    cmp(&pair, &["--exclude=core.*"]).exits(0);
    cmp(&pair, &[]).exits(26);
}

#[test]
fn a_list_of_files_chooses_alike() {
    let pair = chosen_pair();
    pair.beside().file("list", "src/a.c\nbuild\n");
    let list = format!("--files-from={}", pair.beside().path("list").display());
    pair.sync().arg(&list).run().exits(0);
    let same = cmp(&pair, &[&list]).exits(0);
    assert_eq!(same.count("file", "same"), 2);
    cmp(&pair, &[]).exits(26);
    pair.target().file("build/deep/b.o", vec![8; 5_000]);
    cmp(&pair, &[&list]).exits(26);
    pair.source().entry("src/a.c").unlink();
    cmp(&pair, &[&list]).exits(23);
}

#[test]
fn a_window_and_limits_are_taken_by_cmp_too() {
    let pair = Pair::new();
    pair.source().file("file", "x").mtime(1_000, 0);
    pair.target().file("file", "x").mtime(1_001, 0);
    pair.source().root().mtime(1_000, 0);
    pair.target().root().mtime(1_000, 0);
    cmp(&pair, &["--modify-window=1", "--bwlimit=10M/s"]).exits(0);
    cmp(&pair, &[]).exits(26);
}
