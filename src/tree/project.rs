//! Project ids: what of the source's a target entry is to have.

use super::attributes::Kind;

/// The project of a directory or file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Project {
    /// Its number; 0, none.
    pub id: u32,
    /// New entries of the directory get the number, and the flag.
    pub inherits: bool,
}

/// The project that a target entry is to get; `None`: it is right as it is.
///
/// An entry without a project leaves the target's alone: what it inherits from DST is the quota that
/// the owner of DST counts by, and a file system that can not keep projects says 0 of all.
pub fn wanted(kind: Kind, source: Project, target: Project) -> Option<Project> {
    let is_directory = kind == Kind::Directory;
    let meant = Project { id: source.id, inherits: source.inherits && is_directory };
    if meant == Project::default() {
        return None;
    }
    let has = Project { id: target.id, inherits: target.inherits && is_directory };
    (meant != has).then_some(meant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn project() -> impl Strategy<Value = Project> {
        (0u32..3, any::<bool>()).prop_map(|(id, inherits)| Project { id, inherits })
    }

    fn kind() -> impl Strategy<Value = Kind> {
        proptest::sample::select(vec![Kind::File, Kind::Directory])
    }

    proptest! {
        #[test]
        fn once_set_nothing_is_left_to_set(kind in kind(), source in project(), target in project()) {
            if let Some(meant) = wanted(kind, source, target) {
                prop_assert_eq!(wanted(kind, source, meant), None);
            }
        }

        #[test]
        fn no_project_of_the_target_is_taken_away(kind in kind(), target in project()) {
            prop_assert_eq!(wanted(kind, Project::default(), target), None);
        }
    }

    #[test]
    fn the_flag_is_for_directories() {
        let (source, target) = (Project { id: 7, inherits: true }, Project { id: 7, inherits: false });
        assert_eq!(wanted(Kind::Directory, source, target), Some(source));
        assert_eq!(wanted(Kind::File, source, target), None);
    }
}
