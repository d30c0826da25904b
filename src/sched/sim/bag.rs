//! The bag of a simulated rank. It writes down every move of an item, for the checkers.

use std::collections::VecDeque;

use super::super::message::{Oldest, Rank};
use super::super::scheduler::Local;
use super::super::share::{Demand, Rates, UNLIMITED};
use super::trees::{Item, Note};

/// What happened to items of a bag.
#[derive(Debug, Clone, Hash)]
pub enum Move {
    /// An item came in.
    Pushed(Item),
    /// A worker took it.
    Popped(Item),
    /// A thief gets it.
    Looted(Item),
}

/// What a thief was given, and what there was.
#[derive(Debug, Clone, Copy, Hash)]
pub struct Loot {
    /// Items that waited before.
    pub queued: usize,
    /// What the scheduler allowed.
    pub items_max: usize,
    /// Items given.
    pub taken: usize,
}

/// Items that wait, oldest first. All weigh the same.
#[derive(Debug, Clone, Hash)]
pub struct Bag {
    items: VecDeque<Item>,
    loot_items_max: usize,
    /// Items done by this rank: the only counter of a simulated rank.
    pub done: u64,
    /// Moves that the checkers have not seen yet.
    pub moves: Vec<Move>,
    /// Loot that the checkers have not seen yet.
    pub loots: VecDeque<Loot>,
    /// What the rank may use of what is limited, if anything is.
    pub share: Option<(Rank, Rates)>,
}

impl Bag {
    /// An empty bag that gives away at most `loot_items_max` items at a time.
    pub fn new(loot_items_max: usize) -> Self {
        Self { items: VecDeque::new(), loot_items_max, done: 0, moves: Vec::new(), loots: VecDeque::new(), share: None }
    }

    /// All items that wait.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.iter()
    }

    /// Marks what a stopped rank holds.
    pub fn mark_held_up(&mut self) {
        self.items.iter_mut().for_each(|item| item.held_up = true);
    }
}

impl Local for Bag {
    type Item = Item;
    type Note = Note;

    fn queued(&self) -> usize {
        self.items.len()
    }

    fn push(&mut self, items: Vec<Item>) {
        self.moves.extend(items.iter().copied().map(Move::Pushed));
        self.items.extend(items);
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_back()?;
        self.moves.push(Move::Popped(item));
        Some(item)
    }

    fn loot(&mut self, items_max: usize) -> Vec<Item> {
        let queued = self.items.len();
        let taken = queued.div_ceil(2).min(items_max).min(self.loot_items_max);
        self.loots.push_back(Loot { queued, items_max, taken });
        let items: Vec<Item> = self.items.drain(..taken).collect();
        self.moves.extend(items.iter().copied().map(Move::Looted));
        items
    }

    fn counters(&self) -> Vec<u64> {
        vec![self.done]
    }

    fn oldest(&self) -> Option<Oldest> {
        None
    }

    /// Some want everything, some little, and all change their minds.
    fn demand(&self) -> Option<Demand> {
        let (rank, holds) = self.share?;
        let mood = self.done + u64::from(rank.0);
        let wants = [[UNLIMITED, 10, 0][(mood % 3) as usize], mood * 100];
        Some(Demand { rank, holds, wants })
    }

    fn hear_wave(&mut self, share: Option<Rates>) {
        self.share = self.share.map(|(rank, before)| (rank, share.unwrap_or(before)));
    }
}
