//! The nearest right word for a wrong one.

/// As near as clap wants it for its own hints.
const LIKENESS_MIN: f64 = 0.7;

/// The known word that is nearest, if one is near.
pub fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let like = |known: &'w str| (strsim::jaro_winkler(&word.replace('_', "-"), known), known);
    let near = known.into_iter().map(like).filter(|(likeness, _)| *likeness > LIKENESS_MIN);
    near.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

/// The end of a message about a wrong word: the nearest, or all that there are.
pub fn hint<'w>(word: &str, known: impl IntoIterator<Item = &'w str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are {}", known.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_has_a_nearest_word_and_nonsense_has_none() {
        let known = ["exclude", "exclude-from", "include", "dry-run"];
        assert_eq!(nearest("exlude", known), Some("exclude"));
        assert_eq!(nearest("dry_run", known), Some("dry-run"));
        assert_eq!(nearest("qqq", known), None);
        assert_eq!(hint("qqq", ["a", "b"]), "there are a, b");
    }
}
