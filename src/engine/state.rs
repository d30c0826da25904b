//! What the workers and the main thread of a rank share.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::bag::{Bag, Spill};
use super::below::Below;
use super::checkpoint::Table;
use super::chunked::Chunked;
use super::company::Company;
use super::fault_log::FaultGroup;
use super::links::{LinkGroups, LinkPiece, LinkTable};
use super::lists::{Extent, Lists};
use super::removals::Removals;
use crate::counters::{Counters, Number, Slot};
use crate::fault::{Error, Side};
use crate::fs::operator::RunDirectory;
use crate::memory::Shares;
use crate::pass::effects::Deferred;
use crate::pass::limits::Rates;
use crate::pass::{Context, Effects, Signs, Watch};
use crate::sched::{Demand, Local, Oldest, Rank, Scheduler, Stop, share};
use crate::tree::census::Census;
use crate::tree::guard::{Loss, Losses};
use crate::tree::{Carried, ChunkedFile, Doomed, Identity, Item, Kind, LinkGroup, LinkNote, Note, Outcome, TreePath};

/// What the workers and the main thread of a rank share.
pub struct Shared {
    /// Behind one lock, so that idleness and the counts are read in one step.
    pub state: Mutex<State>,
    /// Workers wait here for items.
    pub work: Condvar,
    /// The main thread waits here for workers.
    pub main: Condvar,
    /// Apart, as writing to the run directory may take its time. Who needs both locks takes this one first.
    pub lists: Mutex<Lists>,
    /// The trees, and what to do with them.
    pub context: Arc<Context>,
    /// Workers that may run at one time.
    pub threads: u32,
    /// All workers: some are spare, for when others hang in the kernel.
    pub watches: Arc<Vec<Watch>>,
    /// What the workers see while they have an item.
    pub signs: Arc<Signs>,
    /// What this engine shares with those of other lanes.
    pub company: Option<Arc<Company>>,
}

impl Shared {
    /// The lock. A worker that panics ends the process, so there is no poison to fear.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what a worker made of its item, or what stands for one that it lost. What it lists and what it changes
    /// in the rank's state is one step
    /// for whoever looks at the state.
    pub fn take_in(&self, worker: Option<usize>, effects: Effects) -> MutexGuard<'_, State> {
        if !Lists::concern(&effects) {
            let mut state = self.lock();
            state.take_in(worker, effects, Ok(Vec::new()));
            return state;
        }
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = lists.add(&effects);
        let mut state = self.lock();
        state.listed = lists.extents();
        state.take_in(worker, effects, listed);
        state
    }
}

/// A message in memory, about: a note with a path.
const POST_BYTES: usize = 256;

/// One rank's state.
pub struct State {
    /// The protocol.
    pub scheduler: Scheduler<Desk>,
    /// What the protocol needs of the rank.
    pub desk: Desk,
    /// Directories to be settled when the walk is over.
    pub deferred: Bag,
    /// Those that must wait for what is below them, by depth.
    pub after_below: Below,
    /// What is to stand in the books for the root, which is settled at the very end of the run.
    pub root_outcome: Option<Outcome>,
    /// What a checkpoint had in the bags of its ranks.
    pub resumed: Bag,
    /// Notes whose turn had come in it.
    carried_turn: LinkTable,
    /// A checkpoint is being taken over.
    pub is_loading: bool,
    /// What is to be removed when the guards have judged all of it.
    pub plan: Bag,
    /// What the subtrees would lose by that.
    pub losses: Losses,
    /// Target inodes of several names, of which a dry run would have taken so many away.
    pub gone: BTreeMap<Identity, u32>,
    /// Names to be looked at once more when it is removed.
    pub again: Bag,
    /// What was counted, of a walk that only counts.
    pub census: Census,
    /// Large files of which this rank is the owner.
    pub chunked: Chunked,
    /// Directories under removal of which this rank is the owner.
    pub removals: Removals,
    /// Notes of source inodes with several names, of which this rank is the owner.
    links: LinkTable,
    /// Likewise of target inodes.
    shared: LinkTable,
    /// The groups whose turn it is.
    turn: Option<LinkGroups>,
    turns: u32,
    spill: Spill,
    /// The item of each worker.
    pub running: Vec<Option<Item>>,
    /// Faults by cause.
    pub faults: BTreeMap<FaultGroup, u64>,
    /// How much of the rank's lists belongs to what was taken in.
    pub listed: Vec<Extent>,
    /// Why the run can not go on.
    pub error: Option<Error>,
    /// Why it is to be gone on with later.
    pub halted: Option<Error>,
    /// The workers are to end.
    pub closing: bool,
    /// Workers that have an item.
    pub busy: u32,
    /// Workers that wait for a permit of the company; each will look for an item then.
    pub in_line: u32,
    /// Workers among them that have been in one operation for long: their permits are lent out.
    pub hung: u32,
    /// Workers that hang in an operation still, though their items were taken from them.
    pub lost: u32,
    /// Bytes that the network has not taken yet.
    pub unsent: usize,
    /// Workers wait for that.
    pub held_back: bool,
    shares: Shares,
    ranks: u32,
}

/// What the protocol needs of the rank.
pub struct Desk {
    /// Items that wait.
    pub bag: Bag,
    /// All that was counted here.
    pub counters: Counters,
    watches: Arc<Vec<Watch>>,
    context: Arc<Context>,
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

    fn demand(&self) -> Option<Demand> {
        let usage = self.context.limits.usage()?;
        Some(Demand { rank: self.rank, holds: usage.map(|usage| usage.holds), wants: usage.map(|usage| usage.wants) })
    }

    fn hear_wave(&mut self, share: Option<share::Rates>) {
        let share = share.map(|[bytes, operations]| Rates { bytes, operations });
        self.context.limits.renew(share, share::SHARE_HOLDS_FOR);
    }
}

impl State {
    /// A rank before its first pass.
    pub fn new(
        scheduler: Scheduler<Desk>,
        (rank, ranks): (Rank, u32),
        watches: Arc<Vec<Watch>>,
        context: Arc<Context>,
        directory: &RunDirectory,
        shares: Shares,
    ) -> Self {
        let spill = Spill { directory: directory.clone(), prefix: String::new(), bytes_max: shares.table_bytes };
        let part = |what: &str| Spill { prefix: format!("{what}-{}", rank.0), ..spill.clone() };
        let workers = watches.len();
        let (links, shared) = (LinkTable::new(part("links-0")), LinkTable::new(part("shared-0")));
        let desk = Desk { bag: Bag::new(part("bag")), counters: Counters::default(), watches, context, rank };
        Self {
            scheduler,
            desk,
            deferred: Bag::new(part("deferred")),
            after_below: Below::new(Spill { prefix: rank.0.to_string(), ..spill.clone() }),
            root_outcome: None,
            resumed: Bag::new(part("resumed")),
            carried_turn: LinkTable::new(part("turn-0")),
            is_loading: false,
            plan: Bag::new(part("plan")),
            losses: Losses::new(),
            gone: BTreeMap::new(),
            again: Bag::new(part("again")),
            census: Census::default(),
            chunked: Chunked::default(),
            removals: Removals::default(),
            links,
            shared,
            turn: None,
            turns: 0,
            spill: part("links"),
            running: vec![None; workers],
            faults: BTreeMap::new(),
            listed: Vec::new(),
            error: None,
            halted: None,
            closing: false,
            busy: 0,
            in_line: 0,
            hung: 0,
            lost: 0,
            unsent: 0,
            held_back: false,
            shares,
            ranks,
        }
    }

    /// Takes an item for a worker, if there is any.
    pub fn take_item(&mut self, worker: usize) -> Option<Item> {
        let item = self.scheduler.take_item(&mut self.desk)?;
        if let Some(running) = self.running.get_mut(worker) {
            *running = Some(item.clone());
        }
        self.busy += 1;
        Some(item)
    }

    /// Takes its item from a worker that hangs. What stands for the item is taken in apart.
    pub fn lose_worker(&mut self, worker: usize) -> Option<Item> {
        let item = self.running.get_mut(worker).and_then(Option::take)?;
        self.busy -= 1;
        self.lost += 1;
        Some(item)
    }

    /// After a stop: an item whose worker hangs is left as it was, for the next attempt.
    pub fn give_back(&mut self, item: Item) {
        self.take_in(None, Effects { items: vec![item], ..Effects::default() }, Ok(Vec::new()));
    }

    /// Takes in what a worker made of its item, or what is to stand for that, in one step.
    fn take_in(&mut self, worker: Option<usize>, effects: Effects, listed: Result<Vec<FaultGroup>, Error>) {
        if let Some(running) = worker.and_then(|worker| self.running.get_mut(worker)) {
            self.busy -= 1;
            *running = None;
        }
        let (causes, error) = listed.map_or_else(|error| (Vec::new(), Some(error)), |causes| (causes, None));
        for cause in causes {
            *self.faults.entry(cause).or_default() += 1;
        }
        let Effects { items, deferred, notes, counters, planned, losses, gone, again, census, stop, .. } = effects;
        if let Some(error) = stop {
            self.halt(error);
        }
        self.desk.counters.merge(&counters);
        if let Some(census) = census {
            self.census.merge(*census);
        }
        for Deferred { item, after_below } in deferred {
            match (&item, after_below) {
                (Item::Settle { directory, outcome }, _) if directory.path.is_root() => {
                    self.root_outcome = Some(*outcome);
                }
                (_, None) => self.deferred.push(vec![item]),
                (_, Some(depth)) => self.after_below.push(depth, vec![item]),
            }
        }
        self.plan.push(planned);
        self.again.push(again);
        for (subtree, loss) in losses {
            self.lose(subtree, loss);
        }
        for inode in gone {
            *self.gone.entry(inode).or_default() += 1;
        }
        let tells = notes.into_iter().map(|note| (self.owner(&note), note)).collect();
        self.scheduler.finish_item(&mut self.desk, items, tells);
        let bags = [&mut self.desk.bag, &mut self.deferred, &mut self.plan, &mut self.again].into_iter();
        let error = error.or_else(|| bags.into_iter().find_map(Bag::take_error));
        if let Some(error) = error.or_else(|| self.after_below.take_error()) {
            self.give_up(error);
        }
    }

    /// Counts what a subtree would lose. Of more subtrees than can be judged only one more is counted: there will be
    /// no verdict, and nothing is removed.
    pub fn lose(&mut self, subtree: TreePath, loss: Loss) {
        if self.losses.len() <= self.shares.subtrees || self.losses.contains_key(&subtree) {
            self.losses.entry(subtree).or_default().add(loss);
        }
    }

    /// Takes items of a checkpoint back to where they belong.
    pub fn put_back(&mut self, table: Table, items: Vec<Item>) -> Result<(), Error> {
        let bag = match table {
            Table::Bag => &mut self.resumed,
            Table::Deferred => &mut self.deferred,
            Table::Plan => &mut self.plan,
            Table::Again => &mut self.again,
            Table::AfterBelow(depth) => {
                self.after_below.push(depth, items);
                return self.after_below.take_error().map_or(Ok(()), Err);
            }
        };
        bag.push(items);
        bag.take_error().map_or(Ok(()), Err)
    }

    /// So much is on its way that no worker takes an item, which could bring more: tells to owners are not held
    /// back, so they would fill the memory where a rank makes them faster than others take them in.
    pub fn is_congested(&self) -> bool {
        let waiting = self.scheduler.outgoing() * POST_BYTES;
        self.unsent.saturating_add(waiting) > self.shares.message_bytes
    }

    /// Why this rank's state is not whole.
    pub fn broken(&self) -> Option<Error> {
        let bags = [&self.desk.bag, &self.resumed, &self.deferred, &self.plan, &self.again];
        let below = self.after_below.bags().map(|(_, bag)| bag);
        self.error.clone().or_else(|| bags.into_iter().chain(below).find_map(|bag| bag.error().cloned()))
    }

    /// The run can not go on.
    pub fn give_up(&mut self, error: Error) {
        self.error.get_or_insert(error);
        self.scheduler.want_stop(Stop::Error);
    }

    /// The run stops in order, and can be gone on with when somebody has done something.
    fn halt(&mut self, error: Error) {
        self.halted.get_or_insert(error);
        self.scheduler.want_stop(Stop::Halt);
    }

    /// There is something to send, a thief waits for what was just made, this rank is idle, it should ask others
    /// for work, or only notes to itself can bring it some.
    pub fn needs_main_thread(&self) -> bool {
        let hungry = self.ranks > 1 && self.scheduler.wants_work(&self.desk);
        let waits_for_notes = self.desk.bag.is_empty() && self.scheduler.inbox().next().is_some();
        hungry
            || waits_for_notes
            || self.scheduler.has_thieves()
            || self.scheduler.has_outgoing()
            || self.scheduler.is_idle(&self.desk)
            || self.error.is_some()
            || self.halted.is_some()
    }

    fn owner(&self, note: &Note) -> Rank {
        let hash = match note {
            Note::Link(note) => note.about().0.hash(),
            Note::Chunk { file, .. } => file.hash(),
            Note::Removal { path, .. } | Note::Carried(Carried::Removal(path, ..)) => Doomed::hash(path),
            Note::Carried(Carried::Turn(note)) => note.about().0.hash(),
            Note::Carried(Carried::Chunked(file, _)) => file.hash(),
        };
        Rank(u32::try_from(hash % u64::from(self.ranks)).unwrap_or(0))
    }

    /// Takes in a note to this rank as an owner.
    pub fn hear(&mut self, note: Note) {
        let (items, taken_in) = match note {
            Note::Link(note) => (Vec::new(), self.hear_of_link(&note)),
            Note::Chunk { file, news } => (self.chunked.hear(*file, news).into_iter().collect(), Ok(())),
            Note::Removal { path, news } => (self.removals.hear(path, news).into_iter().collect(), Ok(())),
            Note::Carried(carried) => match self.carry(carried) {
                Ok(item) => (item.into_iter().collect(), Ok(())),
                Err(error) => (Vec::new(), Err(error)),
            },
        };
        let items = if self.is_loading {
            // Nothing runs before all was taken over.
            self.resumed.push(items);
            Vec::new()
        } else {
            items
        };
        self.scheduler.finish_note(&mut self.desk, items, Vec::new());
        if let Err(error) = taken_in {
            self.give_up(error);
        }
    }

    /// Takes over what an owner of an earlier attempt had.
    fn carry(&mut self, carried: Carried) -> Result<Option<Item>, Error> {
        Ok(match carried {
            Carried::Turn(note) => {
                self.carried_turn.push(&note)?;
                None
            }
            Carried::Chunked(file, tally) => self.chunked.carry(*file, &tally),
            Carried::Removal(path, doomed, tally) => self.removals.carry(path, doomed, &tally),
        })
    }

    /// All that a checkpoint had was taken over.
    pub fn end_carrying(&mut self) {
        self.is_loading = false;
        let empty = LinkTable::new(self.carried_turn.spill().clone());
        self.turn = Some(std::mem::replace(&mut self.carried_turn, empty).into_groups());
    }

    /// Tells this rank's notes to their owners.
    pub fn tell(&mut self, notes: Vec<Note>) {
        let tells = notes.into_iter().map(|note| (self.owner(&note), note)).collect();
        self.scheduler.finish_note(&mut self.desk, Vec::new(), tells);
    }

    /// Shows all notes of inodes with several names, and whether their turn has come.
    pub fn for_each_link_piece<'s>(&'s self, see: &mut dyn FnMut(bool, LinkPiece<'s>)) {
        self.links.for_each_piece(&mut |piece| see(false, piece));
        self.shared.for_each_piece(&mut |piece| see(false, piece));
        if let Some(turn) = &self.turn {
            turn.for_each_piece(&mut |piece| see(true, piece));
        }
    }

    fn hear_of_link(&mut self, note: &LinkNote) -> Result<(), Error> {
        match note.about().0.side {
            Side::Source => self.links.push(note),
            Side::Target => self.shared.push(note),
        }
    }

    /// The groups of one tree's inodes have their turn; notes that come from now on are for a later one.
    pub fn begin_link_turn(&mut self, side: Side) {
        self.turns += 1;
        let prefix = format!("{}-{}-{}", side.word(), self.spill.prefix, self.turns);
        let empty = LinkTable::new(Spill { prefix, ..self.spill.clone() });
        let table = match side {
            Side::Source => std::mem::replace(&mut self.links, empty),
            Side::Target => std::mem::replace(&mut self.shared, empty),
        };
        self.desk.counters.count(Number::ItemsSpilled, table.spilled());
        self.turn = Some(table.into_groups());
    }

    /// Some of the groups whose turn it is; none when all were taken, or can not be.
    pub fn take_link_groups(&mut self) -> Vec<LinkGroup> {
        match self.turn.as_mut().map_or_else(|| Ok(Vec::new()), LinkGroups::take) {
            Ok(groups) => groups,
            Err(error) => {
                self.give_up(error);
                Vec::new()
            }
        }
    }

    /// After a stop: enters what was never done into the books, as unfinished. Returns the large files
    /// that were under way.
    pub fn abandon(&mut self) -> Vec<ChunkedFile> {
        // What was planned stands in books of its own, where the run says what became of it.
        self.plan.clear();
        let mut files = self.chunked.drain();
        self.desk.counters.add(Slot::Ended(Kind::File, Outcome::Unfinished), files.len() as u64);
        let Self { desk: Desk { bag, counters, .. }, deferred, again, resumed, .. } = self;
        for bag in [bag, deferred, again, resumed] {
            abandon_items(bag, counters, &mut files);
        }
        while let Some(depth) = self.after_below.deepest() {
            if let Some(mut bag) = self.after_below.take(depth) {
                abandon_items(&mut bag, &mut self.desk.counters, &mut files);
                self.count_spilled(&bag);
            }
        }
        self.abandon_links();
        files
    }

    /// Counts what was spilled of a bag that is no longer needed.
    pub fn count_spilled(&mut self, bag: &Bag) {
        self.desk.counters.count(Number::ItemsSpilled, bag.spilled());
    }

    fn abandon_links(&mut self) {
        let mut left: Vec<LinkGroups> = self.turn.take().into_iter().collect();
        for side in [Side::Source, Side::Target] {
            self.begin_link_turn(side);
            left.extend(self.turn.take());
        }
        for groups in left {
            let counters = &mut self.desk.counters;
            let counted = groups.abandon(|kind, names| counters.add(Slot::Ended(kind, Outcome::Unfinished), names));
            if let Err(error) = counted {
                self.error.get_or_insert(error);
            }
        }
    }
}

/// Enters into the books what was never done of a bag, item by item: the bag may be larger than the memory.
fn abandon_items(bag: &mut Bag, counters: &mut Counters, files: &mut Vec<ChunkedFile>) {
    while let Some(item) = bag.pop() {
        let (kind, entries) = item.entries();
        counters.add(Slot::Ended(kind, Outcome::Unfinished), entries);
        counters.count(Number::Unlooked, item.names());
        if let Item::Publish { file, .. } = item {
            files.push(file);
        }
    }
}
