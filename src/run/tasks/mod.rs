//! `pmirror run --tasks`: many syncs in one job. Every rank has some lanes; in each lane all ranks go through the story
//! of one task after another, so a large task holds back none of the others.

mod lane;
mod ledger;
mod list;

use std::sync::{Arc, Mutex};

use super::agree::{agree, from_root};
use super::crew::Crew;
use super::{Circumstances, Conclusion, begin};
use crate::comm::{Comm, lanes};
use crate::config::{Config, Tasks};
use crate::engine::{Company, StopSign, no_thread};
use crate::fault::Error;
use crate::fs::operator::RunDirectory;
use crate::report::{self, Board, JobProgress};
use crate::slurm::Job;
use lane::Shared;
use ledger::Ledger;

/// Tasks under way at one time, unless told otherwise: while one is at its beginning or its end, where ranks wait for
/// each other and for the disk, others fill the time (`docs/internals/performance.md`).
const AT_ONCE: u32 = 4;

/// A job of many tasks.
pub fn tasks(config: &Config, tasks: &Tasks, comm: &mut dyn Comm, circumstances: Circumstances) -> Conclusion {
    let (stop_sign, slurm) = (circumstances.stop_sign.clone(), circumstances.job.clone());
    let crew = Crew::call(config, comm, circumstances);
    let (ledger, lanes) = match prepare(&crew, tasks, comm) {
        Ok(prepared) => prepared,
        Err(error) => return error.into(),
    };
    let ledger = ledger.map(Mutex::new);
    let worked = work(&crew, tasks, comm, (ledger.as_ref(), lanes), (stop_sign.clone(), slurm));
    let ended = worked.and_then(|()| {
        from_root(comm, &crew.roster, || {
            let ledger = ledger.ok_or_else(|| Error::Fatal("rank 0 has no tasks".to_owned()))?;
            let wanted = stop_sign.wanted(jiff::Timestamp::now());
            ledger.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).close(config, wanted)
        })
    });
    match ended {
        Ok(exit_code) => Conclusion { exit_code, summary: None, error: None },
        Err(error) => error.into(),
    }
}

/// Rank 0 has the ledger; all know how many lanes there are.
fn prepare(crew: &Crew<'_>, tasks: &Tasks, comm: &mut dyn Comm) -> Result<(Option<Ledger>, u32), Error> {
    begin::same_command(crew, comm)?;
    let fit = agree(comm, &crew.roster, Ok(crew.memory.lanes_max()))?.into_iter().min().unwrap_or(1);
    let fit = u32::try_from(fit).unwrap_or(u32::MAX);
    let mut ledger = None;
    let waiting = from_root(comm, &crew.roster, || {
        let opened = Ledger::open(crew.config, tasks)?;
        let waiting = opened.waiting();
        ledger = Some(opened);
        Ok(waiting)
    })?;
    if let Some(asked) = tasks.at_once.filter(|&asked| asked > fit && crew.is_root() && !crew.config.quiet) {
        report::say(&format!(
            "the memory is enough for {fit} tasks at once, not for {asked}: give more --max-memory, or fewer --threads"
        ));
    }
    Ok((ledger, tasks.at_once.unwrap_or(AT_ONCE).min(fit).min(waiting)))
}

/// All lanes of this rank, until nothing is left.
fn work(
    crew: &Crew<'_>,
    tasks: &Tasks,
    comm: &mut dyn Comm,
    (ledger, lanes): (Option<&Mutex<Ledger>>, u32),
    (stop_sign, slurm): (StopSign, Option<Job>),
) -> Result<(), Error> {
    let number = u16::try_from(lanes).unwrap_or(u16::MAX);
    let (ends, pump) = lanes::ends(comm, number);
    let (all, done) = ledger.map_or((0, 0), |ledger| lane::lock(ledger).size());
    let board = Board::new(all, done, usize::from(number));
    let company = Arc::new(Company::new(crew.threads, lanes, crew.config.limits));
    let shared = Shared { config: crew.config, tasks, ledger, board: board.clone(), company, stop_sign, slurm, lanes };
    let (every, is_quiet) = (crew.config.progress, crew.config.quiet);
    let directory = RunDirectory::new(&crew.config.state_dir, &crew.config.run_id);
    let mut progress =
        crew.is_root().then(|| JobProgress::new(board, every, is_quiet, (directory, crew.whose_progress())));
    std::thread::scope(|scope| {
        for lane in ends {
            let (name, shared) = (format!("lane-{}", lane.number()), &shared);
            let spawned = std::thread::Builder::new().name(name).spawn_scoped(scope, move || shared.work(lane));
            if let Err(error) = spawned {
                let error = no_thread("a thread for each task under way", &error);
                report::say_last(&error.to_string());
                // Other ranks would wait for this one's lane for ever.
                comm.abort(error.exit_code());
            }
        }
        lanes::pump(comm, &pump, &mut || {
            let wanted = || shared.stop_sign.wanted(jiff::Timestamp::now());
            progress.iter_mut().for_each(|progress| progress.turn(wanted()));
        });
    });
    progress.into_iter().for_each(JobProgress::finish);
    comm.finish();
    Ok(())
}
