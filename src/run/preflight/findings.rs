//! Puts together what was found: each check on what was measured for it.

use super::access::{Access, State};
use super::nodes::Measured;
use super::places::Places;
use super::walk::Walked;
use crate::config::Preflight;
use crate::fs::{probe, roots};
use crate::preflight::facts::{Kept, Trials, Volumes};
use crate::preflight::{Finding, census, clocks, entries, names, nodes, places as about, room, spans, speed};
use crate::report::preflight::Report;
use crate::run::crew::Crew;
use crate::tree::census::Census;
use crate::tree::decide::Abilities;

/// All that was measured.
pub struct Facts {
    /// What could be done on the target.
    pub access: Access,
    /// What the ranks measured.
    pub measured: Measured,
    /// What the walk counted, if there was one.
    pub walked: Option<Walked>,
    /// How much both file systems have.
    pub volumes: Volumes,
}

/// What is known of the places before the walk takes them.
pub struct About {
    fs_types: (u64, u64),
    findings: Vec<Finding>,
}

impl Places {
    /// What the places themselves tell.
    pub fn told(&self, crew: &Crew<'_>, facts: &Facts) -> About {
        let fs_types = (self.source.view.fs_type, self.target.view.fs_type);
        if !crew.is_root() {
            return About { fs_types, findings: Vec::new() };
        }
        let mut hosts = crew.roster.hosts.clone();
        hosts.sort();
        hosts.dedup();
        let us = nix::unistd::geteuid().as_raw();
        let mut findings = vec![
            about::same_view(u64::from(crew.ranks()), hosts.len() as u64, facts.access.is_ours()),
            self.state.clone(),
            about::target(self.is_missing, facts.volumes.target_is_empty),
        ];
        findings.push(match &facts.access.state {
            State::Ours(_, has_doubt) => about::lock(None, *has_doubt),
            State::Held(error) => about::lock(Some(error), false),
            State::Unwritable(error) => {
                room::read_only(&facts.volumes.target).unwrap_or_else(|| about::unwritable(error.clone()))
            }
        });
        let one_file_system = crew.config.policy.one_file_system;
        for (name, points) in ["SRC", "DST"].into_iter().zip(self.mount_points()) {
            findings.push(about::mounts(name, &points, one_file_system));
        }
        findings.push(about::reach(self.reach().as_ref(), us));
        About { fs_types, findings }
    }
}

impl Facts {
    /// What the walk is to hold times and names against. Only rank 0 has tried it.
    pub fn abilities(&self) -> Option<Abilities> {
        let trials = self.measured.trials.as_ref()?.as_ref().ok()?;
        let (times, chown, folds_case) = (trials.times, trials.chown, trials.folds_case);
        Some(Abilities { times, chown, folds_case, ..probe::assumed() })
    }
}

/// All findings, in the order in which a person asks.
pub fn fill(crew: &Crew<'_>, how: Preflight, facts: Facts, about: About, report: &mut Report) {
    let Facts { measured, walked, volumes, .. } = facts;
    let (hosts, policy) = (&crew.roster.hosts, &crew.config.policy);
    let is_root = nix::unistd::geteuid().is_root();
    report.findings.extend(about.findings);
    let counted = walked.as_ref().map(|walked| &walked.census);
    // A census that did not get through proves what it saw, and not that there is no more.
    let whole = walked.as_ref().filter(|walked| walked.unfinished.is_none()).map(|walked| &walked.census);
    report.findings.extend([
        room::bytes(&volumes, whole),
        room::inodes(&volumes, whole),
        room::quota(&measured.quota, &volumes, whole),
    ]);
    match &measured.trials {
        Some(Ok(trials)) => {
            let kept = Kept {
                owner: policy.owner,
                times: policy.times,
                xattrs: policy.xattrs,
                acls: policy.acls,
                hard_links: policy.hard_links,
                specials: policy.specials,
            };
            let source = probe::assumed_of(about.fs_types.0).times;
            report.findings.extend(of_trials(trials, kept, (&volumes, &source), whole));
        }
        Some(Err(why)) => report.findings.push(about::unwritable(format!("nothing can be tried on DST: {why}"))),
        None => {}
    }
    #[allow(clippy::cast_precision_loss)] // Seconds.
    let skew = policy.clock_skew as f64 / 1e9;
    report.findings.push(clocks::nodes(&measured.clocks, skew));
    let by_target = hosts.iter().zip(&measured.nodes);
    let by_target: Vec<_> = by_target.filter_map(|(host, node)| Some((host.clone(), node.target_clock?))).collect();
    report.findings.extend(clocks::target(&by_target, skew));
    report.findings.push(clocks::source(ahead(&measured, walked.as_ref()), skew));
    report.findings.push(nodes::kernels(hosts, &measured.nodes));
    report.findings.extend(nodes::limits(hosts, &measured.nodes));
    report.findings.push(nodes::sandbox(hosts, &measured.nodes));
    report.findings.extend(speed::readable(hosts, &measured.nodes, is_root));
    report.findings.extend(speed::nodes(hosts, &measured.nodes, !how.measures.is_zero()));
    report.rates = if how.measures.is_zero() { Default::default() } else { speed::by_node(hosts, &measured.nodes) };
    report.findings.extend(measured.stop.map(|_| about::stopped()));
    if let (Some(census), Some(walked)) = (counted, &walked) {
        report.estimate = speed::estimate(census, &report.rates);
        report.findings.extend([
            census::walked(census, walked.faults, walked.unfinished.as_deref()),
            census::readable(census),
            census::shape(census),
            speed::estimated(report.estimate),
        ]);
    }
    report.rooms = Some((volumes.source, volumes.target));
    report.source.1 = roots::fs_type_name(about.fs_types.0);
    report.target.1 = roots::fs_type_name(about.fs_types.1);
    report.nodes = measured.nodes;
    report.record = walked.as_ref().map(|walked| walked.record.clone());
    report.census = walked.map(|walked| walked.census);
}

/// Seconds that the newest time seen in SRC lies ahead of a node.
fn ahead(measured: &Measured, walked: Option<&Walked>) -> Option<f64> {
    let of_sample = measured.nodes.iter().filter_map(|node| node.source_ahead);
    of_sample.chain(walked.and_then(|walked| walked.source_ahead)).reduce(f64::max)
}

fn of_trials(
    trials: &Trials,
    kept: Kept,
    (volumes, source): (&Volumes, &crate::tree::TimeLimits),
    census: Option<&Census>,
) -> Vec<Finding> {
    let mut findings = vec![
        names::rename(trials),
        names::length(trials, volumes.source.name_bytes_max, census),
        names::case(trials, census),
    ];
    findings.extend(names::bytes(trials, census));
    findings.push(names::symlinks(trials, census));
    findings.push(names::hard_links(trials, kept.hard_links, census));
    findings.push(entries::owner(trials, kept, census));
    findings.push(entries::xattrs(trials, kept, census));
    findings.extend(entries::privileged(trials, kept, census));
    findings.push(entries::acls(trials, kept, census));
    findings.extend(entries::specials(trials, kept, census));
    findings.push(spans::times(trials, kept.times, source, census));
    findings.push(spans::file_size(trials, census));
    findings.push(spans::holes(trials, census));
    findings.extend(nodes::engine(trials));
    findings
}
