//! What a run leaves for later ones: the record of its pair of trees.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use support::*;

/// The records below the state directory.
fn records(pair: &Pair) -> Vec<Value> {
    let files = std::fs::read_dir(pair.state_path().join("roots")).into_iter().flatten();
    let read = |path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    files.map(|file| read(file.unwrap().path())).collect()
}

/// The only record.
fn record(pair: &Pair) -> Value {
    let records = records(pair);
    assert_eq!(records.len(), 1, "{records:?}");
    records[0].clone()
}

fn three_files() -> Pair {
    let pair = Pair::new();
    for name in ["a", "b", "directory/c"] {
        pair.source().file(name, "four");
    }
    pair
}

#[test]
fn a_sync_leaves_what_it_knows_of_both_trees() {
    let pair = three_files();
    pair.sync().run_id("first").run().exits(0);
    let record = record(&pair);
    assert_eq!((&record["command"], &record["run_id"]), (&"sync".into(), &"first".into()));
    let counted = serde_json::json!({"entries": 5, "bytes": 12});
    assert_eq!(record["total"], counted);
    for (root, path) in [("source", pair.source_path()), ("target", pair.target_path())] {
        assert_eq!(record[root]["path"], path.display().to_string());
        assert_eq!(record[root]["inode"], std::fs::metadata(path).unwrap().ino());
    }
}

#[test]
fn names_and_links_that_lead_to_the_same_trees_give_the_same_record() {
    let pair = three_files();
    pair.sync().run().exits(0);
    pair.beside().symlink("link", "source");
    let link = pair.beside().path("link");
    let by_link = Pmirror::new().sync(link, "target").state_dir(pair.state_path()).working_dir(pair.top_path());
    by_link.run_id("second").run_unchecked().exits(0);
    assert_eq!(record(&pair)["run_id"], "second");
}

#[test]
fn a_list_of_files_is_not_how_large_the_source_is() {
    let pair = three_files();
    pair.sync().run().exits(0);
    pair.beside().file("list", "a\n");
    let list = pair.beside().path("list").display().to_string();
    pair.sync().run_id("listed").args(&["--files-from", &list]).run().exits(0);
    assert_eq!((&record(&pair)["run_id"], &record(&pair)["total"]["entries"]), (&"listed".into(), &5.into()));
}

#[test]
fn runs_that_wrote_nothing_or_were_refused_leave_no_record() {
    let pair = three_files();
    pair.cmp().run_unchecked().exits(26);
    pair.sync().arg("--dry-run").run_unchecked().exits(0);
    Pmirror::new().sync(pair.beside().path("missing"), pair.target_path()).state_dir(pair.state_path()).run_unchecked();
    assert_eq!(records(&pair), Vec::<Value>::new());
}

#[test]
fn a_record_that_is_garbage_costs_the_percentage_and_is_written_anew() {
    let pair = three_files();
    pair.sync().run().exits(0);
    let file = std::fs::read_dir(pair.state_path().join("roots")).unwrap().next().unwrap().unwrap();
    std::fs::write(file.path(), "{").unwrap();
    let name = file.file_name().into_string().unwrap();
    let run = pair.sync().run_id("anew").run().exits(0);
    assert!(String::from_utf8_lossy(&run.stderr).contains(&name));
    assert_eq!(record(&pair)["run_id"], "anew");
}

#[test]
fn a_source_that_is_a_file_system_of_its_own_tells_how_far_the_first_copy_is() {
    let pair = Pair::new();
    needs::run_ok(std::process::Command::new("mount").args(["-t", "tmpfs", "none"]).arg(pair.source_path()));
    let _mounted = Mounted(pair.source_path());
    for index in 0..32 {
        pair.source().file(format!("{index}"), [7; 64 << 10]);
    }
    let run = pair.sync().args(&["--bwlimit=1M", "--progress=1"]).run_unchecked().exits(0);
    let told = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(told.contains(" %, ") && told.contains("ETA 00:0"), "{told}");
}

/// A mount, until it is dropped.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}
