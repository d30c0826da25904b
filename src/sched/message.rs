//! What ranks say to each other.

use std::time::Duration;

use bincode::{Decode, Encode};

use super::cut::Census;
use super::share::{Demand, Share};

/// The number of an MPI process, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Rank(pub u32);

impl Rank {
    /// The rank that starts the waves and writes the summary.
    pub const ROOT: Rank = Rank(0);
}

/// The number of a pass. All messages carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Epoch(pub u32);

/// The number of a checkpoint, from 1. All messages carry the last one that their sender took part in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Cut(pub u32);

impl Cut {
    /// The one after it.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A message with the epoch it belongs to.
#[derive(Debug, Clone, PartialEq, Hash, Encode, Decode)]
pub struct Envelope<I, N> {
    /// The pass in which it was sent.
    pub epoch: Epoch,
    /// Its sender's last checkpoint when it was queued.
    pub cut: Cut,
    /// What is said.
    pub message: Message<I, N>,
}

/// What is said. Only `Loot` and `Tell` are counted for termination: they alone can make work.
#[derive(Debug, Clone, PartialEq, Hash, Encode, Decode)]
pub enum Message<I, N> {
    /// "Give me some of your items."
    StealRequest {
        /// The thief's own count of its requests; the answer repeats it.
        request: u64,
        /// Workers of the thief that have nothing to do. With 0 it only provides for later.
        hungry: u32,
        /// So long the thief would rather wait for items than be refused.
        wait: Duration,
    },
    /// The answer with items.
    Loot {
        /// The request that is answered.
        request: u64,
        /// Never empty.
        items: Vec<I>,
    },
    /// The answer without.
    Refusal {
        /// The request that is answered.
        request: u64,
    },
    /// A note to the owner of something.
    Tell(N),
    /// A wave on its way from rank 0 to the leaves.
    WaveDown {
        /// Waves are numbered from 1 in each epoch.
        wave: u64,
        /// What rank 0 asks of all.
        control: Control,
    },
    /// A wave on its way back.
    WaveUp {
        /// The wave that is answered.
        wave: u64,
        /// The sum over the ranks that answered through this one.
        report: Report,
    },
    /// The pass is over.
    Halt,
}

/// Why a run ends before its work does. The larger one wins when several are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Stop {
    /// The time is up: SIGUSR1, `--stop-at`, or the end of the Slurm allocation is near.
    Time,
    /// SIGTERM or SIGINT.
    Signal,
    /// The target takes nothing more for now, or a root is gone: somebody must do something before the run goes on.
    Halt,
    /// An error after which the run cannot go on.
    Error,
}

/// What rank 0 asks of all ranks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Control {
    /// Take no more items.
    pub stop: Option<Stop>,
    /// Ranks that may use more or less than before. Empty without limits.
    pub shares: Vec<Share>,
    /// Nothing is on its way any more that belongs to this checkpoint: make its parts durable.
    pub seal: Option<Cut>,
}

/// An operation that has been running for a while.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Oldest {
    /// Where it runs.
    pub rank: Rank,
    /// For how long, when the rank answered the wave.
    pub age: Duration,
    /// What it is, for people.
    pub what: String,
}

/// Operations that a wave brings back.
const OLDEST_MAX: usize = 4;

/// What a wave brings back: sums over all ranks that answered it.
#[derive(Debug, Clone, Default, PartialEq, Hash, Encode, Decode)]
pub struct Report {
    /// Ranks that answered.
    pub ranks: u32,
    /// Ranks among them without any work.
    pub idle_ranks: u32,
    /// Loot and tells sent in this epoch.
    pub sent: u64,
    /// Loot and tells received in this epoch.
    pub received: u64,
    /// Items that wait in bags.
    pub queued: u64,
    /// Named by `counters::Slot`; added up slot by slot.
    pub counters: Vec<u64>,
    /// The operations that have been running longest, at most one of each rank and `OLDEST_MAX` in all; the oldest first.
    pub oldest: Vec<Oldest>,
    /// Ranks that did not answer their parent in the wave's tree.
    pub silent: Vec<Rank>,
    /// A rank wants the run to stop.
    pub stop: Option<Stop>,
    /// What each rank would use of what is limited. Empty without limits.
    pub demands: Vec<Demand>,
    /// The checkpoint that is being taken.
    pub cut: Census,
}

impl Report {
    /// Adds what another part of the tree answered.
    pub fn merge(&mut self, other: Report) {
        self.ranks += other.ranks;
        self.idle_ranks += other.idle_ranks;
        self.sent += other.sent;
        self.received += other.received;
        self.queued += other.queued;
        if self.counters.len() < other.counters.len() {
            self.counters.resize(other.counters.len(), 0);
        }
        for (mine, theirs) in self.counters.iter_mut().zip(&other.counters) {
            *mine = mine.saturating_add(*theirs);
        }
        self.oldest.extend(other.oldest);
        self.oldest.sort_by_key(|oldest| (std::cmp::Reverse(oldest.age), oldest.rank));
        self.oldest.truncate(OLDEST_MAX);
        self.silent.extend(other.silent);
        self.stop = self.stop.max(other.stop);
        self.demands.extend(other.demands);
        self.cut.merge(other.cut);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_operations_are_brought_back_the_oldest_first_whatever_the_order() {
        let report = |rank: u32| {
            let (rank, age) = (Rank(rank), Duration::from_secs(u64::from(rank % 3)));
            Report { oldest: vec![Oldest { rank, age, what: String::new() }], ..Report::default() }
        };
        let all = |ranks: &mut dyn Iterator<Item = u32>| {
            let mut all = Report::default();
            ranks.for_each(|rank| all.merge(report(rank)));
            all.oldest.iter().map(|oldest| oldest.rank.0).collect::<Vec<_>>()
        };
        assert_eq!(all(&mut (0..9)), [2, 5, 8, 1]);
        assert_eq!(all(&mut (0..9).rev()), [2, 5, 8, 1]);
        assert_eq!(all(&mut (0..2)), [1, 0]);
    }
}
