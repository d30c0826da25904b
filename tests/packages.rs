//! Packages: what they list is there, what they install works, and the shells can read the completions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::*;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The lines of `assets` in Cargo.toml: the file, and where it goes.
fn assets() -> Vec<(String, String)> {
    let manifest = page::read("Cargo.toml");
    let (_, rest) = manifest.split_once("\nassets = [\n").expect("Cargo.toml lists what a Debian package has");
    let (list, _) = rest.split_once("\n]\n").unwrap();
    let asset = |line: &str| {
        let words: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        (words[0].to_owned(), words[1].to_owned())
    };
    list.lines().map(asset).collect()
}

/// Installs as `make install` does.
fn installed(prefix: &Path) {
    let script = needs::repository_file("packaging/install.sh");
    needs::run_ok(Command::new(script).arg(prefix).arg(needs::pmirror()).env_remove("DESTDIR"));
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(needs::test_dir()).unwrap()
}

/// Files below a directory, relative to it, in order.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let found = needs::run_ok(Command::new("find").arg(directory).args(["-type", "f", "-printf", "%P\\n"]));
    let mut files: Vec<PathBuf> = found.lines().map(PathBuf::from).collect();
    files.sort();
    files
}

#[test]
fn what_the_debian_package_lists_is_there() {
    let mut made = 0;
    for (file, _) in assets() {
        if file.starts_with("target/") {
            made += 1;
            continue;
        }
        let pattern = repository().join(&file);
        let (directory, name) = (pattern.parent().unwrap(), pattern.file_name().unwrap().to_str().unwrap());
        let matcher = globset::Glob::new(name).unwrap().compile_matcher();
        let names = std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{file}: {error}"));
        let is_there = names.map(|entry| entry.unwrap().file_name()).any(|name| matcher.is_match(&name));
        assert!(is_there, "Cargo.toml lists {file} for the Debian package, and there is none");
    }
    assert_eq!(made, 5, "the program, and the four that packaging/install.sh --generate makes");
}

/// Names of the files that Cargo.toml takes from target/package.
fn generated_for_debian() -> Vec<PathBuf> {
    let files = assets().into_iter().filter_map(|(file, _)| Some(PathBuf::from(file.strip_prefix("target/package/")?)));
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    files
}

#[test]
fn what_the_program_prints_for_a_package_is_made_under_the_names_that_it_lists() {
    let scratch = scratch();
    let script = needs::repository_file("packaging/install.sh");
    needs::run_ok(Command::new(script).arg("--generate").arg(scratch.path()).arg(needs::pmirror()));
    assert_eq!(files_below(scratch.path()), generated_for_debian());
}

#[test]
fn an_installed_pmirror_has_its_pages_and_scripts_and_mirrors() {
    let scratch = scratch();
    let prefix = scratch.path().join("prefix with a blank");
    installed(&prefix);
    let files = files_below(&prefix);
    for (_, place) in assets() {
        // Debian has another place for zsh, and the same for all else.
        let place = place.trim_start_matches("usr/").replace("vendor-completions", "site-functions");
        let is_there = files.iter().any(|file| file.to_str().unwrap().starts_with(&place));
        assert!(is_there, "make install leaves nothing in {place}, where the Debian package has something");
    }
    let pair = Pair::new();
    pair.source().file("directory/file", "content");
    let mut command = Command::new(prefix.join("bin/pmirror"));
    command.arg("sync").arg(pair.source_path()).arg(pair.target_path());
    needs::run_ok(command.arg("--state-dir").arg(pair.state_path()));
    assert_same(pair.source_path(), pair.target_path());
}

#[test]
fn installed_pages_keep_the_places_by_which_they_link_to_each_other() {
    let scratch = scratch();
    installed(scratch.path());
    let pages = scratch.path().join("share/doc/pmirror");
    for page in ["docs/tutorial.md", "docs/runbook.md", "docs/reference/rm.md", "slurm/README.md"] {
        assert!(pages.join(page).is_file(), "{page}");
    }
}

#[test]
fn installing_where_no_program_was_built_says_so() {
    let script = needs::repository_file("packaging/install.sh");
    let output = Command::new(script).args(["/nowhere", "/nowhere/pmirror"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("run 'make build' first"));
}

/// What bash offers for the last of these words, by the completions that pmirror prints.
fn bash_offers(words: &[&str]) -> BTreeSet<String> {
    let completions = needs::run_ok(Command::new(needs::pmirror()).args(["generate", "bash"]));
    let script = format!(
        "{completions}\nfunction_of_pmirror=$(complete -p pmirror | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n\
         COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMP_LINE=\"$*\"; COMP_POINT=${{#COMP_LINE}}\n\
         \"$function_of_pmirror\" pmirror \"${{@: -1}}\" \"${{@: -2:1}}\"\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let mut bash = Command::new("bash");
    let offered = needs::run_ok(bash.args(["--norc", "-c", &script, "bash"]).args(words));
    offered.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<String>>();
    assert_eq!(bash_offers(&["pmirror", "sy"]), words(&["sync"]));
    assert_eq!(bash_offers(&["pmirror", "sync", "--no-sp"]), words(&["--no-sparse", "--no-specials"]));
    assert_eq!(bash_offers(&["pmirror", "cmp", "--level", "ha"]), words(&["hash"]));
}

#[test]
fn bash_finds_no_fault_with_scripts_and_completions() {
    let completions = needs::run_ok(Command::new(needs::pmirror()).args(["generate", "bash"]));
    needs::run_ok(Command::new("bash").args(["-n", "-c", &completions]));
    for script in ["packaging/install.sh", "docs/book.sh", "tests/install.sh"] {
        needs::run_ok(Command::new("bash").arg("-n").arg(needs::repository_file(script)));
    }
}

#[test]
fn the_spack_recipe_is_python() {
    needs::program("python3");
    let recipe = needs::repository_file("packaging/spack/package.py");
    let compile = "import sys; compile(open(sys.argv[1]).read(), sys.argv[1], 'exec')";
    needs::run_ok(Command::new("python3").args(["-c", compile]).arg(recipe));
}

#[test]
fn recipes_and_modules_are_of_the_version_that_is_built() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(page::read("packaging/spack/package.py").contains(&format!("version(\"{version}\")")), "packaging/spack");
    assert!(page::read("packaging/README.md").contains(&format!("pmirror@{version}")), "packaging/README.md");
}
