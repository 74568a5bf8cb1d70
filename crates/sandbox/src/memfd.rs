//! A sealed copy of a binary in memory.
//!
//! The jail runs from it, so that no sandbox can reach the file on disk through `/proc/self/exe`
//! and nobody can change what runs (CVE-2019-5736).

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Copies `path` and seals the copy against every change.
pub(crate) fn sealed_copy(path: &Path) -> io::Result<OwnedFd> {
    let mut source = File::open(path)?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know EXEC, and make executable ones anyway.
    let memfd = memfd_create("lamplight-jail", flags | MemfdFlags::EXEC)
        .or_else(|_| memfd_create("lamplight-jail", flags))?;
    let mut copy = File::from(memfd);
    io::copy(&mut source, &mut copy)?;
    let memfd = OwnedFd::from(copy);
    fcntl_add_seals(
        &memfd,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    Ok(memfd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_copy_cannot_be_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"binary").unwrap();
        let mut copy = File::from(sealed_copy(file.path()).unwrap());
        assert_eq!(copy.write(b"x").unwrap_err().raw_os_error(), Some(libc::EPERM));
    }
}
