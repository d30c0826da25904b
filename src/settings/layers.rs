//! What holds: what is given by hand, the environment, the table of the command, `[defaults]`, in this order. What the
//! file says is added to the command line as if it were given, so that it is checked, recorded and gone on with alike.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::known::Judged;
use super::{DEFAULTS, Refusal, Setting, Settings, known};
use crate::fault::Error;
use crate::started;

/// Operands, and an option, that may name a file system.
const NAMED: &[&str] = &["source", "target", "operands", "tree"];

/// Options that are about deletions: without deletions they mean nothing.
const GUARDS: &[&str] = &["max_delete", "hold_threshold", "hold_depth", "trash"];

/// What was given of a command's options.
#[derive(Debug, Default)]
pub struct Given {
    /// All that were given, be it as false.
    decided: BTreeSet<String>,
    /// Of them those that are not false.
    on: BTreeSet<String>,
    /// Values.
    values: BTreeMap<String, OsString>,
    /// All that is on, as it stands on a command line.
    words: Vec<OsString>,
}

impl Given {
    /// What the command line and the environment give a command.
    pub fn of(command: &str, matches: &ArgMatches) -> Self {
        let mut given = Self::default();
        for arg in known::options(command) {
            let id = arg.get_id().as_str();
            if !is_given(matches, id) {
                continue;
            }
            given.decided.insert(id.to_owned());
            // A flag that the environment says no to, and one that was not counted once, have no word.
            let words = started::words_of(arg, matches, None);
            if !words.is_empty() {
                given.on.insert(id.to_owned());
            }
            given.words.extend(words.into_iter().map(|(_, word)| OsString::from_vec(word.0)));
            let value = matches.try_get_raw(id).ok().flatten().and_then(|mut values| values.next());
            given.values.extend(value.map(|value| (id.to_owned(), value.to_owned())));
        }
        given
    }

    /// Whether something else has decided what a setting is about.
    fn overrules(&self, command: &str, setting: &Setting) -> bool {
        let id = setting.id.as_str();
        let is_pattern = known::PATTERNS.contains(&id);
        self.decided.contains(id)
            || is_pattern && known::PATTERNS.iter().any(|pattern| self.decided.contains(*pattern))
            || setting.is_on() && self.on.iter().any(|on| known::exclude_each_other(command, id, on))
            || self.makes_moot(command, id)
            || setting.wants && known::judge(command, self.words.iter().chain(&setting.words)) == Judged::Wanting
    }

    /// Whether an option would mean nothing, or be refused, with what was given by hand.
    fn makes_moot(&self, command: &str, id: &str) -> bool {
        let has = |id: &str| self.on.contains(id);
        let is_pattern = known::PATTERNS.contains(&id) || id == "one_file_system";
        match command {
            "sync" | "run" => GUARDS.contains(&id) && !has("delete") || id == "detect_renames" && has("files_from"),
            "rm" => GUARDS.contains(&id) && has("tree") || is_pattern && has("apply") || id == "trash" && has("plan"),
            "cmp" => id == "sample" && self.values.get("level").is_some_and(|level| level != "hash"),
            _ => false,
        }
    }

    fn add(&mut self, settings: &[&Setting]) {
        self.decided.extend(settings.iter().map(|setting| setting.id.clone()));
        self.on.extend(settings.iter().filter(|setting| setting.is_on()).map(|setting| setting.id.clone()));
    }
}

/// Whether the command line or the environment gives it.
pub fn is_given(matches: &ArgMatches, id: &str) -> bool {
    let sources = [Some(ValueSource::CommandLine), Some(ValueSource::EnvVariable)];
    // Operands and options that this command does not have are not asked for.
    matches.ids().any(|known| known == id) && sources.contains(&matches.value_source(id))
}

/// What of the file holds for a command, in the order of the file.
pub fn in_force<'s>(settings: &'s Settings, command: &str, mut given: Given) -> Vec<&'s Setting> {
    let mut found = Vec::new();
    for table in [command, DEFAULTS] {
        let is_for_it = |setting: &&Setting| {
            known::knows(command, &setting.id)
                && (table == command || known::takes_default(command, &setting.id))
                && !given.overrules(command, setting)
        };
        let layer: Vec<&Setting> = settings.table(table).iter().filter(is_for_it).collect();
        given.add(&layer);
        found.extend(layer);
    }
    found.sort_by_key(|setting| setting.at);
    found
}

/// The command line as it would be if all that holds had been given by hand.
pub fn layered(settings: &Settings, matches: ArgMatches) -> Result<ArgMatches, Refusal> {
    let Some((command, given)) = matches.subcommand().filter(|(name, _)| known::takes_settings(name)) else {
        return Ok(matches);
    };
    let (name, options, operands) = started::words(&matches, None);
    let added = in_force(settings, command, Given::of(command, given));
    let mut is_new = added.iter().any(|setting| setting.is_on());
    let mut words = vec![OsString::from("pmirror"), OsString::from(name)];
    for option in options {
        words.push(expanded_option(settings, option.0, &mut is_new)?);
    }
    words.extend(added.iter().flat_map(|setting| setting.words.iter().cloned()));
    words.push("--".into());
    let may_name = known::operands(command).any(|arg| NAMED.contains(&arg.get_id().as_str()));
    for operand in operands {
        let path = if may_name { settings.file_systems.expand(&operand.0)? } else { None };
        is_new |= path.is_some();
        words.push(OsString::from_vec(path.unwrap_or(operand.0)));
    }
    if !is_new {
        return Ok(matches);
    }
    Ok(known::program().try_get_matches_from(words)?)
}

/// `--tree=NAME:/path`.
fn expanded_option(settings: &Settings, word: Vec<u8>, is_new: &mut bool) -> Result<OsString, Error> {
    let value = |name: &&str| word.strip_prefix(format!("--{name}=").as_bytes());
    let named = NAMED.iter().find_map(|name| Some((name, value(name)?)));
    let Some((name, value)) = named else { return Ok(OsString::from_vec(word)) };
    let path = settings.file_systems.expand(value)?;
    *is_new |= path.is_some();
    let word = path.map_or_else(|| word.clone(), |path| [format!("--{name}=").as_bytes(), &path].concat());
    Ok(OsString::from_vec(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::read;

    /// The options that hold, as words, for a command line with this file.
    fn holds(file: &str, words: &[&str]) -> Vec<String> {
        let settings = read(file.as_bytes(), "pmirror.toml", b"/dir").unwrap();
        let given = known::program().try_get_matches_from([&["pmirror"], words].concat()).unwrap();
        let layered = settings.layered(given).unwrap();
        let (_, options, operands) = started::words(&layered, None);
        options.into_iter().chain(operands).map(|word| String::from_utf8(word.0).unwrap()).collect()
    }

    #[test]
    fn the_command_line_comes_before_the_commands_table_and_that_before_the_defaults() {
        let file = "[defaults]\nthreads = 2\nprogress = 5\nchecksum = true\n[sync]\nthreads = 3\nchecksum = false\n";
        assert_eq!(holds(file, &["sync", "a", "b"]), ["--progress=5", "--threads=3", "a", "b"]);
        assert_eq!(holds(file, &["sync", "--threads=4", "a", "b"]), ["--threads=4", "--progress=5", "a", "b"]);
        assert_eq!(holds(file, &["cmp", "a", "b"]), ["--threads=2", "--progress=5", "a", "b"]);
    }

    #[test]
    fn what_is_about_deletions_holds_where_something_is_deleted() {
        let file = "[defaults]\ntrash = true\n[sync]\ndetect-renames = true\n";
        assert_eq!(holds(file, &["sync", "--delete", "a", "b"]), ["--delete", "--trash", "--detect-renames", "a", "b"]);
        assert_eq!(holds(file, &["sync", "a", "b"]), ["--detect-renames", "a", "b"]);
        assert_eq!(holds(file, &["sync", "--files-from=l", "a", "b"]), ["--files-from=l", "a", "b"]);
        assert_eq!(holds(file, &["rm", "--target-only", "a", "b"]), ["--target-only", "--trash", "a", "b"]);
        assert_eq!(holds(file, &["rm", "--tree=t"]), ["--tree=t"]);
        assert_eq!(
            holds(file, &["rm", "--target-only", "--plan=p", "a", "b"]),
            ["--target-only", "--plan=p", "a", "b"]
        );
    }

    #[test]
    fn what_excludes_an_option_that_was_given_does_not_hold() {
        let file = "[defaults]\nquiet = true\n[sync]\nchecksum = true\n[cmp]\nprint0 = true\nsample = \"5%\"\n";
        assert_eq!(holds(file, &["sync", "--size-only", "-v", "a", "b"]), ["--size-only", "--verbose", "a", "b"]);
        assert_eq!(
            holds(file, &["cmp", "-i", "--level=meta", "-v", "a", "b"])[..2],
            ["--itemize-changes", "--level=meta"]
        );
        let other = "[defaults]\nsize-only = true\n[sync]\nchecksum = true\n";
        assert_eq!(holds(other, &["sync", "a", "b"]), ["--checksum", "a", "b"]);
    }

    #[test]
    fn patterns_are_one_list_in_the_order_of_the_file() {
        let file =
            "[defaults]\nexclude = \"z\"\n[sync]\ninclude = [\"a\", \"b\"]\nexclude = [\"c\"]\nexclude-from = \"f\"\n";
        let all = ["--include=a", "--include=b", "--exclude=c", "--exclude-from=/dir/f", "x", "y"];
        assert_eq!(holds(file, &["sync", "x", "y"]), all);
        assert_eq!(holds(file, &["sync", "--include=k", "x", "y"]), ["--include=k", "x", "y"]);
        assert_eq!(holds(file, &["rm", "--target-only", "x", "y"]), ["--target-only", "--exclude=z", "x", "y"]);
    }

    #[test]
    fn guards_hold_where_something_is_deleted_and_are_no_error_elsewhere() {
        let file = "[defaults]\nmax-delete = 7\nexclude = [\"k\"]\n";
        assert_eq!(holds(file, &["sync", "a", "b"]), ["--exclude=k", "a", "b"]);
        assert_eq!(holds(file, &["sync", "--delete", "a", "b"])[..2], ["--delete", "--max-delete=7"]);
        assert_eq!(holds(file, &["rm", "--target-only", "a", "b"])[..2], ["--target-only", "--max-delete=7"]);
        assert_eq!(holds(file, &["rm", "--tree=/a"]), ["--tree=/a", "--exclude=k"]);
        assert_eq!(holds(file, &["rm", "--target-only", "--apply=p", "a", "b"])[..2], ["--target-only", "--apply=p"]);
    }

    #[test]
    fn resume_and_retry_have_from_the_defaults_only_where_runs_are() {
        let file = "[defaults]\nthreads = 2\nstate-dir = \"/runs\"\n[resume]\nprogress = 5\n";
        assert_eq!(holds(file, &["resume", "run"]), ["--state-dir=/runs", "--progress=5", "run"]);
        assert_eq!(holds(file, &["retry", "run"]), ["--state-dir=/runs", "run"]);
    }

    #[test]
    fn values_of_all_kinds_stand_for_words() {
        let file = "[sync]\nmodify-window = 0.5\nverbose = 2\nprogress = true\nclock-skew = 0x10\nsandbox = false\n\
                    stop-at = 2030-05-01T06:00:00Z\nexclude-from = \"-\"\n";
        let words = holds(file, &["sync", "a", "b"]);
        let expected = ["--modify-window=0.5", "--verbose", "--verbose", "--progress=10", "--clock-skew=16"];
        assert_eq!(words[..5], expected);
        assert_eq!(words[5..7], ["--stop-at=2030-05-01T06:00:00Z", "--exclude-from=-"]);
    }

    #[test]
    fn operands_and_a_tree_are_found_below_their_file_systems() {
        let file = "[fs.panda]\npath = \"/panda\"\n";
        assert_eq!(holds(file, &["sync", "panda:/x", "./panda:/x"]), ["/panda/x", "./panda:/x"]);
        assert_eq!(holds(file, &["rm", "--tree", "panda:x"]), ["--tree=/panda/x"]);
        assert_eq!(holds(file, &["resume", "panda:x"]), ["panda:x"]);
    }
}
