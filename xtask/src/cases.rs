//! Keeps the table of hostile cases true: `docs/hostile-cases.md` says what must happen, and the
//! column of tests is written from the tests themselves.
//!
//! A test belongs to a case by name (`fn s4_…`) or by the first words of its comment
//! (`/// S4: …`, `"""S4, S5: …"""`). A case without a test, and a test of a case that is not in the
//! table, are faults of `cargo xtask tidy`.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const TABLE: &str = "docs/hostile-cases.md";

/// `cargo xtask cases`: writes the column.
pub fn run(arguments: &[String]) -> Result<()> {
    if !arguments.is_empty() {
        bail!("usage: cases");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let files = crate::tidy::tracked(&root)?;
    let table = std::fs::read_to_string(root.join(TABLE)).context(TABLE)?;
    let (written, faults) = fill(&table, &found(&root, &files));
    std::fs::write(root.join(TABLE), written)?;
    for fault in &faults {
        eprintln!("{TABLE}: {fault}");
    }
    if !faults.is_empty() {
        bail!("cases: {} faults", faults.len());
    }
    Ok(())
}

/// What is wrong with the table, for `tidy`.
pub fn faults(root: &Path, files: &[PathBuf]) -> Result<Vec<String>> {
    let table = std::fs::read_to_string(root.join(TABLE)).context(TABLE)?;
    let (written, mut faults) = fill(&table, &found(root, files));
    if written != table {
        faults.push("is not what the tests say: run `cargo xtask cases`".to_owned());
    }
    Ok(faults.into_iter().map(|fault| format!("{TABLE}:1: {fault}")).collect())
}

/// Case to tests, as `file::test`.
type Tests = BTreeMap<String, Vec<String>>;

fn found(root: &Path, files: &[PathBuf]) -> Tests {
    let mut tests = Tests::new();
    for file in files {
        let name = file.to_string_lossy();
        let python = name.ends_with(".py") && name.starts_with("tests/");
        if !python && !name.ends_with(".rs") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(root.join(file)) else { continue };
        for (case, test) in if python { in_python(&text) } else { in_rust(&text) } {
            tests.entry(case).or_default().push(format!("`{name}` {test}"));
        }
    }
    tests
}

fn in_python(text: &str) -> Vec<(String, String)> {
    let mut cases = Vec::new();
    let mut test = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("def test_") {
            test = rest.split('(').next().unwrap_or_default();
        } else if let Some(comment) = line.strip_prefix("    \"\"\"") {
            if !test.is_empty() {
                cases.extend(ids(comment).map(|id| (id, format!("test_{test}"))));
            }
            test = "";
        }
    }
    // A campaign is one test, and its first line says its name.
    if let Some(name) = text.strip_prefix("\"\"\"C").and_then(|rest| rest.split(':').next())
        && let Some(line) = text.lines().find_map(|line| line.strip_prefix("Cases: "))
    {
        let listed = line.trim_end_matches("\"\"\"").trim_end_matches('.');
        cases.extend(listed.split(", ").map(|id| (id.to_owned(), format!("campaign c{name}"))));
    }
    cases
}

fn in_rust(text: &str) -> Vec<(String, String)> {
    let mut cases = Vec::new();
    let (mut said, mut is_test) = (Vec::new(), false);
    for line in text.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("/// ") {
            said.extend(ids(comment));
        } else if line.starts_with("#[") {
            is_test |= line.contains("test]") || line.contains("test(");
        } else if let Some(rest) =
            line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "))
        {
            let name = rest.split('(').next().unwrap_or_default();
            let named = name.split('_').map(str::to_uppercase).take_while(|word| is_id(word));
            if is_test || !said.is_empty() {
                let all = said.drain(..).chain(named.filter(|_| is_test));
                cases.extend(all.map(|id| (id, name.to_owned())));
            }
            is_test = false;
        } else {
            (said, is_test) = (Vec::new(), false);
        }
    }
    cases
}

/// The cases at the start of a comment: `S4: …` or `S4, S5: …`.
fn ids(comment: &str) -> impl Iterator<Item = String> {
    let head = comment.split_once(": ").map_or("", |(head, _)| head);
    let all: Vec<String> = head.split(", ").map(str::to_owned).collect();
    let right = all.iter().all(|id| is_id(id));
    all.into_iter().filter(move |_| right)
}

fn is_id(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(|c| "FSDHGL".contains(c))
        && (2..=3).contains(&word.len())
        && letters.all(|c| c.is_ascii_digit())
}

/// The table with its last column as the tests have it, and what is wrong.
fn fill(table: &str, tests: &Tests) -> (String, Vec<String>) {
    let mut faults = Vec::new();
    let mut known = Vec::new();
    let mut lines = Vec::new();
    for line in table.lines() {
        let cells: Vec<&str> = line.split(" | ").collect();
        let id = cells.first().and_then(|cell| cell.strip_prefix("| ")).unwrap_or_default();
        let [_, case, expected, ..] = cells.as_slice() else {
            lines.push(line.to_owned());
            continue;
        };
        if !is_id(id) {
            lines.push(line.to_owned());
            continue;
        }
        known.push(id);
        let listed = tests.get(id).map(|tests| tests.join("<br>")).unwrap_or_default();
        if listed.is_empty() {
            faults.push(format!("{id} has no test"));
        }
        lines.push(format!("| {id} | {case} | {expected} | {listed} |"));
    }
    for id in tests.keys().filter(|id| !known.contains(&id.as_str())) {
        faults.push(format!("{id} has tests and is not in the table"));
    }
    (lines.join("\n") + "\n", faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_say_their_cases() {
        let python =
            "def test_a(x):\n    \"\"\"S4, H5: b.\"\"\"\n\ndef test_c():\n    \"\"\"No.\"\"\"\n";
        let pair = |id: &str, test: &str| (id.to_owned(), test.to_owned());
        assert_eq!(in_python(python), [pair("S4", "test_a"), pair("H5", "test_a")]);
        let rust = "/// D1: b.\n#[test]\nfn a() {}\n\n#[tokio::test]\nasync fn s1_s2_c() {}\nfn s3_d() {}\n";
        assert_eq!(in_rust(rust), [pair("D1", "a"), pair("S1", "s1_s2_c"), pair("S2", "s1_s2_c")]);
        let campaign = "\"\"\"C9: packages.\n\nCases: D1, D2.\n\"\"\"\n";
        assert_eq!(in_python(campaign), [pair("D1", "campaign c9"), pair("D2", "campaign c9")]);
    }

    #[test]
    fn the_table_is_filled_and_gaps_are_named() {
        let table = "| id | case | expected | tests |\n| --- | --- | --- | --- |\n| S1 | a | b | old |\n| S2 | c | d |  |\n";
        let tests =
            Tests::from([("S1".to_owned(), vec!["x".to_owned()]), ("H1".to_owned(), vec![])]);
        let (filled, faults) = fill(table, &tests);
        assert!(filled.contains("| S1 | a | b | x |\n"));
        assert_eq!(faults.len(), 2, "{faults:?}");
    }
}
