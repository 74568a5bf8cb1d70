//! Damages good archives at random, always in the same way, and looks for what got out.

use super::archive::{Entry, zip, zip64};
use super::{LIMITS, UnzipError, Yard, listing};
use lamplight_env::{Random, SeededRandom};

const ROUNDS: u64 = 2_000;

fn seeds() -> Vec<Vec<u8>> {
    let mixed = [
        Entry::deflated("handler.py", "print('hello')\n".repeat(20)),
        Entry::stored("lib/", "").mode(0o040_755),
        Entry::stored("lib/data", [0, 1, 2, 3].repeat(50)).mode(0o100_755),
        Entry::link("lib/up", "../handler.py"),
        Entry::link("way", "lib/up"),
    ];
    let wide = Entry::stored("f", "x").with(|e| {
        e.offset = Some(u32::MAX);
        e.extra = [&[1, 0, 8, 0][..], &0u64.to_le_bytes()].concat();
    });
    let bomb = Entry::deflated("zeros", vec![0; 900_000]);
    vec![zip(&mixed), zip64(&mixed), zip64(&[wide]), zip(&[bomb])]
}

/// Numbers below a bound, from the seed alone.
struct Dice(SeededRandom);

impl Dice {
    fn below(&self, bound: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        (u64::from_le_bytes(bytes) % bound.max(1) as u64) as usize
    }
}

fn damage(bytes: &mut Vec<u8>, other: &[u8], dice: &Dice) {
    const TELLING: [&[u8]; 10] = [
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"../",
        b"/",
        b"PK\x01\x02",
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"\x01\0\x10\0",
        b"\x80",
        b"\\",
    ];
    let at = dice.below(bytes.len());
    let end = (at + 1 + dice.below(40)).min(bytes.len());
    match dice.below(7) {
        0 => bytes[at] ^= 1 << dice.below(8),
        1 => bytes[at] = dice.below(256) as u8,
        2 => {
            let telling = TELLING[dice.below(TELLING.len())];
            let room = telling.len().min(bytes.len() - at);
            bytes[at..at + room].copy_from_slice(&telling[..room]);
        }
        3 => drop(bytes.drain(at..end)),
        4 => {
            let copy = bytes[at..end].to_vec();
            let to = dice.below(bytes.len());
            bytes.splice(to..to, copy);
        }
        5 => {
            let from = dice.below(other.len());
            let piece = &other[from..(from + 60).min(other.len())];
            bytes.splice(at..at, piece.iter().copied());
        }
        _ => {
            // Around the directory and the end record, where the claims are.
            let near = bytes.len() - 1 - dice.below(bytes.len().min(300));
            bytes[near] = bytes[near].wrapping_add(1 + dice.below(3) as u8);
        }
    }
    if bytes.is_empty() {
        bytes.push(0);
    }
}

#[test]
fn damaged_archives_are_unpacked_or_refused() {
    let dice = Dice(SeededRandom::new(9));
    let seeds = seeds();
    let (mut good, mut bad, mut large) = (0, 0, 0);
    for round in 0..ROUNDS {
        let mut bytes = seeds[dice.below(seeds.len())].clone();
        for _ in 0..=dice.below(3) {
            damage(&mut bytes, &seeds[dice.below(seeds.len())], &dice);
        }
        let yard = Yard::new();
        match yard.unzip(&bytes, &LIMITS) {
            Ok(contents) => {
                good += 1;
                let found = listing(&yard.task());
                let sum: u64 = found.values().map(|(_, bytes)| bytes.len() as u64).sum();
                assert_eq!((contents.nodes, contents.bytes), (found.len() as u64, sum));
                assert!(sum <= LIMITS.bytes);
                assert!(found.values().all(|(mode, _)| matches!(mode, 0o644 | 0o755 | 0o777)));
            }
            Err(UnzipError::TooLarge) => large += 1,
            Err(UnzipError::Malformed(_) | UnzipError::Entry { .. }) => bad += 1,
            Err(other) => panic!("round {round}: {other}"),
        }
        assert_eq!(yard.escaped(), [""; 0], "round {round}");
    }
    // The damage is neither too small nor too great to tell anything.
    assert!(good > 50 && bad > 500 && large > 0, "{good} good, {bad} bad, {large} too large");
}
