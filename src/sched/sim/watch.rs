//! All checkers of one world at work: what the world shows them, and what they conclude.

use std::time::Duration;

use super::super::message::{Envelope, Message, Rank, Report, Stop};
use super::bag::Loot;
use super::bounds::{self, Tally};
use super::checkers::{Books, Check, Steals, Violation, ensure, loot_is_fair};
use super::cuts::{Checkpoint, Pieces};
use super::plan::{Kind, Plan, Trouble};
use super::trees::{Item, Note};

/// Turns that one rank's timers may cause at one moment: the end of a wave begins the next, which
/// may end at once.
const TURNS_AT_ONCE_MAX: u32 = 4;
/// Nothing at all happens for so long: the world is stuck.
const STUCK: Duration = Duration::from_secs(60);

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    pub tally: Tally,
    pub items: u64,
    pub done: u64,
    /// Time of all items on ranks of ordinary speed.
    pub work: Duration,
    /// The end of the last item or note.
    pub last_work: Duration,
    /// The end of the last item that no stopped rank held up.
    pub last_free_work: Duration,
    /// The last rank knew of the end.
    pub over: Duration,
    /// When rank 0 ended each pass.
    pub root_over: Vec<Duration>,
    /// The run was stopped before its work was done.
    pub stopped: bool,
    /// Waves that named a silent rank and had the answers of all others.
    pub waves_around_silence: u64,
    /// What was done in the last pass.
    pub pieces: Pieces,
    /// Checkpoints that came into force, with their passes.
    pub checkpoints: Vec<(u32, Checkpoint)>,
}

/// The times of a pass.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    last_work: Duration,
    last_entered: Duration,
    /// The stop that the first rank knew at the end.
    stop: Option<Option<Stop>>,
}

/// A main thread's turns at the last moment it had one.
#[derive(Debug, Clone, Copy, Default)]
struct Turns {
    at: Duration,
    count: u32,
}

/// Everything that is watched.
pub struct Watch {
    plan: Plan,
    pub books: Books,
    steals: Steals,
    pub tally: Tally,
    transit_max: Duration,
    times: Vec<Times>,
    entered: Vec<u32>,
    over: Vec<u32>,
    turns: Vec<Turns>,
    last_progress: Duration,
    last_news: Duration,
    work: Duration,
    last_free_work: Duration,
    root_over: Vec<Duration>,
    waves_around_silence: u64,
}

impl Watch {
    pub fn new(plan: &Plan) -> Self {
        let ranks = plan.ranks as usize;
        Self {
            books: Books::default(),
            steals: Steals::new(plan.ranks, plan.settings.steal_wait),
            tally: Tally::new(plan.ranks),
            transit_max: plan.delay.max,
            times: vec![Times::default(); plan.epochs as usize + 1],
            entered: vec![0; ranks],
            over: vec![0; ranks],
            turns: vec![Turns::default(); ranks],
            last_progress: Duration::ZERO,
            last_news: Duration::ZERO,
            work: Duration::ZERO,
            last_free_work: Duration::ZERO,
            root_over: Vec::new(),
            waves_around_silence: 0,
            plan: plan.clone(),
        }
    }

    fn stopped(&self) -> impl Iterator<Item = &Trouble> {
        self.plan.troubles.iter().filter(|trouble| trouble.kind == Kind::Stopped)
    }

    /// The clock moved.
    pub fn time_passed(&mut self, now: Duration) -> Check {
        let troubled = self.plan.troubles.iter().map(|trouble| trouble.to).max().unwrap_or_default();
        let longest = self.plan.tree.item_time * 300;
        let stuck = now > self.last_progress.max(troubled) + longest + STUCK;
        ensure!(!stuck, "nothing has happened for a long time, and some ranks are not over");
        Ok(())
    }

    /// A rank begins a pass.
    pub fn entered(&mut self, now: Duration, rank: Rank, epoch: u32) {
        self.steals.entered(rank);
        self.entered[rank.0 as usize] = epoch;
        self.times[epoch as usize].last_entered = now;
        self.last_progress = now;
        if rank == Rank::ROOT {
            self.last_news = now;
        }
    }

    /// A main thread takes a turn.
    pub fn turn(&mut self, now: Duration, rank: Rank, has_cause: bool) -> Check {
        if has_cause {
            return Ok(());
        }
        self.tally.timer_turns_of[rank.0 as usize] += 1;
        let turns = &mut self.turns[rank.0 as usize];
        let count = if turns.at == now { turns.count + 1 } else { 1 };
        *turns = Turns { at: now, count };
        ensure!(count <= TURNS_AT_ONCE_MAX, "rank {} spins", rank.0);
        Ok(())
    }

    /// A message leaves a rank.
    pub fn sent(&mut self, now: Duration, from: Rank, to: Rank, letter: &Envelope<Item, Note>) -> Check {
        self.tally.sent(from, to, &letter.message);
        match letter.message {
            Message::StealRequest { request, hungry, .. } => self.steals.asked(now, from, request, hungry),
            Message::WaveDown { wave, .. } if from == Rank::ROOT => {
                self.tally.wave_begun(letter.epoch.0, wave);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A message is taken in by its receiver.
    pub fn arrived(&mut self, now: Duration, rank: Rank, sent: Duration, letter: &Envelope<Item, Note>) {
        let was_stopped = self.stopped().any(|t| t.rank == rank && t.to >= sent && t.from <= now);
        if !was_stopped {
            self.transit_max = self.transit_max.max(now - sent);
        }
        match letter.message {
            Message::Loot { request, .. } => {
                self.steals.answered(rank, request);
                self.worked(now, letter.epoch.0);
            }
            Message::Refusal { request } => self.steals.answered(rank, request),
            Message::Tell(_) => self.worked(now, letter.epoch.0),
            _ => {}
        }
    }

    /// A message waits for a rank that is stopped.
    pub fn arrived_at_stopped(&mut self, letter: &Envelope<Item, Note>) {
        if matches!(letter.message, Message::WaveDown { .. }) {
            self.tally.waves_to_stopped += 1;
        }
    }

    /// A rank with so many idle workers gave loot to a thief.
    pub fn looted(&self, loot: Option<Loot>, thief: Rank, request: u64, idle: u32) -> Check {
        let Some(loot) = loot else {
            return Err(Violation("loot that is in no bag".into()));
        };
        let hungry = self.steals.hungry(thief, request);
        loot_is_fair(loot, hungry, idle, self.plan.workers)
    }

    /// A worker begins an item.
    pub fn started(&mut self, now: Duration, rank: Rank, time: Duration) -> Check {
        self.work += time;
        self.check_stop_is_heard(now, rank)
    }

    /// A stop reaches all ranks that are never stopped, whoever else is, unless rank 0 or the one
    /// that wants it is.
    fn check_stop_is_heard(&self, now: Duration, rank: Rank) -> Check {
        let Some((wanting, wanted)) = self.plan.stop else { return Ok(()) };
        let concerned = [rank, wanting, Rank::ROOT];
        if self.stopped().any(|trouble| concerned.contains(&trouble.rank)) {
            return Ok(());
        }
        let late_max = bounds::stop_delay_max(&self.plan);
        ensure!(now <= wanted + late_max, "rank {} begins an item {:?} after the stop", rank.0, now - wanted);
        Ok(())
    }

    /// A worker is done with an item.
    pub fn done(&mut self, now: Duration, rank: Rank, item: &Item) -> Check {
        self.books.done(rank, item)?;
        self.worked(now, item.epoch);
        if !item.held_up {
            self.last_free_work = now;
        }
        Ok(())
    }

    /// Something was done that the end must wait for.
    pub fn worked(&mut self, now: Duration, epoch: u32) {
        self.times[epoch as usize].last_work = now;
        self.last_progress = now;
    }

    /// Rank 0 learnt what a wave brought.
    pub fn news(&mut self, now: Duration, report: &Report) -> Check {
        bounds::check_report(report, self.plan.ranks, self.books.done_total())?;
        let settings = &self.plan.settings;
        let wave_time = bounds::wave_time_max(settings, self.plan.ranks);
        let gap = now - std::mem::replace(&mut self.last_news, now);
        let gap_max = settings.wave_pause_busy + wave_time + self.transit_max + self.plan.turn_time_max() * 2;
        let root_stopped = self.stopped().any(|trouble| trouble.rank == Rank::ROOT);
        ensure!(root_stopped || gap <= gap_max, "no wave ended for {gap:?}, allowed are {gap_max:?}");
        self.check_silent(now, report)
    }

    /// While just one rank is stopped, waves name it, and all others answer.
    fn check_silent(&mut self, now: Duration, report: &Report) -> Check {
        let Some(stop) = self.stopped().next().copied().filter(|_| self.stopped().count() == 1) else {
            return Ok(());
        };
        let settings = &self.plan.settings;
        let wave_time = bounds::wave_time_max(settings, self.plan.ranks);
        let found = stop.from + settings.wave_pause_busy + wave_time * 3;
        let epoch = self.entered[0];
        let others_in_epoch = (0..self.plan.ranks).all(|r| r == stop.rank.0 || self.entered[r as usize] == epoch);
        if now < found || now >= stop.to || stop.rank == Rank::ROOT || !others_in_epoch {
            return Ok(());
        }
        ensure!(report.silent == [stop.rank], "rank {} is silent, told are {:?}", stop.rank.0, report.silent);
        let others = self.plan.ranks - 1;
        ensure!(report.ranks == others, "{} of {others} ranks that live answered a wave", report.ranks);
        self.waves_around_silence += 1;
        Ok(())
    }

    /// A rank is over; true the first time in a pass.
    pub fn over(&mut self, now: Duration, rank: Rank, epoch: u32, stop: Option<Stop>) -> Result<bool, Violation> {
        if std::mem::replace(&mut self.over[rank.0 as usize], epoch) == epoch {
            return Ok(false);
        }
        self.books.over(rank, epoch, stop.is_some())?;
        if rank == Rank::ROOT {
            self.root_over.push(now);
        }
        let resumed = self.stopped().filter(|t| t.from <= now).map(|t| t.to).max().unwrap_or_default();
        let times = &mut self.times[epoch as usize];
        let agreed = *times.stop.get_or_insert(stop);
        ensure!(agreed == stop, "ranks end pass {epoch} with the stops {agreed:?} and {stop:?}");
        let since = times.last_work.max(times.last_entered).max(resumed);
        let late_max = bounds::over_delay_max(&self.plan, self.transit_max);
        ensure!(
            now <= since + late_max,
            "rank {} ends pass {epoch} {:?} after the last work, allowed are {late_max:?}",
            rank.0,
            now - since
        );
        Ok(true)
    }

    /// All ranks are over for good.
    pub fn end(self, now: Duration) -> Result<Outcome, Violation> {
        let stopped = self.times.iter().any(|times| matches!(times.stop, Some(Some(_))));
        self.books.closed(stopped)?;
        bounds::check_totals(&self.plan, &self.tally, now, self.books.items_total())?;
        Ok(Outcome {
            items: self.books.items_total(),
            done: self.books.done_total(),
            work: self.work,
            last_work: self.times.iter().map(|times| times.last_work).max().unwrap_or_default(),
            last_free_work: self.last_free_work,
            over: now,
            root_over: self.root_over,
            stopped,
            waves_around_silence: self.waves_around_silence,
            tally: self.tally,
            pieces: Pieces::new(),
            checkpoints: Vec::new(),
        })
    }
}
