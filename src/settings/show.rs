//! `pmirror config --show`: every value that holds, and where it came from.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory};
use serde::Serialize;

use super::layers::{Given, in_force};
use super::{FileSystem, Setting, Settings, find, known};
use crate::cli::Cli;
use crate::cli::config::ConfigFile;
use crate::fault::Error;
use crate::fs::roots::fs_type_name;
use crate::report::{self, json};
use crate::tree::path::escaped;

/// What is shown.
#[derive(Debug, Serialize)]
struct Shown {
    /// The file; nothing if there is none.
    file: Option<String>,
    file_systems: Vec<Part>,
    commands: Vec<Part>,
}

/// A file system, or a command.
#[derive(Debug, Serialize)]
struct Part {
    name: String,
    values: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    option: String,
    /// More than one of an option that may be given several times; none if it is not set.
    value: Vec<String>,
    source: Source,
    /// The variable, or the place in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    CommandLine,
    Environment,
    File,
    Default,
}

impl Row {
    fn source(&self) -> String {
        let source = match self.source {
            Source::CommandLine => "command line",
            Source::Environment => "environment",
            Source::File => "",
            Source::Default => "default",
        };
        [source, self.from.as_deref().unwrap_or_default()].join(" ").trim().to_owned()
    }
}

/// What `pmirror config` prints.
pub fn shown(asked: &ConfigFile, settings: &Settings) -> Result<String, Error> {
    if asked.example {
        return Ok(super::EXAMPLE.to_owned());
    }
    let file = settings.file().map(str::to_owned);
    let of = |file_system: &FileSystem| of_file_system(file_system, settings);
    let file_systems = settings.file_systems.all.iter().map(of).collect();
    let commands = match asked.words.split_first() {
        None => {
            known::commands().into_iter().map(|command| of_command(settings, command, &[])).collect::<Result<_, _>>()?
        }
        Some((command, words)) => vec![of_command(settings, &known_command(command)?, words)?],
    };
    let shown = Shown { file, file_systems, commands };
    if asked.json {
        return json::pretty(&shown).map_err(|error| Error::Fatal(error.to_string())).map(|text| text + "\n");
    }
    Ok(text(&shown))
}

fn known_command(word: &OsString) -> Result<String, Error> {
    let word = word.to_string_lossy().into_owned();
    if known::takes_settings(&word) {
        return Ok(word);
    }
    let hint = super::nearest::hint(&word, known::commands());
    Err(Error::Usage(format!("no command {} takes options from a file: {hint}", escaped(word.as_bytes()))))
}

fn of_file_system(file_system: &FileSystem, settings: &Settings) -> Part {
    let FileSystem { name, path, write, mount, fs_type, sentinel, lines } = file_system;
    let values = [
        ("path", Some(escaped(path))),
        ("write", Some(write.to_string())),
        ("mount", Some(mount.to_string())),
        ("type", fs_type.map(fs_type_name)),
        ("sentinel", sentinel.as_ref().map(|name| escaped(name.as_bytes()))),
    ];
    let row = |(option, value): (&str, Option<String>)| {
        let from = lines.get(option).map(|line| place(settings, *line));
        let source = if from.is_some() { Source::File } else { Source::Default };
        Row { option: option.to_owned(), value: value.into_iter().collect(), source, from }
    };
    Part { name: name.clone(), values: values.into_iter().map(row).collect() }
}

fn place(settings: &Settings, line: usize) -> String {
    format!("{}:{line}", settings.file_systems.file())
}

/// The file that the words of a command name.
pub fn file_in(asked: &ConfigFile) -> Option<OsString> {
    let (command, words) = asked.words.split_first()?;
    let (_, matches) = parsed(command.to_str().filter(|word| known::takes_settings(word))?, words).ok()?;
    let is_named = matches.value_source("config") == Some(ValueSource::CommandLine);
    matches.get_one::<OsString>("config").filter(|_| is_named).cloned()
}

/// What a command is given with these words, be it without its operands.
fn parsed(command: &str, words: &[OsString]) -> Result<(clap::Command, ArgMatches), Error> {
    let lenient = |arg: Arg| arg.required(false);
    let program = Cli::command().mut_subcommand(command, |command| command.mut_args(lenient));
    let line = ["pmirror", command].map(OsString::from).into_iter().chain(words.iter().cloned());
    let matches = program.clone().try_get_matches_from(line).map_err(|error| Error::Usage(error.to_string()))?;
    Ok((program, matches))
}

/// The values that a command would go by, if it were given these words.
fn of_command(settings: &Settings, command: &str, words: &[OsString]) -> Result<Part, Error> {
    let (program, matches) = parsed(command, words)?;
    let Some((_, matches)) = matches.subcommand() else { return Err(Error::Usage(format!("no command {command}"))) };
    let added = in_force(settings, command, Given::of(command, matches));
    let args = program.find_subcommand(command).into_iter().flat_map(clap::Command::get_arguments);
    let mut values = Vec::new();
    // What rsync's users write without effect is no value.
    let args = args.filter(|arg| !arg.get_help_heading().is_some_and(|heading| heading.contains("always on")));
    for arg in args {
        let of_arg: Vec<&Setting> =
            added.iter().filter(|setting| arg.get_id() == setting.id.as_str()).copied().collect();
        let row = row(settings, arg, matches, &of_arg)?;
        // An operand is shown if it is there.
        values.extend((!arg.is_positional() || !row.value.is_empty()).then_some(row));
    }
    Ok(Part { name: command.to_owned(), values })
}

fn row(settings: &Settings, arg: &Arg, matches: &ArgMatches, added: &[&Setting]) -> Result<Row, Error> {
    let id = arg.get_id().as_str();
    let option = arg.get_long().map_or_else(|| operand_name(arg), str::to_owned);
    let source = if matches.ids().any(|known| known == id) { matches.value_source(id) } else { None };
    let (source, from) = match (source, added.first()) {
        (Some(ValueSource::CommandLine), _) => (Source::CommandLine, None),
        (Some(ValueSource::EnvVariable), _) => {
            (Source::Environment, arg.get_env().map(|name| name.to_string_lossy().into_owned()))
        }
        (_, Some(setting)) => (Source::File, Some(place(settings, setting.line))),
        _ => (Source::Default, None),
    };
    let value = match source {
        Source::File => added.iter().flat_map(|setting| of_setting(arg, setting)).collect(),
        _ => given(settings, arg, matches)?,
    };
    Ok(Row { option, value, source, from })
}

fn operand_name(arg: &Arg) -> String {
    let names = arg.get_value_names().map(|names| names.join(" "));
    names.unwrap_or_else(|| arg.get_id().to_string())
}

fn of_setting(arg: &Arg, setting: &Setting) -> Vec<String> {
    match arg.get_action() {
        ArgAction::SetTrue => vec![setting.is_on().to_string()],
        ArgAction::Count => vec![setting.words.len().to_string()],
        _ => setting.words.iter().map(value_of).collect(),
    }
}

/// What stands behind the sign of equality.
fn value_of(word: &OsString) -> String {
    let word = word.as_encoded_bytes();
    let equals = word.iter().position(|&byte| byte == b'=');
    escaped(equals.and_then(|at| word.get(at + 1..)).unwrap_or(b"true"))
}

/// What the command line, the environment or clap's default says.
fn given(settings: &Settings, arg: &Arg, matches: &ArgMatches) -> Result<Vec<String>, Error> {
    let id = arg.get_id().as_str();
    match arg.get_action() {
        ArgAction::SetTrue => Ok(vec![matches.get_flag(id).to_string()]),
        ArgAction::Count => Ok(vec![matches.get_count(id).to_string()]),
        _ if arg.is_positional() => {
            let operands = matches.get_raw(id).into_iter().flatten();
            operands.map(|operand| path_of(settings, operand.as_encoded_bytes())).collect()
        }
        _ => {
            let values = matches.get_raw(id).into_iter().flatten();
            Ok(values.map(|value| escaped(value.as_encoded_bytes())).collect())
        }
    }
}

fn path_of(settings: &Settings, operand: &[u8]) -> Result<String, Error> {
    let path = settings.file_systems.expand(operand)?;
    Ok(escaped(path.as_deref().unwrap_or(operand)))
}

/// For people.
fn text(shown: &Shown) -> String {
    let file = match &shown.file {
        Some(file) => format!("file: {file}"),
        None => format!("file: none (looked for: {})", find::places_shown()),
    };
    let mut parts = vec![file];
    let file_systems = shown.file_systems.iter().map(|part| (format!("[fs.{}]", part.name), part));
    let commands = shown.commands.iter().map(|part| (format!("[{}]", part.name), part));
    for (heading, part) in file_systems.chain(commands) {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::NOTHING);
        for row in &part.values {
            let value = if row.value.is_empty() { "-".to_owned() } else { row.value.join(", ") };
            table.add_row([row.option.clone(), value, row.source()]);
        }
        let lines: Vec<String> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
        parts.push(format!("{heading}\n{}", lines.join("\n")));
    }
    format!("{}\n", parts.join("\n\n"))
}

/// Prints it.
pub fn print(asked: &ConfigFile, settings: &Settings) -> Result<(), Error> {
    let text = shown(asked, settings)?;
    report::print(&text).map_err(|error| Error::Fatal(format!("it can not be written to stdout: {error}")))
}
