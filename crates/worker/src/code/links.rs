//! Where symbolic links lead. Pure.
//!
//! AWS keeps relative links. Here a link is allowed as long as following it, through any other
//! link of the archive, never leaves the archive; reading `..` off the text alone would not do,
//! because `a/b/up/..` is not `a/b` where `up` is a link.

use super::tree::{Node, Tree};
use std::collections::BTreeMap;

/// As the kernel's own limit.
const FOLLOWED: usize = 40;

/// Targets by the path of their link.
pub(super) type Links = BTreeMap<Vec<u8>, Vec<u8>>;

/// Follows the link at `path`. A target that does not exist is fine: nothing can come to exist
/// there, unpacked code is read-only.
pub(super) fn follow(path: &[u8], tree: &Tree, links: &Links) -> Result<(), &'static str> {
    let mut at: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    at.pop();
    let mut todo: Vec<&[u8]> = Vec::new();
    let mut followed = 0;
    let mut next = links.get(path);
    loop {
        if let Some(target) = next.take() {
            followed += 1;
            if followed > FOLLOWED {
                return Err("is a link in a circle");
            }
            if target.is_empty() || target.contains(&0) {
                return Err("is a link to no path");
            }
            if target.starts_with(b"/") {
                return Err("is an absolute link");
            }
            todo.extend(target.rsplit(|byte| *byte == b'/'));
        }
        match todo.pop() {
            None => return Ok(()),
            Some(b"" | b".") => {}
            Some(b"..") => {
                at.pop().ok_or("is a link that leads out of the archive")?;
            }
            Some(component) => {
                at.push(component);
                let here = at.join(&b'/');
                match tree.get(&here) {
                    Some(Node::Directory) => {}
                    Some(Node::Link { .. }) => {
                        at.pop();
                        next = links.get(&here);
                    }
                    Some(Node::File { .. }) | None => return Ok(()),
                }
            }
        }
    }
}
