//! The summary for people.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{BinaryBytes, HumanCount};

use super::progress::clock;
use super::summary::{Content, Contents, Frozen, Summary, describe};
use crate::tree::{Aspect, Fate, Kind, Outcome};

/// Causes of faults that the text shows; all are in the JSON.
const CAUSES_MAX: usize = 8;

/// The whole text, with a closing newline.
pub fn render(summary: &Summary) -> String {
    let mut parts = vec![head(summary)];
    if summary.entries.values().any(|row| row.get("seen").is_some_and(|&seen| seen > 0)) {
        parts.push(table(summary));
    }
    parts.extend(summary.removals.as_ref().map(super::removals::text));
    parts.extend(trash(summary));
    parts.push(figures(summary));
    parts.extend(remarks(summary));
    parts.extend(faults(summary));
    parts.push(format!("{}\n", closing(summary)));
    parts.join("\n")
}

fn head(summary: &Summary) -> String {
    let mut nodes: Vec<&str> = summary.ranks.iter().map(|rank| rank.host.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let ranks = plural(summary.ranks.len() as u64, "rank", "ranks");
    let nodes = plural(nodes.len() as u64, "node", "nodes");
    let threads = plural(u64::from(summary.threads), "thread", "threads");
    let time = clock(Duration::from_secs_f64(summary.seconds.total));
    let (source, target) = (&summary.source, &summary.target);
    let trees = match summary.command {
        "rm" if source.path.is_empty() => format!("  tree {} ({})\n", target.path, target.fs_type),
        "purge-trash" => format!("  DST  {} ({})\n", target.path, target.fs_type),
        "sync" | "mtimes" => {
            format!("  from {} ({})\n  to   {} ({})\n", source.path, source.fs_type, target.path, target.fs_type)
        }
        _ => format!("  SRC  {} ({})\n  DST  {} ({})\n", source.path, source.fs_type, target.path, target.fs_type),
    };
    let (version, command) = (&summary.version, summary.command);
    let dry = if summary.dry_run { " (dry run)" } else { "" };
    let attempts = if summary.attempt > 1 { format!(" in {} attempts", summary.attempt) } else { String::new() };
    format!("pmirror {version} {command}{dry}, {time}{attempts}, {ranks} of {threads} on {nodes}\n{trees}")
}

/// How what was renamed into the trash comes back.
fn trash(summary: &Summary) -> Option<String> {
    let trashed = |row: &BTreeMap<&'static str, u64>| row.get(Fate::Trashed.word()).copied().unwrap_or(0);
    let any = summary.removals.as_ref()?.entries.values().any(|row| trashed(row) > 0) && !summary.dry_run;
    any.then(|| {
        format!("  trash    DST/.pmirror/trash/{}: pmirror undelete {}\n", summary.run_id, summary.run_directory)
    })
}

/// A run that looks at no file.
fn looks_at_files(summary: &Summary) -> bool {
    matches!(summary.command, "sync" | "cmp")
}

fn compares(summary: &Summary) -> bool {
    summary.differences.is_some()
}

/// So many of something, in words.
pub fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", HumanCount(n), if n == 1 { one } else { many })
}

/// The books: only kinds and outcomes that occurred.
fn table(summary: &Summary) -> String {
    let value =
        |kind: Kind, word: &str| summary.entries.get(kind.word()).and_then(|row| row.get(word)).copied().unwrap_or(0);
    let total = |word: &str| Kind::ALL.iter().map(|&kind| value(kind, word)).sum::<u64>();
    let words: Vec<&str> =
        std::iter::once("seen").chain(Outcome::ALL.iter().map(|o| o.word()).filter(|word| total(word) > 0)).collect();
    let mut table = Table::new();
    let mut header = vec![String::new()];
    header.extend(words.iter().map(|word| word.replace('_', " ")));
    table.set_header(header);
    for kind in Kind::ALL.into_iter().filter(|&kind| value(kind, "seen") > 0) {
        let cells = words.iter().map(|word| HumanCount(value(kind, word)).to_string());
        table.add_row(std::iter::once(kind.word().replace('_', " ")).chain(cells));
    }
    let cells = words.iter().map(|word| HumanCount(total(word)).to_string());
    table.add_row(std::iter::once("all".to_owned()).chain(cells));
    rendered(table)
}

/// Plain columns, the numbers to the right.
pub fn rendered(mut table: Table) -> String {
    table.load_preset(presets::NOTHING);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines: Vec<String> = table.lines().map(|line| format!(" {}", line.trim_end())).collect();
    format!("{}\n", lines.join("\n"))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Rates for people.
fn figures(summary: &Summary) -> String {
    let bytes = summary.bytes;
    let busy = |share: f64| format!("{:.0} %", (1.0 - share) * 100.0);
    let average = summary.ranks.iter().map(|rank| rank.idle_share).sum::<f64>() / summary.ranks.len().max(1) as f64;
    let data = if compares(summary) || summary.dry_run {
        format!("data     {} in files", BinaryBytes(bytes.logical))
    } else {
        let (read, written) = (BinaryBytes(bytes.read), BinaryBytes(bytes.written));
        format!("data     {} in files, {read} read, {written} written", BinaryBytes(bytes.logical))
    };
    let mut lines = if looks_at_files(summary) { vec![data] } else { Vec::new() };
    if bytes.compared > 0 {
        lines.push(format!("compared {} with their copies", BinaryBytes(bytes.compared)));
    }
    let entries = HumanCount(summary.rates.entries_per_second as u64);
    lines.push(if looks_at_files(summary) {
        format!("rate     {entries} entries/s, {}/s", BinaryBytes(summary.rates.bytes_per_second as u64))
    } else {
        format!("rate     {entries} entries/s")
    });
    if summary.ranks.len() > 1 {
        let steals: u64 = summary.ranks.iter().map(|rank| rank.steals).sum();
        let laziest = summary.ranks.iter().max_by(|a, b| a.idle_share.total_cmp(&b.idle_share));
        let least = laziest.map_or(String::new(), |rank| {
            format!(", least {} on rank {} ({})", busy(rank.idle_share), rank.rank, rank.host)
        });
        lines.push(format!("ranks    busy {}{least}, {}", busy(average), plural(steals, "steal", "steals")));
    }
    // Reading and writing is what everybody expects; anything else is worth a line.
    if summary.engines.keys().any(|&engine| engine != "read_write") {
        let engine = |(word, content): (&&str, &Content)| {
            format!("{} in {} by {}", BinaryBytes(content.bytes), plural(content.files, "file", "files"), word)
        };
        lines.push(format!("engines  {}", summary.engines.iter().map(engine).collect::<Vec<_>>().join(", ")));
    }
    if let Some(verified) = summary.verified {
        let files = plural(verified.files, "file", "files");
        lines.push(format!("verified {files}, {} read back", BinaryBytes(verified.bytes)));
    }
    if summary.links.groups > 0 {
        lines.push(format!("links    {} of several names", plural(summary.links.groups, "inode", "inodes")));
    }
    if let Some(renamed) = summary.renamed.filter(|&renamed| renamed > 0) {
        lines.push(format!("renamed  {}, with all that they hold", plural(renamed, "directory", "directories")));
    }
    lines.extend(summary.contents.as_ref().map(contents));
    lines.extend(summary.differences.as_ref().map(differences));
    if !compares(summary) && !summary.dry_run && summary.seconds.flush > 0.0 {
        lines.push(format!("flushed  in {:.1} s", summary.seconds.flush));
    }
    lines.push(format!("record   {}", summary.run_directory));
    lines.iter().map(|line| format!("  {line}\n")).collect()
}

/// What was read of the files, and what that proves of those that were not.
fn contents(contents: &Contents) -> String {
    let (files, bytes) = (plural(contents.files, "file", "files"), BinaryBytes(contents.bytes));
    let differ = match contents.different {
        0 => "none differs".to_owned(),
        1 => "1 differs".to_owned(),
        n => format!("{} differ", HumanCount(n)),
    };
    let mut text = format!("contents of {} of {files} compared ({bytes}): {differ}", HumanCount(contents.compared));
    if contents.compared < contents.files {
        let (confidence, share) = (contents.confidence * 100.0, contents.share_max * 100.0);
        text.push_str(&format!("; with {confidence:.0} % confidence fewer than {} % do", significant(share)));
    }
    text
}

/// Two digits that tell something, rounded up: the figure is a limit.
fn significant(percent: f64) -> String {
    let digits = (1.0 - percent.max(1e-9).log10().floor()).max(0.0);
    let scale = 10f64.powf(digits);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // At most 11.
    let digits = digits as usize;
    format!("{:.digits$}", (percent * scale).ceil() / scale)
}

/// How many names differ, by what differs.
fn differences(found: &BTreeMap<&'static str, u64>) -> String {
    let word = |aspect: Aspect| match aspect {
        Aspect::SourceOnly => "only in SRC",
        Aspect::TargetOnly => "only in DST",
        aspect => aspect.word(),
    };
    let count = |aspect: Aspect| found.get(aspect.word()).map(|&n| format!("{} {}", HumanCount(n), word(aspect)));
    let all: Vec<String> = Aspect::ALL.into_iter().filter_map(count).collect();
    format!("differ   {}", if all.is_empty() { "in nothing".to_owned() } else { all.join(", ") })
}

/// What a person should know although nothing failed.
fn remarks(summary: &Summary) -> Option<String> {
    let mut lines = Vec::new();
    for (what, n) in &summary.unset {
        let (what, remedy) = match *what {
            "owner" => ("owner", "only root gives files to others"),
            "group" => ("group", "you are not in it"),
            "layout" => ("layout", "it can not be had on DST, so the default was taken"),
            _ => ("capabilities or other attributes of root", "only root sets them"),
        };
        let verb = if compares(summary) { "with another" } else { "without their" };
        lines.push(format!("{} {verb} {what}: {remedy}", plural(*n, "entry", "entries")));
    }
    for (reason, n) in &summary.skipped {
        lines.push(format!("{} skipped: --{}", plural(*n, "entry", "entries"), reason.replace('_', "-")));
    }
    if summary.target_only > 0 && looks_at_files(summary) && !compares(summary) && summary.removals.is_none() {
        lines.push(format!(
            "{} only DST has: sync deletes nothing",
            plural(summary.target_only, "name that", "names that")
        ));
    }
    lines.extend(summary.frozen.iter().flat_map(|frozen| about_frozen(frozen, &summary.run_directory)));
    if summary.links.outside > 0 && summary.retry_of.is_some() {
        lines.push(format!(
            "{} with names that this retry did not look at: the command of the run itself brings them together",
            plural(summary.links.outside, "inode", "inodes")
        ));
    } else if summary.links.outside > 0 {
        lines.push(format!("{} with names outside SRC", plural(summary.links.outside, "inode", "inodes")));
    }
    if summary.links.split > 0 {
        let inodes = plural(summary.links.split, "source inode", "source inodes");
        lines.push(format!("{inodes} became several on DST: pmirror cmp names them"));
    }
    if summary.retried > 0 {
        let tries = plural(summary.retried, "try that failed was", "tries that failed were");
        lines.push(format!("{tries} made again"));
    }
    if summary.over_quota > 0 {
        let entries = plural(summary.over_quota, "entry was", "entries were");
        lines.push(format!("{entries} not tried, as the owner is over quota: pmirror retry RUN --errno EDQUOT"));
    }
    if summary.parked > 0 {
        let operations = plural(summary.parked, "operation", "operations");
        lines.push(format!("{operations} had no answer, so their entries were parked: see the fault list"));
    }
    if summary.swept > 0 {
        lines.push(format!("{} of a dead run removed", plural(summary.swept, "left-over", "left-overs")));
    }
    (!lines.is_empty()).then(|| lines.iter().map(|line| format!("  note     {line}\n")).collect())
}

/// What a source that was said to be frozen shows all the same.
fn about_frozen(frozen: &Frozen, run_directory: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if frozen.ctime_newer.files > 0 {
        let (files, bytes) = (plural(frozen.ctime_newer.files, "file", "files"), BinaryBytes(frozen.ctime_newer.bytes));
        lines.push(format!(
            "{files} ({bytes}) changed after the copy was made, by ctime alone: --ctime=content compares the content"
        ));
    }
    if frozen.ctime_after_start > 0 {
        let entries = plural(frozen.ctime_after_start, "entry", "entries");
        lines.push(format!("{entries} of SRC changed after the start of this run: somebody writes there"));
        lines.extend(frozen.paths.iter().map(|path| format!("  {path}")));
    }
    if !lines.is_empty() {
        lines.push(format!("these are listed in {run_directory}/notes.jsonl"));
    }
    lines
}

fn faults(summary: &Summary) -> Option<String> {
    let total: u64 = summary.faults.iter().map(|fault| fault.count).sum();
    if total == 0 {
        return None;
    }
    let mut lines =
        vec![format!("  {}, listed in {}/faults.jsonl", plural(total, "fault", "faults"), summary.run_directory)];
    for fault in summary.faults.iter().take(CAUSES_MAX) {
        let what = if fault.operation.is_empty() {
            if fault.note.is_empty() { "gone before its turn came".to_owned() } else { fault.note.clone() }
        } else {
            format!("{} on the {}: {} ({})", fault.operation, fault.side, describe(&fault.errno), fault.errno)
        };
        lines.push(format!("    {:>9}  {}  {what}", HumanCount(fault.count).to_string(), fault.outcome));
    }
    let more = summary.faults.len().saturating_sub(CAUSES_MAX);
    if more > 0 {
        lines.push(format!("    and {}", plural(more as u64, "other cause", "other causes")));
    }
    lines.push(format!("  pmirror explain {} tells why, and what to do", summary.run_directory));
    let can_retry = looks_at_files(summary) && !summary.dry_run;
    if can_retry && summary.faults.iter().any(|fault| fault.outcome == "failed") {
        lines.push(format!("  pmirror retry {} does what failed again", summary.run_directory));
    }
    Some(format!("{}\n", lines.join("\n")))
}

fn is_written_to(summary: &Summary) -> bool {
    summary.frozen.as_ref().is_some_and(|frozen| frozen.ctime_after_start > 0)
}

fn closing(summary: &Summary) -> String {
    let text = match summary.exit_code {
        0 if summary.dry_run => "dry run: nothing was written, this is what would be done",
        0 if compares(summary) => "no difference",
        0 => "done: all that was asked is done, the books balance",
        11 => "ended by an error: run the same command again when it is mended",
        20 if summary.goes_on => "stopped by a signal",
        75 if summary.goes_on => "the time is up",
        20 if compares(summary) => "stopped by a signal: what was found so far is listed",
        24 if compares(summary) => "no difference, but some entries vanished or changed while we looked",
        24 if is_written_to(summary) => "done, but somebody writes into SRC, which was said to be frozen",
        75 if compares(summary) => "the time is up: what was found so far is listed",
        75 => "the time is up: run the same command again, it goes on from here",
        26 => "the trees differ",
        20 => "stopped by a signal: run the same command again, it goes on from here",
        3 => "refused: nothing was changed",
        23 => "done, but some entries failed",
        25 => "done, but deletions were held back",
        24 => "done; some sources vanished or changed while we read them: the next run picks them up",
        70 => "the books do not balance: this is a bug, please report it",
        _ => "ended",
    };
    let mut text = format!("{text} (exit {})", summary.exit_code);
    if summary.goes_on {
        text = format!("{text}\nto go on from here: pmirror resume {}", summary.run_directory);
    }
    if summary.dry_run && summary.exit_code != 0 {
        text = format!("dry run: nothing was written\n{text}");
    }
    if let Some(error) = &summary.error {
        text = format!("{error}\n{text}");
    }
    for imbalance in &summary.imbalances {
        text = format!("{imbalance}\n{text}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_says_what_it_proves() {
        let read = |compared, different, share_max| Contents {
            files: 120_000,
            compared,
            bytes: 1 << 30,
            different,
            sample_percent: Some(5.0),
            seed: Some(0),
            confidence: 0.95,
            share_max,
        };
        let expected = "contents of 6,000 of 120,000 files compared (1.00 GiB): none differs; \
                        with 95 % confidence fewer than 0.050 % do";
        assert_eq!(contents(&read(6_000, 0, 0.000_499_1)), expected);
        assert!(contents(&read(6_000, 1, 0.012_34)).ends_with(": 1 differs; with 95 % confidence fewer than 1.3 % do"));
        assert!(contents(&read(120_000, 2, 0.0)).ends_with(": 2 differ"));
    }

    #[test]
    fn a_limit_is_never_rounded_down() {
        assert_eq!(significant(0.123), "0.13");
        assert_eq!(significant(2.51), "2.6");
        assert_eq!(significant(99.2), "100");
    }
}
