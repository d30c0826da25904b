//! The command line as one page of Markdown. (clap-markdown knows no headings of options, by which ours are ordered.)

use clap::{Arg, ArgAction, Command};

const BEGINNING: &str = "\
# The command line

The same as `pmirror help`, as one page. `pmirror generate markdown` prints it: do not edit it here. Every option with a
`PMIRROR_` name can also be given as this variable of the environment; the command line wins.
";

/// The page.
pub fn page(mut command: Command) -> String {
    command.build();
    let mut page = BEGINNING.to_owned();
    page += &text_of(&command.get_after_help().map(ToString::to_string).unwrap_or_default());
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        page += &format!("\n## pmirror {}\n", sub.get_name());
        let about = sub.get_long_about().or(sub.get_about()).map(ToString::to_string).unwrap_or_default();
        page += &paragraphs(&about);
        let usage = sub.clone().render_usage().to_string();
        page += &text_of(usage.trim_start_matches("Usage: "));
        page += &tables(sub);
    }
    page
}

fn text_of(text: &str) -> String {
    format!("\n```text\n{}\n```\n", text.trim())
}

fn paragraphs(text: &str) -> String {
    text.split("\n\n").map(|paragraph| format!("\n{}\n", marked(paragraph))).collect()
}

/// A table for the operands, and one for the options under each heading.
fn tables(command: &Command) -> String {
    let shown = || command.get_arguments().filter(|arg| !arg.is_hide_set() && !is_help(arg));
    let heading_of = |arg: &Arg| match (arg.is_positional(), arg.get_help_heading()) {
        (true, _) => "Operands".to_owned(),
        (false, Some(heading)) => heading.to_owned(),
        (false, None) => "Options".to_owned(),
    };
    let mut headings: Vec<String> = Vec::new();
    for heading in shown().map(heading_of) {
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    let table = |heading: &String| {
        let rows: String = shown().filter(|arg| heading_of(arg) == *heading).map(row).collect();
        format!("\n**{}**\n\n| | |\n| --- | --- |\n{rows}", marked(heading))
    };
    headings.iter().map(table).collect()
}

fn is_help(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version)
}

fn row(arg: &Arg) -> String {
    format!("| {} | {} |\n", words(arg).replace('|', "\\|"), meaning(arg))
}

/// `-x`, `--long VALUE`
fn words(arg: &Arg) -> String {
    let names: Vec<&str> = arg.get_value_names().unwrap_or_default().iter().map(|name| name.as_str()).collect();
    let names = names.join(" ");
    let value = match (takes_values(arg), arg.is_require_equals_set()) {
        (false, _) => String::new(),
        (true, true) => format!("[={names}]"),
        (true, false) => format!(" {names}"),
    };
    if arg.is_positional() {
        return format!("`{names}`");
    }
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let both: Vec<String> = short.into_iter().chain(long).collect();
    let last = both.len().saturating_sub(1);
    let with_value = |(index, word): (usize, &String)| {
        if index == last { format!("`{word}{value}`") } else { format!("`{word}`") }
    };
    both.iter().enumerate().map(with_value).collect::<Vec<_>>().join(", ")
}

/// What it does, its values, its default, its name in the environment.
fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut sentences = vec![marked(&help)];
    if takes_values(arg) {
        let values = arg.get_possible_values();
        sentences.extend(values.iter().filter_map(|value| {
            let help = value.get_help().map(ToString::to_string)?;
            Some(format!("`{}`: {}", value.get_name(), marked(&help)))
        }));
        let defaults: Vec<String> =
            arg.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
        if !defaults.is_empty() && !arg.is_hide_default_value_set() {
            sentences.push(format!("Default: {}", defaults.join(", ")));
        }
    }
    sentences.extend(arg.get_env().map(|name| format!("`{}`", name.to_string_lossy())));
    sentences.join(".<br>")
}

fn takes_values(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|range| range.takes_values())
}

/// Plain text as Markdown that shows just that, in one line; what stands between backquotes stays.
fn marked(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let pieces = line.split('`').enumerate();
    let escaped = |(index, piece): (usize, &str)| match index % 2 {
        0 => piece.chars().flat_map(escape).collect(),
        _ => format!("`{}`", piece.replace('|', "\\|")),
    };
    pieces.map(escaped).collect()
}

fn escape(letter: char) -> Vec<char> {
    if matches!(letter, '*' | '<' | '|' | '[' | ']' | '_') { vec!['\\', letter] } else { vec![letter] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_page_has_every_option_of_every_command() {
        let mut command = Cli::command();
        let page = page(command.clone());
        command.build();
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let heading = format!("\n## pmirror {}\n", sub.get_name());
            let (_, part) = page.split_once(&heading).unwrap();
            let part = part.split("\n## ").next().unwrap();
            for long in sub.get_arguments().filter_map(Arg::get_long).filter(|long| *long != "help") {
                let found = [format!("`--{long}`"), format!("`--{long} "), format!("`--{long}[")];
                assert!(found.iter().any(|word| part.contains(word)), "{} has --{long}", sub.get_name());
            }
        }
    }

    #[test]
    fn nothing_in_a_text_is_taken_for_markup() {
        assert_eq!(marked("AGE[:mtime|atime] *.o\n <x> `a|b`"), "AGE\\[:mtime\\|atime\\] \\*.o \\<x> `a\\|b`");
    }
}
