//! What the workers and the main thread of a rank share.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::bag::{Bag, Spill};
use super::difference_log::DifferenceLog;
use super::fault_log::FaultLog;
use crate::counters::{Counters, Number, Slot};
use crate::fault::Error;
use crate::pass::effects::Deferred;
use crate::pass::{Context, Effects, Watch};
use crate::sched::{Local, Oldest, Rank, Scheduler, Stop};
use crate::tree::item::LinkKey;
use crate::tree::{Item, LinkGroup, Note, Outcome};

/// What the workers and the main thread of a rank share.
pub struct Shared {
    /// Behind one lock, so that idleness and the counts are read in one step.
    pub state: Mutex<State>,
    /// Workers wait here for items.
    pub work: Condvar,
    /// The main thread waits here for workers.
    pub main: Condvar,
    /// Apart, as writing to the run directory may take its time.
    pub faults: Mutex<FaultLog>,
    /// Likewise.
    pub differences: Mutex<DifferenceLog>,
    /// The trees, and what to do with them.
    pub context: Arc<Context>,
    /// Workers that may run at one time.
    pub threads: u32,
    /// All workers: some are spare, for when others hang in the kernel.
    pub watches: Arc<Vec<Watch>>,
    /// Set when the run is to end early.
    pub stop: Arc<AtomicBool>,
}

impl Shared {
    /// The lock. A worker that panics ends the process, so there is no poison to fear.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists faults and differences. An error of a list is the run's.
    pub fn log(&self, effects: &Effects) -> Option<Error> {
        let mut error = None;
        if !effects.faults.is_empty() {
            let mut log = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
            error = effects.faults.iter().find_map(|fault| log.add(fault).err());
        }
        if !effects.differences.is_empty() {
            let mut log = self.differences.lock().unwrap_or_else(PoisonError::into_inner);
            error = error.or_else(|| effects.differences.iter().find_map(|difference| log.add(difference).err()));
        }
        error
    }
}

/// One rank's state.
pub struct State {
    /// The protocol.
    pub scheduler: Scheduler<Desk>,
    /// What the protocol needs of the rank.
    pub desk: Desk,
    /// Directories to be settled when the walk is over.
    pub deferred: Bag,
    /// Those that must wait for what is below them, by depth.
    pub after_below: BTreeMap<u32, Vec<Item>>,
    /// Names of inodes with several, of which this rank is the owner.
    pub links: BTreeMap<LinkKey, LinkGroup>,
    /// Why the run can not go on.
    pub error: Option<Error>,
    /// The workers are to end.
    pub closing: bool,
    /// Workers that have an item.
    pub busy: u32,
    /// Workers among them that have been in one operation for long: their permits are lent out.
    pub hung: u32,
    ranks: u32,
}

/// What the protocol needs of the rank.
pub struct Desk {
    /// Items that wait.
    pub bag: Bag,
    /// All that was counted here.
    pub counters: Counters,
    watches: Arc<Vec<Watch>>,
    rank: Rank,
}

impl Local for Desk {
    type Item = Item;
    type Note = Note;

    fn queued(&self) -> usize {
        self.bag.len()
    }

    fn push(&mut self, items: Vec<Item>) {
        self.bag.push(items);
    }

    fn pop(&mut self) -> Option<Item> {
        self.bag.pop()
    }

    fn loot(&mut self, items_max: usize) -> Vec<Item> {
        self.bag.loot(items_max)
    }

    fn counters(&self) -> Vec<u64> {
        self.counters.to_vec()
    }

    fn oldest(&self) -> Option<Oldest> {
        let oldest = self.watches.iter().filter_map(Watch::oldest).max()?;
        Some(Oldest { rank: self.rank, age: oldest.0, what: oldest.1 })
    }
}

impl State {
    /// A rank before its first pass.
    pub fn new(scheduler: Scheduler<Desk>, rank: Rank, ranks: u32, watches: Arc<Vec<Watch>>, spill: &Spill) -> Self {
        let part = |what: &str| Spill { prefix: format!("{what}-{}", rank.0), ..spill.clone() };
        let desk = Desk { bag: Bag::new(part("bag")), counters: Counters::default(), watches, rank };
        Self {
            scheduler,
            desk,
            deferred: Bag::new(part("deferred")),
            after_below: BTreeMap::new(),
            links: BTreeMap::new(),
            error: None,
            closing: false,
            busy: 0,
            hung: 0,
            ranks,
        }
    }

    /// Takes in what a worker made of an item, in one step.
    pub fn take_in(&mut self, effects: Effects, error: Option<Error>) {
        let Effects { items, deferred, notes, counters, faults: _, differences: _, last: _ } = effects;
        self.desk.counters.merge(&counters);
        for Deferred { item, after_below } in deferred {
            match after_below {
                None => self.deferred.push(vec![item]),
                Some(depth) => self.after_below.entry(depth).or_default().push(item),
            }
        }
        let tells = notes.into_iter().map(|note| (self.owner(&note), note)).collect();
        self.scheduler.finish_item(&mut self.desk, items, tells);
        let error = error.or_else(|| self.desk.bag.take_error()).or_else(|| self.deferred.take_error());
        if let Some(error) = error {
            self.give_up(error);
        }
    }

    /// The run can not go on.
    pub fn give_up(&mut self, error: Error) {
        self.error.get_or_insert(error);
        self.scheduler.want_stop(Stop::Error);
    }

    /// There is something to send, a thief waits for what was just made, this rank is idle, or it should
    /// ask others for work.
    pub fn needs_main_thread(&self) -> bool {
        let hungry = self.ranks > 1 && self.scheduler.wants_work(&self.desk);
        hungry
            || self.scheduler.has_thieves()
            || self.scheduler.has_outgoing()
            || self.scheduler.is_idle(&self.desk)
            || self.error.is_some()
    }

    fn owner(&self, note: &Note) -> Rank {
        let Note::Link { key, .. } = note;
        Rank(u32::try_from(key.hash() % u64::from(self.ranks)).unwrap_or(0))
    }

    /// Takes in a note to this rank as an owner.
    pub fn hear(&mut self, note: Note) {
        let Note::Link { key, kind, links, member } = note;

        let group = self.links.entry(key).or_insert_with(|| LinkGroup { key, kind, links, members: Vec::new() });
        group.links = group.links.max(links);
        group.members.push(member);
        self.scheduler.finish_note(&mut self.desk, Vec::new(), Vec::new());
    }

    /// After a stop: enters what was never done into the books, as unfinished.
    pub fn abandon(&mut self) {
        let mut left = self.desk.bag.drain();
        left.extend(self.deferred.drain());
        left.extend(std::mem::take(&mut self.after_below).into_values().flatten());
        left.extend(std::mem::take(&mut self.links).into_values().map(Item::Link));
        for item in left {
            let (kind, entries) = item.entries();
            self.desk.counters.add(Slot::Ended(kind, Outcome::Unfinished), entries);
            self.desk.counters.count(Number::Unlooked, item.names());
        }
    }
}
