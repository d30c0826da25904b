//! The commands of README.md: those marked are run, and what it names exists.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use support::needs;

const MARK: &str = "<!-- test -->";

fn readme() -> String {
    std::fs::read_to_string(needs::repository_file("README.md")).unwrap()
}

/// The content of each fence of `sh`, and whether the mark stands before it.
fn shell_blocks(text: &str) -> Vec<(String, bool)> {
    let (mut blocks, mut marked, mut block) = (Vec::new(), false, None);
    for line in text.lines() {
        match (&mut block, line.trim()) {
            (None, "```sh") => block = Some(String::new()),
            (None, MARK) => marked = true,
            (None, "") => (),
            (None, _) => marked = false,
            (Some(_), "```") => blocks.extend(block.take().map(|block| (block, marked))),
            (Some(block), _) => *block += &format!("{line}\n"),
        }
    }
    blocks
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
    let marked: Vec<String> =
        shell_blocks(&readme()).into_iter().filter(|(_, marked)| *marked).map(|(block, _)| block).collect();
    assert!(!marked.is_empty(), "write {MARK} before a fence of sh that can be run anywhere");
    let program = needs::pmirror();
    let path = std::env::join_paths(
        [program.parent().unwrap().to_path_buf()]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let path = path.unwrap();
    // One directory for all of them: a reader would go on where the block before has left him.
    let scratch = tempfile::tempdir_in(needs::test_dir()).unwrap();
    for block in marked {
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &block]);
        shell.current_dir(scratch.path()).env("PATH", &path);
        shell.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        shell.env("OMPI_MCA_mpi_yield_when_idle", "1");
        needs::run_ok(&mut shell);
    }
}

#[test]
fn every_make_target_it_names_exists() {
    let makefile = std::fs::read_to_string(needs::repository_file("Makefile")).unwrap();
    let blocks: String = shell_blocks(&readme()).into_iter().map(|(block, _)| block).collect();
    for target in names_after(&blocks, "make ") {
        let defined = makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
        assert!(defined, "README.md says `make {target}`, but the Makefile has no such target");
    }
}

#[test]
fn every_option_it_gives_to_sync_exists() {
    let help = Command::new(needs::pmirror()).args(["sync", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let blocks: String = shell_blocks(&readme()).into_iter().map(|(block, _)| block).collect();
    for line in blocks.lines().filter(|line| line.contains("pmirror sync")) {
        let (_, options) = line.split_once("pmirror sync").unwrap();
        for option in names_after(options, " --") {
            assert!(help.contains(&format!("--{option}")), "pmirror sync has no --{option}");
        }
    }
}

#[test]
fn every_file_it_links_to_exists() {
    let text = readme();
    let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    for (link, _) in links.filter(|(link, _)| !link.contains("://") && !link.starts_with('#')) {
        let path = link.split('#').next().unwrap_or_default();
        let exists = Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists();
        assert!(exists, "README.md links to {link}, which does not exist");
    }
}
