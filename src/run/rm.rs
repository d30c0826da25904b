//! `pmirror rm`: plan from names alone, have the guards judge all of it, remove.

use super::frame::{self, Passed, Run};
use super::{Circumstances, Conclusion, plan_file, prune};
use crate::comm::Comm;
use crate::config::{Config, Rm};
use crate::engine::Ended;
use crate::fault::Error;

/// `pmirror rm --target-only`.
pub fn target_only(config: &Config, how: &Rm, comm: &mut dyn Comm, circumstances: Circumstances) -> Conclusion {
    frame::over_target(config, comm, circumstances, |run| passes(run, how))
}

fn passes(run: &mut Run<'_, '_>, how: &Rm) -> Result<Passed, Error> {
    let (mut ended, mut seen) = (Ended::Quiet, 0);
    if let Rm::Apply(file) = how {
        seen = plan_file::read(run.engine, run.crew, run.begun, file)?;
    } else {
        ended = run.walk("plan");
    }
    run.clock.seconds.plan = run.clock.lap();

    let mut judged = None;
    if let (Ended::Quiet, Some(guards)) = (ended, &run.crew.config.guards) {
        let mut verdict = prune::judge(run.engine, run.crew, guards, seen)?;
        if let Rm::Plan(file) = how {
            verdict.only_planned();
            plan_file::write(run.engine, run.crew, run.begun, &verdict, file)?;
        } else {
            ended = prune::prune(run.engine, run.crew, &verdict, run.progress)?;
        }
        judged = Some(verdict);
        run.clock.seconds.remove = run.clock.lap();
    }
    let has_walked = !matches!(how, Rm::Apply(_));
    Ok(Passed { ended, root_outcome: None, has_walked, judged })
}
