//! What to say instead where clap knows no more than that a word is unknown or missing: words that people bring from
//! rsync, dsync, rclone and cp. Pure: an error and the words of the command line in, an error out.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::CommandFactory;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use super::habits;

/// The error with our own tip in place of clap's, where there is one. Of the words nothing is quoted.
pub fn hinted(mut error: Error, words: &[OsString]) -> Error {
    if error.kind() == ErrorKind::DisplayHelp && asks_for_more_than_help(words) {
        return super::Cli::command().error(ErrorKind::UnknownArgument, HELP_BESIDE_WORK);
    }
    let Some(tip) = tip(&error, words) else { return error };
    // Its line of usage goes by the word that it takes for the one that was meant.
    let replaced = error.get(ContextKind::SuggestedArg).is_some();
    let usage = replaced.then(|| usage(words)).flatten();
    if let Some(usage) = usage {
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    }
    for kind in [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue] {
        error.remove(kind);
    }
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(wrapped(tip))]));
    error
}

/// How the command is used.
fn usage(words: &[OsString]) -> Option<StyledStr> {
    let mut program = super::Cli::command();
    program.build();
    Some(program.find_subcommand_mut(words.first()?.to_str()?)?.render_usage())
}

/// rsync's -h, as in -avh, makes numbers readable. Help that ends with 0 would say that all was copied.
const HELP_BESIDE_WORK: &str = "-h asks for the help here, so nothing else that was asked for is done.\n\n  \
                                tip: leave it out: sizes are always told for people. For the help alone: --help";

/// Whether `-h` stands among other options, or beside operands.
fn asks_for_more_than_help(words: &[OsString]) -> bool {
    let words = || words.iter().map(|word| word.as_bytes()).take_while(|word| *word != b"--");
    let is_letters = |word: &[u8]| word.starts_with(b"-") && !word.starts_with(b"--");
    let others = words().filter(|word| *word != b"-h" && *word != b"-hh").count();
    let help = words().any(|word| is_letters(word) && word.contains(&b'h'));
    let has_cluster = words().any(|word| is_letters(word) && word.len() > 2 && word.contains(&b'h') && word != b"-hh");
    // The command itself is one of the others.
    !words().any(|word| word == b"--help") && help && (has_cluster || others > 1)
}

/// What we know better than clap.
fn tip(error: &Error, words: &[OsString]) -> Option<&'static str> {
    let named = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word.as_str()),
        Some(ContextValue::Strings(words)) => words.first().map(String::as_str),
        _ => None,
    };
    let first = words.first().and_then(|word| word.to_str()).unwrap_or_default();
    let word = named(ContextKind::InvalidArg).unwrap_or_default();
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let unknown = named(ContextKind::InvalidSubcommand).unwrap_or_default();
            habits::command(unknown).or_else(|| looks_like_a_path(unknown).then_some(habits::SAY_WHAT_FIRST))
        }
        ErrorKind::UnknownArgument if first.starts_with('-') => Some(habits::SAY_WHAT_FIRST),
        ErrorKind::UnknownArgument if !word.starts_with('-') => operands(first, words),
        ErrorKind::UnknownArgument => {
            habits::option(first, word).or_else(|| habits::option_of_sync(first).filter(|_| sync_has(word)))
        }
        ErrorKind::TooManyValues => Some("leave away the = and what stands behind it: this option takes no value"),
        ErrorKind::MissingRequiredArgument if word.starts_with('<') => habits::missing(first),
        _ => None,
    }
}

fn sync_has(word: &str) -> bool {
    let program = super::Cli::command();
    let is_it = |arg: &clap::Arg| {
        let long = arg.get_long().zip(word.strip_prefix("--"));
        let short = arg.get_short().zip(word.strip_prefix('-'));
        long.is_some_and(|(long, word)| long == word) || short.is_some_and(|(short, word)| word.chars().eq([short]))
    };
    program.find_subcommand("sync").is_some_and(|sync| sync.get_arguments().any(is_it))
}

fn looks_like_a_path(word: &str) -> bool {
    word.contains(['/', ':']) || word.starts_with('.')
}

/// One operand too many.
fn operands(first: &str, words: &[OsString]) -> Option<&'static str> {
    let is_number = |word: &OsString| word.as_bytes().iter().all(u8::is_ascii_digit) && !word.is_empty();
    let wants_equals = |word: &OsString| word == "--verify" || word == "--progress";
    match first {
        "sync" | "cmp" | "mtimes" if words.iter().any(is_number) => Some(habits::NUMBER_ALONE),
        "sync" | "cmp" | "mtimes" if words.iter().any(wants_equals) => Some(habits::VALUE_ALONE),
        "sync" | "cmp" | "mtimes" => Some(habits::SEVERAL_SOURCES),
        "resume" | "retry" => Some("one RUN at a time"),
        _ => None,
    }
}

const COLUMNS: usize = 96;

/// The text in lines, those after the first below the first word of the tip.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= COLUMNS => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n       ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    fn said(line: &str) -> String {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let program = std::iter::once(OsString::from("pmirror"));
        let error = Cli::try_parse_from(program.chain(words.clone())).unwrap_err();
        let error = hinted(error, &words);
        assert!(error.use_stderr(), "{line}");
        error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_habit_of_another_tool_is_answered_with_the_remedy_alone() {
        let text = said("sync --backup a b");
        assert!(text.contains("tip: not here: what a copy replaces is gone"), "{text}");
        assert!(!text.contains("similar") && !text.contains("as a value"), "{text}");
        assert!(said("sync -aP a b").contains("unexpected argument '-P' found tip: leave it out"));
        assert!(said("cmp -c a b").contains("--level hash"));
        assert!(said("resume --exclude x run").contains("the options are those that the run was started with"));
        assert!(said("mtimes --delete a b").contains("pmirror sync has it"));
        assert!(said("rm -rf a").contains("pmirror rm --tree PATH"));
    }

    #[test]
    fn where_we_know_nothing_clap_suggests_the_nearest_word() {
        assert!(said("sync --exlude x a b").contains("tip: a similar argument exists: '--exclude'"));
        assert!(said("snyc a b").contains("tip: a similar subcommand exists: 'sync'"));
        assert!(said("sync --level hash a b").contains("--level"));
    }

    #[test]
    fn who_names_no_command_is_told_to() {
        for line in ["/old /new", "-av /old /new", "--delete ./old ./new", "host:/old /new"] {
            assert!(said(line).contains("pmirror sync SRC DST"), "{line}: {}", said(line));
        }
        assert!(said("copy /old /new").contains("pmirror sync"));
        assert!(said("check /old /new").contains("pmirror cmp"));
    }

    #[test]
    fn operands_are_two() {
        assert!(said("sync a b c").contains("one SRC and one DST"));
        assert!(said("sync -n 4 a b").contains("mpirun -n 4 pmirror"));
        assert!(said("sync --verify xxh3 a b").contains("--verify=xxh3"));
        assert!(said("sync --progress 10 a b").contains("--progress=10"));
        assert!(said("sync a").contains("pmirror sync SRC DST"));
        assert!(said("resume").contains("pmirror-runs"));
    }

    #[test]
    fn a_letter_for_help_among_others_is_no_success() {
        for line in ["sync -avh a b", "sync -a -h a b", "sync a b -h", "cmp -ih a b"] {
            assert!(said(line).contains("nothing else that was asked for is done"), "{line}");
        }
    }

    #[test]
    fn who_wants_help_gets_it() {
        for line in ["-h", "--help", "sync -h", "sync --help", "help sync", "sync --help a b", "help"] {
            let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            let program = std::iter::once(OsString::from("pmirror"));
            let error = Cli::try_parse_from(program.chain(words.clone())).unwrap_err();
            assert_eq!(hinted(error, &words).kind(), ErrorKind::DisplayHelp, "{line}");
        }
    }

    #[test]
    fn long_tips_are_cut_in_lines() {
        let text = wrapped(&"word ".repeat(60));
        assert!(text.lines().count() > 2 && text.lines().all(|line| line.len() <= COLUMNS + 7));
    }
}
