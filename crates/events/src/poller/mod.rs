//! Works off queues: what becomes of each message is `machine`, whose turn it is `lanes`, and what
//! drives them `engine`. `calls` is the work on events.

pub mod calls;
pub mod engine;
pub mod known;
pub mod lanes;
pub mod machine;
