//! Standard output: nothing else in this crate writes there.
//!
//! Whoever reads it, `head` for one, may have seen enough and be gone. That is no failure of a
//! command; anything else is, e.g. a disk that is full.

use std::fmt::Arguments;
use std::io::{ErrorKind, Result, Write};

/// Writes a line, given as to [`println!`], which would panic where nobody reads it.
macro_rules! say {
    ($($what:tt)*) => {
        $crate::output::write(format_args!("{}\n", format_args!($($what)*)))
    };
}
pub(crate) use say;

pub fn write(what: Arguments<'_>) -> Result<()> {
    write_to(&mut std::io::stdout().lock(), what)
}

fn write_to(out: &mut impl Write, what: Arguments<'_>) -> Result<()> {
    match out.write_fmt(what).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_is_gone_is_no_failure_and_a_full_disk_is() {
        let to = |kind| write_to(&mut Broken(kind), format_args!("light\n"));
        assert!(to(ErrorKind::BrokenPipe).is_ok());
        assert_eq!(to(ErrorKind::StorageFull).unwrap_err().kind(), ErrorKind::StorageFull);
    }
}
