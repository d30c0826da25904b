//! The text of the file, checked against what the command line knows. Each complaint has its place.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;
use std::os::unix::ffi::OsStringExt;

use clap::{Arg, ArgAction};
use toml::de::{DeTable, DeValue};

use super::known::Judged;
use super::nearest::hint;
use super::{DEFAULTS, FileSystem, Setting, Settings, Table, known};
use crate::fault::Error;
use crate::fs::roots;
use crate::started::PATHS;
use crate::tree::TreePath;
use crate::tree::listed::normal;
use crate::tree::path::escaped;

/// What a file system may say of itself.
const FILE_SYSTEM: [&str; 5] = ["path", "write", "mount", "type", "sentinel"];

/// What is wrong, and where in the text.
struct Complaint {
    at: usize,
    text: String,
}

/// A value with its place.
type Value<'t> = toml::Spanned<DeValue<'t>>;

fn wrong<T>(span: &Range<usize>, text: impl Into<String>) -> Result<T, Complaint> {
    Err(Complaint { at: span.start, text: text.into() })
}

/// Reads the text of a file. `directory`: that of the file, from which relative paths in it count.
pub fn read(text: &[u8], file: &str, directory: &[u8]) -> Result<Settings, Error> {
    let complain = |complaint: Complaint| {
        let (line, column) = place(text, complaint.at);
        Error::Usage(format!("{file}:{line}:{column}: {}", complaint.text))
    };
    let decoded = std::str::from_utf8(text)
        .map_err(|error| complain(Complaint { at: error.valid_up_to(), text: "this is no UTF-8 text".to_owned() }))?;
    let parsed = DeTable::parse(decoded).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        complain(Complaint { at, text: error.message().to_owned() })
    })?;
    let reader = Reader { text, directory };
    let mut settings = reader.settings(parsed.get_ref()).map_err(complain)?;
    settings.file_systems.file = Some(file.to_owned());
    settings.file_systems.digest = xxhash_rust::xxh3::xxh3_64(text);
    Ok(settings)
}

/// Line and column of a byte, from 1.
fn place(text: &[u8], at: usize) -> (usize, usize) {
    let before = text.get(..at.min(text.len())).unwrap_or(text);
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let column = String::from_utf8_lossy(before.get(start..).unwrap_or_default()).chars().count() + 1;
    (line, column)
}

/// Keys and values in the order of the file.
fn entries<'t>(table: &'t DeTable<'t>) -> Vec<(&'t str, Range<usize>, &'t Value<'t>)> {
    let mut entries: Vec<_> = table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect();
    entries.sort_by_key(|(_, span, _)| span.start);
    entries
}

struct Reader<'r> {
    text: &'r [u8],
    directory: &'r [u8],
}

impl Reader<'_> {
    fn settings(&self, top: &DeTable<'_>) -> Result<Settings, Complaint> {
        let mut settings = Settings::default();
        for (name, span, value) in entries(top) {
            let is_options = name == DEFAULTS || known::takes_settings(name);
            match value.get_ref() {
                DeValue::Table(table) if name == "fs" => settings.file_systems.all = self.file_systems(table)?,
                DeValue::Table(table) if is_options => settings.tables.push(self.table(name, table)?),
                _ if name == "fs" => return wrong(&span, "a file system is a table with its name: [fs.panda]"),
                _ if is_options => return wrong(&span, format!("write its options below [{name}]")),
                _ if known::option(DEFAULTS, name).is_some() => {
                    let text = format!(
                        "{name} is an option: write it below [{DEFAULTS}], or below the name of a command, as [sync]"
                    );
                    return wrong(&span, text);
                }
                _ => {
                    let tables: Vec<&str> = ["fs", DEFAULTS].into_iter().chain(known::commands()).collect();
                    let hint = hint(name, tables);
                    return wrong(&span, format!("there is no table {}: {hint}", escaped(name.as_bytes())));
                }
            }
        }
        self.refuse_contradictions(&settings)?;
        Ok(settings)
    }

    fn file_systems(&self, all: &DeTable<'_>) -> Result<Vec<FileSystem>, Complaint> {
        let mut found: Vec<FileSystem> = Vec::new();
        for (name, span, value) in entries(all) {
            let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            let length_max = 64;
            if name.is_empty() || name.len() > length_max || !name.chars().all(letter) {
                let text = format!("the name of a file system has 1 to {length_max} of the letters a-z A-Z 0-9 - _ .");
                return wrong(&span, text);
            }
            let DeValue::Table(table) = value.get_ref() else {
                return wrong(&span, format!("a file system is a table: [fs.{name}] with path = \"/...\" below it"));
            };
            let one = self.file_system(name, &span, table)?;
            if let Some(other) = found.iter().find(|other| other.path == one.path) {
                return wrong(&span, format!("{name} has the same path as {}: two names, one file system", other.name));
            }
            found.push(one);
        }
        Ok(found)
    }

    fn file_system(&self, name: &str, at: &Range<usize>, table: &DeTable<'_>) -> Result<FileSystem, Complaint> {
        let (mut path, mut lines) = (None, BTreeMap::new());
        let (mut write, mut mount, mut fs_type, mut sentinel) = (false, false, None, None);
        for (key, span, value) in entries(table) {
            match key {
                "path" => path = Some(absolute(value)?),
                "write" => write = boolean(value)?,
                "mount" => mount = boolean(value)?,
                "type" => fs_type = Some(type_of(value)?),
                "sentinel" => sentinel = Some(sentinel_of(value)?),
                _ => {
                    let (key_shown, hint) = (escaped(key.as_bytes()), hint(key, FILE_SYSTEM));
                    return wrong(&span, format!("a file system has no {key_shown}: {hint}"));
                }
            }
            let line = place(self.text, span.start).0;
            lines.extend(FILE_SYSTEM.into_iter().find(|known| *known == key).map(|known| (known, line)));
        }
        match path {
            Some(path) => Ok(FileSystem { name: name.to_owned(), path, write, mount, fs_type, sentinel, lines }),
            None => wrong(at, format!("the file system {name} has no path: write path = \"/...\" below [fs.{name}]")),
        }
    }

    fn table(&self, name: &str, table: &DeTable<'_>) -> Result<Table, Complaint> {
        let mut settings = Vec::new();
        for (key, span, value) in entries(table) {
            if known::is_by_hand(key) {
                let text = format!("--{key} removes, or says what is removed: it is only given by hand");
                return wrong(&span, text);
            }
            let Some((command, arg)) = known::option(name, key) else {
                let whose = if name == DEFAULTS { "no command has" } else { &format!("{name} has no") };
                let option = if name == DEFAULTS { "an option" } else { "option" };
                let hint = hint(key, known::names(name));
                return wrong(&span, format!("{whose} {option} {}: {hint}", escaped(key.as_bytes())));
            };
            let words = self.words(key, arg, value)?;
            let judged = known::judge(command, &words);
            if let Judged::Bad(why) = judged {
                return wrong(&value.span(), why);
            }
            let wants = judged == Judged::Wanting;
            let (id, at) = (arg.get_id().to_string(), span.start);
            settings.push(Setting { option: key.to_owned(), id, words, wants, line: place(self.text, at).0, at });
        }
        Ok(Table { name: name.to_owned(), settings })
    }

    /// What stands for an option on a command line.
    fn words(&self, option: &str, arg: &Arg, value: &Value<'_>) -> Result<Vec<OsString>, Complaint> {
        let flag = || OsString::from(format!("--{option}"));
        let takes_none = arg.get_num_args().is_some_and(|values| values.min_values() == 0);
        match (arg.get_action(), value.get_ref()) {
            (ArgAction::SetTrue, DeValue::Boolean(on)) => Ok(if *on { vec![flag()] } else { Vec::new() }),
            (ArgAction::SetTrue, _) => wrong(&value.span(), format!("{option} is a flag: write true or false")),
            (ArgAction::Count, _) => match number(value).and_then(|text| text.parse::<u8>().ok()) {
                Some(times) if times <= 9 => Ok((0..times).map(|_| flag()).collect()),
                _ => wrong(&value.span(), format!("{option} is a number from 0 to 9")),
            },
            (_, DeValue::Boolean(on)) if takes_none => Ok(if *on { vec![flag()] } else { Vec::new() }),
            (ArgAction::Append, DeValue::Array(values)) => {
                values.iter().map(|value| self.word(option, arg, value)).collect()
            }
            (_, DeValue::Array(_)) => wrong(&value.span(), format!("{option} has one value, and no list")),
            _ => Ok(vec![self.word(option, arg, value)?]),
        }
    }

    fn word(&self, option: &str, arg: &Arg, value: &Value<'_>) -> Result<OsString, Complaint> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Datetime(time) => time.to_string(),
            _ => match number(value) {
                Some(number) => number,
                None => return wrong(&value.span(), format!("{option} wants a number or a \"text in quotes\"")),
            },
        };
        if text.contains('\0') {
            return wrong(&value.span(), format!("the value of {option} holds a NUL byte"));
        }
        let is_path = PATHS.contains(&arg.get_id().as_str());
        let is_relative = is_path && !text.starts_with('/') && text != "-" && !text.is_empty();
        let prefix = if is_relative { [self.directory, b"/"].concat() } else { Vec::new() };
        Ok(OsString::from_vec([format!("--{option}=").as_bytes(), &prefix, text.as_bytes()].concat()))
    }

    /// Two options of one table that exclude each other.
    fn refuse_contradictions(&self, settings: &Settings) -> Result<(), Complaint> {
        for table in &settings.tables {
            for command in known::commands_of(&table.name) {
                let on: Vec<&Setting> = table.settings.iter().filter(|setting| setting.is_on()).collect();
                for (index, later) in on.iter().enumerate() {
                    let clash = |earlier: &&&Setting| known::exclude_each_other(command, &earlier.id, &later.id);
                    if let Some(earlier) = on.iter().take(index).find(clash) {
                        let (line, _) = place(self.text, earlier.at);
                        let (one, other) = (&later.option, &earlier.option);
                        let text = format!("{one} can not be used with {other}, which line {line} asks for");
                        return wrong(&(later.at..later.at), text);
                    }
                }
            }
        }
        Ok(())
    }
}

/// A number as the command line takes it.
fn number(value: &Value<'_>) -> Option<String> {
    match value.get_ref() {
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|n| n.to_string()),
        DeValue::Float(float) => Some(float.as_str().to_owned()),
        _ => None,
    }
}

fn boolean(value: &Value<'_>) -> Result<bool, Complaint> {
    value.get_ref().as_bool().map_or_else(|| wrong(&value.span(), "this is true or false"), Ok)
}

fn text<'v>(value: &'v Value<'_>) -> Result<&'v str, Complaint> {
    let text = value.get_ref().as_str().filter(|text| !text.is_empty() && !text.contains('\0'));
    text.map_or_else(|| wrong(&value.span(), "this is a \"text in quotes\""), Ok)
}

fn absolute(value: &Value<'_>) -> Result<Vec<u8>, Complaint> {
    let path = text(value)?;
    match normal(path.as_bytes()) {
        Ok(normal) if path.starts_with('/') => Ok([b"/", normal.as_slice()].concat()),
        _ => wrong(&value.span(), "the path of a file system begins with a slash, and has no .. in it"),
    }
}

fn sentinel_of(value: &Value<'_>) -> Result<TreePath, Complaint> {
    let name = text(value)?;
    match normal(name.as_bytes()) {
        Ok(normal) if !normal.is_empty() && !name.starts_with('/') => Ok(TreePath::from(normal.as_slice())),
        _ => wrong(&value.span(), "a sentinel is a name below the file system's path, as .this-is-panda"),
    }
}

fn type_of(value: &Value<'_>) -> Result<u64, Complaint> {
    let name = text(value)?;
    match roots::fs_type_of(name) {
        Some(found) => Ok(found),
        None => {
            let hint = hint(name, roots::fs_type_names());
            let name = escaped(name.as_bytes());
            let text =
                format!("{name} is no type of a file system: {hint} (Any other as `stat -f -c 0x%t PATH` tells it)");
            wrong(&value.span(), text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        read(text.as_bytes(), "f.toml", b"/").unwrap_err().to_string()
    }

    #[test]
    fn the_example_and_all_that_it_comments_out_are_read() {
        let example = crate::settings::EXAMPLE;
        assert!(read(example.as_bytes(), "f", b"/").is_ok());
        let in_force: Vec<&str> = example.lines().map(|line| line.strip_prefix('#').unwrap_or(line)).collect();
        // Comments begin with a blank, what is commented out does not.
        let in_force: Vec<&str> = in_force.into_iter().filter(|line| !line.starts_with(' ')).collect();
        let all = read(in_force.join("\n").as_bytes(), "f", b"/").unwrap();
        assert_eq!(all.file_systems.all.len(), 2);
        assert!(all.tables.len() >= 6, "{all:?}");
    }

    #[test]
    fn an_unknown_word_is_an_error_with_its_place_and_the_nearest_right_word() {
        assert_eq!(
            complaint("[sync]\n\n  exlude = []\n"),
            "f.toml:3:3: sync has no option exlude: did you mean exclude?"
        );
        assert_eq!(
            complaint("[defaults]\ndry_run = true\n"),
            "f.toml:2:1: no command has an option dry_run: did you mean dry-run?"
        );
        assert_eq!(complaint("[snyc]\n"), "f.toml:1:2: there is no table snyc: did you mean sync?");
        assert_eq!(
            complaint("[fs.a]\npath=\"/a\"\nwirte=true"),
            "f.toml:3:1: a file system has no wirte: did you mean write?"
        );
        assert!(complaint("threads = 3").contains("write it below [defaults]"));
        assert!(complaint("[generate]").contains("there is no table generate"));
        assert!(complaint("[mtimes]\nchecksum = true").contains("mtimes has no option checksum"));
        assert!(complaint("[fs.a]\npath=\"/a\"\ntype=\"luster\"").contains("did you mean lustre?"));
    }

    #[test]
    fn what_removes_is_only_given_by_hand() {
        for option in
            ["delete = true", "delete-excluded = true", "apply = \"plan\"", "tree = \"/x\"", "target-only = true"]
        {
            for table in ["defaults", "sync", "rm"] {
                assert!(complaint(&format!("[{table}]\n{option}")).contains("only given by hand"), "{table}: {option}");
            }
        }
    }

    #[test]
    fn a_value_of_the_wrong_kind_or_beyond_its_bounds_is_named_with_its_place() {
        for (text, expected) in [
            ("[sync]\nchecksum = 1", "f.toml:2:12: checksum is a flag: write true or false"),
            ("[sync]\nthreads = 0", "f.toml:2:11: invalid value '0' for '--threads <N>': 0 is not in 1..=1024"),
            ("[sync]\nthreads = true", "f.toml:2:11: threads wants a number or a \"text in quotes\""),
            ("[sync]\nthreads = [1]", "f.toml:2:11: threads has one value, and no list"),
            ("[sync]\nexclude = [true]", "f.toml:2:12: exclude wants a number or a \"text in quotes\""),
            ("[sync]\nexclude-from = \"a\\u0000\"", "f.toml:2:16: the value of exclude-from holds a NUL byte"),
            ("[cmp]\nlevel = \"deep\"", "f.toml:2:9: invalid value 'deep' for '--level <LEVEL>'"),
            ("[sync]\nverbose = -1", "f.toml:2:11: verbose is a number from 0 to 9"),
            ("defaults = 3", "f.toml:1:1: write its options below [defaults]"),
            (
                "[sync]\nchecksum = true\nsize-only = true",
                "f.toml:3:1: size-only can not be used with checksum, which line 2",
            ),
            ("fs = 3", "f.toml:1:1: a file system is a table"),
            ("[fs]\na = 3", "f.toml:2:1: a file system is a table"),
            ("[fs.\"a/b\"]", "f.toml:1:5: the name of a file system has"),
            ("[fs.a]\nwrite = true", "f.toml:1:5: the file system a has no path"),
            ("[fs.a]\npath = \"a\"", "f.toml:2:8: the path of a file system begins with a slash"),
            ("[fs.a]\npath = \"/a/../b\"", "f.toml:2:8: the path of a file system begins with a slash"),
            ("[fs.a]\npath = \"/a\"\nwrite = \"yes\"", "f.toml:3:9: this is true or false"),
            ("[fs.a]\npath = \"/a\"\nsentinel = \"/b\"", "f.toml:3:12: a sentinel is a name below"),
            ("[fs.a]\npath = \"/a\"\n[fs.b]\npath = \"/./a/\"", "f.toml:3:5: b has the same path as a"),
            ("[sync\n", "f.toml:1:"),
            ("a = 1\na = 2", "f.toml:2:1: "),
        ] {
            let said = complaint(text);
            assert!(said.starts_with(expected), "{text:?}: {said}");
        }
        let said = read(b"[sync]\n# \xff", "f.toml", b"/").unwrap_err().to_string();
        assert_eq!(said, "f.toml:2:3: this is no UTF-8 text");
    }
}
