//! What happens in a simulated world, in the order of time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

use super::super::message::{Envelope, Rank};
use super::plan::Trouble;
use super::trees::{Item, Made, Note};

/// A message with its epoch.
pub type Letter = Envelope<Item, Note>;

/// A message on its way.
#[derive(Debug)]
pub struct Post {
    pub from: Rank,
    pub sent: Duration,
    pub letter: Letter,
}

/// Something that happens at a time.
#[derive(Debug)]
pub enum Event {
    /// A message reaches its receiver.
    Arrive(Rank, Box<Post>),
    /// A main thread's turn may be due.
    Turn(Rank),
    /// A worker ends its item.
    Done(Rank, u32),
    /// Sabotage only: what an item made comes after the item left its worker.
    Late(Rank, Box<Made>),
    /// A rank begins the next pass.
    Enter(Rank),
    Trouble(Box<Trouble>),
    WantStop(Rank),
}

/// Events in the order of time; those of one time in the order in which they were planned.
struct Planned {
    time: Duration,
    number: u64,
    event: Event,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.time, self.number).cmp(&(other.time, other.number))
    }
}

/// What is planned to happen.
#[derive(Default)]
pub struct Queue {
    planned: BinaryHeap<Reverse<Planned>>,
    number: u64,
}

impl Queue {
    /// Plans an event.
    pub fn plan(&mut self, time: Duration, event: Event) {
        self.number += 1;
        self.planned.push(Reverse(Planned { time, number: self.number, event }));
    }

    /// The next event and its time.
    pub fn next(&mut self) -> Option<(Duration, Event)> {
        let Reverse(Planned { time, event, .. }) = self.planned.pop()?;
        Some((time, event))
    }
}
