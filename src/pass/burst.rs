//! When failures come so thick that the roots themselves are in doubt. Pure, with the time as a parameter.

use std::collections::VecDeque;
use std::time::Duration;

/// So many failures of servers within `WITHIN` put the roots in doubt.
const COUNT: usize = 32;
const WITHIN: Duration = Duration::from_secs(10);

/// After a proof of the roots failures prove nothing new for so long.
const PROVEN_FOR: Duration = Duration::from_secs(60);

/// The last failures, and when the roots were last proven.
#[derive(Debug, Default)]
pub struct Burst {
    failures: VecDeque<Duration>,
    proven: Option<Duration>,
}

impl Burst {
    /// Hears of a failure. Returns whether the roots are to be proven now, by whoever asks: nobody else is told
    /// so for a while.
    pub fn hear(&mut self, now: Duration) -> bool {
        if self.proven.is_some_and(|proven| now < proven + PROVEN_FOR) {
            return false;
        }
        self.failures.push_back(now);
        while self.failures.front().is_some_and(|first| *first + WITHIN < now) {
            self.failures.pop_front();
        }
        let is_burst = self.failures.len() >= COUNT;
        if is_burst {
            self.failures.clear();
            self.proven = Some(now);
        }
        is_burst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When the roots were to be proven, of failures so many milliseconds apart.
    fn proofs(apart: u64, failures: u64) -> Vec<u64> {
        let mut burst = Burst::default();
        let times = (0..failures).map(|number| number * apart);
        times.filter(|&time| burst.hear(Duration::from_millis(time))).collect()
    }

    #[test]
    fn failures_that_come_thick_put_the_roots_in_doubt() {
        assert_eq!(proofs(1, 31), [0; 0]);
        assert_eq!(proofs(1, 32), [31]);
        assert_eq!(proofs(300, 32), [9_300]);
    }

    #[test]
    fn failures_that_come_now_and_then_do_not() {
        assert_eq!(proofs(400, 10_000), [0; 0]);
    }

    #[test]
    fn roots_that_were_proven_are_not_for_a_minute() {
        assert_eq!(proofs(100, 700), [3_100, 66_200]);
    }
}
