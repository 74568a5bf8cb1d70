//! An alias as it is stored. The durable format is JSON with a version.

use crate::{Provisioned, Qualifier};
use serde::{Deserialize, Serialize};

/// A name for a version, or for two between which calls are drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AliasRecord {
    /// Of the durable format; see [`AliasRecord::FORMAT`].
    pub format: u32,
    pub name: String,
    /// A version's number, also of `$LATEST.PUBLISHED`; none for `$LATEST`.
    pub version: Option<u64>,
    pub description: String,
    /// The second version and the share of calls that it gets, 0 to 1.
    pub extra: Option<(u64, f64)>,
    /// Changes with every change of the record.
    pub revision_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioned: Option<Provisioned>,
}

impl AliasRecord {
    pub const FORMAT: u32 = 1;

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data with text keys serialises")
    }

    /// Reads any format up to the current one. The message names what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        match record.format > Self::FORMAT {
            true => Err(format!("alias record of a newer format ({})", record.format)),
            false => Ok(record),
        }
    }

    /// `$LATEST` or a version's number.
    pub fn points_at(&self) -> Qualifier {
        self.version.map_or(Qualifier::Latest, Qualifier::of_number)
    }

    /// Whether calls of the alias may run version `number`.
    pub fn uses(&self, number: u64) -> bool {
        self.version == Some(number) || self.extra.is_some_and(|(extra, _)| extra == number)
    }

    /// How many provisioned environments each version gets, by the weights; in doubt one more for
    /// the one that gets fewer calls.
    pub fn shares(&self) -> Vec<(u64, u32)> {
        let (Some(version), Some(provisioned)) = (self.version, self.provisioned) else {
            return Vec::new();
        };
        let all = provisioned.requested;
        match self.extra {
            None => vec![(version, all)],
            Some((extra, weight)) => {
                let share = ((f64::from(all) * weight).ceil() as u32).min(all);
                vec![(version, all - share), (extra, share)]
            }
        }
    }

    /// Which version a call runs; `draw` is evenly distributed over all numbers.
    pub fn choose(&self, draw: u32) -> Option<u64> {
        match self.extra {
            Some((extra, weight)) if f64::from(draw) < weight * (f64::from(u32::MAX) + 1.0) => {
                Some(extra)
            }
            _ => self.version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that a released version wrote. Never edit them: add new ones.
    const FORMAT_1: &str = r#"{"format":1,"name":"live","version":2,"description":"d","extra":[3,0.25],"revision_id":"r","provisioned":{"requested":5,"last_modified":1795000000000}}"#;

    #[test]
    fn old_bytes_are_read() {
        let alias = AliasRecord::from_bytes(FORMAT_1.as_bytes()).unwrap();
        assert_eq!((alias.version, alias.extra), (Some(2), Some((3, 0.25))));
        assert_eq!(AliasRecord::from_bytes(&alias.to_bytes()).unwrap(), alias);
        let newer = FORMAT_1.replace("\"format\":1", "\"format\":9");
        assert!(AliasRecord::from_bytes(newer.as_bytes()).unwrap_err().contains("newer"));
    }

    #[test]
    fn calls_are_drawn_by_weight() {
        let mut alias = AliasRecord::from_bytes(FORMAT_1.as_bytes()).unwrap();
        let quarter = u32::MAX / 4;
        assert_eq!(alias.choose(0), Some(3));
        assert_eq!(alias.choose(quarter - 1), Some(3));
        assert_eq!(alias.choose(quarter + 1), Some(2));
        assert_eq!(alias.choose(u32::MAX), Some(2));
        assert_eq!(alias.shares(), [(2, 3), (3, 2)], "of five");
        alias.extra = Some((3, 0.0));
        assert_eq!(alias.shares(), [(2, 5), (3, 0)]);
        assert_eq!(alias.choose(0), Some(2), "no share is no call");
        alias.extra = None;
        assert_eq!(alias.choose(0), Some(2));
    }
}
