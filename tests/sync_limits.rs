//! Holding back: `--bwlimit` and `--ops-limit` are of the whole job, however many ranks share the work.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::time::{Duration, Instant};
use support::*;

const MIB: usize = 1 << 20;

/// The passes took what the limit asks for, and not much longer.
fn takes_about(run: &Outcome, seconds: f64) {
    let part =
        |name: &str| run.summary().pointer(&format!("/seconds/{name}")).and_then(|value| value.as_f64()).unwrap();
    let took = part("mirror") + part("link");
    println!("{took:.2} s of {seconds} s");
    run.context(|| assert!((0.8 * seconds..2.0 * seconds).contains(&took), "{took} s, {seconds} s were expected"));
}

fn for_all_ranks(build: impl Fn(&Pair), option: &[&str], seconds: f64) {
    for ranks in [Ranks::One, Ranks::Mpirun(2), Ranks::Mpirun(4)] {
        let pair = Pair::new();
        build(&pair);
        let run = pair.sync().ranks(ranks).args(option).run_unchecked().exits(0);
        run.assert_books_balance();
        takes_about(&run, seconds);
        pair.assert_mirrored();
    }
}

#[test]
fn many_files_are_copied_at_the_rate_of_the_job() {
    let files = |pair: &Pair| {
        for index in 0..160 {
            pair.source().file(format!("{}/{index}", index % 16), vec![b'x'; MIB / 4]);
        }
    };
    for_all_ranks(files, &["--bwlimit", "20MiB/s"], 2.0);
}

#[test]
fn one_rank_that_works_alone_gets_the_rate_of_the_job() {
    let file = |pair: &Pair| drop(pair.source().file("large", vec![b'x'; 40 * MIB]));
    for_all_ranks(file, &["--bwlimit", "20M"], 2.0);
}

#[test]
fn names_are_looked_at_at_the_rate_of_the_job() {
    let names = |pair: &Pair| {
        for index in 0..1_000 {
            pair.source().file(format!("{}/{index}", index % 20), "");
        }
    };
    for_all_ranks(names, &["--ops-limit", "500/s"], 2.04);
}

#[test]
fn a_hole_costs_no_time() {
    let pair = Pair::new();
    pair.source().file("hole", "x");
    let hole = std::fs::File::options().write(true).open(pair.source_path().join("hole")).unwrap();
    hole.set_len(1 << 30).unwrap();
    let started = Instant::now();
    pair.sync().args(&["--bwlimit", "10M/s"]).run_unchecked().exits(0);
    assert!(started.elapsed() < Duration::from_secs(20), "it was paid for");
}

#[test]
fn a_rate_without_a_unit_is_refused_with_the_remedy() {
    let pair = Pair::new();
    for (option, bad) in [("--bwlimit", "100"), ("--bwlimit", "10Mbit/s"), ("--ops-limit", "100")] {
        let refused = pair.sync().args(&[option, bad]).run_unchecked();
        refused.refuses(1, &["a rate wants a unit"]);
    }
    pair.sync().args(&["--bwlimit", "0K/s"]).run_unchecked().refuses(1, &["nothing would ever be done"]);
}

#[test]
fn a_signal_ends_a_run_that_is_held_back_at_once() {
    for ranks in [Ranks::One, Ranks::Mpirun(2)] {
        let pair = Pair::new();
        for index in 0..40 {
            pair.source().file(format!("{}/{index}", index % 8), vec![b'x'; MIB]);
        }
        let end = ["timeout", "--preserve-status", "-s", "TERM", "1.5"];
        let started = Instant::now();
        let stopped = pair.sync().ranks(ranks).wrapped_by(&end).args(&["--bwlimit", "1M/s"]).run().exits(20);
        assert!(started.elapsed() < Duration::from_secs(30), "it slept on: {:?}", started.elapsed());
        assert!(stopped.count("file", "created") < 20, "it was not held back");
    }
}
