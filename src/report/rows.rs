//! Result rows of a job of many tasks, in the forms that people ask for.

use std::ffi::OsStr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::json;

/// How a task ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name: of its run directory, too.
    pub id: String,
    /// Its line in the task file; in the NUL form its number.
    pub line: u32,
    /// SRC, escaped.
    pub source: String,
    /// SRC as it is, in base64, where the escaped one differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_b64: Option<String>,
    /// DST, likewise.
    pub target: String,
    /// Likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_b64: Option<String>,
    /// LIST, escaped; empty without one.
    pub list: String,
    /// RFC 3339; empty if it did not begin.
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// What `pmirror sync` would have ended with.
    pub exit_code: u8,
    /// All that was asked is done: `exit_code` is 0.
    pub success: bool,
    /// Entries of SRC that were seen.
    pub entries: u64,
    /// Sizes of the files among them.
    pub bytes: u64,
    /// Bytes that were written.
    pub written: u64,
    /// Faults: lines of `faults.jsonl`.
    pub faults: u64,
    /// What went wrong first; empty if nothing did.
    pub message: String,
    /// The run directory of the task; empty if it has none.
    pub log: String,
}

const COLUMNS: [&str; 15] = [
    "id",
    "line",
    "source",
    "target",
    "list",
    "started",
    "seconds",
    "exit_code",
    "success",
    "entries",
    "bytes",
    "written",
    "faults",
    "message",
    "log",
];

impl Row {
    /// What stands in its columns.
    fn cells(&self) -> [String; 15] {
        [
            self.id.clone(),
            self.line.to_string(),
            self.source.clone(),
            self.target.clone(),
            self.list.clone(),
            self.started.clone(),
            format!("{:.3}", self.seconds),
            self.exit_code.to_string(),
            self.success.to_string(),
            self.entries.to_string(),
            self.bytes.to_string(),
            self.written.to_string(),
            self.faults.to_string(),
            self.message.clone(),
            self.log.clone(),
        ]
    }

    /// On one line of JSON, with its end.
    pub fn to_json(&self) -> String {
        json::compact(self).unwrap_or_default() + "\n"
    }

    /// Of one line of JSON.
    pub fn of_json(line: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(line)
    }
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Comma-separated values (RFC 4180).
    Csv,
    /// A table of Markdown.
    Markdown,
    /// A page.
    Html,
    /// An array of objects.
    Json,
}

const HTML_HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>pmirror: results\
                         </title>\n<style>table { border-collapse: collapse } td, th { border: 1px solid #999; padding: \
                         2px 6px; text-align: left } tr.failed { background: #fdd }</style>\n</head>\n<body>\n<table>\n";

impl Form {
    /// The form that the ending of a name asks for.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension().and_then(OsStr::to_str)? {
            "csv" => Some(Form::Csv),
            "md" => Some(Form::Markdown),
            "html" => Some(Form::Html),
            "json" => Some(Form::Json),
            _ => None,
        }
    }

    /// Before the first row.
    pub fn head(self) -> String {
        match self {
            Form::Csv => csv_line(&COLUMNS.map(str::to_owned)),
            Form::Markdown => {
                format!("{}{}", markdown_line(&COLUMNS.map(str::to_owned)), "|---".repeat(COLUMNS.len()) + "|\n")
            }
            Form::Html => HTML_HEAD.to_owned() + &html_line("<tr>", "th", &COLUMNS.map(str::to_owned)),
            Form::Json => "[".to_owned(),
        }
    }

    /// A row.
    pub fn row(self, row: &Row, is_first: bool) -> String {
        match self {
            Form::Csv => csv_line(&row.cells().map(defused)),
            Form::Markdown => markdown_line(&row.cells()),
            Form::Html => {
                let opening = if row.success { "<tr>" } else { "<tr class=\"failed\">" };
                html_line(opening, "td", &row.cells())
            }
            Form::Json => {
                let before = if is_first { "\n" } else { ",\n" };
                before.to_owned() + row.to_json().trim_end()
            }
        }
    }

    /// After the last row: the file is whole after each.
    pub fn foot(self) -> &'static str {
        match self {
            Form::Csv | Form::Markdown => "",
            Form::Html => "</table>\n</body>\n</html>\n",
            Form::Json => "\n]\n",
        }
    }
}

/// A spreadsheet takes what begins like this for a formula: whoever names a directory could have it do things.
fn defused(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell }
}

fn csv_line(cells: &[String]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Into memory: that does not fail.
    let _ = writer.write_record(cells);
    writer.into_inner().map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn markdown_line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| markdown(cell)).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// A name is no markup, and no end of a cell.
fn markdown(cell: &str) -> String {
    let mut text = String::with_capacity(cell.len());
    for letter in cell.chars() {
        if matches!(letter, '\\' | '|' | '`' | '*' | '_' | '<' | '>' | '[' | ']' | '~' | '#' | '&') {
            text.push('\\');
        }
        text.push(if letter == '\n' { ' ' } else { letter });
    }
    text
}

fn html_line(opening: &str, cell: &str, cells: &[String]) -> String {
    let cells: Vec<String> =
        cells.iter().map(|text| format!("<{cell}>{}</{cell}>", html_escape::encode_safe(text))).collect();
    format!("{opening}{}</tr>\n", cells.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            id: "task-0007".to_owned(),
            source: "=cmd|'/c calc'!A0".to_owned(),
            target: "/a,\"b\"|<script>".to_owned(),
            ..Row::default()
        }
    }

    #[test]
    fn a_name_is_no_formula_no_markup_and_no_end_of_a_cell() {
        assert!(Form::Csv.row(&row(), true).starts_with("task-0007,0,'=cmd|'/c calc'!A0,\"/a,\"\"b\"\"|<script>\","));
        assert!(Form::Markdown.row(&row(), true).contains(r#"| /a,"b"\|\<script\> |"#));
        let html = Form::Html.row(&row(), true);
        assert!(!html.contains("<script>") && html.starts_with("<tr class=\"failed\">"), "{html}");
    }

    #[test]
    fn json_is_an_array_after_each_row() {
        let mut text = Form::Json.head();
        for count in 1..4 {
            text.push_str(&Form::Json.row(&row(), count == 1));
            let rows: Vec<Row> = serde_json::from_str(&(text.clone() + Form::Json.foot())).unwrap();
            assert_eq!(rows, vec![row(); count]);
        }
        assert_eq!(serde_json::from_str::<Vec<Row>>(&(Form::Json.head() + Form::Json.foot())).unwrap(), []);
    }

    #[test]
    fn the_ending_of_a_name_says_the_form() {
        let form = |name: &str| Form::of(Path::new(name));
        assert_eq!(
            [form("a.csv"), form("b.x.json"), form("csv"), form("a.txt")],
            [Some(Form::Csv), Some(Form::Json), None, None]
        );
    }
}
