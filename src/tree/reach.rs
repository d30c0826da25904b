//! Who gets to a directory, by the modes of all that lie above it.

use super::path::escaped;

/// A directory on the way from the root directory to DST, DST included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// Its absolute path.
    pub path: Vec<u8>,
    /// The low 12 bits.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// It has an access ACL, which may let more users in.
    pub has_acl: bool,
    /// It is reached through the same mount as DST: every node finds it there. What lies above a mount point may differ from
    /// node to node.
    pub on_mount: bool,
}

/// Who gets to DST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Every user, as far as the modes tell. DST's own mode.
    Everybody(u32),
    /// Some: those that this directory lets in.
    Some(Closed, Vec<Who>),
    /// Root and we, as this directory is closed.
    Nobody(Closed),
    /// Likewise, but it lies above the mount point.
    NobodyHere(Closed),
}

/// A directory that does not let everybody in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    path: String,
    mode: u32,
}

/// Whom a directory lets in that is not open to all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Its owner, who is neither root nor we.
    Owner(u32),
    /// Its group.
    Group(u32),
    /// Whom its ACL names.
    Acl,
}

const SEARCH: u32 = 0o1;

/// Judges the way to DST, from the root directory down; `us`: the user that we are. A directory that lets some in
/// counts as if all of them got as far as to it.
pub fn judge(gates: &[Gate], us: u32) -> Reach {
    let closed = |gate: &Gate| Closed { path: escaped(&gate.path), mode: gate.mode };
    // The nearest to DST is the one that a person thinks of.
    let shut: Vec<(&Gate, Vec<Who>)> =
        gates.iter().rev().filter(|gate| gate.mode & SEARCH == 0).map(|gate| (gate, let_in(gate, us))).collect();
    let for_us_alone = |on_mount: bool| shut.iter().find(|(gate, who)| who.is_empty() && gate.on_mount == on_mount);
    if let Some((gate, _)) = for_us_alone(true) {
        return Reach::Nobody(closed(gate));
    }
    if let Some((gate, who)) = shut.iter().find(|(gate, _)| gate.on_mount) {
        return Reach::Some(closed(gate), who.clone());
    }
    match (for_us_alone(false), shut.first()) {
        (Some((gate, _)), _) => Reach::NobodyHere(closed(gate)),
        (None, Some((gate, who))) => Reach::Some(closed(gate), who.clone()),
        (None, None) => Reach::Everybody(gates.last().map_or(0, |gate| gate.mode)),
    }
}

/// The owner may always open his directory to himself. Where there is an ACL, the bits of the group are its mask
/// (acl(5)).
fn let_in(gate: &Gate, us: u32) -> Vec<Who> {
    let is_foreign = gate.uid != 0 && gate.uid != us;
    let mask_lets_in = gate.mode & (SEARCH << 3) != 0;
    let others = if gate.has_acl { Who::Acl } else { Who::Group(gate.gid) };
    is_foreign.then_some(Who::Owner(gate.uid)).into_iter().chain(mask_lets_in.then_some(others)).collect()
}

impl Reach {
    /// Whether users get to DST: `all`, `some`, `none`, or `none_here` where that is known of this node alone.
    pub fn word(&self) -> &'static str {
        match self {
            Reach::Everybody(_) => "all",
            Reach::Some(..) => "some",
            Reach::Nobody(_) => "none",
            Reach::NobodyHere(_) => "none_here",
        }
    }

    /// A line for people, with the remedy where there need be one. `us`: the user that we are.
    pub fn text(&self, us: u32) -> String {
        let we = if us == 0 { "only root".to_owned() } else { format!("only root and user {us}") };
        match self {
            Reach::Everybody(mode) => format!(
                "users can reach DST while it is written: DST (mode {mode:04o}) and all above it are open to others; \
                 until the run is over chmod 0700 a directory above"
            ),
            Reach::Some(Closed { path, mode }, who) => format!(
                "some users can reach DST while it is written: {path} (mode {mode:04o}) lets in {}; until the run is \
                 over chmod 0700 it",
                names(who)
            ),
            Reach::Nobody(Closed { path, mode }) => {
                format!("{we} can reach DST while it is written: {path} has mode {mode:04o}")
            }
            Reach::NobodyHere(Closed { path, mode }) => format!(
                "{we} can reach DST on this node while it is written: {path} has mode {mode:04o}, but lies above the mount \
                 point; other nodes may differ"
            ),
        }
    }
}

fn names(who: &[Who]) -> String {
    let name = |who: &Who| match who {
        Who::Owner(uid) => format!("user {uid}"),
        Who::Group(gid) => format!("group {gid}"),
        Who::Acl => "whom its ACL names".to_owned(),
    };
    who.iter().map(name).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u32 = 1000;

    fn gate(path: &str, mode: u32) -> Gate {
        Gate { path: path.into(), mode, uid: 0, gid: 7, has_acl: false, on_mount: true }
    }

    fn reach(gates: &[Gate]) -> String {
        judge(gates, US).text(US)
    }

    #[test]
    fn a_way_that_is_open_to_others_is_open_to_all_and_the_remedy_is_named() {
        let text = reach(&[gate("/", 0o755), gate("/data", 0o711), gate("/data/mirror", 0o775)]);
        assert!(text.starts_with("users can reach DST") && text.contains("(mode 0775)"), "{text}");
        assert!(text.contains("chmod 0700"), "{text}");
    }

    #[test]
    fn one_closed_directory_anywhere_on_the_way_keeps_all_out() {
        for closed in 0..3 {
            let mut gates = [gate("/", 0o755), gate("/data", 0o755), gate("/data/mirror", 0o755)];
            gates[closed].mode = 0o700;
            let expected = Reach::Nobody(Closed { path: escaped(&gates[closed].path), mode: 0o700 });
            assert_eq!(judge(&gates, US), expected);
        }
    }

    #[test]
    fn our_own_closed_directory_keeps_the_others_out_and_anothers_does_not_keep_him_out() {
        let ours = Gate { uid: US, ..gate("/data", 0o700) };
        assert_eq!(judge(&[gate("/", 0o755), ours], US).word(), "none");
        let foreign = Gate { uid: 2000, ..gate("/data", 0o700) };
        let text = reach(&[gate("/", 0o755), foreign]);
        assert!(text.starts_with("some users") && text.contains("lets in user 2000;"), "{text}");
    }

    #[test]
    fn a_group_and_an_acl_let_some_in_unless_another_directory_is_closed() {
        let (group, acl) = (gate("/data", 0o750), Gate { has_acl: true, ..gate("/data", 0o710) });
        assert!(reach(std::slice::from_ref(&group)).contains("group 7"));
        assert!(reach(std::slice::from_ref(&acl)).contains("its ACL"));
        assert_eq!(judge(&[gate("/", 0o700), group], US).word(), "none");
        // The mask of the ACL lets nobody search.
        assert_eq!(judge(&[Gate { mode: 0o700, ..acl }], US).word(), "none");
    }

    #[test]
    fn what_is_closed_above_the_mount_point_is_so_on_this_node_only() {
        let above = Gate { on_mount: false, ..gate("/mnt", 0o700) };
        assert_eq!(judge(&[above.clone(), gate("/mnt/fs", 0o755)], US).word(), "none_here");
        assert_eq!(judge(&[above.clone(), gate("/mnt/fs", 0o750)], US).word(), "some");
        assert_eq!(judge(&[above, gate("/mnt/fs", 0o700)], US).word(), "none");
    }
}
