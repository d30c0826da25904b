//! What several engines of one process share, one in each lane: permits to work, and what the job may use a second.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::pass::limits::Rates;

/// So long a worker keeps its permit from item to item while others wait: to pass it on costs as much as a small file.
const SLICE: Duration = Duration::from_millis(5);

/// What the lanes of a rank share.
#[derive(Debug)]
pub struct Company {
    /// Of their workers.
    pub permits: Permits,
    limits: Rates,
    lanes: AtomicU32,
}

impl Company {
    /// So many lanes, whose workers may run so many at one time, in a job that may use so much.
    pub fn new(threads: u32, lanes: u32, limits: Rates) -> Self {
        Self { permits: Permits::new(threads), limits, lanes: AtomicU32::new(lanes) }
    }

    /// Lanes that may still begin something.
    pub fn lanes(&self) -> u32 {
        self.lanes.load(Ordering::Relaxed).max(1)
    }

    /// A lane has ended: the others have its part.
    pub fn leave(&self) {
        self.lanes.fetch_sub(1, Ordering::Relaxed);
    }

    /// What all ranks together may use in one lane. It only grows while the job goes on: lanes end, and none begins.
    pub fn part(&self) -> Rates {
        part_of(self.limits, self.lanes())
    }
}

/// The part that each of so many lanes has of what the job may use.
pub fn part_of(limits: Rates, lanes: u32) -> Rates {
    let part = |limit: u64| if limit == u64::MAX { limit } else { (limit / u64::from(lanes.max(1))).max(1) };
    Rates { bytes: part(limits.bytes), operations: part(limits.operations) }
}

/// A bounded number of permits, given in the order in which they were asked for.
#[derive(Debug)]
pub struct Permits(Mutex<State>);

#[derive(Debug)]
struct State {
    /// More may be taken than there are, when lent ones were given back to those who lent them.
    free: i64,
    line: VecDeque<Arc<Waiter>>,
}

#[derive(Debug)]
struct Waiter {
    thread: Thread,
    has_permit: AtomicBool,
}

/// A permit that was taken. It must be given back.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    since: Instant,
}

impl Permits {
    /// So many.
    pub fn new(permits: u32) -> Self {
        Self(Mutex::new(State { free: i64::from(permits), line: VecDeque::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A permit, if one is free and nobody waits for it.
    pub fn take_free(&self) -> Option<Permit> {
        let mut state = self.lock();
        if state.free <= 0 || !state.line.is_empty() {
            return None;
        }
        state.free -= 1;
        Some(Permit { since: Instant::now() })
    }

    /// Waits in the line for a permit.
    pub fn wait(&self) -> Permit {
        let waiter = Arc::new(Waiter { thread: std::thread::current(), has_permit: AtomicBool::new(false) });
        {
            let mut state = self.lock();
            state.line.push_back(Arc::clone(&waiter));
            state.serve();
        }
        while !waiter.has_permit.load(Ordering::Acquire) {
            std::thread::park();
        }
        Permit { since: Instant::now() }
    }

    /// Gives a permit back.
    pub fn give_back(&self, _: Permit) {
        self.add(1);
    }

    /// There are so many more, or fewer, from now on.
    pub fn add(&self, permits: i64) {
        let mut state = self.lock();
        state.free += permits;
        state.serve();
    }

    /// Whether a worker that has more to do is to pass its permit on first.
    pub fn is_due(&self, permit: &Permit) -> bool {
        permit.since.elapsed() >= SLICE && !self.lock().line.is_empty()
    }
}

impl State {
    fn serve(&mut self) {
        while self.free > 0 {
            let Some(first) = self.line.pop_front() else { return };
            self.free -= 1;
            first.has_permit.store(true, Ordering::Release);
            first.thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_work_at_one_time_than_there_are_permits_and_none_is_lost() {
        let (permits, working, most) = (Permits::new(3), AtomicU32::new(0), AtomicU32::new(0));
        let work = || {
            for _ in 0..200 {
                let permit = permits.take_free().unwrap_or_else(|| permits.wait());
                most.fetch_max(working.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                working.fetch_sub(1, Ordering::SeqCst);
                permits.give_back(permit);
            }
        };
        std::thread::scope(|scope| (0..16).for_each(|_| drop(scope.spawn(work))));
        assert!((1..=3).contains(&most.into_inner()));
        assert_eq!(permits.lock().free, 3);
    }

    #[test]
    fn who_waits_is_served_before_who_comes_later_and_a_lent_permit_serves_too() {
        let permits = Permits::new(1);
        let first = permits.take_free().unwrap();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| permits.wait());
            while permits.lock().line.is_empty() {
                std::thread::yield_now();
            }
            assert!(permits.take_free().is_none());
            permits.add(1);
            permits.give_back(waits.join().unwrap());
            permits.add(-1);
        });
        assert!(permits.take_free().is_none(), "what was lent is gone again");
        permits.give_back(first);
        assert!(permits.take_free().is_some());
    }

    #[test]
    fn lanes_that_end_leave_their_part_to_the_others() {
        let company = Company::new(1, 4, Rates { bytes: 1000, operations: u64::MAX });
        assert_eq!(company.part(), Rates { bytes: 250, operations: u64::MAX });
        (0..3).for_each(|_| company.leave());
        assert_eq!(company.part().bytes, 1000);
    }
}
