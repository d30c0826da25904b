//! What holds in every simulated world.

use std::env;
use std::ops::Range;
use std::time::Duration;

use super::super::message::Rank;
use super::cuts::must_be_all;
use super::network::Delay;
use super::plan::{Kind, Plan, Sabotage, Trouble};
use super::trees::{Item, Shape, Tree};
use super::watch::Outcome;
use super::world::run;

const MINUTE: Duration = Duration::from_secs(60);

/// On a panic, tells how to replay the world.
struct Replay {
    test: &'static str,
    seed: u64,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Replay { test, seed } = self;
            eprintln!("replay: PMIRROR_SIM_SEED={seed} PMIRROR_SIM_TRACE=1 cargo test --release -- {test}");
        }
    }
}

fn must_hold(mut plan: Plan) -> Outcome {
    plan.trace = env::var_os("PMIRROR_SIM_TRACE").is_some();
    match run(&plan) {
        Ok(outcome) => outcome,
        Err(violation) => panic!("{violation}\n{plan:#?}"),
    }
}

/// Runs the worlds of these seeds, or only of the one that `PMIRROR_SIM_SEED` names, or of as many as
/// `PMIRROR_SIM_SEEDS` says.
fn for_seeds(test: &'static str, mut seeds: Range<u64>, check: impl Fn(u64)) {
    let number = |name| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    if let Some(count) = number("PMIRROR_SIM_SEEDS") {
        seeds.end = seeds.start + count;
    }
    if let Some(seed) = number("PMIRROR_SIM_SEED") {
        seeds = seed..seed + 1;
    }
    for seed in seeds {
        let _replay = Replay { test, seed };
        check(seed);
    }
}

#[test]
fn small_worlds_obey_all_rules() {
    for_seeds("small_worlds_obey_all_rules", 0..1000, |seed| {
        must_hold(Plan::random(seed, 8));
    });
}

/// Every checkpoint of a world that was taken in its pass `epoch`, gone on from by other numbers of ranks.
fn resume_all(plan: &Plan, outcome: &Outcome) -> usize {
    let mut resumed = 0;
    for (epoch, checkpoint) in &outcome.checkpoints {
        let before = checkpoint.done();
        let ranks = 1 + (plan.ranks + resumed as u32) % 9;
        let calm = Plan::calm(plan.seed, ranks, plan.tree.shape, plan.tree.item_time);
        let tree = Tree { ranks, ..plan.tree.clone() };
        let after = must_hold(Plan { tree, resumed: Some(checkpoint.clone()), ..calm });
        let mut all = before;
        for (piece, times) in after.pieces {
            *all.entry(piece).or_default() += times;
        }
        let seeds: Vec<Item> = (0..if plan.seeds_everywhere { plan.ranks } else { 1 })
            .map(|rank| plan.tree.first(*epoch, Rank(rank)))
            .collect();
        if let Err(violation) = must_be_all(&plan.tree, seeds, &all) {
            panic!("{violation}\n{plan:#?}");
        }
        resumed += 1;
    }
    resumed
}

#[test]
fn every_checkpoint_can_be_gone_on_from_by_any_number_of_ranks() {
    let resumed = std::cell::Cell::new(0);
    let test = "every_checkpoint_can_be_gone_on_from_by_any_number_of_ranks";
    for_seeds(test, 0..400, |seed| {
        let plan = Plan::random(seed, 8);
        resumed.set(resumed.get() + resume_all(&plan, &must_hold(plan.clone())));
    });
    if env::var_os("PMIRROR_SIM_SEED").is_none() {
        assert!(resumed.get() > 500, "only {} checkpoints: these worlds show little", resumed.get());
    }
}

#[test]
fn a_checkpoint_waits_for_no_item() {
    let mut plan = with_trouble(Kind::Hung, 3, Duration::from_millis(100));
    plan.cut_every = Some(Duration::from_millis(200));
    let outcome = must_hold(plan);
    assert!(outcome.checkpoints.len() > 100, "{} in a minute", outcome.checkpoints.len());
}

#[test]
fn the_checkers_see_a_checkpoint_that_lost_something() {
    let busy = |seed| Plan { cut_every: Some(Duration::from_millis(30)), ..restless(seed) };
    assert_is_seen(Sabotage::LateForgotten, busy, "a checkpoint has lost");
    let calm = |seed| {
        let calm = Plan::calm(seed, 4, Shape::Split { items: 300 }, Duration::from_millis(10));
        Plan { cut_every: Some(Duration::from_millis(50)), ..calm }
    };
    assert_is_seen(Sabotage::RunningForgotten, calm, "a checkpoint has lost");
}

#[test]
fn medium_worlds_obey_all_rules() {
    for_seeds("medium_worlds_obey_all_rules", 0..100, |seed| {
        must_hold(Plan::random(seed, 100));
    });
}

#[test]
fn ten_thousand_ranks_end() {
    for_seeds("ten_thousand_ranks_end", 1..2, |seed| {
        let shape = Shape::Split { items: 200_000 };
        must_hold(Plan::calm(seed, 10_000, shape, Duration::from_millis(10)));
    });
}

#[test]
fn a_seed_replays() {
    for_seeds("a_seed_replays", 0..20, |seed| {
        let [one, two] = [(); 2].map(|()| must_hold(Plan::random(seed, 8)));
        assert_eq!((one.over, one.tally.messages()), (two.over, two.tally.messages()));
    });
}

#[test]
fn a_stop_ends_every_rank_and_loses_no_item() {
    let test = "a_stop_ends_every_rank_and_loses_no_item";
    let mut kept_items = 0;
    for seed in 0..100 {
        let _replay = Replay { test, seed };
        let mut plan = Plan::random(seed, 8);
        let rank = Rank((seed % u64::from(plan.ranks)) as u32);
        plan.stop = Some((rank, plan.tree.item_time * (seed % 20) as u32));
        let outcome = must_hold(plan);
        kept_items += u64::from(outcome.stopped) * (outcome.items - outcome.done);
    }
    assert!(kept_items > 100, "{kept_items} items: these stops come too late to show anything");
}

/// Work for a second.
fn sixteen_ranks() -> Plan {
    let mut plan = Plan::calm(1, 16, Shape::Split { items: 16 * 2 * 100 }, Duration::from_millis(10));
    plan.tree.tells_per_mille = 100;
    plan.settings.wave_arity = 3;
    plan
}

fn with_trouble(kind: Kind, rank: u32, from: Duration) -> Plan {
    let mut plan = sixteen_ranks();
    plan.troubles.push(Trouble { rank: Rank(rank), kind, from, to: from + MINUTE });
    plan
}

/// In the time that all would need otherwise, and the time in which thieves give a silent victim up.
fn assert_others_were_in_time(calm: &Outcome, troubled: &Outcome) {
    let in_time = calm.last_work.mul_f64(1.3) + sixteen_ranks().settings.steal_wait;
    let last = troubled.last_free_work;
    assert!(last < in_time, "the others ended at {last:?}, alone they need {:?}", calm.last_work);
}

#[test]
fn a_rank_stopped_for_a_minute_delays_only_its_own_items_and_the_end() {
    let calm = must_hold(sixteen_ranks());
    for rank in [0, 1, 4, 15] {
        for millis in [3, 100, 300] {
            let outcome = must_hold(with_trouble(Kind::Stopped, rank, Duration::from_millis(millis)));
            assert_others_were_in_time(&calm, &outcome);
            assert!(outcome.over >= MINUTE, "the end must wait for rank {rank}");
            assert!(rank == 0 || outcome.waves_around_silence > 1000, "waves must go on without rank {rank}");
        }
    }
}

#[test]
fn a_rank_whose_workers_hang_for_a_minute_gives_its_items_away() {
    let calm = must_hold(sixteen_ranks());
    for rank in [0, 1, 15] {
        let outcome = must_hold(with_trouble(Kind::Hung, rank, Duration::from_millis(200)));
        assert_others_were_in_time(&calm, &outcome);
        assert!(outcome.over >= MINUTE, "the end must wait for rank {rank}");
    }
}

#[test]
fn a_stop_reaches_the_ranks_below_a_stopped_one() {
    // Rank 5 is a child of rank 1. The checker looks at when ranks begin items.
    let mut plan = with_trouble(Kind::Stopped, 1, Duration::from_millis(100));
    plan.tree.shape = Shape::Split { items: 16 * 2 * 3000 };
    plan.stop = Some((Rank(5), Duration::from_secs(8)));
    let outcome = must_hold(plan);
    assert!(outcome.stopped && outcome.done < outcome.items);
}

#[test]
fn the_next_pass_does_not_wait_for_a_rank_that_stops_before_it_passes_the_end_on() {
    let two_passes = |troubles| Plan { epochs: 2, troubles, ..sixteen_ranks() };
    let calm = must_hold(two_passes(Vec::new()));
    let from = calm.root_over[0] + Duration::from_nanos(1);
    let stop = Trouble { rank: Rank(1), kind: Kind::Stopped, from, to: from + MINUTE };
    let troubled = must_hold(two_passes(vec![stop]));
    assert_others_were_in_time(&calm, &troubled);
}

/// A world in which little work wanders while many waves look for the end.
fn restless(seed: u64) -> Plan {
    let mut plan = Plan::calm(seed, 4, Shape::Chain { length: 2 }, Duration::from_micros(50));
    plan.workers = 1;
    plan.delay = Delay { usual: Duration::from_micros(500), max: Duration::from_millis(5) };
    plan.tree.tells_per_mille = 1000;
    plan.tree.wander_in_four = 4;
    plan.tree.hops_max = 50;
    plan.settings.wave_pause_idle = Duration::from_micros(100);
    plan
}

#[test]
fn wandering_notes_do_not_end_a_pass_early() {
    for_seeds("wandering_notes_do_not_end_a_pass_early", 0..200, |seed| {
        must_hold(restless(seed));
    });
}

/// One thing is done wrongly, in a hundred worlds.
fn assert_is_seen(sabotage: Sabotage, plan: fn(u64) -> Plan, as_what: &str) {
    let run_wrongly = |seed| run(&Plan { sabotage: Some(sabotage), ..plan(seed) });
    let violation = (0..100).find_map(|seed| run_wrongly(seed).err()).map(|violation| violation.0);
    let is_seen = violation.as_ref().is_some_and(|violation| violation.contains(as_what));
    assert!(is_seen, "{sabotage:?} gave {violation:?}");
}

#[test]
fn the_checkers_see_an_end_that_comes_too_early() {
    let too_early = "is over, and there are";
    assert_is_seen(Sabotage::OverAfterOneQuietWave, restless, too_early);
    assert_is_seen(Sabotage::OverWithoutCounting, restless, too_early);
    assert_is_seen(Sabotage::CountedWhenItLeaves, restless, too_early);
    assert_is_seen(Sabotage::OutcomeInTwoSteps, restless, too_early);
}

#[test]
fn the_checkers_see_work_that_is_lost_or_done_twice() {
    let calm = |seed| Plan::calm(seed, 4, Shape::Split { items: 100 }, Duration::from_millis(1));
    assert_is_seen(Sabotage::LootLost, calm, "nothing has happened for a long time");
    assert_is_seen(Sabotage::LootTwice, calm, "goes from");
}
