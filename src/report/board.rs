//! Progress of a job of many tasks, on rank 0: one line, or one bar, for all of them.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{BinaryBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::live::{Live, Rates, Told, Whose};
use super::progress::clock;
use super::progress_file::{ProgressFile, shown};
use super::share::Standing;
use crate::fs::operator::RunDirectory;
use crate::sched::Stop;
use crate::tree::path::harmless;

const BAR_EVERY: Duration = Duration::from_millis(400);

/// What the tasks tell, and who shows it reads.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<Standings>>);

#[derive(Debug, Default)]
struct Standings {
    all: u64,
    done: u64,
    failed: u64,
    /// Entries and bytes of the tasks that have ended.
    ended: (u64, u64),
    /// Of those under way, by lane.
    under_way: Vec<(u64, u64)>,
}

/// Where one lane tells.
#[derive(Debug, Clone)]
pub struct Cell {
    board: Board,
    lane: usize,
}

impl Board {
    /// Of so many tasks, of which so many were done before.
    pub fn new(all: u64, done: u64, lanes: usize) -> Self {
        let standings = Standings { all, done, under_way: vec![(0, 0); lanes], ..Standings::default() };
        Self(Arc::new(Mutex::new(standings)))
    }

    fn lock(&self) -> MutexGuard<'_, Standings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a lane tells.
    pub fn cell(&self, lane: usize) -> Cell {
        Cell { board: self.clone(), lane }
    }
}

impl Cell {
    /// So many entries were seen, and bytes written, by the task that is under way.
    pub fn tell(&self, entries: u64, bytes: u64) {
        if let Some(place) = self.board.lock().under_way.get_mut(self.lane) {
            *place = (entries, bytes);
        }
    }

    /// The task has ended, with so many in all.
    pub fn end(&self, entries: u64, bytes: u64, is_good: bool) {
        self.tell(0, 0);
        let mut standings = self.board.lock();
        standings.done += 1;
        standings.failed += u64::from(!is_good);
        standings.ended = (standings.ended.0 + entries, standings.ended.1 + bytes);
    }
}

/// Shows it.
pub struct JobProgress {
    board: Board,
    /// Nothing is printed.
    is_quiet: bool,
    bar: Option<ProgressBar>,
    file: Option<ProgressFile>,
    whose: Whose,
    every: Duration,
    /// Why the job ends early, once that was said.
    stop: Option<Stop>,
    started: Instant,
    last: (Instant, u64, u64),
    rates: Rates,
}

impl JobProgress {
    /// In the job's directory, and on stderr unless `is_quiet`: a bar on a terminal, else a line after each interval.
    pub fn new(board: Board, every: Duration, is_quiet: bool, (directory, whose): (RunDirectory, Whose)) -> Self {
        let bar = (!is_quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        let now = Instant::now();
        let file = ProgressFile::new(directory);
        Self {
            board,
            is_quiet,
            bar,
            file,
            whose,
            every,
            stop: None,
            started: now,
            last: (now, 0, 0),
            rates: Rates::default(),
        }
    }

    /// Shows it, if it is time.
    pub fn turn(&mut self, stop: Option<Stop>) {
        self.tell_stop(stop);
        if let Some(file) = self.file.as_mut().filter(|file| file.is_due()) {
            let standing = standing(&self.board.lock(), self.started.elapsed());
            let mut live = Live { at: shown(jiff::Timestamp::now()), moved: standing.bytes, ..Live::default() };
            let counted = (self.started.elapsed().as_secs_f64(), standing.entries, standing.bytes);
            self.rates.observe(&standing.pass, counted, &mut live);
            file.keep(Told { comment: standing.in_words(), standing, whose: self.whose.clone(), live });
        }
        let since = self.last.0.elapsed();
        if self.is_quiet || since < if self.bar.is_some() { BAR_EVERY } else { self.every } {
            return;
        }
        let (line, entries, bytes) = line(&self.board.lock(), since, (self.last.1, self.last.2));
        self.last = (Instant::now(), entries, bytes);
        match &self.bar {
            Some(bar) => {
                bar.tick();
                bar.set_message(harmless(&line));
            }
            None => super::say(&format!("{} {line}", clock(self.started.elapsed()))),
        }
    }

    /// Says once that the job ends early: the tasks under way may need a while for their checkpoints.
    fn tell_stop(&mut self, stop: Option<Stop>) {
        if stop <= self.stop {
            return;
        }
        self.stop = stop;
        let why = if stop == Some(Stop::Signal) { "a signal came" } else { "the time is up" };
        let text = format!("stopping, as {why}: no further task begins");
        match &self.bar {
            Some(bar) => bar.suspend(|| super::say(&text)),
            None if self.is_quiet => {}
            None => super::say(&text),
        }
    }

    /// Takes the bar away, and the file.
    pub fn finish(self) {
        self.file.into_iter().for_each(ProgressFile::remove);
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Standings {
    /// Entries and bytes.
    fn total(&self) -> (u64, u64) {
        self.under_way.iter().fold(self.ended, |sum, cell| (sum.0 + cell.0, sum.1 + cell.1))
    }
}

/// What `progress.json` tells of a job: the share of its tasks that have ended.
fn standing(standings: &Standings, elapsed: Duration) -> Standing {
    let (entries, bytes) = standings.total();
    let percent = standings.done.saturating_mul(100).checked_div(standings.all);
    Standing {
        pass: "tasks".into(),
        elapsed_seconds: elapsed.as_secs(),
        entries,
        bytes,
        changed: 0,
        percent: percent.and_then(|percent| u32::try_from(percent).ok()),
        seconds_left: None,
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Rates for people.
fn line(standings: &Standings, since: Duration, before: (u64, u64)) -> (String, u64, u64) {
    let (entries, bytes) = standings.total();
    let rate = |now: u64, before: u64| (now.saturating_sub(before) as f64 / since.as_secs_f64().max(1e-3)) as u64;
    let failed = if standings.failed > 0 { format!(" ({} failed)", standings.failed) } else { String::new() };
    let line = format!(
        "{} of {} tasks done{failed}, {} entries, {}/s, {} written, {}/s",
        HumanCount(standings.done),
        HumanCount(standings.all),
        HumanCount(entries),
        HumanCount(rate(entries, before.0)),
        BinaryBytes(bytes),
        BinaryBytes(rate(bytes, before.1)),
    );
    (line, entries, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counts_what_has_ended_and_what_is_under_way() {
        let board = Board::new(1000, 10, 2);
        board.cell(0).tell(5_000, 0);
        board.cell(0).end(7_000, 2048, false);
        board.cell(1).tell(300, 1024);
        let (line, ..) = line(&board.lock(), Duration::from_secs(10), (300, 0));
        let expected = "11 of 1,000 tasks done (1 failed), 7,300 entries, 700/s, 3.00 KiB written, 307 B/s";
        assert_eq!(line, expected);
        let standing = standing(&board.lock(), Duration::from_secs(10));
        assert_eq!((standing.entries, standing.bytes, standing.percent), (7_300, 3072, Some(1)));
    }
}
