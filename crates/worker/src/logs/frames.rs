//! Frames among the bytes of a runtime client: messages that may have more than one line.
//!
//! AWS's log protocol: four bytes of type, four of length, eight of time (microseconds since the
//! epoch), then the message; numbers are big-endian. Here frames come through the same pipe as
//! everything else, so that they stay in order with it. What only looks like a frame is text.

const HEAD: usize = 16;
/// The first bytes of each type. The last one says text or JSON, and how grave the message is.
const MAGIC: [u8; 3] = [0xa5, 0x5a, 0x00];
/// No client writes a longer message; a length beyond it is not one. Bytes.
const LONGEST: usize = 64 * 1024 * 1024;

/// A part of what was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Outside of frames.
    Text(&'a [u8]),
    Begin,
    /// Of the message that has begun.
    Message(&'a [u8]),
    End,
}

/// Finds frames, wherever the reads were cut.
#[derive(Debug, Default)]
pub struct Frames {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Text,
    /// What may be the head of a frame.
    Head {
        bytes: [u8; HEAD],
        have: usize,
    },
    Message {
        left: usize,
    },
}

impl Frames {
    pub fn split(&mut self, mut bytes: &[u8], mut piece: impl FnMut(Piece<'_>)) {
        while let Some(&next) = bytes.first() {
            match &mut self.state {
                State::Text => {
                    let text = bytes.iter().position(|b| *b == MAGIC[0]).unwrap_or(bytes.len());
                    if text > 0 {
                        piece(Piece::Text(&bytes[..text]));
                    }
                    bytes = &bytes[text..];
                    if !bytes.is_empty() {
                        self.state = State::Head { bytes: [0; HEAD], have: 0 };
                    }
                }
                State::Head { bytes: head, have } => {
                    if !fits(*have, next) {
                        let (head, have) = (*head, *have);
                        self.state = State::Text;
                        piece(Piece::Text(&head[..have]));
                        continue;
                    }
                    head[*have] = next;
                    *have += 1;
                    bytes = &bytes[1..];
                    if *have == HEAD {
                        let head = *head;
                        self.enter(&head, &mut piece);
                    }
                }
                State::Message { left } => {
                    let (now, rest) = bytes.split_at(bytes.len().min(*left));
                    piece(Piece::Message(now));
                    *left -= now.len();
                    bytes = rest;
                    if *left == 0 {
                        self.state = State::Text;
                        piece(Piece::End);
                    }
                }
            }
        }
    }

    /// A whole head is there.
    fn enter(&mut self, head: &[u8; HEAD], piece: &mut impl FnMut(Piece<'_>)) {
        let left = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if left > LONGEST {
            self.state = State::Text;
            return piece(Piece::Text(head));
        }
        piece(Piece::Begin);
        self.state = State::Message { left };
        if left == 0 {
            self.state = State::Text;
            piece(Piece::End);
        }
    }

    /// Nothing more comes of what has begun.
    pub fn finish(&mut self, mut piece: impl FnMut(Piece<'_>)) {
        match std::mem::take(&mut self.state) {
            State::Text => {}
            State::Head { bytes, have } => piece(Piece::Text(&bytes[..have])),
            State::Message { .. } => piece(Piece::End),
        }
    }
}

/// Whether a head can have this byte at this place.
fn fits(place: usize, byte: u8) -> bool {
    match place {
        0..=2 => MAGIC[place] == byte,
        // AWS: 2 is JSON, 3 is text; 0x08 to 0x18 are the levels from debug to fatal.
        3 => matches!(byte & 0x03, 2 | 3) && byte < 0x1c,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(message: &str) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap();
        [&[0xa5, 0x5a, 0, 3], &length.to_be_bytes()[..], &[7; 8], message.as_bytes()].concat()
    }

    /// Text as it is, messages in brackets.
    fn shown(bytes: &[u8], size: usize) -> String {
        let (mut frames, mut out) = (Frames::default(), Vec::new());
        let mut take = |piece: Piece<'_>| match piece {
            Piece::Text(bytes) | Piece::Message(bytes) => out.extend_from_slice(bytes),
            Piece::Begin => out.push(b'['),
            Piece::End => out.push(b']'),
        };
        for chunk in bytes.chunks(size) {
            frames.split(chunk, &mut take);
        }
        frames.finish(&mut take);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn frames_are_found_wherever_the_reads_were_cut() {
        let bytes = [b"a\n".to_vec(), frame("b\nc"), frame(""), "日d".into(), frame("e")].concat();
        for size in 1..bytes.len() {
            assert_eq!(shown(&bytes, size), "a\n[b\nc][]日d[e]", "{size}");
        }
    }

    #[test]
    fn what_only_looks_like_a_frame_is_text() {
        let long = [0xa5, 0x5a, 0, 3, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, b'x'];
        for odd in [&long[..], &[0xa5], &[0xa5, 0x5a, 0], &[0xa5, 0xa5, 0x5a, 1, b'x'], &long[..9]]
        {
            assert_eq!(shown(odd, 3), String::from_utf8_lossy(odd));
        }
        assert_eq!(shown(&frame("abc")[..17], 5), "[a]");
    }
}
