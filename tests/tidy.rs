//! The rules of the house as tests; each message says what to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "tidy/book.rs"]
mod book;
#[path = "tidy/promises.rs"]
mod promises;

const LINES_PER_FILE_MAX: usize = 600;
const LINES_PER_FUNCTION_MAX: usize = 100;

const TOP_LEVEL: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "src",
    "slurm",
    "benchmarks",
    "fuzz",
    "tests",
    "docs",
    // Recipes for package managers, which look for files of fixed names: no part of the program, its pages or its tests.
    "packaging",
    "README.md",
    "Makefile",
    "LICENSE",
    "CHANGELOG.md",
    "clippy.toml",
    "deny.toml",
];

/// The module, what it must not know, and what to do about it.
const ARROWS: &[(&str, &[&str])] = &[
    ("tree", &["main", "run", "engine", "pass", "comm", "sched", "report", "fs", "cli"]),
    ("fs", &["main", "run", "engine", "pass", "comm", "sched", "report", "cli"]),
    ("wire", &["main", "run", "engine", "pass", "comm", "fs", "report", "cli"]),
    ("pass", &["main", "run", "engine", "comm", "sched", "report", "cli"]),
    ("sched", &["main", "run", "engine", "comm", "pass", "fs", "report", "cli"]),
    ("comm", &["main", "run", "engine", "pass", "report", "cli"]),
    ("counters", &["main", "run", "engine", "comm", "pass", "fs", "sched", "report", "cli"]),
    ("fault", &["main", "run", "engine", "comm", "pass", "fs", "sched", "report", "cli"]),
    ("engine", &["main", "run", "cli"]),
    ("preflight", &["main", "run", "engine", "pass", "comm", "sched", "report", "fs", "cli"]),
    ("report", &["main", "run", "engine", "records"]),
    ("records", &["main", "comm", "pass", "sched"]),
    ("run", &["main", "records"]),
];

/// Modules that decide and never act: no file, no network, no clock.
const PURE: &[&str] = &["sched", "tree", "wire", "counters", "fault", "preflight"];
const INPUT_OUTPUT: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "nix::",
    "rustix::",
    "crate::fs",
    "crate::comm",
    "Instant",
    "SystemTime",
    "thread::sleep",
];

/// One source file: its path below the repository and its text.
#[derive(Clone)]
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The part that is the program: without the tests at the end, empty for a file of tests.
    fn program(&self) -> &str {
        if self.path.ends_with("/tests.rs") || self.path.starts_with("tests/") || is_test_module(&self.path) {
            return "";
        }
        let mark = "#[cfg(test)]\nmod tests {";
        self.text.split(mark).next().unwrap_or_default()
    }

    /// The same without its comments.
    fn code(&self) -> String {
        let lines = self.program().lines().map(|line| line.split("//").next().unwrap_or_default());
        lines.map(|line| format!("{line}\n")).collect()
    }

    /// The module of the top level that the file belongs to: `fs` for src/fs/open.rs.
    fn module(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        below.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// The modules of the top level that the code names.
    fn mentions(&self) -> BTreeSet<String> {
        let code = self.code();
        let mut names = BTreeSet::new();
        for rest in code.split("crate::").skip(1) {
            match rest.strip_prefix('{') {
                Some(group) => names.extend(first_names(group)),
                None => names.extend(identifier(rest)),
            }
        }
        names
    }
}

/// Whether one of the directories above the file is declared as a module of tests.
fn is_test_module(path: &str) -> bool {
    let above = Path::new(path).ancestors().skip(1);
    above.into_iter().any(|dir| {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let parent = repository().join(dir.parent().unwrap_or(dir)).join("mod.rs");
        let declared = std::fs::read_to_string(parent).unwrap_or_default();
        declared.contains(&format!("#[cfg(test)]\nmod {name};"))
    })
}

/// The first identifier of each branch of `{a, b::c, d::{e, f}}`, the brace opened already.
fn first_names(group: &str) -> BTreeSet<String> {
    let (mut depth, mut names, mut branch) = (1, BTreeSet::new(), String::new());
    for letter in group.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => (),
        }
        if depth == 0 || (depth == 1 && letter == ',') {
            names.extend(identifier(branch.trim()));
            branch.clear();
        } else {
            branch.push(letter);
        }
        if depth == 0 {
            break;
        }
    }
    names
}

fn identifier(text: &str) -> Option<String> {
    let is_name = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '_';
    let name: String = text.chars().take_while(is_name).collect();
    (!name.is_empty()).then_some(name)
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files that git knows or would take, below the repository.
fn files() -> Vec<String> {
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*", "-C"]).arg(repository());
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let output = git.output().expect("tidy needs git: install it");
    assert!(output.status.success(), "tidy needs a git checkout: run it in a clone");
    let listing = String::from_utf8(output.stdout).unwrap();
    let files = listing.lines().map(str::to_string);
    files.filter(|path| repository().join(path).is_file()).collect()
}

fn sources_below(dir: &str) -> Vec<Source> {
    let files = files().into_iter().filter(|path| path.starts_with(dir) && path.ends_with(".rs"));
    let read = |path: &String| std::fs::read_to_string(repository().join(path)).unwrap();
    files.map(|path| Source { text: read(&path), path }).collect()
}

fn assert_tidy(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn unsafe_code_lives_in_two_files() {
    let allowed = ["src/comm/mpi.rs", "src/fs/sys.rs"];
    let word = concat!("un", "safe ");
    let mut complaints = Vec::new();
    for source in sources_below("src/") {
        if source.code().contains(word) && !allowed.contains(&source.path.as_str()) {
            complaints.push(format!("{}: move its {word}code to one of {allowed:?}", source.path));
        }
    }
    assert_tidy(complaints);
}

#[test]
fn each_unsafe_block_says_why_it_is_sound() {
    let opening = concat!("un", "safe {");
    let mut complaints = Vec::new();
    for source in sources_below("src/") {
        let lines: Vec<&str> = source.text.lines().collect();
        for (index, line) in lines.iter().enumerate().filter(|(_, line)| line.contains(opening)) {
            let near = &lines[index.saturating_sub(6)..=index];
            if line.trim_start().starts_with("//") || near.iter().any(|line| line.contains("SAFETY:")) {
                continue;
            }
            complaints.push(format!("{}:{}: write SAFETY: above it", source.path, index + 1));
        }
    }
    assert_tidy(complaints);
}

#[test]
fn only_main_and_report_print() {
    let mut complaints = Vec::new();
    for source in sources_below("src/") {
        if source.path == "src/main.rs" || source.module() == "report" {
            continue;
        }
        for word in ["println!", "eprintln!", "print!(", "eprint!(", "dbg!"] {
            if source.code().contains(word) {
                let path = &source.path;
                complaints.push(format!("{path}: {word} prints; hand the text to src/report"));
            }
        }
    }
    assert_tidy(complaints);
}

#[test]
fn pure_modules_do_no_input_or_output() {
    let mut complaints = Vec::new();
    for source in sources_below("src/") {
        let code = source.code();
        for word in INPUT_OUTPUT {
            let used = PURE.contains(&source.module()) && code.contains(word);
            if used {
                let path = &source.path;
                complaints.push(format!("{path}: no {word} here; take what it gives as a parameter"));
            }
        }
    }
    assert_tidy(complaints);
}

#[test]
fn arrows_run_down_only() {
    let mut complaints = Vec::new();
    for source in sources_below("src/") {
        let (module, mentions) = (source.module(), source.mentions());
        let forbidden = ARROWS.iter().find(|(name, _)| *name == module).map_or(&[][..], |rule| rule.1);
        for name in forbidden.iter().filter(|name| mentions.contains(**name)) {
            complaints.push(format!(
                "{}: {module} must not know crate::{name}; pass in what it needs from above",
                source.path
            ));
        }
    }
    assert_tidy(complaints);
}

#[test]
fn every_file_says_its_job_first() {
    let mut complaints = Vec::new();
    for source in [sources_below("src/"), sources_below("tests/"), sources_below("benchmarks/")].concat() {
        if !source.text.starts_with("//! ") {
            complaints.push(format!("{}: begin with `//! ` and its one job", source.path));
        }
    }
    assert_tidy(complaints);
}

#[test]
fn no_file_is_too_long() {
    let mut complaints = Vec::new();
    for source in [sources_below("src/"), sources_below("tests/")].concat() {
        let program = source.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = program.lines().count();
        if lines > LINES_PER_FILE_MAX {
            let path = &source.path;
            complaints.push(format!("{path}: {lines} lines without its tests; split it by job"));
        }
    }
    assert_tidy(complaints);
}

/// The functions of a file: the line where each begins, and how many lines it has.
/// The code is formatted, so a function ends at the brace that stands below its first word.
fn functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let words = |line: &str| line.split_whitespace().map(str::to_string).collect::<Vec<_>>();
    let qualifiers = ["pub", "pub(crate)", "pub(super)", "const", "async", "extern", "\"C\"", "unsafe"];
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let words = words(line);
        let first = words.iter().find(|word| !qualifiers.contains(&word.as_str()));
        if first.map(String::as_str) != Some("fn") {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let end = format!("{}}}", " ".repeat(indent));
        let length = lines[index..].iter().position(|line| *line == end || line.ends_with("; }"));
        let has_body = lines[index..].iter().take(40).find(|line| line.contains(['{', ';']));
        if has_body.is_some_and(|line| line.contains('{')) {
            found.push((index + 1, length.unwrap_or(0) + 1));
        }
    }
    found
}

#[test]
fn no_function_is_too_long() {
    let mut complaints = Vec::new();
    for source in [sources_below("src/"), sources_below("tests/")].concat() {
        for (line, length) in functions(&source.text) {
            if length > LINES_PER_FUNCTION_MAX {
                let path = &source.path;
                complaints.push(format!("{path}:{line}: a function of {length} lines; cut it in steps"));
            }
        }
    }
    assert_tidy(complaints);
}

#[test]
fn nothing_is_left_for_later_without_a_reason() {
    let words = [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("FIX", "ME"), concat!("XX", "X:")];
    let mut complaints = Vec::new();
    for source in [sources_below("src/"), sources_below("tests/"), sources_below("benchmarks/")].concat() {
        for (index, line) in source.text.lines().enumerate() {
            let place = format!("{}:{}", source.path, index + 1);
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                complaints.push(format!("{place}: {word}: do it now, or open an issue and name it"));
            }
            if line.trim() == concat!("#[ig", "nore]") {
                complaints.push(format!("{place}: say why the test is ignored: `ignore = \"...\"`"));
            }
        }
    }
    assert_tidy(complaints);
}

#[test]
fn the_top_level_holds_what_a_newcomer_expects() {
    let mut names: BTreeSet<String> = BTreeSet::new();
    names.extend(files().iter().filter_map(|path| path.split('/').next()).map(str::to_string));
    let strange = |name: &String| !TOP_LEVEL.contains(&name.as_str()) && !name.starts_with('.');
    let strange = names.into_iter().filter(strange);
    let say = |name| format!("{name}: move it into one of the directories of the top level");
    assert_tidy(strange.map(say).collect());
}

/// Directories of this machine that no file should name: the checkout, the one above it, the home.
fn directories_of_this_machine() -> Vec<String> {
    let common = ["/", "/tmp", "/home", "/root", "/opt", "/srv", "/src", "/usr/src", "/var/tmp", "/mnt"];
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let above = repository().parent().unwrap_or(Path::new("/")).to_path_buf();
    let candidates = [repository().to_path_buf(), above, home.join(".cargo"), home];
    let names = candidates.iter().map(|path| path.display().to_string());
    names.filter(|name| !name.is_empty() && !common.contains(&name.as_str())).collect()
}

#[test]
fn no_file_names_a_directory_of_a_developers_machine() {
    let directories = directories_of_this_machine();
    let mut complaints = Vec::new();
    for path in files() {
        let bytes = std::fs::read(repository().join(&path)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for directory in &directories {
            if text.contains(&format!("{directory}/")) {
                complaints.push(format!("{path}: names {directory}/; write it relative to the repository"));
            }
        }
    }
    assert_tidy(complaints);
}

/// System calls on the trees, as `nix` and `rustix` name them.
const CALLS: &[&str] = &[
    "openat",
    "openat2",
    "renameat",
    "unlinkat",
    "mkdirat",
    "mknodat",
    "symlinkat",
    "linkat",
    "readlinkat",
    "fchown",
    "fchownat",
    "fchmod",
    "fchmodat",
    "futimens",
    "utimensat",
    "pread",
    "pwrite",
    "ftruncate",
    "fdatasync",
    "statx",
    "fsetxattr",
    "setxattr",
    "fremovexattr",
    "removexattr",
    "ioctl_ficlone",
    "copy_file_range",
    "fs_xattr",
    "set_fs_xattr",
];

/// Whether the line calls one of `CALLS`, and does not define it.
fn makes_call(line: &str) -> bool {
    CALLS.iter().any(|call| {
        let word = format!("{call}(");
        let is_word = |start: usize| !line[..start].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
        let is_ours = |start: usize| line[..start].ends_with("fn ") || line[..start].ends_with("calls::");
        line.match_indices(&word).any(|(start, _)| is_word(start) && !is_ours(start))
    })
}

#[test]
fn calls_on_the_trees_are_made_behind_the_fence() {
    // The operator's own files, and calls that have their own file as they are unsafe.
    let others = ["src/fs/operator.rs", "src/fs/path_list.rs", "src/fs/sys.rs"];
    let mut complaints = Vec::new();
    for source in sources_below("src/fs/").into_iter().filter(|source| !others.contains(&source.path.as_str())) {
        let lines: Vec<String> = source.code().lines().map(str::to_string).collect();
        for (first, length) in functions(source.program()) {
            let body = &lines[first - 1..(first - 1 + length).min(lines.len())];
            let is_fenced = body.iter().any(|line| line.contains("uninterrupted(") || line.contains("fence::check("));
            if !is_fenced && let Some(call) = body.iter().find(|line| makes_call(line)) {
                let (path, call) = (&source.path, call.trim());
                complaints
                    .push(format!("{path}:{first}: `{call}`: make it through `uninterrupted`, which asks the fence"));
            }
        }
    }
    assert_tidy(complaints);
}

#[test]
fn rules_name_modules_that_exist() {
    let modules: BTreeSet<String> = sources_below("src/").iter().map(|source| source.module().to_string()).collect();
    let named = ARROWS.iter().map(|(name, _)| *name).chain(PURE.iter().copied());
    let missing = named.filter(|name| !modules.contains(*name));
    assert_tidy(missing.map(|name| format!("tests/tidy.rs: there is no module {name}")).collect());
}

#[test]
fn the_rules_see_what_they_look_for() {
    let text = "use crate::{engine, tree::{item, path}, fs};\nfn a() { crate::comm::send(); }\n";
    let source = Source { path: "src/fs/x.rs".into(), text: format!("{text}// crate::run\n") };
    let mentions: Vec<String> = source.mentions().into_iter().collect();
    assert_eq!(mentions, ["comm", "engine", "fs", "tree"]);
    assert_eq!(functions("    pub fn a(\n    ) {\n        b();\n    }\n"), [(1, 4)]);
}
