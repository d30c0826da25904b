//! The book: every page of docs/ has its place in it, and every link of a page leads to a heading that is there.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::{assert_tidy, files, repository};

const SUMMARY: &str = "docs/SUMMARY.md";

fn read(path: &Path) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_default()
}

/// The links of a page that lead into the repository: the file and the heading, from its top.
fn links(path: &Path) -> Vec<(PathBuf, String)> {
    let text = read(path);
    let inner = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
    let inner = inner.filter(|link| !link.contains("://"));
    let split = inner.map(|link| link.split_once('#').unwrap_or((link, "")));
    split.map(|(file, heading)| (place(path, file), heading.to_owned())).collect()
}

/// Where a link of a page leads: `docs/a.md` and `../b` to `b`.
fn place(page: &Path, link: &str) -> PathBuf {
    if link.is_empty() {
        return page.to_path_buf();
    }
    let mut place = page.parent().unwrap_or(Path::new("")).to_path_buf();
    for component in Path::new(link).components() {
        match component {
            Component::ParentDir => drop(place.pop()),
            other => place.push(other),
        }
    }
    place
}

/// The headings of a page, as forges and mdBook name them.
fn headings(path: &Path) -> BTreeSet<String> {
    let name = |heading: &str| -> String {
        let kept = |letter: &char| letter.is_alphanumeric() || ['-', '_', ' '].contains(letter);
        heading.trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
    };
    let text = read(path);
    text.lines().filter(|line| line.starts_with('#')).map(|line| name(line.trim_start_matches('#'))).collect()
}

fn pages() -> Vec<PathBuf> {
    files().into_iter().filter(|path| path.ends_with(".md")).map(PathBuf::from).collect()
}

#[test]
fn every_page_has_its_place_in_the_book() {
    let listed: BTreeSet<PathBuf> = links(Path::new(SUMMARY)).into_iter().map(|(page, _)| page).collect();
    let is_page = |page: &PathBuf| page.starts_with("docs") && page.as_path() != Path::new(SUMMARY);
    let missing = pages().into_iter().filter(is_page).filter(|page| !listed.contains(page));
    assert_tidy(missing.map(|page| format!("{}: give it a line in {SUMMARY}", page.display())).collect());
}

#[test]
fn every_link_to_a_heading_leads_to_one() {
    let mut complaints = Vec::new();
    for page in pages() {
        let to_pages = links(&page).into_iter().filter(|(to, _)| to.extension().is_some_and(|ending| ending == "md"));
        for (to, heading) in to_pages.filter(|(_, heading)| !heading.is_empty()) {
            if !headings(&to).contains(&heading) {
                complaints.push(format!("{}: {} has no heading #{heading}", page.display(), to.display()));
            }
        }
    }
    assert_tidy(complaints);
}
