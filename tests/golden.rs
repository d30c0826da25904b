//! Generated pages are what the program says now. To renew them: `PMIRROR_BLESS=1 cargo test --release --test golden`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::process::Command;
use support::needs;

fn says(arguments: &[&str]) -> String {
    let mut command = Command::new(needs::pmirror());
    // The width of a terminal would change the text.
    command.args(arguments).env("COLUMNS", "100").env_remove("PMIRROR_THREADS");
    needs::run_ok(&mut command)
}

fn is_golden(path: &str, text: &str) {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("PMIRROR_BLESS").is_some() {
        std::fs::write(&page, text).unwrap();
    }
    let golden = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(golden == text, "{path} is not what the program says: PMIRROR_BLESS=1 cargo test --release --test golden");
}

#[test]
fn the_help_is_in_the_reference() {
    let text = format!("{}\n\n{}", says(&["--help"]), says(&["sync", "--help"]));
    is_golden("docs/reference/pmirror.txt", &text);
}

#[test]
fn the_man_page_is_in_the_reference() {
    is_golden("docs/reference/pmirror.1", &says(&["generate", "man"]));
}

#[test]
fn the_command_line_is_a_page_of_the_book() {
    is_golden("docs/reference/command-line.md", &says(&["generate", "markdown"]));
}

#[test]
fn completions_know_the_options() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(says(&["generate", shell]).contains("no-specials"), "{shell}");
    }
}
