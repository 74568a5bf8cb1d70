//! Lists the files of the runtime clients, so that the binary carries each of them and nobody
//! keeps a list by hand.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let var = |name| env::var_os(name).map(PathBuf::from).ok_or(io::ErrorKind::NotFound);
    let clients = var("CARGO_MANIFEST_DIR")?.join("../../runtimes").canonicalize()?;
    let mut code = String::new();
    for (name, dir) in [("PYTHON", "python"), ("NODE", "nodejs")] {
        let root = clients.join(dir);
        let mut files = Vec::new();
        collect(&root, &mut files)?;
        files.sort();
        let _ = writeln!(code, "const {name}: &[Source] = &[");
        for file in files {
            let below = file.strip_prefix(&root).map_err(io::Error::other)?;
            let _ = writeln!(code, "    ({below:?}, include_str!({file:?})),");
        }
        code.push_str("];\n");
    }
    fs::write(var("OUT_DIR")?.join("client_sources.rs"), code)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", dir.display());
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() && !path.ends_with("__pycache__") {
            collect(&path, files)?;
        } else if matches!(extension, Some("py" | "cjs" | "mjs" | "js" | "json")) {
            files.push(path);
        }
    }
    Ok(())
}
