//! An entry that ends the run again and again: the third attempt sets it aside, names it, and does the rest.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::time::{Duration, Instant};
use support::*;

const NOTE: &str = "in flight when two attempts died: set aside; pmirror retry RUN does it";

/// A source in which the kernel never answers for some calls, and a run that is killed over them.
struct Poisoned {
    pair: Pair,
    source: FaultFs,
}

impl Poisoned {
    fn new(make: impl Fn(&Tree), rule: Rule) -> Poisoned {
        let pair = Pair::new();
        make(&pair.source());
        let source = FaultFs::mount(pair.source_path());
        source.rule(rule);
        Poisoned { pair, source }
    }

    fn sync(&self, ranks: Ranks) -> Pmirror {
        let sync = Pmirror::new().sync(self.source.path(), self.pair.target_path());
        sync.state_dir(self.pair.state_path()).run_id("run").ranks(ranks).args(&["--chunk-size=64K", "--threads=2"])
    }

    /// Kills every rank when all that can be done is done.
    fn crash(&self, ranks: Ranks) {
        let kill = ["timeout", "-s", "KILL", "2"];
        let sync = self.sync(ranks);
        let sync = if ranks == Ranks::One { sync.wrapped_by(&kill) } else { sync.launched_by(&kill) };
        assert_ne!(sync.run_unchecked().code, 0);
        let lives = || self.pair.state_path().join("run").join("in-flight-0").exists();
        assert!(lives(), "what was under work is on record");
    }

    /// The attempt that must come to its end all the same.
    fn end(&self, ranks: Ranks, path: &str) -> Outcome {
        let run = self.sync(ranks).run_unchecked().exits(23);
        let faults = run.faults_of(path);
        run.context(|| {
            assert_eq!(faults.first().map(|fault| fault["note"].clone()), Some(NOTE.into()));
            assert_eq!(run.faults.len(), 1, "one fault only");
        });
        run.assert_books_balance();
        run
    }
}

fn some_files(tree: &Tree) {
    for index in 0..40 {
        tree.file(format!("d{}/{index}", index % 4), "content");
    }
}

fn sets_aside(poisoned: &Poisoned, ranks: Ranks, path: &str) {
    poisoned.crash(ranks);
    poisoned.crash(ranks);
    let run = poisoned.end(ranks, path);
    assert!(String::from_utf8_lossy(&run.stderr).contains("set aside"));
    let left = std::fs::read_dir(run.run_dir.as_ref().unwrap()).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.starts_with("in-flight") || name.starts_with("suspects")), "{left:?}");
    poisoned.source.clear();
    let retry = Pmirror::new().retry(poisoned.source.path(), poisoned.pair.target_path(), "run");
    retry.state_dir(poisoned.pair.state_path()).run_unchecked().exits(0);
    compare::assert_same(poisoned.source.path(), poisoned.pair.target_path());
}

fn poisonous_file(ranks: Ranks) {
    let make = |tree: &Tree| {
        some_files(tree);
        tree.file("d2/poison", "deadly");
    };
    let poisoned = Poisoned::new(make, Rule::on("read").named("poison").hang());
    sets_aside(&poisoned, ranks, "d2/poison");
}

#[test]
fn a_poisonous_file_is_set_aside_after_two_deaths_and_all_else_is_done() {
    poisonous_file(Ranks::One);
}

#[test]
fn a_poisonous_file_does_not_end_a_run_of_several_ranks_a_third_time() {
    poisonous_file(Ranks::Mpirun(3));
}

#[test]
fn a_directory_that_can_not_even_be_listed_is_set_aside_itself() {
    let make = |tree: &Tree| {
        some_files(tree);
        tree.file("poison/file", "x");
    };
    let poisoned = Poisoned::new(make, Rule::on("opendir").named("poison").hang());
    sets_aside(&poisoned, Ranks::One, "poison");
}

#[test]
fn a_large_file_in_chunks_is_set_aside_by_its_path() {
    let make = |tree: &Tree| {
        some_files(tree);
        tree.file("d1/poison", vec![7; 500_000]);
    };
    let poisoned = Poisoned::new(make, Rule::on("read").named("poison").hang());
    sets_aside(&poisoned, Ranks::One, "d1/poison");
}

#[test]
fn a_run_that_ends_in_order_leaves_no_suspects() {
    let pair = Pair::new();
    some_files(&pair.source());
    let slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=pwrite64:delay_enter=20000"];
    for seconds in ["0.3", "0.4"] {
        let stop = ["timeout", "--preserve-status", "-s", "TERM", seconds];
        let words = [&slow[..], &stop[..]].concat();
        pair.sync().run_id("run").wrapped_by(&words).run_unchecked();
        let names = std::fs::read_dir(pair.state_path().join("run")).unwrap().flatten();
        let names: Vec<_> = names.map(|entry| entry.file_name().into_string().unwrap()).collect();
        assert!(!names.iter().any(|name| name.starts_with("in-flight") || name.starts_with("suspects")), "{names:?}");
    }
    pair.sync().run_id("run").run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn one_death_sets_nothing_aside() {
    let pair = Pair::new();
    some_files(&pair.source());
    let (slow, begun) = (["timeout", "-s", "KILL", "0.05"], Instant::now());
    while begun.elapsed() < Duration::from_millis(500) {
        pair.sync().run_id("run").wrapped_by(&slow).run_unchecked();
        pair.sync().run_id("run").run().exits(0);
    }
    pair.assert_mirrored();
}
