//! Clock, randomness, ids, task group and stop signal: the only caller of what the rest may not call.
