//! The planner: which environment a call gets, when another one is started, whose start is next, and
//! how long an idle one is kept. Pure: events and the time go in, what is to be done comes out.
//!
//! Each version of a function has a [`Line`], and all share [`Starts`]. The manager drives them and
//! does what they say; the simulator drives the same ones through days of made-up calls.
//!
//! Left out: starting environments before anybody calls. That is what provisioned concurrency is for.

mod crowd;
mod habit;
mod line;
mod pace;
mod pool;
mod rate;
mod starts;
mod turns;

pub use crowd::Crowd;
pub use habit::{Habit, Keep};
pub use line::{Line, Place, Ticket};
pub use pace::Pace;
pub use pool::{Pool, Serves};
pub use rate::{Often, Rate, Rates};
pub use starts::Starts;

#[cfg(test)]
mod laws;
