//! SIGKILL of any rank, or of all, at any moment, again and again: no torn file is taken for done, what was
//! there stays until the new is complete, and the same command goes on to its end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use support::crash::Before;
use support::random::{self, Dice};
use support::*;

const IN_A_ROW_MAX: u64 = 3;
/// A run that takes a lock over waits so long whether another does so too.
const TAKE_OVER_MS: u64 = 300;
/// Rounds at once: most of a round is such waiting.
const AT_ONCE: u64 = 6;

/// A source of everything, and a target that has a part of it, some of that changed.
fn build(seed: u64, pair: &Pair) {
    let mut dice = Dice::new(seed);
    let tree = RandomTree::new(seed, 60).linked();
    tree.build(&pair.source());
    let part = dice.pick(&[0, 20, 60]);
    RandomTree { entries: part, ..tree }.build(&pair.target());
    for _ in 0..part / 3 {
        random::change(&pair.target(), &pair.target_now(), &mut dice);
    }
    // Another content under the size and the time of the source is believed, as everywhere.
    for path in Before::torn(&pair.source_now(), &pair.target_now()) {
        pair.target().entry(&path).mtime(1, 1);
    }
    for (name, on_target) in [("large", false), ("large, to be replaced", true)] {
        let bytes = dice.bytes(900_000);
        pair.source().file(name, bytes).mtime(1_000_000_000, 7);
        if on_target {
            pair.target().file(name, dice.bytes(300_000));
        }
    }
    pair.source().file("read only/deep/file", "content");
    for path in ["read only/deep/file", "read only/deep", "read only"] {
        pair.source().entry(path).mode(0o555).mtime(1_000_000_000, 8);
    }
}

/// Who is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    All,
    Rank(u64),
}

impl Victim {
    /// Kills so many milliseconds after a rank has started.
    fn killer(self, milliseconds: u64) -> Vec<String> {
        let end = format!("timeout -s KILL {}.{:03}", milliseconds / 1000, milliseconds % 1000);
        let script = match self {
            Victim::All => format!("exec {end} \"$@\""),
            Victim::Rank(rank) => format!("[ $OMPI_COMM_WORLD_RANK = {rank} ] || exec \"$@\"; exec {end} \"$@\""),
        };
        ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
    }
}

/// What was seen of all kills: a test of kills that all came too late would prove nothing.
#[derive(Default)]
struct Seen {
    kills: AtomicU32,
    halves: AtomicU32,
    ends: AtomicU32,
    resumes: AtomicU32,
    incomplete: AtomicU32,
}

impl Seen {
    fn count(&self, pair: &Pair, code: i32, before: usize) {
        let counter = |counter: &AtomicU32| counter.fetch_add(1, Ordering::Relaxed);
        counter(&self.kills);
        if code == 0 {
            counter(&self.ends);
        } else if Snapshot::paths(pair.target_path()).len() != before {
            counter(&self.halves);
        }
    }

    fn tell(self) -> (u32, u32, u32) {
        let counters = [self.kills, self.halves, self.ends, self.resumes, self.incomplete];
        let [kills, halves, ends, resumes, incomplete] = counters.map(AtomicU32::into_inner);
        println!("{kills} kills: {halves} left a target that had begun to change, {ends} came after the end");
        println!("{resumes} runs went on from a checkpoint; {incomplete} rounds set something aside");
        (kills, halves, resumes)
    }
}

/// The id under which all runs of a round go.
const RUN: &str = "round";
/// A checkpoint was in force when the run was killed.
const MANIFEST: &str = "round/checkpoint/manifest";

/// Operations a second: a checkpoint takes a second or so to be in force, and a small tree is copied at once.
const SLOW: &str = "25/s";
const QUICK: &str = "100k/s";

/// How a round goes on after a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    TheSameCommand,
    /// `pmirror resume` where there is a checkpoint, with any number of ranks.
    Resume,
}

/// What is run next.
fn next(pair: &Pair, sync: &Pmirror, (then, pace): (Then, &str), dice: &mut Dice, seen: &Seen) -> Pmirror {
    if then == Then::TheSameCommand {
        return sync.clone();
    }
    if !pair.state_path().join(MANIFEST).exists() {
        return sync.clone().args(&["--ops-limit", pace]);
    }
    seen.resumes.fetch_add(1, Ordering::Relaxed);
    let state = pair.state_path().display().to_string();
    let resume = Pmirror::new().args(&["resume", RUN, "--state-dir", &state, "--ops-limit", pace]);
    resume.ranks(if dice.once_in(3) { Ranks::Mpirun(2) } else { Ranks::One })
}

/// One round: killed up to three times in a row, then run to its end.
fn round(seed: u64, ranks: Ranks, then: Then, usual_ms: u64, seen: &Seen) {
    let pair = Pair::new();
    build(seed, &pair);
    let mut dice = Dice::new(seed ^ 0x5eed);
    let deletes = dice.once_in(2);
    let before = Before::look(&pair, deletes);
    let options: &[&str] =
        if deletes { &["--delete", "--max-delete", "100%", "--hold-threshold", "100%"] } else { &[] };
    let sync = pair.sync().args(&["--chunk-size", "64K", "--threads", "2"]).args(options).ranks(ranks);
    let sync = match then {
        Then::TheSameCommand => sync,
        Then::Resume => sync.run_id(RUN).args(&["--checkpoint-interval", "2s"]),
    };
    let kills = 1 + dice.below(IN_A_ROW_MAX);
    for _ in 0..kills {
        let is_locked = pair.target_path().join(".pmirror/lock").exists();
        let after_ms = dice.below(usual_ms) + if is_locked { TAKE_OVER_MS } else { 0 };
        let go = next(&pair, &sync, (then, SLOW), &mut dice, seen);
        let victim = match go.rank_count() {
            ranks if ranks > 1 && dice.once_in(2) => Victim::Rank(dice.below(ranks.into())),
            _ => Victim::All,
        };
        let killer = victim.killer(after_ms);
        let killer: Vec<&str> = killer.iter().map(String::as_str).collect();
        let had = Snapshot::paths(pair.target_path()).len();
        let run = go.wrapped_by(&killer).run_killed();
        println!("seed {seed}: {victim:?} killed after {after_ms} ms, exit code {}", run.code);
        seen.count(&pair, run.code, had);
        run.context(|| assert!(![1, 70].contains(&run.code), "it was not killed"));
        run.context(|| before.assert_nothing_lost(&pair));
    }
    let go = next(&pair, &sync, (then, QUICK), &mut dice, seen);
    let mut last = go.run_unchecked();
    if then == Then::Resume {
        last.context(|| assert!([0, 23].contains(&last.code), "the run did not go on"));
        last.context(|| if last.code == 0 { before.assert_mirrored(&pair) } else { before.assert_nothing_lost(&pair) });
        seen.incomplete.fetch_add(u32::from(last.code != 0), Ordering::Relaxed);
        // It did not look at everything, and what was under work when two attempts died is set aside: so the lock
        // stays for a run that does.
        last = sync.clone().run_id("another").run_unchecked();
    }
    before.assert_went_on(&pair, last);
}

/// How long such a run takes here and now.
fn usual_ms(ranks: Ranks, then: Then) -> u64 {
    let pair = Pair::new();
    build(1, &pair);
    let sync = pair.sync().args(&["--chunk-size", "64K", "--threads", "2"]).ranks(ranks);
    sync.run().exits(0);
    std::fs::remove_dir_all(pair.target_path()).unwrap();
    let started = Instant::now();
    let sync = if then == Then::Resume { sync.args(&["--ops-limit", SLOW]) } else { sync };
    sync.run_unchecked().exits(0);
    u64::try_from(started.elapsed().as_millis()).unwrap().max(20)
}

/// Rounds of these seeds, several at once, until there were so many kills.
fn rounds(seeds: Range<u64>, kills_min: u32, ranks: Ranks, then: Then) -> (u32, u32, u32) {
    let (usual_ms, seen) = (usual_ms(ranks, then), Seen::default());
    println!("a run takes {usual_ms} ms");
    std::thread::scope(|scope| {
        for turn in 0..AT_ONCE {
            let (seeds, seen) = (seeds.clone(), &seen);
            scope.spawn(move || {
                let mine = seeds.skip(turn as usize).step_by(AT_ONCE as usize);
                for seed in mine.take_while(|_| seen.kills.load(Ordering::Relaxed) < kills_min) {
                    round(seed, ranks, then, usual_ms, seen);
                }
            });
        }
    });
    seen.tell()
}

#[test]
fn a_run_killed_at_any_moment_loses_nothing_and_goes_on() {
    let (kills, halves, _) = rounds(1000..2000, 140, Ranks::One, Then::TheSameCommand);
    assert!(kills >= 140 && halves >= kills / 5, "{halves} of {kills} kills met a run at work");
}

#[test]
fn a_run_of_several_ranks_of_which_one_or_all_are_killed_loses_nothing_and_goes_on() {
    let (kills, halves, _) = rounds(3000..4000, 30, Ranks::Mpirun(3), Then::TheSameCommand);
    assert!(kills >= 30 && halves >= kills / 10, "{halves} of {kills} kills met a run at work");
}

#[test]
fn a_run_killed_at_any_moment_is_resumed_by_any_number_of_ranks_and_loses_nothing() {
    let (kills, _, resumes) = rounds(5000..6000, 30, Ranks::One, Then::Resume);
    assert!(kills >= 30 && resumes > 0, "{resumes} of {kills} kills left a checkpoint");
}
