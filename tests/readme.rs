//! The commands of README.md: those marked are run, and what it names exists; and what all pages link to.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::collections::BTreeSet;
use std::process::Command;
use support::{needs, page};

fn readme() -> String {
    page::read("README.md")
}

fn commands() -> String {
    page::blocks(&readme()).into_iter().map(|block| block.commands).collect()
}

/// The words of a text that begin with `prefix`, cut where the name ends.
fn names_after(text: &str, prefix: &str) -> BTreeSet<String> {
    let name = |rest: &str| -> String {
        rest.chars().take_while(|letter| letter.is_ascii_lowercase() || *letter == '-').collect()
    };
    let names = text.split(prefix).skip(1).map(name);
    names.filter(|name| name.starts_with(|letter: char| letter.is_ascii_lowercase())).collect()
}

#[test]
fn the_marked_commands_do_what_they_say() {
    page::run_marked("README.md");
}

#[test]
fn every_make_target_it_names_exists() {
    let makefile = std::fs::read_to_string(needs::repository_file("Makefile")).unwrap();
    for target in names_after(&commands(), "make ") {
        let defined = makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
        assert!(defined, "README.md says `make {target}`, but the Makefile has no such target");
    }
}

#[test]
fn every_option_it_gives_to_sync_exists() {
    let help = Command::new(needs::pmirror()).args(["sync", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for line in commands().lines().filter(|line| line.contains("pmirror sync")) {
        let (_, options) = line.split_once("pmirror sync").unwrap();
        for option in names_after(options, " --") {
            assert!(help.contains(&format!("--{option}")), "pmirror sync has no --{option}");
        }
    }
}

#[test]
fn every_file_that_a_page_links_to_exists() {
    let mut list = Command::new("git");
    let pages = needs::run_ok(
        list.args(["-c", "safe.directory=*", "ls-files", "-z", "*.md"]).current_dir(env!("CARGO_MANIFEST_DIR")),
    );
    let broken: Vec<String> = pages.split_terminator('\0').flat_map(page::broken_links).collect();
    assert!(broken.is_empty(), "links to files that do not exist: {broken:#?}");
}
