//! Pages with commands: those marked are run as a reader would run them, and do what the page says.

use std::path::Path;
use std::process::Command;

use super::needs;

/// Before a fence of `sh` that can be run anywhere.
pub const MARK: &str = "<!-- test -->";

/// What a page leaves out of what a command prints: in a line, or lines.
const LEFT_OUT: &str = "…";

/// A fence of `sh`.
pub struct Block {
    /// Its lines.
    pub commands: String,
    /// The mark stands before it.
    pub is_marked: bool,
    /// The fence of `text` behind it: what the commands print.
    pub says: Vec<String>,
}

/// A page of the repository.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(needs::repository_file(path)).unwrap()
}

/// The fences of `sh` in a page.
pub fn blocks(text: &str) -> Vec<Block> {
    enum In {
        Text,
        Commands,
        Output,
    }
    let (mut blocks, mut place) = (Vec::<Block>::new(), In::Text);
    let (mut is_marked, mut is_behind) = (false, false);
    for line in text.lines() {
        match (&place, line.trim()) {
            (In::Text, "```sh") => {
                blocks.push(Block { commands: String::new(), is_marked, says: Vec::new() });
                place = In::Commands;
            }
            (In::Text, "```text") if is_behind => place = In::Output,
            (In::Text, MARK) => (is_marked, is_behind) = (true, false),
            (In::Text, "") => (),
            (In::Text, _) => (is_marked, is_behind) = (false, false),
            (_, "```") => (place, is_marked, is_behind) = (In::Text, false, true),
            (In::Commands, _) => blocks.last_mut().unwrap().commands += &format!("{line}\n"),
            (In::Output, _) => blocks.last_mut().unwrap().says.push(line.to_owned()),
        }
    }
    blocks
}

/// Links of a page to files that are not there.
pub fn broken_links(path: &str) -> Vec<String> {
    let text = read(path);
    let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
    let files = links.filter(|link| !link.contains("://")).map(|link| link.split('#').next().unwrap_or_default());
    let directory = needs::repository_file(path).parent().unwrap().to_path_buf();
    let is_broken = |file: &&str| !file.is_empty() && !directory.join(file).exists();
    files.filter(is_broken).map(|file| format!("{path}: {file}")).collect()
}

/// Runs the marked commands of a page one after another, in one directory: a reader would go on where the block
/// before has left him.
pub fn run_marked(path: &str) {
    let marked: Vec<Block> = blocks(&read(path)).into_iter().filter(|block| block.is_marked).collect();
    assert!(!marked.is_empty(), "{path}: write {MARK} before a fence of sh that can be run anywhere");
    let scratch = tempfile::tempdir_in(needs::test_dir()).unwrap();
    for block in marked {
        let printed = run(&block.commands, scratch.path());
        assert_says(path, &block, &printed);
    }
}

/// What commands print, on both streams as on a terminal.
fn run(commands: &str, directory: &Path) -> String {
    let program = needs::pmirror();
    let others = std::env::var_os("PATH").unwrap();
    let beside = program.parent().unwrap().to_path_buf();
    let path = std::env::join_paths([beside].into_iter().chain(std::env::split_paths(&others))).unwrap();
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &format!("exec 2>&1\n{commands}")]);
    shell.current_dir(directory).env("PATH", &path);
    shell.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    shell.env("OMPI_MCA_mpi_yield_when_idle", "1");
    needs::run_ok(&mut shell)
}

/// Each line of the page is printed, in their order; what is left out of a line may be anything.
fn assert_says(path: &str, block: &Block, printed: &str) {
    let mut lines = printed.lines();
    for expected in block.says.iter().filter(|line| !line.is_empty() && *line != LEFT_OUT) {
        let found = lines.any(|line| is_shown_as(line, expected));
        assert!(found, "{path} shows `{expected}` of\n{}which printed\n{printed}", block.commands);
    }
}

fn is_shown_as(line: &str, shown: &str) -> bool {
    let mut pieces = shown.split(LEFT_OUT);
    let Some(mut rest) = line.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut is_open = false;
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
        is_open = piece.is_empty();
    }
    rest.is_empty() || is_open
}
