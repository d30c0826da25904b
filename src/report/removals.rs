//! What was removed from DST, for people.

use comfy_table::Table;
use indicatif::HumanCount;

use super::summary::{Held, Removals};
use super::text::{plural, rendered};
use crate::tree::{Fate, Kept, Kind};

/// Subtrees that the text names; all are in the JSON.
const HELD_MAX: usize = 10;

/// The books of deletions, what stays and why.
pub fn text(removals: &Removals) -> String {
    if removals.planned == 0 {
        return "  nothing is to be removed from DST\n".to_owned();
    }
    let mut lines = vec![table(removals)];
    let entries = |n: u64| plural(n, "entry", "entries");
    for (word, &n) in &removals.kept {
        let why = Kept::ALL.into_iter().find(|kept| kept.word() == *word).map_or("", Kept::text);
        lines.push(format!("  kept     {}: {why}\n", entries(n)));
    }
    let held = |held: &Held| {
        let (planned, all) = (HumanCount(held.planned), entries(held.entries));
        format!("  held     {}: {planned} of {all} would go; --hold-threshold lets more go\n", held.path)
    };
    lines.extend(removals.held.iter().take(HELD_MAX).map(held));
    if removals.held.len() > HELD_MAX {
        lines.push(format!("  held     and {} others, see summary.json\n", removals.held.len() - HELD_MAX));
    }
    if let Some(refused) = &removals.refused {
        lines.push(format!("  refused  {refused}\n"));
    }
    lines.concat()
}

/// Only kinds and fates that occurred.
fn table(removals: &Removals) -> String {
    let value =
        |kind: Kind, word: &str| removals.entries.get(kind.word()).and_then(|row| row.get(word)).copied().unwrap_or(0);
    let total = |word: &str| Kind::ALL.iter().map(|&kind| value(kind, word)).sum::<u64>();
    let words: Vec<&str> = std::iter::once("planned")
        .chain(Fate::ALL.iter().map(|fate| fate.word()).filter(|word| total(word) > 0))
        .collect();
    let mut table = Table::new();
    table.set_header(std::iter::once("on DST").chain(words.iter().copied()));
    for kind in Kind::ALL.into_iter().filter(|&kind| value(kind, "planned") > 0) {
        let cells = words.iter().map(|word| HumanCount(value(kind, word)).to_string());
        table.add_row(std::iter::once(kind.word().replace('_', " ")).chain(cells));
    }
    let cells = words.iter().map(|word| HumanCount(total(word)).to_string());
    table.add_row(std::iter::once("all".to_owned()).chain(cells));
    rendered(table)
}
