//! Workloads: unbalanced trees whose every item knows from its own seed what it costs and makes.
//!
//! After UTS (Olivier and others: "UTS: An Unbalanced Tree Search Benchmark", LCPC 2006): the shape
//! does not depend on who does which item, so any two runs of one tree do the same work.

use std::time::Duration;

use super::super::message::Rank;
use super::super::random::Random;

/// The unit of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Item {
    /// Its place in the books.
    pub id: u32,
    /// The pass it belongs to, from 1.
    pub epoch: u32,
    /// What it costs and makes follows from this.
    pub seed: u64,
    /// 0 for the first item; `LEAF` for one that makes nothing.
    pub depth: u32,
    /// Only in `Shape::Split`: items still to be made below it.
    pub budget: u32,
    /// A stopped rank had it, or one of its ancestors.
    pub held_up: bool,
}

/// What an item tells an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Note {
    /// The pass it belongs to.
    pub epoch: u32,
    /// What it makes follows from this.
    pub seed: u64,
    /// Notes that led to this one.
    pub hops: u32,
    /// As for an item.
    pub held_up: bool,
}

/// The depth of items that make nothing.
const LEAF: u32 = u32::MAX;
/// The widest directory below the first.
const CHILDREN_MAX: f64 = 10_000.0;

/// How many children an item has.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// One huge directory.
    Wide { children: u32 },
    /// One child each.
    Chain { length: u32 },
    /// About `mean` children at the top, fewer and fewer further down, none at `depth_max`.
    Geometric { mean: u32, depth_max: u32 },
    /// One wide directory; below it most have no children and a few have very many.
    PowerLaw { children: u32 },
    /// Just so many items, dealt very unevenly to up to eight children at each step.
    Split { items: u32 },
    /// A directory that is listed in parts, one after the other; each part makes so many items.
    Listing { parts: u32, batches: u32 },
}

/// A workload.
#[derive(Debug, Clone)]
pub struct Tree {
    pub seed: u64,
    pub shape: Shape,
    /// Items take half to one and a half times this long.
    pub item_time: Duration,
    /// One item in a hundred takes twenty times as long.
    pub heavy_items: bool,
    /// Of a thousand items so many tell a note to a random rank.
    pub tells_per_mille: u64,
    /// Notes go to one of so many ranks.
    pub ranks: u32,
    /// So many notes in four make their owner tell a further one,
    pub wander_in_four: u64,
    /// up to so many in a row.
    pub hops_max: u32,
}

/// What an item or a note makes. The ids are still to be given.
#[derive(Debug, Default)]
pub struct Made {
    pub items: Vec<Item>,
    pub tells: Vec<(Rank, Note)>,
}

impl Tree {
    /// The first item of a rank in an epoch.
    pub fn first(&self, epoch: u32, rank: Rank) -> Item {
        let seed = Random::new(self.seed ^ (u64::from(epoch) << 40) ^ u64::from(rank.0)).next();
        let budget = if let Shape::Split { items } = self.shape { items.saturating_sub(1) } else { 0 };
        Item { id: 0, epoch, seed, depth: 0, budget, held_up: false }
    }

    /// How long an item takes on a rank of ordinary speed.
    pub fn time(&self, item: &Item) -> Duration {
        let mut random = Random::new(item.seed ^ 1);
        let time = self.item_time / 2 + self.item_time.mul_f64(unit(&mut random));
        if self.heavy_items && random.below(100) == 0 { time * 20 } else { time }
    }

    /// What an item makes at its end.
    pub fn outcome(&self, item: &Item) -> Made {
        if item.depth == LEAF {
            return Made::default();
        }
        let mut random = Random::new(item.seed ^ 2);
        let mut made = Made::default();
        for (depth, budget) in self.children(item, &mut random) {
            made.items.push(Item { seed: random.next(), depth, budget, ..*item });
        }
        if random.below(1000) < self.tells_per_mille {
            let note = Note { epoch: item.epoch, seed: random.next(), hops: 0, held_up: item.held_up };
            made.tells.push((self.anyone(&mut random), note));
        }
        made
    }

    /// What a note makes when its owner takes it in: up to two items, now and then a further note.
    pub fn note_outcome(&self, note: &Note) -> Made {
        let mut random = Random::new(note.seed ^ 3);
        let Note { epoch, held_up, .. } = *note;
        let mut made = Made::default();
        for _ in 0..random.below(3) {
            made.items.push(Item { id: 0, epoch, seed: random.next(), depth: LEAF, budget: 0, held_up });
        }
        if note.hops < self.hops_max && random.below(4) < self.wander_in_four {
            let further = Note { seed: random.next(), hops: note.hops + 1, ..*note };
            made.tells.push((self.anyone(&mut random), further));
        }
        made
    }

    /// Depth and budget of each child.
    fn children(&self, item: &Item, random: &mut Random) -> Vec<(u32, u32)> {
        let depth = item.depth;
        let count = match self.shape {
            Shape::Wide { children } => u64::from(if depth == 0 { children } else { 0 }),
            Shape::Chain { length } => u64::from(depth + 1 < length),
            Shape::Geometric { mean, depth_max } => {
                let left = f64::from(depth_max.saturating_sub(depth)) / f64::from(depth_max);
                geometric(f64::from(mean) * left, random)
            }
            Shape::PowerLaw { children } if depth == 0 => u64::from(children),
            Shape::PowerLaw { .. } => (unit(random).powf(-0.5).min(CHILDREN_MAX) - 1.0) as u64,
            Shape::Split { .. } => return split(item, random),
            Shape::Listing { parts, batches } => {
                let next = (depth + 1 < parts).then_some((depth + 1, 0));
                return std::iter::repeat_n((LEAF, 0), batches as usize).chain(next).collect();
            }
        };
        vec![(depth + 1, 0); count as usize]
    }

    fn anyone(&self, random: &mut Random) -> Rank {
        Rank(random.below(u64::from(self.ranks)) as u32)
    }
}

/// A number above 0 and at most 1.
pub fn unit(random: &mut Random) -> f64 {
    ((random.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
}

/// Deals the budget of an item to its children, most of it to one of them.
fn split(item: &Item, random: &mut Random) -> Vec<(u32, u32)> {
    let count = item.budget.min(1 + random.below(8) as u32);
    let mut left = item.budget - count;
    let mut children = Vec::new();
    for child in 0..count {
        let last = child + 1 == count;
        let share = if last { left } else { (f64::from(left) * unit(random).powi(3)) as u32 };
        left -= share;
        children.push((item.depth + 1, share));
    }
    children
}

/// A number of the geometric distribution with this mean.
fn geometric(mean: f64, random: &mut Random) -> u64 {
    if mean <= 0.0 {
        return 0;
    }
    (unit(random).ln() / (mean / (1.0 + mean)).ln()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_means_are_as_told() {
        let mut random = Random::new(1);
        let sum: u64 = (0..100_000).map(|_| geometric(4.0, &mut random)).sum();
        assert!((390_000..410_000).contains(&sum), "{sum}");
    }
}
