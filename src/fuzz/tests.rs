//! Samples of every format, as this program writes it: `fuzz/corpus/` holds them. To renew them after a change of a
//! format: `PMIRROR_BLESS=1 cargo test --lib fuzz`.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::engine::Extent as Listed;
use crate::engine::checkpoint::{Header, PartWriter, Table};
use crate::fault::Side;
use crate::fs::operator::RunDirectory;
use crate::headway::Headway;
use crate::sched::{Control, Cut, Envelope, Epoch, Message, Oldest, Rank, Report, Stop};
use crate::started::Word;
use crate::tree::item::{Claim, LinkGroup, LinkKey, Turn};
use crate::tree::removal::{Absent, DoomedNames, Lack, Parts, Was};
use crate::tree::{
    Along, Aspects, Attributes, Carried, ChunkFate, ChunkNews, ChunkTask, ChunkedFile, DirectoryItem, Doomed, Identity,
    Kept, Kind, LinkNote, Met, Names, Note, Outcome, Parked, Proof, RemovalNews, chunk, names, removal,
};

/// The samples of a decoder, each with its name: `good-` is decoded, `bad-` is not.
type Samples = Vec<(&'static str, &'static str, Vec<u8>)>;

fn path(text: &str) -> TreePath {
    TreePath::from(text.as_bytes())
}

fn identity() -> Identity {
    Identity { inode: 7, birth: Some(Time { seconds: -3, nanoseconds: 5 }) }
}

fn directory() -> DirectoryItem {
    let parked = Parked::NEVER.and(Some(c"hung"));
    DirectoryItem { path: path("d/e"), source: identity(), target: Some(identity()), mount: 9, made: true, parked }
}

fn some_names() -> Names {
    let mut all = Names::new();
    all.push(c"plain", names::Listed { kind: Some(Kind::File), on_target: true });
    all.push(c"\xff\n", names::Listed { kind: None, on_target: false });
    all
}

fn file(task: ChunkTask) -> Box<ChunkedFile> {
    let (kind, time) = (Kind::File, Time::default());
    let attributes = Attributes {
        kind,
        identity: identity(),
        device: 1,
        links: 2,
        uid: 3,
        gid: 4,
        mode: 0o644,
        size: 1_000_000,
        allocated: 8,
        rdev: 0,
        atime: time,
        mtime: time,
        ctime: time,
    };
    Box::new(ChunkedFile {
        path: path("d/large"),
        source: attributes,
        target: attributes,
        chunk_bytes: 4096,
        task,
        tries: 0,
    })
}

fn copied() -> Box<ChunkedFile> {
    let (temporary, outcome) = (c".pmirror-0123".to_owned(), Outcome::Updated);
    file(ChunkTask::Copy { temporary, outcome, over_directory: true, aspects: Aspects::NONE, may_tell: true })
}

fn compared() -> Box<ChunkedFile> {
    file(ChunkTask::Compare { known_links: 1, may_tell: true })
}

fn doomed() -> Doomed {
    let absent = Absent { depth: 1, source: identity(), target: identity(), lack: Lack::Directory };
    Doomed { path: path("d/gone"), target: identity(), proof: Proof::Absent(absent), tries: 0 }
}

fn doomed_names() -> DoomedNames {
    let was =
        Was { identity: identity(), ctime: Time::default(), mtime: Time::default(), links: 1, size: 2, uid: 3, gid: 4 };
    let parts = Parts { rounds: 2, is_first: true, more: 1 };
    DoomedNames { names: some_names(), was: vec![was, was], parts, stays: Some(Kept::Protected) }
}

fn key() -> LinkKey {
    LinkKey { side: Side::Source, mount: 0, inode: identity() }
}

fn claim() -> Claim {
    Claim { names: 2, key: key(), kind: Kind::File }
}

fn along() -> Along {
    let mut along = Along::NONE;
    along.add(Kind::File, 70_000);
    along
}

fn all_items() -> Vec<Item> {
    let extent = Extent { start: 3, end: 90 };
    let link = LinkGroup {
        key: key(),
        kind: Kind::File,
        links: 3,
        members: vec![path("a"), path("b/c")],
        claims: vec![claim()],
        turn: Turn::Claimed,
        leader: Some(path("b/d")),
        tries: 0,
    };
    vec![
        Item::Directory(directory()),
        Item::Round { directory: directory(), round: 1, rounds: 4 },
        Item::Batch { directory: directory(), names: some_names() },
        Item::Listed { directory: directory(), extent, settles: true },
        Item::Settle { directory: directory(), outcome: Outcome::MetadataOnly },
        Item::Chunks { file: *copied(), first: 1, count: 16 },
        Item::Publish { file: *compared(), fate: ChunkFate::Differs },
        Item::Link(link),
        Item::Again { directory: directory(), names: some_names() },
        Item::Doom { path: path("x"), proof: Proof::Asked, round: (0, 1), parked: Parked::NEVER },
        Item::Remove { doomed: doomed(), names: doomed_names() },
        Item::RemoveDirectory { doomed: doomed(), stays: Some(Kept::NotEmpty), along: along() },
        Item::Resettle(directory()),
        Item::Plan { directory: directory(), round: (1, 2) },
    ]
}

fn all_link_notes() -> Vec<LinkNote> {
    let (key, kind) = (key(), Kind::File);
    vec![
        LinkNote::Name { key, kind, links: 2, path: path("a"), turn: Turn::First },
        LinkNote::Claim { key, kind, claim: claim() },
        LinkNote::Part { key, kind },
        LinkNote::Led { key, kind, path: path("b/c") },
    ]
}

fn all_notes() -> Vec<Note> {
    let tally = || {
        let mut tally = chunk::Tally::default();
        tally.enter(70, ChunkFate::Right, 200);
        tally
    };
    let part = RemovalNews::Part { doomed: doomed(), parts: Parts::ONLY, directories: 3, stays: None, along: along() };
    let mut told = removal::Tally::default();
    told.enter(&part);
    let mut notes: Vec<Note> = all_link_notes().into_iter().map(Note::Link).collect();
    notes.extend([
        Note::Chunk { file: copied(), news: ChunkNews::Begun },
        Note::Chunk { file: compared(), news: ChunkNews::Ended { chunk: 3, fate: ChunkFate::Failed } },
        Note::Removal { path: path("d/gone"), news: part },
        Note::Removal { path: path("d"), news: RemovalNews::Child { stays: Some(Kept::Changed), along: along() } },
        Note::Carried(Carried::Turn(all_link_notes().swap_remove(0))),
        Note::Carried(Carried::Chunked(copied(), tally())),
        Note::Carried(Carried::Removal(path("d/gone"), Some(doomed()), told)),
    ]);
    notes
}

fn posted() -> Vec<Message<Item, Note>> {
    let oldest = Oldest { rank: Rank(3), age: Duration::from_millis(1500), what: "copy a".to_owned() };
    let report =
        Report { ranks: 2, counters: vec![1, 2], oldest: vec![oldest], silent: vec![Rank(1)], ..Report::default() };
    let control = Control { stop: Some(Stop::Time), shares: Vec::new(), seal: Some(Cut(2)) };
    let mut messages = vec![
        Message::StealRequest { request: 1, hungry: 2, wait: Duration::from_micros(7) },
        Message::Loot { request: 1, items: all_items() },
        Message::Refusal { request: 9 },
        Message::WaveDown { wave: 4, control },
        Message::WaveUp { wave: 4, report },
        Message::Halt,
    ];
    messages.extend(all_notes().into_iter().map(Message::Tell));
    messages
}

fn message_samples() -> Samples {
    let post = |message| wire::encode(&Envelope { epoch: Epoch(3), cut: Cut(1), message });
    let mut samples = vec![("messages", "good-all", posted().into_iter().flat_map(post).collect())];
    // The length of a list: 2^63, behind epoch, checkpoint, kind and request.
    let mut long = post(Message::Loot { request: 1, items: vec![Item::Directory(directory())] });
    long.splice(20..28, (1u64 << 63).to_le_bytes());
    samples.push(("messages", "bad-length", long));
    samples.push(("items", "good-all", wire::encode(&all_items())));
    samples.push((
        "items",
        "bad-path",
        wire::encode(&vec![Item::Directory(DirectoryItem { path: path("../a"), ..directory() })]),
    ));
    samples.push((
        "items",
        "bad-round",
        wire::encode(&vec![Item::Round { directory: directory(), round: 0, rounds: 0 }]),
    ));
    let mut uncut = copied();
    uncut.source.size = 1 << 63;
    samples.push(("items", "bad-chunks", wire::encode(&vec![Item::Chunks { file: *uncut, first: 0, count: 1 }])));
    let mut notes = Vec::new();
    all_link_notes().iter().for_each(|note| wire::append_note(&mut notes, note));
    samples.push(("link_notes", "good-all", notes));
    let started = Started { command: "sync".to_owned(), operands: vec![Word(b"/a".to_vec())], ..Started::default() };
    samples.push(("agreement", "good-started", wire::encode(&Ok::<_, Error>(Some(started)))));
    let cause = FaultGroup {
        outcome: "failed".to_owned(),
        operation: "openat".to_owned(),
        errno: "EIO".to_owned(),
        side: Side::Target,
        note: String::new(),
    };
    samples.push(("agreement", "good-counted", wire::encode(&Ok::<_, Error>((vec![1u64, 2], vec![(cause, 3u64)])))));
    samples.push((
        "agreement",
        "good-error",
        wire::encode(&Err::<Option<Started>, _>(Error::Refused("no".to_owned()))),
    ));
    samples
}

fn pieces() -> Vec<(&'static str, Piece)> {
    let extent = Listed { name: "faults-1-0.jsonl".to_owned(), bytes: 12 };
    let mut tally = chunk::Tally::default();
    tally.enter(1, ChunkFate::Right, 200);
    vec![
        ("good-items", Piece::Items(Table::AfterBelow(3), all_items())),
        ("good-items_file", Piece::ItemsFile { table: Table::Bag, name: "bag-0-1.items".to_owned(), items: 3 }),
        ("bad-items_file", Piece::ItemsFile { table: Table::Bag, name: "../items".to_owned(), items: 3 }),
        ("good-notes", Piece::Notes(all_notes())),
        ("good-links", Piece::LinksFile { in_turn: true, name: "links.notes".to_owned(), extents: vec![(0, 1 << 63)] }),
        ("good-chunked", Piece::Chunked(copied(), tally)),
        ("good-removal", Piece::Removal(path("d/gone"), Some(doomed()), removal::Tally::default())),
        ("good-gone", Piece::Gone(vec![(identity(), u32::MAX)])),
        ("good-counters", Piece::Counters(vec![u64::MAX; 9])),
        ("good-listed", Piece::Listed(vec![extent])),
        ("good-root", Piece::Root(Outcome::Same)),
    ]
}

fn file_of(frames: &[Vec<u8>], header: Header) -> Vec<u8> {
    let state = tempfile::tempdir().unwrap();
    let directory = RunDirectory::new(state.path(), "run");
    directory.make().unwrap();
    let mut writer = PartWriter::create(&directory, "part", header).unwrap();
    frames.iter().for_each(|frame| writer.add(frame).unwrap());
    writer.seal().unwrap();
    std::fs::read(state.path().join("run/part")).unwrap()
}

fn checkpoint_samples() -> Samples {
    let header = || Header::new(9, Cut(4), Rank(0));
    let frames: Vec<Vec<u8>> =
        pieces().iter().filter(|(name, _)| name.starts_with("good")).map(|(_, piece)| wire::encode(piece)).collect();
    let part = file_of(&frames, header());
    let mut samples: Samples =
        pieces().iter().map(|(name, piece)| ("checkpoint_piece", *name, wire::encode(piece))).collect();
    let mut other_version = part.clone();
    other_version[8] += 1;
    let mut long = part.clone();
    long.splice(28..32, u32::MAX.to_le_bytes());
    samples.extend([
        ("checkpoint_part", "bad-version", other_version),
        ("checkpoint_part", "bad-length", long),
        ("checkpoint_part", "bad-half", part[..part.len() / 2].to_vec()),
        ("checkpoint_part", "good-all", part),
    ]);
    let listed = vec![Listed { name: "faults-1-0.jsonl".to_owned(), bytes: 12 }];
    let headway = Headway { steps: 7, bytes: 90, changed: 3 };
    let manifest =
        Manifest { number: 9, cut: Cut(4), ranks: 3, attempt: 2, listed, seconds: 1.5, headway, story: vec![1, 2] };
    let written = |manifest: &Manifest| file_of(&[wire::encode(manifest)], header());
    samples.extend([
        ("checkpoint_manifest", "good", written(&manifest)),
        ("checkpoint_manifest", "good-frame", wire::encode(&manifest)),
        ("checkpoint_manifest", "bad-attempt", written(&Manifest { attempt: u32::MAX, ..manifest.clone() })),
        ("checkpoint_manifest", "bad-seconds", written(&Manifest { seconds: f64::NAN, ..manifest })),
    ]);
    samples.push(("checkpoint_story", "good", wire::encode(&Story::sample())));
    let items = wire::encode(&all_items());
    let spilled = [&xxhash_rust::xxh3::xxh3_64(&items).to_le_bytes()[..], &items].concat();
    samples.push(("spilled_items", "good-all", spilled));
    samples
}

fn plan_samples() -> Samples {
    let root = |path: &str| plan::PlannedRoot { path: path.to_owned(), inode: 2, birth: Some((1, 2)), fs_type: 0xEF53 };
    let text = |text: &str| text.to_owned();
    let header = |format| plan::Header {
        pmirror_plan: format,
        version: text("0"),
        run_id: text("r"),
        made: text("now"),
        source: root("/a"),
        target: root("/b"),
        seen: 9,
        planned: 3,
    };
    let (mut lines, mut names) = (Vec::new(), Vec::new());
    all_items().iter().for_each(|item| plan::write_item(item, &mut lines, &mut names).unwrap());
    let written = |format| {
        let mut whole = Vec::new();
        plan::write_plan(header(format), lines.as_slice(), &mut whole).unwrap();
        whole
    };
    let without_last = |whole: Vec<u8>| {
        let end = whole[..whole.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap();
        whole[..=end].to_vec()
    };
    let elsewhere = |whole: Vec<u8>| String::from_utf8(whole).unwrap().replace("d/gone", "../etc").into_bytes();
    vec![
        ("plan", "good", written(plan::VERSION)),
        ("plan", "good-lines", without_last(written(plan::VERSION))),
        ("plan", "bad-version", written(plan::VERSION + 1)),
        ("plan", "bad-path", elsewhere(without_last(written(plan::VERSION)))),
        ("plan", "bad-empty", Vec::new()),
    ]
}

fn text_samples() -> Samples {
    let fault = r#"{"path":"a/b","outcome":"failed","operation":"openat","errno":"EIO","message":"","side":"source","note":"","retry":"itself","rank":0,"host":"n"}"#;
    let difference =
        r#"{"path":"z","kind":"file","differs":["links"],"itemize":"hf","link_of":"a\\xff","link_of_b64":"Yf8="}"#;
    let record = r#"{"version":"0.1.0","arguments":["pmirror"],"command":"sync","options":["--delete",{"b64":"/w=="}],"operands":["/a","/b"],"directory":"/","environment":{}}"#;
    let known = r#"{"version":1,"source":{"path":"/a","inode":2,"birth":[-7,9],"fs_type":61267},"target":{"path":"\\xff","path_b64":"/w==","inode":3,"fs_type":1},"command":"sync","run_id":"r","ended":"2026-01-02T03:04:05Z","total":{"entries":3,"bytes":4}}"#;
    let trash_record =
        r#"{"pmirror_trash":1,"run_id":"r","command":"rm","made":"2026-11-21T23:09:49Z","source":"a","target":"b"}"#;
    let lock = r#"{"durable":"","attempt":1,"run_id":"r","host":"h","job":"","pid":2,"boot":"b","pid_namespace":"pid:[1]","pid_started":"3","dead":[4],"doubted":["x",null],"in_place":true,"makes_none":false,"released":false}"#;
    let text: Vec<(&str, &str, String)> = vec![
        ("path_list", "good-lines", "# comment\nb\n/a/x\r\n./a//\n;\nlast".to_owned()),
        ("path_list", "good-nul", "a\nb\0c/./d".to_owned()),
        ("path_list", "bad-above", "a\n../b\0../c".to_owned()),
        ("path_list", "bad-long", "x".repeat(300)),
        ("sorted_list", "good", "a\0a/b\0a/c/d\0b/\0b\0".to_owned()),
        ("sorted_list", "good-wide", (0..60).map(|n| format!("a/directory-{n:03}/name\0")).collect()),
        ("sorted_list", "bad-cut", "a\0b".to_owned()),
        ("sorted_list", "good-repeated", "a/\0".repeat(50) + "a//\0"),
        ("patterns", "good", "# no pattern\n+ *.c\n- /scratch/\ncore.*\n[a-z]?**/x\n!\nd***\n".to_owned()),
        ("patterns", "bad-class", "a[b\0a[b".to_owned()),
        ("command_record", "good", record.replace(r#","options":["--delete",{"b64":"/w=="}]"#, r#","options":["--delete"]"#)),
        ("command_record", "bad-option", record.to_owned()),
        ("command_record", "bad-empty", String::new()),
        ("known_record", "good", known.to_owned()),
        ("known_record", "bad-version", known.replace("\"version\":1", "\"version\":2")),
        ("known_record", "bad-base64", known.replace("/w==", "/w=")),
        ("lock", "good", lock.to_owned()),
        ("trash_record", "good", trash_record.to_owned()),
        ("trash_record", "bad-version", trash_record.replace("\":1", "\":2")),
        ("lock", "bad-empty", String::new()),
        ("suspects", "good", r#"{"watched":["a"],"set_aside":[{"b64":"/w=="},"b/c"]}"#.to_owned()),
        ("summary", "good", r#"{"exit_code":23,"faults":[{"outcome":"failed","count":2}]}"#.to_owned()),
        ("summary", "good-sum", r#"{"exit_code":23,"faults":[{"outcome":"failed","count":18446744073709551615}]}"#.to_owned()),
        ("summary", "bad-code", r#"{"exit_code":256,"faults":[]}"#.to_owned()),
        ("fault_list", "good", format!("{fault}\n{fault}\n")),
        ("fault_list", "bad-cut", format!("{fault}\n{fault}")),
        ("fault_list", "bad-path", format!("{}\n", fault.replace("a/b", "/etc"))),
        ("difference_list", "good", format!("{difference}\n")),
        ("difference_list", "bad-half", difference[..difference.len() / 2].to_owned()),
        ("remark_list", "good", "{\"what\":\"ctime_after_start\",\"path\":\"a\",\"ctime\":\"1.000000000\"}\n".to_owned()),
        ("settings", "good", "[fs.a]\npath = \"/a\"\nwrite = true\ntype = \"nfs\"\nsentinel = \"b\"\n[defaults]\nthreads = 2\n[sync]\nexclude = [\"*.o\"]\nchecksum = true\n".to_owned()),
        ("settings", "bad-option", "[sync]\ndelete = true\n".to_owned()),
        ("environment", "good", "SLURM_JOB_ID=7\nSLURM_NTASKS=4294967295\nSLURM_MEM_PER_CPU=4294967295\nSLURM_CPUS_PER_TASK=4294967295\nSLURM_JOB_END_TIME=9223372036854775807".to_owned()),
    ];
    let values = [
        "4096",
        "1.5GiB",
        "99999999999999999999E",
        "100M/s",
        "20k/s",
        "1e9M/s",
        "10m",
        "+2h30m",
        "2026-05-01T06:00:00+02:00",
        "18:30",
        "90d:atime",
        "50%",
        "EDQUOT",
        "copy-17",
        "9999999w",
    ];
    const NAMES: [&str; 15] = ["a", "b", "c", "d", "e", "bad-rate", "g", "h", "i", "j", "k", "l", "m", "n", "o"];
    let values = NAMES.into_iter().zip(values).map(|(name, value)| ("option_values", name, value.as_bytes().to_vec()));
    text.into_iter().map(|(decoder, name, text)| (decoder, name, text.into_bytes())).chain(values).collect()
}

fn byte_samples() -> Samples {
    let content = [&1u16.to_le_bytes()[..], &4u16.to_le_bytes(), b"aname"].concat();
    let slot = [&[1, 0, 0, 0][..], &xxhash_rust::xxh3::xxh3_64(&content).to_le_bytes(), &content].concat();
    let plain = [
        &0x0BD1_0BD0u32.to_le_bytes()[..],
        &1u32.to_le_bytes(),
        &[7; 16],
        &(2u32 << 20).to_le_bytes(),
        &4u16.to_le_bytes(),
        &[3, 0],
    ]
    .concat();
    let composite = |offset: u32| {
        let head = [&0x0BD6_0BD0u32.to_le_bytes()[..], &[0; 10], &1u16.to_le_bytes(), &[0; 16]].concat();
        [&head[..], &[0; 24], &offset.to_le_bytes(), &[0; 20], &plain].concat()
    };
    vec![
        ("in_flight", "good", slot),
        ("in_flight", "bad-lengths", [&[1, 0, 0, 0][..], &[0xff; 12]].concat()),
        ("lustre_layout", "good-composite", composite(80)),
        ("lustre_layout", "bad-offset", composite(u32::MAX)),
        ("lustre_layout", "good-plain", plain),
    ]
}

fn directory_samples() -> Samples {
    let state = tempfile::tempdir().unwrap();
    let (run, roots) = (RunDirectory::new(state.path(), "run"), RunDirectory::new(state.path(), "roots"));
    run.make().unwrap();
    roots.make().unwrap();
    let met = |name: &str, inode| met_at(path(name), inode);
    let part: Vec<u8> =
        ["d", "d/e", "x\n"].iter().zip(7..).flat_map(|(name, inode)| met::framed(&met(name, inode))).collect();
    std::fs::write(state.path().join("run/part"), &part).unwrap();
    met::build((&run, &["part".to_owned()]), (&roots, "record"), [(identity(), 1), (identity(), 2)]).unwrap();
    let record = std::fs::read(state.path().join("roots/record")).unwrap();
    let mut other_magic = record.clone();
    other_magic[12] ^= 1;
    vec![
        ("directory_part", "bad-cut", part[..part.len() - 1].to_vec()),
        ("directory_part", "bad-path", met::framed(&met("../a", 7))),
        ("directory_part", "good", part),
        ("directory_record", "bad-magic", other_magic),
        ("directory_record", "good", record),
    ]
}

fn met_at(path: TreePath, inode: u64) -> Met {
    let identity = Identity { inode, ..identity() };
    Met { path, ..Met::new(9, identity, &TreePath::from(&b"d"[..]), identity).unwrap() }
}

fn all() -> Samples {
    [message_samples(), checkpoint_samples(), plan_samples(), text_samples(), byte_samples(), directory_samples()]
        .concat()
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

#[test]
fn the_corpora_hold_samples_of_todays_formats() {
    let bless = std::env::var_os("PMIRROR_BLESS").is_some();
    for (decoder, name, bytes) in all() {
        let file = corpus().join(decoder).join(name);
        if bless {
            std::fs::create_dir_all(corpus().join(decoder)).unwrap();
            std::fs::write(&file, &bytes).unwrap();
        }
        let found = std::fs::read(&file).unwrap_or_default();
        assert!(found == bytes && file.exists(), "{decoder}/{name} is old: PMIRROR_BLESS=1 cargo test --lib fuzz");
    }
}

#[test]
fn every_decoder_has_a_good_sample_and_tells_good_from_bad() {
    let mut good: BTreeMap<&str, usize> = DECODERS.iter().map(|decoder| (decoder.name, 0)).collect();
    for (name, sample, bytes) in all() {
        let decoder = DECODERS.iter().find(|decoder| decoder.name == name).unwrap();
        let is_decoded = (decoder.decode)(&bytes);
        assert_eq!(is_decoded, !sample.starts_with("bad-"), "{name}/{sample}");
        *good.get_mut(name).unwrap() += usize::from(is_decoded);
    }
    assert!(good.values().all(|&samples| samples > 0), "{good:?}");
}
