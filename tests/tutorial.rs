//! The tutorial: its commands are run, and print what it shows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use support::page;

#[test]
fn the_commands_do_and_print_what_the_page_shows() {
    page::run_marked("docs/tutorial.md");
}

#[test]
fn every_block_of_commands_is_run() {
    let blocks = page::blocks(&page::read("docs/tutorial.md"));
    assert!(blocks.iter().all(|block| block.is_marked), "write {} before it", page::MARK);
}
