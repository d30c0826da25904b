//! What a run asks of a rank's engine between its passes: what waits, what was counted, and its checkpoints.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::checkpoint::{Archive, Loader};
use super::lists::Extent;
use super::main_thread::{Ended, Engine};
use crate::comm::Comm;
use crate::counters::{Counters, Number};
use crate::fault::{Error, Side};
use crate::headway::Headway;
use crate::pass::Context;
use crate::sched::Cut;
use crate::tree::guard::Losses;
use crate::tree::{Identity, Item, Note};

impl Engine<'_> {
    /// Deals notes of a checkpoint out to the owners of today.
    pub fn deal(&mut self, notes: Vec<Note>) -> Ended {
        self.run(Vec::new(), |state| state.tell(notes), &mut |_| ())
    }

    /// Reads on in the parts of a checkpoint that fall to this rank. Notes come back, to be dealt out.
    pub fn load(&mut self, loader: &mut Loader) -> Result<Vec<Note>, Error> {
        let mut state = self.shared.lock();
        state.is_loading = true;
        loader.some(&mut state)
    }

    /// All of the checkpoint was taken over.
    pub fn end_loading(&mut self) {
        self.shared.lock().end_carrying();
    }

    /// Where in its story the run is: for the checkpoints that are taken from now on.
    pub fn tell_story(&mut self, story: Vec<u8>) {
        self.checkpoints.story = story;
    }

    /// Whether an item was ever taken from a worker.
    pub fn has_disowned(&self) -> bool {
        self.overseer.has_disowned()
    }

    /// The last checkpoint that this rank took part in.
    pub fn last_cut(&self) -> Cut {
        self.shared.lock().scheduler.last_cut()
    }

    /// Where checkpoints are kept.
    pub fn archive(&self) -> &Archive {
        self.checkpoints.archive()
    }

    /// What earlier attempts listed: for the checkpoints that are taken from now on.
    pub fn tell_history(&mut self, listed: Vec<Extent>) {
        self.checkpoints.tell_history(listed);
    }

    /// What this rank has done, and what it took over.
    pub fn headway(&self) -> Headway {
        Headway::of(&self.shared.lock().desk.counters)
    }

    /// Writes this rank's part of a checkpoint, durably: between passes, when all workers rest.
    pub fn write_part(&mut self, cut: Cut) -> Result<(), Error> {
        self.checkpoints.wait_for_scribe()?;
        self.shared.lists.lock().unwrap_or_else(PoisonError::into_inner).sync()?;
        self.checkpoints.write_part(&self.shared.lock(), cut)
    }

    /// Puts a checkpoint in force.
    pub fn put_in_force(&self, cut: Cut, headway: Headway) -> Result<(), Error> {
        self.checkpoints.put_in_force(cut, headway)
    }

    /// The groups of one tree's inodes with several names have their turn.
    pub fn begin_link_turn(&mut self, side: Side) {
        self.shared.lock().begin_link_turn(side);
    }

    /// Some of the groups of which this rank is the owner, to be its items of a link pass; none when all
    /// were taken.
    pub fn take_link_groups(&mut self) -> Vec<Item> {
        let mut state = self.shared.lock();
        let groups = state.take_link_groups();
        let cut = groups.windows(2).filter(|two| matches!(two, [a, b] if (a.key, a.kind) == (b.key, b.kind))).count();
        state.desk.counters.count(Number::LinkGroupsSplit, cut as u64);
        groups.into_iter().map(Item::Link).collect()
    }

    /// Whether this rank has given up: the next pass tells the others.
    pub fn has_given_up(&self) -> bool {
        self.shared.lock().error.is_some()
    }

    /// Directories that wait to be settled.
    pub fn waits_deferred(&self) -> u64 {
        self.shared.lock().deferred.len() as u64
    }

    /// The depth of the deepest directories that must wait for what is below them.
    pub fn deepest_after_below(&mut self) -> Option<u32> {
        self.shared.lock().after_below.deepest()
    }

    /// What this rank has counted so far.
    pub fn counters(&self) -> Counters {
        self.shared.lock().desk.counters.clone()
    }

    /// What the subtrees would lose by the part of the plan that this rank has.
    pub fn losses(&self) -> Losses {
        self.shared.lock().losses.clone()
    }

    /// Target inodes of several names, of which a dry run would have taken so many away so far.
    pub fn gone(&self) -> BTreeMap<Identity, u32> {
        self.shared.lock().gone.clone()
    }

    /// The next item of the plan, out of it.
    pub fn take_planned(&mut self) -> Option<Item> {
        self.shared.lock().plan.pop()
    }

    /// Looks at each item of the plan.
    pub fn visit_plan(&self, visit: impl FnMut(&Item)) -> Result<(), Error> {
        self.shared.lock().plan.visit(visit)
    }

    /// Counts what was not counted in an item.
    pub fn count(&mut self, counters: &Counters) {
        self.shared.lock().desk.counters.merge(counters);
    }

    /// Plans more: what a file has.
    pub fn plan(&mut self, items: Vec<Item>) -> Result<(), Error> {
        let mut state = self.shared.lock();
        state.plan.push(items);
        state.plan.take_error().map_or(Ok(()), Err)
    }

    /// Names that wait until the plan is done.
    pub fn waits_again(&self) -> u64 {
        self.shared.lock().again.len() as u64
    }

    /// The communication, between passes.
    pub fn comm(&mut self) -> &mut dyn Comm {
        self.comm
    }

    /// The trees.
    pub fn context(&self) -> &Context {
        &self.shared.context
    }
}
