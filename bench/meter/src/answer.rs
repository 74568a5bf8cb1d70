//! Reads HTTP/1.1 answers off a connection: as much of the protocol as the measured servers speak.

use anyhow::{Context, Result, bail, ensure};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const MOST_OF_A_HEAD: usize = 64 << 10;

pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    /// The server will not take another request on this connection.
    pub closes: bool,
}

/// What has come and was not yet read.
#[derive(Default)]
pub struct Buffer(Vec<u8>);

impl Buffer {
    pub async fn answer(&mut self, stream: &mut TcpStream) -> Result<Answer> {
        let head = self.until(stream, b"\r\n\r\n").await?;
        let head = String::from_utf8(head).context("a head that is no text")?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
        let status = status.parse().with_context(|| format!("the status {status:?}"))?;
        let (mut length, mut chunked, mut closes) = (0, false, false);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().context("a length")?,
                "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
                "connection" => closes = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        let body = match chunked {
            true => self.chunks(stream).await?,
            false => self.take(stream, length).await?,
        };
        Ok(Answer { status, body, closes })
    }

    async fn chunks(&mut self, stream: &mut TcpStream) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8(self.until(stream, b"\r\n").await?)?;
            let size = line.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size.trim(), 16).context("the size of a chunk")?;
            let piece = self.take(stream, size).await?;
            body.extend(piece);
            ensure!(self.take(stream, 2).await? == b"\r\n", "a chunk without its end");
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn until(&mut self, stream: &mut TcpStream, mark: &[u8]) -> Result<Vec<u8>> {
        loop {
            if let Some(at) = self.0.windows(mark.len()).position(|part| part == mark) {
                let rest = self.0.split_off(at + mark.len());
                let mut found = std::mem::replace(&mut self.0, rest);
                found.truncate(at);
                return Ok(found);
            }
            ensure!(self.0.len() < MOST_OF_A_HEAD, "a head without an end");
            self.more(stream).await?;
        }
    }

    async fn take(&mut self, stream: &mut TcpStream, length: usize) -> Result<Vec<u8>> {
        self.0.reserve(length.saturating_sub(self.0.len()));
        while self.0.len() < length {
            self.more(stream).await?;
        }
        let rest = self.0.split_off(length);
        Ok(std::mem::replace(&mut self.0, rest))
    }

    async fn more(&mut self, stream: &mut TcpStream) -> Result<()> {
        if stream.read_buf(&mut self.0).await? == 0 {
            bail!("closed in the middle of an answer");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    async fn read(bytes: &'static [u8]) -> Result<Answer> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let mut near = TcpStream::connect(listener.local_addr()?).await?;
        let (mut far, _) = listener.accept().await?;
        far.write_all(bytes).await?;
        drop(far);
        Buffer::default().answer(&mut near).await
    }

    #[tokio::test]
    async fn bodies_of_both_kinds_are_read() {
        let counted = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
        let answer = read(counted).await.unwrap();
        assert_eq!(
            (answer.status, answer.body.as_slice(), answer.closes),
            (200, &b"abc"[..], true)
        );
        let chunked = b"HTTP/1.1 429 No\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n";
        let answer = read(chunked).await.unwrap();
        assert_eq!(
            (answer.status, answer.body.as_slice(), answer.closes),
            (429, &b"abc"[..], false)
        );
    }

    #[tokio::test]
    async fn half_an_answer_is_none() {
        assert!(read(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab").await.is_err());
        assert!(read(b"HTTP/1.1 200 OK\r\n").await.is_err());
        assert!(read(b"HTTP/1.1\r\n\r\n").await.is_err());
    }
}
