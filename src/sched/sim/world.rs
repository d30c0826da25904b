//! A world of ranks driven by events in virtual time.
//!
//! A rank is modelled as the engine runs it: its main thread takes turns (messages, notes, tick,
//! sends), its workers take and finish items between those turns.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::cut::Crossing;
use super::super::message::{Cut, Envelope, Epoch, Message, Rank, Stop};
use super::super::random::Random;
use super::super::scheduler::Scheduler;
use super::super::share::{UNLIMITED, first_share};
use super::bag::Bag;
use super::checkers::{Check, Violation, ensure};
use super::cuts::{Cuts, Piece};
use super::events::{Event, Letter, Post, Queue};
use super::network::Network;
use super::plan::{Kind, Plan, Trouble};
use super::sabotage::{Fate, Saboteur};
use super::trees::{Item, Made, Note};
use super::watch::{Outcome, Watch};

/// A simulated rank.
struct Node {
    scheduler: Scheduler<Bag>,
    bag: Bag,
    inbox: VecDeque<Post>,
    working: Vec<Option<Item>>,
    /// How many times slower than others.
    slowness: u32,
    stopped_until: Duration,
    hung_until: Duration,
    /// The main thread is busy until then.
    free_at: Duration,
    /// When the next turn is due.
    turn_at: Option<Duration>,
    /// Turns of this rank in the queue of events; one that comes too early looks again.
    alarms: Vec<Duration>,
    /// A message or a worker caused the planned turn, not a timer.
    has_cause: bool,
    epoch: u32,
}

impl Node {
    fn new(rank: Rank, plan: &Plan, random: &mut Random) -> Self {
        let first = rank.0 - rank.0 % plan.ranks_per_node;
        let end = (first + plan.ranks_per_node).min(plan.ranks);
        let neighbours = (first..end).map(Rank).filter(|&other| other != rank).collect();
        let settings = plan.settings.clone();
        let mut bag = Bag::new(plan.loot_items_max);
        let limits = settings.limits;
        bag.share = (limits != [UNLIMITED; 2]).then(|| (rank, first_share(limits, plan.ranks)));
        let is_slow = plan.slow_one_in > 0 && random.below(plan.slow_one_in) == 0;
        Self {
            scheduler: Scheduler::new(rank, plan.ranks, plan.workers, neighbours, plan.seed, settings),
            bag,
            inbox: VecDeque::new(),
            working: vec![None; plan.workers as usize],
            slowness: if is_slow { 10 } else { 1 },
            stopped_until: Duration::ZERO,
            hung_until: Duration::ZERO,
            free_at: Duration::ZERO,
            turn_at: None,
            alarms: Vec::new(),
            has_cause: false,
            epoch: 0,
        }
    }
}

/// The ranks, the network between them and the clock.
pub struct World {
    plan: Plan,
    now: Duration,
    queue: Queue,
    random: Random,
    network: Network,
    nodes: Vec<Node>,
    watch: Watch,
    cuts: Cuts,
    saboteur: Saboteur,
    ended: u32,
}

/// Runs a world to its end, under the eyes of all checkers.
pub fn run(plan: &Plan) -> Result<Outcome, Violation> {
    let mut world = World::new(plan.clone());
    while world.ended < world.plan.ranks {
        let Some((time, event)) = world.queue.next() else {
            return Err(Violation("no event is left, and some ranks are not over".into()));
        };
        world.now = time;
        if world.plan.trace {
            println!("{time:?} {event:?}");
        }
        world.watch.time_passed(time)?;
        world.handle(event)?;
    }
    let World { cuts, watch, now, .. } = world;
    let mut outcome = watch.end(now)?;
    outcome.pieces = cuts.done();
    outcome.checkpoints = cuts.in_force;
    Ok(outcome)
}

impl World {
    fn new(plan: Plan) -> Self {
        let mut random = Random::new(plan.seed ^ 0x5eed);
        let nodes = (0..plan.ranks).map(|rank| Node::new(Rank(rank), &plan, &mut random)).collect();
        let mut world = Self {
            now: Duration::ZERO,
            queue: Queue::default(),
            network: Network::new(plan.delay, plan.ranks_per_node),
            random,
            nodes,
            watch: Watch::new(&plan),
            cuts: Cuts::new(plan.cut_every, plan.ranks),
            saboteur: Saboteur::new(&plan),
            ended: 0,
            plan,
        };
        for rank in 0..world.plan.ranks {
            world.plan_entry(Rank(rank));
        }
        for trouble in world.plan.troubles.clone() {
            world.queue.plan(trouble.from, Event::Trouble(Box::new(trouble)));
        }
        if let Some((rank, time)) = world.plan.stop {
            world.queue.plan(time, Event::WantStop(rank));
        }
        world
    }

    fn node(&mut self, rank: Rank) -> &mut Node {
        &mut self.nodes[rank.0 as usize]
    }

    /// Ranks do not begin a pass at the same moment.
    fn plan_entry(&mut self, rank: Rank) {
        let skew = self.plan.delay.max * self.random.below(4) as u32;
        self.queue.plan(self.now + skew, Event::Enter(rank));
    }

    /// Plans a turn of the main thread, unless an earlier one is planned.
    fn plan_turn(&mut self, rank: Rank, time: Duration) {
        let (now, node) = (self.now, self.node(rank));
        let time = time.max(node.free_at).max(node.stopped_until).max(now);
        let time = node.turn_at.map_or(time, |planned| planned.min(time));
        node.turn_at = Some(time);
        if node.alarms.iter().all(|alarm| *alarm > time) {
            node.alarms.push(time);
            self.queue.plan(time, Event::Turn(rank));
        }
    }

    /// A message or a worker wakes the main thread.
    fn wake(&mut self, rank: Rank) {
        let latency = self.plan.turn_time * self.node(rank).slowness;
        self.node(rank).has_cause = true;
        self.plan_turn(rank, self.now + latency);
    }

    fn handle(&mut self, event: Event) -> Check {
        match event {
            Event::Arrive(rank, post) => self.arrive(rank, *post),
            Event::Turn(rank) => return self.alarm(rank),
            Event::Done(rank, worker) => return self.done(rank, worker),
            Event::Late(rank, made) => {
                let node = self.node(rank);
                node.scheduler.finish_note(&mut node.bag, made.items, made.tells);
                self.wake(rank);
                return self.seen(rank);
            }
            Event::Enter(rank) => return self.enter(rank),
            Event::Trouble(trouble) => self.befall(*trouble),
            Event::WantStop(rank) => {
                self.node(rank).scheduler.want_stop(Stop::Signal);
                self.wake(rank);
            }
        }
        Ok(())
    }

    fn arrive(&mut self, rank: Rank, mut post: Post) {
        let (now, node) = (self.now, self.node(rank));
        if now < node.stopped_until {
            hold_up(&mut post.letter);
            self.watch.arrived_at_stopped(&post.letter);
        }
        self.node(rank).inbox.push_back(post);
        self.wake(rank);
    }

    fn befall(&mut self, Trouble { rank, kind, to, .. }: Trouble) {
        let node = self.node(rank);
        match kind {
            Kind::Hung => {
                node.hung_until = node.hung_until.max(to);
                node.working.iter_mut().flatten().for_each(|item| item.held_up = true);
            }
            Kind::Stopped => {
                node.stopped_until = node.stopped_until.max(to);
                node.bag.mark_held_up();
                node.working.iter_mut().flatten().for_each(|item| item.held_up = true);
                node.inbox.iter_mut().for_each(|post| hold_up(&mut post.letter));
            }
        }
    }

    fn enter(&mut self, rank: Rank) -> Check {
        let now = self.now;
        let resumes = self.node(rank).stopped_until;
        if now < resumes {
            self.queue.plan(resumes, Event::Enter(rank));
            return Ok(());
        }
        let epoch = self.node(rank).epoch + 1;
        let (mut seeds, tells) = self.first(rank, epoch);
        for seed in &mut seeds {
            seed.id = self.watch.books.create(epoch);
        }
        let node = self.node(rank);
        node.epoch = epoch;
        node.scheduler.enter_epoch(now, &mut node.bag, seeds);
        self.watch.entered(now, rank, epoch);
        self.cuts.entered(rank, epoch);
        self.seen(rank)?;
        tells.iter().for_each(|_| self.watch.books.told(epoch));
        let node = self.node(rank);
        node.scheduler.finish_note(&mut node.bag, Vec::new(), tells);
        while let Some((from, letter)) = self.node(rank).scheduler.poll_early() {
            self.take_message(rank, from, letter)?;
        }
        self.wake(rank);
        Ok(())
    }

    /// What a rank begins a pass with; after a checkpoint, the parts of some of the ranks that took it.
    fn first(&self, rank: Rank, epoch: u32) -> (Vec<Item>, Vec<(Rank, Note)>) {
        let Some(checkpoint) = &self.plan.resumed else {
            let has_seed = rank == Rank::ROOT || self.plan.seeds_everywhere;
            return (has_seed.then(|| self.plan.tree.first(epoch, rank)).into_iter().collect(), Vec::new());
        };
        let ranks = self.plan.ranks as usize;
        let mine = || checkpoint.parts.iter().skip(rank.0 as usize).step_by(ranks);
        let items = mine().flat_map(|part| &part.items).map(|item| Item { epoch, ..*item });
        let notes = mine().flat_map(|part| &part.notes).map(|note| Note { epoch, ..*note });
        let owner = |note: Note| (Rank((note.seed % u64::from(self.plan.ranks)) as u32), note);
        (items.collect(), notes.map(owner).collect())
    }

    /// The items that all ranks begin a pass with.
    fn seeds(&self, epoch: u32) -> Vec<Item> {
        (0..self.plan.ranks).flat_map(|rank| self.first(Rank(rank), epoch).0).collect()
    }

    /// A rank writes down its part of a checkpoint.
    fn cut(&mut self, rank: Rank, cut: Cut) {
        let forgets = self.saboteur.forgets_running();
        let node = &mut self.nodes[rank.0 as usize];
        let running = node.working.iter().flatten().filter(|_| !forgets);
        let items = node.bag.items().chain(running).copied().collect();
        let notes = node.scheduler.inbox().copied().collect();
        self.cuts.take(self.now, rank, cut, items, notes);
        node.scheduler.take_cut(cut);
        if rank == Rank::ROOT {
            node.scheduler.allow_seal();
        }
    }

    /// What a rank's main thread does for checkpoints in a turn.
    fn look_at_cuts(&mut self, rank: Rank) -> Check {
        let now = self.now;
        let scheduler = &mut self.node(rank).scheduler;
        if let Some(cut) = scheduler.sealed() {
            scheduler.keep(cut);
        }
        if rank != Rank::ROOT || scheduler.is_over() {
            return Ok(());
        }
        if let Some(cut) = scheduler.poll_kept() {
            let seeds = self.seeds(self.nodes[0].epoch);
            self.cuts.kept(cut, &self.plan.tree, seeds)?;
        } else if scheduler.stop().is_none() && self.plan.resumed.is_none() && self.cuts.is_due(now) {
            let next = self.nodes[0].scheduler.next_cut();
            self.cut(rank, next);
        }
        Ok(())
    }

    /// Shows the checkers how items moved in the bag of a rank.
    fn seen(&mut self, rank: Rank) -> Check {
        let bag = &mut self.nodes[rank.0 as usize].bag;
        for step in bag.moves.drain(..) {
            self.watch.books.moved(rank, &step)?;
        }
        Ok(())
    }

    /// A planned turn, or one that something else has put off.
    fn alarm(&mut self, rank: Rank) -> Check {
        let (now, node) = (self.now, self.node(rank));
        node.alarms.retain(|alarm| *alarm != now);
        match node.turn_at.take() {
            Some(time) if time > now || node.free_at.max(node.stopped_until) > now => {
                self.plan_turn(rank, time);
                Ok(())
            }
            Some(_) => self.turn(rank),
            None => Ok(()),
        }
    }

    /// One turn of the main thread, as the engine does it.
    fn turn(&mut self, rank: Rank) -> Check {
        let now = self.now;
        let has_cause = std::mem::take(&mut self.node(rank).has_cause);
        self.watch.turn(now, rank, has_cause)?;
        let handled = self.take_messages(rank)?;
        self.look_at_cuts(rank)?;
        self.take_notes(rank)?;
        self.start_workers(rank)?;
        let node = self.node(rank);
        node.scheduler.tick(now, &mut node.bag);
        self.seen(rank)?;
        self.take_news(rank)?;
        self.check_shares()?;
        let sent = self.send_all(rank)?;
        let busy = self.plan.turn_time * self.node(rank).slowness * (handled + sent);
        self.node(rank).free_at = now + busy;
        if self.node(rank).scheduler.is_over() {
            return self.over(rank);
        }
        let node = self.node(rank);
        if let Some(time) = node.scheduler.next_wake(&node.bag) {
            self.plan_turn(rank, time);
        }
        Ok(())
    }

    /// All ranks together never may use more than the limit. A rank that was stopped for long may find
    /// its share given away.
    fn check_shares(&self) -> Check {
        if self.plan.has_stopped_rank() && self.now > Duration::from_secs(10) {
            return Ok(());
        }
        let limited = |(_, limit): &(usize, u64)| *limit != UNLIMITED;
        for (resource, limit) in self.plan.settings.limits.into_iter().enumerate().filter(limited) {
            let of = |node: &Node| node.bag.share.map_or(0, |(_, rates)| rates[resource]);
            let sum: u128 = self.nodes.iter().map(|node| u128::from(of(node))).sum();
            ensure!(sum <= u128::from(limit), "the ranks may use {sum} together, the limit is {limit}");
        }
        Ok(())
    }

    fn take_messages(&mut self, rank: Rank) -> Result<u32, Violation> {
        let mut handled = 0;
        while let Some(Post { from, sent, letter }) = self.node(rank).inbox.pop_front() {
            handled += 1;
            self.watch.arrived(self.now, rank, sent, &letter);
            self.take_message(rank, from, letter)?;
        }
        Ok(handled)
    }

    fn take_message(&mut self, rank: Rank, from: Rank, letter: Letter) -> Check {
        match self.node(rank).scheduler.crossing(&letter) {
            Crossing::FromAfter(cut) => self.cut(rank, cut),
            Crossing::FromBefore if !self.saboteur.forgets_late() => self.cuts.late(rank, &letter),
            Crossing::FromBefore | Crossing::Within => {}
        }
        let (now, node) = (self.now, self.node(rank));
        node.scheduler.handle_message(now, &mut node.bag, from, letter);
        self.seen(rank)
    }

    fn take_notes(&mut self, rank: Rank) -> Check {
        while let Some(note) = self.node(rank).scheduler.poll_note() {
            self.watch.books.noted(note.epoch)?;
            self.watch.worked(self.now, note.epoch);
            self.cuts.did(rank, Piece::Note(note.seed));
            let made = self.enter_books(self.plan.tree.note_outcome(&note), note.epoch);
            let node = self.node(rank);
            node.scheduler.finish_note(&mut node.bag, made.items, made.tells);
            self.seen(rank)?;
        }
        Ok(())
    }

    /// Gives numbers to what was made.
    fn enter_books(&mut self, mut made: Made, epoch: u32) -> Made {
        for item in &mut made.items {
            item.id = self.watch.books.create(epoch);
        }
        made.tells.iter().for_each(|_| self.watch.books.told(epoch));
        made
    }

    fn start_workers(&mut self, rank: Rank) -> Check {
        for worker in 0..self.plan.workers {
            if self.node(rank).working[worker as usize].is_none() {
                self.start(rank, worker)?;
            }
        }
        Ok(())
    }

    fn start(&mut self, rank: Rank, worker: u32) -> Check {
        let (now, node) = (self.now, self.node(rank));
        let Some(mut item) = node.scheduler.take_item(&mut node.bag) else {
            return Ok(());
        };
        item.held_up |= now < node.hung_until;
        node.working[worker as usize] = Some(item);
        let begin = now.max(node.hung_until);
        let time = self.plan.tree.time(&item) * self.node(rank).slowness;
        self.watch.started(now, rank, self.plan.tree.time(&item))?;
        self.queue.plan(begin + time, Event::Done(rank, worker));
        self.seen(rank)
    }

    /// A worker is done, and takes the next item in the same breath.
    fn done(&mut self, rank: Rank, worker: u32) -> Check {
        let (now, node) = (self.now, self.node(rank));
        let later = node.stopped_until.max(node.hung_until);
        if now < later {
            self.queue.plan(later, Event::Done(rank, worker));
            return Ok(());
        }
        let Some(item) = node.working[worker as usize].take() else {
            return Err(Violation(format!("rank {} ends an item that it does not run", rank.0)));
        };
        node.bag.done += 1;
        self.watch.done(now, rank, &item)?;
        self.cuts.did(rank, Piece::Item(item.seed));
        let mut made = self.enter_books(self.plan.tree.outcome(&item), item.epoch);
        if self.saboteur.splits_outcomes() {
            let late = Box::new(std::mem::take(&mut made));
            self.queue.plan(now + self.plan.delay.max * 4, Event::Late(rank, late));
        }
        let node = self.node(rank);
        node.scheduler.finish_item(&mut node.bag, made.items, made.tells);
        self.seen(rank)?;
        self.start(rank, worker)?;
        self.wake(rank);
        Ok(())
    }

    fn over(&mut self, rank: Rank) -> Check {
        let now = self.now;
        let Node { scheduler, epoch, .. } = &self.nodes[rank.0 as usize];
        if self.watch.over(now, rank, *epoch, scheduler.stop())? {
            if *epoch < self.plan.epochs && scheduler.stop().is_none() {
                self.plan_entry(rank);
            } else {
                self.ended += 1;
            }
        }
        Ok(())
    }

    fn take_news(&mut self, rank: Rank) -> Check {
        let now = self.now;
        let Some(report) = self.node(rank).scheduler.poll_news() else {
            return Ok(());
        };
        self.watch.news(now, &report)?;
        if self.saboteur.forges_end(&report, self.plan.ranks) && !self.node(rank).scheduler.is_over() {
            let node = self.node(rank);
            let forged = Envelope { epoch: Epoch(node.epoch), cut: Cut(0), message: Message::Halt };
            node.scheduler.handle_message(now, &mut node.bag, Rank(1), forged);
        }
        Ok(())
    }

    fn send_all(&mut self, rank: Rank) -> Result<u32, Violation> {
        let mut sent = 0;
        while let Some((to, mut letter)) = self.node(rank).scheduler.poll_send() {
            sent += 1;
            self.watch.sent(self.now, rank, to, &letter)?;
            if let Message::Loot { request, .. } = letter.message {
                let node = &mut self.nodes[rank.0 as usize];
                let idle = node.working.iter().filter(|slot| slot.is_none()).count() as u32;
                self.watch.looted(node.bag.loots.pop_front(), to, request, idle)?;
            }
            match self.saboteur.fate(self.now, rank, &mut letter) {
                Fate::Delivered => self.send(self.now, rank, to, letter),
                Fate::Held(wait) => self.send(self.now + wait, rank, to, letter),
                Fate::Lost => {}
                Fate::Twice => {
                    self.send(self.now, rank, to, letter.clone());
                    self.send(self.now, rank, to, letter);
                }
            }
        }
        Ok(sent)
    }

    fn send(&mut self, sent: Duration, from: Rank, to: Rank, letter: Letter) {
        let arrival = self.network.arrival(sent, from, to, &mut self.random);
        self.queue.plan(arrival, Event::Arrive(to, Box::new(Post { from, sent, letter })));
    }
}

/// Marks what a message brings to a stopped rank.
fn hold_up(letter: &mut Letter) {
    match &mut letter.message {
        Message::Loot { items, .. } => items.iter_mut().for_each(|item| item.held_up = true),
        Message::Tell(note) => note.held_up = true,
        _ => {}
    }
}
