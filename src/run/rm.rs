//! `pmirror rm`: plan from names alone, have the guards judge all of it, remove.

use super::frame::{self, Entry, Passed, Run};
use super::story::Stage;
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
        // The rest of a plan that was interrupted is in the checkpoint.
        if run.enter(Stage::Walk) == Entry::Fresh {
            seen = plan_file::read(run.engine, run.crew, run.begun, file)?;
        }
    } else {
        ended = run.walk("plan");
    }
    run.clock.seconds.plan = run.clock.lap();

    if let (Ended::Quiet, Some(guards)) = (ended, &run.crew.config.guards) {
        if let Rm::Plan(file) = how {
            let mut verdict = prune::judge(run.engine, run.crew, guards, seen)?;
            verdict.only_planned();
            plan_file::write(run.engine, run.crew, run.begun, &verdict, file)?;
            run.story.judged = Some(verdict);
        } else {
            ended = prune::pass(run, guards, seen)?;
        }
        run.clock.seconds.remove = run.clock.lap();
    }
    let has_walked = !matches!(how, Rm::Apply(_));
    Ok(Passed { ended, has_walked })
}
