//! One rank's part in a wave: pass it down a tree, gather the answers, answer up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::message::{Rank, Report};
use super::settings::Settings;

/// The children of a rank in the k-ary tree of the waves.
pub fn children(rank: Rank, ranks: u32, arity: u32) -> impl Iterator<Item = Rank> {
    let first = u64::from(rank.0) * u64::from(arity) + 1;
    let end = (first + u64::from(arity)).min(u64::from(ranks));
    (first..end).filter_map(|child| u32::try_from(child).ok()).map(Rank)
}

/// The parent of a rank in that tree.
pub fn parent(rank: Rank, arity: u32) -> Option<Rank> {
    rank.0.checked_sub(1).map(|before| Rank(before / arity))
}

/// Levels of the tree below a rank: 0 for a leaf.
fn height(rank: Rank, ranks: u32, arity: u32) -> u32 {
    let mut first = u64::from(rank.0);
    let mut levels = 0;
    loop {
        first = first * u64::from(arity) + 1;
        if first >= u64::from(ranks) {
            return levels;
        }
        levels += 1;
    }
}

/// A wave that waits for the answers of children.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, Hash))]
struct Gathering {
    wave: u64,
    /// Who passed it to us; `None` at rank 0.
    parent: Option<Rank>,
    awaited: BTreeSet<Rank>,
    asked: BTreeSet<Rank>,
    patience: Duration,
    patience_ends: Duration,
    total: Report,
}

/// A wave whose answers are all in, or written off.
#[derive(Debug)]
pub struct Gathered {
    /// Its number.
    pub wave: u64,
    /// Whom to answer; `None` at rank 0.
    pub parent: Option<Rank>,
    /// What the children answered; the rank adds its own status.
    pub total: Report,
}

/// What a `WaveDown` asks of the rank.
#[derive(Debug, PartialEq, Eq)]
pub enum Passed {
    /// Pass it to these ranks.
    Down(Vec<Rank>),
    /// Already answered: say so with an empty report, so that the sender does not wait.
    Repeated,
}

/// The state of a rank between and during waves of one epoch.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, Hash))]
pub struct Waves {
    me: Rank,
    ranks: u32,
    last_wave: u64,
    gathering: Option<Gathering>,
    /// Ranks that did not answer. Until they speak we do not wait for them, and we ask them again
    /// only at this time: a stopped rank must not find a heap of old waves when it goes on, nor an
    /// inner rank get the next wave before it could answer this one.
    silent: BTreeMap<Rank, Duration>,
    /// Rank 0: children of silent ranks, spoken to directly.
    adopted: BTreeSet<Rank>,
}

impl Waves {
    /// No wave seen yet.
    pub fn new(me: Rank, ranks: u32) -> Self {
        Self { me, ranks, last_wave: 0, gathering: None, silent: BTreeMap::new(), adopted: BTreeSet::new() }
    }

    /// Wave numbers begin anew in each epoch; who is silent stays known.
    pub fn enter_epoch(&mut self) {
        self.last_wave = 0;
        self.gathering = None;
    }

    /// Rank 0 begins the next wave: its number, and to whom it goes.
    pub fn begin(&mut self, now: Duration, settings: &Settings) -> (u64, Vec<Rank>) {
        assert!(self.me == Rank::ROOT);
        assert!(self.gathering.is_none());
        let wave = self.last_wave + 1;
        (wave, self.start(now, wave, None, settings))
    }

    /// A wave came down from `from`.
    pub fn pass_down(&mut self, now: Duration, wave: u64, from: Rank, settings: &Settings) -> Passed {
        if wave <= self.last_wave {
            return Passed::Repeated;
        }
        Passed::Down(self.start(now, wave, Some(from), settings))
    }

    /// An unfinished older wave is dropped: whoever passed it to us has written it off.
    fn start(&mut self, now: Duration, wave: u64, parent: Option<Rank>, settings: &Settings) -> Vec<Rank> {
        self.last_wave = wave;
        let mut asked: BTreeSet<Rank> = children(self.me, self.ranks, settings.wave_arity).collect();
        asked.extend(&self.adopted);
        // A child waits for its own children first, so patience grows with the height of the tree.
        let patience = settings.wave_patience * height(self.me, self.ranks, settings.wave_arity);
        let to = asked.iter().copied().filter(|&rank| self.is_to_be_asked(rank, now, patience)).collect();
        let awaited = asked.iter().copied().filter(|rank| !self.silent.contains_key(rank)).collect();
        let total = Report::default();
        self.gathering =
            Some(Gathering { wave, parent, awaited, asked, patience, patience_ends: now + patience, total });
        to
    }

    fn is_to_be_asked(&mut self, rank: Rank, now: Duration, patience: Duration) -> bool {
        match self.silent.get_mut(&rank) {
            Some(ask_again) if now < *ask_again => false,
            Some(ask_again) => {
                *ask_again = now + patience;
                true
            }
            None => true,
        }
    }

    /// Any message of `from` shows that it lives.
    pub fn heard(&mut self, from: Rank) {
        self.silent.remove(&from);
    }

    /// An answer came up. One to an older wave only shows that its sender lives.
    pub fn answered(&mut self, from: Rank, wave: u64, report: Report) {
        if let Some(gathering) = &mut self.gathering
            && gathering.wave == wave
            && gathering.asked.remove(&from)
        {
            gathering.awaited.remove(&from);
            gathering.total.merge(report);
        }
    }

    /// The wave, once every awaited child has answered or patience has ended.
    pub fn gathered(&mut self, now: Duration) -> Option<Gathered> {
        let ready = self.gathering.as_ref()?;
        if !ready.awaited.is_empty() && now < ready.patience_ends {
            return None;
        }
        let Gathering { wave, parent, awaited, asked, patience, mut total, .. } = self.gathering.take()?;
        self.silent.extend(awaited.into_iter().map(|rank| (rank, now + patience)));
        total.silent.extend(asked.into_iter().filter(|rank| self.silent.contains_key(rank)));
        Some(Gathered { wave, parent, total })
    }

    /// Rank 0: from now on speak directly to the children of the ranks that are silent.
    pub fn adopt_children_of(&mut self, silent: &[Rank], settings: &Settings) {
        assert!(self.me == Rank::ROOT);
        self.adopted = silent.iter().flat_map(|&rank| children(rank, self.ranks, settings.wave_arity)).collect();
    }

    /// Whether a wave is on its way.
    pub fn is_gathering(&self) -> bool {
        self.gathering.is_some()
    }

    /// When patience ends.
    pub fn next_wake(&self) -> Option<Duration> {
        self.gathering.as_ref().map(|gathering| gathering.patience_ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_reaches_every_rank_once() {
        for ranks in 1..200 {
            let mut reached: Vec<Rank> = (0..ranks).flat_map(|r| children(Rank(r), ranks, 4)).collect();
            reached.sort_unstable();
            assert_eq!(reached, (1..ranks).map(Rank).collect::<Vec<_>>());
            for rank in (0..ranks).map(Rank) {
                assert!(children(rank, ranks, 4).all(|child| parent(child, 4) == Some(rank)));
            }
        }
    }

    #[test]
    fn heights_fall_from_the_root_to_the_leaves() {
        assert_eq!(height(Rank(0), 1, 8), 0);
        assert_eq!(height(Rank(0), 9, 8), 1);
        assert_eq!(height(Rank(0), 10, 8), 2);
        assert_eq!(height(Rank(2), 10, 8), 0);
    }

    #[test]
    fn a_leaf_has_as_long_as_the_settings_say() {
        let settings = Settings::default();
        let mut waves = Waves::new(Rank(0), 2);
        waves.begin(Duration::ZERO, &settings);
        assert_eq!(waves.next_wake(), Some(settings.wave_patience));
    }

    #[test]
    fn a_silent_rank_is_asked_again_only_after_it_had_time_to_answer() {
        let settings = Settings::default();
        let mut waves = Waves::new(Rank(0), 2);
        let mut now = Duration::ZERO;
        let mut asked = 0;
        while now < settings.wave_patience * 60 {
            asked += waves.begin(now, &settings).1.len();
            while waves.gathered(now).is_none() {
                now += settings.wave_patience / 10;
            }
            now += settings.wave_patience / 100;
        }
        assert!((30..=60).contains(&asked), "asked {asked} times in a minute");
    }
}
