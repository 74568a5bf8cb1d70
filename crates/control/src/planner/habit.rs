//! How long an idle environment of a version is kept: so long that keeping it and starting another
//! together cost least, had the pauses that were seen been known.
//!
//! A pause is the time from the end of one call of an environment to the next one it takes, or would
//! have taken had it been kept. Keeping costs memory for as long as it lasts; a start is worth as much
//! as keeping for [`Keep::worth`]. Pauses are counted in classes, each half as long again as the one
//! before, and old ones fade; so this is a few hundred bytes for a version, however many calls it has.
//! Short pauses are not even counted: nothing is ended that soon.

use std::time::Duration;

/// Shorter pauses say nothing.
const SHORT: Duration = Duration::from_secs(10);
/// Classes of pauses, the longest of which ends after about 6 hours; the last is for the rest.
const CLASSES: usize = 20;
/// Fewer pauses than this say too little.
const ENOUGH: u32 = 4;
/// When there are more, all are halved.
const MANY: u32 = 64;

/// How idle environments are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// While too little is known.
    pub first: Duration,
    /// However likely the next call is.
    pub most: Duration,
    /// However unlikely it is.
    pub least: Duration,
    /// Keeping one for so long costs as much as a start.
    pub worth: Duration,
}

/// What is likely to be used again within an hour or two is kept.
impl Default for Keep {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Self { first: minutes(10), most: minutes(240), least: minutes(1), worth: minutes(60) }
    }
}

impl Keep {
    /// For so long, whatever the calls are like.
    pub const fn fixed(time: Duration) -> Self {
        Self { first: time, most: time, least: time, worth: time }
    }
}

/// The pauses of one version.
#[derive(Debug, Clone, Default)]
pub struct Habit {
    pauses: [u16; CLASSES],
    seen: u32,
}

/// The longest pause of each class, in milliseconds. Class 0 has none of its own, as nothing shorter
/// is counted: it is for those beyond the longest.
const ENDS: [u64; CLASSES] = ends();

const fn ends() -> [u64; CLASSES] {
    let mut ends = [SHORT.as_millis() as u64; CLASSES];
    let mut class = 1;
    while class < CLASSES {
        ends[class] = ends[class - 1] * 3 / 2;
        class += 1;
    }
    ends
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Habit {
    pub fn pause(&mut self, pause: Duration) {
        if pause < SHORT {
            return;
        }
        let pause = millis(pause);
        let class = ENDS.iter().skip(1).position(|end| pause <= *end).map_or(0, |at| at + 1);
        if let Some(count) = self.pauses.get_mut(class) {
            *count = count.saturating_add(1);
        }
        self.seen += 1;
        if self.seen > MANY {
            self.pauses.iter_mut().for_each(|count| *count /= 2);
            self.seen = self.pauses.iter().map(|count| u32::from(*count)).sum();
        }
    }

    /// How long an idle one is kept.
    pub fn keep(&self, keep: &Keep) -> Duration {
        if self.seen < ENOUGH || keep.least == keep.most {
            return keep.first.min(keep.most);
        }
        let (least, most) = (millis(keep.least), millis(keep.most));
        let mut best = (self.cost(least, keep), least);
        for end in ENDS.iter().filter(|end| **end > least && **end < most).chain([&most]) {
            best = best.min((self.cost(*end, keep), *end));
        }
        Duration::from_millis(best.1)
    }

    /// In milliseconds of keeping.
    fn cost(&self, time: u64, keep: &Keep) -> u64 {
        let ended = time.saturating_add(millis(keep.worth));
        let each = |class: usize, end: u64| if class > 0 && end <= time { end } else { ended };
        let costs = self.pauses.iter().zip(ENDS).enumerate();
        let costs =
            costs.map(|(class, (count, end))| u64::from(*count).saturating_mul(each(class, end)));
        costs.fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Keep = Keep {
        first: Duration::from_secs(600),
        most: Duration::from_secs(4 * 3600),
        least: Duration::from_secs(60),
        worth: Duration::from_secs(1800),
    };

    fn kept(minutes: &[u64], times: usize) -> u64 {
        let mut habit = Habit::default();
        for minutes in minutes.iter().cycle().take(minutes.len() * times) {
            habit.pause(Duration::from_secs(minutes * 60));
        }
        habit.keep(&KEEP).as_secs() / 60
    }

    #[test]
    fn a_timer_is_waited_for_when_it_is_worth_it() {
        assert_eq!(Habit::default().keep(&KEEP), KEEP.first);
        let kept_for_15 = kept(&[15], 20);
        assert!((15..30).contains(&kept_for_15), "{kept_for_15}");
        assert_eq!(kept(&[300], 20), 1, "a start costs less than keeping for five hours");
        assert_eq!(kept(&[120], 20), 1);
    }

    #[test]
    fn bursts_with_long_pauses_between_them_are_not_kept_over_the_pause() {
        let time = kept(&[2, 2, 3, 2, 2, 600], 10);
        assert!((3..8).contains(&time), "{time}");
    }

    #[test]
    fn a_new_habit_replaces_an_old_one() {
        let mut habit = Habit::default();
        for minutes in [15; 500].into_iter().chain([240; 500]) {
            habit.pause(Duration::from_secs(minutes * 60));
        }
        assert_eq!(habit.keep(&KEEP), KEEP.least);
        for _ in 0..100_000 {
            habit.pause(Duration::from_secs(3));
        }
        assert_eq!(habit.keep(&KEEP), KEEP.least, "short ones are not counted");
    }

    #[test]
    fn a_fixed_time_is_one() {
        let mut habit = Habit::default();
        let keep = Keep::fixed(Duration::from_secs(7));
        for _ in 0..50 {
            assert_eq!(habit.keep(&keep), keep.first);
            habit.pause(Duration::from_secs(900));
        }
    }
}
