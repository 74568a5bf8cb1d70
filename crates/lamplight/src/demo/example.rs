//! The example function, in the language that this machine has.

use anyhow::{Result, bail};
use lamplight_worker::runtimes::Runtimes;
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;

pub const EVENT: &str = include_str!("../../../../examples/events/s3-put.json");

pub struct Example {
    pub runtime: String,
    pub handler: &'static str,
    file: &'static str,
    code: &'static str,
}

impl Example {
    /// In Python where the machine has one, else in Node.js.
    pub fn for_machine(runtimes: &Runtimes) -> Result<Self> {
        let listing = runtimes.listing();
        let first = |language: &str| {
            let mut usable = listing.iter().filter(|listed| listed.problem.is_none());
            usable.find(|listed| listed.identifier.starts_with(language))
        };
        if let Some(python) = first("python") {
            return Ok(Self {
                runtime: python.identifier.clone(),
                handler: "app.lambda_handler",
                file: "app.py",
                code: include_str!("../../../../examples/python/app.py"),
            });
        }
        if let Some(node) = first("nodejs") {
            return Ok(Self {
                runtime: node.identifier.clone(),
                handler: "index.handler",
                file: "index.mjs",
                code: include_str!("../../../../examples/nodejs/index.mjs"),
            });
        }
        bail!(
            "this machine has neither Python nor Node.js, and the example needs one of them; `lamplight doctor` says how to get them"
        )
    }

    pub fn zip(&self) -> Result<Vec<u8>> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file(self.file, SimpleFileOptions::default().unix_permissions(0o644))?;
        zip.write_all(self.code.as_bytes())?;
        Ok(zip.finish()?.into_inner())
    }
}
