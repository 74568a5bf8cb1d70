//! Small files that are there whole or not at all, and the metadata of a group in one of them.

use super::error::{LogsError, at};
use lamplight_model::Scope;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

const VERSION: u32 = 1;
/// The file's name in a group's directory.
pub const META: &str = "group.json";

/// A log group's settings, and the streams that were made by name. Streams that came with their
/// first event are known from the segments alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    version: u32,
    pub scope: Scope,
    pub name: String,
    /// Unix ms.
    pub created: i64,
    pub retention_days: Option<u32>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    pub class: String,
    #[serde(default)]
    pub protected: bool,
    /// Higher than any stream id ever given out when this was written.
    pub next_stream: u32,
    #[serde(default)]
    pub streams: Vec<MadeStream>,
    /// Deleted streams whose events may still be in segments.
    #[serde(default)]
    pub deleted: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MadeStream {
    pub id: u32,
    pub name: String,
    /// Unix ms.
    pub created: i64,
}

impl Meta {
    pub fn new(scope: &Scope, name: &str, created: i64) -> Self {
        Self {
            version: VERSION,
            scope: scope.clone(),
            name: name.to_owned(),
            created,
            retention_days: None,
            tags: BTreeMap::new(),
            class: "STANDARD".to_owned(),
            protected: false,
            next_stream: 1,
            streams: Vec::new(),
            deleted: Vec::new(),
        }
    }

    /// `None` where the directory has no such file.
    pub fn read(dir: &Path) -> Result<Option<Self>, LogsError> {
        let path = dir.join(META);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at("read", path)(error)),
        };
        let damaged = |why: String| LogsError::Damaged { path: path.clone(), why };
        let meta: Self = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        match meta.version {
            VERSION => Ok(Some(meta)),
            other => Err(damaged(format!("version {other} wrote it"))),
        }
    }

    /// On disk when this returns.
    pub fn write(&self, dir: &Path) -> Result<(), LogsError> {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        let (path, temporary) = (dir.join(META), dir.join("group.json.new"));
        File::create(&temporary)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
            .map_err(at("write", &temporary))?;
        fs::rename(&temporary, &path).map_err(at("put in place", &path))?;
        sync_dir(dir)
    }
}

/// Makes what was created, renamed or removed in `dir` last.
pub fn sync_dir(dir: &Path) -> Result<(), LogsError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(at("sync", dir))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_model::AccountId;

    #[test]
    fn a_file_of_version_1_is_read_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let old = r#"{"version":1,"scope":{"account":"000000000000","region":"eu-west-1"},
            "name":"/aws/lambda/f","created":5,"retention_days":7,"tags":{"a":"b"},
            "class":"STANDARD","protected":false,"next_stream":4,
            "streams":[{"id":3,"name":"s","created":6}],"deleted":[2]}"#;
        fs::write(dir.path().join(META), old).unwrap();
        let meta = Meta::read(dir.path()).unwrap().unwrap();
        let scope =
            Scope { account: AccountId::new("000000000000").unwrap(), region: "eu-west-1".into() };
        let mut expected = Meta::new(&scope, "/aws/lambda/f", 5);
        expected.retention_days = Some(7);
        expected.tags.insert("a".into(), "b".into());
        expected.next_stream = 4;
        expected.streams.push(MadeStream { id: 3, name: "s".into(), created: 6 });
        expected.deleted.push(2);
        assert_eq!(meta, expected);
        meta.write(dir.path()).unwrap();
        assert_eq!(Meta::read(dir.path()).unwrap(), Some(meta));
    }

    #[test]
    fn damage_and_other_versions_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Meta::read(dir.path()).unwrap(), None);
        for bad in ["{", "{}", r#"{"version":2}"#] {
            fs::write(dir.path().join(META), bad).unwrap();
            assert!(matches!(Meta::read(dir.path()), Err(LogsError::Damaged { .. })));
        }
    }
}
