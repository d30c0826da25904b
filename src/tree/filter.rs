//! What is chosen of a tree: by name in rsync's language, by age and by size.

use std::collections::BTreeMap;
use std::ffi::CStr;

use bincode::{Decode, Encode};
use regex::bytes::{RegexSet, RegexSetBuilder};

use super::attributes::{Attributes, Kind};
use super::decide::Skip;
use super::path::TreePath;
use super::pattern::{BadPattern, Matcher, Pattern};
use super::time::Time;

/// A pattern, and what is done with the entries that it is the first to match.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Rule {
    /// They are kept in; else they are left out.
    pub include: bool,
    /// As it was written.
    pub pattern: Vec<u8>,
}

impl Rule {
    /// A rule as rsync writes it: `+ ` or `- ` in front say what else the option says.
    pub fn of(include: bool, text: &[u8]) -> Result<Self, BadPattern> {
        let (include, pattern) = match (text.strip_prefix(b"+ "), text.strip_prefix(b"- ")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            (None, None) => (include, text),
        };
        Pattern::parse(pattern)?;
        Ok(Self { include, pattern: pattern.to_vec() })
    }
}

/// Adds the rule of an option. `!` forgets all rules before it, as in rsync.
pub fn add_rule(rules: &mut Vec<Rule>, include: bool, text: &[u8]) -> Result<(), BadPattern> {
    if text == b"!" {
        rules.clear();
    } else {
        rules.push(Rule::of(include, text)?);
    }
    Ok(())
}

/// A line of a file of patterns that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: usize,
    /// What it holds.
    pub text: Vec<u8>,
    /// What is wrong with it.
    pub why: BadPattern,
}

/// Adds the rules of a file: one a line, `#` and `;` begin comments; or each closed by a NUL byte, and
/// then nothing is a comment.
pub fn add_rules_of_file(rules: &mut Vec<Rule>, text: &[u8], nul_ends: bool) -> Result<(), BadLine> {
    for (index, line) in text.split(|&byte| byte == if nul_ends { 0 } else { b'\n' }).enumerate() {
        let Some(line) = content_of_line(line, nul_ends) else { continue };
        add_rule(rules, false, line).map_err(|why| BadLine { line: index + 1, text: line.to_vec(), why })?;
    }
    Ok(())
}

/// What a line of a list says; `None` if it is empty or a comment.
pub fn content_of_line(line: &[u8], nul_ends: bool) -> Option<&[u8]> {
    let line = if nul_ends { line } else { line.strip_suffix(b"\r").unwrap_or(line) };
    let is_comment = !nul_ends && matches!(line.first(), Some(b'#' | b';'));
    (!line.is_empty() && !is_comment).then_some(line)
}

/// Which time of an entry its age is counted from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stamp {
    /// Last change of the content.
    #[default]
    Mtime,
    /// Last read.
    Atime,
    /// Last change of anything.
    Ctime,
}

impl Stamp {
    fn of(self, attributes: &Attributes) -> Time {
        match self {
            Stamp::Mtime => attributes.mtime,
            Stamp::Atime => attributes.atime,
            Stamp::Ctime => attributes.ctime,
        }
    }
}

/// An age, counted from one of the times of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age {
    /// How old.
    pub nanoseconds: u64,
    /// From which time on.
    pub stamp: Stamp,
}

/// Bounds of age and size; all of them inclusive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// `--min-age`: what is younger is left out.
    pub min_age: Option<Age>,
    /// `--max-age`: what is older is left out.
    pub max_age: Option<Age>,
    /// `--min-size`: smaller files are left out.
    pub min_size: Option<u64>,
    /// `--max-size`: larger files are left out.
    pub max_size: Option<u64>,
}

impl Bounds {
    /// The moment of the run matters.
    pub fn need_now(&self) -> bool {
        self.min_age.is_some() || self.max_age.is_some()
    }
}

/// What is chosen of a tree. Without any rule or bound it lets everything through at no cost.
#[derive(Debug, Default)]
pub struct Filter {
    rules: Option<Rules>,
    digest: u64,
    /// Times after this are too young.
    latest: Option<(Stamp, Time)>,
    /// Times before this are too old.
    earliest: Option<(Stamp, Time)>,
    min_size: Option<u64>,
    max_size: Option<u64>,
}

/// Patterns that are no regular expressions, or more than memory holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the patterns can not be used together: {0}")]
pub struct TooMuch(String);

impl Filter {
    /// A filter for a run that began at `now`.
    pub fn new(rules: &[Rule], bounds: &Bounds, now: Time) -> Result<Self, TooMuch> {
        let before = |age: Age| (age.stamp, now.minus(age.nanoseconds));
        Ok(Self {
            rules: if rules.is_empty() { None } else { Some(Rules::new(rules)?) },
            digest: digest(rules),
            latest: bounds.min_age.map(before),
            earliest: bounds.max_age.map(before),
            min_size: bounds.min_size,
            max_size: bounds.max_size,
        })
    }

    /// The rules for the names of one directory; `None` if all names are let through.
    pub fn names_in(&self, directory: &TreePath) -> Option<NamesIn<'_>> {
        let rules = self.rules.as_ref()?;
        let mut path = vec![b'/'];
        path.extend_from_slice(directory.as_bytes());
        if !directory.is_root() {
            path.push(b'/');
        }
        let directory_bytes = path.len();
        Some(NamesIn { rules, path, directory_bytes })
    }

    /// A number that is equal for equal rules: those of a file may be others when the run goes on.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Whether names may be left out by patterns, directories too.
    pub fn has_patterns(&self) -> bool {
        self.rules.is_some()
    }

    /// Age or size of entries matter.
    pub fn looks_at_attributes(&self) -> bool {
        self.latest.is_some() || self.earliest.is_some() || self.min_size.is_some() || self.max_size.is_some()
    }

    /// Whether anything may be left out.
    pub fn leaves_out(&self) -> bool {
        self.has_patterns() || self.looks_at_attributes()
    }

    /// Why an entry is left out for its age or size. Ages count for everything but directories, sizes
    /// for regular files only.
    pub fn of_attributes(&self, entry: &Attributes) -> Option<Skip> {
        if entry.kind == Kind::Directory {
            return None;
        }
        if self.latest.is_some_and(|(stamp, latest)| stamp.of(entry) > latest) {
            return Some(Skip::TooYoung);
        }
        if self.earliest.is_some_and(|(stamp, earliest)| stamp.of(entry) < earliest) {
            return Some(Skip::TooOld);
        }
        if entry.kind != Kind::File {
            return None;
        }
        if self.min_size.is_some_and(|min| entry.size < min) {
            return Some(Skip::TooSmall);
        }
        if self.max_size.is_some_and(|max| entry.size > max) {
            return Some(Skip::TooLarge);
        }
        None
    }
}

fn digest(rules: &[Rule]) -> u64 {
    let mut text = Vec::new();
    for rule in rules {
        // No pattern holds a NUL byte.
        text.push(if rule.include { b'+' } else { b'-' });
        text.extend_from_slice(&rule.pattern);
        text.push(0);
    }
    xxhash_rust::xxh3::xxh3_64(&text)
}

/// What the rules say of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is let through.
    In,
    /// It is left out.
    Out,
    /// That depends on whether it is a directory, which the listing did not tell.
    LookAtKind,
}

/// The rules for the names of one directory.
pub struct NamesIn<'f> {
    rules: &'f Rules,
    /// The directory's path and a slash, then whatever was looked at last.
    path: Vec<u8>,
    directory_bytes: usize,
}

impl NamesIn<'_> {
    /// What the rules say of a name whose type may not be known.
    pub fn verdict(&mut self, name: &CStr, kind: Option<Kind>) -> Verdict {
        let (as_directory, as_other) = match kind {
            Some(Kind::Directory) => (self.leaves_out(name, true), None),
            Some(_) => (self.leaves_out(name, false), None),
            None => (self.leaves_out(name, true), Some(self.leaves_out(name, false))),
        };
        match (as_directory, as_other) {
            (one, Some(other)) if one != other => Verdict::LookAtKind,
            (true, _) => Verdict::Out,
            (false, _) => Verdict::In,
        }
    }

    /// Whether a name is left out.
    pub fn leaves_out(&mut self, name: &CStr, is_directory: bool) -> bool {
        self.path.truncate(self.directory_bytes);
        self.path.extend_from_slice(name.to_bytes());
        let path_bytes = self.path.len();
        if is_directory {
            self.path.extend_from_slice(b"/\0");
        }
        self.rules.leave_out(&self.path, path_bytes, name.to_bytes(), is_directory)
    }
}

/// Where rules are that match one name or path literally: the first for directories, the first for
/// all.
#[derive(Debug, Clone, Copy)]
struct Literal {
    directories: usize,
    all: usize,
}

const NOWHERE: usize = usize::MAX;

/// Rules in their order. Those without wildcards are found in tables, so that a long list of names
/// costs no more than a short one; all others are matched at once by one automaton.
#[derive(Debug)]
struct Rules {
    include: Vec<bool>,
    names: BTreeMap<Vec<u8>, Literal>,
    paths: BTreeMap<Vec<u8>, Literal>,
    set: RegexSet,
    /// The number of the rule of each expression.
    numbers: Vec<usize>,
}

/// Bytes of the compiled expressions, at most.
const EXPRESSIONS_BYTES_MAX: usize = 256 << 20;

impl Rules {
    fn new(rules: &[Rule]) -> Result<Self, TooMuch> {
        let (mut names, mut paths) = (BTreeMap::new(), BTreeMap::new());
        let (mut expressions, mut numbers) = (Vec::new(), Vec::new());
        for (number, rule) in rules.iter().enumerate() {
            let pattern = Pattern::parse(&rule.pattern).map_err(|bad| TooMuch(bad.to_string()))?;
            match pattern.matcher {
                Matcher::Name(name) => note(&mut names, name, pattern.directories_only, number),
                Matcher::Path(path) => note(&mut paths, path, pattern.directories_only, number),
                Matcher::Regex(expression) => {
                    expressions.push(expression);
                    numbers.push(number);
                }
            }
        }
        let set = RegexSetBuilder::new(expressions)
            .unicode(false)
            .size_limit(EXPRESSIONS_BYTES_MAX)
            .build()
            .map_err(|error| TooMuch(error.to_string()))?;
        Ok(Self { include: rules.iter().map(|rule| rule.include).collect(), names, paths, set, numbers })
    }

    /// The first rule that matches decides; what none matches is let through. `subject` is as
    /// `pattern` says, and its path ends at `path_bytes`.
    fn leave_out(&self, subject: &[u8], path_bytes: usize, name: &[u8], is_directory: bool) -> bool {
        let found = |table: &BTreeMap<Vec<u8>, Literal>, key: &[u8]| {
            let literal = table.get(key).copied().unwrap_or(Literal { directories: NOWHERE, all: NOWHERE });
            if is_directory { literal.all.min(literal.directories) } else { literal.all }
        };
        let path = subject.get(1..path_bytes).unwrap_or_default();
        let literal = found(&self.names, name).min(found(&self.paths, path));
        // Most names match nothing, and to learn only that costs no memory.
        let expression = if self.set.is_match(subject) {
            let first = self.set.matches(subject).into_iter().next();
            first.and_then(|index| self.numbers.get(index).copied()).unwrap_or(NOWHERE)
        } else {
            NOWHERE
        };
        self.include.get(literal.min(expression)).is_some_and(|include| !include)
    }
}

fn note(table: &mut BTreeMap<Vec<u8>, Literal>, key: Vec<u8>, directories_only: bool, number: usize) {
    let literal = table.entry(key).or_insert(Literal { directories: NOWHERE, all: NOWHERE });
    let place = if directories_only { &mut literal.directories } else { &mut literal.all };
    *place = number.min(*place);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Identity;
    use proptest::prelude::*;
    use std::ffi::CString;

    fn rules(words: &[&str]) -> Vec<Rule> {
        words.iter().map(|word| Rule::of(false, word.as_bytes()).unwrap()).collect()
    }

    fn filter(words: &[&str]) -> Filter {
        Filter::new(&rules(words), &Bounds::default(), Time::default()).unwrap()
    }

    /// A path with a slash behind it is a directory.
    fn leaves_out(words: &[&str], path: &str) -> bool {
        let (path, is_directory) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let filter = filter(words);
        let mut names = filter.names_in(&TreePath::from(directory.as_bytes())).unwrap();
        names.leaves_out(&CString::new(name).unwrap(), is_directory)
    }

    #[test]
    fn the_examples_of_the_manual() {
        // rsync(1), PATTERN MATCHING RULES.
        for (pattern, out, not_out) in [
            ("*.o", vec!["a.o", "x/b.o", "x/c.o/"], vec!["a.o.x"]),
            ("/foo", vec!["foo", "foo/"], vec!["x/foo", "foobar"]),
            ("foo/", vec!["foo/", "x/foo/"], vec!["foo", "x/foo"]),
            ("/foo/*/bar", vec!["foo/x/bar"], vec!["foo/bar", "foo/x/y/bar", "x/foo/x/bar"]),
            ("/foo/**/bar", vec!["foo/x/bar", "foo/x/y/bar"], vec!["foo/bar"]),
            ("foo/*/bar", vec!["foo/x/bar", "a/foo/x/bar"], vec!["foo/x/y/bar"]),
            ("**/bar", vec!["bar", "x/bar", "x/y/bar"], vec!["xbar"]),
            ("foo/***", vec!["foo/", "foo/x", "a/foo/x/y"], vec!["foo", "foobar/"]),
            ("foo/**", vec!["foo/x", "a/foo/x/y/"], vec!["foo/", "foo"]),
            ("fo[a-o]?", vec!["food", "x/fool"], vec!["fo/x", "fopx", "foo"]),
            ("[[:digit:]]*", vec!["1", "2x/"], vec!["x1"]),
            ("[!a]", vec!["b", "x/\u{1}"], vec!["a", "bb"]),
            ("a\\*", vec!["a*"], vec!["ab"]),
        ] {
            for path in out {
                assert!(leaves_out(&[pattern], path), "{pattern} leaves {path} out");
            }
            for path in not_out {
                assert!(!leaves_out(&[pattern], path), "{pattern} lets {path} through");
            }
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        assert!(!leaves_out(&["+ a.o", "*.o"], "x/a.o"));
        assert!(leaves_out(&["*.o", "+ a.o"], "x/a.o"));
        assert!(!leaves_out(&["+ x/", "x"], "x/"));
        assert!(leaves_out(&["+ x/", "x"], "x"));
        assert!(leaves_out(&["+ */", "*"], "x"));
    }

    #[test]
    fn only_a_rule_that_asks_for_the_type_needs_it() {
        let filter = filter(&["build/", "*.o"]);
        let mut names = filter.names_in(&TreePath::root()).unwrap();
        assert_eq!(names.verdict(c"build", None), Verdict::LookAtKind);
        assert_eq!(names.verdict(c"build", Some(Kind::File)), Verdict::In);
        assert_eq!(names.verdict(c"a.o", None), Verdict::Out);
        assert_eq!(names.verdict(c"other", None), Verdict::In);
    }

    #[test]
    fn many_literal_names_make_no_automaton() {
        let words: Vec<String> = (0..50_000).map(|n| format!("/some/where/{n}")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let filter = filter(&words);
        let mut names = filter.names_in(&TreePath::from(&b"some/where"[..])).unwrap();
        assert_eq!(names.verdict(c"49999", Some(Kind::File)), Verdict::Out);
        assert_eq!(names.verdict(c"50000", Some(Kind::File)), Verdict::In);
    }

    fn entry(kind: Kind, size: u64, mtime: i64, atime: i64) -> Attributes {
        let time = |seconds| Time { seconds, nanoseconds: 0 };
        Attributes {
            kind,
            identity: Identity { inode: 1, birth: None },
            device: 1,
            links: 1,
            uid: 0,
            gid: 0,
            mode: 0o600,
            size,
            allocated: 0,
            rdev: 0,
            atime: time(atime),
            mtime: time(mtime),
            ctime: time(0),
        }
    }

    fn bounded(bounds: Bounds) -> Filter {
        Filter::new(&[], &bounds, Time { seconds: 1_000, nanoseconds: 0 }).unwrap()
    }

    #[test]
    fn bounds_of_age_are_inclusive_and_spare_directories() {
        let age = |seconds: u64, stamp| Some(Age { nanoseconds: seconds * 1_000_000_000, stamp });
        let filter =
            bounded(Bounds { min_age: age(10, Stamp::Mtime), max_age: age(100, Stamp::Atime), ..Bounds::default() });
        assert_eq!(filter.of_attributes(&entry(Kind::File, 0, 990, 900)), None);
        assert_eq!(filter.of_attributes(&entry(Kind::File, 0, 991, 900)), Some(Skip::TooYoung));
        assert_eq!(filter.of_attributes(&entry(Kind::Symlink, 0, 2_000, 900)), Some(Skip::TooYoung));
        assert_eq!(filter.of_attributes(&entry(Kind::Fifo, 0, 990, 899)), Some(Skip::TooOld));
        assert_eq!(filter.of_attributes(&entry(Kind::Directory, 0, 991, 1)), None);
    }

    #[test]
    fn bounds_of_size_are_inclusive_and_for_regular_files() {
        let filter = bounded(Bounds { min_size: Some(10), max_size: Some(20), ..Bounds::default() });
        let of = |kind, size| filter.of_attributes(&entry(kind, size, 0, 0));
        assert_eq!((of(Kind::File, 10), of(Kind::File, 20)), (None, None));
        assert_eq!((of(Kind::File, 9), of(Kind::File, 21)), (Some(Skip::TooSmall), Some(Skip::TooLarge)));
        assert_eq!((of(Kind::Symlink, 9), of(Kind::Directory, 4_096)), (None, None));
    }

    proptest! {
        #[test]
        fn an_unknown_type_is_asked_for_only_where_it_matters(pattern in "[ab*?/]{1,6}", name in "[ab]{1,4}") {
            let filter = filter(&[&pattern]);
            let mut names = filter.names_in(&TreePath::from(&b"a/b"[..])).unwrap();
            let name = CString::new(name).unwrap();
            let (one, other) = (names.verdict(&name, Some(Kind::Directory)), names.verdict(&name, Some(Kind::File)));
            let unknown = names.verdict(&name, None);
            prop_assert_eq!(unknown, if one == other { one } else { Verdict::LookAtKind });
        }
    }
}
