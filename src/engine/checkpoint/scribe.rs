//! Writes a rank's part of a checkpoint beside everything else: a state directory or a target that hangs costs the
//! checkpoint, and nothing else.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::archive::{Archive, unusable};
use super::manifest::Manifest;
use super::part::{Header, PartWriter};
use super::snapshot::Snapshot;
use crate::engine::state::Shared;
use crate::engine::workers::no_thread;
use crate::fault::Error;
use crate::fs::data;
use crate::sched::{Cut, Rank};

/// Who keeps the time up to which all that was written to the target is durable.
pub trait DurablePoints: Send {
    /// What is written from now on is not in the next point.
    fn begin(&mut self) -> Result<(), Error>;

    /// What was written before the last `begin` is durable.
    fn reached(&mut self) -> Result<(), Error>;
}

/// What a rank's scribe does.
enum Job {
    Write(Cut, Snapshot),
    Late(Vec<u8>),
    Seal(Cut),
    Commit(Box<Manifest>),
}

/// How far it is.
#[derive(Debug, Default)]
pub struct News {
    /// The part is written, but for what comes late.
    pub written: Option<Cut>,
    /// The part is durable, and so is what the node wrote to the target before.
    pub kept: Option<Cut>,
    /// The manifest is in its place.
    pub committed: Option<Cut>,
    /// Why a checkpoint could not be taken. The one before stays in force.
    pub failed: Option<Error>,
    /// What was written to the target may be lost.
    pub lost: Option<Error>,
}

impl News {
    fn add(&mut self, other: News) {
        let News { written, kept, committed, failed, lost } = other;
        self.written = written.or(self.written);
        self.kept = kept.or(self.kept);
        self.committed = committed.or(self.committed);
        self.failed = failed.or(self.failed.take());
        self.lost = lost.or(self.lost.take());
    }
}

/// The thread, as the main thread sees it.
pub struct Scribe {
    jobs: Sender<Job>,
    news: Arc<Mutex<News>>,
    /// Jobs that are not done.
    open: Arc<AtomicU32>,
}

/// What it works with.
pub struct Desk {
    /// Where parts are kept.
    pub archive: Archive,
    /// The rank.
    pub rank: Rank,
    /// On one rank of each node: what was written to the target is made durable.
    pub flushes: bool,
    /// On rank 0 of a run that writes.
    pub durable: Option<Box<dyn DurablePoints>>,
}

impl Scribe {
    /// Starts the thread. It ends with the process.
    pub fn start(desk: Desk, shared: Arc<Shared>) -> Result<Self, Error> {
        let (jobs, inbox) = channel();
        let (news, open) = (Arc::<Mutex<News>>::default(), Arc::<AtomicU32>::default());
        let worker = Worker { desk, shared, news: Arc::clone(&news), open: Arc::clone(&open), part: None };
        let thread = std::thread::Builder::new().name("scribe".to_owned());
        thread.spawn(move || worker.work(&inbox)).map_err(|error| no_thread("the thread of checkpoints", &error))?;
        Ok(Self { jobs, news, open })
    }

    /// Whether nothing is left of an earlier checkpoint.
    pub fn is_free(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }

    /// Writes a part.
    pub fn write(&self, cut: Cut, snapshot: Snapshot) {
        self.send(Job::Write(cut, snapshot));
    }

    /// Adds what came late.
    pub fn late(&self, frame: Vec<u8>) {
        self.send(Job::Late(frame));
    }

    /// Makes the part durable.
    pub fn seal(&self, cut: Cut) {
        self.send(Job::Seal(cut));
    }

    /// Puts the checkpoint in force.
    pub fn commit(&self, manifest: Manifest) {
        self.send(Job::Commit(Box::new(manifest)));
    }

    /// What has happened since the last look.
    pub fn take_news(&self) -> News {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn send(&self, job: Job) {
        self.open.fetch_add(1, Ordering::Relaxed);
        // The thread never ends before the process does.
        let _ = self.jobs.send(job);
    }
}

struct Worker {
    desk: Desk,
    shared: Arc<Shared>,
    news: Arc<Mutex<News>>,
    open: Arc<AtomicU32>,
    /// The part that is being written.
    part: Option<(Cut, PartWriter, Vec<String>)>,
}

impl Worker {
    fn work(mut self, inbox: &Receiver<Job>) {
        while let Ok(job) = inbox.recv() {
            let done = self.job(job);
            let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
            news.add(done.unwrap_or_else(|error| {
                self.part = None;
                News { failed: Some(error), ..News::default() }
            }));
            drop(news);
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.shared.main.notify_one();
        }
    }

    fn job(&mut self, job: Job) -> Result<News, Error> {
        match job {
            Job::Write(cut, snapshot) => {
                self.write(cut, snapshot)?;
                Ok(News { written: Some(cut), ..News::default() })
            }
            Job::Late(frame) => {
                if let Some((_, part, _)) = &mut self.part {
                    part.add(&frame).map_err(|error| unusable(&error))?;
                }
                Ok(News::default())
            }
            Job::Seal(cut) => self.seal(cut),
            Job::Commit(manifest) => {
                let cut = manifest.cut;
                // An error means that another run has taken DST: this one must write no more.
                if let Some(Err(lost)) = self.desk.durable.as_mut().map(|durable| durable.reached()) {
                    return Ok(News { lost: Some(lost), ..News::default() });
                }
                manifest.write(&self.desk.archive)?;
                // What can not be removed takes space, and no more than that.
                let _ = self.desk.archive.clear_before(cut);
                Ok(News { committed: Some(cut), ..News::default() })
            }
        }
    }

    fn write(&mut self, cut: Cut, Snapshot { frames, files }: Snapshot) -> Result<(), Error> {
        self.part = None;
        self.desk.durable.as_mut().map_or(Ok(()), |durable| durable.begin())?;
        let Desk { archive, rank, .. } = &self.desk;
        let header = Header::new(archive.number, cut, *rank);
        let mut part = PartWriter::create(&archive.directory, &Archive::part_name(cut, *rank), header)
            .map_err(|error| unusable(&error))?;
        frames.iter().try_for_each(|frame| part.add(frame)).map_err(|error| unusable(&error))?;
        self.part = Some((cut, part, files));
        Ok(())
    }

    fn seal(&mut self, cut: Cut) -> Result<News, Error> {
        let Some((_, part, files)) = self.part.take().filter(|(written, ..)| *written == cut) else {
            return Ok(News::default());
        };
        part.seal().map_err(|error| unusable(&error))?;
        files.iter().try_for_each(|name| self.desk.archive.directory.sync(name)).map_err(|error| unusable(&error))?;
        // Workers may want to list meanwhile.
        let lists = self.shared.lists.lock().unwrap_or_else(PoisonError::into_inner).files();
        lists?.iter().try_for_each(std::fs::File::sync_all).map_err(|error| unusable(&error))?;
        let context = &self.shared.context;
        if self.desk.flushes
            && !context.dry_run
            && let Err(failure) = data::flush_file_system(&context.trees.target)
        {
            return Ok(News { lost: Some(data::may_be_lost(failure)), ..News::default() });
        }
        Ok(News { kept: Some(cut), ..News::default() })
    }
}
