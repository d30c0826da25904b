//! Whom a rank asks for work, and when.

use std::collections::BTreeSet;
use std::time::Duration;

use super::message::Rank;
use super::random::Random;
use super::settings::Settings;
use super::wave::parent;

/// A steal request that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Request {
    number: u64,
    victim: Rank,
    asked: Duration,
    wait: Duration,
}

/// A request to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Whom.
    pub victim: Rank,
    /// Number of the request.
    pub request: u64,
    /// So long it may take to find something.
    pub wait: Duration,
}

/// Whom to ask before anyone at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Promising {
    /// At the beginning of a pass the items come from rank 0: ask the parent in the wave's tree,
    /// so that they flow down it.
    Parent,
    /// Who gave last may have more.
    Giver(Rank),
    /// Nobody in particular.
    Nobody,
}

/// The asking half of the stealing protocol: at most one live request, patience with refusals.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, Hash))]
pub struct Thief {
    me: Rank,
    ranks: u32,
    /// Other ranks on this node: asked first, their answer costs no network.
    neighbours: Vec<Rank>,
    /// Victims that let a request run out; passed over until they speak.
    passed_over: BTreeSet<Rank>,
    promising: Promising,
    live: Option<Request>,
    number: u64,
    refusals_in_a_row: u32,
    not_before: Duration,
    random: Random,
}

impl Thief {
    /// A thief that has asked nobody yet.
    pub fn new(me: Rank, ranks: u32, neighbours: Vec<Rank>, seed: u64) -> Self {
        assert!(me.0 < ranks);
        assert!(!neighbours.contains(&me));
        Self {
            me,
            ranks,
            neighbours,
            passed_over: BTreeSet::new(),
            promising: Promising::Nobody,
            live: None,
            number: 0,
            refusals_in_a_row: 0,
            not_before: Duration::ZERO,
            random: Random::new(seed ^ (u64::from(me.0) << 32)),
        }
    }

    /// Forgets requests of the pass that ended; who was silent stays known.
    pub fn enter_epoch(&mut self, now: Duration) {
        self.live = None;
        self.refusals_in_a_row = 0;
        self.not_before = now;
        self.promising = Promising::Parent;
    }

    /// Chooses a victim and takes note of the request; `None` while one is live or it is too soon.
    pub fn ask(&mut self, now: Duration, settings: &Settings) -> Option<Ask> {
        if self.live.is_some() || now < self.not_before || self.ranks == 1 {
            return None;
        }
        let Some((victim, wait)) = self.promising(settings).or_else(|| Some((self.choose()?, self.wait(settings))))
        else {
            // All are passed over. Without a pause the rank would be woken again and again.
            self.not_before = now + settings.line_wait_max;
            return None;
        };
        self.number += 1;
        self.live = Some(Request { number: self.number, victim, asked: now, wait });
        Some(Ask { victim, request: self.number, wait })
    }

    /// The promising victim and how long to wait there, once.
    fn promising(&mut self, settings: &Settings) -> Option<(Rank, Duration)> {
        let (victim, wait) = match std::mem::replace(&mut self.promising, Promising::Nobody) {
            Promising::Parent => (parent(self.me, settings.wave_arity)?, settings.line_wait_max),
            Promising::Giver(giver) => (giver, self.wait(settings)),
            Promising::Nobody => return None,
        };
        (!self.passed_over.contains(&victim)).then_some((victim, wait.min(settings.steal_wait / 2)))
    }

    /// How long to wait in a victim's line: longer after each refusal.
    fn wait(&self, settings: &Settings) -> Duration {
        let wait = settings.line_wait_min * 2u32.pow(self.refusals_in_a_row.min(16));
        wait.min(settings.line_wait_max).min(settings.steal_wait / 2)
    }

    /// Alternates between the own node and all ranks, so that a hungry node looks outside at once.
    fn choose(&mut self) -> Option<Rank> {
        let near = self.refusals_in_a_row.is_multiple_of(2) && !self.neighbours.is_empty();
        if near && let Some(victim) = self.choose_near() {
            return Some(victim);
        }
        let others = u64::from(self.ranks - 1);
        let tries_max = 8;
        for _ in 0..tries_max {
            let n = u32::try_from(self.random.below(others)).ok()?;
            let victim = Rank(if n >= self.me.0 { n + 1 } else { n });
            if !self.passed_over.contains(&victim) {
                return Some(victim);
            }
        }
        None
    }

    fn choose_near(&mut self) -> Option<Rank> {
        let count = self.neighbours.len() as u64;
        let start = usize::try_from(self.random.below(count)).ok()?;
        let (tail, head) = self.neighbours.split_at(start);
        head.iter().chain(tail).find(|rank| !self.passed_over.contains(rank)).copied()
    }

    /// Any message of `from` shows that it lives.
    pub fn heard(&mut self, from: Rank) {
        self.passed_over.remove(&from);
    }

    /// Loot came, in time or late: it is taken in any case, so ask again soon.
    pub fn looted(&mut self, now: Duration, from: Rank, request: u64) {
        if self.live.is_some_and(|live| live.number == request) {
            self.live = None;
        }
        self.refusals_in_a_row = 0;
        self.not_before = now;
        self.promising = Promising::Giver(from);
    }

    /// A refusal: be more patient each time. One to a request already written off says nothing new.
    pub fn refused(&mut self, request: u64) {
        let Some(live) = self.live.take_if(|live| live.number == request) else {
            return;
        };
        self.refusals_in_a_row += 1;
        // A victim that could not wait must not be the reason to ask the next one sooner.
        self.not_before = live.asked + live.wait;
    }

    /// Writes a request off that was not answered in time.
    pub fn tick(&mut self, now: Duration, settings: &Settings) {
        if let Some(live) = self.live
            && now >= live.asked + settings.steal_wait
        {
            self.passed_over.insert(live.victim);
            self.live = None;
            self.refusals_in_a_row += 1;
        }
    }

    /// When `ask` or `tick` will have something to do, if work is wanted.
    pub fn next_wake(&self, settings: &Settings) -> Option<Duration> {
        if self.ranks == 1 {
            return None;
        }
        Some(self.live.map_or(self.not_before, |live| live.asked + settings.steal_wait))
    }

    /// Live requests: 0 or 1.
    pub fn live_requests(&self) -> usize {
        usize::from(self.live.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_nobody_left_to_ask_it_sleeps() {
        let settings = Settings::default();
        let mut thief = Thief::new(Rank(0), 2, Vec::new(), 1);
        assert!(thief.ask(Duration::ZERO, &settings).is_some());
        let now = settings.steal_wait;
        thief.tick(now, &settings);
        assert_eq!(thief.ask(now, &settings), None);
        let wake = thief.next_wake(&settings);
        assert!(wake > Some(now), "it would be woken again and again");
        thief.heard(Rank(1));
        assert!(wake.is_some_and(|wake| thief.ask(wake, &settings).is_some()), "the victim lives");
    }
}
