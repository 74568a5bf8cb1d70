//! What interpreters have answered in earlier runs, so that a start asks only those that are new.
//!
//! Invariants: an answer stands as it was given and is understood anew each time, so that paths
//! which are gone since make it void. It counts only for the same question to the same file, known
//! by its path, size, inode and time of change. A file that is missing, damaged or of another format
//! is as good as none: this is a cache, and nothing else is in it.

use super::search::Candidate;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Of the file; counted up when older versions could not read it.
const FORMAT: u32 = 1;
/// Far more than [`super::search`] finds and interpreters say.
const FILE_BYTES: u64 = 4 << 20;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    format: u32,
    answers: Vec<Remark>,
}

/// An answer, and what it is the answer of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remark {
    #[serde(flatten)]
    of: Occasion,
    answer: String,
}

/// Which file was asked what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Occasion {
    path: PathBuf,
    /// SHA-256 of the arguments.
    question: String,
    size: u64,
    inode: u64,
    /// Seconds, and nanoseconds of a second.
    modified: (i64, i64),
}

impl Occasion {
    /// `None` where there is no such file, or its path is no text.
    pub fn of<'a>(
        candidate: &Candidate,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Option<Self> {
        let file = fs::metadata(&candidate.path).ok()?;
        candidate.path.to_str()?;
        let mut question = Sha256::new();
        for argument in arguments {
            question.update(argument);
            question.update([0]);
        }
        Some(Self {
            path: candidate.path.clone(),
            question: format!("{:x}", question.finalize()),
            size: file.size(),
            inode: file.ino(),
            modified: (file.mtime(), file.mtime_nsec()),
        })
    }

    /// With what was answered; `None` where that is no text.
    pub fn remark(self, answer: Vec<u8>) -> Option<Remark> {
        Some(Remark { of: self, answer: String::from_utf8(answer).ok()? })
    }
}

/// The answers of earlier runs.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    answers: Vec<Remark>,
}

impl Remembered {
    pub fn read(file: &Path) -> Self {
        let small = fs::metadata(file).is_ok_and(|file| file.len() <= FILE_BYTES);
        let kept = small.then(|| fs::read(file).ok()).flatten();
        let kept: Kept =
            kept.and_then(|kept| serde_json::from_slice(&kept).ok()).unwrap_or_default();
        Self { answers: if kept.format == FORMAT { kept.answers } else { Vec::new() } }
    }

    pub fn recall(&self, occasion: &Occasion) -> Option<&Remark> {
        self.answers.iter().find(|remark| remark.of == *occasion)
    }

    /// Leaves `answers` for the next run, where that is something new. One that cannot be written
    /// costs the next start its time and nothing else.
    pub fn replace(&self, file: &Path, answers: Vec<Remark>) {
        if answers == self.answers {
            return;
        }
        let new = file.with_extension("new");
        let kept = serde_json::to_vec_pretty(&Kept { format: FORMAT, answers });
        let kept = kept.expect("plain data with text keys serialises");
        if let Err(error) = fs::write(&new, kept).and_then(|()| fs::rename(&new, file)) {
            tracing::debug!(%error, "the answers of interpreters are not kept");
        }
    }
}

impl Remark {
    pub fn path(&self) -> &Path {
        &self.of.path
    }

    pub fn answer(&self) -> &[u8] {
        self.answer.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that a released version wrote. Never edit them: add new ones.
    const FORMAT_1: &str = r#"{"format":1,"answers":[{"path":"/usr/bin/node","question":"ab","size":7,"inode":8,"modified":[9,10],"answer":"22.3.0\u0000\u0000/usr/bin/node"}]}"#;

    #[test]
    fn old_bytes_are_read_and_written_again_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kept.json");
        fs::write(&file, FORMAT_1).unwrap();
        let of = Occasion {
            path: "/usr/bin/node".into(),
            question: "ab".to_owned(),
            size: 7,
            inode: 8,
            modified: (9, 10),
        };
        let read = Remembered::read(&file);
        assert_eq!(read.recall(&of).unwrap().answer(), b"22.3.0\0\0/usr/bin/node");
        assert_eq!(read.recall(&Occasion { inode: 9, ..of }), None);
        Remembered::default().replace(&file, read.answers.clone());
        let again: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(again, serde_json::from_str::<serde_json::Value>(FORMAT_1).unwrap());
    }
}
