//! What must hold at every step, told without a look into the scheduler: the books of all items.

use std::fmt;
use std::time::Duration;

use super::super::message::Rank;
use super::bag::{Loot, Move};
use super::trees::Item;

/// A rule that was broken.
#[derive(Debug)]
pub struct Violation(pub String);

/// What a checker says.
pub type Check = Result<(), Violation>;

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns a violation unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err($crate::sched::sim::checkers::Violation(format!($($what)+)));
        }
    };
}
pub(super) use ensure;

/// Where an item is. It is in one place only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Unborn,
    /// Made by an item or a note, and not yet in a bag.
    Made,
    Bag(Rank),
    Worker(Rank),
    Flight,
    Done,
}

/// How many items and notes of an epoch are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Amounts {
    pub made: u64,
    pub bagged: u64,
    pub working: u64,
    pub flying: u64,
    pub done: u64,
    /// Notes told and not yet taken in.
    pub notes: u64,
}

impl Amounts {
    /// Items and notes that are still to be done.
    pub fn open(&self) -> u64 {
        self.made + self.bagged + self.working + self.flying + self.notes
    }
}

/// The books of all items of all epochs.
#[derive(Debug, Clone, Default, Hash)]
pub struct Books {
    places: Vec<Place>,
    epochs: Vec<Amounts>,
}

impl Books {
    /// Gives a new item its number.
    pub fn create(&mut self, epoch: u32) -> u32 {
        let id = self.places.len() as u32;
        self.create_as(id, epoch);
        id
    }

    /// Enters a new item under a number of the caller's choice.
    pub fn create_as(&mut self, id: u32, epoch: u32) {
        let index = id as usize;
        if self.places.len() <= index {
            self.places.resize(index + 1, Place::Unborn);
        }
        assert!(self.places[index] == Place::Unborn);
        self.places[index] = Place::Made;
        self.amounts_mut(epoch).made += 1;
    }

    /// The amounts of an epoch.
    pub fn amounts(&self, epoch: u32) -> Amounts {
        self.epochs.get(epoch as usize).copied().unwrap_or_default()
    }

    /// Items done in all epochs.
    pub fn done_total(&self) -> u64 {
        self.epochs.iter().map(|amounts| amounts.done).sum()
    }

    /// Items made in all epochs.
    pub fn items_total(&self) -> u64 {
        self.places.len() as u64
    }

    fn amounts_mut(&mut self, epoch: u32) -> &mut Amounts {
        let index = epoch as usize;
        if self.epochs.len() <= index {
            self.epochs.resize(index + 1, Amounts::default());
        }
        &mut self.epochs[index]
    }

    fn amount_mut(&mut self, epoch: u32, place: Place) -> &mut u64 {
        let amounts = self.amounts_mut(epoch);
        match place {
            Place::Unborn | Place::Made => &mut amounts.made,
            Place::Bag(_) => &mut amounts.bagged,
            Place::Worker(_) => &mut amounts.working,
            Place::Flight => &mut amounts.flying,
            Place::Done => &mut amounts.done,
        }
    }

    fn change(&mut self, item: &Item, from: Place, to: Place) {
        *self.amount_mut(item.epoch, from) -= 1;
        *self.amount_mut(item.epoch, to) += 1;
        self.places[item.id as usize] = to;
    }

    /// An item moved in or out of the bag of `rank`.
    pub fn moved(&mut self, rank: Rank, step: &Move) -> Check {
        let (Move::Pushed(item) | Move::Popped(item) | Move::Looted(item)) = step;
        let from = self.places[item.id as usize];
        let to = match step {
            Move::Pushed(_) => Place::Bag(rank),
            Move::Popped(_) => Place::Worker(rank),
            Move::Looted(_) => Place::Flight,
        };
        let allowed = match step {
            Move::Pushed(_) => from == Place::Made || from == Place::Flight,
            Move::Popped(_) | Move::Looted(_) => from == Place::Bag(rank),
        };
        ensure!(allowed, "item {} goes from {from:?} to {to:?}", item.id);
        self.change(item, from, to);
        Ok(())
    }

    /// A worker of `rank` is done with an item.
    pub fn done(&mut self, rank: Rank, item: &Item) -> Check {
        let from = self.places[item.id as usize];
        ensure!(from == Place::Worker(rank), "item {} is done, and was in {from:?}", item.id);
        self.change(item, from, Place::Done);
        Ok(())
    }

    /// A note was told.
    pub fn told(&mut self, epoch: u32) {
        self.amounts_mut(epoch).notes += 1;
    }

    /// A note was taken in by its owner.
    pub fn noted(&mut self, epoch: u32) -> Check {
        let notes = &mut self.amounts_mut(epoch).notes;
        ensure!(*notes > 0, "a note was taken in twice");
        *notes -= 1;
        Ok(())
    }

    /// A rank says that the pass is over. After a stop what waits in bags may stay there.
    pub fn over(&self, rank: Rank, epoch: u32, stopped: bool) -> Check {
        let amounts = self.amounts(epoch);
        let left = if stopped { amounts.open() - amounts.bagged } else { amounts.open() };
        ensure!(left == 0, "rank {} says that pass {epoch} is over, and there are {amounts:?}", rank.0);
        Ok(())
    }

    /// At the end of all: each item is done, or after a stop still in a bag.
    pub fn closed(&self, stopped: bool) -> Check {
        for (id, place) in self.places.iter().enumerate() {
            let kept = stopped && matches!(place, Place::Bag(_));
            let ended = matches!(place, Place::Done | Place::Unborn);
            ensure!(ended || kept, "item {id} ended in {place:?}");
        }
        Ok(())
    }
}

/// What a victim gave must leave its own idle workers something, or all its workers if the thief
/// only provides for later.
pub fn loot_is_fair(loot: Loot, hungry: u32, idle_workers: u32, workers: u32) -> Check {
    let Loot { queued, items_max, taken } = loot;
    ensure!(taken >= 1 && taken <= items_max, "loot of {taken} items, allowed are 1 to {items_max}");
    let kept = queued - taken;
    let owed = if hungry > 0 { idle_workers } else { workers } as usize;
    ensure!(kept >= owed, "a thief took {taken} of {queued} items from a rank that needs {owed}");
    Ok(())
}

/// A steal request as its thief sent it.
#[derive(Debug, Clone, Copy)]
struct Request {
    number: u64,
    hungry: u32,
    asked: Duration,
    answered: bool,
}

/// At most one live steal request a rank: watched from the messages alone.
#[derive(Debug)]
pub struct Steals {
    steal_wait: Duration,
    last: Vec<Option<Request>>,
}

impl Steals {
    pub fn new(ranks: u32, steal_wait: Duration) -> Self {
        Self { steal_wait, last: vec![None; ranks as usize] }
    }

    /// `thief` sends a request.
    pub fn asked(&mut self, now: Duration, thief: Rank, number: u64, hungry: u32) -> Check {
        let last = &mut self.last[thief.0 as usize];
        if let Some(older) = *last {
            let is_live = !older.answered && now < older.asked + self.steal_wait;
            ensure!(!is_live, "rank {} has the live requests {} and {number}", thief.0, older.number);
        }
        *last = Some(Request { number, hungry, asked: now, answered: false });
        Ok(())
    }

    /// `thief` takes in an answer.
    pub fn answered(&mut self, thief: Rank, number: u64) {
        if let Some(last) = &mut self.last[thief.0 as usize]
            && last.number == number
        {
            last.answered = true;
        }
    }

    /// Hungry workers that a request told of. An older request is taken for one of a hungry thief.
    pub fn hungry(&self, thief: Rank, number: u64) -> u32 {
        self.last[thief.0 as usize].filter(|last| last.number == number).map_or(1, |last| last.hungry)
    }

    /// `rank` begins a pass: older requests mean nothing any more.
    pub fn entered(&mut self, rank: Rank) {
        self.last[rank.0 as usize] = None;
    }
}
