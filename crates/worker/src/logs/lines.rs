//! Bytes to log events: pure, bounded, and never stuck on what a function writes.

use super::frames::{Frames, Piece};
use lamplight_model::limits;

/// Marks the end of an event that was cut.
const CUT: &str = " [line cut at 256 KiB]";

/// Collects bytes and yields whole lines as text. A line over the limit is cut, marked, and the
/// rest of it is skipped. Invalid UTF-8 is replaced; carriage returns stay, as on AWS, where
/// runtimes without frames use them to keep a stack trace in one event.
#[derive(Default)]
pub struct Lines {
    /// Present where the runtime client is one that writes frames: a frame is one event.
    frames: Option<Frames>,
    event: Partial,
}

/// An event that has begun.
#[derive(Default)]
struct Partial {
    bytes: Vec<u8>,
    /// The rest of an over-long event is being skipped.
    skipping: bool,
}

impl Lines {
    pub fn framed() -> Self {
        Self { frames: Some(Frames::default()), event: Partial::default() }
    }

    /// Calls `line` for each event that `bytes` completes.
    pub fn push(&mut self, bytes: &[u8], mut line: impl FnMut(String)) {
        let Self { frames, event } = self;
        match frames {
            None => event.text(bytes, &mut line),
            Some(frames) => frames.split(bytes, |piece| event.piece(piece, &mut line)),
        }
    }

    /// The call is over: a line without an end is a line all the same.
    pub fn finish(&mut self) -> Option<String> {
        let Self { frames, event } = self;
        let mut all = Vec::new();
        if let Some(frames) = frames {
            frames.finish(|piece| event.piece(piece, &mut |line| all.push(line)));
        }
        event.skipping = false;
        if !event.bytes.is_empty() {
            all.push(event.take(""));
        }
        (!all.is_empty()).then(|| all.join("\n"))
    }
}

impl Partial {
    fn piece(&mut self, piece: Piece<'_>, line: &mut impl FnMut(String)) {
        match piece {
            Piece::Text(bytes) => self.text(bytes, line),
            Piece::Begin if self.bytes.is_empty() => self.skipping = false,
            Piece::Begin => self.end(line),
            Piece::Message(bytes) => self.add(bytes, line),
            Piece::End => {
                // A client may end its message as it would end a line.
                self.bytes.pop_if(|last| *last == b'\n');
                self.end(line);
            }
        }
    }

    fn text(&mut self, bytes: &[u8], line: &mut impl FnMut(String)) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(content) => {
                    self.add(content, line);
                    self.end(line);
                }
                None => self.add(piece, line),
            }
        }
    }

    fn add(&mut self, content: &[u8], line: &mut impl FnMut(String)) {
        if self.skipping {
            return;
        }
        let room = limits::LOG_EVENT - self.bytes.len();
        self.bytes.extend_from_slice(&content[..content.len().min(room)]);
        if content.len() > room {
            self.skipping = true;
            line(self.take(CUT));
        }
    }

    fn end(&mut self, line: &mut impl FnMut(String)) {
        if !self.skipping {
            line(self.take(""));
        }
        self.skipping = false;
    }

    fn take(&mut self, mark: &str) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        // What replaces invalid bytes is longer than they are. The mark has its room too, or the
        // log would cut it off.
        let mark = if text.len() > limits::LOG_EVENT { CUT } else { mark };
        if !mark.is_empty() {
            text.truncate(text.floor_char_boundary(limits::LOG_EVENT - mark.len()));
        }
        text.push_str(mark);
        // Keeps a small buffer and gives a large one back.
        self.bytes.clear();
        self.bytes.shrink_to(4096);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(chunks: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.push(chunk, |line| out.push(line));
        }
        out.extend(lines.finish());
        out
    }

    #[test]
    fn lines_come_out_whatever_the_chunks() {
        let text = "one\ntwo\r\n\nlast";
        let whole = all(&[text.as_bytes()]);
        assert_eq!(whole, ["one", "two\r", "", "last"]);
        let bytewise: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(all(&bytewise), whole);
    }

    /// G1: long lines.
    #[test]
    fn a_line_without_end_is_cut_once_and_the_next_one_is_whole() {
        let long = vec![b'x'; limits::LOG_EVENT * 3];
        let out = all(&[&long, &long, b"\nnext\n"]);
        assert_eq!(out.len(), 2);
        assert!(out[0].ends_with(CUT));
        assert_eq!(out[0].len(), limits::LOG_EVENT);
        assert_eq!(out[1], "next");
    }

    #[test]
    fn what_replaces_invalid_bytes_is_bounded_too() {
        let out = all(&[&vec![0xff; limits::LOG_EVENT], b"\nnext\n"]);
        assert!(out[0].ends_with(CUT) && out[0].len() <= limits::LOG_EVENT);
        assert_eq!(out[1], "next");
    }

    #[test]
    fn a_frame_is_one_event_and_bounded_like_any() {
        let frame = |message: &[u8]| {
            let length = u32::try_from(message.len()).unwrap();
            [&[0xa5, 0x5a, 0, 3], &length.to_be_bytes()[..], &[0; 8], message].concat()
        };
        let long = vec![b'x'; limits::LOG_EVENT + 1];
        let parts = [b"half".to_vec(), frame(b"one\ntwo\n"), frame(&long), b"next\n".to_vec()];
        let (mut lines, mut out) = (Lines::framed(), Vec::new());
        for chunk in parts.concat().chunks(1000) {
            lines.push(chunk, |line| out.push(line));
        }
        assert_eq!(out.len(), 4);
        assert_eq!(
            (out[0].as_str(), out[1].as_str(), out[3].as_str()),
            ("half", "one\ntwo", "next")
        );
        assert!(out[2].ends_with(CUT));
        let cut = frame(b"cut\noff by a crash");
        lines.push(&cut[..20], |line| panic!("{line}"));
        assert_eq!(lines.finish().unwrap(), "cut");
        lines.push(b"later\n", |line| assert_eq!(line, "later"));
        lines.push(&cut[..3], |line| panic!("{line}"));
        assert!(lines.finish().is_some());
    }

    #[test]
    fn what_is_not_text_is_replaced() {
        assert_eq!(all(&[b"a\xff\x00b\n"]), ["a\u{fffd}\0b"]);
    }
}
