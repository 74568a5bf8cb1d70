//! The kitchen: what is cooked before the program is built. `cargo xtask <dish>`.

use std::process::ExitCode;

mod codegen;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (dish, rest) = match arguments.split_first() {
        Some((dish, rest)) => (dish.as_str(), rest),
        None => ("", [].as_slice()),
    };
    let outcome = match dish {
        "codegen" => codegen::run(rest),
        other => Err(anyhow::anyhow!("unknown task {other:?}; there is: codegen [--botocore DIR]")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
