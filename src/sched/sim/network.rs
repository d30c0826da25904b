//! How long messages take: messages of one pair keep their order, as MPI promises; others overtake.

use std::collections::HashMap;
use std::time::Duration;

use super::super::message::Rank;
use super::super::random::Random;
use super::trees::unit;

/// How long a message is on its way.
#[derive(Debug, Clone, Copy)]
pub struct Delay {
    /// Between two nodes, mostly.
    pub usual: Duration,
    /// One message in fifty takes up to this long.
    pub max: Duration,
}

/// The network between simulated ranks.
pub struct Network {
    delay: Delay,
    ranks_per_node: u32,
    /// When the last message of a pair arrives. Only looked up, never walked in order.
    last: HashMap<(Rank, Rank), Duration>,
    pairs_max: usize,
}

impl Network {
    pub fn new(delay: Delay, ranks_per_node: u32) -> Self {
        Self { delay, ranks_per_node, last: HashMap::new(), pairs_max: 100_000 }
    }

    /// When a message that is sent now arrives.
    pub fn arrival(&mut self, now: Duration, from: Rank, to: Rank, random: &mut Random) -> Duration {
        if self.last.len() > self.pairs_max {
            self.last.retain(|_, arrival| *arrival > now);
            self.pairs_max = 100_000.max(2 * self.last.len());
        }
        let arrival = now + self.sample(from, to, random);
        let last = self.last.entry((from, to)).or_default();
        *last = arrival.max(*last);
        *last
    }

    fn sample(&self, from: Rank, to: Rank, random: &mut Random) -> Duration {
        let near = from.0 / self.ranks_per_node == to.0 / self.ranks_per_node;
        let usual = if near { self.delay.usual / 4 } else { self.delay.usual };
        let worst = if random.below(50) == 0 { self.delay.max } else { usual * 2 };
        worst.min(self.delay.max).mul_f64(unit(random))
    }
}
