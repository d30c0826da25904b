//! A rank's part in a checkpoint: where messages cross its cut, and when its parts may be made durable.

use super::{Local, Post, Scheduler};
use crate::sched::cut::{Crossing, Cutter};
use crate::sched::message::{Cut, Message, Rank};

impl<L: Local> Scheduler<L> {
    /// Where a message crosses the cut of a checkpoint. From after a cut: `take_cut` comes first. From before it: the
    /// message joins this rank's part of the checkpoint, and is handled.
    pub fn crossing(&self, envelope: &Post<L>) -> Crossing {
        let counted = matches!(envelope.message, Message::Loot { .. } | Message::Tell(_));
        let is_now = envelope.epoch == self.epoch && !self.over;
        match self.cutter.crossing(envelope.cut) {
            crossing @ Crossing::FromAfter(_) if is_now => crossing,
            Crossing::FromBefore if is_now && counted => Crossing::FromBefore,
            _ => Crossing::Within,
        }
    }

    /// The caller has written down this rank's state, `inbox` included: that is its part of the checkpoint.
    pub fn take_cut(&mut self, cut: Cut) {
        assert!(!self.over);
        self.cutter.take(cut, self.sent, self.received);
        self.may_seal = false;
    }

    /// Rank 0: the number of the next checkpoint. To begin it, `take_cut`: all that this rank says from then on
    /// carries the number.
    pub fn next_cut(&self) -> Cut {
        assert!(self.me == Rank::ROOT);
        self.cutter.cut().next()
    }

    /// The last checkpoint that this rank took part in.
    pub fn last_cut(&self) -> Cut {
        self.cutter.cut()
    }

    /// The numbers of checkpoints go on after those of an earlier attempt.
    pub fn continue_cuts(&mut self, last: Cut) {
        assert!(self.over);
        self.cutter = Cutter::after(last);
    }

    /// Rank 0: the others may make their parts durable, as soon as all are complete.
    pub fn allow_seal(&mut self) {
        self.may_seal = true;
    }

    /// The checkpoint whose part this rank is to make durable now.
    pub fn sealed(&self) -> Option<Cut> {
        self.cutter.sealed()
    }

    /// This rank's part of a checkpoint is durable.
    pub fn keep(&mut self, cut: Cut) {
        self.cutter.keep(cut);
    }

    /// Rank 0: a checkpoint of which all parts are durable, once.
    pub fn poll_kept(&mut self) -> Option<Cut> {
        self.kept.take()
    }
}
