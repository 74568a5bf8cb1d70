//! Bytes to lines: pure, bounded, and never stuck on what a function writes.

use lamplight_model::limits;

/// Marks the end of a line that was cut.
const CUT: &str = " [line cut at 256 KiB]";

/// Collects bytes and yields whole lines as text. A line over the limit is cut, marked, and the
/// rest of it is skipped. Invalid UTF-8 is replaced; carriage returns stay, as on AWS, where
/// runtimes use them to keep a stack trace in one event.
#[derive(Default)]
pub struct Lines {
    partial: Vec<u8>,
    /// The rest of an over-long line is being skipped.
    skipping: bool,
}

impl Lines {
    /// Calls `line` for each line that `bytes` completes.
    pub fn push(&mut self, bytes: &[u8], mut line: impl FnMut(String)) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let (content, complete) = match piece.strip_suffix(b"\n") {
                Some(content) => (content, true),
                None => (piece, false),
            };
            if !self.skipping {
                let room = limits::LOG_EVENT - self.partial.len();
                self.partial.extend_from_slice(&content[..content.len().min(room)]);
                if content.len() > room {
                    self.skipping = true;
                    line(self.take(CUT));
                }
            }
            if complete {
                if !self.skipping {
                    line(self.take(""));
                }
                self.skipping = false;
            }
        }
    }

    /// The call is over: a line without an end is a line all the same.
    pub fn finish(&mut self) -> Option<String> {
        self.skipping = false;
        (!self.partial.is_empty()).then(|| self.take(""))
    }

    fn take(&mut self, mark: &str) -> String {
        let mut text = String::from_utf8_lossy(&self.partial).into_owned();
        text.push_str(mark);
        // Keeps a small buffer and gives a large one back.
        self.partial.clear();
        self.partial.shrink_to(4096);
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

    #[test]
    fn a_line_without_end_is_cut_once_and_the_next_one_is_whole() {
        let long = vec![b'x'; limits::LOG_EVENT * 3];
        let out = all(&[&long, &long, b"\nnext\n"]);
        assert_eq!(out.len(), 2);
        assert!(out[0].ends_with(CUT));
        assert_eq!(out[0].len(), limits::LOG_EVENT + CUT.len());
        assert_eq!(out[1], "next");
    }

    #[test]
    fn what_is_not_text_is_replaced() {
        assert_eq!(all(&[b"a\xff\x00b\n"]), ["a\u{fffd}\0b"]);
    }
}
