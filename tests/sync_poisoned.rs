//! An entry that ends the run again and again: the third attempt sets it aside, names it, and does the rest.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};
use support::*;

const NOTE: &str = "in flight when two attempts died: set aside; pmirror retry RUN does it";

/// A source in which the kernel never answers for some calls, and a run that is killed over them.
struct Poisoned {
    pair: Pair,
    source: FaultFs,
    poison: Rule,
    /// The call that is never answered.
    call: &'static str,
}

/// Kills the processes that have this state directory on their command line.
fn kill_all(state: &Path) {
    use nix::sys::signal::{Signal, kill};
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|&byte| byte == 0).collect();
        let is_ours = words.first().is_some_and(|program| program.ends_with(b"/pmirror"));
        if is_ours && words.contains(&state.as_os_str().as_bytes()) {
            let pid = entry.file_name().to_str().unwrap().parse().unwrap();
            let _ = kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

impl Poisoned {
    fn new(make: impl Fn(&Tree), operation: &str, call: &'static str) -> Poisoned {
        let poison = Rule::on(operation).named("poison").hang();
        let pair = Pair::new();
        make(&pair.source());
        let source = FaultFs::mount(pair.source_path());
        source.rule(poison.clone());
        Poisoned { pair, source, poison, call }
    }

    fn sync(&self, ranks: Ranks) -> Pmirror {
        let sync = Pmirror::new().sync(self.source.path(), self.pair.target_path());
        sync.state_dir(self.pair.state_path()).run_id("run").ranks(ranks).args(&["--chunk-size=64K", "--threads=2"])
    }

    /// Kills every rank when one of them waits for the poison, and the others had time to do the rest.
    fn crash(&self, ranks: Ranks) {
        self.source.start_log();
        std::thread::scope(|scope| {
            let killed = scope.spawn(|| self.sync(ranks).run_unchecked());
            while !self.source.take_log().iter().any(|call| call.ends_with(self.call)) {
                assert!(!killed.is_finished(), "it never came to the poison");
                std::thread::sleep(Duration::from_millis(10));
            }
            std::thread::sleep(Duration::from_millis(200));
            kill_all(&self.pair.state_path());
            // A thread that waits for an answer dies when it has it.
            self.source.clear();
            assert_ne!(killed.join().unwrap().code, 0);
        });
        self.source.rule(self.poison.clone());
        assert!(self.pair.state_path().join("run").join("in-flight-0").exists(), "what was under work is on record");
    }

    /// The attempt that must come to its end all the same.
    fn end(&self, ranks: Ranks, path: &str) -> Outcome {
        let run = self.sync(ranks).run_unchecked().exits(23);
        let faults = run.faults_of(path);
        run.context(|| {
            assert_eq!(faults.first().map(|fault| fault["note"].clone()), Some(NOTE.into()));
            // What another worker had under work each time is not told apart from the poison.
            assert!(run.faults.len() <= 6, "at most one for each worker");
            assert!(run.faults.iter().all(|fault| fault["note"] == NOTE));
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
    // The note of the dead runs stays for a run that looks at everything.
    let (source, mut target) = (Snapshot::take(poisoned.source.path()), poisoned.pair.target_now());
    target.entries.retain(|path, _| !path.starts_with(b".pmirror"));
    compare::assert_same_but(&source, &target, &[]);
}

fn poisonous_file(ranks: Ranks) {
    let make = |tree: &Tree| {
        some_files(tree);
        tree.file("d2/poison", "deadly");
    };
    let poisoned = Poisoned::new(make, "read", "read poison");
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
    let poisoned = Poisoned::new(make, "opendir", "opendir poison");
    sets_aside(&poisoned, Ranks::One, "poison");
}

#[test]
fn a_large_file_in_chunks_is_set_aside_by_its_path() {
    let make = |tree: &Tree| {
        some_files(tree);
        tree.file("d1/poison", vec![7; 500_000]);
    };
    let poisoned = Poisoned::new(make, "read", "read poison");
    sets_aside(&poisoned, Ranks::One, "d1/poison");
}

#[test]
fn a_run_that_ends_in_order_leaves_no_suspects() {
    let pair = Pair::new();
    for index in 0..600 {
        pair.source().file(format!("d{}/{index}", index % 20), "content");
    }
    let slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=pwrite64:delay_enter=20000"];
    let mut stopped = 0;
    for seconds in ["1", "2", "4"] {
        let stop = ["timeout", "--preserve-status", "-s", "TERM", seconds];
        let words = [&slow[..], &stop[..]].concat();
        if stopped > 0 {
            break;
        }
        stopped += u32::from(pair.sync().run_id("run").wrapped_by(&words).run_unchecked().code == 20);
        let Ok(names) = std::fs::read_dir(pair.state_path().join("run")) else { continue };
        let names: Vec<_> = names.flatten().map(|entry| entry.file_name().into_string().unwrap()).collect();
        assert!(!names.iter().any(|name| name.starts_with("in-flight") || name.starts_with("suspects")), "{names:?}");
    }
    assert!(stopped > 0, "it was never stopped at the right moment");
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
