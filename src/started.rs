//! How a run was started, kept in its directory: `resume` and `retry` ask for the same once more.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bincode::{Decode, Encode};
use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches};
use serde::{Deserialize, Serialize};

use crate::cli::{Cli, Command};
use crate::fault::Error;
use crate::fs::operator::{self, RunDirectory};
use crate::report::json;
use crate::slurm::Environment;
use crate::tree::path::escaped;

/// The record's name in the run directory.
pub const RECORD: &str = "command.json";

/// More than a kernel takes as a command line (execve(2): a quarter of the stack, 6 MiB at most).
const RECORD_BYTES_MAX: u64 = 32 << 20;

/// Options whose value is a path, and operands: a later run may have another working directory.
pub(crate) const PATHS: &[&str] = &[
    "source",
    "target",
    "operands",
    "tree",
    "plan",
    "apply",
    "files_from",
    "exclude_from",
    "state_dir",
    "tasks",
    "report",
];

/// Options that may change from one attempt of a run to the next.
const HOW_IT_RUNS: &[&str] = &[
    "--threads",
    "--state-dir",
    "--run-id",
    "--progress",
    "--stop-at",
    "--grace",
    "--rank-timeout",
    "--op-timeout",
    "--checkpoint-interval",
    "--max-memory",
    "--bwlimit",
    "--ops-limit",
    "--sandbox",
    "--tasks-at-once",
    "--report",
    "--json",
    "--verbose",
    "--quiet",
];

/// Bytes that a person can read in JSON wherever they are text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Word(pub Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Raw { b64: String },
}

impl From<Written> for Word {
    fn from(written: Written) -> Self {
        match written {
            Written::Text(text) => Word(text.into_bytes()),
            Written::Raw { b64 } => Word(STANDARD.decode(b64).unwrap_or_default()),
        }
    }
}

impl From<Word> for Written {
    fn from(Word(bytes): Word) -> Self {
        String::from_utf8(bytes)
            .map_or_else(|error| Written::Raw { b64: STANDARD.encode(error.as_bytes()) }, Written::Text)
    }
}

impl Word {
    /// The option that it gives: `--threads` of `--threads=4`.
    pub fn option(&self) -> &[u8] {
        self.0.split(|&byte| byte == b'=').next().unwrap_or_default()
    }

    /// As a path of the operator's.
    pub fn to_path(&self) -> PathBuf {
        PathBuf::from(self.to_os())
    }

    fn to_os(&self) -> OsString {
        OsString::from_vec(self.0.clone())
    }
}

/// How a run was started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Started {
    /// Of this program.
    pub version: String,
    /// The words of the command line as they were, for people.
    pub arguments: Vec<String>,
    /// Such as `sync`.
    pub command: String,
    /// All options that were given on the command line or in the environment, in their long form and their
    /// order. Paths are absolute.
    pub options: Vec<Word>,
    /// Likewise.
    pub operands: Vec<Word>,
    /// The working directory.
    pub directory: Option<Word>,
    /// Variables of ours, for people: what they ask for stands among the options.
    pub environment: BTreeMap<String, Word>,
    /// Set in a `retry`: of what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryOf>,
}

/// What a run does once more.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct RetryOf {
    /// The id of the run whose faults they are.
    pub run_id: String,
    /// Its state directory.
    pub state_dir: Word,
    /// Only faults with one of these errors; none: any.
    pub errnos: Vec<String>,
    /// Only what is or lies below one of these; none: anything.
    pub under: Vec<Word>,
}

impl Started {
    /// How this process was started.
    pub fn of_process(matches: &ArgMatches, environment: &Environment) -> Self {
        let arguments = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        let directory = operator::working_directory();
        let (command, options, operands) = words(matches, directory.as_deref());
        let ours = environment.iter().filter(|(name, _)| name.starts_with("PMIRROR_"));
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            arguments,
            command,
            options,
            operands,
            directory: directory.map(Word),
            environment: ours.map(|(name, value)| (name.clone(), Word(value.clone().into_bytes()))).collect(),
            retry: None,
        }
    }

    /// What a run directory tells of its run.
    pub fn load(directory: &RunDirectory) -> Result<Self, Error> {
        let path = escaped(directory.path().as_os_str().as_bytes());
        let text = directory.read(RECORD, RECORD_BYTES_MAX).map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => Error::Fatal(format!(
                "the record of the run in {path} belongs to another user: {RECORD}: {error}; ask as that user"
            )),
            _ => Error::Usage(format!(
                "{path} is no directory of a run: {RECORD}: {error}; name one below the state directory"
            )),
        })?;
        Self::of_json(&text).map_err(|error| {
            Error::Usage(format!(
                "{path}/{RECORD} does not tell how the run was started: {error}; run the first command again"
            ))
        })
    }

    /// What a record says.
    pub fn of_json(text: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(text)
    }

    /// A number that is equal for runs that were asked for the same, however they are to go about it.
    pub fn digest(&self) -> u64 {
        let matters = |word: &&Word| !HOW_IT_RUNS.iter().any(|option| option.as_bytes() == word.option());
        let options: Vec<&Word> = self.options.iter().filter(matters).collect();
        let told = format!("{:?} {options:?} {:?} {:?}", self.command, self.operands, self.retry);
        xxhash_rust::xxh3::xxh3_64(told.as_bytes())
    }

    /// Leaves the record in the run directory.
    pub fn save(&self, directory: &RunDirectory) -> Result<(), Error> {
        let unusable = |error: std::io::Error| Error::of_state("the run directory can not be used", error);
        let text = json::pretty(self).map_err(|error| unusable(error.into()))?;
        directory.write(RECORD, text.as_bytes()).map_err(unusable)
    }

    /// Takes the record away: the run did not begin.
    pub fn forget(directory: &RunDirectory) {
        let _ = directory.remove(RECORD);
    }

    /// The same once more, without some options, and with those of another command line in the place of
    /// its own: as far as this command knows them.
    pub fn again(&self, without: &[&str], present: &Started) -> Self {
        let options = options_of(&self.command);
        let is_known = |word: &Word| options.iter().any(|known| known.as_bytes() == word.option());
        let new: Vec<Word> = present.options.iter().filter(|word| is_known(word)).cloned().collect();
        let gives = |name: &[u8]| new.iter().any(|word| word.option() == name);
        // These two exclude each other.
        let is_told_otherwise = |name: &[u8]| matches!(name, b"--quiet" | b"--verbose");
        let says_how_much = gives(b"--quiet") || gives(b"--verbose");
        let goes = |name: &[u8]| {
            without.iter().any(|option| option.as_bytes() == name)
                || gives(name)
                || says_how_much && is_told_otherwise(name)
        };
        let stays = |word: &&Word| !goes(word.option());
        let options = self.options.iter().filter(stays).cloned().chain(new.iter().cloned()).collect();
        Self { options, arguments: present.arguments.clone(), ..self.clone() }
    }

    /// Gives an option another value.
    pub fn set(&mut self, option: &str, value: &[u8]) {
        self.options.retain(|word| word.option() != option.as_bytes());
        self.options.push(Word([option.as_bytes(), b"=", value].concat()));
    }

    /// The command line that it stands for, whatever the environment is now.
    pub fn command_line(&self) -> Result<Command, Error> {
        let mut words = vec![OsString::from("pmirror"), OsString::from(&self.command)];
        words.extend(self.options.iter().map(Word::to_os));
        words.push("--".into());
        words.extend(self.operands.iter().map(Word::to_os));
        let program = Cli::command().mut_subcommands(|command| command.mut_args(|arg| arg.env(Resettable::Reset)));
        let unknown = |error: clap::Error| Error::Usage(format!("what the run was asked for is refused: {error}"));
        let matches = program.try_get_matches_from(words).map_err(unknown)?;
        Cli::from_arg_matches(&matches).map(|cli| cli.command).map_err(unknown)
    }
}

/// The command, what it was given as options, and its operands.
pub(crate) fn words(matches: &ArgMatches, directory: Option<&[u8]>) -> (String, Vec<Word>, Vec<Word>) {
    let program = Cli::command();
    let Some((name, matches)) = matches.subcommand() else { return Default::default() };
    let Some(command) = program.find_subcommand(name) else { return Default::default() };
    let (mut options, mut operands) = (Vec::new(), Vec::new());
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        let given = [Some(ValueSource::CommandLine), Some(ValueSource::EnvVariable)];
        if !given.contains(&matches.value_source(id)) {
            continue;
        }
        let place = if arg.is_positional() { &mut operands } else { &mut options };
        place.extend(words_of(arg, matches, directory));
    }
    // What came from the environment has the highest places.
    options.sort_by_key(|(place, _)| *place);
    let words = |placed: Vec<(usize, Word)>| placed.into_iter().map(|(_, word)| word).collect();
    (name.to_owned(), words(options), words(operands))
}

/// What was given of one option or operand, each with its place.
pub(crate) fn words_of(arg: &Arg, matches: &ArgMatches, directory: Option<&[u8]>) -> Vec<(usize, Word)> {
    let id = arg.get_id().as_str();
    let option = name_of(arg).into_bytes();
    let places: Vec<usize> = matches.indices_of(id).into_iter().flatten().collect();
    let first = places.first().copied().unwrap_or_default();
    match arg.get_action() {
        ArgAction::SetTrue => matches.get_flag(id).then_some((first, Word(option))).into_iter().collect(),
        ArgAction::Count => (0..matches.get_count(id)).map(|_| (first, Word(option.clone()))).collect(),
        _ => {
            let values = matches.get_raw(id).into_iter().flatten();
            let values = values.map(|value| value_of(id, value, directory));
            let word = |value: Vec<u8>| {
                if arg.is_positional() { value } else { [option.as_slice(), b"=", &value].concat() }
            };
            places.into_iter().zip(values.map(|value| Word(word(value)))).collect()
        }
    }
}

fn value_of(id: &str, value: &OsStr, directory: Option<&[u8]>) -> Vec<u8> {
    let value = value.as_bytes();
    let is_input = value == b"-" && matches!(id, "files_from" | "exclude_from" | "tasks");
    match directory {
        Some(directory) if PATHS.contains(&id) && !value.starts_with(b"/") && !is_input => {
            [directory, b"/", value].concat()
        }
        _ => value.to_vec(),
    }
}

/// An option as it is written; nothing for an operand.
fn name_of(arg: &Arg) -> String {
    match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => format!("--{long}"),
        (None, Some(short)) => format!("-{short}"),
        (None, None) => String::new(),
    }
}

/// The options that a command knows.
fn options_of(command: &str) -> Vec<String> {
    let program = Cli::command();
    let found = program.find_subcommand(command);
    found.map_or_else(Vec::new, |command| command.get_arguments().map(name_of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(words: &[&str]) -> Started {
        let matches = Cli::command().try_get_matches_from([&["pmirror"], words].concat()).unwrap();
        let (command, options, operands) = super::words(&matches, Some(b"/home/ada"));
        Started { command, options, operands, ..Started::default() }
    }

    fn texts(words: &[Word]) -> Vec<String> {
        words.iter().map(|word| String::from_utf8(word.0.clone()).unwrap()).collect()
    }

    #[test]
    fn options_are_kept_in_their_long_form_and_order_and_paths_are_absolute() {
        let run = started(&["sync", "-acvv", "--exclude", "b", "a", "--include=x", "--exclude-from", "f", "/b", "-D"]);
        let expected =
            ["--archive", "--checksum", "--verbose", "--verbose", "--exclude=b", "--include=x"].map(str::to_owned);
        assert_eq!(texts(&run.options)[..6], expected);
        assert_eq!(texts(&run.options)[6..], ["--exclude-from=/home/ada/f", "-D"]);
        assert_eq!(texts(&run.operands), ["/home/ada/a", "/b"]);
    }

    #[test]
    fn what_is_kept_asks_for_the_same() {
        let run = started(&["sync", "--exclude=*.o", "--threads=3", "--progress", "--files-from=-", "a", "b"]);
        let Ok(Command::Sync(sync)) = run.command_line() else { panic!("no sync") };
        assert_eq!((sync.source, sync.run.threads), ("/home/ada/a".into(), Some(3)));
        assert_eq!(sync.choose.files_from, Some("-".into()));
    }

    #[test]
    fn options_of_the_present_take_the_place_of_those_that_are_kept() {
        let run = started(&["sync", "-q", "--threads=3", "--delete", "--exclude=x", "a", "b"]);
        let present = started(&["retry", "-v", "--threads=5", "--errno=EIO", "some-run"]);
        let both = run.again(&["--delete"], &present);
        assert_eq!(texts(&both.options), ["--exclude=x", "--verbose", "--threads=5"]);
        assert!(both.command_line().is_ok());
    }

    #[test]
    fn bytes_that_are_no_text_survive_the_record() {
        let run = Started { operands: vec![Word(b"\xff\n".to_vec()), Word(b"a b".to_vec())], ..Started::default() };
        let text = serde_json::to_string(&run).unwrap();
        assert!(text.contains("\"a b\"") && text.contains("b64"), "{text}");
        assert_eq!(serde_json::from_str::<Started>(&text).unwrap(), run);
    }
}
