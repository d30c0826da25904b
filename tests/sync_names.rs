//! Names of any bytes and paths of any length: copied as they are, escaped where people read them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::errno::Errno;
use support::outcome::{fault_path, second_run_changes_nothing};
use support::*;

const HOSTILE: &[&[u8]] = &[
    b"new\nline",
    b"carriage\rreturn",
    b"tab\t",
    b"\x1b[2J\x1b]0;title\x07",
    b"-rf",
    b"--delete",
    b"~",
    b"*",
    b"?",
    b"[a-z]",
    b"$(touch owned)",
    b"`id`",
    b"'quotes\"",
    b"#comment",
    b";",
    b"back\\slash",
    b" leading",
    b"trailing ",
    b"   ",
    b"...",
    b". ",
    b".. ",
    b"..hidden",
    b"\xff\xfe",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    "caf\u{e9}".as_bytes(),
    "cafe\u{301}".as_bytes(),
    "\u{202e}txt.exe".as_bytes(),
    b"Case",
    b"case",
    b"C:\\con",
    b"%s%n%x",
    b"{\"json\": 1}",
    b"=cmd()",
    b"lost+found",
    b".nfs0123456789abcdef",
    b".snapshot",
];

fn mirrors_and_is_quiet(pair: &Pair) {
    pair.sync().run().exits(0).assert_output_is_escaped();
    pair.assert_mirrored();
    second_run_changes_nothing(pair, &pair.sync(), 0);
}

#[test]
fn hostile_names_of_files_are_copied() {
    let pair = Pair::new();
    for name in HOSTILE {
        pair.source().file(name, name);
    }
    mirrors_and_is_quiet(&pair);
}

#[test]
fn hostile_names_of_directories_links_and_special_files_are_copied() {
    let pair = Pair::new();
    for name in HOSTILE {
        pair.source().file([name, &b"/file"[..]].concat(), "");
        pair.source().symlink([b"links/", *name].concat(), name);
        pair.source().fifo([b"fifos/", *name].concat());
    }
    mirrors_and_is_quiet(&pair);
}

#[test]
fn every_single_byte_is_a_name() {
    let pair = Pair::new();
    for byte in (1..=255u8).filter(|byte| !b"/.".contains(byte)) {
        pair.source().file([byte], [byte]);
        pair.source().dir([b'd', byte]).mtime(1_000, u32::from(byte));
    }
    mirrors_and_is_quiet(&pair);
}

#[test]
fn names_of_255_bytes_are_copied_and_replaced() {
    let pair = Pair::new();
    let longest = |letter: &str| letter.repeat(255);
    pair.source().file(longest("f"), "new content");
    pair.source().symlink(longest("l"), longest("f"));
    pair.source().file(format!("{}/{}", longest("d"), longest("f")), "");
    pair.source().fifo(longest("p"));
    pair.target().file(longest("f"), "old");
    pair.target().symlink(longest("l"), "old");
    pair.target().file(longest("p"), "old");
    mirrors_and_is_quiet(&pair);
}

#[test]
fn a_path_longer_than_path_max_is_copied() {
    let pair = Pair::new();
    let bottom = pair.source().chain(&"d".repeat(250), 60);
    bottom.file("file", "deep down").owner(1, 2).mode(0o4711).xattr("user.a", "1");
    bottom.symlink("link", "file");
    bottom.fifo("fifo");
    bottom.sparse("hole", 100_000, &[(50_000, b"data")]);
    let longest = pair.source_now().entries.into_keys().map(|path| path.len()).max();
    assert!(longest > Some(15_000));
    mirrors_and_is_quiet(&pair);
}

#[test]
fn a_file_below_path_max_that_changed_is_replaced() {
    let pair = Pair::new();
    for (tree, content) in [(pair.source(), "new"), (pair.target(), "old content")] {
        let bottom = tree.chain(&"d".repeat(250), 60);
        bottom.file("file", content);
        bottom.file("other type", content);
    }
    let bottom = pair.source().chain(&"d".repeat(250), 60);
    bottom.entry("other type").unlink();
    bottom.symlink("other type", "x");
    mirrors_and_is_quiet(&pair);
}

#[test]
fn paths_around_path_max_are_copied() {
    let pair = Pair::new();
    for length in [4094usize, 4095, 4096, 4097] {
        let (letter, rest) = (length % 10, length % 201);
        let bottom = pair.source().chain(&letter.to_string().repeat(200), (length / 201) as u32);
        bottom.file("f".repeat(rest.max(1)), length.to_string());
        bottom.dir("d".repeat(rest.max(1)));
    }
    mirrors_and_is_quiet(&pair);
}

#[test]
fn a_chain_of_a_thousand_directories_is_copied() {
    let pair = Pair::new();
    pair.source().chain("d", 1_000).file("leaf", "at the end");
    mirrors_and_is_quiet(&pair);
}

#[test]
fn deep_chains_do_not_need_one_descriptor_a_level() {
    let pair = Pair::new();
    pair.source().chain("d", 300).file("leaf", "at the end");
    let limited = ["sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"];
    pair.sync().wrapped_by(&limited).run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn names_like_our_temporary_ones_are_copied_as_user_data() {
    let pair = Pair::new();
    for name in [".pmirror-", ".pmirror-0123456789abcdef-00000001", ".pmirrored", "a/.pmirror"] {
        pair.source().file(format!("{name}-file"), "data");
        pair.source().file(format!("{name}-directory/file"), "data");
        pair.source().symlink(format!("{name}-link"), "x");
    }
    pair.source().file("below/.pmirror/file", "data");
    mirrors_and_is_quiet(&pair);
}

#[test]
fn a_fault_tells_its_path_in_full_and_prints_it_escaped() {
    let pair = Pair::new();
    for name in HOSTILE {
        pair.source().file(name, "");
        pair.target().file([name, &b"/kept"[..]].concat(), "");
    }
    let run = pair.sync().arg("-v").run().exits(23);
    run.assert_output_is_escaped();
    let listed: Vec<Vec<u8>> = run.faults.iter().map(fault_path).collect();
    for name in HOSTILE {
        assert!(listed.contains(&name.to_vec()), "not listed: {}", escaped(name));
    }
}

#[test]
fn a_path_that_is_utf8_is_plain_in_the_fault_list() {
    let pair = Pair::new();
    for name in [&b"caf\xc3\xa9"[..], b"\xff"] {
        pair.source().file(name, "");
        pair.target().file([name, &b"/kept"[..]].concat(), "");
    }
    let run = pair.sync().run().exits(23);
    assert_eq!(run.faults_of("caf\u{e9}")[0]["path"], "caf\u{e9}");
    assert!(run.faults_of("caf\u{e9}")[0].get("path_b64").is_none_or(|value| value.is_null()));
    assert!(run.faults_of(b"\xff")[0]["path_b64"].is_string());
}

#[test]
fn output_of_a_verbose_run_is_escaped() {
    let pair = Pair::new();
    for name in HOSTILE {
        pair.source().file(name, "").owner(1, 2);
    }
    pair.sync().args(&["-v", "--progress=1"]).run().exits(0).assert_output_is_escaped();
}

#[test]
fn roots_may_have_hostile_names_too() {
    let pair = Pair::new();
    for (index, name) in HOSTILE.iter().filter(|name| !name.starts_with(b"-")).enumerate() {
        let source = [b"source/", *name].concat();
        pair.beside().file([&source[..], b"/file"].concat(), index.to_string());
    }
    for name in HOSTILE.iter().filter(|name| !name.starts_with(b"-")) {
        let (tree, target) = (pair.source(), pair.target());
        let run = pair.sync().sync(tree.path(name), target.path(name)).run().exits(0);
        run.assert_output_is_escaped();
    }
    compare::assert_same_but(&pair.source_now().without_root(), &pair.target_now().without_root(), &[]);
}

#[test]
fn names_that_the_target_rejects_fail_alone_and_come_when_it_takes_them() {
    for errno in [Errno::EILSEQ, Errno::EINVAL, Errno::ENAMETOOLONG] {
        let pair = Pair::new();
        pair.source().file("bad file", "content");
        pair.source().file("bad directory/file", "content");
        pair.source().symlink("bad link", "x");
        pair.source().file("good/file", "content");
        let target = FaultFs::mount(pair.target_path());
        target.rule(Rule::on_each(&["create", "mkdir", "symlink"]).named("bad*").error(errno));
        let sync = Pmirror::new().sync(pair.source_path(), target.path()).state_dir(pair.state_path());
        let run = sync.run().exits(23);
        assert_eq!((run.total("failed"), run.count("file", "created")), (3, 1));
        for name in ["bad file", "bad directory", "bad link"] {
            run.has_fault(name, "target", errno);
        }
        target.clear();
        sync.run().exits(0);
        pair.assert_mirrored();
    }
}
