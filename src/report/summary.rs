//! The summary of a run: `summary.json`, which people script against, and its data as text.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::counters::{Counters, Number, Slot};
use crate::slurm::Job;
use crate::tree::decide::Skip;
use crate::tree::difference::{Comparing, Level};
use crate::tree::sample::{CONFIDENCE, share_max};
use crate::tree::{Aspect, Fate, Kept, Kind, Outcome};

/// The summary of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Of this program.
    pub version: String,
    /// The command.
    pub command: &'static str,
    /// The command line.
    pub arguments: Vec<String>,
    /// The name of the run's directory.
    pub run_id: String,
    /// `retry`: the run whose faults this one did again; absent in others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<String>,
    /// Which attempt of the run this was, from 1: `resume` goes on with the books of those before.
    pub attempt: u32,
    /// Where that directory is.
    pub run_directory: String,
    /// Of the program, on all ranks.
    pub exit_code: u8,
    /// What went wrong with the run as a whole.
    pub error: Option<String>,
    /// The job.
    pub slurm: Option<Job>,
    /// The tree that is read.
    pub source: Tree,
    /// The tree that is written.
    pub target: Tree,
    /// RFC 3339.
    pub started: String,
    /// RFC 3339.
    pub ended: String,
    /// The run was stopped and left a checkpoint: `pmirror resume` goes on with it.
    pub goes_on: bool,
    /// Durations.
    pub seconds: Seconds,
    /// By kind: seen, and by outcome. The books: seen is the sum of the outcomes.
    pub entries: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// Skipped entries by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// `cmp`: names at which the trees differ, by what differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differences: Option<BTreeMap<&'static str, u64>>,
    /// `cmp --level hash`: what was read of the files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contents: Option<Contents>,
    /// Bytes of regular files.
    pub bytes: Bytes,
    /// What moved the content of files, by engine.
    pub engines: BTreeMap<&'static str, Content>,
    /// Files that were read back and found right; `null` without `--verify`.
    pub verified: Option<Content>,
    /// Names that only the target has.
    pub target_only: u64,
    /// `--detect-renames`: directories that were renamed on DST; absent without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renamed: Option<u64>,
    /// Left-overs of dead runs that were removed.
    pub swept: u64,
    /// Operations that had no answer: their entries have failed.
    pub parked: u64,
    /// Tries that failed for a reason that may pass, and were made again.
    pub retried: u64,
    /// Entries that were not tried, as their owner was found over quota.
    pub over_quota: u64,
    /// Hard links.
    pub links: Links,
    /// What could not be set, by kind.
    pub unset: BTreeMap<&'static str, u64>,
    /// `--sandbox`: what the kernel kept the run from; absent without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Sandbox>,
    /// `sync`: who could get to DST while it was written; absent where it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_reach: Option<TargetReach>,
    /// Nothing was written: this is what would be done.
    pub dry_run: bool,
    /// What was to be removed from DST; absent where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removals: Option<Removals>,
    /// `--final`: what was written to a source that is said to be frozen; absent without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Frozen>,
    /// Faults by cause, the most frequent first.
    pub faults: Vec<FaultCount>,
    /// Entries and bytes a second, over the whole run.
    pub rates: Rates,
    /// Work of each rank.
    pub ranks: Vec<RankWork>,
    /// Worker threads of each rank.
    pub threads: u32,
    /// Books that do not balance.
    pub imbalances: Vec<String>,
}

/// What the kernel kept all ranks from.
#[derive(Debug, Clone, Serialize)]
pub struct Sandbox {
    /// Writing to SRC; `null` where there is none.
    pub source_read_only: Option<bool>,
    /// Opening anything but what the run is about.
    pub landlock: bool,
    /// What could not be had on all ranks, and why.
    pub missing: Vec<String>,
}

/// Who could get to DST at the start of the run.
#[derive(Debug, Clone, Serialize)]
pub struct TargetReach {
    /// Users but root and the one who ran it: `all`, `some`, `none`, or `none_here` if other nodes may differ.
    pub users: &'static str,
    /// In words.
    pub text: String,
}

/// A root.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tree {
    /// As the operator named it.
    pub path: String,
    /// The file system's type.
    pub fs_type: String,
}

/// Durations of a run.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Seconds {
    /// From the end of MPI_Init to the summary, with the earlier attempts up to their checkpoints; the parts are those of
    /// the last one.
    pub total: f64,
    /// Opening, comparing views, locking.
    pub start: f64,
    /// The walk of a mirror.
    pub mirror: f64,
    /// The walk of a comparison.
    pub compare: f64,
    /// Looking for what is to be removed.
    pub plan: f64,
    /// Hard links.
    pub link: f64,
    /// Deletions.
    pub remove: f64,
    /// Directories left to the end.
    pub settle: f64,
    /// The closing syncfs.
    pub flush: f64,
}

/// Bytes of regular files.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Bytes {
    /// Sizes of the files seen.
    pub logical: u64,
    /// What the source allocates for them.
    pub allocated: u64,
    /// Read.
    pub read: u64,
    /// Written.
    pub written: u64,
    /// Compared with their copies.
    pub compared: u64,
}

/// Content of files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Content {
    /// How many.
    pub files: u64,
    /// Of their content.
    pub bytes: u64,
}

/// What was found of a source that is said to be frozen. All of it is listed in `notes.jsonl`.
#[derive(Debug, Clone, Serialize)]
pub struct Frozen {
    /// Entries that were changed after the start of the run.
    pub ctime_after_start: u64,
    /// Some of them.
    pub paths: Vec<String>,
    /// Files that were changed after their copy was made, although size and time are equal: what
    /// `--ctime=content` compares.
    pub ctime_newer: Content,
}

/// What a comparison read of the files.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Contents {
    /// Files of equal size on both sides, empty ones left aside: their contents are in question.
    pub files: u64,
    /// Files whose contents were compared.
    pub compared: u64,
    /// Their bytes, on one side.
    pub bytes: u64,
    /// Files among them whose contents differ.
    pub different: u64,
    /// `--sample`.
    pub sample_percent: Option<f64>,
    /// `--seed`.
    pub seed: Option<u64>,
    /// How sure `share_max` is.
    pub confidence: f64,
    /// No larger share of `files` differs, with that confidence.
    pub share_max: f64,
}

/// What was to be removed from DST.
#[derive(Debug, Clone, Serialize)]
pub struct Removals {
    /// Entries of DST that the plan saw.
    pub seen: u64,
    /// Those of them that were to go.
    pub planned: u64,
    /// By kind: planned, and by fate. The books: planned is the sum of the fates.
    pub entries: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// Entries that stay, by reason.
    pub kept: BTreeMap<&'static str, u64>,
    /// Subtrees that were held back.
    pub held: Vec<Held>,
    /// Why nothing was removed.
    pub refused: Option<String>,
}

/// A subtree that was held back.
#[derive(Debug, Clone, Serialize)]
pub struct Held {
    /// Below DST.
    pub path: String,
    /// Its entries.
    pub entries: u64,
    /// Those of them that would have gone.
    pub planned: u64,
}

/// Hard links.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Links {
    /// Source inodes with several names.
    pub groups: u64,
    /// Those with names outside the tree.
    pub outside: u64,
    /// Those that became more than one inode on the target.
    pub split: u64,
}

/// Faults of one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FaultCount {
    /// What became of the entries.
    pub outcome: String,
    /// The system call.
    pub operation: String,
    /// The error's name.
    pub errno: String,
    /// Which tree.
    pub side: &'static str,
    /// What it means.
    pub note: String,
    /// How many.
    pub count: u64,
}

/// Rates over the whole run.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Rates {
    /// Entries seen a second.
    pub entries_per_second: f64,
    /// Bytes written (or compared) a second.
    pub bytes_per_second: f64,
}

/// Work of one rank.
#[derive(Debug, Clone, Serialize)]
pub struct RankWork {
    /// Its number.
    pub rank: u32,
    /// Its node.
    pub host: String,
    /// Items run.
    pub items: u64,
    /// Entries seen.
    pub entries: u64,
    /// Bytes written, or compared.
    pub bytes: u64,
    /// Share of the workers' time without an item, 0 to 1.
    pub idle_share: f64,
    /// Steals that brought items.
    pub steals: u64,
    /// Items that they brought.
    pub items_stolen: u64,
    /// Items and notes that were kept in the run directory for a while, as the memory is bounded.
    pub items_spilled: u64,
    /// Steal requests that were refused.
    pub refusals: u64,
}

/// The books of all kinds that were seen, as the summary shows them.
pub fn entries(counters: &Counters) -> BTreeMap<&'static str, BTreeMap<&'static str, u64>> {
    let mut entries = BTreeMap::new();
    for kind in Kind::ALL {
        let mut row = BTreeMap::from([("seen", counters.get(Slot::Seen(kind)))]);
        for outcome in Outcome::ALL {
            row.insert(outcome.word(), counters.get(Slot::Ended(kind, outcome)));
        }
        if kind != Kind::Unknown || row.values().any(|&n| n > 0) {
            entries.insert(kind.word(), row);
        }
    }
    entries
}

/// The name of an error in words.
pub fn describe(errno: &str) -> &'static str {
    let found = (1..134).map(nix::errno::Errno::from_raw).find(|known| format!("{known:?}") == errno);
    found.map_or("unknown error", nix::errno::Errno::desc)
}

/// Bytes that were written, or compared: a run does one of both.
pub fn bytes_done(counters: &Counters) -> u64 {
    counters.number(Number::BytesWritten) + counters.number(Number::ContentsBytes)
}

/// Names at which the trees differ, by what differs.
pub fn differences(counters: &Counters) -> BTreeMap<&'static str, u64> {
    let count = |&aspect: &Aspect| (aspect.word(), counters.get(Slot::Difference(aspect)));
    Aspect::ALL.iter().map(count).filter(|&(_, n)| n > 0).collect()
}

/// What was read of the files, and what it proves; `None` where no content was to be compared.
pub fn contents(counters: &Counters, comparing: &Comparing) -> Option<Contents> {
    let (files, compared) = (counters.number(Number::ContentsAsked), counters.number(Number::ContentsCompared));
    let different = counters.get(Slot::Difference(Aspect::Content));
    (comparing.level == Level::Hash).then(|| Contents {
        files,
        compared,
        bytes: counters.number(Number::ContentsBytes),
        different,
        sample_percent: comparing.sample.map(|sample| sample.percent()),
        seed: comparing.sample.map(|sample| sample.seed()),
        confidence: CONFIDENCE,
        share_max: share_max(files, compared, different),
    })
}

/// What was to be removed, by kind: planned, and by fate.
pub fn removals(counters: &Counters) -> BTreeMap<&'static str, BTreeMap<&'static str, u64>> {
    let mut entries = BTreeMap::new();
    for kind in Kind::ALL.into_iter().filter(|&kind| counters.get(Slot::Planned(kind)) > 0) {
        let mut row = BTreeMap::from([("planned", counters.get(Slot::Planned(kind)))]);
        row.extend(Fate::ALL.map(|fate| (fate.word(), counters.get(Slot::Removal(kind, fate)))));
        entries.insert(kind.word(), row);
    }
    entries
}

/// Entries that stay, by reason.
pub fn kept(counters: &Counters) -> BTreeMap<&'static str, u64> {
    let count = |&kept: &Kept| (kept.word(), counters.get(Slot::Stays(kept)));
    Kept::ALL.iter().map(count).filter(|&(_, n)| n > 0).collect()
}

/// Skipped entries by reason.
pub fn skipped(counters: &Counters) -> BTreeMap<&'static str, u64> {
    let count = |&skip: &Skip| (skip.word(), counters.get(Slot::Skipped(skip)));
    Skip::ALL.iter().map(count).filter(|&(_, n)| n > 0).collect()
}

/// What moved the content of files: only engines that moved any.
pub fn engines(counters: &Counters) -> BTreeMap<&'static str, Content> {
    let engines = [
        ("reflink", Number::ReflinkFiles, Number::ReflinkBytes),
        ("copy_file_range", Number::CopyFileRangeFiles, Number::CopyFileRangeBytes),
        ("read_write", Number::ReadWriteFiles, Number::ReadWriteBytes),
    ];
    let content = |files, bytes| Content { files: counters.number(files), bytes: counters.number(bytes) };
    let engines = engines.into_iter().map(|(word, files, bytes)| (word, content(files, bytes)));
    engines.filter(|(_, content)| *content != Content::default()).collect()
}

/// Files that were read back.
pub fn verified(counters: &Counters) -> Content {
    Content { files: counters.number(Number::VerifiedFiles), bytes: counters.number(Number::VerifiedBytes) }
}

/// What was found of a source that is said to be frozen.
pub fn frozen(counters: &Counters, paths: Vec<String>) -> Frozen {
    let (files, bytes) = (counters.number(Number::CtimeNewer), counters.number(Number::CtimeNewerBytes));
    let ctime_after_start = counters.number(Number::CtimeAfterStart);
    Frozen { ctime_after_start, paths, ctime_newer: Content { files, bytes } }
}

/// What could not be set, by kind.
pub fn unset(counters: &Counters) -> BTreeMap<&'static str, u64> {
    let kinds = [
        ("owner", Number::OwnerUnset),
        ("group", Number::GroupUnset),
        ("xattrs", Number::XattrsUnset),
        ("layout", Number::LayoutUnset),
    ];
    kinds.into_iter().map(|(word, number)| (word, counters.number(number))).filter(|&(_, n)| n > 0).collect()
}

/// Work of one rank. `seconds` is the duration of the passes.
#[allow(clippy::cast_precision_loss)] // A share.
pub fn rank_work(rank: u32, host: &str, threads: u32, counters: &Counters, seconds: f64) -> RankWork {
    let busy = counters.number(Number::BusyNanoseconds) as f64 / 1e9;
    let all = f64::from(threads) * seconds;
    RankWork {
        rank,
        host: host.to_owned(),
        items: counters.number(Number::Items),
        entries: counters.seen(),
        bytes: bytes_done(counters),
        idle_share: if all > 0.0 { (1.0 - busy / all).clamp(0.0, 1.0) } else { 0.0 },
        steals: counters.number(Number::Steals),
        items_stolen: counters.number(Number::ItemsStolen),
        items_spilled: counters.number(Number::ItemsSpilled),
        refusals: counters.number(Number::Refusals),
    }
}

impl Summary {
    /// The summary as JSON, with a closing newline.
    pub fn to_json(&self) -> String {
        let mut json = super::json::pretty(self).unwrap_or_default();
        json.push('\n');
        json
    }

    /// Entries found, of all kinds.
    pub fn entries_seen(&self) -> u64 {
        self.entries.values().filter_map(|row| row.get("seen")).sum()
    }

    /// Names at which the trees differ.
    pub fn names_that_differ(&self) -> u64 {
        let different = |row: &BTreeMap<&str, u64>| row.get(Outcome::Different.word()).copied().unwrap_or(0);
        let target_only = self.differences.as_ref().and_then(|found| found.get(Aspect::TargetOnly.word()));
        self.entries.values().map(different).sum::<u64>() + target_only.copied().unwrap_or(0)
    }

    /// The summary for people.
    pub fn to_text(&self) -> String {
        super::text::render(self)
    }
}
