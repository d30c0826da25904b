//! `pmirror preflight`: open both trees, try the target out, measure the nodes, walk the source if that is asked; say what
//! was found. Nothing stays behind.

mod access;
mod findings;
mod nodes;
mod places;
mod walk;

use self::access::Access;
use self::findings::Facts;
use self::places::Places;
use super::agree::from_root;
use super::begin::{Names, same_command};
use super::crew::Crew;
use super::{Circumstances, Conclusion, end};
use crate::comm::Comm;
use crate::config::{self, Config};
use crate::counters::Counters;
use crate::engine::Ended;
use crate::fault::Error;
use crate::preflight::{Verdict, places as about};
use crate::report;
use crate::report::preflight::Report;

/// `pmirror preflight`.
pub fn preflight(
    config: &Config,
    how: config::Preflight,
    comm: &mut dyn Comm,
    circumstances: Circumstances,
) -> Conclusion {
    let crew = Crew::call(config, comm, circumstances);
    if let Err(error) = same_command(&crew, comm) {
        return error.into();
    }
    let mut report = Report {
        source: (config.source.to_bytes().to_vec(), String::new()),
        target: (config.target.to_bytes().to_vec(), String::new()),
        hosts: crew.roster.hosts.clone(),
        ..Report::default()
    };
    let looked = match Places::find(&crew, comm, &Names::of(config)) {
        Ok(places) => look(&crew, how, comm, places, &mut report),
        Err(places::Unfit::Error(error)) => Err(error),
        Err(places::Unfit::Finding(finding)) => {
            report.findings.push(finding);
            Ok(None)
        }
    };
    looked.and_then(|stopped| conclude(&crew, comm, report, stopped)).unwrap_or_else(Into::into)
}

/// All that can be found where all ranks see the same places. Returns the exit code of a walk that did not get through.
fn look(
    crew: &Crew<'_>,
    how: config::Preflight,
    comm: &mut dyn Comm,
    places: Places,
    report: &mut Report,
) -> Result<Option<u8>, Error> {
    crew.say_circumstances(places.run_directory.path());
    let mut access = Access::take(crew, comm, &places)?;
    let tried = if access.is_seen_by_all(crew, comm, &places)? {
        nodes::measure(crew, how, comm, &places, &mut access).map(Option::Some)
    } else {
        Ok(None)
    };
    access.give_back(&places);
    let Some(measured) = tried? else {
        let error = access.unseen.unwrap_or_default();
        report.findings.push(about::unlike_view(error));
        places.leave_no_record(crew);
        return Ok(None);
    };
    let mut facts = Facts { access, measured, walked: None, volumes: places.volumes(crew) };
    let about = places.told(crew, &facts);
    let stop = facts.measured.stop;
    let stopped = if how.walk && places.has_state && stop.is_none() {
        let walked = walk::walk(crew, comm, places, facts.abilities())?;
        let code = walked.exit_code;
        facts.walked = Some(walked);
        code
    } else {
        places.leave_no_record(crew);
        stop.map(|stop| end::exit_code(&Counters::default(), Ended::Stopped(stop), None))
    };
    if crew.is_root() {
        findings::fill(crew, how, facts, about, report);
    }
    Ok(stopped)
}

/// Prints what was found. All ranks come to the same exit code.
fn conclude(
    crew: &Crew<'_>,
    comm: &mut dyn Comm,
    mut report: Report,
    stopped: Option<u8>,
) -> Result<Conclusion, Error> {
    let mine = match (report.verdict(), stopped) {
        (_, Some(70)) => 70,
        (_, Some(11)) => 11,
        (Verdict::NoGo, _) => 3,
        (_, Some(code)) => code,
        (Verdict::Good | Verdict::Warning, None) => 0,
    };
    let exit_code = from_root(comm, &crew.roster, || Ok(mine))?;
    let mut conclusion = Conclusion { exit_code, summary: None, error: None };
    if crew.is_root() {
        report.exit_code = exit_code;
        walk::keep(crew, &report)?;
        let text = if crew.config.json { report.to_json()? } else { report.to_text() };
        let is_wanted = crew.config.json || !crew.config.quiet || exit_code != 0;
        if let Err(error) = if is_wanted { report::print(&text) } else { Ok(()) } {
            conclusion.is_not_told("what was found", &error);
        }
    }
    Ok(conclusion)
}
