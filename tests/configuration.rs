//! pmirror.toml: file systems by name and what they may be, options for every run, and who may have written them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use serde_json::Value;
use std::path::{Path, PathBuf};
use support::compare::assert_unwritten;
use support::*;

/// A source with some files, two of them of the kind that the tests leave out.
fn filled() -> Pair {
    let pair = Pair::new();
    for name in ["a", "b.o", "d/c", "d/e.o"] {
        pair.source().file(name, "content");
    }
    pair
}

/// Writes a file of that text beside the trees.
fn write(pair: &Pair, name: &str, text: &str) -> PathBuf {
    pair.beside().file(name, text).mode(0o644);
    pair.beside().path(name)
}

/// The source as `panda`, the target as `badger`, with more lines for each.
fn named(pair: &Pair, panda: &str, badger: &str) -> PathBuf {
    let (source, target) = (pair.source_path(), pair.target_path());
    let (source, target) = (source.display(), target.display());
    let text = format!("[fs.panda]\npath = \"{source}\"\n{panda}\n[fs.badger]\npath = \"{target}\"\n{badger}\n");
    write(pair, "pmirror.toml", &text)
}

/// `pmirror` with these words, started where the file is.
fn started(pair: &Pair, words: &[&str]) -> Pmirror {
    Pmirror::new().words(words).state_dir(pair.state_path()).working_dir(pair.top_path()).copied_to(pair.top_path())
}

/// It is refused with 3 and these words, and nothing in either tree is touched.
fn is_refused(pair: &Pair, command: &Pmirror, words: &[&str]) {
    let now = || (pair.source_now(), pair.target_now());
    let before = now();
    let run = command.run_unchecked().refuses(3, words);
    let after = now();
    run.context(|| {
        assert_unwritten(&before.0, &after.0, "the source was written to");
        assert_unwritten(&before.1, &after.1, "the target was written to");
        assert_eq!(
            std::fs::read_dir(pair.state_path()).unwrap().count(),
            0,
            "something is left in the state directory"
        );
    });
}

/// A directory beside the trees.
fn made(pair: &Pair, name: &str) -> String {
    pair.beside().dir(name);
    path(&pair.beside().path(name))
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn names_of_file_systems_stand_for_their_paths_in_every_command() {
    let pair = filled();
    named(&pair, "write = false", "write = true");
    pair.source().file("user/a", "content");
    started(&pair, &["sync", "panda:/", "badger:"]).run_unchecked().exits(0);
    pair.assert_mirrored();
    pair.target().file("user/extra", "x");
    let run = started(&pair, &["cmp", "panda:/user", "badger:/user", "--print0"]).run_unchecked().exits(26);
    assert_eq!(run.stdout, b".\0extra\0");
    started(&pair, &["rm", "--target-only", "panda:user", "badger:user"]).run_unchecked().exits(0);
    started(&pair, &["mtimes", "panda:/", "badger:/"]).run_unchecked().exits(0);
    pair.assert_mirrored();
    started(&pair, &["rm", "--tree", "badger:/user"]).run_unchecked().exits(0);
    assert!(!pair.target_now().has("user"));
}

#[test]
fn a_name_that_nobody_knows_is_an_error_with_the_nearest_and_a_path_stays_a_path() {
    let pair = filled();
    named(&pair, "", "write = true");
    let run = started(&pair, &["sync", "pandas:/", "badger:/"]).run_unchecked();
    run.refuses(1, &["names no file system pandas", "did you mean panda?", "./pandas:/"]);
    started(&pair, &["sync", "panda:/../x", "badger:/"]).run_unchecked().refuses(1, &["leads out of panda"]);
    pair.beside().file("panda:/file", "in a directory with an odd name");
    started(&pair, &["sync", "./panda:", "badger:/"]).run_unchecked().exits(0);
    assert!(pair.target_now().has("file") && !pair.target_now().has("a"));
    std::fs::remove_file(pair.beside().path("pmirror.toml")).unwrap();
    started(&pair, &["sync", "panda:/", "badger:/"]).run_unchecked().refuses(1, &["names another host"]);
}

#[test]
fn what_is_not_said_to_be_writable_is_no_target_by_whatever_path() {
    let pair = filled();
    pair.target().file("kept", "x");
    named(&pair, "", "write = false");
    let (source, target) = (path(&pair.source_path()), path(&pair.target_path()));
    pair.beside().symlink("link", &target);
    let (link, dots) = (path(&pair.beside().path("link")), format!("{target}/../target"));
    pair.target().dir("below");
    for place in ["badger:/", &target, &link, &dots, "badger:/below", &format!("{link}/below"), "badger:/new"] {
        let words = ["badger", "does not say write = true"];
        is_refused(&pair, &started(&pair, &["sync", &source, place]), &words);
        is_refused(&pair, &started(&pair, &["sync", "-n", &source, place]), &words);
    }
    for command in [&["rm", "--target-only"][..], &["rm", "--target-only", "--plan=plan"], &["mtimes"], &["cmp"]] {
        is_refused(&pair, &started(&pair, &[command, &[&source, &target]].concat()), &["badger", "write = true"]);
    }
    let tree = ["badger", "does not say write = true"];
    is_refused(&pair, &started(&pair, &["rm", "--tree", "badger:/below"]), &tree);
    is_refused(&pair, &started(&pair, &["rm", "--tree", &format!("{link}/below")]), &tree);
    is_refused(&pair, &started(&pair, &["rm", "--tree", &target]), &tree);
}

#[test]
fn a_bind_mount_of_a_protected_file_system_is_no_target_and_neither_is_what_holds_one() {
    let pair = filled();
    named(&pair, "", "write = false");
    pair.target().dir("below");
    let (source, target) = (path(&pair.source_path()), path(&pair.target_path()));
    let elsewhere = made(&pair, "elsewhere");
    let script = format!("mount --bind '{target}/below' '{elsewhere}' && exec \"$@\"");
    let bound = started(&pair, &["sync", &source, &elsewhere]);
    let bound = bound.wrapped_by(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
    is_refused(&pair, &bound, &["lies in", "badger"]);
    let outside = made(&pair, "outside");
    let text = format!("[fs.inner]\npath = \"{target}/below\"\n[fs.outer]\npath = \"{target}\"\nwrite = true\n");
    write(&pair, "pmirror.toml", &text);
    is_refused(&pair, &started(&pair, &["sync", &outside, &target]), &["holds", "inner"]);
    // Of two in each other the inner one says what it may be.
    is_refused(&pair, &started(&pair, &["sync", &outside, "inner:/x"]), &["lies in", "inner"]);
    started(&pair, &["sync", &outside, "outer:/beside"]).run_unchecked().exits(0);
}

#[test]
fn a_file_system_that_is_not_mounted_is_refused_and_one_that_is_is_not() {
    let pair = filled();
    let target = path(&pair.target_path());
    let on_tmpfs = format!("mount -t tmpfs none '{target}' && touch '{target}/.here' && exec \"$@\"");
    let mounted = |command: &Pmirror| command.clone().wrapped_by(&["unshare", "--mount", "sh", "-c", &on_tmpfs, "sh"]);
    let sync = started(&pair, &["sync", "panda:/d", "badger:/new"]);
    for (badger, word) in [
        ("mount = true", "is not mounted on"),
        ("type = \"tmpfs\"", "is ext4 on"),
        ("sentinel = \".here\"", ".here on"),
    ] {
        named(&pair, "", &format!("write = true\n{badger}"));
        is_refused(&pair, &sync, &["badger", word]);
        is_refused(&pair, &started(&pair, &["sync", "-n", "panda:/d", "badger:/new"]), &["badger", word]);
        mounted(&sync).run_unchecked().exits(0);
        std::fs::remove_dir_all(pair.state_path()).unwrap();
        std::fs::create_dir(pair.state_path()).unwrap();
    }
    named(&pair, "mount = true", "write = true");
    is_refused(&pair, &sync, &["panda", "is not mounted on"]);
    named(&pair, "", "write = true\ntype = \"lustre\"");
    is_refused(&pair, &mounted(&sync), &["is tmpfs on", "type = \"lustre\""]);
}

#[test]
fn the_mount_point_that_is_missing_is_not_made_in_the_place_of_the_file_system() {
    let pair = Pair::without_target();
    pair.source().file("a", "content");
    let source = path(&pair.source_path());
    let sync = started(&pair, &["sync", &source, "badger:/"]);
    for more in ["mount = true", "sentinel = \"here\""] {
        named(&pair, "", &format!("write = true\n{more}"));
        sync.run_unchecked().refuses(3, &["badger", "can not be opened", "is it mounted there?"]);
        assert!(!pair.target_path().exists());
    }
    named(&pair, "", "");
    sync.run_unchecked().refuses(3, &["does not say write = true"]);
    named(&pair, "", "write = true");
    sync.run_unchecked().exits(0);
}

#[test]
fn a_rank_on_which_the_file_system_is_not_mounted_is_named_with_its_host() {
    let pair = filled();
    named(&pair, "", "write = true\nmount = true");
    let target = path(&pair.target_path());
    let mount = format!("mount --bind '{target}' '{target}' && exec \"$@\"");
    let unmount = format!("[ $OMPI_COMM_WORLD_RANK != 1 ] || umount '{target}'; exec \"$@\"");
    let sync = started(&pair, &["sync", "panda:/", "badger:/"]).ranks(Ranks::Mpirun(2));
    let sync = sync.launched_by(&["unshare", "--mount", "sh", "-c", &mount, "sh"]);
    let sync = sync.wrapped_by(&["unshare", "--mount", "sh", "-c", &unmount, "sh"]);
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    is_refused(&pair, &sync, &[&format!("rank 1 on {host}"), "badger", &format!("is not mounted on {host}")]);
}

#[test]
fn ranks_that_go_by_other_files_are_named_and_nothing_is_done() {
    let pair = filled();
    let file = write(&pair, "all.toml", "[sync]\nexclude = [\"*.o\"]\n");
    let other = write(&pair, "other.toml", "[sync]\nexclude = [\"*.o\"]\n# and no more\n");
    let script = format!("[ $OMPI_COMM_WORLD_RANK != 1 ] || export PMIRROR_CONFIG='{}'; exec \"$@\"", other.display());
    let sync = pair.sync().env("PMIRROR_CONFIG", &file).ranks(Ranks::Mpirun(2));
    sync.run().exits(0).counts("file", &[("created", 2), ("skipped", 2)]);
    let run = sync.wrapped_by(&["sh", "-c", &script, "sh"]).run_unchecked();
    run.refuses(1, &["rank 1 on ", "does not go by the same pmirror.toml"]);
}

#[test]
fn options_of_the_file_hold_after_the_command_line_and_the_environment() {
    let pair = filled();
    let file =
        write(&pair, "f.toml", "[defaults]\nquiet = true\nthreads = 3\n[sync]\nexclude = [\"*.o\"]\nchecksum = true\n");
    let sync = pair.sync().arg("--config").arg(&file);
    let words = |run: &Outcome| {
        let record = std::fs::read(run.run_dir.as_ref().unwrap().join("command.json")).unwrap();
        let record: Value = serde_json::from_slice(&record).unwrap();
        record["options"].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let run = sync.run().exits(0);
    run.counts("file", &[("created", 2), ("skipped", 2)]);
    for word in ["--quiet", "--threads=3", "--exclude=*.o", "--checksum"] {
        assert!(words(&run).iter().any(|has| has == word), "{word}: {:?}", words(&run));
    }
    assert!(run.stdout.is_empty(), "it is quiet");
    let sync = sync.env("PMIRROR_CHECKSUM", "false").args(&["--exclude=a", "-v", "--threads", "1"]);
    let run = sync.run().exits(0);
    run.counts("file", &[("created", 2), ("same", 1), ("skipped", 1)]);
    for word in ["--quiet", "--threads=3", "--exclude=*.o", "--checksum"] {
        assert!(!words(&run).iter().any(|has| has == word), "{word}: {:?}", words(&run));
    }
}

#[test]
fn a_run_that_goes_on_asks_for_what_the_file_asked_for_when_it_began() {
    let pair = filled();
    pair.source().file("secret", "secret").mode(0o600);
    pair.source().file("secret.o", "secret").mode(0o600);
    pair.give_to(NOBODY);
    let file = write(&pair, "f.toml", "[sync]\nexclude = [\"[a-e]*.o\"]\nchecksum = true\n");
    let sync = pair.sync().as_user(NOBODY).run_id("first").arg("--config").arg(&file);
    sync.run().exits(23).counts("file", &[("created", 2), ("failed", 2), ("skipped", 2)]);
    // Another file now, for all commands: it changes nothing of what the run is.
    write(
        &pair,
        "f.toml",
        "[defaults]\nexclude = [\"secret\"]\nthreads = 7\nsize-only = true\n[retry]\nprogress = 9\n",
    );
    pair.source().entry("secret").mode(0o644);
    pair.source().entry("secret.o").mode(0o644);
    let run = pair.retry("first").as_user(NOBODY).arg("--config").arg(&file).run().exits(0);
    run.counts("file", &[("created", 2)]);
    let record = std::fs::read_to_string(run.run_dir.as_ref().unwrap().join("command.json")).unwrap();
    for (word, is_there) in [
        ("--exclude=[a-e]*.o", true),
        ("--checksum", true),
        ("--progress=9", true),
        ("--threads", false),
        ("--size-only", false),
    ] {
        assert_eq!(record.contains(word), is_there, "{word}: {record}");
    }
}

#[test]
fn the_first_file_that_is_there_is_the_only_one() {
    let pair = Pair::new();
    let of = |name: &str| format!("[cmp]\nseed = {}\n", name.len());
    let (here, home) = ("pmirror.toml", "home/.config/pmirror/pmirror.toml");
    for name in ["named", "variable", here, home, "etc/pmirror.toml"] {
        write(&pair, name, &of(name));
    }
    let etc = format!("mount --bind '{}' /etc && exec \"$@\"", pair.beside().path("etc").display());
    let seed = |words: &[&str], variable: Option<&str>| {
        let show = Pmirror::new().words(&["config", "--show", "--json", "cmp"]).working_dir(pair.top_path());
        let show = Pmirror::words(show, &[&["config", "--show", "--json"], words, &["cmp"]].concat());
        let show = show.env("HOME", pair.beside().path("home"));
        let show = variable.map_or(show.clone(), |name| show.env("PMIRROR_CONFIG", pair.beside().path(name)));
        let run = show.wrapped_by(&["unshare", "--mount", "sh", "-c", &etc, "sh"]).run_unchecked().exits(0);
        let shown: Value = serde_json::from_slice(&run.stdout).unwrap();
        let values = shown["commands"][0]["values"].as_array().unwrap().clone();
        let seed = values.into_iter().find(|row| row["option"] == "seed").unwrap();
        seed["value"][0].as_str().unwrap().parse::<usize>().unwrap()
    };
    let named = path(&pair.beside().path("named"));
    let behind = Pmirror::new().words(&["config", "--show", "cmp", "--config", &named]).run_unchecked().exits(0);
    assert!(String::from_utf8_lossy(&behind.stdout).contains(&format!("{named}:2")));
    assert_eq!(seed(&["--config", &named], Some("variable")), "named".len());
    assert_eq!(seed(&[], Some("variable")), "variable".len());
    assert_eq!(seed(&["--config=none"], Some("variable")), 0, "none is none");
    for name in [here, home, "etc/pmirror.toml"] {
        assert_eq!(seed(&[], None), name.len(), "{name}");
        std::fs::remove_file(pair.beside().path(name)).unwrap();
    }
    assert_eq!(seed(&[], None), 0, "there is none");
    let run = pair.sync().args(&["--config", "/no/such/file"]).run_unchecked();
    run.refuses(1, &["/no/such/file, which --config or PMIRROR_CONFIG names, is not there"]);
}

#[test]
fn root_goes_by_no_file_that_another_can_have_written() {
    let pair = filled();
    let file = write(&pair, "pmirror.toml", "[sync]\nexclude = [\"*.o\"]\n");
    let here = pair.sync().working_dir(pair.top_path());
    let by_name = pair.sync().arg("--config").arg(&file);
    let entry = pair.beside().entry("pmirror.toml");
    for (owner, mode, word) in
        [(65_534, 0o600, "belongs to user 65534"), (0, 0o664, "mode 0664"), (0, 0o646, "mode 0646")]
    {
        entry.owner(owner, 0).mode(mode);
        for sync in [&here, &by_name] {
            is_refused(&pair, sync, &["is not read", word, "--config none"]);
        }
    }
    entry.owner(0, 0).mode(0o644);
    // Whoever may rename in the directory could have put another file of root's there.
    for mode in [0o777, 0o775] {
        pair.beside().root().mode(mode);
        is_refused(&pair, &here, &["is not read", "its directory has mode"]);
        by_name.run().exits(0);
        std::fs::remove_dir_all(pair.state_path()).unwrap();
        std::fs::create_dir(pair.state_path()).unwrap();
    }
    pair.beside().root().mode(0o755);
    here.run().exits(0).counts("file", &[("same", 2), ("skipped", 2)]);
}

#[test]
fn a_user_goes_by_no_file_of_another_user() {
    let pair = filled();
    pair.give_to(NOBODY);
    let file = write(&pair, "f.toml", "[sync]\nexclude = [\"*.o\"]\n");
    pair.beside().dir(".config/pmirror");
    let sync = pair.sync().as_user(NOBODY).arg("--config").arg(&file);
    let entry = pair.beside().entry("f.toml");
    for (owner, mode, word) in
        [(1_000, 0o644, "belongs to user 1000"), (65_534, 0o666, "mode 0666"), (0, 0o646, "mode 0646")]
    {
        entry.owner(owner, 0).mode(mode);
        is_refused(&pair, &sync, &["is not read", word]);
    }
    entry.owner(0, 0).mode(0o600);
    sync.run_unchecked().refuses(1, &["can not be read", "Permission denied", "--config none"]);
    entry.rename(".config/pmirror/pmirror.toml");
    let at_home = pair.sync().as_user(NOBODY).env("HOME", pair.top_path());
    at_home.run_unchecked().refuses(1, &[".config/pmirror/pmirror.toml can not be read", "Permission denied"]);
    // In a directory that he may not enter there is nothing of his.
    pair.beside().entry(".config").mode(0o700);
    at_home.run().exits(0).counts("file", &[("created", 4)]);
    pair.beside().entry(".config/pmirror/pmirror.toml").rename("../../f.toml");
    for (owner, mode) in [(65_534, 0o664), (0, 0o644)] {
        entry.owner(owner, 65_534).mode(mode);
        sync.run().exits(0).counts("file", &[("same", 2), ("skipped", 2)]);
    }
}

#[test]
fn a_user_who_may_not_read_a_file_system_is_told_his_role_in_it() {
    let pair = filled();
    pair.target().dir("mine").owner(NOBODY.0, NOBODY.1);
    pair.target().root().mode(0o711);
    pair.beside().entry("state").owner(NOBODY.0, NOBODY.1);
    named(&pair, "", "write = true\nsentinel = \"mine\"");
    let sync = started(&pair, &["sync", "panda:/", "badger:/mine"]).as_user(NOBODY);
    sync.run_unchecked().exits(0);
    named(&pair, "", "");
    sync.run_unchecked().refuses(3, &["badger", "does not say write = true"]);
}

#[test]
fn what_is_no_regular_file_or_too_large_is_refused() {
    let pair = filled();
    pair.beside().fifo("fifo");
    pair.beside().file("large", "#".repeat((1 << 20) + 1));
    for (name, word) in
        [("fifo", "no regular file"), ("large", "more than 1048576 bytes"), ("state", "no regular file")]
    {
        let sync = pair.sync().arg("--config").arg(pair.beside().path(name));
        is_refused(&pair, &sync, &["is not read", word]);
    }
}

#[test]
fn a_wrong_word_stops_every_run_and_what_needs_no_file_goes_on() {
    let pair = filled();
    write(&pair, "pmirror.toml", "[sync]\nchecksum = true\nexlude = [\"\\u001b[2J\"]\n");
    let here = |words: &[&str]| Pmirror::new().words(words).working_dir(pair.top_path()).run_unchecked();
    for words in
        [&["sync", "source", "target"][..], &["cmp", "source", "target"], &["resume", "run"], &["config", "--show"]]
    {
        let run = here(words).refuses(1, &["./pmirror.toml:3:1: sync has no option exlude: did you mean exclude?"]);
        run.assert_output_is_escaped();
    }
    for words in [&["--help"][..], &["sync", "--help"], &["generate", "man"], &["config", "--example"]] {
        here(words).exits(0);
    }
    assert_eq!(std::fs::read_dir(pair.target_path()).unwrap().count(), 0);
}

#[test]
fn the_example_can_be_gone_by() {
    let pair = filled();
    let example = Pmirror::new().words(&["config", "--example"]).run_unchecked().exits(0);
    let file = write(&pair, "f.toml", std::str::from_utf8(&example.stdout).unwrap());
    pair.sync().arg("--config").arg(file).run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn every_value_is_shown_with_where_it_came_from() {
    let pair = filled();
    let text =
        "[fs.panda]\npath = \"/panda\"\ntype = \"lustre\"\n[defaults]\nthreads = 3\n[sync]\nexclude = [\"x\", \"y\"]\n";
    let file = write(&pair, "f.toml", text);
    let show = |words: &[&str]| {
        let show = Pmirror::new().words(&[&["config", "--show"], words].concat());
        show.env("PMIRROR_CONFIG", &file).env("PMIRROR_CLOCK_SKEW", "5").run_unchecked().exits(0)
    };
    let run = show(&["--json", "sync", "-c", "panda:/x"]);
    let shown: Value = serde_json::from_slice(&run.stdout).unwrap();
    let rows = |part: &Value| part["values"].as_array().unwrap().clone();
    let find = |part: &Value, option: &str| rows(part).into_iter().find(|row| row["option"] == option).unwrap();
    let sync = &shown["commands"][0];
    for (option, value, source) in [
        ("checksum", serde_json::json!(["true"]), "command_line"),
        ("SRC", serde_json::json!(["/panda/x"]), "command_line"),
        ("clock-skew", serde_json::json!(["5"]), "environment"),
        ("threads", serde_json::json!(["3"]), "file"),
        ("exclude", serde_json::json!(["x", "y"]), "file"),
        ("rank-timeout", serde_json::json!(["10m"]), "default"),
        ("max-memory", serde_json::json!([]), "default"),
    ] {
        let row = find(sync, option);
        assert_eq!((&row["value"], row["source"].as_str().unwrap()), (&value, source), "{row}");
    }
    assert_eq!(find(sync, "exclude")["from"], format!("{}:7", path(&file)));
    assert_eq!(find(sync, "clock-skew")["from"], "PMIRROR_CLOCK_SKEW");
    assert_eq!(find(&shown["file_systems"][0], "type")["from"], format!("{}:3", path(&file)));
    assert_eq!(find(&shown["file_systems"][0], "write")["source"], "default");
    let run = show(&[]);
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    for line in ["[fs.panda]", "[sync]", "[rm]", "[cmp]", "[mtimes]", "[resume]", "environment PMIRROR_CLOCK_SKEW"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    Pmirror::new().words(&["config", "--show", "snyc"]).run_unchecked().refuses(1, &["did you mean sync?"]);
    Pmirror::new().words(&["config"]).run_unchecked().refuses(1, &["--show"]);
}
