//! Whether DST holds the names of SRC.

use super::facts::Trials;
use super::{Finding, Verdict, counted, lack};
use crate::tree::census::{Census, Class, Trouble};

/// How long they may be. `source_max`: what SRC's file system takes.
pub fn length(trials: &Trials, source_max: u64, census: Option<&Census>) -> Finding {
    let check = "name_length";
    let max = trials.name_bytes_max;
    let longest = census.map(|census| census.most.name.value);
    let remedy = "rename what is longer, or leave it out with --exclude";
    match longest {
        Some(longest) if longest > max => {
            Finding::no_go(check, format!("DST takes names of {max} bytes, SRC has one of {longest}"), remedy)
        }
        Some(longest) => {
            Finding::good(check, format!("DST takes names of {max} bytes, the longest in SRC has {longest}"))
        }
        None if source_max > max => {
            Finding::warning(check, format!("DST takes names of {max} bytes, SRC of {source_max}"), remedy)
        }
        None => Finding::good(check, format!("DST takes names of {max} bytes, as SRC does")),
    }
}

/// Upper and lower case.
pub fn case(trials: &Trials, census: Option<&Census>) -> Finding {
    let check = "case";
    if !trials.folds_case {
        return Finding::good(check, "DST tells upper from lower case");
    }
    let what = "DST takes names for one that differ only in case".to_owned();
    let remedy = "rename one of each two, or take a DST that tells them apart; else one of them is a fault";
    lack(check, what, counted(census, |census| census.cases(Trouble::Folds)), remedy)
}

/// Bytes that some file systems do not take in names.
pub fn bytes(trials: &Trials, census: Option<&Census>) -> Vec<Finding> {
    let check = "name_bytes";
    if trials.names.is_empty() {
        return vec![Finding::good(check, "DST keeps names of any bytes as they are")];
    }
    let remedy = "rename them, or leave them out with --exclude";
    let one = |(class, how): (&Class, &String)| {
        let what = format!("DST does not keep {}: {how}", class.text());
        lack(check, what, counted(census, |census| census.cases(Trouble::Name(*class))), remedy)
    };
    trials.names.iter().map(one).collect()
}

/// Symbolic links.
pub fn symlinks(trials: &Trials, census: Option<&Census>) -> Finding {
    let check = "symlinks";
    let longest = census.map(|census| census.most.symlink.value);
    match &trials.symlink {
        Err(why) => {
            let has = counted(census, |census| census.of_kind(crate::tree::Kind::Symlink));
            lack(check, format!("DST has no symbolic links: {why}"), has, "leave them out with --exclude")
        }
        Ok(max) if longest.is_some_and(|longest| longest > *max) => {
            let what =
                format!("DST takes symbolic links of {max} bytes, SRC has one of {}", longest.unwrap_or_default());
            Finding::no_go(check, what, "leave it out with --exclude, or shorten it")
        }
        Ok(max) => Finding::good(check, format!("DST takes symbolic links of {max} bytes")),
    }
}

/// Further names of one file.
pub fn hard_links(trials: &Trials, is_asked: bool, census: Option<&Census>) -> Finding {
    let check = "hard_links";
    if !is_asked {
        return Finding::good(check, "not asked for: each name becomes a file of its own");
    }
    let most = census.map(|census| census.most.links.value);
    let apart = "each name becomes a file of its own, which takes more room; nothing is lost";
    match (&trials.hard_link, trials.links_max, most) {
        (Err(why), _, Some(0 | 1)) => Finding::good(check, format!("DST has no hard links ({why}), and SRC has none")),
        (Err(why), _, _) => Finding::warning(check, format!("DST has no hard links: {why}"), apart),
        (Ok(()), Some(max), Some(most)) if most > max => {
            Finding::warning(check, format!("DST gives a file {max} names, SRC has one with {most}"), apart)
        }
        (Ok(()), Some(max), _) => Finding::good(check, format!("DST gives a file up to {max} names")),
        (Ok(()), None, _) => Finding::good(check, "DST has hard links"),
    }
}

/// Renaming: replaced files come by it.
pub fn rename(trials: &Trials) -> Finding {
    match &trials.rename {
        Ok(()) => Finding::good("rename", "a file can be renamed over another"),
        Err(why) => Finding::new(
            "rename",
            Verdict::NoGo,
            format!("no file can be renamed over another: {why}"),
            "files that changed can not be replaced on this DST: take another",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::entries::tests::able;
    use crate::tree::census::{Largest, Most};

    fn census(most: Largest, trouble: Option<Trouble>) -> Census {
        let mut census = Census { most, ..Census::default() };
        trouble.into_iter().for_each(|trouble| census.find(trouble, &crate::tree::TreePath::root()));
        census
    }

    fn most(value: u64) -> Most {
        Most { value, ..Most::default() }
    }

    #[test]
    fn a_name_that_is_too_long_is_a_no_go_once_it_was_seen() {
        let short = Trials { name_bytes_max: 143, ..able() };
        assert_eq!(length(&able(), 255, None).verdict, Verdict::Good);
        assert_eq!(length(&short, 255, None).verdict, Verdict::Warning);
        let has = |value| Some(census(Largest { name: most(value), ..Largest::default() }, None));
        assert_eq!(length(&short, 255, has(143).as_ref()).verdict, Verdict::Good);
        assert_eq!(length(&short, 255, has(144).as_ref()).verdict, Verdict::NoGo);
    }

    #[test]
    fn names_that_fold_or_are_refused_count_where_src_has_them() {
        let poor = Trials { folds_case: true, names: [(Class::Punctuation, "refused".to_owned())].into(), ..able() };
        let (none, folds) = (census(Largest::default(), None), census(Largest::default(), Some(Trouble::Folds)));
        let verdicts = |census: Option<&Census>| (case(&poor, census).verdict, bytes(&poor, census)[0].verdict);
        assert_eq!(verdicts(None), (Verdict::Warning, Verdict::Warning));
        assert_eq!(verdicts(Some(&none)), (Verdict::Good, Verdict::Good));
        assert_eq!(verdicts(Some(&folds)), (Verdict::NoGo, Verdict::Good));
        let colon = census(Largest::default(), Some(Trouble::Name(Class::Punctuation)));
        assert_eq!(verdicts(Some(&colon)), (Verdict::Good, Verdict::NoGo));
        assert_eq!((case(&able(), None).verdict, bytes(&able(), None).len()), (Verdict::Good, 1));
    }

    #[test]
    fn links_that_can_not_be_had_are_told() {
        let without = Trials { symlink: Err("no".into()), hard_link: Err("no".into()), ..able() };
        assert_eq!(
            (symlinks(&without, None).verdict, hard_links(&without, true, None).verdict),
            (Verdict::Warning, Verdict::Warning)
        );
        assert_eq!(hard_links(&without, false, None).verdict, Verdict::Good);
        let few = Trials { links_max: Some(10), symlink: Ok(1_023), ..able() };
        let many = census(Largest { links: most(11), symlink: most(2_000), ..Largest::default() }, None);
        assert_eq!(
            (symlinks(&few, Some(&many)).verdict, hard_links(&few, true, Some(&many)).verdict),
            (Verdict::NoGo, Verdict::Warning)
        );
        assert_eq!(rename(&Trials { rename: Err("no".into()), ..able() }).verdict, Verdict::NoGo);
    }
}
