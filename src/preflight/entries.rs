//! Whether DST holds what entries have beside their content: attributes, ACLs, owners, types.

use super::facts::{Kept, Trials};
use super::{Finding, counted, lack, plural};
use crate::tree::Kind;
use crate::tree::census::{Census, Trouble};

/// `user.*`, and what is lost without an error.
pub fn xattrs(trials: &Trials, kept: Kept, census: Option<&Census>) -> Finding {
    let check = "xattrs";
    if !kept.xattrs {
        return not_asked(check, "--no-xattrs");
    }
    let has = counted(census, |census| census.cases(Trouble::Xattrs));
    let remedy = "without them: --no-xattrs";
    match &trials.xattr {
        Err(why) => lack(check, format!("DST takes no extended attributes: {why}"), has, remedy),
        Ok(_) if trials.forgets_xattrs => {
            lack(check, "DST loses extended attributes without an error".to_owned(), has, remedy)
        }
        Ok(max) => match census.map(|census| census.most.xattr.value) {
            Some(largest) if largest > *max => Finding::no_go(
                check,
                format!("DST takes extended attributes of {max} bytes, SRC has one of {largest}"),
                "leave the entry out with --exclude, or all of them with --no-xattrs",
            ),
            _ => Finding::good(check, format!("DST takes extended attributes of {max} bytes")),
        },
    }
}

/// What only root may set: `trusted.*` and file capabilities.
pub fn privileged(trials: &Trials, kept: Kept, census: Option<&Census>) -> Vec<Finding> {
    if !kept.xattrs {
        return Vec::new();
    }
    let has = counted(census, |census| census.cases(Trouble::RootsXattrs));
    if !trials.is_root {
        let what = "attributes of root (trusted.*, file capabilities) are not copied by other users";
        return vec![if has == Some(0) {
            Finding::good("xattrs_of_root", format!("{what}; SRC has no capabilities, and users do not see trusted.*"))
        } else {
            Finding::warning("xattrs_of_root", what, "run as root, if they matter")
        }];
    }
    let remedy = "without them: --no-xattrs";
    let one = |check, name, tried: &Result<(), String>| match tried {
        Ok(()) => Finding::good(check, format!("DST takes {name}")),
        Err(why) => lack(check, format!("DST takes no {name}: {why}"), has, remedy),
    };
    vec![one("trusted", "trusted.*", &trials.trusted), one("capabilities", "file capabilities", &trials.capability)]
}

/// Bytes of an ACL of so many entries (posix_acl_xattr.h).
fn acl_bytes(entries: u64) -> u64 {
    4 + 8 * entries
}

/// ACLs.
pub fn acls(trials: &Trials, kept: Kept, census: Option<&Census>) -> Finding {
    let check = "acls";
    if !kept.acls {
        return not_asked(check, "--no-acls");
    }
    let has = counted(census, |census| census.cases(Trouble::Acl));
    match (&trials.acl, census.map(|census| census.most.acl.value)) {
        (Err(why), _) => lack(check, format!("DST takes no ACLs: {why}"), has, "without them: --no-acls"),
        (Ok(entries), Some(bytes)) if bytes > acl_bytes(*entries) => Finding::no_go(
            check,
            format!("DST takes ACLs of {entries} entries, SRC has one of {}", (bytes - 4) / 8),
            "shorten it, or leave all out with --no-acls",
        ),
        (Ok(entries), _) => Finding::good(check, format!("DST takes ACLs of {entries} entries or more")),
    }
}

fn not_asked(check: &'static str, option: &str) -> Finding {
    Finding::good(check, format!("not asked for ({option})"))
}

/// Whose files will be.
pub fn owner(trials: &Trials, kept: Kept, census: Option<&Census>) -> Finding {
    let check = "owner";
    if !kept.owner {
        return not_asked(check, "--no-owner");
    }
    if trials.chown {
        return Finding::good(check, "files can be given to any owner");
    }
    if trials.is_root {
        let what = match trials.made_for {
            Some(uid) => format!("root is nobody special on DST (root squash): what it makes belongs to user {uid}"),
            None => "DST lets root give no file to another owner".to_owned(),
        };
        let remedy = "export DST with no_root_squash, or run without owners: --no-owner";
        return Finding::no_go(check, what, remedy);
    }
    let foreign = counted(census, |census| census.cases(Trouble::Foreign));
    let what = "only root gives files to others: all that is made will be yours";
    if foreign == Some(0) {
        return Finding::good(check, "all entries of SRC are yours");
    }
    let what = match foreign {
        Some(n) => format!("{what}; SRC has {}", plural(n, "entry of another", "entries of others")),
        None => what.to_owned(),
    };
    Finding::warning(check, what, "run as root, if SRC has entries of others and that matters")
}

/// FIFOs, sockets and devices.
pub fn specials(trials: &Trials, kept: Kept, census: Option<&Census>) -> Vec<Finding> {
    if !kept.specials {
        return vec![not_asked("specials", "--no-specials")];
    }
    let of = |kinds: &[Kind]| counted(census, |census| kinds.iter().map(|&kind| census.of_kind(kind)).sum());
    let one = |check, name, tried: &Result<(), String>, has| match tried {
        Ok(()) => Finding::good(check, format!("{name} can be made")),
        Err(why) => lack(check, format!("{name} can not be made: {why}"), has, "skip them: --no-specials"),
    };
    vec![
        one("fifos", "FIFOs and sockets", &trials.fifo, of(&[Kind::Fifo, Kind::Socket])),
        one("devices", "devices", &trials.device, of(&[Kind::CharacterDevice, Kind::BlockDevice])),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::preflight::Verdict;
    use crate::tree::TimeLimits;
    use crate::tree::census::{Largest, Most};

    /// A target that holds everything.
    pub fn able() -> Trials {
        Trials {
            is_root: true,
            made_for: None,
            chown: true,
            times: TimeLimits::EXACT,
            folds_case: false,
            name_bytes_max: 255,
            names: Default::default(),
            symlink: Ok(4_095),
            hard_link: Ok(()),
            links_max: Some(65_000),
            rename: Ok(()),
            xattr: Ok(4_000),
            forgets_xattrs: false,
            trusted: Ok(()),
            capability: Ok(()),
            acl: Ok(500),
            fifo: Ok(()),
            device: Ok(()),
            file_bytes_max: i64::MAX as u64,
            keeps_holes: true,
            engine: None,
        }
    }

    pub const ALL: Kept = Kept { owner: true, times: true, xattrs: true, acls: true, hard_links: true, specials: true };

    fn no<T>() -> Result<T, String> {
        Err("Operation not supported".to_owned())
    }

    fn of(trials: &Trials, kept: Kept, census: Option<&Census>) -> Vec<(&'static str, Verdict)> {
        let mut all = vec![xattrs(trials, kept, census), acls(trials, kept, census), owner(trials, kept, census)];
        all.extend(privileged(trials, kept, census));
        all.extend(specials(trials, kept, census));
        let bad = all.into_iter().filter(|found| found.verdict != Verdict::Good);
        bad.map(|found| (found.check, found.verdict)).collect()
    }

    fn poor() -> Trials {
        Trials { xattr: no(), trusted: no(), capability: no(), acl: no(), fifo: no(), device: no(), ..able() }
    }

    #[test]
    fn what_dst_lacks_is_a_warning_and_a_no_go_where_src_has_it() {
        use Verdict::{NoGo, Warning};
        assert_eq!(of(&able(), ALL, None), []);
        let checks = ["xattrs", "acls", "trusted", "capabilities", "fifos", "devices"];
        assert_eq!(of(&poor(), ALL, None), checks.map(|check| (check, Warning)));
        assert_eq!(of(&poor(), ALL, Some(&Census::default())), []);
        let mut census = Census::default();
        census.find(Trouble::Acl, &crate::tree::TreePath::root());
        census.kinds[Kind::Fifo as usize] = 2;
        assert_eq!(of(&poor(), ALL, Some(&census)), [("acls", NoGo), ("fifos", NoGo)]);
    }

    #[test]
    fn what_is_not_asked_for_is_not_lacked() {
        let none = Kept { owner: false, times: false, xattrs: false, acls: false, hard_links: false, specials: false };
        let squashed = Trials { chown: false, ..poor() };
        assert_eq!(of(&squashed, none, None), []);
    }

    #[test]
    fn root_that_may_give_no_file_away_is_squashed_and_others_are_told() {
        let root = Trials { chown: false, made_for: Some(65_534), ..able() };
        let found = owner(&root, ALL, None);
        assert!(found.verdict == Verdict::NoGo && found.what.contains("65534"), "{found:?}");
        let user = Trials { is_root: false, ..root };
        assert_eq!(owner(&user, ALL, None).verdict, Verdict::Warning);
        assert_eq!(owner(&user, ALL, Some(&Census::default())).verdict, Verdict::Good);
        assert_eq!(privileged(&user, ALL, None)[0].verdict, Verdict::Warning);
    }

    #[test]
    fn values_that_are_larger_than_dst_takes_are_a_no_go() {
        let most = |value| Most { value, ..Most::default() };
        let census = |xattr, acl| Census {
            most: Largest { xattr: most(xattr), acl: most(acl), ..Largest::default() },
            ..Census::default()
        };
        assert_eq!(of(&able(), ALL, Some(&census(4_000, 4_004))), []);
        let larger = census(4_001, 4_012);
        assert_eq!(of(&able(), ALL, Some(&larger)), [("xattrs", Verdict::NoGo), ("acls", Verdict::NoGo)]);
    }
}
