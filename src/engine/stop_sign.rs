//! What asks a rank from outside to stop early: a signal at once, a deadline when it has come.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::sched::Stop;

/// Seen by the rank's main thread, shown by others: the thread that waits for signals, and the one that asks
/// Slurm for the end of the job.
#[derive(Debug, Clone, Default)]
pub struct StopSign(Arc<Mutex<Wishes>>);

#[derive(Debug, Default)]
struct Wishes {
    at_once: Option<Stop>,
    /// Rank 0 alone has one: ranks that went by clocks of their own would not agree.
    deadline: Option<Timestamp>,
}

impl StopSign {
    /// Asks for a stop at once.
    pub fn want(&self, stop: Stop) {
        let mut wishes = self.lock();
        wishes.at_once = wishes.at_once.max(Some(stop));
    }

    /// Asks for a stop at a time. Of several times the first counts.
    pub fn want_at(&self, time: Timestamp) {
        let mut wishes = self.lock();
        wishes.deadline = Some(wishes.deadline.map_or(time, |before| before.min(time)));
    }

    /// The stop that is asked for by now.
    pub fn wanted(&self, now: Timestamp) -> Option<Stop> {
        let wishes = self.lock();
        let is_late = wishes.deadline.is_some_and(|deadline| now >= deadline);
        wishes.at_once.max(is_late.then_some(Stop::Time))
    }

    /// When the run is to stop by itself, if that is known.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.lock().deadline
    }

    fn lock(&self) -> MutexGuard<'_, Wishes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_deadline_stops_when_it_has_come_and_the_first_of_two_counts() {
        let sign = StopSign::default();
        assert_eq!(sign.wanted(at(i64::from(u32::MAX))), None);
        sign.want_at(at(100));
        sign.want_at(at(200));
        assert_eq!([99, 100, 300].map(|now| sign.wanted(at(now))), [None, Some(Stop::Time), Some(Stop::Time)]);
        sign.want_at(at(50));
        assert_eq!(sign.wanted(at(50)), Some(Stop::Time));
        assert_eq!((sign.deadline(), StopSign::default().deadline()), (Some(at(50)), None));
    }

    #[test]
    fn of_several_wishes_the_larger_counts_whatever_came_first() {
        for order in [[Stop::Signal, Stop::Time], [Stop::Time, Stop::Signal]] {
            let sign = StopSign::default();
            sign.want_at(at(10));
            order.iter().for_each(|&stop| sign.clone().want(stop));
            assert_eq!(sign.wanted(at(20)), Some(Stop::Signal));
        }
    }
}
