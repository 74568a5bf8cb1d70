//! Replays made-up days of calls through the planner, and prints how many calls waited for a new
//! environment and what memory idle ones held, beside environments that are kept for a fixed time.
//!
//! `cargo run --release -p lamplight-control --example simulate [FUNCTIONS DAYS SEED]`. The same
//! numbers give the same table. Times of calls are of the shape of public traces, not taken from one.

mod arrivals;
mod world;

use lamplight_control::planner::Keep;
use std::io::Write;
use std::time::Duration;
use world::{Figures, replay};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The ways of keeping that are compared.
fn policies() -> [(&'static str, Keep); 4] {
    let minutes = |minutes: u64| Keep::fixed(Duration::from_secs(60 * minutes));
    [
        ("10 minutes", minutes(10)),
        ("30 minutes", minutes(30)),
        ("60 minutes", minutes(60)),
        ("learned", Keep::default()),
    ]
}

fn row(name: &str, figures: &Figures) -> String {
    format!(
        "| {name} | {:.3} % | {:.1} % | {:.1} % | {:.0} |",
        figures.cold_percent(),
        figures.functions_cold_percent(0.5),
        figures.functions_cold_percent(0.75),
        figures.idle_gb_hours(),
    )
}

fn main() -> std::io::Result<()> {
    let given: Vec<u64> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let number = |at: usize, default: u64| given.get(at).copied().unwrap_or(default);
    let (functions, days, seed) = (number(0, 1000), number(1, 4), number(2, 1));
    let functions = arrivals::functions(functions, seed);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| kept for | cold calls | of the median function | third quartile | idle GB-hours |"
    )?;
    writeln!(out, "|---|---|---|---|---|")?;
    for (name, keep) in policies() {
        let figures = replay(&functions, DAY * u32::try_from(days).unwrap_or(1), &keep);
        writeln!(out, "{}", row(name, &figures))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_learned_starts_less_and_holds_less_than_a_fixed_time() {
        let functions = arrivals::functions(40, 7);
        let replay = |keep: &Keep| replay(&functions, DAY, keep);
        let [ten, _, hour, learned] = policies().map(|(_, keep)| replay(&keep));
        assert!(ten.calls > 1_000, "{} calls", ten.calls);
        assert_eq!([hour.calls, learned.calls], [ten.calls; 2], "the same calls each time");
        assert!(learned.cold < ten.cold, "{} of {}", learned.cold, ten.cold);
        assert!(learned.idle_gb_hours() < hour.idle_gb_hours());
        assert_eq!(replay(&Keep::default()), learned, "it repeats");
    }
}
