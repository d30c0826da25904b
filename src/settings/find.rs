//! Which file it is: the one that was named, or the first of those that are looked for. It is the only one that counts.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::{Settings, read};
use crate::fault::Error;
use crate::fs::operator;
use crate::fs::trusted::{self, Distrust, Place};
use crate::tree::path::escaped;

/// In the place of a file: none at all.
const NONE: &str = "none";

/// More than anybody writes.
const BYTES_MAX: u64 = 1 << 20;

/// Where the file is looked for, if none is named.
fn places() -> Vec<PathBuf> {
    let home = operator::home().map(|home| {
        use std::os::unix::ffi::OsStringExt;
        PathBuf::from(std::ffi::OsString::from_vec(home)).join(".config/pmirror/pmirror.toml")
    });
    let places = [Some("./pmirror.toml".into()), home, Some("/etc/pmirror.toml".into())];
    places.into_iter().flatten().collect()
}

/// The same for people.
pub fn places_shown() -> String {
    places().iter().map(|path| shown(path)).collect::<Vec<_>>().join(", ")
}

fn shown(path: &Path) -> String {
    escaped(path.as_os_str().as_encoded_bytes())
}

/// Finds the file and reads it. `named`: `--config`, or its variable.
pub fn find(named: Option<&OsStr>) -> Result<Settings, Error> {
    match named {
        Some(named) if named == NONE => Ok(Settings::default()),
        Some(named) => match trusted::read(Path::new(named), BYTES_MAX, Place::Named) {
            Err(Distrust::Missing) => {
                let named = escaped(named.as_encoded_bytes());
                let text = format!("{named}, which --config or PMIRROR_CONFIG names, is not there");
                Err(Error::Usage(text))
            }
            content => settings(Path::new(named), content),
        },
        None => {
            let contents = places().into_iter().map(|path| {
                let content = trusted::read(&path, BYTES_MAX, Place::Found);
                (path, content)
            });
            let mut there = contents.filter(|(_, content)| !matches!(content, Err(Distrust::Missing)));
            there.next().map_or_else(|| Ok(Settings::default()), |(path, content)| settings(&path, content))
        }
    }
}

fn settings(path: &Path, content: Result<Vec<u8>, Distrust>) -> Result<Settings, Error> {
    let file = shown(path);
    let remedy = "or name another with --config, or none with --config none";
    match content {
        Ok(text) => read(&text, &file, &directory(path)),
        Err(Distrust::Missing) => Ok(Settings::default()),
        Err(Distrust::Unreadable(error)) => {
            Err(Error::Usage(format!("{file} can not be read: {error}; give us leave to, {remedy}")))
        }
        Err(Distrust::Refused(why)) => Err(Error::Refused(format!("{file} is not read: {why}; {remedy}"))),
    }
}

/// The directory of the file, absolute.
fn directory(file: &Path) -> Vec<u8> {
    let above = file.parent().unwrap_or(Path::new("")).as_os_str().as_encoded_bytes();
    let above = above.strip_prefix(b"./").unwrap_or(if above == b"." { b"" } else { above });
    let working = || operator::working_directory().unwrap_or_default();
    match above {
        b"" => working(),
        [b'/', ..] => above.strip_suffix(b"/").unwrap_or(above).to_vec(),
        _ => [working().as_slice(), above].join(&b'/'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_in_a_file_count_from_its_directory() {
        let here = operator::working_directory().unwrap();
        for (file, expected) in [
            ("/etc/pmirror.toml", b"/etc".to_vec()),
            ("/pmirror.toml", b"".to_vec()),
            ("./pmirror.toml", here.clone()),
            ("pmirror.toml", here.clone()),
            ("a/b.toml", [here.as_slice(), b"a"].join(&b'/')),
        ] {
            assert_eq!(directory(Path::new(file)), expected, "{file}");
        }
    }
}
