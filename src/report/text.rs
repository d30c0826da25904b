//! The summary for people.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{BinaryBytes, HumanCount};

use super::progress::clock;
use super::summary::{Content, Summary};
use crate::tree::{Kind, Outcome};

/// Causes of faults that the text shows; all are in the JSON.
const CAUSES_MAX: usize = 8;

/// The whole text, with a closing newline.
pub fn render(summary: &Summary) -> String {
    let mut parts = vec![head(summary), table(summary), figures(summary)];
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
    format!(
        "pmirror {} sync, {time}, {ranks} of {threads} on {nodes}\n  from {} ({})\n  to   {} ({})\n",
        summary.version, summary.source.path, summary.source.fs_type, summary.target.path, summary.target.fs_type,
    )
}

fn plural(n: u64, one: &str, many: &str) -> String {
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
    table.load_preset(presets::NOTHING);
    let mut header = vec![String::new()];
    header.extend(words.iter().map(|word| word.replace('_', " ")));
    table.set_header(header);
    for kind in Kind::ALL.into_iter().filter(|&kind| value(kind, "seen") > 0) {
        let cells = words.iter().map(|word| HumanCount(value(kind, word)).to_string());
        table.add_row(std::iter::once(kind.word().replace('_', " ")).chain(cells));
    }
    let cells = words.iter().map(|word| HumanCount(total(word)).to_string());
    table.add_row(std::iter::once("all".to_owned()).chain(cells));
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
    let mut lines = vec![format!(
        "data     {} in files, {} read, {} written",
        BinaryBytes(bytes.logical),
        BinaryBytes(bytes.read),
        BinaryBytes(bytes.written)
    )];
    if bytes.compared > 0 {
        lines.push(format!("compared {} with their copies", BinaryBytes(bytes.compared)));
    }
    lines.push(format!(
        "rate     {} entries/s, {}/s",
        HumanCount(summary.rates.entries_per_second as u64),
        BinaryBytes(summary.rates.bytes_per_second as u64)
    ));
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
    lines.push(format!("flushed  in {:.1} s", summary.seconds.flush));
    lines.push(format!("record   {}", summary.run_directory));
    lines.iter().map(|line| format!("  {line}\n")).collect()
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
        lines.push(format!("{} without their {what}: {remedy}", plural(*n, "entry", "entries")));
    }
    for (reason, n) in &summary.skipped {
        lines.push(format!("{} skipped: --{}", plural(*n, "entry", "entries"), reason.replace('_', "-")));
    }
    if summary.target_only > 0 {
        lines.push(format!(
            "{} only DST has: sync deletes nothing",
            plural(summary.target_only, "name that", "names that")
        ));
    }
    if summary.links.outside > 0 {
        lines.push(format!("{} with names outside SRC", plural(summary.links.outside, "inode", "inodes")));
    }
    if summary.links.split > 0 {
        let inodes = plural(summary.links.split, "source inode", "source inodes");
        lines.push(format!("{inodes} became several on DST: see the fault list"));
    }
    if summary.swept > 0 {
        lines.push(format!("{} of a dead run removed", plural(summary.swept, "left-over", "left-overs")));
    }
    (!lines.is_empty()).then(|| lines.iter().map(|line| format!("  note     {line}\n")).collect())
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
    Some(format!("{}\n", lines.join("\n")))
}

fn describe(errno: &str) -> &'static str {
    let found = (1..134).map(nix::errno::Errno::from_raw).find(|known| format!("{known:?}") == errno);
    found.map_or("unknown error", nix::errno::Errno::desc)
}

fn closing(summary: &Summary) -> String {
    let text = match summary.exit_code {
        0 => "done: all that was asked is done, the books balance",
        11 => "ended by an error: run the same command again when it is mended",
        20 => "stopped by a signal: run the same command again, it goes on from here",
        23 => "done, but some entries failed",
        24 => "done; some sources vanished or changed while we read them: the next run picks them up",
        70 => "the books do not balance: this is a bug, please report it",
        _ => "ended",
    };
    let mut text = format!("{text} (exit {})", summary.exit_code);
    if let Some(error) = &summary.error {
        text = format!("{error}\n{text}");
    }
    for imbalance in &summary.imbalances {
        text = format!("{imbalance}\n{text}");
    }
    text
}
