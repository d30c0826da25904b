//! How quick the nodes are, and how long a run may take.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::facts::{Node, Speed};
use super::{Finding, amount, count};
use crate::tree::census::Census;

/// What all ranks of a node got done at one time, a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Rates {
    /// Ranks of the node.
    pub ranks: u64,
    /// Small files made, written, renamed and removed on DST: four operations each.
    pub target_operations_per_second: f64,
    /// Bytes written to DST and flushed.
    pub written_bytes_per_second: f64,
    /// Files of SRC that were looked at and opened: two operations each.
    pub source_operations_per_second: f64,
    /// Bytes read from SRC: from its cache, where it had them.
    pub read_bytes_per_second: f64,
}

const OPERATIONS_PER_FILE: f64 = 4.0;
const OPERATIONS_PER_LOOK: f64 = 2.0;

impl Rates {
    fn add(&mut self, speed: &Speed) {
        self.ranks += 1;
        self.target_operations_per_second += speed.files.per_second() * OPERATIONS_PER_FILE;
        self.written_bytes_per_second += speed.written.per_second();
        self.source_operations_per_second += speed.opened.per_second() * OPERATIONS_PER_LOOK;
        self.read_bytes_per_second += speed.read.per_second();
    }
}

/// The nodes by name.
pub fn by_node(hosts: &[String], nodes: &[Node]) -> BTreeMap<String, Rates> {
    let mut rates: BTreeMap<String, Rates> = BTreeMap::new();
    for (host, node) in hosts.iter().zip(nodes) {
        rates.entry(host.clone()).or_default().add(&node.speed);
    }
    rates
}

/// A line of the slowest and the quickest node. `is_measured`: the operator left time for it.
pub fn nodes(hosts: &[String], nodes: &[Node], is_measured: bool) -> Vec<Finding> {
    let check = "speed";
    if !is_measured {
        return vec![Finding::good(check, "not measured (--seconds 0)")];
    }
    let rates = by_node(hosts, nodes);
    let together = if rates.len() > 1 { ", all nodes at one time" } else { "" };
    let line = |(host, rates): (&String, &Rates)| {
        Finding::good(
            check,
            format!(
                "{host}: DST {} operations/s, {}/s written; SRC {} operations/s, {}/s read{together}",
                count(whole(rates.target_operations_per_second)),
                amount(whole(rates.written_bytes_per_second)),
                count(whole(rates.source_operations_per_second)),
                amount(whole(rates.read_bytes_per_second)),
            ),
        )
    };
    let slowest = |a: &(&String, &Rates), b: &(&String, &Rates)| {
        a.1.target_operations_per_second.total_cmp(&b.1.target_operations_per_second)
    };
    let (least, most) = (rates.iter().min_by(slowest), rates.iter().max_by(slowest));
    let mut found: Vec<Finding> = least.into_iter().map(line).collect();
    found.extend(most.filter(|_| rates.len() > 1).map(line));
    found.extend(unmeasured(hosts, nodes));
    found.extend(least.zip(most).and_then(|(least, most)| uneven(least, most)));
    found
}

fn unmeasured(hosts: &[String], nodes: &[Node]) -> Option<Finding> {
    let (host, why) = hosts.iter().zip(nodes).find_map(|(host, node)| Some((host, node.speed.trouble.as_ref()?)))?;
    let remedy = "the figures lack what it would have done";
    Some(Finding::warning("speed", format!("not all was measured on {host}: {why}"), remedy))
}

/// A node that is much slower than another holds no run back, as the others take its work: but something is wrong there.
fn uneven((slow, least): (&String, &Rates), (quick, most): (&String, &Rates)) -> Option<Finding> {
    let times = most.target_operations_per_second / least.target_operations_per_second.max(1e-9);
    let is_uneven = times > 4.0 && least.target_operations_per_second > 0.0;
    let what = format!("{slow} is {times:.0} times slower on DST than {quick}");
    is_uneven.then(|| Finding::warning("speed", what, format!("look at the network and the load of {slow}")))
}

/// Files of SRC that we could not open for want of rights.
pub fn readable(hosts: &[String], nodes: &[Node], is_root: bool) -> Option<Finding> {
    let (host, node) = hosts.iter().zip(nodes).find(|(_, node)| node.speed.unreadable > 0)?;
    let (n, check) = (node.speed.unreadable, "readable");
    let what = format!("of the files of SRC that were tried on {host} {} may not be read", count(n));
    Some(if is_root {
        let remedy = "root is nobody special on SRC (root squash): export it to these nodes with no_root_squash";
        Finding::no_go(check, what, remedy)
    } else {
        Finding::warning(check, what, "run as root, or leave them out with --exclude")
    })
}

/// A range in which the time of a first run may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// If all goes at the rates that were measured, side by side.
    pub seconds_least: u64,
    /// If entries and bytes go one after the other, at a third of the rates.
    pub seconds_most: u64,
}

/// More than that it may well be: what was measured is a quiet moment, and the cache's help.
const SLOWER: f64 = 3.0;

/// How long a first run may take with these ranks; `None` where nothing was measured.
pub fn estimate(census: &Census, rates: &BTreeMap<String, Rates>) -> Option<Estimate> {
    let sum = |of: fn(&Rates) -> f64| rates.values().map(of).sum::<f64>();
    let operations = sum(|rates| rates.target_operations_per_second);
    let (written, read) = (sum(|rates| rates.written_bytes_per_second), sum(|rates| rates.read_bytes_per_second));
    let bytes = if read > 0.0 { written.min(read) } else { written };
    if operations <= 0.0 || bytes <= 0.0 {
        return None;
    }
    #[allow(clippy::cast_precision_loss)] // An estimate.
    let (entries, amount) = (census.entries() as f64, census.bytes_needed() as f64);
    let (by_entries, by_bytes) = (entries * OPERATIONS_PER_FILE / operations, amount / bytes);
    let most = (by_entries + by_bytes) * SLOWER;
    Some(Estimate { seconds_least: whole(by_entries.max(by_bytes)).max(1), seconds_most: whole(most).max(1) })
}

/// The estimate as a line.
pub fn estimated(estimate: Option<Estimate>) -> Finding {
    let Some(Estimate { seconds_least, seconds_most }) = estimate else {
        return Finding::good("estimate", "none, as nothing was measured");
    };
    let (least, most) = (shown(seconds_least), shown(seconds_most));
    let what = format!("a first run may take {least} to {most} with these ranks, if nobody else is in the way");
    Finding::good("estimate", what)
}

fn shown(seconds: u64) -> String {
    let (seconds, minutes) = (Duration::from_secs(seconds).as_secs(), seconds / 60);
    match minutes {
        0 => format!("{seconds} s"),
        1..120 => format!("{minutes} min"),
        _ if minutes < 2_880 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1_440),
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Rates for people.
fn whole(rate: f64) -> u64 {
    rate as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::Verdict;
    use crate::preflight::facts::Rate;

    fn node(files: f64, bytes: f64) -> Node {
        let rate = |done| Rate { done, seconds: 2.0 };
        let speed = Speed {
            files: rate(files),
            written: rate(bytes),
            opened: rate(files),
            read: rate(bytes),
            ..Speed::default()
        };
        Node { speed, ..Node::default() }
    }

    fn hosts(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn the_ranks_of_a_node_count_together() {
        let rates = by_node(&hosts(&["a", "b", "a"]), &[node(10.0, 20.0), node(1.0, 2.0), node(30.0, 40.0)]);
        let a = rates["a"];
        assert_eq!((a.ranks, a.target_operations_per_second, a.written_bytes_per_second), (2, 80.0, 30.0));
        assert_eq!((rates["b"].target_operations_per_second, rates["b"].read_bytes_per_second), (2.0, 1.0));
    }

    #[test]
    fn a_node_that_is_much_slower_and_one_that_was_not_measured_are_told() {
        let verdicts = |nodes: &[Node]| {
            super::nodes(&hosts(&["a", "b"]), nodes, true).iter().map(|found| found.verdict).collect::<Vec<_>>()
        };
        assert_eq!(verdicts(&[node(10.0, 1.0), node(12.0, 1.0)]), [Verdict::Good, Verdict::Good]);
        assert_eq!(verdicts(&[node(1.0, 1.0), node(12.0, 1.0)])[2..], [Verdict::Warning]);
        let mut broken = node(10.0, 1.0);
        broken.speed.trouble = Some("no room".to_owned());
        assert_eq!(verdicts(&[node(10.0, 1.0), broken])[2..], [Verdict::Warning]);
        assert_eq!(super::nodes(&hosts(&["a"]), &[node(1.0, 1.0)], false)[0].verdict, Verdict::Good);
    }

    #[test]
    fn files_that_root_may_not_read_are_a_no_go() {
        let mut shut = node(1.0, 1.0);
        assert_eq!(readable(&hosts(&["a"]), std::slice::from_ref(&shut), true), None);
        shut.speed.unreadable = 3;
        let verdict = |is_root| readable(&hosts(&["a"]), std::slice::from_ref(&shut), is_root).unwrap().verdict;
        assert_eq!((verdict(true), verdict(false)), (Verdict::NoGo, Verdict::Warning));
    }

    #[test]
    fn an_estimate_is_a_range_and_says_nothing_without_figures() {
        let mut census = Census { bytes: 1_000, allocated: 1_000, ..Census::default() };
        census.kinds[0] = 500;
        let rates = by_node(&hosts(&["a"]), &[node(20.0, 200.0)]);
        // 2,000 operations at 40/s, 1,000 bytes at 100/s.
        let expected = Estimate { seconds_least: 50, seconds_most: 180 };
        assert_eq!(estimate(&census, &rates), Some(expected));
        assert!(estimated(Some(expected)).what.contains("50 s to 3 min"));
        assert_eq!(estimate(&census, &by_node(&hosts(&["a"]), &[node(0.0, 0.0)])), None);
    }
}
