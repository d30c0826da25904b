//! An explanation for people.

use indicatif::HumanCount;

use super::besides::Besides;
use super::explain::{Explained, Explanation, Owner, Subtree};
use super::job::{Tasks, Undone};
use super::words::{percent, plural};
use crate::tree::path::harmless;

/// A path is shown up to so many letters; all of it is in the JSON.
const PATH_LETTERS_MAX: usize = 200;

/// The whole text, with a closing newline.
pub fn render(told: &Explanation) -> String {
    let mut parts = vec![head(told)];
    for (number, cause) in (1..).zip(&told.causes) {
        parts.push(one(number, cause, told));
    }
    parts.extend(told.tasks.iter().flat_map(undone));
    if told.others.causes > 0 {
        let faults = plural(told.others.faults, "fault", "faults");
        let causes = plural(told.others.causes, "other cause", "other causes");
        let all = told.causes.len() as u64 + told.others.causes;
        parts.push(format!("and {faults} of {causes}: --top {all}\n"));
    }
    if !told.besides.is_empty() {
        parts.push(format!("Besides:\n{}", told.besides.iter().map(line).collect::<String>()));
    }
    parts.extend(closing(told));
    parts.join("\n")
}

fn head(told: &Explanation) -> String {
    let newest = if told.is_newest { ", the newest" } else { "" };
    let state = match (told.state, told.exit_code) {
        ("ended", Some(code)) => format!("ended with exit code {code}"),
        ("running" | "ending" | "starting", _) => "it still runs, so this is what it has listed so far".to_owned(),
        ("silent", _) => "it has told nothing for long: it hangs, or died. This is what it listed".to_owned(),
        _ => "it died, so this is what it had listed by then".to_owned(),
    };
    let found = match (&told.tasks, told.faults, told.causes.len() as u64 + told.others.causes) {
        (Some(tasks), faults, _) => of_tasks(tasks, faults),
        (None, 0, _) => "no faults".to_owned(),
        (None, faults, causes) => {
            format!("{} of {}", plural(faults, "fault", "faults"), plural(causes, "cause", "causes"))
        }
    };
    let mut text = format!("run {} ({}){newest}: {state}\n{found}\n", told.run_id, told.command);
    if let Some(error) = &told.error {
        text.push_str(&format!("the run ended early: {error}\n"));
    }
    if told.unreadable_lines > 0 {
        let lines = plural(told.unreadable_lines, "line", "lines");
        text.push_str(&format!("{lines} of the list can not be read, and {} not counted\n", {
            if told.unreadable_lines == 1 { "is" } else { "are" }
        }));
    }
    text
}

fn of_tasks(tasks: &Tasks, faults: u64) -> String {
    let not_done = tasks.undone.len() as u64 + tasks.others;
    let counts = tasks.counts.map_or_else(
        || format!("{} not done among those that have ended", plural(not_done, "task", "tasks")),
        |counts| counts.in_words(),
    );
    let faults =
        if faults > 0 { format!("; {} in their lists", plural(faults, "fault", "faults")) } else { String::new() };
    counts + &faults
}

/// The tasks that were not done, each with the command that tells more.
fn undone(tasks: &Tasks) -> Vec<String> {
    let one = |(number, task): (usize, &Undone)| {
        let mut lines = vec![format!("{number}. {} (line {}), exit code {}", task.id, task.line, task.exit_code)];
        let mut row = |word: &str, text: &str| lines.push(format!("   {word:<8} {}", harmless(text)));
        if !task.source.is_empty() {
            row("what", &format!("{} -> {}", shortened(&task.source), shortened(&task.target)));
        }
        row("why", &task.message);
        if let Some(run) = &task.run {
            row("do", run);
        }
        format!("{}\n", lines.join("\n"))
    };
    let mut parts: Vec<String> = (1..).zip(&tasks.undone).map(one).collect();
    if tasks.others > 0 {
        let all = tasks.undone.len() as u64 + tasks.others;
        parts.push(format!("and {}: --top {all}\n", plural(tasks.others, "other task", "other tasks")));
    }
    parts
}

fn one(number: usize, cause: &Explained, told: &Explanation) -> String {
    let tree = if cause.side == "source" { "SRC" } else { "DST" };
    let outcome = if cause.outcome == "skipped" { "stays on DST" } else { cause.outcome.as_str() };
    let what = match (cause.errno.is_empty(), cause.note.is_empty()) {
        (false, _) => format!("{} ({}), {} on {tree}", cause.errno, cause.message, cause.operation),
        (true, false) => cause.note.clone(),
        (true, true) => format!("gone from {tree}"),
    };
    let count = HumanCount(cause.count);
    let mut lines = vec![format!("{number}. {count} {outcome} ({}): {what}", percent(cause.count, told.faults))];
    let mut row = |word: &str, text: String| lines.push(format!("   {word:<8} {text}"));
    row("where", joined(&cause.subtrees, |subtree| of_subtree(subtree, cause.count)));
    if !cause.owners.is_empty() {
        row("whose", joined(&cause.owners, |owner| of_owner(owner, cause.count)));
    }
    if cause.count > 1 || cause.subtrees.is_empty() {
        row("such as", shortened(&cause.sample));
    } else {
        row("which", shortened(&cause.sample));
    }
    row("why", cause.happened.to_owned());
    // What is still under way can not be done again.
    let goes = matches!(told.state, "starting" | "running" | "ending");
    let then = if goes { "when the run has ended" } else { "then" };
    match (&cause.run, cause.remedy.is_empty()) {
        (Some(run), false) => {
            row("do", format!("{}, {then}", cause.remedy.trim_end_matches(", then")));
            row("", run.clone());
        }
        (Some(run), true) if goes => row("do", format!("{then}: {run}")),
        (Some(run), true) => row("do", run.clone()),
        (None, _) => row("do", cause.remedy.to_owned()),
    }
    format!("{}\n", lines.join("\n"))
}

fn joined<T>(all: &[T], text: impl Fn(&T) -> String) -> String {
    all.iter().map(text).collect::<Vec<_>>().join("; ")
}

fn of_subtree(subtree: &Subtree, all: u64) -> String {
    let path = if subtree.path == "." { "all over the tree".to_owned() } else { shortened(&subtree.path) };
    match (subtree.count == all, subtree.at_least) {
        (true, _) => path,
        (false, true) => format!("{path} (at least {})", HumanCount(subtree.count)),
        (false, false) => format!("{path} ({})", HumanCount(subtree.count)),
    }
}

fn of_owner(owner: &Owner, all: u64) -> String {
    let name = owner.name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
    let count = if owner.count == all { String::new() } else { format!(" has {}", HumanCount(owner.count)) };
    format!("uid {}{name}{count}", owner.uid)
}

fn shortened(path: &str) -> String {
    if path.chars().count() <= PATH_LETTERS_MAX {
        return path.to_owned();
    }
    let half = PATH_LETTERS_MAX / 2;
    let first: String = path.chars().take(half).collect();
    let last: Vec<char> = path.chars().rev().take(half).collect();
    format!("{first} ... {}", last.into_iter().rev().collect::<String>())
}

fn line(besides: &Besides) -> String {
    let remedy = if besides.remedy.is_empty() { String::new() } else { format!("\n{:>13}{}", "", besides.remedy) };
    format!("  {:>9}  {}{remedy}\n", HumanCount(besides.count).to_string(), besides.text)
}

/// What there is to do on the whole, and what nobody need fear.
fn closing(told: &Explanation) -> Option<String> {
    let mut lines = Vec::new();
    if told.causes.iter().any(|cause| cause.outcome == "failed") && matches!(told.command.as_str(), "sync" | "cmp") {
        lines.push(
            "Nothing is lost by a fault: SRC is only read, a file that was to be replaced keeps its old content, and what \
             is not complete on DST does not carry the time of its source, so the next run does it again."
                .to_owned(),
        );
    }
    lines.extend(told.go_on.as_ref().map(|command| format!("To go on with the run: {command}")));
    (!lines.is_empty()).then(|| format!("{}\n", lines.join("\n")))
}
