//! Asks an executable what it is, and believes it.
//!
//! The answer also says which shared libraries the process has loaded, among them those of the
//! modules that most functions need, so that a sandbox can show what lies in unusual places.

use super::interpreter::{Interpreter, Version};
use super::remembered::{Occasion, Remark, Remembered};
use super::search::Candidate;
use lamplight_model::Language;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// An answer is a few paths.
const ANSWER_BYTES: u64 = 256 * 1024;
/// Interpreters asked at a time.
const AT_A_TIME: usize = 8;

/// The oldest that the runtime clients run on.
const OLDEST_PYTHON: (u32, u32) = (3, 8);
const OLDEST_NODE: u32 = 18;
const OLDEST_JAVA: u32 = 11;

/// The scripts print fields with NULs between: version, prefix (or nothing), executable, libraries.
const ASK_PYTHON: &str = r#"
import sys
for name in ("zlib", "_bz2", "_lzma", "_ctypes", "_hashlib", "_ssl", "_sqlite3", "_uuid"):
    try:
        __import__(name)
    except Exception:
        pass
libraries = set()
with open("/proc/self/maps", "rb") as maps:
    for line in maps:
        fields = line.split(None, 5)
        if len(fields) == 6 and b".so" in fields[5]:
            libraries.add(fields[5].strip())
version = "%d.%d.%d" % sys.version_info[:3]
own = [version, sys.base_prefix, getattr(sys, "_base_executable", None) or sys.executable]
own = [text.encode("utf-8", "surrogateescape") for text in own]
sys.stdout.buffer.write(b"\0".join(own + sorted(libraries)))
"#;
const ASK_NODE: &str = r#"
const maps = require("fs").readFileSync("/proc/self/maps", "utf8").split("\n");
const libraries = new Set(maps.map((line) => line.split(/\s+/).slice(5).join(" "))
  .filter((path) => path.includes(".so")));
process.stdout.write([process.versions.node, "", process.execPath, ...libraries].join("\0"));
"#;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum ProbeError {
    #[error("{path} could not be run: {reason}")]
    Run { path: String, reason: String },
    #[error("{0} did not say in time what it is")]
    TimedOut(String),
    #[error("{path} does not answer as {wanted} does")]
    Answer { path: String, wanted: &'static str },
    #[error("{path} is {found}, which is too old for Lamplight")]
    TooOld { path: String, found: Version },
    #[error("{0} is not installed in a directory of its own")]
    Place(String),
}

pub(super) type Answer = Result<Interpreter, ProbeError>;

/// Asks all of them at once, each for at most `patience`, but for those whose answer is known from
/// an earlier run. Also gives what to remember.
pub(super) async fn ask_all(
    candidates: Vec<Candidate>,
    patience: Duration,
    remembered: &Remembered,
) -> (HashMap<Candidate, Answer>, Vec<Remark>) {
    let room = Arc::new(Semaphore::new(AT_A_TIME));
    let (mut answers, mut remarks) = (HashMap::new(), Vec::new());
    let mut asked = JoinSet::new();
    for candidate in candidates {
        let occasion = Occasion::of(&candidate, question(&candidate).iter().copied());
        if let Some(remark) = occasion.as_ref().and_then(|occasion| remembered.recall(occasion)) {
            let answer = understand(&candidate, remark.answer());
            if is_lasting(&answer) {
                answers.insert(candidate, answer);
                remarks.push(remark.clone());
                continue;
            }
        }
        let room = room.clone();
        asked.spawn(async move {
            let _room = room.acquire_owned().await;
            let said = ask(&candidate, patience).await;
            let answer = said.clone().and_then(|said| understand(&candidate, &said));
            let remark = match (occasion, said) {
                (Some(occasion), Ok(said)) if is_lasting(&answer) => occasion.remark(said),
                _ => None,
            };
            (candidate, answer, remark)
        });
    }
    for (candidate, answer, remark) in asked.join_all().await {
        answers.insert(candidate, answer);
        remarks.extend(remark);
    }
    remarks.sort_by(|a, b| a.path().cmp(b.path()));
    (answers, remarks)
}

/// Whether the same file will be worth the same next time. Where a library has gone somewhere else,
/// or whatever kept it from running may have been mended, it is asked again.
fn is_lasting(answer: &Answer) -> bool {
    match answer {
        Ok(interpreter) => interpreter.libraries.iter().all(|dir| dir.is_dir()),
        Err(error) => matches!(error, ProbeError::TooOld { .. }),
    }
}

fn question(candidate: &Candidate) -> &'static [&'static str] {
    match candidate.language {
        Language::Node => &["-e", ASK_NODE],
        Language::Java => &["-XX:TieredStopAtLevel=1", "--version"],
        // Isolated and without `site`: nothing of the user's runs.
        _ => &["-I", "-S", "-c", ASK_PYTHON],
    }
}

async fn ask(candidate: &Candidate, patience: Duration) -> Result<Vec<u8>, ProbeError> {
    let shown = candidate.path.display().to_string();
    let mut command = Command::new(&candidate.path);
    command.args(question(candidate));
    let answer = match tokio::time::timeout(patience, run(command)).await {
        Ok(answer) => answer,
        Err(_) => return Err(ProbeError::TimedOut(shown)),
    };
    answer.map_err(|e| ProbeError::Run { path: shown, reason: e.to_string() })
}

/// `openjdk 17.0.15 2025-04-15` as the others say it. The first release of a Java is just `25`.
fn of_java(path: &Path, answer: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(answer);
    let version = text.split_ascii_whitespace().nth(1).unwrap_or_default();
    let rest = match version.bytes().filter(|byte| *byte == b'.').count() {
        0 => ".0.0",
        1 => ".0",
        _ => "",
    };
    format!("{version}{rest}\0\0{}", path.display()).into_bytes()
}

/// Returns what it printed, or nothing where it failed. Killed when dropped.
async fn run(mut command: Command) -> io::Result<Vec<u8>> {
    // Functions will not have this process's environment either.
    command.env_clear().envs(
        ["PATH", "HOME"]
            .into_iter()
            .filter_map(|name| std::env::var_os(name).map(|value| (name, value))),
    );
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.current_dir("/").spawn()?;
    let mut answer = Vec::new();
    if let Some(output) = child.stdout.take() {
        // Closed after that much, which ends whoever goes on writing.
        output.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
    }
    let status = child.wait().await?;
    Ok(if status.success() { answer } else { Vec::new() })
}

/// Has each of the Pythons keep the byte code of the modules in `dir`, for at most `patience` each.
/// What fails costs milliseconds at every start and nothing else.
pub(super) async fn compile_all(pythons: Vec<PathBuf>, dir: &Path, patience: Duration) {
    let mut compiling = JoinSet::new();
    for python in pythons {
        let mut command = Command::new(&python);
        command.args(["-I", "-S", "-m", "compileall", "-q"]).arg(dir);
        compiling.spawn(async move {
            if !matches!(tokio::time::timeout(patience, run(command)).await, Ok(Ok(_))) {
                tracing::debug!(python = %python.display(), "the client's byte code is not kept");
            }
        });
    }
    compiling.join_all().await;
}

/// Turns an answer into an interpreter, and looks whether its paths are there.
fn understand(candidate: &Candidate, answer: &[u8]) -> Answer {
    match candidate.language {
        Language::Java => understand_fields(candidate, &of_java(&candidate.path, answer)),
        _ => understand_fields(candidate, answer),
    }
}

fn understand_fields(candidate: &Candidate, answer: &[u8]) -> Answer {
    let path = candidate.path.display().to_string();
    let wanted = super::interpreter::name(candidate.language);
    let garbled = || ProbeError::Answer { path: path.clone(), wanted };
    let misplaced = || ProbeError::Place(path.clone());

    // Paths that are no text could be neither shown nor configured.
    let text = std::str::from_utf8(answer).map_err(|_| garbled())?;
    let mut fields = text.split('\0');
    let version = fields.next().and_then(Version::parse).ok_or_else(garbled)?;
    let prefix = fields.next().ok_or_else(garbled)?;
    let executable = fields.next().filter(|path| !path.is_empty()).ok_or_else(garbled)?;
    let too_old = match candidate.language {
        Language::Node => version.major < OLDEST_NODE,
        Language::Java => version.major < OLDEST_JAVA,
        _ => (version.major, version.minor) < OLDEST_PYTHON,
    };
    if too_old {
        return Err(ProbeError::TooOld { path, found: version });
    }

    let binary = executables(prefix, executable, version)
        .into_iter()
        .find_map(|path| fs::canonicalize(path).ok().filter(|path| path.is_file()))
        .ok_or_else(misplaced)?;
    let prefix = match prefix {
        "" => installation(&binary).map(Path::to_owned),
        prefix => fs::canonicalize(prefix).ok(),
    };
    let prefix = prefix.filter(|prefix| prefix.parent().is_some()).ok_or_else(misplaced)?;
    let below = binary.strip_prefix(&prefix).ok().and_then(Path::to_str).ok_or_else(misplaced)?;
    let inside = format!("/var/lang/{below}");
    let libraries = unusual(fields, &prefix);
    Ok(Interpreter { language: candidate.language, version, inside, libraries, prefix, binary })
}

/// A virtual environment's executable is a link or a copy: the installation's own comes first.
fn executables(prefix: &str, executable: &str, version: Version) -> Vec<PathBuf> {
    let own = Path::new(prefix).join(format!("bin/python{}.{}", version.major, version.minor));
    let own = (!prefix.is_empty()).then_some(own);
    own.into_iter().chain([PathBuf::from(executable)]).collect()
}

/// `/x` for `/x/bin/node`, and for `/x/node`.
fn installation(binary: &Path) -> Option<&Path> {
    let dir = binary.parent()?;
    if dir.file_name().is_some_and(|name| name == "bin") { dir.parent() } else { Some(dir) }
}

/// The directories of libraries that a sandbox would not show under the path they are looked for.
/// A Python with a shared library of its own looks for it by its absolute path, and would
/// otherwise take another Python's or none. Modules, which are not named `lib…`, are found from
/// the executable.
fn unusual<'a>(libraries: impl Iterator<Item = &'a str>, prefix: &Path) -> Vec<PathBuf> {
    let usual = |path: &Path| {
        ["/usr", "/lib", "/lib32", "/lib64", "/libx32"].iter().any(|dir| path.starts_with(dir))
    };
    let module = |path: &Path| {
        let library = path.file_name().and_then(|name| name.to_str());
        path.starts_with(prefix) && library.is_none_or(|name| !name.starts_with("lib"))
    };
    let dirs: BTreeSet<PathBuf> = libraries
        .map(Path::new)
        .filter(|path| path.is_absolute() && !usual(path) && !module(path))
        .filter_map(Path::parent)
        .filter(|dir| dir.parent().is_some())
        .map(Path::to_owned)
        .collect();
    dirs.into_iter().collect()
}
