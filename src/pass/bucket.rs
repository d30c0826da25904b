//! A bucket of tokens: pure, with the time as a parameter.

use std::time::Duration;

/// What may be used at once after a pause: that of a tenth of a second.
const SAVED_MAX: Duration = Duration::from_millis(100);

const NANOSECONDS: i128 = 1_000_000_000;

/// A bucket of tokens. Who needs some asks, and goes when all that was asked for up to then is there:
/// first come, first served, and never more than the rate allows.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Tokens a second.
    rate: u64,
    /// All that came in, in billionths of a token. Beyond what was asked for only little is saved.
    supplied: i128,
    /// All that was asked for, likewise.
    asked: i128,
    filled: Duration,
}

/// A place in the line.
#[derive(Debug, Clone, Copy)]
pub struct Ticket(i128);

impl Bucket {
    /// An empty bucket.
    pub fn new(rate: u64) -> Self {
        Self { rate, supplied: 0, asked: 0, filled: Duration::ZERO }
    }

    /// Tokens a second.
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// From now on so many tokens a second come in.
    pub fn set_rate(&mut self, now: Duration, rate: u64) {
        self.fill(now);
        self.rate = rate;
        self.save_little();
    }

    /// Asks for tokens.
    pub fn ask(&mut self, now: Duration, tokens: u64) -> Ticket {
        self.fill(now);
        self.asked += i128::from(tokens) * NANOSECONDS;
        Ticket(self.asked)
    }

    /// Whether they are there, or how long that takes at this rate.
    pub fn is_due(&mut self, now: Duration, Ticket(place): Ticket) -> Result<(), Duration> {
        self.fill(now);
        let missing = place - self.supplied;
        if missing <= 0 {
            return Ok(());
        }
        let nanoseconds = missing.checked_div(i128::from(self.rate)).map(|time| time + 1);
        Err(nanoseconds.and_then(|time| u64::try_from(time).ok()).map_or(Duration::MAX, Duration::from_nanos))
    }

    /// Puts tokens back that were not used.
    pub fn give_back(&mut self, now: Duration, tokens: u64) {
        self.fill(now);
        self.supplied += i128::from(tokens) * NANOSECONDS;
        self.save_little();
    }

    fn save_little(&mut self) {
        let saved_max = i128::from(self.rate) * i128::try_from(SAVED_MAX.as_nanos()).unwrap_or(0);
        self.supplied = self.supplied.min(self.asked + saved_max);
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled);
        self.filled = self.filled.max(now);
        self.supplied += i128::from(self.rate) * i128::try_from(passed.as_nanos()).unwrap_or(i128::from(u64::MAX));
        self.save_little();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NANOSECONDS: u128 = 1_000_000_000;

    proptest! {
        #[test]
        fn never_more_than_the_rate_and_a_tenth_of_a_second(
            rate in 1u64..1 << 40,
            steps in proptest::collection::vec((0u64..500_000_000, 1u64..1 << 30), 1..100),
        ) {
            let mut bucket = Bucket::new(rate);
            let (mut now, mut taken, mut line) = (Duration::ZERO, 0u128, Vec::new());
            for (pause, tokens) in steps {
                now += Duration::from_nanos(pause);
                line.push((bucket.ask(now, tokens), tokens));
                line.retain(|&(ticket, tokens)| {
                    let goes = bucket.is_due(now, ticket).is_ok();
                    taken += if goes { u128::from(tokens) } else { 0 };
                    !goes
                });
                let allowed = u128::from(rate) * (now.as_nanos() + NANOSECONDS / 10) / NANOSECONDS;
                prop_assert!(taken <= allowed + 1, "{} taken, {} allowed", taken, allowed);
            }
        }

        #[test]
        fn after_the_wait_there_are_tokens(rate in 1u64..1 << 40, tokens in 1u64..1 << 40) {
            let mut bucket = Bucket::new(rate);
            let ticket = bucket.ask(Duration::ZERO, tokens);
            let wait = bucket.is_due(Duration::ZERO, ticket).unwrap_err();
            prop_assert!(bucket.is_due(wait, ticket).is_ok());
        }

        #[test]
        fn who_never_pauses_gets_the_whole_rate(rate in 1_000u64..1 << 30, helping in 1u64..5_000) {
            let (mut bucket, mut now, mut taken) = (Bucket::new(rate), Duration::ZERO, 0);
            for _ in 0..200 {
                let ticket = bucket.ask(now, helping);
                while let Err(wait) = bucket.is_due(now, ticket) {
                    now += wait;
                }
                taken += u128::from(helping);
            }
            let allowed = u128::from(rate) * now.as_nanos() / NANOSECONDS;
            prop_assert!(taken + u128::from(helping) >= allowed.saturating_sub(200));
        }

        #[test]
        fn first_come_first_served(rate in 1u64..1 << 30, helpings in proptest::collection::vec(1u64..1 << 20, 2..20), at in 0u64..10_000) {
            let mut bucket = Bucket::new(rate);
            let line: Vec<Ticket> = helpings.iter().map(|&tokens| bucket.ask(Duration::ZERO, tokens)).collect();
            let due: Vec<bool> = line.iter().map(|&ticket| bucket.is_due(Duration::from_millis(at), ticket).is_ok()).collect();
            prop_assert!(due.is_sorted_by(|earlier, later| earlier >= later));
        }
    }

    #[test]
    fn a_rate_of_nothing_waits_until_there_is_one() {
        let mut bucket = Bucket::new(0);
        let ticket = bucket.ask(Duration::from_secs(9), 1);
        assert_eq!(bucket.is_due(Duration::from_secs(9), ticket), Err(Duration::MAX));
        bucket.set_rate(Duration::from_secs(10), 100);
        assert!(bucket.is_due(Duration::from_secs(10), ticket).is_err(), "what was not there before is not saved up");
        assert!(bucket.is_due(Duration::from_secs(11), ticket).is_ok());
    }

    #[test]
    fn what_was_saved_goes_with_the_rate() {
        let mut bucket = Bucket::new(1_000_000);
        bucket.set_rate(Duration::from_secs(5), 0);
        let ticket = bucket.ask(Duration::from_secs(5), 1);
        assert!(bucket.is_due(Duration::from_secs(5), ticket).is_err());
    }
}
