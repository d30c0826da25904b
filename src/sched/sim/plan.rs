//! What a simulated world is: all of it follows from one seed.

use std::time::Duration;

use super::super::message::Rank;
use super::super::random::Random;
use super::super::settings::Settings;
use super::super::share::UNLIMITED;
use super::cuts::Checkpoint;
use super::network::Delay;
use super::trees::{Shape, Tree};

/// Something that befalls a rank for a while.
#[derive(Debug, Clone, Copy)]
pub struct Trouble {
    pub rank: Rank,
    pub kind: Kind,
    pub from: Duration,
    pub to: Duration,
}

/// What befalls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its workers hang; its main thread answers.
    Hung,
    /// The process is stopped: nothing is handled, nothing sent.
    Stopped,
}

/// A deliberate fault, to prove that the checkers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Rank 0 takes one quiet wave for the end.
    OverAfterOneQuietWave,
    /// Rank 0 takes two waves without a busy rank for the end, and does not count messages.
    OverWithoutCounting,
    /// Loot and tells count as sent when they leave the rank, not when they are queued.
    CountedWhenItLeaves,
    /// A worker leaves 'running' first, and what the item made enters the rank's state later.
    OutcomeInTwoSteps,
    /// The network loses a loot.
    LootLost,
    /// The network delivers a loot twice.
    LootTwice,
    /// What comes after the cut from before it is in no part of the checkpoint.
    LateForgotten,
    /// Items that workers hold are in no part of the checkpoint.
    RunningForgotten,
}

/// A world to run.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub ranks: u32,
    pub workers: u32,
    pub ranks_per_node: u32,
    pub settings: Settings,
    pub delay: Delay,
    pub tree: Tree,
    pub epochs: u32,
    /// Every rank begins a pass with an item, not only rank 0.
    pub seeds_everywhere: bool,
    pub loot_items_max: usize,
    /// What a rank's main thread needs to wake up, and for each message.
    pub turn_time: Duration,
    /// One rank in so many is ten times slower. 0: none.
    pub slow_one_in: u64,
    pub troubles: Vec<Trouble>,
    /// This rank wants to stop at that time.
    pub stop: Option<(Rank, Duration)>,
    /// So often a checkpoint is taken.
    pub cut_every: Option<Duration>,
    /// The run goes on from this checkpoint.
    pub resumed: Option<Checkpoint>,
    pub sabotage: Option<Sabotage>,
    /// Print every event.
    pub trace: bool,
}

impl Plan {
    /// A calm world with the settings of the program.
    pub fn calm(seed: u64, ranks: u32, shape: Shape, item_time: Duration) -> Self {
        Self {
            seed,
            ranks,
            workers: 2,
            ranks_per_node: 16,
            settings: Settings::default(),
            delay: Delay { usual: Duration::from_micros(20), max: Duration::from_micros(200) },
            tree: Tree {
                seed,
                shape,
                item_time,
                heavy_items: false,
                tells_per_mille: 0,
                ranks,
                wander_in_four: 1,
                hops_max: 3,
            },
            epochs: 1,
            seeds_everywhere: false,
            loot_items_max: 1024,
            turn_time: Duration::from_micros(2),
            slow_one_in: 0,
            troubles: Vec::new(),
            stop: None,
            cut_every: None,
            resumed: None,
            sabotage: None,
            trace: false,
        }
    }

    /// Any world of at most `ranks_max` ranks.
    pub fn random(seed: u64, ranks_max: u32) -> Self {
        let mut random = Random::new(seed);
        let r = &mut random;
        let ranks = 1 + r.below(u64::from(ranks_max)) as u32;
        let usual = pick_micros(r, &[5, 20, 100, 500]);
        let delay = Delay { usual, max: usual * pick(r, &[2, 10, 20]) };
        let item_time = pick_micros(r, &[20, 200, 2000, 10_000]);
        let mut plan = Self::calm(seed, ranks, shape(r, ranks), item_time);
        plan.workers = 1 + r.below(4) as u32;
        plan.ranks_per_node = 1 + r.below(8) as u32;
        plan.delay = delay;
        plan.tree.heavy_items = r.below(2) == 0;
        plan.tree.tells_per_mille = pick(r, &[0, 0, 50, 300, 1000]);
        plan.epochs = 1 + r.below(3) as u32;
        plan.seeds_everywhere = r.below(4) == 0;
        plan.loot_items_max = pick(r, &[1, 8, 1024]);
        plan.turn_time = pick_micros(r, &[0, 2, 20]);
        plan.slow_one_in = pick(r, &[0, 0, 8, 2]);
        plan.settings = settings(r, &plan);
        plan.add_trouble(r);
        // Not drawn: worlds stay what they were before there were checkpoints.
        plan.cut_every = (!seed.is_multiple_of(4)).then_some(item_time * (1 + seed % 7) as u32);
        plan
    }

    fn add_trouble(&mut self, r: &mut Random) {
        let rank = Rank(r.below(u64::from(self.ranks)) as u32);
        let from = Duration::from_micros(r.below(20_000));
        let to = from + Duration::from_millis(1 + r.below(400));
        match r.below(8) {
            0 => self.troubles.push(Trouble { rank, kind: Kind::Hung, from, to }),
            1 | 2 => self.troubles.push(Trouble { rank, kind: Kind::Stopped, from, to }),
            3 => {
                let other = Rank(r.below(u64::from(self.ranks)) as u32);
                self.troubles.push(Trouble { rank, kind: Kind::Stopped, from, to });
                self.troubles.push(Trouble { rank: other, kind: Kind::Stopped, from, to: to + from });
            }
            4 => self.stop = Some((rank, from * 3)),
            _ => {}
        }
    }

    /// How long the main thread of a slow rank needs, at most.
    pub fn turn_time_max(&self) -> Duration {
        self.turn_time * 10
    }

    /// Whether a process is stopped at some time.
    pub fn has_stopped_rank(&self) -> bool {
        self.troubles.iter().any(|trouble| trouble.kind == Kind::Stopped)
    }
}

fn shape(r: &mut Random, ranks: u32) -> Shape {
    let items = 1 + r.below(40 + 4 * u64::from(ranks)) as u32;
    match r.below(7) {
        0 => Shape::Wide { children: items },
        1 => Shape::Chain { length: 1 + items / 4 },
        2 => Shape::PowerLaw { children: 1 + items / 3 },
        3 => Shape::Split { items },
        4 => Shape::Listing { parts: 1 + items / 20, batches: 10 },
        _ => Shape::Geometric { mean: 3, depth_max: 2 + r.below(6) as u32 },
    }
}

/// Settings of any size that keep the one assumption of the protocol: a rank that is not stopped
/// answers a wave within the patience of its parent.
fn settings(r: &mut Random, plan: &Plan) -> Settings {
    let answer = 4 * (plan.delay.max + plan.turn_time_max() * 40);
    Settings {
        steal_wait: pick_micros(r, &[200, 2000, 50_000, 1_000_000]),
        line_wait_min: pick_micros(r, &[100, 1000]),
        line_wait_max: pick_micros(r, &[1000, 10_000, 50_000]),
        wave_arity: if plan.ranks > 8 { 2 + r.below(7) as u32 } else { 1 + r.below(8) as u32 },
        wave_patience: answer.max(pick_micros(r, &[0, 20_000, 1_000_000])),
        wave_pause_idle: pick_micros(r, &[100, 5000]),
        wave_pause_busy: pick_micros(r, &[10_000, 500_000]),
        limits: if plan.seed.is_multiple_of(3) { [plan.seed * 7, 1_000_000] } else { [UNLIMITED; 2] },
    }
}

fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len() as u64) as usize]
}

fn pick_micros(random: &mut Random, from: &[u64]) -> Duration {
    Duration::from_micros(pick(random, from))
}
