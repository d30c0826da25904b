//! The bounds of a run: messages, wakes, and the time from the last work to the end.

use std::time::Duration;

use super::super::message::{Message, Rank, Report};
use super::super::settings::Settings;
use super::checkers::{Check, ensure};
use super::plan::{Kind, Plan};
use super::trees::{Item, Note};

/// What was sent, and who woke how often.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub requests: u64,
    pub refusals: u64,
    pub loots: u64,
    pub items_moved: u64,
    pub tells: u64,
    pub waves_down: u64,
    pub waves_up: u64,
    pub halts: u64,
    /// Waves that a stopped rank found when it went on.
    pub waves_to_stopped: u64,
    /// Waves that rank 0 began.
    pub waves: u64,
    last_wave: (u32, u64),
    pub requests_of: Vec<u64>,
    pub refusals_of: Vec<u64>,
    pub loots_to: Vec<u64>,
    /// Turns of a main thread that neither a message nor a worker caused.
    pub timer_turns_of: Vec<u64>,
}

impl Tally {
    pub fn new(ranks: u32) -> Self {
        let zeros = vec![0; ranks as usize];
        Self {
            requests_of: zeros.clone(),
            refusals_of: zeros.clone(),
            loots_to: zeros.clone(),
            timer_turns_of: zeros,
            ..Self::default()
        }
    }

    /// Rank 0 sends a wave to one of its children.
    pub fn wave_begun(&mut self, epoch: u32, wave: u64) {
        if self.last_wave != (epoch, wave) {
            self.last_wave = (epoch, wave);
            self.waves += 1;
        }
    }

    /// All messages.
    pub fn messages(&self) -> u64 {
        let steals = self.requests + self.refusals + self.loots;
        steals + self.tells + self.waves_down + self.waves_up + self.halts
    }

    /// Counts a message.
    pub fn sent(&mut self, from: Rank, to: Rank, message: &Message<Item, Note>) {
        match message {
            Message::StealRequest { .. } => {
                self.requests += 1;
                self.requests_of[from.0 as usize] += 1;
            }
            Message::Loot { items, .. } => {
                self.loots += 1;
                self.items_moved += items.len() as u64;
                self.loots_to[to.0 as usize] += 1;
            }
            Message::Refusal { .. } => {
                self.refusals += 1;
                self.refusals_of[from.0 as usize] += 1;
            }
            Message::Tell(_) => self.tells += 1,
            Message::WaveDown { .. } => self.waves_down += 1,
            Message::WaveUp { .. } => self.waves_up += 1,
            Message::Halt => self.halts += 1,
        }
    }
}

/// The pause between two waves while some rank is idle.
pub fn wave_pause(settings: &Settings, ranks: u32) -> Duration {
    if ranks == 1 {
        return Duration::ZERO;
    }
    let pause = settings.wave_pause_idle + Duration::from_micros(20) * ranks;
    pause.min(settings.wave_pause_busy)
}

/// Levels of the wave's tree below rank 0.
pub fn height(ranks: u32, arity: u32) -> u32 {
    let (mut reached, mut level, mut height) = (1u64, 1u64, 0);
    while reached < u64::from(ranks) {
        level *= u64::from(arity);
        reached += level;
        height += 1;
    }
    height
}

/// The longest that rank 0 waits for a wave.
pub fn wave_time_max(settings: &Settings, ranks: u32) -> Duration {
    settings.wave_patience * height(ranks, settings.wave_arity)
}

/// Requests that one rank may send: some quick ones in each pass and after each loot, then one per
/// longest wait.
pub fn requests_max(settings: &Settings, elapsed: Duration, loots: u64, epochs: u64) -> u64 {
    let slowest = settings.line_wait_max.min(settings.steal_wait / 2);
    let mut quick = 2;
    let mut wait = settings.line_wait_min;
    while wait < slowest {
        wait *= 2;
        quick += 1;
    }
    (loots + epochs) * quick + (elapsed.as_nanos() / slowest.as_nanos()) as u64
}

/// Waves that rank 0 may begin: one per pause, and at once after a quiet one; each quiet wave that
/// is not the last of its pass saw other counts than the one before.
pub fn waves_max(settings: &Settings, ranks: u32, elapsed: Duration, counted: u64, epochs: u64) -> u64 {
    let pause = wave_pause(settings, ranks);
    let paced = (elapsed.as_nanos() / pause.as_nanos().max(1)) as u64;
    paced + counted + 3 * epochs + 1
}

/// The time from the last work of a pass to its end on the last rank.
pub fn over_delay_max(plan: &Plan, transit_max: Duration) -> Duration {
    let settings = &plan.settings;
    let levels = height(plan.ranks, settings.wave_arity);
    // A wave that is on its way and not quiet yet, two quiet ones, and the way of the news.
    let ways = 3 * 2 * levels + levels + 1;
    let calm = wave_pause(settings, plan.ranks) * 2 + transit_max * ways + plan.turn_time_max() * 2;
    if plan.has_stopped_rank() { calm + wave_time_max(settings, plan.ranks) * 3 } else { calm }
}

/// The time from a rank's wish to stop to the last item that begins on another: the wave on its way,
/// the one that brings the wish up and the one that tells all; and for each silent rank one that
/// finds it and one that speaks to its children.
pub fn stop_delay_max(plan: &Plan) -> Duration {
    let silent = plan.troubles.iter().filter(|trouble| trouble.kind == Kind::Stopped).count() as u32;
    let wave = wave_time_max(&plan.settings, plan.ranks) + plan.settings.wave_pause_busy;
    wave * (3 + 2 * silent)
}

/// Checks at the end of a run.
pub fn check_totals(plan: &Plan, tally: &Tally, elapsed: Duration, items: u64) -> Check {
    let (settings, epochs) = (&plan.settings, u64::from(plan.epochs));
    let waves_max = waves_max(settings, plan.ranks, elapsed, tally.loots + tally.tells, epochs);
    for rank in 0..plan.ranks as usize {
        let requests = tally.requests_of[rank];
        let most = requests_max(settings, elapsed, tally.loots_to[rank], epochs);
        ensure!(requests <= most, "rank {rank} sent {requests} steal requests, allowed are {most}");
        let wakes = tally.timer_turns_of[rank];
        // To ask and to write off, to refuse, to begin a wave and to end it.
        let most = 2 * most + tally.refusals_of[rank] + 2 * waves_max;
        ensure!(wakes <= most, "rank {rank} woke {wakes} times by itself, allowed are {most}");
    }
    let answers = tally.refusals + tally.loots;
    ensure!(answers <= tally.requests, "{answers} answers to {} steal requests", tally.requests);
    ensure!(tally.loots <= items_moved_max(items, plan), "{} loots of {items} items", tally.loots);
    if plan.ranks > 1 {
        ensure!(tally.waves <= waves_max, "{} waves, allowed are {waves_max}", tally.waves);
    }
    let others = u64::from(plan.ranks - 1);
    let stopped = plan.troubles.iter().filter(|trouble| trouble.kind == Kind::Stopped).count() as u64;
    let adopted = stopped * u64::from(settings.wave_arity);
    let most = tally.waves * (others + adopted);
    ensure!(tally.waves_down <= most, "{} WaveDown, allowed are {most}", tally.waves_down);
    let most = waves_to_stopped_max(plan);
    ensure!(tally.waves_to_stopped <= most, "{} waves for stopped ranks", tally.waves_to_stopped);
    ensure!(tally.waves_up <= tally.waves_down, "more WaveUp than WaveDown");
    ensure!(tally.halts <= others * epochs, "{} Halt", tally.halts);
    Ok(())
}

fn items_moved_max(items: u64, plan: &Plan) -> u64 {
    2 * items + u64::from(plan.ranks)
}

/// A silent rank is asked once per patience, by its parent and perhaps by rank 0.
fn waves_to_stopped_max(plan: &Plan) -> u64 {
    let stops = plan.troubles.iter().filter(|trouble| trouble.kind == Kind::Stopped);
    let patience = plan.settings.wave_patience.as_nanos();
    stops.map(|stop| 2 * (3 + (stop.to - stop.from).as_nanos() / patience) as u64).sum()
}

/// Checks what a wave brought against the truth.
pub fn check_report(report: &Report, ranks: u32, done_total: u64) -> Check {
    ensure!(report.ranks <= ranks, "{} of {ranks} ranks answered a wave", report.ranks);
    ensure!(report.idle_ranks <= report.ranks, "more idle ranks than ranks");
    let counted = report.counters.first().copied().unwrap_or(0);
    ensure!(counted <= done_total, "a wave counts {counted} items done, there are {done_total}");
    Ok(())
}
