//! What is told of a preflight: a line for each check, or JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::differences::both_forms;
use super::json;
use crate::fault::Error;
use crate::preflight::facts::{Node, Room};
use crate::preflight::speed::{Estimate, Rates};
use crate::preflight::{Finding, Verdict, overall, plural};
use crate::tree::census::{Cases, Census, Most};
use crate::tree::{Kind, Time, TreePath};

/// What was found, on rank 0.
#[derive(Debug, Default)]
pub struct Report {
    /// SRC as the operator named it, and the type of its file system.
    pub source: (Vec<u8>, String),
    /// DST likewise.
    pub target: (Vec<u8>, String),
    /// The node of each rank.
    pub hosts: Vec<String>,
    /// What was found, in the order of the checks.
    pub findings: Vec<Finding>,
    /// What the file systems have, SRC's first.
    pub rooms: Option<(Room, Room)>,
    /// What each rank has.
    pub nodes: Vec<Node>,
    /// How quick the nodes are.
    pub rates: BTreeMap<String, Rates>,
    /// What a walk counted.
    pub census: Option<Census>,
    /// How long a first run may take.
    pub estimate: Option<Estimate>,
    /// Where the record of a walk is.
    pub record: Option<String>,
    /// The program's exit code.
    pub exit_code: u8,
}

impl Report {
    /// The verdict on the whole.
    pub fn verdict(&self) -> Verdict {
        overall(&self.findings)
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut nodes = self.hosts.clone();
        nodes.sort();
        nodes.dedup();
        let (ranks, nodes) =
            (plural(self.hosts.len() as u64, "rank", "ranks"), plural(nodes.len() as u64, "node", "nodes"));
        let mut text = format!("pmirror {} preflight, {ranks} on {nodes}\n", env!("CARGO_PKG_VERSION"));
        for (word, (path, fs_type)) in [("from", &self.source), ("to  ", &self.target)] {
            let path = crate::tree::path::escaped(path);
            let kind = if fs_type.is_empty() { String::new() } else { format!(" ({fs_type})") };
            text.push_str(&format!("  {word} {path}{kind}\n"));
        }
        text.push('\n');
        let width = self.findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
        for Finding { check, verdict, what, remedy } in &self.findings {
            let word = match verdict {
                Verdict::Good => "ok",
                Verdict::Warning => "WARNING",
                Verdict::NoGo => "NO-GO",
            };
            let check = check.replace('_', " ");
            text.push_str(&format!("  {word:<7}  {check:<width$}  {what}\n"));
            if !remedy.is_empty() {
                text.push_str(&format!("  {:<7}  {:<width$}  -> {remedy}\n", "", ""));
            }
        }
        if let Some(record) = &self.record {
            text.push_str(&format!("\n  record   {record}\n"));
        }
        text.push_str(&format!("\n{} (exit {})\n", self.closing(), self.exit_code));
        text
    }

    fn closing(&self) -> String {
        let count = |verdict| self.findings.iter().filter(|finding| finding.verdict == verdict).count() as u64;
        let warnings = plural(count(Verdict::Warning), "warning", "warnings");
        match self.verdict() {
            Verdict::Good => "go".to_owned(),
            Verdict::Warning => format!("go, with {warnings}"),
            Verdict::NoGo => {
                let reasons = plural(count(Verdict::NoGo), "reason", "reasons");
                format!("no-go, for {reasons}, and {warnings}")
            }
        }
    }

    /// For scripts.
    pub fn to_json(&self) -> Result<String, Error> {
        let verdict = match self.verdict() {
            Verdict::Good => "go",
            Verdict::Warning => "go_with_warnings",
            Verdict::NoGo => "no_go",
        };
        let check = |finding: &Finding| Check {
            check: finding.check,
            verdict: finding.verdict.word(),
            what: finding.what.clone(),
            remedy: Some(finding.remedy.clone()).filter(|remedy| !remedy.is_empty()),
        };
        let tree = |(path, fs_type): &(Vec<u8>, String)| Tree { path: path_of(path), fs_type: fs_type.clone() };
        let told = Told {
            version: env!("CARGO_PKG_VERSION"),
            command: "preflight",
            verdict,
            exit_code: self.exit_code,
            source: tree(&self.source),
            target: tree(&self.target),
            ranks: self
                .hosts
                .iter()
                .zip(ranks(&self.nodes, self.hosts.len()))
                .map(|(host, node)| rank(host, node))
                .collect(),
            checks: self.findings.iter().map(check).collect(),
            room: self.rooms.map(|(source, target)| Rooms { source, target }),
            nodes: self.rates.clone(),
            census: self.census.as_ref().map(counted),
            estimate: self.estimate,
        };
        json::pretty(&told).map(|text| format!("{text}\n")).map_err(|error| Error::Fatal(error.to_string()))
    }
}

#[derive(Serialize)]
struct Told {
    version: &'static str,
    command: &'static str,
    verdict: &'static str,
    exit_code: u8,
    source: Tree,
    target: Tree,
    ranks: Vec<Rank>,
    checks: Vec<Check>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<Rooms>,
    nodes: BTreeMap<String, Rates>,
    #[serde(skip_serializing_if = "Option::is_none")]
    census: Option<Counted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimate: Option<Estimate>,
}

#[derive(Serialize)]
struct Path {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
}

fn path_of(bytes: &[u8]) -> Path {
    let (path, path_b64) = both_forms(&TreePath::from(bytes));
    Path { path, path_b64 }
}

#[derive(Serialize)]
struct Tree {
    #[serde(flatten)]
    path: Path,
    fs_type: String,
}

#[derive(Serialize)]
struct Rooms {
    source: Room,
    target: Room,
}

#[derive(Serialize)]
struct Check {
    check: &'static str,
    verdict: &'static str,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

#[derive(Serialize)]
struct Rank {
    host: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files_max: Option<u64>,
}

/// Where the ranks could not agree nothing is known of them but their nodes.
fn ranks(nodes: &[Node], count: usize) -> impl Iterator<Item = Option<&Node>> {
    (0..count).map(|rank| nodes.get(rank))
}

fn rank(host: &str, node: Option<&Node>) -> Rank {
    Rank {
        host: host.to_owned(),
        kernel: node.map(|node| node.kernel.clone()),
        cpus: node.map(|node| node.cpus),
        files_max: node.map(|node| node.files_max),
    }
}

#[derive(Serialize)]
struct Counted {
    entries: BTreeMap<&'static str, u64>,
    bytes: u64,
    allocated_bytes: u64,
    largest: BTreeMap<&'static str, At>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    newest: Option<String>,
    troubles: BTreeMap<&'static str, Some>,
}

#[derive(Serialize)]
struct At {
    value: u64,
    #[serde(flatten)]
    path: Path,
}

#[derive(Serialize)]
struct Some {
    count: u64,
    examples: Vec<Path>,
}

fn counted(census: &Census) -> Counted {
    let kinds = Kind::ALL.into_iter().filter(|&kind| census.of_kind(kind) > 0);
    let largest = census.most.all().into_iter().filter(|(_, most)| most.value > 0);
    let at = |most: &Most| At { value: most.value, path: path_of(most.path.as_bytes()) };
    let some = |cases: &Cases| Some {
        count: cases.count,
        examples: cases.examples.iter().map(|path| path_of(path.as_bytes())).collect(),
    };
    Counted {
        entries: kinds.map(|kind| (kind.word(), census.of_kind(kind))).collect(),
        bytes: census.bytes,
        allocated_bytes: census.allocated,
        largest: largest.map(|(word, most)| (word, at(most))).collect(),
        oldest: census.times.map(|(oldest, _)| date(oldest)),
        newest: census.times.map(|(_, newest)| date(newest)),
        troubles: census.troubles.iter().map(|(trouble, cases)| (trouble.word(), some(cases))).collect(),
    }
}

/// As RFC 3339; as seconds since 1970 where the year has more than four digits.
fn date(time: Time) -> String {
    jiff::Timestamp::from_second(time.seconds).map_or_else(|_| time.seconds.to_string(), |date| date.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: Vec<Finding>) -> Report {
        Report {
            source: (b"/a\xff".to_vec(), "ext4".into()),
            hosts: vec!["n0".into(); 2],
            findings,
            ..Report::default()
        }
    }

    #[test]
    fn each_check_has_a_line_and_its_remedy_below() {
        let found =
            vec![Finding::good("space", "it fits"), Finding::warning("acls", "DST takes none", "leave them out")];
        let text = report(found).to_text();
        assert!(text.contains("\n  ok       space  it fits\n  WARNING  acls   DST takes none\n"), "{text}");
        assert!(text.contains("\n                  -> leave them out\n"), "{text}");
        assert!(text.ends_with("\ngo, with 1 warning (exit 0)\n"), "{text}");
    }

    #[test]
    fn scripts_get_the_verdict_and_the_bytes_of_a_path_that_is_no_text() {
        let json = report(vec![Finding::no_go("write", "read-only", "mount it")]).to_json().unwrap();
        let told: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&told["verdict"], &told["checks"][0]["verdict"]), (&"no_go".into(), &"no-go".into()));
        assert_eq!((&told["source"]["path"], &told["source"]["path_b64"]), (&"/a\\xff".into(), &"L2H/".into()));
        assert_eq!(told["ranks"].as_array().unwrap().len(), 2);
    }
}
