//! `pmirror rm`: plan from names alone, have the guards judge all of it, remove, sum up.

use super::begin::{self, Begun};
use super::clock::Clock;
use super::crew::Crew;
use super::finish::{self, Walked};
use super::{Circumstances, Conclusion, plan_file, prune};
use crate::comm::Comm;
use crate::config::{Config, Rm};
use crate::engine::Ended;
use crate::fault::Error;
use crate::report::Progress;

/// `pmirror rm --target-only`.
pub fn target_only(config: &Config, how: &Rm, comm: &mut dyn Comm, circumstances: Circumstances) -> Conclusion {
    let clock = Clock::start();
    let crew = Crew::call(config, comm, circumstances);
    let begun = match begin::begin(&crew, comm) {
        Ok(begun) => begun,
        Err(error) => return error.into(),
    };
    crew.say_circumstances(begun.run_directory.path());
    let mut progress = crew.progress(&begun);
    let walked = walk(&crew, how, &begun, comm, &mut progress, clock);
    progress.finish();
    match walked {
        Ok(walked) => finish::finish(crew, comm, begun, walked),
        Err(error) => finish::give_up(begun, error),
    }
}

fn walk(
    crew: &Crew<'_>,
    how: &Rm,
    begun: &Begun,
    comm: &mut dyn Comm,
    progress: &mut Progress,
    mut clock: Clock,
) -> Result<Walked, Error> {
    let mut engine = crew.engine(begun, comm)?;
    clock.seconds.start = clock.lap();

    let (mut ended, mut seen) = (Ended::Quiet, 0);
    if let Rm::Apply(file) = how {
        seen = plan_file::read(&mut engine, crew, begun, file)?;
    } else {
        progress.enter("plan");
        let seeds = if crew.is_root() { vec![begun.seed()] } else { Vec::new() };
        ended = engine.run_pass(seeds, &mut |report| progress.observe(report));
    }
    clock.seconds.plan = clock.lap();

    let has_walked = !matches!(how, Rm::Apply(_));
    let mut judged = None;
    if let (Ended::Quiet, Some(guards)) = (ended, &crew.config.guards) {
        let mut verdict = prune::judge(&mut engine, crew, guards, seen)?;
        if let Rm::Plan(file) = how {
            verdict.only_planned();
            plan_file::write(&mut engine, crew, begun, &verdict, file)?;
        } else {
            ended = prune::prune(&mut engine, crew, &verdict, progress)?;
        }
        judged = Some(verdict);
        clock.seconds.remove = clock.lap();
    }
    Ok(Walked { ended, finished: engine.finish(), root_outcome: None, has_walked, judged, clock })
}
