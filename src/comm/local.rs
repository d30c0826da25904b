//! Ranks as threads of one process: the same program without an MPI library, for tests.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Comm;
use crate::fs;
use crate::sched::Rank;

/// One rank's end.
#[derive(Debug)]
pub struct Local {
    rank: Rank,
    shared: Arc<Shared>,
}

/// Messages with their senders, the first to come first.
type Inbox = VecDeque<(Rank, Vec<u8>)>;

#[derive(Debug)]
struct Shared {
    inboxes: Vec<Mutex<Inbox>>,
    gathering: Mutex<Gathering>,
    gathered: Condvar,
}

#[derive(Debug, Default)]
struct Gathering {
    /// Counts the gathers that are complete.
    round: u64,
    parts: Vec<Option<Vec<u8>>>,
    result: Vec<Vec<u8>>,
}

/// The ends of `ranks` ranks, to be moved to a thread each.
pub fn ends(ranks: u32) -> Vec<Local> {
    let parts = vec![None; ranks as usize];
    let shared = Arc::new(Shared {
        inboxes: (0..ranks).map(|_| Mutex::default()).collect(),
        gathering: Mutex::new(Gathering { parts, ..Gathering::default() }),
        gathered: Condvar::new(),
    });
    (0..ranks).map(|rank| Local { rank: Rank(rank), shared: Arc::clone(&shared) }).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Comm for Local {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn ranks(&self) -> u32 {
        u32::try_from(self.shared.inboxes.len()).unwrap_or(u32::MAX)
    }

    fn send(&mut self, to: Rank, bytes: Vec<u8>) {
        if let Some(inbox) = self.shared.inboxes.get(to.0 as usize) {
            lock(inbox).push_back((self.rank, bytes));
        }
    }

    fn receive(&mut self) -> Option<(Rank, Vec<u8>)> {
        lock(self.shared.inboxes.get(self.rank.0 as usize)?).pop_front()
    }

    fn gather(&mut self, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let mut gathering = lock(&self.shared.gathering);
        let round = gathering.round;
        if let Some(part) = gathering.parts.get_mut(self.rank.0 as usize) {
            assert!(part.is_none());
            *part = Some(bytes);
        }
        if gathering.parts.iter().all(Option::is_some) {
            gathering.result = gathering.parts.iter_mut().filter_map(Option::take).collect();
            gathering.round += 1;
            self.shared.gathered.notify_all();
        }
        while gathering.round == round {
            gathering = self.shared.gathered.wait(gathering).unwrap_or_else(PoisonError::into_inner);
        }
        gathering.result.clone()
    }

    fn finish(&mut self) {}

    /// All ranks are threads of this process.
    fn abort(&mut self, code: u8) -> ! {
        fs::leave(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ranks_get_all_parts_in_order_again_and_again() {
        let threads: Vec<_> = ends(5)
            .into_iter()
            .map(|mut end| {
                std::thread::spawn(move || {
                    for round in 0..50u8 {
                        let parts = end.gather(vec![round, end.rank().0 as u8]);
                        let expected: Vec<Vec<u8>> = (0..5).map(|rank| vec![round, rank]).collect();
                        assert_eq!(parts, expected);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
