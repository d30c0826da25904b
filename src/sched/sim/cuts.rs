//! Checkpoints of a simulated world, and what must hold of each: what was done at the cut, and what follows from
//! what the parts hold, is all the work there is, each piece once.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::message::{Cut, Message, Rank};
use super::checkers::{Check, ensure};
use super::events::Letter;
use super::trees::{Item, Made, Note, Tree};

/// A piece of work, told apart by its seed, which two pieces share only by a rare accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Piece {
    Item(u64),
    Note(u64),
}

/// Pieces of work, and how often each was done.
pub type Pieces = BTreeMap<Piece, u32>;

/// One rank's part of a checkpoint.
#[derive(Debug, Clone, Default)]
pub struct Part {
    pub items: Vec<Item>,
    pub notes: Vec<Note>,
    pub done: Pieces,
}

/// All parts of a checkpoint that is in force.
#[derive(Debug, Clone, Default)]
pub struct Checkpoint {
    pub parts: Vec<Part>,
}

impl Checkpoint {
    /// What was done before it.
    pub fn done(&self) -> Pieces {
        let mut all = Pieces::new();
        for (&piece, &times) in self.parts.iter().flat_map(|part| &part.done) {
            *all.entry(piece).or_default() += times;
        }
        all
    }
}

/// The checkpoint that is being taken.
#[derive(Debug, Default)]
struct Taking {
    cut: Cut,
    epoch: u32,
    parts: Vec<Option<Part>>,
}

/// The checkpoints of a world.
#[derive(Debug)]
pub struct Cuts {
    interval: Option<Duration>,
    next: Duration,
    taking: Taking,
    ranks: usize,
    /// What each rank has done in its epoch.
    done: Vec<(u32, Pieces)>,
    /// Those that came into force, with the pass in which they did.
    pub in_force: Vec<(u32, Checkpoint)>,
}

impl Cuts {
    pub fn new(interval: Option<Duration>, ranks: u32) -> Self {
        let ranks = ranks as usize;
        Self {
            interval,
            next: interval.unwrap_or_default(),
            taking: Taking::default(),
            ranks,
            done: vec![(0, Pieces::new()); ranks],
            in_force: Vec::new(),
        }
    }

    /// Whether rank 0 is to begin one.
    pub fn is_due(&self, now: Duration) -> bool {
        self.interval.is_some() && now >= self.next
    }

    /// A rank enters a pass.
    pub fn entered(&mut self, rank: Rank, epoch: u32) {
        self.done[rank.0 as usize] = (epoch, Pieces::new());
    }

    /// A rank has done something.
    pub fn did(&mut self, rank: Rank, piece: Piece) {
        *self.done[rank.0 as usize].1.entry(piece).or_default() += 1;
    }

    /// All that was done in the pass.
    pub fn done(&self) -> Pieces {
        let parts = self.done.iter().map(|(_, done)| Part { done: done.clone(), ..Part::default() }).collect();
        Checkpoint { parts }.done()
    }

    /// A rank takes part in a checkpoint with what it has.
    pub fn take(&mut self, now: Duration, rank: Rank, cut: Cut, items: Vec<Item>, notes: Vec<Note>) {
        let (epoch, done) = self.done[rank.0 as usize].clone();
        if rank == Rank::ROOT {
            self.next = now + self.interval.unwrap_or_default();
        }
        if cut < self.taking.cut {
            // One of the last pass, which this rank hears of only now.
            return;
        }
        if (self.taking.cut, self.taking.epoch) != (cut, epoch) {
            self.taking = Taking { cut, epoch, parts: vec![None; self.ranks] };
        }
        self.taking.parts[rank.0 as usize] = Some(Part { items, notes, done });
    }

    /// A message from before the cut comes after it.
    pub fn late(&mut self, rank: Rank, letter: &Letter) {
        let Some(part) = self.taking.parts.get_mut(rank.0 as usize).and_then(Option::as_mut) else { return };
        match &letter.message {
            Message::Loot { items, .. } => part.items.extend(items),
            Message::Tell(note) => part.notes.push(*note),
            _ => {}
        }
    }

    /// Rank 0 declares the checkpoint in force.
    pub fn kept(&mut self, cut: Cut, tree: &Tree, seeds: Vec<Item>) -> Check {
        ensure!(cut == self.taking.cut, "checkpoint {} is in force, and {} was taken", cut.0, self.taking.cut.0);
        let Taking { epoch, parts, .. } = std::mem::replace(&mut self.taking, Taking { cut, ..Taking::default() });
        let ranks = parts.len();
        let parts: Vec<Part> = parts.into_iter().flatten().collect();
        ensure!(parts.len() == ranks, "a checkpoint is in force without the part of a rank");
        let checkpoint = Checkpoint { parts };
        check(tree, seeds, &checkpoint)?;
        self.in_force.push((epoch, checkpoint));
        Ok(())
    }
}

/// What was done, and what follows from what is left, is all there is.
fn check(tree: &Tree, seeds: Vec<Item>, checkpoint: &Checkpoint) -> Check {
    let mut all = checkpoint.done();
    let items = checkpoint.parts.iter().flat_map(|part| part.items.clone()).collect();
    let notes = checkpoint.parts.iter().flat_map(|part| part.notes.clone()).collect();
    follow(tree, items, notes, &mut all);
    must_be_all(tree, seeds, &all)
}

/// Whether these pieces are all the work that there is, each done once.
pub fn must_be_all(tree: &Tree, seeds: Vec<Item>, done: &Pieces) -> Check {
    let mut wanted = Pieces::new();
    follow(tree, seeds, Vec::new(), &mut wanted);
    let lost = wanted.iter().find(|(piece, times)| done.get(piece).is_none_or(|done| done < times));
    ensure!(lost.is_none(), "a checkpoint has lost {lost:?}");
    let twice = done.iter().find(|(piece, times)| wanted.get(piece).is_none_or(|wanted| wanted < times));
    ensure!(twice.is_none(), "a checkpoint has {twice:?} once too often");
    Ok(())
}

/// Does all that follows from items and notes, in one place.
fn follow(tree: &Tree, mut items: Vec<Item>, mut notes: Vec<Note>, done: &mut Pieces) {
    loop {
        let (piece, made) = match (items.pop(), notes.pop()) {
            (Some(item), note) => {
                notes.extend(note);
                (Piece::Item(item.seed), tree.outcome(&item))
            }
            (None, Some(note)) => (Piece::Note(note.seed), tree.note_outcome(&note)),
            (None, None) => return,
        };
        *done.entry(piece).or_default() += 1;
        let Made { items: more, tells } = made;
        items.extend(more);
        notes.extend(tells.into_iter().map(|(_, note)| note));
    }
}
