//! Made-up functions whose calls come as those of public traces do: a third by timers; rates that
//! spread over five orders of magnitude, so that few functions have most calls; bursts with long
//! pauses between them; more by day than by night.

use lamplight_env::{Random, SeededRandom};
use std::time::Duration;

const HOUR: f64 = 3600.0;

/// Numbers that repeat from their seed.
pub struct Dice(SeededRandom);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(SeededRandom::new(seed))
    }

    /// Evenly in 0..1, never 0.
    pub fn even(&mut self) -> f64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        ((u64::from_le_bytes(bytes) >> 11) as f64 + 1.0) / (1u64 << 53) as f64
    }

    /// The time to the next of things that happen once in `mean`.
    pub fn pause(&mut self, mean: f64) -> f64 {
        -mean * self.even().ln()
    }

    /// Evenly between the magnitudes of both.
    pub fn spread(&mut self, least: f64, most: f64) -> f64 {
        least * (most / least).powf(self.even())
    }

    /// Around `median`, with a long tail above it.
    pub fn tailed(&mut self, median: f64, spread: f64) -> f64 {
        let normal = (-2.0 * self.even().ln()).sqrt() * (std::f64::consts::TAU * self.even()).cos();
        median * (spread * normal).exp()
    }
}

/// When a function is called; times in seconds.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Timer { period: f64 },
    Alone { mean: f64 },
    Bursts { every: f64, pause: f64, calls: f64 },
}

/// One function.
#[derive(Debug, Clone)]
pub struct Function {
    shape: Shape,
    seed: u64,
    pub memory_gb: f64,
    /// Of a usual call.
    pub call: Duration,
    pub start: Duration,
}

pub fn functions(count: u64, seed: u64) -> Vec<Function> {
    let mut dice = Dice::new(seed);
    (0..count).map(|number| function(&mut dice, seed ^ (number << 20))).collect()
}

fn function(dice: &mut Dice, seed: u64) -> Function {
    let shape = match dice.even() {
        kind if kind < 0.3 => {
            let minutes = [1.0, 5.0, 5.0, 10.0, 15.0, 15.0, 30.0, 60.0, 60.0, 120.0, 360.0, 1440.0];
            let at = (dice.even() * minutes.len() as f64) as usize;
            Shape::Timer { period: 60.0 * minutes.get(at).copied().unwrap_or(60.0) }
        }
        kind if kind < 0.75 => Shape::Alone { mean: dice.spread(4.0, 48.0 * HOUR) },
        _ => Shape::Bursts {
            every: dice.spread(0.5 * HOUR, 12.0 * HOUR),
            pause: dice.spread(0.5, 120.0),
            calls: dice.spread(3.0, 200.0),
        },
    };
    Function {
        shape,
        seed,
        memory_gb: dice.tailed(0.06, 0.6).clamp(0.01, 1.0),
        call: Duration::from_secs_f64(dice.tailed(0.3, 1.2).clamp(0.002, 60.0)),
        start: Duration::from_secs_f64(dice.tailed(0.1, 0.8).clamp(0.005, 3.0)),
    }
}

/// The calls of one function, one after the other.
pub struct Calls {
    function: Function,
    dice: Dice,
    at: f64,
    /// What is left of a burst.
    burst: f64,
}

impl Calls {
    pub fn new(function: &Function) -> Self {
        let mut dice = Dice::new(function.seed);
        // A timer's first time; others begin with a pause.
        let at = match function.shape {
            Shape::Timer { period } => period * dice.even(),
            _ => 0.0,
        };
        Self { function: function.clone(), dice, at, burst: 0.0 }
    }

    /// When the next one comes, and how long it runs.
    pub fn draw(&mut self) -> (Duration, Duration) {
        let came = match self.function.shape {
            Shape::Timer { period } => {
                let came = self.at;
                self.at += period;
                // A timer is nearly on time.
                came + self.dice.pause(0.2)
            }
            Shape::Alone { mean } => {
                self.at += self.by_day(mean);
                self.at
            }
            Shape::Bursts { every, pause, calls } => {
                self.at += if self.burst < 1.0 {
                    self.burst = self.dice.pause(calls);
                    self.by_day(every)
                } else {
                    self.burst -= 1.0;
                    self.dice.pause(pause)
                };
                self.at
            }
        };
        let usual = self.function.call.as_secs_f64();
        let takes = self.dice.tailed(usual, 0.3).clamp(0.001, 900.0);
        (Duration::from_secs_f64(came), Duration::from_secs_f64(takes))
    }

    /// Pauses are half as long at noon, and half as long again at midnight.
    fn by_day(&mut self, mean: f64) -> f64 {
        let hour = (self.at / HOUR) % 24.0;
        let slower = 1.0 + 0.5 * (std::f64::consts::TAU * hour / 24.0).cos();
        self.dice.pause(mean * slower)
    }
}
