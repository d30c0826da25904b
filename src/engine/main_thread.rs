//! A rank's main thread: messages, waves, progress and signals. It never touches a file of the trees,
//! so a rank whose workers hang in a dead server still answers.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::bag::Bag;
use super::checkpoints::{Checkpointing, Checkpoints};
use super::company::Company;
use super::difference_log::ListSettings;
use super::fault_log::FaultGroup;
use super::letters;
use super::lists::{Author, Lists};
use super::lost;
use super::overseer::{self, Overseer};
use super::state::{Shared, State};
use super::stop_sign::StopSign;
use crate::comm::Comm;
use crate::counters::{Counters, Number};
use crate::fault::Error;
use crate::fs::in_flight;
use crate::fs::operator::RunDirectory;
use crate::memory::Shares;
use crate::pass::limits::Rates;
use crate::pass::{Context, Signs, Watch};
use crate::sched::{Envelope, Message, Rank, Report, Scheduler, Settings, Stop, Vigil};
use crate::tree::census::Census;
use crate::tree::{ChunkedFile, Item, Outcome};
use crate::wire;

/// Shortest and longest sleep of the main thread between two looks at the network, which can not
/// wake it.
const SLEEP_MIN: Duration = Duration::from_micros(50);
const SLEEP_MAX: Duration = Duration::from_millis(5);
/// Longest sleep of a rank that waits for work, and of one that has no network to look at.
const SLEEP_MAX_HUNGRY: Duration = Duration::from_millis(1);
const SLEEP_MAX_ALONE: Duration = Duration::from_millis(100);

/// Messages that are taken out of the rank's state at once: workers wait meanwhile.
const POSTS_MAX: usize = 16 << 10;

/// What an engine is made with.
pub struct Setup {
    /// Other ranks on this node.
    pub neighbours: Vec<Rank>,
    /// This node's name.
    pub host: String,
    /// The nodes of all ranks.
    pub hosts: Vec<String>,
    /// Workers that run at one time.
    pub threads: u32,
    /// What each part of the rank may hold in memory.
    pub shares: Shares,
    /// What all ranks together may use a second.
    pub limits: Rates,
    /// Where items are spilled and faults listed.
    pub run_directory: RunDirectory,
    /// How differences are listed.
    pub list: ListSettings,
    /// What checkpoints are taken with.
    pub checkpoints: Checkpointing,
    /// What asks the run to stop early.
    pub stop_sign: StopSign,
    /// A rank that is silent for so long ends the job.
    pub rank_timeout: Duration,
    /// What takes longer has no answer; `None`: it is waited for.
    pub op_timeout: Option<Duration>,
    /// For the choice of victims.
    pub seed: u64,
    /// What this engine shares with those of other lanes.
    pub company: Option<Arc<Company>>,
}

/// How a pass ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Nothing is left.
    Quiet,
    /// All ranks stopped early.
    Stopped(Stop),
}

/// The engine of one rank.
pub struct Engine<'c> {
    pub(super) comm: &'c mut dyn Comm,
    pub(super) shared: Arc<Shared>,
    pub(super) overseer: Overseer,
    run_directory: RunDirectory,
    pub(super) checkpoints: Checkpoints,
    stop_sign: StopSign,
    /// The stop that this rank has asked for.
    wanted: Option<Stop>,
    vigil: Vigil,
    hosts: Vec<String>,
    started: Instant,
    sleep: Duration,
}

impl<'c> Engine<'c> {
    /// Starts the workers of a rank. With an error the communication comes back: others must hear of it.
    pub fn start(
        comm: &'c mut dyn Comm,
        context: Arc<Context>,
        setup: Setup,
    ) -> Result<Self, (Error, &'c mut dyn Comm)> {
        let (me, ranks) = (comm.rank(), comm.ranks());
        let signs = Arc::new(Signs::default());
        let all = overseer::workers_max(setup.threads);
        let slots = match in_flight::slots(&setup.run_directory, me.0, all as usize) {
            Ok(slots) => slots.into_iter(),
            Err(error) => return Err((Error::of_state("the run directory can not be used", error), comm)),
        };
        let watch = |slot| Watch::recorded(Arc::clone(&signs), slot, Arc::clone(&context.suspects));
        let watches: Arc<Vec<Watch>> = Arc::new(slots.map(watch).collect());
        let run_directory = setup.run_directory.clone();
        let limits = [setup.limits.bytes, setup.limits.operations];
        let settings = Settings { limits, ..Settings::default() };
        let scheduler = Scheduler::new(me, ranks, setup.threads, setup.neighbours, setup.seed, settings);
        let (watched, trees) = (Arc::clone(&watches), Arc::clone(&context));
        let state = State::new(scheduler, (me, ranks), watched, trees, &run_directory, setup.shares);
        let author = Author { attempt: setup.checkpoints.attempt, rank: me };
        let shared = Arc::new(Shared {
            state: state.into(),
            work: std::sync::Condvar::new(),
            main: std::sync::Condvar::new(),
            lists: Lists::new(&setup.run_directory, author, setup.host, setup.list).into(),
            context,
            threads: setup.threads,
            watches,
            signs,
            company: setup.company,
        });
        let overseer = match Overseer::start(&shared, setup.op_timeout) {
            Ok(overseer) => overseer,
            Err(error) => return Err((error, comm)),
        };
        let now = Instant::now();
        shared.lock().scheduler.continue_cuts(setup.checkpoints.last);
        let checkpoints = match Checkpoints::new(setup.checkpoints, &setup.run_directory, (me, ranks), &shared) {
            Ok(checkpoints) => checkpoints,
            Err(error) => return Err((error, comm)),
        };
        Ok(Self {
            comm,
            shared,
            overseer,
            run_directory,
            checkpoints,
            stop_sign: setup.stop_sign,
            wanted: None,
            vigil: Vigil::new(me, ranks, setup.rank_timeout),
            hosts: setup.hosts,
            started: now,
            sleep: SLEEP_MIN,
        })
    }

    /// Runs a pass with this rank's own first items until no rank has any left. `observe` sees what
    /// each wave brings (on rank 0).
    pub fn run_pass(&mut self, seeds: Vec<Item>, observe: &mut dyn FnMut(&Report)) -> Ended {
        self.run(seeds, |_| (), observe)
    }

    /// Goes on with what a checkpoint had in the bags of its ranks.
    pub fn run_resumed(&mut self, observe: &mut dyn FnMut(&Report)) -> Ended {
        self.run(Vec::new(), |state| state.desk.bag.take_over(&mut state.resumed), observe)
    }

    /// Settles directories that waited for the end of the walk.
    pub fn run_deferred(&mut self, observe: &mut dyn FnMut(&Report)) -> Ended {
        self.run(Vec::new(), |state| state.desk.bag.take_over(&mut state.deferred), observe)
    }

    /// Settles those of one depth that waited for what is below them.
    pub fn run_after_below(&mut self, depth: u32, observe: &mut dyn FnMut(&Report)) -> Ended {
        let fill = |state: &mut State| {
            if let Some(mut bag) = state.after_below.take(depth) {
                state.desk.bag.take_over(&mut bag);
                // What was the bag before.
                state.count_spilled(&bag);
            }
        };
        self.run(Vec::new(), fill, observe)
    }

    /// Removes what was planned.
    pub fn run_plan(&mut self, observe: &mut dyn FnMut(&Report)) -> Ended {
        self.run(Vec::new(), |state| state.desk.bag.take_over(&mut state.plan), observe)
    }

    /// Looks at names once more whose place a directory had that was to be removed.
    pub fn run_again(&mut self, observe: &mut dyn FnMut(&Report)) -> Ended {
        self.run(Vec::new(), |state| state.desk.bag.take_over(&mut state.again), observe)
    }

    pub(super) fn run(
        &mut self,
        seeds: Vec<Item>,
        fill: impl FnOnce(&mut State),
        observe: &mut dyn FnMut(&Report),
    ) -> Ended {
        {
            let mut state = self.shared.lock();
            let now = self.started.elapsed();
            self.vigil.begin(now);
            let state = &mut *state;
            state.scheduler.enter_epoch(now, &mut state.desk, seeds);
            self.checkpoints.enter_pass();
            fill(state);
            while let Some((from, early)) = state.scheduler.poll_early() {
                self.checkpoints.before(state, &early);
                state.scheduler.handle_message(now, &mut state.desk, from, early);
            }
            self.shared.work.notify_all();
        }
        self.sleep = SLEEP_MIN;
        loop {
            let received = self.receive_all();
            if self.step(received, observe) {
                break;
            }
        }
        self.send_all();
        match self.shared.lock().scheduler.stop() {
            None => Ended::Quiet,
            Some(stop) => Ended::Stopped(stop),
        }
    }

    /// Takes in everything that has arrived. Returns whether there was anything.
    fn receive_all(&mut self) -> bool {
        let mut any = false;
        while let Some((from, bytes)) = self.comm.receive() {
            any = true;
            let posts = match wire::decode_posts(&bytes) {
                Ok(posts) => posts,
                // Bytes of another program among our ranks: nothing that follows can be trusted.
                #[allow(clippy::panic)]
                Err(garbage) => panic!("rank {} sent {garbage}", from.0),
            };
            self.handle(from, posts);
        }
        any
    }

    fn handle(&mut self, from: Rank, posts: Vec<wire::Post>) {
        let mut state = self.shared.lock();
        let now = self.started.elapsed();
        let state = &mut *state;
        let before = state.desk.bag.len();
        for post in posts {
            self.checkpoints.before(state, &post);
            count_steals(&mut state.desk.counters, &post);
            if matches!(post.message, Message::WaveDown { .. }) {
                self.vigil.hear_wave(now);
            }
            state.scheduler.handle_message(now, &mut state.desk, from, post);
            hear_notes(state);
        }
        if state.desk.bag.len() > before {
            self.shared.work.notify_all();
        }
        if state.scheduler.has_thieves() {
            self.shared.signs.hungry.store(true, Ordering::Relaxed);
        }
    }

    /// One round of the main loop. Returns whether the pass is over.
    fn step(&mut self, received: bool, observe: &mut dyn FnMut(&Report)) -> bool {
        let now = self.started.elapsed();
        let wanted = self.stop_sign.wanted(jiff::Timestamp::now());
        let (sent, news, wake) = {
            let mut state = self.shared.lock();
            // Once for each wish: rank 0 begins a wave whenever it is told.
            if let Some(stop) = wanted.filter(|_| wanted > self.wanted) {
                state.scheduler.want_stop(stop);
                self.wanted = wanted;
            }
            let state = &mut *state;
            if let Some(company) = &self.shared.company {
                let part = company.part();
                state.scheduler.set_limits([part.bytes, part.operations]);
            }
            if hear_notes(state) {
                self.shared.work.notify_all();
            }
            self.checkpoints.step(now, state);
            state.scheduler.tick(now, &mut state.desk);
            self.shared.signs.stop.store(state.scheduler.stop().is_some(), Ordering::Relaxed);
            (posts(state), state.scheduler.poll_news(), state.scheduler.next_wake(&state.desk))
        };
        let active = received || !sent.is_empty();
        letters::write(sent.into_iter(), |to, letter| self.comm.send(to, letter));
        self.tell_unsent();
        if let Some(report) = news {
            self.vigil.hear_report(now, &report);
            self.checkpoints.hear_wave(&report.counters);
            observe(&report);
        }
        if let Some(lost) = self.vigil.look(now) {
            lost::end_job(self.comm, &self.hosts, lost);
        }
        self.overseer.look();
        self.rest(active, wake)
    }

    /// The workers are held back while too much is on its way.
    fn tell_unsent(&mut self) {
        let unsent = self.comm.unsent();
        let mut state = self.shared.lock();
        if unsent == state.unsent && !state.held_back {
            return;
        }
        state.unsent = unsent;
        if state.held_back && !state.is_congested() {
            state.held_back = false;
            self.shared.work.notify_all();
        }
    }

    fn send_all(&mut self) {
        loop {
            let posts = posts(&mut self.shared.lock());
            if posts.is_empty() {
                return;
            }
            letters::write(posts.into_iter(), |to, letter| self.comm.send(to, letter));
        }
    }

    /// Sleeps until something is due, a worker reports, or it is time to look at the network again.
    fn rest(&mut self, active: bool, wake: Option<Duration>) -> bool {
        self.sleep = if active { SLEEP_MIN } else { self.sleep * 2 };
        let state = self.shared.lock();
        if state.scheduler.is_over() {
            return true;
        }
        // The last worker may have ended since this thread looked, and its wake was lost.
        let longest = if state.busy == 0 {
            SLEEP_MAX_HUNGRY
        } else if self.comm.ranks() == 1 {
            SLEEP_MAX_ALONE
        } else {
            SLEEP_MAX
        };
        let floor = if self.comm.ranks() == 1 { longest } else { self.sleep.min(longest) };
        let due = wake.map_or(longest, |wake| wake.saturating_sub(self.started.elapsed()));
        let sleep = floor.min(due);
        self.sleep = self.sleep.min(longest);
        if !sleep.is_zero() && !state.scheduler.has_outgoing() {
            let waited = self.shared.main.wait_timeout(state, sleep);
            drop(waited);
        }
        false
    }

    /// Ends the workers of a run that goes no further.
    pub fn dismiss(&self) {
        self.shared.lock().closing = true;
        self.shared.work.notify_all();
        self.overseer.retire();
    }

    /// Ends the workers, but for those that hang: they end with the process. Returns what was counted, the faults by cause, and why the run gave up.
    pub fn finish(self) -> Finished {
        self.dismiss();
        let abandoned = self.shared.lock().abandon();
        let leaves_behind = self.overseer.has_disowned();
        // A checkpoint that comes into force later than this would bring back what is over.
        let waited = self.checkpoints.wait_for_scribe();
        drop(self.overseer);
        in_flight::remove(&self.run_directory, self.comm.rank().0);
        self.comm.finish();
        let closed = self.shared.lists.lock().unwrap_or_else(PoisonError::into_inner).close();
        let mut state = self.shared.lock();
        let bags = [&state.desk.bag, &state.resumed, &state.deferred, &state.plan, &state.again];
        let spilled = bags.map(Bag::spilled).iter().sum();
        let root_outcome = state.root_outcome;
        state.desk.counters.count(Number::ItemsSpilled, spilled);
        let halted = state.halted.take();
        let error = state.error.take().or(closed.err()).or(waited.err()).or(halted);
        let faults = std::mem::take(&mut state.faults).into_iter().collect();
        let census = std::mem::take(&mut state.census);
        Finished {
            counters: state.desk.counters.clone(),
            census,
            faults,
            abandoned,
            root_outcome,
            leaves_behind,
            error,
        }
    }
}

/// What a rank brings home.
#[derive(Debug)]
pub struct Finished {
    /// All that was counted.
    pub counters: Counters,
    /// What was counted of SRC, by a walk that only counts.
    pub census: Census,
    /// Faults by cause.
    pub faults: Vec<(FaultGroup, u64)>,
    /// Large files that were under way when the run was stopped, of which this rank is the owner.
    pub abandoned: Vec<ChunkedFile>,
    /// What is to stand in the books for the root, on the rank that walked it.
    pub root_outcome: Option<Outcome>,
    /// Items were taken from workers, which may have left temporary names.
    pub leaves_behind: bool,
    /// Why the run gave up.
    pub error: Option<Error>,
}

/// Takes in the notes to this rank. Returns whether one of them brought an item.
fn hear_notes(state: &mut State) -> bool {
    let before = state.desk.bag.len();
    while let Some(note) = state.scheduler.poll_note() {
        state.hear(note);
    }
    state.desk.bag.len() > before
}

fn posts(state: &mut State) -> Vec<(Rank, wire::Post)> {
    std::iter::from_fn(|| state.scheduler.poll_send()).take(POSTS_MAX).collect()
}

fn count_steals(counters: &mut Counters, envelope: &wire::Post) {
    let Envelope { message, .. } = envelope;
    match message {
        Message::Loot { items, .. } => {
            counters.count(Number::Steals, 1);
            counters.count(Number::ItemsStolen, items.len() as u64);
        }
        Message::Refusal { .. } => counters.count(Number::Refusals, 1),
        _ => {}
    }
}
