//! One lane: rank 0 takes the next task, all ranks run it, rank 0 writes its row.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bincode::{Decode, Encode};

use super::ledger::Ledger;
use super::list::{Task, absolute};
use crate::cli::choose::Choose;
use crate::comm::Comm;
use crate::comm::lanes::Lane;
use crate::config::{self, Command, Config, Tasks};
use crate::engine::{Company, StopSign, part_of};
use crate::fault::Error;
use crate::report::Board;
use crate::run::{self, Circumstances, Conclusion};
use crate::sched::{Rank, Stop};
use crate::slurm::{Job, JobEnd};
use crate::started::{Started, Word};
use crate::wire;

/// What the lanes of a rank have in common.
pub struct Shared<'s> {
    /// What was asked.
    pub config: &'s Config,
    /// Likewise.
    pub tasks: &'s Tasks,
    /// Rank 0: the tasks.
    pub ledger: Option<&'s Mutex<Ledger>>,
    /// Where progress is told.
    pub board: Board,
    /// What the engines share.
    pub company: Arc<Company>,
    /// Of the job.
    pub stop_sign: StopSign,
    /// The Slurm job.
    pub slurm: Option<Job>,
    /// How many there are.
    pub lanes: u32,
}

/// A task that all ranks of a lane begin.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Order {
    /// What is to be done.
    pub task: Task,
    /// It goes on from its checkpoint.
    pub resume: bool,
    /// Lanes that may still begin something.
    lanes: u32,
}

/// What each rank says before a task: whether it is to stop, and, on rank 0, what is next.
type Word0 = (Option<Stop>, Option<Order>);

pub fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared<'_> {
    /// One task after another, until none is left, or the job is to stop.
    pub fn work(&self, mut lane: Lane) {
        while let Some(order) = self.next(&mut lane) {
            self.run(&order, &mut lane);
            lane.end_story();
        }
        self.company.leave();
        lane.close();
    }

    /// What all ranks of this lane do next. One rank that is to stop is enough: then nothing is begun.
    fn next(&self, lane: &mut Lane) -> Option<Order> {
        let stop = self.stop_sign.wanted(jiff::Timestamp::now());
        let taken = self.ledger.and_then(|ledger| lock(ledger).take(stop));
        let order = taken.clone().map(|(task, resume)| Order { task, resume, lanes: self.company.lanes() });
        let words = lane.gather(wire::encode::<Word0>(&(stop, order)));
        let words: Vec<Word0> = words.iter().filter_map(|word| wire::decode("word before a task", word).ok()).collect();
        let stop = words.iter().filter_map(|(stop, _)| *stop).max();
        if let Some(stop) = stop {
            // The other lanes of rank 0 are to hear of it, too.
            self.stop_sign.want(stop);
            if let (Some(ledger), Some((task, resume))) = (self.ledger, taken) {
                lock(ledger).put_back(task, resume);
            }
            return None;
        }
        words.into_iter().next().and_then(|(_, order)| order)
    }

    fn run(&self, order: &Order, lane: &mut Lane) {
        let began = jiff::Timestamp::now();
        let cell = self.board.cell(usize::from(lane.number()));
        let board = (lane.rank() == Rank::ROOT).then(|| cell.clone());
        let company = Some(Arc::clone(&self.company));
        let circumstances =
            Circumstances { job: self.slurm.clone(), stop_sign: self.stop_sign.clone(), company, board };
        let conclusion = match config_of(self.config, self.tasks, &order.task) {
            Ok(config) => {
                let limits = part_of(self.config.limits, order.lanes);
                let config = Config { lanes: self.lanes, resume: order.resume, limits, ..config };
                run::run(&config, lane, circumstances)
            }
            Err(error) => Conclusion::from(error),
        };
        if let Some(ledger) = self.ledger {
            let row = lock(ledger).end(&order.task, &conclusion, began);
            cell.end(row.entries, row.written, row.success);
        }
    }
}

/// The sync that a task is. All ranks come to the same.
pub fn config_of(config: &Config, tasks: &Tasks, task: &Task) -> Result<Config, Error> {
    let source = config::operand("SRC", os(&task.source))?;
    let target = config::operand("DST", os(&task.target))?;
    if task.list.is_some() && config.guards.is_some() {
        let text = "--delete goes by what directories hold, a LIST by what it lists: leave out one of both";
        return Err(Error::Usage(text.to_owned()));
    }
    let choose = Choose { files_from: task.list.as_deref().map(os), ..config.choose.clone() };
    Ok(Config {
        command: Command::Sync { is_final: tasks.is_final },
        source,
        target,
        choose,
        run_id: Path::new(&config.run_id).join(task.id()).to_string_lossy().into_owned(),
        started: started(config, task),
        // The job has a clock of its own, shows progress, and tells how it went.
        stop_at: None,
        job_end: JobEnd::None,
        quiet: true,
        json: true,
        ..config.clone()
    })
}

fn os(bytes: &[u8]) -> std::ffi::OsString {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes.to_vec())
}

/// Options that are the job's, not the task's.
const OF_THE_JOB: &[&str] =
    &["--tasks", "--null", "--tasks-at-once", "--report", "--run-id", "--state-dir", "--stop-at"];

/// How the task would be started alone, for `resume` and `retry` of its run.
fn started(config: &Config, task: &Task) -> Started {
    let job = &config.started;
    let directory = job.directory.as_ref().map(|word| word.0.as_slice()).unwrap_or_default();
    let is_of_task = |word: &&Word| !OF_THE_JOB.iter().any(|option| option.as_bytes() == word.option());
    let mut started = Started {
        command: "sync".to_owned(),
        options: job.options.iter().filter(is_of_task).cloned().collect(),
        operands: [&task.source, &task.target].map(|path| Word(absolute(path, directory))).to_vec(),
        ..job.clone()
    };
    if let Some(list) = &task.list {
        started.set("--files-from", &absolute(list, directory));
    }
    started
}
