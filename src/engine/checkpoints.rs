//! When a rank takes part in checkpoints, and how far each of them is. The protocol is the scheduler's, the writing
//! the scribe's.

use std::time::{Duration, Instant};

use super::checkpoint::{self, Archive, DurablePoints, Manifest, PartWriter, Scribe, ScribeDesk, Snapshot};
use super::lists::Extent;
use super::state::{Shared, State};
use crate::counters::Counters;
use crate::fault::Error;
use crate::fs::operator::RunDirectory;
use crate::headway::Headway;
use crate::report::say;
use crate::sched::{Crossing, Cut, Rank};
use crate::wire::Post;

/// A checkpoint has at least so long to come into force.
const PATIENCE: Duration = Duration::from_secs(60);

/// At a stop the scribe has so long to end what it does: Slurm kills 30 s after SIGTERM.
const SCRIBE_PATIENCE: Duration = Duration::from_secs(15);

/// What checkpoints are taken with.
pub struct Checkpointing {
    /// Where they are kept.
    pub archive: Archive,
    /// So often one is taken while a pass goes on; `None`: never, but at a stop.
    pub every: Option<Duration>,
    /// The attempt of the run, from 1.
    pub attempt: u32,
    /// What earlier attempts listed, as far as it counts.
    pub listed: Vec<Extent>,
    /// Seconds that earlier attempts took.
    pub seconds: f64,
    /// The last checkpoint of an earlier attempt.
    pub last: Cut,
    /// What had been done by then.
    pub headway: Headway,
    /// On one rank of each node.
    pub flushes: bool,
    /// On rank 0 of a run that writes.
    pub durable: Option<Box<dyn DurablePoints>>,
}

/// One that is not in force by then is given up, and the next gets twice the time, up to so many times as much: a
/// slow server may need more.
const PATIENCE_MAX: u32 = 16;

/// A rank's side of them.
pub struct Checkpoints {
    archive: Archive,
    run: RunDirectory,
    rank: Rank,
    ranks: u32,
    every: Option<Duration>,
    /// All but the number, the time and the story.
    manifest: Manifest,
    /// What the last wave found done.
    heard: Headway,
    started: Instant,
    scribe: Scribe,
    /// Rank 0: when the next one is due.
    next: Duration,
    /// Rank 0: since when one is being taken.
    begun: Option<Duration>,
    /// Rank 0: how many times longer than usual it has.
    patience: u32,
    /// The one that the scribe has a part of.
    writing: Option<Cut>,
    is_sealed: bool,
    /// Where in its story the run is.
    pub story: Vec<u8>,
}

impl Checkpoints {
    /// Nothing is written before the first one is due.
    pub fn new(
        setup: Checkpointing,
        run: &RunDirectory,
        (rank, ranks): (Rank, u32),
        shared: &std::sync::Arc<Shared>,
    ) -> Result<Self, Error> {
        let Checkpointing { archive, every, attempt, listed, seconds, last, headway, flushes, durable } = setup;
        let (number, story) = (archive.number, Vec::new());
        let manifest = Manifest { number, cut: last, ranks, attempt, listed, seconds, headway, story };
        let desk = ScribeDesk { archive: archive.clone(), rank, flushes, durable };
        Ok(Self {
            archive,
            run: run.clone(),
            rank,
            ranks,
            every,
            manifest,
            heard: headway,
            started: Instant::now(),
            scribe: Scribe::start(desk, std::sync::Arc::clone(shared))?,
            next: every.unwrap_or_default(),
            begun: None,
            patience: 1,
            writing: None,
            is_sealed: false,
            story: Vec::new(),
        })
    }

    /// Where they are kept.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// What earlier attempts listed.
    pub fn tell_history(&mut self, listed: Vec<Extent>) {
        self.manifest.listed = listed;
    }

    /// A message is about to be taken in: it may be the first from after a cut, or one of the last from before it.
    pub fn before(&mut self, state: &mut State, post: &Post) {
        match state.scheduler.crossing(post) {
            Crossing::Within => {}
            Crossing::FromAfter(cut) => self.take(state, cut),
            Crossing::FromBefore => {
                if let (Some(_), Some(frame)) = (self.writing, checkpoint::late(post)) {
                    self.scribe.late(frame);
                }
            }
        }
    }

    /// A pass begins: a checkpoint of the last one that is not sealed never comes into force.
    pub fn enter_pass(&mut self) {
        (self.begun, self.writing) = (None, None);
    }

    /// Rank 0: what a wave has brought. Of a rank that did not answer nothing is in it.
    pub fn hear_wave(&mut self, counters: &[u64]) {
        let heard = Counters::from_slice(counters).map(|counters| Headway::of(&counters));
        self.heard = self.heard.at_least(heard.unwrap_or_default());
    }

    /// Does what is due.
    pub fn step(&mut self, now: Duration, state: &mut State) {
        self.hear(now, state);
        if let Some(cut) = state.scheduler.sealed().filter(|_| !self.is_sealed)
            && self.writing == Some(cut)
        {
            self.is_sealed = true;
            self.scribe.seal(cut);
        }
        if self.rank != Rank::ROOT {
            return;
        }
        if let Some(cut) = state.scheduler.poll_kept() {
            self.scribe.commit(self.manifest(cut));
        }
        // Before the run has told where it is, an older checkpoint is still being taken over.
        let is_due = now >= self.next && !self.story.is_empty();
        let Some(every) = self.every.filter(|_| is_due) else { return };
        // One is not given up for the next before it had its time.
        if self.begun.is_some_and(|begun| now < begun + every.max(PATIENCE) * self.patience) {
            return;
        }
        if self.begun.take().is_some() {
            self.patience = (self.patience * 2).min(PATIENCE_MAX);
        }
        self.next = now + every;
        if !state.scheduler.is_over() && state.scheduler.stop().is_none() && self.scribe.is_free() {
            let cut = state.scheduler.next_cut();
            self.begun = Some(now);
            self.take(state, cut);
        }
    }

    /// Takes in what the scribe has done.
    fn hear(&mut self, now: Duration, state: &mut State) {
        let news = self.scribe.take_news();
        if news.committed.is_some() {
            self.next = now + self.every.unwrap_or_default();
            self.patience = 1;
        }
        if self.rank == Rank::ROOT && news.written.is_some() && news.written == self.writing {
            state.scheduler.allow_seal();
        }
        if let Some(cut) = news.kept {
            state.scheduler.keep(cut);
        }
        if news.committed.is_some() || news.failed.is_some() {
            self.begun = None;
        }
        if let Some(error) = news.failed {
            self.writing = None;
            say(&format!("rank {}: {error}; the checkpoint before it stays in force", self.rank.0));
        }
        if let Some(error) = news.lost {
            state.give_up(error);
        }
    }

    fn take(&mut self, state: &mut State, cut: Cut) {
        (self.writing, self.is_sealed) = (None, false);
        // Each rank answered the last wave before it took part: all of that is in the checkpoint.
        self.manifest.headway = self.heard;
        // While the last one still hangs in a server this rank takes part with its counts, and the checkpoint
        // never comes into force.
        if self.scribe.is_free() {
            match Snapshot::take(state, &self.archive, &self.run, cut, self.rank) {
                Ok(snapshot) => {
                    self.scribe.write(cut, snapshot);
                    self.writing = Some(cut);
                }
                Err(error) => say(&format!("rank {}: {error}; the checkpoint before it stays in force", self.rank.0)),
            }
        }
        state.scheduler.take_cut(cut);
    }

    fn manifest(&self, cut: Cut) -> Manifest {
        let seconds = self.manifest.seconds + self.started.elapsed().as_secs_f64();
        Manifest { cut, ranks: self.ranks, seconds, story: self.story.clone(), ..self.manifest.clone() }
    }

    /// Between passes: this rank's part, durable before it returns.
    pub fn write_part(&self, state: &State, cut: Cut) -> Result<(), Error> {
        let snapshot = Snapshot::take(state, &self.archive, &self.run, cut, self.rank)?;
        let header = checkpoint::Header::new(self.archive.number, cut, self.rank);
        let name = Archive::part_name(cut, self.rank);
        let written = PartWriter::create(&self.archive.directory, &name, header).and_then(|mut part| {
            snapshot.frames.iter().try_for_each(|frame| part.add(frame))?;
            part.seal()?;
            snapshot.files.iter().try_for_each(|name| self.archive.directory.sync(name))
        });
        written.map_err(|error| checkpoint::unusable(&error))
    }

    /// What the scribe has begun must not come into force after what follows.
    pub fn wait_for_scribe(&self) -> Result<(), Error> {
        let began = Instant::now();
        while !self.scribe.is_free() {
            if began.elapsed() > SCRIBE_PATIENCE {
                let why = "no checkpoint is left: the last one still hangs in the run directory or in DST. The one before it \
                           stays in force: when both have an answer, pmirror resume goes on from there";
                return Err(Error::Fatal(why.to_owned()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Puts a checkpoint in force whose parts are all durable; `headway` is what all ranks have done.
    pub fn put_in_force(&self, cut: Cut, headway: Headway) -> Result<(), Error> {
        Manifest { headway, ..self.manifest(cut) }.write(&self.archive)?;
        // What can not be removed takes space, and no more than that.
        let _ = self.archive.clear_but(cut);
        Ok(())
    }
}
