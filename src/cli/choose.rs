//! Options that choose what of SRC is mirrored.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches};

use super::size::size;
use crate::fault::Error;
use crate::tree::filter::{Age, Rule, Stamp, add_rule, add_rules_of_file};
use crate::tree::path::escaped;

/// What of SRC is mirrored.
#[derive(Debug, Clone, Default, Args)]
pub struct Choose {
    /// Patterns, in the order of the command line.
    #[command(flatten)]
    pub patterns: Patterns,

    /// Leave out what is younger than AGE, such as 90d or 12h; directories are not judged. The age
    /// counts from the last change of the content, or as AGE:atime or AGE:ctime says.
    #[arg(long, value_name = "AGE[:mtime|atime|ctime]", value_parser = age, env = "PMIRROR_MIN_AGE")]
    pub min_age: Option<Age>,

    /// Leave out what is older than AGE.
    #[arg(long, value_name = "AGE[:mtime|atime|ctime]", value_parser = age, env = "PMIRROR_MAX_AGE")]
    pub max_age: Option<Age>,

    /// Leave out regular files smaller than SIZE, such as 4096, 10K or 1.5GiB (K, M, G, T are powers
    /// of 1024; KB, MB of 1000).
    #[arg(long, value_name = "SIZE", value_parser = size, env = "PMIRROR_MIN_SIZE")]
    pub min_size: Option<u64>,

    /// Leave out regular files larger than SIZE.
    #[arg(long, value_name = "SIZE", value_parser = size, env = "PMIRROR_MAX_SIZE")]
    pub max_size: Option<u64>,

    /// Mirror only the paths that FILE lists, one a line, relative to SRC; `-` is the standard input
    /// of the first rank. A directory in it is mirrored whole.
    #[arg(long, value_name = "FILE", env = "PMIRROR_FILES_FROM")]
    pub files_from: Option<OsString>,

    /// NUL bytes end the lines of --files-from and --exclude-from, and no line is a comment.
    #[arg(short = '0', long, env = "PMIRROR_FROM0")]
    pub from0: bool,
}

/// What `--include`, `--exclude` and `--exclude-from` gave, in the order of the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns(pub Vec<Given>);

/// One of these options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// `--include`.
    Include(OsString),
    /// `--exclude`.
    Exclude(OsString),
    /// `--exclude-from`.
    ExcludeFrom(OsString),
}

type Make = fn(OsString) -> Given;

const OPTIONS: [(&str, Make); 3] =
    [("include", Given::Include), ("exclude", Given::Exclude), ("exclude_from", Given::ExcludeFrom)];

impl Args for Patterns {
    fn augment_args(command: clap::Command) -> clap::Command {
        let option = |id: &'static str, value: &'static str| {
            Arg::new(id).value_name(value).action(ArgAction::Append).value_parser(ValueParser::os_string())
        };
        command
            .arg(option("include", "PATTERN").long("include").env("PMIRROR_INCLUDE").help(
                "Keep what matches PATTERN in, whatever later patterns say. Of all patterns, in their order, the \
                 first that matches decides",
            ))
            .arg(option("exclude", "PATTERN").long("exclude").env("PMIRROR_EXCLUDE").help(
                "Leave out what matches PATTERN, in rsync's language: *.o, /scratch/, core.*; a directory that is left \
                 out is not entered",
            ))
            .arg(option("exclude_from", "FILE").long("exclude-from").env("PMIRROR_EXCLUDE_FROM").help(
                "Take patterns from FILE, one a line, and there `+ PATTERN` to keep in; # and ; begin comments; `-` is \
                 the standard input of the first rank",
            ))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Patterns {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Vec::new();
        for (id, make) in OPTIONS {
            let values = matches.get_many::<OsString>(id).into_iter().flatten();
            let indices = matches.indices_of(id).into_iter().flatten();
            given.extend(indices.zip(values).map(|(index, value)| (index, make(value.clone()))));
        }
        given.sort_by_key(|(index, _)| *index);
        Ok(Self(given.into_iter().map(|(_, given)| given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Rules go to the other ranks in one message, far below `wire::MESSAGE_BYTES_MAX`.
const RULES_BYTES_MAX: usize = 32 << 20;

/// All rules in their order.
///
/// # Errors
/// A pattern that can not match what its author meant, named with the option or the line it stands in.
pub fn rules(
    given: &[Given],
    from0: bool,
    mut read: impl FnMut(&OsStr) -> Result<Vec<u8>, Error>,
) -> Result<Vec<Rule>, Error> {
    let mut rules = Vec::new();
    for given in given {
        match given {
            Given::Include(text) => add(&mut rules, true, text)?,
            Given::Exclude(text) => add(&mut rules, false, text)?,
            Given::ExcludeFrom(path) => {
                let text = read(path)?;
                add_rules_of_file(&mut rules, &text, from0).map_err(|bad| {
                    let (path, line) = (escaped(path.as_bytes()), escaped(&bad.text));
                    Error::Usage(format!("--exclude-from {path}, line {}, {line}: {}", bad.line, bad.why))
                })?;
            }
        }
    }
    if rules.iter().map(|rule| size_of::<Rule>() + rule.pattern.len()).sum::<usize>() > RULES_BYTES_MAX {
        return Err(Error::Usage(format!(
            "{} patterns are more than pmirror takes: leave whole directories out, or choose with --files-from",
            rules.len()
        )));
    }
    Ok(rules)
}

fn add(rules: &mut Vec<Rule>, include: bool, text: &OsStr) -> Result<(), Error> {
    let option = if include { "--include" } else { "--exclude" };
    add_rule(rules, include, text.as_bytes())
        .map_err(|bad| Error::Usage(format!("{option} {}: {bad}", escaped(text.as_bytes()))))
}

/// Before anything is started: what can be judged without reading a file.
pub fn check(choose: &Choose) -> Result<(), Error> {
    rules(&choose.patterns.0, choose.from0, |_| Ok(Vec::new()))?;
    let from_input = |path: &OsStr| path == "-";
    let lists = choose.patterns.0.iter().filter_map(|given| match given {
        Given::ExcludeFrom(path) => Some(path.as_os_str()),
        _ => None,
    });
    if lists.chain(choose.files_from.as_deref()).filter(|path| from_input(path)).count() > 1 {
        return Err(Error::Usage(
            "the standard input can be read once: two options name it by -. Put one of the lists into a file"
                .to_owned(),
        ));
    }
    Ok(())
}

/// An age with its unit, and the time that it counts from.
pub(super) fn age(text: &str) -> Result<Age, String> {
    let (span, stamp) = match text.rsplit_once(':') {
        None => (text, Stamp::Mtime),
        Some((span, "mtime")) => (span, Stamp::Mtime),
        Some((span, "atime")) => (span, Stamp::Atime),
        Some((span, "ctime")) => (span, Stamp::Ctime),
        Some((_, other)) => return Err(format!("{other:?} is no time of a file: say mtime, atime or ctime")),
    };
    let remedy = "say it in weeks, days, hours, minutes or seconds: 2w, 90d, 12h, 30m, 45s, 1d12h";
    let parsed: jiff::Span = span.trim().parse().map_err(|_| format!("no age: {remedy}"))?;
    // A month has no fixed length, so it is refused here.
    let duration =
        parsed.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| format!("no fixed age: {remedy}"))?;
    let nanoseconds =
        u64::try_from(duration.as_nanos()).map_err(|_| format!("no age from 0 to 500 years: {remedy}"))?;
    Ok(Age { nanoseconds, stamp })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        choose: Choose,
    }

    fn given(words: &[&str]) -> Vec<Given> {
        let program = Program::try_parse_from([&["program"], words].concat()).unwrap();
        program.choose.patterns.0
    }

    #[test]
    fn patterns_keep_their_order() {
        let (include, exclude) = (|word: &str| Given::Include(word.into()), |word: &str| Given::Exclude(word.into()));
        let found = given(&["--exclude", "a", "--include=b", "--exclude-from", "f", "--exclude", "c"]);
        assert_eq!(found, [exclude("a"), include("b"), Given::ExcludeFrom("f".into()), exclude("c")]);
    }

    #[test]
    fn an_age_has_a_unit_and_a_time() {
        let hours = |n: u64| n * 3_600_000_000_000;
        assert_eq!(age("12h"), Ok(Age { nanoseconds: hours(12), stamp: Stamp::Mtime }));
        assert_eq!(age("90d:atime"), Ok(Age { nanoseconds: hours(90 * 24), stamp: Stamp::Atime }));
        assert_eq!(age("1w1d:ctime"), Ok(Age { nanoseconds: hours(8 * 24), stamp: Stamp::Ctime }));
        for bad in ["", "90", "-1d", "1mo", "1y", "12h:btime", "soon", "9999999w", "1d ago"] {
            assert!(age(bad).is_err(), "{bad}");
        }
    }

    fn exclude(text: &str) -> Given {
        Given::Exclude(text.into())
    }

    fn patterns(rules: &[Rule]) -> Vec<(bool, &[u8])> {
        rules.iter().map(|rule| (rule.include, rule.pattern.as_slice())).collect()
    }

    #[test]
    fn files_stand_in_the_order_of_their_options() {
        let given = [exclude("a"), Given::ExcludeFrom("f".into()), Given::Include("z".into())];
        let rules = rules(&given, false, |_| Ok(b"# no pattern\n\n+ b\r\n- c\nd\n;\n".to_vec())).unwrap();
        assert_eq!(patterns(&rules), [(false, &b"a"[..]), (true, b"b"), (false, b"c"), (false, b"d"), (true, b"z")]);
    }

    #[test]
    fn an_exclamation_mark_forgets_what_came_before() {
        let rules = rules(&[exclude("a"), exclude("!"), exclude("!b")], false, |_| Ok(Vec::new())).unwrap();
        assert_eq!(patterns(&rules), [(false, &b"!b"[..])]);
    }

    #[test]
    fn with_nul_bytes_newlines_and_hashes_are_part_of_patterns() {
        let given = [Given::ExcludeFrom("f".into())];
        let rules = rules(&given, true, |_| Ok(b"#a\0b\nc\0\0".to_vec())).unwrap();
        assert_eq!(patterns(&rules), [(false, &b"#a"[..]), (false, b"b\nc")]);
    }

    #[test]
    fn a_bad_pattern_is_named_with_its_place() {
        let error = rules(&[exclude("a[b")], false, |_| Ok(Vec::new())).unwrap_err().to_string();
        assert!(error.starts_with("--exclude a[b: "), "{error}");
        let given = [Given::ExcludeFrom("list".into())];
        let error = rules(&given, false, |_| Ok(b"a\n\nb[\n".to_vec())).unwrap_err().to_string();
        assert!(error.starts_with("--exclude-from list, line 3, b[: "), "{error}");
    }
}
