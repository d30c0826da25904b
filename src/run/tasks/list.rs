//! The task file: what its lines ask for, and which of them can not be worked on beside another. Pure.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

/// One task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Task {
    /// Its line, from 1; in the NUL form its number.
    pub line: u32,
    /// SRC as it is named.
    pub source: Vec<u8>,
    /// DST as it is named.
    pub target: Vec<u8>,
    /// A file of paths relative to SRC.
    pub list: Option<Vec<u8>>,
}

/// A line that asks for nothing that could be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// As far as it is understood.
    pub task: Task,
    /// What is wrong.
    pub why: String,
}

/// The tasks of a file in their order.
pub fn tasks(text: &[u8], null: bool) -> Vec<Result<Task, BadLine>> {
    if null { of_fields(text) } else { of_lines(text) }
}

fn of_lines(text: &[u8]) -> Vec<Result<Task, BadLine>> {
    let lines = (1..).zip(text.split(|&byte| byte == b'\n'));
    lines.filter_map(|(line, text)| of_line(line, text.strip_suffix(b"\r").unwrap_or(text)).transpose()).collect()
}

fn of_line(line: u32, text: &[u8]) -> Result<Option<Task>, BadLine> {
    let mut lexer = shlex::bytes::Shlex::new(text);
    let mut words: Vec<Vec<u8>> = lexer.by_ref().collect();
    let bad = |words: &[Vec<u8>], why: &str| {
        let word = |place: usize| words.get(place).cloned().unwrap_or_default();
        Err(BadLine { task: Task { line, source: word(0), target: word(1), list: None }, why: why.to_owned() })
    };
    if lexer.had_error {
        return bad(&words, "a quote is not closed, or the line ends with a backslash");
    }
    match words.len() {
        0 => Ok(None),
        1 => bad(&words, "DST is missing: a line is SRC DST, or SRC DST LIST"),
        2 | 3 => {
            let list = words.get_mut(2).map(std::mem::take);
            let mut words = words.into_iter();
            let (source, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            Ok(Some(Task { line, source, target, list }))
        }
        _ => bad(&words, "more than SRC DST LIST: quote names that hold blanks"),
    }
}

/// Three fields for each task, each with a NUL byte after it.
fn of_fields(text: &[u8]) -> Vec<Result<Task, BadLine>> {
    let mut fields: Vec<&[u8]> = text.split(|&byte| byte == 0).collect();
    // Behind the last NUL there is nothing, or a field that was cut off.
    let cut_off = fields.pop().filter(|rest| !rest.is_empty());
    let of = |(line, fields): (u32, &[&[u8]])| {
        let field = |place: usize| fields.get(place).map(|field| field.to_vec()).unwrap_or_default();
        let list = Some(field(2)).filter(|list| !list.is_empty());
        let task = Task { line, source: field(0), target: field(1), list };
        if fields.len() == 3 {
            return Ok(task);
        }
        let why =
            "the file ends within this task: each has three fields, SRC, DST and LIST, with a NUL byte after each";
        Err(BadLine { task, why: why.to_owned() })
    };
    let mut tasks: Vec<_> = (1..).zip(fields.chunks(3)).map(of).collect();
    if let (Some(rest), 0) = (cut_off, fields.len() % 3) {
        let line = u32::try_from(tasks.len() + 1).unwrap_or(u32::MAX);
        tasks.push(of((line, &[rest])));
    }
    tasks
}

/// Refuses tasks that would meet an earlier one: two that write to one tree, and one that reads what another writes, as
/// all are worked on at once. `lead` tells where a path leads that stands in a task; `None`: nowhere.
pub fn apart(
    tasks: Vec<Result<Task, BadLine>>,
    mut lead: impl FnMut(&[u8]) -> Option<Vec<u8>>,
) -> Vec<Result<Task, BadLine>> {
    let (mut sources, mut targets) = (Places::default(), Places::default());
    let mut judge = |task: Task| {
        let [source, target] = [&task.source, &task.target].map(|path| Some(place(&lead(path)?)));
        let meets = |places: &Places, place: &Option<Vec<u8>>| place.as_ref().and_then(|place| places.met_by(place));
        let meeting =
            meets(&targets, &target).map(|line| (line, "its DST is that of", "can not be written by two tasks"));
        let meeting = meeting.or_else(|| {
            let line = meets(&sources, &target)?;
            Some((line, "its DST is the SRC of", "would change while that is copied"))
        });
        let meeting = meeting.or_else(|| {
            let line = meets(&targets, &source)?;
            Some((line, "its SRC is the DST of", "would be copied while that is written"))
        });
        if let Some((line, what, why)) = meeting {
            let why = format!(
                "{what} line {line}, or one lies in the other: it {why}, and tasks are worked on at once; put one of both \
                 into a job of its own"
            );
            return Err(BadLine { task, why });
        }
        source.into_iter().for_each(|place| sources.add(place, task.line));
        target.into_iter().for_each(|place| targets.add(place, task.line));
        Ok(task)
    };
    tasks.into_iter().map(|task| task.and_then(&mut judge)).collect()
}

/// Directories and the lines that name them, each with a slash behind it.
#[derive(Default)]
struct Places(BTreeMap<Vec<u8>, u32>);

impl Places {
    fn add(&mut self, place: Vec<u8>, line: u32) {
        self.0.entry(place).or_insert(line);
    }

    /// The line of a directory that is this one, lies in it, or holds it.
    fn met_by(&self, place: &[u8]) -> Option<u32> {
        let above = (1..=place.len()).filter(|&end| place.get(end - 1) == Some(&b'/'));
        let above = above.filter_map(|end| self.0.get(place.get(..end)?)).next();
        let below = || self.0.range(place.to_vec()..).next().filter(|(found, _)| found.starts_with(place));
        above.or_else(|| below().map(|(_, line)| line)).copied()
    }
}

/// A path from the root, with a slash behind each name.
fn place(path: &[u8]) -> Vec<u8> {
    let mut place = vec![b'/'];
    for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".") {
        place.extend_from_slice(name);
        place.push(b'/');
    }
    place
}

/// A path from the root.
pub fn absolute(path: &[u8], directory: &[u8]) -> Vec<u8> {
    if path.starts_with(b"/") || directory.is_empty() { path.to_vec() } else { [directory, path].join(&b'/') }
}

impl Task {
    /// Its name, and that of its run directory.
    pub fn id(&self) -> String {
        format!("task-{:04}", self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn task(line: u32, words: &[&[u8]]) -> Task {
        let list = words.get(2).map(|word| word.to_vec());
        Task { line, source: words[0].to_vec(), target: words[1].to_vec(), list }
    }

    #[test]
    fn lines_have_quotes_and_comments_as_in_a_shell_and_keep_their_bytes() {
        let text = b"# all\n\n/a /b # why\r\n'/a b' \"/c \\\" d\" li\\ st\n\xff \xfe\n";
        let expected = [
            Ok(task(3, &[b"/a", b"/b"])),
            Ok(task(4, &[b"/a b", b"/c \" d", b"li st"])),
            Ok(task(5, &[b"\xff", b"\xfe"])),
        ];
        assert_eq!(tasks(text, false), expected);
    }

    #[test]
    fn a_bad_line_is_the_fault_of_that_line_alone() {
        let found = tasks(b"/a\n/a '/b\n/a /b /c /d\n/e /f", false);
        let why: Vec<_> =
            found.iter().map(|task| task.as_ref().err().map(|bad| (bad.task.line, &bad.why[..9]))).collect();
        assert_eq!(why, [Some((1, "DST is mi")), Some((2, "a quote i")), Some((3, "more than")), None]);
    }

    #[test]
    fn three_fields_with_nul_bytes_are_a_task() {
        let text = b"/a\n#\0/b '\0\0/c\0/d\0/l\0/e\0/f\0";
        let found = tasks(text, true);
        assert_eq!(found[..2], [Ok(task(1, &[b"/a\n#", b"/b '"])), Ok(task(2, &[b"/c", b"/d", b"/l"]))]);
        assert_eq!(found[2].as_ref().unwrap_err().task.line, 3);
        assert!(tasks(b"/a\0/b\0\0/c", true)[1].is_err(), "a field that was cut off");
    }

    #[test]
    fn tasks_that_would_meet_name_the_earlier_line() {
        let met = |text: &str| -> Vec<String> {
            let all = apart(tasks(text.as_bytes(), false), |path| Some(absolute(path, b"/home")));
            all.into_iter().filter_map(|task| task.err()).map(|bad| format!("{}: {}", bad.task.line, bad.why)).collect()
        };
        let same = met("/a /b\n/c /b//.\n/d b\n");
        assert!(same.len() == 1 && same[0].starts_with("2: its DST is that of line 1"), "{same:?}");
        assert!(met("/a /b\n/c /b/x\n")[0].starts_with("2: its DST is that of line 1"));
        assert!(met("/a /b/x\n/c /b\n")[0].starts_with("2: its DST is that of line 1"));
        assert!(met("/a /b\n/b/x /c\n")[0].starts_with("2: its SRC is the DST of line 1"));
        assert!(met("/a /b\n/c /a/x\n")[0].starts_with("2: its DST is the SRC of line 1"));
        assert_eq!(met("/a /b\n/a/x /bb\n/a /b-\n"), Vec::<String>::new(), "one SRC may be read by many");
    }

    proptest! {
        #[test]
        fn any_bytes_are_tasks_or_bad_lines(text in proptest::collection::vec(any::<u8>(), 0..200), null: bool) {
            apart(tasks(&text, null), |path| Some(path.to_vec()));
        }

        #[test]
        fn what_a_script_writes_is_what_is_read(
            fields in proptest::collection::vec(proptest::collection::vec(1u8.., 1..9), 3..30)
        ) {
            let whole = fields.len() / 3 * 3;
            let text: Vec<u8> = fields[..whole].iter().flat_map(|field| [&field[..], b"\0"].concat()).collect();
            let expected = (1..).zip(fields[..whole].chunks(3));
            let expected: Vec<_> = expected.map(|(line, f)| Ok(task(line, &[&f[0], &f[1], &f[2]]))).collect();
            prop_assert_eq!(tasks(&text, true), expected);
        }
    }
}
