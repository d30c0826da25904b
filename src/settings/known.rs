//! What the command line knows: the file's words are those, and no others.

use std::ffi::OsString;
use std::sync::LazyLock;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::{Arg, CommandFactory};

use crate::cli::Cli;

/// Commands that take nothing from the file.
const WITHOUT: &[&str] = &["config", "generate", "help"];

/// Commands that ask for what their run was asked for: to that only their own table adds.
const OF_A_RUN: &[&str] = &["resume", "retry"];

/// All that these have from `[defaults]`: where the run is looked for.
const WHERE_RUNS_ARE: &str = "state_dir";

/// Options that remove, or say what is removed.
const BY_HAND: &[&str] = &["delete", "delete-excluded", "apply", "tree", "target-only", "all", "older-than", "tasks"];

/// Of all patterns, in their order, the first that matches decides: they are one list.
pub const PATTERNS: &[&str] = &["include", "exclude", "exclude_from"];

/// The command line, without the environment.
static PROGRAM: LazyLock<clap::Command> = LazyLock::new(program);

/// The same, for a caller of his own.
pub fn program() -> clap::Command {
    Cli::command().mut_subcommands(|command| command.mut_args(|arg| arg.env(Resettable::Reset)))
}

/// The commands that take options from the file.
pub fn commands() -> Vec<&'static str> {
    PROGRAM.get_subcommands().map(clap::Command::get_name).filter(|name| !WITHOUT.contains(name)).collect()
}

/// Those whose options stand in a table.
pub fn commands_of(table: &str) -> impl Iterator<Item = &'static str> {
    commands().into_iter().filter(move |command| [*command, super::DEFAULTS].contains(&table))
}

/// Whether a command is one of them.
pub fn takes_settings(command: &str) -> bool {
    commands().contains(&command)
}

/// Whether what `[defaults]` says of an option holds for a command.
pub fn takes_default(command: &str, id: &str) -> bool {
    !OF_A_RUN.contains(&command) || id == WHERE_RUNS_ARE
}

/// The options of a command.
pub fn options(command: &str) -> impl Iterator<Item = &'static Arg> {
    PROGRAM.find_subcommand(command).into_iter().flat_map(clap::Command::get_opts)
}

/// The operands of a command.
pub fn operands(command: &str) -> impl Iterator<Item = &'static Arg> {
    PROGRAM.find_subcommand(command).into_iter().flat_map(clap::Command::get_positionals)
}

/// A table's options: those of its command, or of all commands.
pub fn option(table: &str, name: &str) -> Option<(&'static str, &'static Arg)> {
    let has = |command: &'static str| Some((command, options(command).find(|arg| arg.get_long() == Some(name))?));
    commands_of(table).find_map(has)
}

/// Their names.
pub fn names(table: &str) -> Vec<&'static str> {
    let names = commands_of(table).flat_map(options).filter_map(Arg::get_long).filter(|name| !BY_HAND.contains(name));
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Whether a command knows an option.
pub fn knows(command: &str, id: &str) -> bool {
    options(command).any(|arg| arg.get_id() == id)
}

/// Whether an option is only given by hand.
pub fn is_by_hand(option: &str) -> bool {
    BY_HAND.contains(&option)
}

/// Whether two options of a command exclude each other.
pub fn exclude_each_other(command: &str, one: &str, other: &str) -> bool {
    let Some(program) = PROGRAM.find_subcommand(command) else { return false };
    let named = |id: &str| program.get_opts().find(|arg| arg.get_id() == id);
    let refuses = |arg: &Arg, id: &str| program.get_arg_conflicts_with(arg).iter().any(|arg| arg.get_id() == id);
    named(one).is_some_and(|arg| refuses(arg, other)) || named(other).is_some_and(|arg| refuses(arg, one))
}

/// What the command line says of an option.
#[derive(Debug, PartialEq, Eq)]
pub enum Judged {
    /// It takes it.
    Good,
    /// Another option must be given with it.
    Wanting,
    /// It refuses it, for this reason.
    Bad(String),
}

/// What the command line says of options, operands left aside.
pub fn judge<'w>(command: &str, words: impl IntoIterator<Item = &'w OsString>) -> Judged {
    let Some(program) = PROGRAM.find_subcommand(command) else { return Judged::Good };
    // What a command can not do without is not the file's to say.
    let is_left_aside = |arg: &Arg| arg.is_positional() || arg.get_id() == "tasks";
    let lenient = |arg: Arg| if is_left_aside(&arg) { arg.required(false) } else { arg };
    let line = std::iter::once(OsString::from(command)).chain(words.into_iter().cloned());
    match program.clone().mut_args(lenient).try_get_matches_from(line) {
        Ok(_) => Judged::Good,
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => Judged::Wanting,
        Err(error) => Judged::Bad(why(&error)),
    }
}

/// What clap says, without what belongs to a command line.
fn why(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let said = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    let said = said.collect::<Vec<_>>().join(" ");
    said.strip_prefix("error: ").unwrap_or(&said).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_removes_is_an_option_that_there_is() {
        for option in BY_HAND {
            assert!(commands().into_iter().any(|command| self::option(command, option).is_some()), "{option}");
        }
        assert!(commands().into_iter().any(|command| knows(command, WHERE_RUNS_ARE)));
        assert!(OF_A_RUN.iter().all(|command| takes_settings(command)));
    }

    #[test]
    fn options_exclude_each_other_whichever_comes_first() {
        assert!(exclude_each_other("sync", "size_only", "checksum"));
        assert!(exclude_each_other("sync", "checksum", "size_only"));
        assert!(!exclude_each_other("sync", "checksum", "threads"));
        assert!(!exclude_each_other("mtimes", "checksum", "size_only"));
    }
}
