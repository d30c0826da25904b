//! How long ranks have been silent: what tells rank 0 that one is lost, and the others that rank 0 is.

use std::collections::BTreeMap;
use std::time::Duration;

use super::message::{Rank, Report};

/// Others than rank 0 wait so much longer, so that rank 0 speaks first if it can: it knows who is silent.
pub const ROOT_SPEAKS_FIRST: Duration = Duration::from_secs(60);

/// A rank that did not look for so long was stopped itself, and that time does not count.
const LOOKS_AWAY_AFTER: Duration = Duration::from_secs(1);

/// So long it then takes in what others said meanwhile, before it calls any of them lost. Less with a shorter
/// timeout, as a rank that speaks does so in each wave.
const LISTENS_FIRST: Duration = Duration::from_secs(10);

/// Who was silent for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// The silent rank.
    pub rank: Rank,
    /// For how long.
    pub silence: Duration,
}

/// One rank's watch over the others during a pass.
#[derive(Debug)]
pub struct Vigil {
    me: Rank,
    ranks: u32,
    timeout: Duration,
    last_look: Duration,
    /// Nobody is called lost before.
    judges_from: Duration,
    /// Rank 0: since when ranks are silent.
    silent_since: BTreeMap<Rank, Duration>,
    /// Others: when the last wave came.
    last_wave: Duration,
}

impl Vigil {
    /// A watch that calls a rank lost that has been silent for `timeout`.
    pub fn new(me: Rank, ranks: u32, timeout: Duration) -> Self {
        let (never, silent_since) = (Duration::ZERO, BTreeMap::new());
        Self { me, ranks, timeout, last_look: never, judges_from: never, silent_since, last_wave: never }
    }

    /// A pass begins: between passes nobody listens, so silence counts from now.
    pub fn begin(&mut self, now: Duration) {
        self.last_look = now;
        self.last_wave = now;
        self.silent_since.clear();
    }

    /// A wave came from rank 0, or by way of others.
    pub fn hear_wave(&mut self, now: Duration) {
        self.wake(now);
        self.last_wave = now;
    }

    /// Rank 0: a wave has ended.
    pub fn hear_report(&mut self, now: Duration, report: &Report) {
        self.wake(now);
        // An inner rank that did not answer can not say who below it is silent still.
        let accounts_for_all = report.ranks as usize + report.silent.len() >= self.ranks as usize;
        if accounts_for_all {
            self.silent_since.retain(|rank, _| report.silent.contains(rank));
        }
        for &rank in &report.silent {
            self.silent_since.entry(rank).or_insert(now);
        }
    }

    /// Looks at the clock: call it in every turn. Returns who is lost.
    pub fn look(&mut self, now: Duration) -> Option<Lost> {
        self.wake(now);
        if now < self.judges_from {
            return None;
        }
        let (rank, since, timeout) = if self.me == Rank::ROOT {
            let (&rank, &since) = self.silent_since.iter().min_by_key(|(_, since)| **since)?;
            (rank, since, self.timeout)
        } else {
            (Rank::ROOT, self.last_wave, self.timeout.saturating_add(ROOT_SPEAKS_FIRST))
        };
        let silence = now.saturating_sub(since);
        (silence >= timeout).then_some(Lost { rank, silence })
    }

    /// Before anything else in a turn: the time in which this rank was stopped is left out.
    fn wake(&mut self, now: Duration) {
        let away = now.saturating_sub(self.last_look);
        if away > LOOKS_AWAY_AFTER {
            self.silent_since.values_mut().for_each(|since| *since += away);
            self.last_wave += away;
            self.judges_from = now + LISTENS_FIRST.min(self.timeout);
        }
        self.last_look = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(600);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A wave that all answered but these.
    fn silent(ranks: &[u32]) -> Report {
        let silent: Vec<Rank> = ranks.iter().copied().map(Rank).collect();
        Report { ranks: 8 - silent.len() as u32, silent, ..Report::default() }
    }

    /// Looks each half second, with such a report each second; returns when a rank was lost, and which.
    fn watched(vigil: &mut Vigil, from: u64, to: u64, report: &Report) -> Option<(u64, Rank)> {
        (from..to).find_map(|second| {
            vigil.hear_report(seconds(second), report);
            let halves = [seconds(second), seconds(second) + Duration::from_millis(500)];
            halves.into_iter().find_map(|now| vigil.look(now)).map(|lost| (second, lost.rank))
        })
    }

    fn root() -> Vigil {
        let mut vigil = Vigil::new(Rank::ROOT, 8, TIMEOUT);
        vigil.begin(Duration::ZERO);
        vigil
    }

    #[test]
    fn a_rank_that_is_silent_for_the_timeout_is_lost_and_not_sooner() {
        assert_eq!(watched(&mut root(), 0, 600, &silent(&[5])), None);
        assert_eq!(watched(&mut root(), 0, 700, &silent(&[5])), Some((600, Rank(5))));
    }

    #[test]
    fn a_rank_that_speaks_now_and_then_is_not_lost() {
        let mut vigil = root();
        for turn in 0..10 {
            assert_eq!(watched(&mut vigil, turn * 500, turn * 500 + 499, &silent(&[5])), None);
            assert_eq!(watched(&mut vigil, turn * 500 + 499, turn * 500 + 500, &silent(&[])), None);
        }
    }

    #[test]
    fn a_silent_rank_is_not_forgotten_for_a_wave_in_which_its_parent_said_nothing() {
        let mut vigil = root();
        assert_eq!(watched(&mut vigil, 0, 400, &silent(&[5])), None);
        // Rank 1 did not answer, and so nobody speaks of rank 5 below it.
        let partial = Report { ranks: 5, silent: vec![Rank(1)], ..Report::default() };
        assert_eq!(watched(&mut vigil, 400, 401, &partial), None);
        assert_eq!(watched(&mut vigil, 401, 700, &silent(&[5])), Some((600, Rank(5))));
    }

    #[test]
    fn rank_0_hears_the_others_again_before_it_calls_them_lost_after_a_stop_of_its_own() {
        let mut vigil = root();
        assert_eq!(watched(&mut vigil, 0, 599, &silent(&[5])), None);
        // Stopped for an hour; the first wave ends before any answer was taken in.
        assert_eq!(watched(&mut vigil, 4200, 4203, &silent(&[1, 2, 3, 4, 5, 6, 7])), None);
        assert_eq!(watched(&mut vigil, 4203, 9000, &silent(&[])), None);
    }

    #[test]
    fn a_rank_0_that_sleeps_now_and_then_finds_a_silent_rank_all_the_same() {
        let mut vigil = root();
        let minute = |vigil: &mut Vigil, minute: u64| watched(vigil, minute * 60, minute * 60 + 57, &silent(&[5]));
        let lost = (0..20).find_map(|turn| minute(&mut vigil, turn));
        assert!(matches!(lost, Some((600..700, Rank(5)))), "{lost:?}");
    }

    #[test]
    fn a_rank_without_waves_is_alone_a_minute_later() {
        let mut vigil = Vigil::new(Rank(3), 8, TIMEOUT);
        vigil.begin(seconds(50));
        vigil.hear_wave(seconds(50));
        let halves = || (100..2000).map(|half| Duration::from_millis(500 * half));
        let lost = halves().find_map(|now| vigil.look(now)).unwrap();
        assert_eq!(lost, Lost { rank: Rank::ROOT, silence: TIMEOUT + ROOT_SPEAKS_FIRST });
    }

    #[test]
    fn a_rank_that_was_stopped_itself_waits_for_the_next_wave() {
        let mut vigil = Vigil::new(Rank(3), 8, TIMEOUT);
        vigil.begin(Duration::ZERO);
        assert_eq!(vigil.look(seconds(1)), None);
        assert_eq!(vigil.look(seconds(7200)), None);
        vigil.hear_wave(seconds(7201));
        assert_eq!(vigil.look(seconds(7201)), None);
        // Stopped once more, and the next wave is the first that it finds: the last of all.
        vigil.hear_wave(seconds(20_000));
        let lost = (20_000..22_000).find(|&second| vigil.look(seconds(second)).is_some());
        assert_eq!(lost, Some(20_660));
    }
}
