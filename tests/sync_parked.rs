//! One slow thing never stops the rest: what has no answer is parked, all else is done, and who comes back
//! late changes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::errno::Errno;
use std::time::{Duration, Instant};
use support::*;

/// Both trees on our file system, with a directory in which one name hangs and others where none does.
struct Mounted {
    source: FaultFs,
    target: FaultFs,
    pair: Pair,
}

const OP_TIMEOUT: Duration = Duration::from_secs(2);

impl Mounted {
    fn new(make: impl Fn(&Pair)) -> Mounted {
        let pair = Pair::new();
        for directory in 0..6 {
            for file in 0..8 {
                pair.source().file(&format!("rest/{directory}/{file}"), "content");
            }
        }
        make(&pair);
        let (source, target) = (FaultFs::mount(pair.source_path()), FaultFs::mount(pair.target_path()));
        Mounted { source, target, pair }
    }

    fn with_file() -> Mounted {
        Mounted::new(|pair| {
            pair.source().file("odd/stuck", "hangs");
            pair.source().file("odd/other", "does not");
        })
    }

    fn sync(&self) -> Pmirror {
        Pmirror::new().sync(self.source.path(), self.target.path()).state_dir(self.pair.state_path())
    }

    /// Runs it while calls hang by this rule, which is lifted only when the run has written its summary: a
    /// thread in the kernel keeps its process until then.
    fn run_while(&self, on: &FaultFs, rule: Rule, command: Pmirror) -> Outcome {
        let run_id = "parked";
        let rule = on.rule(rule);
        let command = command.args(&["--op-timeout", "2s"]).run_id(run_id);
        let summary = self.pair.state_path().join(run_id).join("summary.json");
        let started = Instant::now();
        let (run, took) = std::thread::scope(|scope| {
            let run = scope.spawn(|| command.run_unchecked());
            while !summary.exists() && !run.is_finished() && started.elapsed() < Duration::from_secs(40) {
                std::thread::sleep(Duration::from_millis(20));
            }
            let took = started.elapsed();
            on.lift(rule);
            (run.join().unwrap(), took)
        });
        run.context(|| assert!(took < Duration::from_secs(30), "it ended after {took:?}"));
        run.context(|| assert!(took >= OP_TIMEOUT, "nothing was waited for: {took:?}"));
        run.assert_books_balance();
        run
    }

    fn assert_rest_is_mirrored(&self) {
        let (source, target) = (self.pair.source_now().below("rest"), self.pair.target_now().below("rest"));
        assert_same(&source, &target, Clamp::None);
    }

    /// The same command, when all answers again, makes all right and takes away what was left.
    fn assert_converges(&self) {
        self.sync().run_unchecked().exits(0);
        self.pair.assert_mirrored();
        assert_no_litter(&Snapshot::paths(self.pair.source_path()), self.pair.target_path());
    }
}

fn assert_parked(run: &Outcome, path: &str, side: &str) {
    run.has_fault(path, side, Errno::ETIMEDOUT);
    assert_eq!(run.number("/parked"), 1, "{}", run.summary());
}

fn file_hangs(operation: &str, on_source: bool, ranks: Ranks) {
    let mounted = Mounted::with_file();
    let on = if on_source { &mounted.source } else { &mounted.target };
    let rule = Rule::on(operation).named("stuck").hang();
    let run = mounted.run_while(on, rule, mounted.sync().ranks(ranks)).exits(23);
    assert_parked(&run, "odd/stuck", if on_source { "source" } else { "target" });
    assert_eq!(run.total("failed"), 1);
    mounted.assert_rest_is_mirrored();
    mounted.assert_converges();
}

#[test]
fn a_source_file_that_can_not_be_opened_does_not_stop_the_rest() {
    file_hangs("open", true, Ranks::One);
}

#[test]
fn a_source_file_that_can_not_be_read_does_not_stop_the_rest() {
    file_hangs("read", true, Ranks::One);
}

#[test]
fn nor_that_of_several_ranks() {
    file_hangs("read", true, Ranks::Mpirun(3));
}

#[test]
fn a_target_file_that_can_not_be_written_does_not_stop_the_rest() {
    file_hangs("write", false, Ranks::One);
}

#[test]
fn a_target_file_whose_metadata_can_not_be_set_does_not_stop_the_rest() {
    file_hangs("setattr", false, Ranks::One);
}
