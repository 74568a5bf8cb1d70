//! External extensions: the files of `/opt/extensions`, and what their programs get to see.

use std::fs;
use std::path::Path;

/// Where they are inside.
pub const DIRECTORY: &str = "/opt/extensions";

/// Variables of the runtime that extensions do not see. AWS: these, and those with a leading `_`.
const HIDDEN: [&str; 7] = [
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_XRAY_CONTEXT_MISSING",
    "AWS_XRAY_DAEMON_ADDRESS",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];

/// The variables of an extension, of those of its runtime.
pub fn variables(runtime: &[(String, String)]) -> Vec<(String, String)> {
    let seen = |name: &str| !name.starts_with('_') && !HIDDEN.contains(&name);
    runtime.iter().filter(|(name, _)| seen(name)).cloned().collect()
}

/// The names of the extensions below `opt`, which shows as `/opt`; sorted, and at most one more
/// than `most`. Directories are none, and a link in place of the directory itself leads nowhere: it
/// would be followed here, on the host.
pub fn names(opt: &Path, most: usize) -> Vec<String> {
    let directory = opt.join("extensions");
    let is_directory = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    if !is_directory(opt) || !is_directory(&directory) {
        return Vec::new();
    }
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_dir()));
    // A name that no header can carry cannot register, and has no place in a line of the log.
    let plain = |name: &String| !name.contains(|c: char| c.is_control());
    let names = files.filter_map(|entry| entry.file_name().into_string().ok()).filter(plain);
    let mut names: Vec<_> = names.collect();
    names.sort();
    names.truncate(most + 1);
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_are_extensions_and_directories_are_not() {
        let opt = tempfile::tempdir().unwrap();
        assert_eq!(names(opt.path(), 10), [""; 0]);
        let directory = opt.path().join("extensions");
        fs::create_dir_all(directory.join("lib")).unwrap();
        for name in ["b", "a", "c", "a\nb"] {
            fs::write(directory.join(name), "").unwrap();
        }
        assert_eq!(names(opt.path(), 10), ["a", "b", "c"]);
        assert_eq!(names(opt.path(), 1), ["a", "b"]);
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(&directory, elsewhere.path().join("extensions")).unwrap();
        assert_eq!(names(elsewhere.path(), 10), [""; 0]);
    }

    #[test]
    fn what_is_the_runtimes_own_is_hidden() {
        let given = ["_HANDLER", "AWS_REGION", "LAMBDA_TASK_ROOT", "STAGE", "_MINE"];
        let given: Vec<_> = given.map(|name| (name.to_owned(), "x".to_owned())).into();
        let seen: Vec<_> = variables(&given).into_iter().map(|(name, _)| name).collect();
        assert_eq!(seen, ["AWS_REGION", "STAGE"]);
    }
}
