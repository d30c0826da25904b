//! Lanes: several little worlds of all ranks over one network, each in a thread of its own.
//!
//! MPI belongs to the main thread of a rank. That thread is the pump: it sends what the lanes put into the outbox, and
//! gives each lane what has come for it. A lane is a `Comm` like any other, so a run in it knows nothing of the others.
//!
//! Messages of a lane between two ranks keep their order, as those of the network do. Each ends with a trailer: the
//! lane's number, and what it is. *Data* is what a run sends. *Parts* belong to a gather: they go up a tree of the
//! ranks, and all parts come down it. All ranks of a lane gather in the same order, so the next part from a child, or
//! from the parent, is always that of this gather. An *end* says that its sender begins another story in the lane:
//! whoever has the ends of all others has all their data of the story before, and drops it, as late answers to thieves
//! are no use to the next one.

mod parts;
mod pump;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Comm;
use crate::fs;
use crate::sched::Rank;

pub use pump::pump;

/// A pump that has done nothing for so long is held up itself, by a terminal that takes no progress, say. Shorter than
/// the time after which a vigil forgives a rank that it was held up.
const DEAF_AFTER: Duration = Duration::from_millis(500);

/// A process whose pump can not end the job leaves all the same.
const ABORT_WAIT: Duration = Duration::from_secs(30);

const TRAILER_BYTES: usize = 3;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Data,
    Part,
    End,
}

impl Sort {
    const ALL: [Sort; 3] = [Sort::Data, Sort::Part, Sort::End];
}

/// What the lanes of a rank have in common with its pump.
#[derive(Debug)]
struct Office {
    started: Instant,
    inboxes: Vec<Inbox>,
    outbox: Mutex<Outbox>,
    /// The pump waits here.
    posted: Condvar,
    /// Bytes in the outbox.
    posted_bytes: AtomicUsize,
    /// Bytes that the network has not taken.
    unsent_bytes: AtomicUsize,
    /// When the pump last had a turn, in milliseconds.
    turned: AtomicU64,
}

#[derive(Debug)]
struct Outbox {
    letters: VecDeque<(Rank, Vec<u8>)>,
    /// Lanes that have not ended.
    lanes: u32,
    /// The job is to end now.
    abort: Option<u8>,
}

#[derive(Debug)]
struct Inbox {
    arrived: Mutex<Arrived>,
    /// The lane waits here.
    any: Condvar,
}

#[derive(Debug)]
struct Arrived {
    /// With the sender's story.
    data: VecDeque<(u64, Rank, Vec<u8>)>,
    /// Of each rank.
    parts: Vec<VecDeque<Vec<u8>>>,
    /// Stories that each rank has ended.
    ends: Vec<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Office {
    fn new(lanes: u16, ranks: u32) -> Self {
        let arrived = || Arrived {
            data: VecDeque::new(),
            parts: vec![VecDeque::new(); ranks as usize],
            ends: vec![0; ranks as usize],
        };
        let inbox = |_| Inbox { arrived: Mutex::new(arrived()), any: Condvar::new() };
        Self {
            started: Instant::now(),
            inboxes: (0..lanes).map(inbox).collect(),
            outbox: Mutex::new(Outbox { letters: VecDeque::new(), lanes: u32::from(lanes), abort: None }),
            posted: Condvar::new(),
            posted_bytes: AtomicUsize::new(0),
            unsent_bytes: AtomicUsize::new(0),
            turned: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_deaf(&self) -> bool {
        let unheard = self.now().saturating_sub(self.turned.load(Ordering::Relaxed));
        Duration::from_millis(unheard) > DEAF_AFTER
    }
}

/// One rank's end of a lane.
#[derive(Debug)]
pub struct Lane {
    number: u16,
    rank: Rank,
    ranks: u32,
    office: Arc<Office>,
    /// Stories that were ended here.
    story: u64,
}

/// What `pump` works on.
#[derive(Debug)]
pub struct Pump {
    office: Arc<Office>,
}

/// The ends of `lanes` lanes on this rank, each to be moved to a thread of its own, and what the main thread pumps.
pub fn ends(comm: &dyn Comm, lanes: u16) -> (Vec<Lane>, Pump) {
    let (rank, ranks) = (comm.rank(), comm.ranks());
    let office = Arc::new(Office::new(lanes, ranks));
    let lane = |number| Lane { number, rank, ranks, office: Arc::clone(&office), story: 0 };
    ((0..lanes).map(lane).collect(), Pump { office })
}

impl Lane {
    /// Its number, from 0.
    pub fn number(&self) -> u16 {
        self.number
    }

    fn inbox(&self) -> &Inbox {
        // There is one for each lane.
        #[allow(clippy::indexing_slicing)]
        &self.office.inboxes[usize::from(self.number)]
    }

    fn post(&self, to: Rank, sort: Sort, mut bytes: Vec<u8>) {
        if to == self.rank {
            return deliver(self.inbox(), self.rank, sort, bytes);
        }
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.push(sort as u8);
        self.office.posted_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        lock(&self.office.outbox).letters.push_back((to, bytes));
        self.office.posted.notify_one();
    }

    /// Waits for what `look` finds among what has arrived.
    fn wait<T>(&self, mut look: impl FnMut(&mut Arrived) -> Option<T>) -> T {
        let inbox = self.inbox();
        let mut arrived = lock(&inbox.arrived);
        loop {
            if let Some(found) = look(&mut arrived) {
                return found;
            }
            arrived = inbox.any.wait(arrived).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn next_part(&self, from: Rank) -> Vec<u8> {
        self.wait(|arrived| arrived.parts.get_mut(from.0 as usize)?.pop_front())
    }

    /// Between two stories: nothing that was sent in the first is heard in the second. All ranks call it.
    pub fn end_story(&mut self) {
        self.story += 1;
        for rank in (0..self.ranks).map(Rank) {
            self.post(rank, Sort::End, Vec::new());
        }
        let story = self.story;
        self.wait(|arrived| arrived.ends.iter().all(|&ended| ended >= story).then_some(()));
        lock(&self.inbox().arrived).data.retain(|(of, ..)| *of >= story);
    }

    /// The lane is needed no more on this rank: the pump ends when all are.
    pub fn close(self) {
        lock(&self.office.outbox).lanes -= 1;
        self.office.posted.notify_one();
    }
}

fn deliver(inbox: &Inbox, from: Rank, sort: Sort, bytes: Vec<u8>) {
    let mut arrived = lock(&inbox.arrived);
    let place = from.0 as usize;
    let story = arrived.ends.get(place).copied().unwrap_or(0);
    match sort {
        Sort::Data => arrived.data.push_back((story, from, bytes)),
        Sort::Part => arrived.parts.get_mut(place).into_iter().for_each(|parts| parts.push_back(bytes.clone())),
        Sort::End => arrived.ends.get_mut(place).into_iter().for_each(|ended| *ended += 1),
    }
    drop(arrived);
    inbox.any.notify_all();
}

impl Comm for Lane {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn ranks(&self) -> u32 {
        self.ranks
    }

    fn send(&mut self, to: Rank, bytes: Vec<u8>) {
        self.post(to, Sort::Data, bytes);
    }

    /// Of all lanes: what one of them has in the network can not be told apart.
    fn unsent(&self) -> usize {
        self.office.posted_bytes.load(Ordering::Relaxed) + self.office.unsent_bytes.load(Ordering::Relaxed)
    }

    /// While the pump is held up so is the lane: what nobody took out of the network must not be taken for the silence
    /// of another rank.
    fn receive(&mut self) -> Option<(Rank, Vec<u8>)> {
        while self.ranks > 1 && self.office.is_deaf() {
            std::thread::sleep(Duration::from_millis(5));
        }
        lock(&self.inbox().arrived).data.pop_front().map(|(_, from, bytes)| (from, bytes))
    }

    fn gather(&mut self, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let mut all = parts::one(self.rank, &bytes);
        for child in parts::children(self.rank, self.ranks) {
            all.append(&mut self.next_part(child));
        }
        if let Some(parent) = parts::parent(self.rank) {
            self.post(parent, Sort::Part, all);
            all = self.next_part(parent);
        }
        for child in parts::children(self.rank, self.ranks) {
            self.post(child, Sort::Part, all.clone());
        }
        parts::apart(&all, self.ranks)
    }

    /// What is left of a story goes with `end_story`: a run that was refused ends no other way.
    fn finish(&mut self) {}

    fn abort(&mut self, code: u8) -> ! {
        lock(&self.office.outbox).abort.get_or_insert(code);
        self.office.posted.notify_one();
        std::thread::sleep(ABORT_WAIT);
        fs::leave(code)
    }
}

#[cfg(test)]
mod tests;
