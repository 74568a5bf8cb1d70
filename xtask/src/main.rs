//! The kitchen: what is cooked before the program is built. `cargo xtask <dish>`.

use std::process::ExitCode;

mod campaign;
mod cases;
mod codegen;
mod licences;
mod tidy;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (dish, rest) = match arguments.split_first() {
        Some((dish, rest)) => (dish.as_str(), rest),
        None => ("", [].as_slice()),
    };
    let outcome = match dish {
        "campaign" => campaign::run(rest),
        "cases" => cases::run(rest),
        "codegen" => codegen::run(rest),
        "licences" => licences::run(rest),
        "tidy" => tidy::run(rest),
        other => Err(anyhow::anyhow!(
            "unknown task {other:?}; there are: campaign NAME|all, cases, codegen [--botocore DIR], licences, tidy"
        )),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
