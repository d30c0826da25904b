//! Words of other tools: docs/reference/from-rsync.md says of each option of rsync what it is here, and so it is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use support::*;

const PAGE: &str = "docs/reference/from-rsync.md";

/// Options of rsync, and what they are here.
struct Row {
    options: Vec<String>,
    here: String,
    remedy: String,
}

/// The tables of rsync's options.
fn rows() -> Vec<Row> {
    let text = page::read(PAGE);
    let (options, _) = text.split_once("\n## Exit codes").unwrap();
    let rows = options.lines().filter(|line| line.starts_with("| `-"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [options, here, remedy] = cells[..] else { panic!("{PAGE}: {line}: not three cells") };
        Row { options: quoted(options), here: here.to_owned(), remedy: remedy.to_owned() }
    };
    rows.map(row).collect()
}

/// What stands between backquotes.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What the options want that take something.
fn value_of(option: &str) -> Option<&'static str> {
    Some(match option {
        "--exclude" | "--include" => "nothing",
        "--exclude-from" | "--files-from" => "/dev/null",
        "--max-size" | "--min-size" => "1G",
        "--modify-window" => "1",
        "--bwlimit" => "100M/s",
        "--stop-at" => "+1h",
        "--max-delete" => "5",
        _ => return None,
    })
}

fn pair() -> Pair {
    let pair = Pair::new();
    pair.source().file("directory/file", "content");
    pair
}

/// Exit code and stderr of `pmirror` with these words and both roots.
fn said(pair: &Pair, words: &[&str]) -> (i32, String) {
    let (source, target) = (pair.source_path(), pair.target_path());
    let run = Pmirror::new().words(words).arg(source).arg(target).run_unchecked();
    (run.code, String::from_utf8_lossy(&run.stderr).into_owned())
}

#[test]
fn what_the_page_calls_the_same_or_always_on_is_taken() {
    let pair = pair();
    let rows = rows().into_iter().filter(|row| row.here == "same" || row.here == "always");
    let options: Vec<String> = rows.flat_map(|row| row.options).filter(|option| option != "--help").collect();
    assert!(options.len() > 30, "{options:?}");
    for option in &options {
        let is_dry = ["-n", "--dry-run"].contains(&option.as_str());
        let wants_delete = ["--delete-excluded", "--max-delete"].contains(&option.as_str());
        let state = pair.state_path();
        let mut words = vec!["sync", "--state-dir", state.to_str().unwrap(), option.as_str()];
        words.extend(value_of(option));
        words.extend((!is_dry).then_some("-n"));
        words.extend(wants_delete.then_some("--delete"));
        let (code, stderr) = said(&pair, &words);
        assert_eq!(code, 0, "{option}: {stderr}");
    }
}

#[test]
fn what_the_page_calls_other_or_not_here_is_refused_with_a_tip() {
    let pair = pair();
    let known = ["sync", "cmp"].map(|command| needs::run_ok(Command::new(needs::pmirror()).args([command, "--help"])));
    let rows = rows().into_iter().filter(|row| row.here == "other" || row.here == "no");
    let mut refused = 0;
    for row in rows {
        for option in &row.options {
            let (code, stderr) = said(&pair, &["sync", option]);
            assert_eq!(code, 1, "{option}: {stderr}");
            assert_eq!(stderr.matches("tip: ").count(), 1, "{option}: one tip, not: {stderr}");
            refused += 1;
        }
        for word in quoted(&row.remedy).iter().flat_map(|words| words.split(' ')) {
            let option = word.split('=').next().unwrap_or_default();
            let is_ours =
                !option.starts_with("--") || option == "--version" || known.iter().any(|help| help.contains(option));
            assert!(is_ours, "{PAGE} offers {option} in place of {:?}, which there is not", row.options);
        }
    }
    assert!(refused > 80, "{refused}");
}

#[test]
fn every_row_says_what_the_option_is_here() {
    for row in rows() {
        assert!(["same", "always", "other", "no"].contains(&row.here.as_str()), "{:?}: {}", row.options, row.here);
    }
}

#[test]
fn the_page_has_every_option_that_rsync_tells_of() {
    needs::program("rsync");
    let help = needs::run_ok(Command::new("rsync").arg("--help"));
    let (_, options) = help.split_once("\nOptions\n").expect("rsync --help has a list of options");
    let has: BTreeSet<String> = rows().into_iter().flat_map(|row| row.options).collect();
    let lines = options.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    assert!(lines.clone().count() > 100, "{options}");
    let words = lines.flat_map(|line| {
        let column: String = line.chars().take(25).collect();
        let words = column.split([' ', ',']).take_while(|word| word.is_empty() || word.starts_with('-'));
        words.map(|word| word.split('=').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    });
    let missing: Vec<String> =
        words.filter(|word| !word.is_empty() && word != "--no-OPTION" && !has.contains(word)).collect();
    assert!(missing.is_empty(), "{PAGE}: say what these are here: {missing:?}");
}

#[test]
fn help_beside_work_is_no_success_and_touches_nothing() {
    let pair = pair();
    let (code, stderr) = said(&pair, &["sync", "-avh"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("-h asks for the help here"), "{stderr}");
    assert!(pair.target_now().entries.len() <= 1, "nothing was copied");
}

#[test]
fn a_tip_holds_no_word_of_the_users() {
    let pair = pair();
    let (code, stderr) = said(&pair, &["sync", "--backup=\u{1b}[2J", "--info=\u{1b}]0;x\u{7}"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("tip: ") && !stderr.contains('\u{1b}') && !stderr.contains('\u{7}'), "{stderr:?}");
}

#[test]
fn a_root_that_can_not_be_used_is_told_with_the_remedy() {
    let pair = pair();
    pair.beside().file("file", "content");
    let (source, target, file) = (pair.source_path(), pair.target_path(), pair.beside().path("file"));
    let sync = |source: &Path, target: &Path| pair.sync().sync(source, target).run_unchecked();
    sync(&pair.beside().path("nothing"), &target).refuses(3, &["SRC", "is its file system mounted here?"]);
    sync(&file, &target).refuses(3, &["SRC", "pmirror mirrors directories"]);
    sync(&source, &target.join("a/b")).refuses(3, &["DST", "mkdir -p"]);
    sync(&source, &source).refuses(3, &["name another for one of them"]);
    sync(&source, &source.join("directory")).refuses(3, &["name one beside SRC"]);
    sync(&source.join("directory"), &source).refuses(3, &["name one beside DST"]);
}

#[test]
fn a_source_that_others_may_not_read_is_told_with_who_may() {
    let pair = pair();
    pair.source().root().mode(0o700).owner(1, 1);
    let run = pair.sync().as_user(NOBODY).run_unchecked();
    run.refuses(3, &["SRC", "EACCES", "run pmirror as its owner or as root"]);
}

/// What rsync without a slash has made: the source, as a directory of the target.
fn copied_by_rsync() -> Pair {
    let pair = pair();
    pair.target().file("source/directory/file", "content");
    pair
}

const OF_RSYNC: &str = "was it copied by rsync or cp?";

fn tells_nothing(run: &Outcome) {
    run.context(|| assert!(!String::from_utf8_lossy(&run.stderr).contains(OF_RSYNC), "it speaks of rsync"));
}

#[test]
fn a_copy_that_rsync_made_below_the_target_is_told_of_until_there_is_another() {
    let pair = copied_by_rsync();
    let inner = pair.target_path().join("source").display().to_string();
    pair.sync().arg("-n").run().exits(0).says(OF_RSYNC).says(&inner);
    pair.sync().run().exits(0).says(OF_RSYNC);
    tells_nothing(&pair.sync().run().exits(0));
}

#[test]
fn what_can_not_be_such_a_copy_is_not_told_of() {
    let quiet = copied_by_rsync();
    tells_nothing(&quiet.sync().arg("-q").run().exits(0));
    let slash = copied_by_rsync();
    let source = format!("{}/", slash.source_path().display());
    tells_nothing(&slash.sync().sync(source, slash.target_path()).run().exits(0));
    let same_name = copied_by_rsync();
    same_name.source().dir("source");
    tells_nothing(&same_name.sync().run().exits(0));
    let file = pair();
    file.target().file("source", "content");
    tells_nothing(&file.sync().run().exits(0));
}
