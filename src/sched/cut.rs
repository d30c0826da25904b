//! One rank's part in a checkpoint: a consistent cut through a pass that goes on meanwhile.
//!
//! After Lai and Yang ("On distributed snapshots", 1987): each message tells on which side of the cut it was
//! queued, so no rank need wait, and no channel keep its order.

use bincode::{Decode, Encode};

use super::message::Cut;

/// What ranks say of the latest checkpoint that they know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Census {
    /// Which one.
    pub cut: Cut,
    /// Ranks that took part in it.
    pub taken: u32,
    /// Loot and tells that they had sent when they did.
    pub sent: u64,
    /// Loot and tells that they had received by then, and those that came later from the other side of it.
    pub received: u64,
    /// Ranks whose part is durable.
    pub kept: u32,
}

impl Census {
    /// Adds what another part of the tree says. Of two checkpoints only the later one counts.
    pub fn merge(&mut self, other: Census) {
        if other.cut > self.cut {
            *self = other;
        } else if other.cut == self.cut {
            self.taken += other.taken;
            self.sent += other.sent;
            self.received += other.received;
            self.kept += other.kept;
        }
    }

    /// Whether the checkpoint has all: every rank took part, and nothing from before is on its way.
    pub fn is_complete(&self, ranks: u32) -> bool {
        self.taken == ranks && self.sent == self.received
    }
}

/// On which side of the cut a message was queued and taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crossing {
    /// On the same.
    Within,
    /// It was queued after a cut that this rank must take first.
    FromAfter(Cut),
    /// It was queued before the cut and belongs to this rank's part of it.
    FromBefore,
}

/// A rank's part in the latest checkpoint.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone, Hash))]
pub struct Cutter {
    cut: Cut,
    open: Option<Open>,
    seal: bool,
}

/// The counts of a checkpoint that is not over.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, Hash))]
struct Open {
    sent: u64,
    received: u64,
    is_kept: bool,
}

impl Cutter {
    /// The next checkpoint follows on this one, which an earlier attempt took.
    pub fn after(cut: Cut) -> Self {
        Self { cut, ..Self::default() }
    }

    /// The last checkpoint that this rank took part in.
    pub fn cut(&self) -> Cut {
        self.cut
    }

    /// A checkpoint belongs to one pass.
    pub fn enter_epoch(&mut self) {
        self.open = None;
        self.seal = false;
    }

    /// The rank's state is as it was just written down.
    pub fn take(&mut self, cut: Cut, sent: u64, received: u64) {
        assert!(cut > self.cut);
        self.cut = cut;
        self.open = Some(Open { sent, received, is_kept: false });
        self.seal = false;
    }

    /// Where a message that carries `stamp` crosses the cut.
    pub fn crossing(&self, stamp: Cut) -> Crossing {
        match () {
            () if stamp > self.cut => Crossing::FromAfter(stamp),
            () if stamp < self.cut && self.open.is_some() => Crossing::FromBefore,
            () => Crossing::Within,
        }
    }

    /// Loot or a tell from before the cut came after it.
    pub fn receive_late(&mut self) {
        if let Some(open) = &mut self.open {
            open.received += 1;
        }
    }

    /// Rank 0 found that nothing from before the cut is on its way.
    pub fn seal(&mut self, cut: Cut) {
        self.seal = self.open.is_some() && cut == self.cut;
    }

    /// The checkpoint whose part is to be made durable.
    pub fn sealed(&self) -> Option<Cut> {
        self.seal.then_some(self.cut)
    }

    /// This rank's part is durable.
    pub fn keep(&mut self, cut: Cut) {
        if let Some(open) = self.open.as_mut().filter(|_| cut == self.cut) {
            open.is_kept = true;
        }
    }

    /// What this rank says of it.
    pub fn census(&self) -> Census {
        let none = Census { cut: self.cut, ..Census::default() };
        self.open.as_ref().map_or(none, |&Open { sent, received, is_kept }| Census {
            taken: 1,
            sent,
            received,
            kept: u32::from(is_kept),
            ..none
        })
    }

    /// It is over: in force, or given up.
    pub fn close(&mut self) {
        self.enter_epoch();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_queued_before_the_cut_and_comes_after_it_is_late() {
        let mut cutter = Cutter::default();
        assert_eq!(cutter.crossing(Cut(0)), Crossing::Within);
        assert_eq!(cutter.crossing(Cut(1)), Crossing::FromAfter(Cut(1)));
        cutter.take(Cut(1), 5, 4);
        assert_eq!(cutter.crossing(Cut(0)), Crossing::FromBefore);
        assert_eq!(cutter.crossing(Cut(1)), Crossing::Within);
        cutter.close();
        assert_eq!(cutter.crossing(Cut(0)), Crossing::Within);
    }

    #[test]
    fn a_checkpoint_is_complete_when_what_was_sent_before_it_has_come() {
        let mut cutter = Cutter::default();
        cutter.take(Cut(3), 5, 4);
        let mut all = cutter.census();
        assert!(!all.is_complete(1));
        cutter.receive_late();
        all = Census::default();
        all.merge(cutter.census());
        assert!(all.is_complete(1) && all.kept == 0);
        all.merge(Census { cut: Cut(2), taken: 1, sent: 9, ..Census::default() });
        assert!(all.is_complete(1), "an older one counts for nothing");
        cutter.keep(Cut(2));
        assert_eq!(cutter.census().kept, 0);
        cutter.keep(Cut(3));
        assert_eq!(cutter.census().kept, 1);
    }
}
